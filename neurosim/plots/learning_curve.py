"""Learning curve: running average of the return over the episodes (the form of Fig. 2)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from neurosim.analysis.returns import running_average
from neurosim.memory import Floats
from neurosim.plots import style

WINDOW = 100


def draw(returns: Mapping[str, Sequence[Floats]]) -> Figure:
    """Draw one line for each label.

    Parameters
    ----------
    returns : for each label, the returns (episodes,) of its runs, one array a seed; runs of
        different length are cut to the shortest.

    Returns
    -------
    The figure.  One run: its episodes as dots and their running average.  Several: the mean of
    the running averages and a band of one population standard deviation (ddof = 0, as published).
    """
    style.apply()
    figure = Figure(figsize=(5.2, 3.4))
    axes = figure.subplots()
    for index, (label, runs) in enumerate(returns.items()):
        episodes = min(run.size for run in runs)
        numbers = np.arange(1, episodes + 1)
        curves = np.array([running_average(run[:episodes], WINDOW) for run in runs])
        colour = style.COLOURS[index % len(style.COLOURS)]
        mean, spread = curves.mean(axis=0), curves.std(axis=0)
        if len(runs) == 1:
            axes.plot(numbers, runs[0][:episodes], ".", ms=2, alpha=0.25, color=colour, mec="none")
            text = f"{label}, 1 run"
        else:
            axes.fill_between(numbers, mean - spread, mean + spread, alpha=0.2, color=colour, lw=0)
            text = f"{label}, mean ± std of {len(runs)} runs"
        axes.plot(numbers, mean, color=colour, lw=1.5, label=text)
    axes.set_xlabel("episode")
    axes.set_ylabel(f"return, average of the last {WINDOW} episodes")
    axes.margins(x=0)
    axes.legend(loc="best")
    return figure


def save(returns: Mapping[str, Sequence[Floats]], path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(returns), path)
