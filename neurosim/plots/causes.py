"""The packets that led to one tick, in time and across layers."""

from pathlib import Path

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurosim.analysis.causality import Places
from neurosim.analysis.windows import Units
from neurosim.plots import style

FILLED = 0.8  # of a layer's band
VISIBLE = 100  # packets of a hop that are drawn opaque; more of them fade


def draw(places: Places, units: Units, title: str) -> Figure:
    """Draw each packet from its sending to its arrival, and on to its use.

    Parameters
    ----------
    places : of the packets that led to a tick, which is the last of its rows.
    units : of the team.
    """
    style.apply()
    figure = style.Figure(figsize=(6.4, 4.2))
    axes = figure.subplots()
    height = np.empty(units.layer.size)
    for layer in range(1, units.layer[-1] + 1):
        mine = units.layer == layer
        height[mine] = layer + FILLED * ((np.arange(mine.sum()) + 0.5) / mine.sum() - 0.5)
    start, end = height[places.sender], height[places.receiver]
    sent, arrived, used = places.sent, places.arrived, places.used
    up = end > start
    for hop in range(places.hop.max(initial=0), 0, -1):
        for direction, colour in ((up, style.COLOURS[0]), (~up, style.COLOURS[1])):
            mine = direction & (places.hop == hop)
            alpha = float(np.clip(VISIBLE / max(1, mine.sum()), 0.06, 0.9))
            ways = np.stack([sent, start, arrived, end], axis=1)[mine].reshape(-1, 2, 2)
            waits = np.stack([arrived, end, used, end], axis=1)[mine].reshape(-1, 2, 2)
            for lines, dashes in ((ways, "-"), (waits, ":")):
                axes.add_collection(
                    LineCollection(
                        list(lines), colors=colour, alpha=alpha, lw=0.6, ls=dashes, rasterized=True
                    )
                )
    rows = height[places.unit]
    axes.plot(places.time, rows, ".", ms=2.5, color="0.2", zorder=3)
    axes.plot(places.time[-1], rows[-1], "*", ms=12, color="black", zorder=4, clip_on=False)
    axes.set_yticks(range(1, units.layer[-1] + 1))
    counts = np.bincount(units.layer)[1:]
    names = [f"layer {k}" for k in range(1, counts.size)] + ["output"]
    axes.set_yticklabels([f"{name}\n{n} units" for name, n in zip(names, counts, strict=True)])
    axes.set_ylim(0.5, units.layer[-1] + 0.5)
    axes.set_xlim(0, 1.02 * places.time[-1])
    axes.set_xlabel("time since the observation (mean tick periods)")
    style.add_title(figure, title)
    handles = [
        Line2D([], [], color=style.COLOURS[0], label="value, on its way up"),
        Line2D([], [], color=style.COLOURS[1], label="error, on its way down"),
        Line2D([], [], color="0.4", ls=":", label="in the mailbox"),
        Line2D([], [], color="black", marker="*", ms=9, ls="none", label="the tick"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def save(places: Places, units: Units, title: str, path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(places, units, title), path)
