"""Activity of a team in a window: raster of its units, and statistics of each beside it."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from neurosim.analysis.activity import Raster, Statistics
from neurosim.analysis.windows import Units
from neurosim.plots import style

SHOWN = 99  # percentile at which the colours end


def draw(
    raster: Raster, statistics: Statistics, units: Units, near: float, axis: str, title: str
) -> Figure:
    """Draw units from the first hidden one up, output on top.

    Parameters
    ----------
    raster, statistics : of one team in one window.
    units : of the team.
    near : the threshold of the statistics.
    axis : what the raster's columns are.
    """
    style.apply()
    figure = style.Figure(figsize=(8.2, 4.2))
    left, *right = figure.subplots(1, 4, sharey=True, width_ratios=[5, 1.2, 1.2, 1.2])
    low, high = np.nanpercentile(raster.values, [100 - SHOWN, SHOWN])
    image = left.imshow(
        raster.values,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(raster.edges[0], raster.edges[-1], -0.5, units.layer.size - 0.5),
        cmap="viridis",
        vmin=low,
        vmax=high,
    )
    number = np.arange(units.layer.size)
    right[0].errorbar(
        statistics.mean, number, xerr=statistics.std, fmt=".", ms=3, lw=0.8, alpha=0.9
    )
    right[0].set_xlabel("value,\nmean ± std")
    right[1].plot(statistics.rate, number, ".", ms=3)
    right[1].set_xlabel("ticks a period")
    right[2].plot(100 * statistics.near_zero, number, ".", ms=3)
    right[2].set_xlabel(f"% of time\n|value| ≤ {near:g}")
    right[1].set_xlim(left=0)
    right[2].set_xlim(-5, 105)
    for axes in (left, *right):
        for border in np.flatnonzero(np.diff(units.layer)) + 0.5:
            axes.axhline(border, color="black", lw=0.6)
    last = units.layer[-1]
    for layer in range(1, last + 1):
        middle = number[units.layer == layer].mean()
        name = "output" if layer == last else f"layer {layer}"
        right[2].annotate(
            name,
            (1.04, middle),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
        )
    style.count_along(left, axis)
    left.set_ylabel("unit")
    style.add_title(figure, title)
    bar = figure.colorbar(image, ax=left, extend="both", pad=0.01)
    bar.ax.set_title("value", fontsize=8)
    return figure


def save(
    raster: Raster,
    statistics: Statistics,
    units: Units,
    near: float,
    axis: str,
    title: str,
    path: Path,
) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(raster, statistics, units, near, axis, title), path)
