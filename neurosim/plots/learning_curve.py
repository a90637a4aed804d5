"""Learning curve: running average of the return over the episodes (the form of Fig. 2), or of the
reward over the samples (Fig. 1)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from neurosim.analysis.returns import running_average
from neurosim.memory import Floats
from neurosim.plots import style

WINDOW = 100
BATCH_WINDOW = 10  # as in Fig. 1
POINTS = 2000  # of a line, at most
DOT, MANY = 3.0, 300  # size of the dots of a run, half as large if there are more than so many
SHOWN_FROM = 0.03  # of a run: the axis of rewards spans the averages from there on


class Panel(NamedTuple):
    """Curves of one task.

    Attributes
    ----------
    returns : for each label, the returns (episodes,) of its runs, one array a seed; runs of
        different length are cut to the shortest.
    batch : samples of a batch where the runs are of Algorithm 1, and `returns` the mean rewards of
        their batches (the form of Fig. 1).
    title : of the panel.
    """

    returns: Mapping[str, Sequence[Floats]]
    batch: int | None = None
    title: str = ""


def draw(returns: Mapping[str, Sequence[Floats]], batch: int | None = None) -> Figure:
    """Draw one line for each label.

    Parameters
    ----------
    returns, batch : as of a `Panel`.

    Returns
    -------
    The figure.  One run: its episodes as dots and their running average.  Several: the mean of
    the running averages and a band of one population standard deviation (ddof = 0, as published).
    """
    style.apply()
    figure = style.Figure(figsize=(5.2, 3.4))
    axes = figure.subplots()
    _draw_on(axes, Panel(returns, batch))
    style.add_legend(figure, axes)
    return figure


def draw_panels(panels: Sequence[Panel], columns: int, one_legend: bool) -> Figure:
    """Draw several tasks side by side (the form of Figs. 1 and 2).

    Parameters
    ----------
    panels : one for each task.
    columns : panels in a row.
    one_legend : the labels of all panels are those of the first one.
    """
    style.apply()
    rows = -(-len(panels) // columns)
    figure = style.Figure(figsize=(0.4 + 3.6 * columns, 0.4 + 2.9 * rows))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=True):
        _draw_on(axes, panel, counted=False)
        count = style.spanned(len(runs) for runs in panel.returns.values())
        dots = "batches" if panel.batch else "episodes"
        runs = f"one run each, dots its {dots}" if count == "1" else f"mean ± std of {count} runs"
        axes.set_title(f"{panel.title}\n{runs}", fontsize=9)
        if not one_legend:
            below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
            axes.legend(ncols=2, fontsize=7, columnspacing=1, **below)
    if one_legend:
        style.add_legend(figure, grid.flat[0])
    return figure


def _draw_on(axes: Axes, panel: Panel, *, counted: bool = True) -> None:
    """Draw the curves of a panel; `counted`: the labels say of how many runs."""
    averages = []
    batch = panel.batch
    window, many = (WINDOW, "episodes") if batch is None else (BATCH_WINDOW, "batches")
    for index, (label, runs) in enumerate(panel.returns.items()):
        episodes = min(run.size for run in runs)
        numbers = np.arange(1, episodes + 1) * (batch or 1)
        curves = np.array([running_average(run[:episodes], window) for run in runs])
        look, colour = style.look(index), style.look(index)["color"]
        mean, spread = curves.mean(axis=0), curves.std(axis=0)
        every = -(-episodes // POINTS)
        if len(runs) == 1:
            dot: dict[str, Any] = {"alpha": 0.4, "mec": "none", "ms": DOT}
            if episodes > MANY:
                dot["ms"] /= 2
            axes.plot(numbers, runs[0][:episodes], "o", color=colour, **dot)
            text = f"{label}, 1 run, dots its {many}"
        else:
            low, high = (mean - spread)[::every], (mean + spread)[::every]
            axes.fill_between(numbers[::every], low, high, alpha=0.2, color=colour, lw=0)
            text = f"{label}, mean ± std of {len(runs)} runs"
        text = text if counted else label
        alone = "o" if episodes == 1 else ""
        axes.plot(numbers[::every], mean[::every], marker=alone, lw=1.5, label=text, **look)
        averages.append(mean)
    if batch is not None:  # the first errors of a regression are a hundred times the last ones
        later = np.concatenate([each[int(SHOWN_FROM * each.size) :] for each in averages])
        room = 0.05 * np.ptp(later) or 0.05  # of a constant there is no span
        axes.set_ylim(later.min() - room, later.max() + room)
    unit, value = ("episode", "return") if batch is None else ("samples", "reward")
    style.count_along(axes, unit)
    if batch is not None:
        axes.xaxis.set_major_formatter(EngFormatter())
    axes.set_ylabel(f"{value}, average of the last {window} {many}")
    axes.margins(x=0)


def save(returns: Mapping[str, Sequence[Floats]], batch: int | None, path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(returns, batch), path)
