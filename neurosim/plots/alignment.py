"""Alignment with backprop: cosine and norm ratio of a team's gradients, layer by layer."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, MultipleLocator, NullLocator, StrMethodFormatter

from neurosim.analysis.alignment import Alignment
from neurosim.memory import Floats
from neurosim.plots import style


def draw(runs: Mapping[str, Mapping[str, Alignment]]) -> Figure:
    """Draw the alignments of some runs, a row of panels for each team.

    Parameters
    ----------
    runs : for each label, what `analysis.alignment.alignment` found of each team, by its name.

    Returns
    -------
    The figure: on the left the cosine, on the right the ratio of norms, on a logarithmic axis.
    Dots are medians over the recorded steps, lines reach from the 10th to the 90th percentile.
    """
    style.apply()
    teams = list(next(iter(runs.values())))
    figure = style.Figure(figsize=(6.8, 2.6 * len(teams) + 0.4))
    panels = figure.subplots(len(teams), 2, sharex=True, sharey="col", squeeze=False)
    for (left, right), team in zip(panels, teams, strict=True):
        for k, (label, found) in enumerate(runs.items()):
            shift = 0.5 * ((k + 0.5) / len(runs) - 0.5)
            colour = style.COLOURS[k % len(style.COLOURS)]
            _draw_layers(left, found[team].cosine, shift, colour, label)
            _draw_layers(right, found[team].ratio, shift, colour, label)
        for axes in (left, right):
            axes.axhline(1.0, color="0.7", lw=0.8, zorder=0)
            axes.xaxis.set_major_locator(MultipleLocator(1))
        left.axhline(0.0, color="0.7", lw=0.8, ls=":", zorder=0)
        left.set_ylabel(f"{team}: cosine of its gradient\nwith backprop's")
        right.set_ylabel(f"{team}: norm of its gradient\nover backprop's")
        right.set_yscale("log")
        right.yaxis.set_major_locator(AutoLocator())
        right.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        right.yaxis.set_minor_locator(NullLocator())
    for axes in panels[-1]:
        axes.set_xlabel("layer, the last one the output")
    steps = style.spanned(found.row.size for of_run in runs.values() for found in of_run.values())
    title = f"median and 10 to 90 % of the recorded steps, {steps} of each run"
    style.add_legend(figure, panels[0, 0], title)
    return figure


def save(runs: Mapping[str, Mapping[str, Alignment]], path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(runs), path)


def _draw_layers(axes: Axes, values: Floats, shift: float, colour: str, label: str) -> None:
    """Median and spread of values (steps, layers) in each layer."""
    low, median, high = style.spread(values)
    x = np.arange(1, median.size + 1) + shift
    axes.vlines(x, low, high, color=colour, lw=2.0, alpha=0.5)
    axes.plot(x, median, "o", ms=4.5, color=colour, label=label)
