"""Estimated energy of a decision, as ranges, of several runs."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from neurosim.analysis.energy import Range
from neurosim.plots import style

MICRO = 1e6


def draw(runs: Mapping[str, Mapping[str, Range]]) -> Figure:
    """Draw one bar from low to high for each run and kind of hardware.

    Parameters
    ----------
    runs : for each label, ranges in joules by hardware.
    """
    style.apply()
    hardware = list(next(iter(runs.values())))
    figure = Figure(figsize=(6.4, 1.3 + 0.25 * len(runs) * len(hardware)))
    axes = figure.subplots()
    for index, (label, ranges) in enumerate(runs.items()):
        colour = style.COLOURS[index % len(style.COLOURS)]
        for row, name in enumerate(hardware):
            low, high = MICRO * ranges[name].low, MICRO * ranges[name].high
            y = -row + 0.4 - 0.8 * (index + 0.5) / len(runs)
            text = label if row == 0 else ""
            axes.barh(y, high - low, 0.7 / len(runs), low, color=colour, label=text)
    axes.set_xscale("log")
    axes.set_yticks([-row for row in range(len(hardware))], hardware)
    axes.set_xlabel("energy a step, actor and critic (µJ): an estimate, low to high")
    axes.grid(axis="x", which="both", lw=0.3, color="0.8")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def save(runs: Mapping[str, Mapping[str, Range]], path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(runs), path)
