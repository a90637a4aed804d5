"""One look for all figures: colour-blind safe, units on the axes, PNG and PDF."""

import io
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from neurosim.errors import RunError
from neurosim.memory import Floats

# Okabe and Ito's palette
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
DASHES = ["-", "--", ":", "-."]
CHARACTERS = 13  # in an inch, of a legend or title
HANDLE = 8  # characters that a legend's handle and gap take
LINE = 0.17  # inches, of a legend
BREAK = "\N{ZERO WIDTH SPACE}"


class Figure(matplotlib.figure.Figure):
    """A figure that a notebook shows."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=self.dpi)
        return file.getvalue()


def apply() -> None:
    """Set the style of figures drawn from now on."""
    matplotlib.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "font.size": 9,
            "legend.frameon": False,
            "savefig.dpi": 200,
        }
    )


def spread(values: Floats) -> Floats:
    """10th, 50th and 90th percentile (3, n) of values (steps, n), over the steps that have one.

    nan is a step without a value; a column of nothing else has the percentiles nan.
    """
    found = np.full((3, values.shape[1]), np.nan)
    known = ~np.isnan(values).all(axis=0)
    found[:, known] = np.nanquantile(values[:, known], [0.1, 0.5, 0.9], axis=0)
    return found


def look(index: int) -> dict[str, Any]:
    """Colour and dashes of a line by its number; dashes change when all colours are in use."""
    dashes = DASHES[index // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[index % len(COLOURS)], "ls": dashes}


def count_along(axes: Axes, what: str) -> None:
    """Let the abscissa count something, so that its ticks are whole numbers."""
    axes.set_xlabel(what)
    whole = MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
    axes.xaxis.set_major_locator(whole)


def add_legend(figure: matplotlib.figure.Figure, axes: Axes, title: str | None = None) -> None:
    """One legend above all panels, of the labels in one of them; none where these have none."""
    handles, labels = axes.get_legend_handles_labels()
    add_handles(figure, dict(zip(labels, handles, strict=True)), title)


def add_handles(
    figure: matplotlib.figure.Figure, handles: Mapping[str, Any], title: str | None = None
) -> None:
    """One legend above all panels, of artists by their labels.

    Its rows are of about one length, and the figure grows by those beyond the first one.
    """
    if not handles:
        return
    room = int(CHARACTERS * figure.get_figwidth())
    columns = max(1, min(len(handles), room // (HANDLE + max(map(len, handles)))))
    rows = -(-len(handles) // columns)
    labels = [wrapped(label, room - HANDLE) for label in handles]
    lines = rows + sum(label.count("\n") for label in labels)
    figure.set_figheight(figure.get_figheight() + LINE * (lines - 1))
    columns = -(-len(handles) // rows)
    artists = list(handles.values())
    figure.legend(artists, labels, loc="outside upper center", ncols=columns, title=title)


def add_title(figure: matplotlib.figure.Figure, text: str) -> None:
    """A title above all panels, in as many lines as it takes."""
    figure.suptitle(wrapped(text, int(CHARACTERS * figure.get_figwidth())), fontsize=9)


def wrapped(text: str, width: int) -> str:
    """A text in lines of at most so many characters; names of models break behind a +, too."""
    lines = textwrap.fill(text.replace("+", f"+{BREAK} "), width)
    return lines.replace(f"{BREAK} ", "").replace(BREAK, "")


def spanned(numbers: Iterable[int]) -> str:
    """Such as "3", or "2 to 5" where the numbers differ."""
    ordered = sorted(numbers)
    low, high = ordered[0], ordered[-1]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def save_figure(figure: matplotlib.figure.Figure, path: Path) -> None:
    """Write a figure.  Raises RunError where that fails."""
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}  # the same bits each time
    try:
        figure.savefig(path, metadata=dates.get(path.suffix))
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror}.") from error
