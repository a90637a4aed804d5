"""The packets that led to one tick, in time and across layers."""

from pathlib import Path

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurosim.analysis.causality import Ancestry
from neurosim.analysis.windows import Units
from neurosim.memory import Floats, Integers
from neurosim.plots import style

FILLED = 0.8  # of a layer's band


def draw(graph: Ancestry, time: Floats, unit: Integers, units: Units, title: str) -> Figure:
    """Draw each packet from its sending to its arrival, and on to its use.

    Parameters
    ----------
    graph : from `analysis.causality.ancestry`.
    time : (rows,) of the window's events up to the tick, mean tick periods from the observation.
    unit : (rows,) of the same events.
    units : of the team.
    """
    style.apply()
    figure = Figure(figsize=(6.4, 4.2))
    axes = figure.subplots()
    height = np.empty(units.layer.size)
    for layer in range(1, units.layer[-1] + 1):
        mine = units.layer == layer
        height[mine] = layer + FILLED * ((np.arange(mine.sum()) + 0.5) / mine.sum() - 0.5)
    start, end = height[unit[graph.cause]], height[unit[graph.effect]]
    sent, arrived, used = time[graph.cause], time[graph.delivery], time[graph.effect]
    up = end > start
    alpha = float(np.clip(60 / max(1, up.size), 0.04, 0.8))
    for mine, colour in ((up, style.COLOURS[0]), (~up, style.COLOURS[1])):
        ways = np.stack([sent, start, arrived, end], axis=1)[mine].reshape(-1, 2, 2)
        waits = np.stack([arrived, end, used, end], axis=1)[mine].reshape(-1, 2, 2)
        for lines, dashes in ((ways, "-"), (waits, ":")):
            axes.add_collection(
                LineCollection(
                    list(lines), colors=colour, alpha=alpha, lw=0.6, ls=dashes, rasterized=True
                )
            )
    tick = graph.rows[-1]
    axes.plot(time[graph.rows], height[unit[graph.rows]], ".", ms=2.5, color="0.2", zorder=3)
    axes.plot(time[tick], height[unit[tick]], "*", ms=12, color="black", zorder=4, clip_on=False)
    axes.set_yticks(range(1, units.layer[-1] + 1))
    counts = np.bincount(units.layer)[1:]
    names = [f"layer {k}" for k in range(1, counts.size)] + ["output"]
    axes.set_yticklabels([f"{name}\n{n} units" for name, n in zip(names, counts, strict=True)])
    axes.set_ylim(0.5, units.layer[-1] + 0.5)
    axes.set_xlim(min(0.0, float(time[graph.rows].min())), float(time[tick]) * 1.02)
    axes.set_xlabel("time since the observation (mean tick periods)")
    axes.set_title(title, fontsize=9)
    handles = [
        Line2D([], [], color=style.COLOURS[0], label="value, on its way up"),
        Line2D([], [], color=style.COLOURS[1], label="error, on its way down"),
        Line2D([], [], color="0.4", ls=":", label="in the mailbox"),
        Line2D([], [], color="black", marker="*", ms=9, ls="none", label="the tick"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def save(
    graph: Ancestry, time: Floats, unit: Integers, units: Units, title: str, path: Path
) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(graph, time, unit, units, title), path)
