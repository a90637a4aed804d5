"""What units exchanged, step by step over a run: packets, their losses, their age."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neurosim.plots import style

POINTS = 300  # of a line; each is the mean of as many steps as that takes
FATES = {"lost": "-", "discarded": "--", "in_flight": ":"}

Series = Mapping[str, NDArray[Any]]


def draw(teams: Mapping[str, Series]) -> Figure:
    """Draw one colour for each label.

    Parameters
    ----------
    teams : for each label, what `analysis.traffic.series` returns.
    """
    style.apply()
    figure = style.Figure(figsize=(5.6, 5.2))
    packets, fates, ages = figure.subplots(3, 1, sharex=True)
    for index, (label, series) in enumerate(teams.items()):
        colour = style.look(index)["color"]
        size = -(-series["sent"].size // POINTS)
        starts = np.arange(0, series["sent"].size, size)
        width = np.diff(starts, append=series["sent"].size)
        middle = starts + width / 2
        sent = np.add.reduceat(series["sent"], starts)
        packets.plot(middle, sent / width, color=colour, lw=1, label=label)
        for fate, dashes in FATES.items():
            share = 100 * np.add.reduceat(series[fate], starts) / np.maximum(sent, 1)
            fates.plot(middle, share, dashes, color=colour, lw=1)
        used = np.isfinite(series["staleness"])
        count = np.add.reduceat(used.astype(int), starts)
        total = np.add.reduceat(np.where(used, series["staleness"], 0), starts)
        age = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        ages.plot(middle, age, color=colour, lw=1)
    for fate, dashes in FATES.items():
        fates.plot([], [], dashes, color="0.3", lw=1, label=fate.replace("_", " "))
    packets.set_ylabel("packets a step")
    fates.set_ylabel("% of packets")
    ages.set_ylabel("mean age of a\nmailbox (periods)")
    style.count_along(ages, "step of the run")
    for axes in (packets, fates, ages):
        axes.margins(x=0, y=0.1)
        axes.set_ylim(bottom=-0.04 * axes.get_ylim()[1])  # lines along 0 are seen
    fates.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0)
    style.add_legend(figure, packets)
    return figure


def save(teams: Mapping[str, Series], path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(teams), path)
