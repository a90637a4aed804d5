"""Activity of the units of a team in a window."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurosim.analysis.activity import is_asynchronous, raster
from neurosim.analysis.flow import spread
from neurosim.analysis.windows import Units, units_of
from neurosim.record.reader import Window
from neurosim.report.figures import DIGITS, Figure, Panel, Plot, binned, figure, numbers, picked
from neurosim.report.subjects import Subject, gather

WINDOWS = 3  # of a run, at most
UNITS = 120  # of a team, at most; of more some of each layer
COLUMNS = 200  # of a heat map, at most
CELLS = 240_000  # of all heat maps together, about
SHOWN = 99  # percentile at which the colours end


def panel(subjects: Sequence[Subject]) -> Panel:
    """A heat map of units and time, of the chosen run, team and window."""
    columns = min(COLUMNS, CELLS // (len(subjects) * 2 * WINDOWS * UNITS))
    found, missing = gather(subjects, lambda subject: _views(subject, columns))
    choices = [{"label": subject.label, **views} for subject, views in found]
    controls = (("select", "run"), ("select", "team"), ("slider", "window"))
    plot = Plot({"choices": choices}, controls)
    if len(choices) == 1:
        plot = Plot(found[0][1], controls[1:])
    reading = (
        "Each row is a unit, output on top, each column a moment, yellow a high value and dark "
        "blue a low one; a row that keeps its colour does not depend on what is seen. White: no "
        "value yet."
    )
    return Panel("activity", "Activity of units", reading, [plot] if found else [], missing)


def _views(subject: Subject, columns: int) -> dict[str, Any]:
    """Both teams in some windows of a run."""
    subject.check_windows()
    windows = [window for window in subject.run.windows if window.n_steps]
    windows.sort(key=lambda window: window.first_step)
    chosen = [windows[k] for k in picked(len(windows), WINDOWS)]
    teams = []
    for team in subject.teams:
        units = units_of(subject.run, team)
        views = [
            {
                "label": f"episode {window.episode}, {window.n_steps} steps",
                **_figure(window, team, units, columns),
            }
            for window in chosen
        ]
        teams.append({"label": team, "choices": views})
    return {"choices": teams}


def _figure(window: Window, team: str, units: Units, columns: int) -> Figure:
    """Units from the first hidden one up."""
    found = raster(window, team, units, columns)
    layers = int(units.layer[-1])
    rows = spread(units, max(1, UNITS // layers)) if units.layer.size > UNITS else slice(None)
    layer = units.layer[rows]
    bounds, means = binned(found.values[rows].T, columns)
    edges = found.edges[bounds]
    low, high = np.nanpercentile(means, [100 - SHOWN, SHOWN])
    heat = {
        "type": "heatmap",
        "z": numbers(means.T, DIGITS - 1),
        "x0": float(edges[0] + edges[1]) / 2,
        "dx": float(edges[1] - edges[0]),
        "colorscale": "Viridis",
        "zmin": float(f"{low:.3g}"),
        "zmax": float(f"{high:.3g}"),
        "hoverongaps": False,
        "hovertemplate": "row %{y}, %{x}: %{z}<extra></extra>",
        "colorbar": {"title": {"text": "value"}, "thickness": 12, "outlinewidth": 0},
    }
    borders = np.flatnonzero(np.diff(layer)) + 0.5
    number = np.arange(layer.size)
    ticks = {
        "tickvals": [float(number[layer == l].mean()) for l in range(1, layers + 1)],
        "ticktext": [*(f"layer {l}" for l in range(1, layers)), "output"],
        "showgrid": False,
    }
    axis = "time in the window (mean tick periods)" if is_asynchronous(window) else "step"
    lines = [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": float(border),
            "y1": float(border),
            "line": {"color": "white", "width": 2},
        }
        for border in borders
    ]
    return figure([heat], axis, f"units of the {team}", y_axis=ticks, shapes=lines, height=440)
