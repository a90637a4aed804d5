"""Stability: how near relaxation comes to its limits in the course of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from neurosim.analysis.stability import Moment, critical_delay
from neurosim.plots import style


def draw(teams: Mapping[str, Sequence[Moment]], title: str) -> Figure:
    """Draw lambda_max of the teams of a run, a panel for each.

    Parameters
    ----------
    teams : by its name, what `analysis.stability.of_run` found of each team.
    title : of the figure.

    Returns
    -------
    The figure: lambda_max on the left axis and o = lambda_max - 1 on the right one, median and
    range over the states.  Lines are limits, above which relaxation diverges: 2 / c of units that
    move together, and of units that are agents where the predicted critical delay is the model's.
    """
    style.apply()
    figure = style.Figure(figsize=(3.6 * len(teams), 3.2))
    panels = figure.subplots(1, len(teams), sharex=True, squeeze=False)[0]
    for axes, (team, moments) in zip(panels, teams.items(), strict=True):
        episode = [moment.episode for moment in moments]
        states = [moment.limits.lambda_max for moment in moments]
        low, median, high = ([f(each) for each in states] for f in (np.min, np.median, np.max))
        axes.fill_between(episode, low, high, alpha=0.25, lw=0)
        axes.plot(episode, median, "o-", ms=3, lw=1.2, label="median, range of the states")
        limits = moments[0].limits
        if limits.clock != "poisson":
            label = "limit by the step, 2 / c"
            axes.axhline(2.0 / limits.step_size, color=style.COLOURS[1], lw=1, label=label)
        if limits.delay is not None:
            o = _critical_o(limits.delay, limits.step_size, limits.clock)
            label = "limit by the delay"
            axes.axhline(1.0 + o, color=style.COLOURS[2], lw=1, ls="--", label=label)
        axes.set_ylim(bottom=1.0)
        own = "" if limits.delay is None else f", delay {limits.delay:.3g}"
        axes.set_title(f"{team}, c = {limits.step_size:g}{own}", fontsize="medium")
        style.count_along(axes, "episode")
        axes.set_ylabel("lambda_max")
        axes.secondary_yaxis("right", functions=(_to_o, _from_o)).set_ylabel("o = lambda_max - 1")
    style.add_legend(figure, panels[0], title)
    return figure


def save(teams: Mapping[str, Sequence[Moment]], title: str, path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(teams, title), path)


def _critical_o(delay: float, c: float, clock: str) -> float:
    """The o whose critical delay is a given one: it falls as o grows."""
    low, high = 1.0, 1e6
    for _ in range(100):
        middle = np.sqrt(low * high)
        if critical_delay(middle, c, clock) > delay:
            low = middle
        else:
            high = middle
    return float(low)


def _to_o(lambda_max: float) -> float:
    return lambda_max - 1.0


def _from_o(o: float) -> float:
    return o + 1.0
