"""Relaxation: how the energy falls, and how far units are from settled, tick by tick."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurosim.analysis.relaxation import Relaxation
from neurosim.memory import Floats
from neurosim.plots import style


def draw(runs: Mapping[str, Mapping[str, Relaxation]]) -> Figure:
    """Draw the relaxations of some runs, a row of panels for each team.

    Parameters
    ----------
    runs : for each label, what `analysis.relaxation.relaxation` found of each team, by its name.

    Returns
    -------
    The figure: on the left the energy, less that of the sampled state of the same step; on the
    right the residual, on a logarithmic axis.  Lines are medians over the recorded steps, bands
    reach from the 10th to the 90th percentile.
    """
    style.apply()
    teams = list(next(iter(runs.values())))
    figure = style.Figure(figsize=(6.8, 2.6 * len(teams) + 0.4))
    panels = figure.subplots(len(teams), 2, sharex=True, sharey="col", squeeze=False)
    for (left, right), team in zip(panels, teams, strict=True):
        for k, (label, found) in enumerate(runs.items()):
            colour = style.COLOURS[k % len(style.COLOURS)]
            energy = found[team].energy
            _draw_quantiles(left, energy - energy[:, :1], colour, label)
            _draw_quantiles(right, found[team].residual, colour, label)
        left.set_ylabel(f"{team}: energy from\nthe sampled state (nats)")
        right.set_ylabel(f"{team}: residual\n(standard deviations)")
        right.set_yscale("log")
    for axes in panels[-1]:
        axes.set_xlabel("iterations, or mean tick periods")
        axes.margins(x=0)
    steps = style.spanned(found.row.size for of_run in runs.values() for found in of_run.values())
    title = f"median and 10 to 90 % of the recorded steps, {steps} of each run"
    style.add_legend(figure, panels[0, 0], title)
    return figure


def save(runs: Mapping[str, Mapping[str, Relaxation]], path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(runs), path)


def _draw_quantiles(axes: Axes, values: Floats, colour: str, label: str) -> None:
    """Median and band of values (steps, ticks + 1) at each tick."""
    low, median, high = style.spread(values)
    ticks = np.arange(median.size)
    axes.fill_between(ticks, low, high, alpha=0.2, color=colour, lw=0)
    axes.plot(ticks, median, color=colour, lw=1.5, label=label)
