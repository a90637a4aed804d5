"""Estimated energy of a decision, as ranges, of several runs."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from neurosim.analysis.energy import Range
from neurosim.plots import style

MICRO = 1e6


def draw(runs: Mapping[str, Mapping[str, Range]]) -> Figure:
    """Draw one line from low to high for each run and kind of hardware.

    Parameters
    ----------
    runs : for each label, ranges in joules by hardware.
    """
    style.apply()
    hardware = list(next(iter(runs.values())))
    figure = style.Figure(figsize=(6.4, 1.3 + 0.25 * len(runs) * len(hardware)))
    axes = figure.subplots()
    extremes: list[float] = []
    for index, (label, ranges) in enumerate(runs.items()):
        for row, name in enumerate(hardware):
            low, high = MICRO * ranges[name].low, MICRO * ranges[name].high
            y = -row + 0.4 - 0.8 * (index + 0.5) / len(runs)
            text = label if row == 0 else ""
            axes.plot([low, high], [y, y], marker="o", ms=4, lw=3, label=text, **style.look(index))
            extremes += [low, high]
    axes.set_xscale("log")
    first, last = np.floor(np.log10(min(extremes))), np.ceil(np.log10(max(extremes)))
    axes.set_xlim(10.0**first, 10.0**last)
    axes.set_yticks([-row for row in range(len(hardware))], hardware)
    axes.set_xlabel("energy a step, actor and critic (µJ): an estimate, low to high")
    axes.grid(axis="x", which="both", lw=0.3, color="0.8")
    axes.set_axisbelow(True)
    style.add_legend(figure, axes)
    return figure


def save(runs: Mapping[str, Mapping[str, Range]], path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(runs), path)
