"""What figures consist of, as plotly.js takes it: plain dictionaries of numbers and texts.

The page stays small and the same whatever the length of a run: each line has a bounded number of
points, and numbers are rounded to the digits that can be seen.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurosim.memory import Floats, Integers

POINTS = 300  # of a line, at most
DIGITS = 4  # of a number, significant ones
HEIGHT = 320  # of a plot, pixels
LEGEND, HANDLE, LEGEND_ROW = 60, 8, 20  # characters of a row and of a line in it; pixels of a row
GRID, INK = "#e3e6ea", "#24292f"

Figure = dict[str, Any]  # data and layout
Trace = dict[str, Any]
Numbers = npt.NDArray[Any]


class Plot(NamedTuple):
    """One figure, or a choice between several.

    Attributes
    ----------
    views : a figure; or {"choices": [...]} of such views, each with its "label".
    controls : how a reader chooses, outermost first: ("select" or "slider", what of).
    title : above it, where a panel has several.
    """

    views: dict[str, Any]
    controls: Sequence[tuple[str, str]] = ()
    title: str = ""


class Panel(NamedTuple):
    """A section of the page."""

    key: str  # of its place in the page
    title: str
    reading: str  # how to read it
    plots: Sequence[Plot]
    missing: str = ""  # what is not there, and which command records it


def numbers(values: npt.ArrayLike, digits: int = DIGITS) -> Any:
    """Nested lists of rounded numbers; None where one is not finite."""
    array = np.asarray(values)
    if array.ndim > 1:
        return [numbers(each, digits) for each in array]
    if array.dtype.kind in "iub":
        return [int(value) for value in array]
    rounded = (float(f"{value:.{digits}g}") for value in array)
    return [
        None if not np.isfinite(value) else int(value) if value == int(value) else value
        for value in rounded
    ]


def picked(count: int, most: int = POINTS) -> Integers:
    """Numbers below `count`, evenly spread, the first and the last one among them."""
    return np.unique(np.linspace(0, max(0, count - 1), min(count, most)).round().astype(np.int64))


def binned(values: Numbers, most: int = POINTS) -> tuple[Integers, Floats]:
    """Means of rows of values (n, ...) in bins of equal width, of at most so many.

    Returns
    -------
    bounds : (bins + 1,) rows at which bins begin, and n.
    means : (bins, ...) of those values that are finite, nan where there are none.
    """
    size = max(1, -(-len(values) // most))
    starts = np.arange(0, len(values), size)
    finite = np.isfinite(values)
    count = np.add.reduceat(finite.astype(np.int64), starts)
    total = np.add.reduceat(np.where(finite, values, 0.0), starts)
    means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return np.append(starts, len(values)), means


def line(x: npt.ArrayLike, y: npt.ArrayLike, colour: str, name: str, **more: Any) -> Trace:
    """A line through points, with the name that the legend has for it."""
    style = {"color": colour, "width": 2} | more.pop("line", {})
    shown = {"type": "scatter", "mode": "lines", "line": style, "name": name}
    return {"x": numbers(x), "y": numbers(y), **shown, **more}


def band(x: Numbers, low: Numbers, high: Numbers, colour: str, group: str) -> Trace:
    """The area between two lines, shown and hidden with the line of the same group."""
    return {
        "type": "scatter",
        "x": numbers(np.concatenate([x, x[::-1]])),
        "y": numbers(np.concatenate([low, high[::-1]])),
        "fill": "toself",
        "fillcolor": faint(colour, 0.18),
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": group,
    }


def faint(colour: str, opacity: float) -> str:
    """A colour of the form #rrggbb, partly transparent."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def figure(
    data: Sequence[Trace],
    x: str,
    y: str,
    *,
    x_axis: dict[str, Any] | None = None,
    y_axis: dict[str, Any] | None = None,
    height: int = HEIGHT,
    **layout: Any,
) -> Figure:
    """A figure with the labels of its axes; `x_axis`, `y_axis` and `layout` are added to it.

    Its height is `height`, or HEIGHT, and that of the legend's rows beyond the first one.
    """
    named = [trace for trace in data if trace.get("name") and trace.get("showlegend", True)]
    return {
        "data": list(data),
        "layout": {
            "height": height + LEGEND_ROW * _rows_beyond_the_first(named),
            "margin": {"l": 64, "r": 16, "t": 28, "b": 48},
            "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "showlegend": len(named) > 1,
            "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
            "xaxis": _axis(x) | (x_axis or {}),
            "yaxis": _axis(y) | (y_axis or {}),
        }
        | layout,
    }


def _rows_beyond_the_first(named: Sequence[Trace]) -> int:
    """About how many more rows a legend takes in half of the page's width."""
    return sum(HANDLE + len(trace["name"]) for trace in named) // LEGEND if len(named) > 1 else 0


def _axis(title: str) -> dict[str, Any]:
    return {
        "title": {"text": title, "standoff": 8},
        "automargin": True,
        "gridcolor": GRID,
        "linecolor": "#8b949e",
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": "#8b949e",
        "zeroline": False,
    }
