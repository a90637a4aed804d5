"""Packets on their way from unit to unit in the course of one step, as an animation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurosim.analysis.packets import Course, Transits
from neurosim.analysis.windows import Units
from neurosim.errors import InputError, RunError
from neurosim.memory import Floats, Integers
from neurosim.plots import style

VALUES, ERRORS, TD_ERROR = (style.COLOURS[k] for k in (0, 1, 2))
FRAMES = 5  # for each period
RATE = 10  # frames a second
SHIFT = 0.006  # of packets going up to the left, and going down to the right, of the line
FLASH = 0.75  # periods for which a unit shows that the td_error has reached it
TITLE = 70  # characters of a line of the title
LARGE = 3.0  # standard deviations of a layer's values beyond which colours do not change


class Film(NamedTuple):
    """A figure that changes from frame to frame."""

    figure: Figure
    update: Callable[[int], None]  # to a frame, from 0
    frames: int


def draw(
    units: Units,
    chosen: Integers,
    packets: Transits,
    values: Course,
    broadcasts: Course,
    title: str,
) -> Film:
    """Animate a step: packets are dots that move from sender to receiver, units are circles.

    A unit's colour is its value, less the mean of its layer's values in this step, in their
    standard deviations; white until it has one.

    Parameters
    ----------
    units : of the team.
    chosen : (m,) units that are drawn.
    packets, values, broadcasts : of the step, see `analysis.packets`.
    title : of the animation; the time is added.
    """
    style.apply()
    figure = style.Figure(figsize=(6.0, 4.0), dpi=80)
    axes = figure.subplots()
    axes.set_axis_off()
    places = _places(units.layer[chosen])
    legs = _legs(units, chosen, packets)
    for sender, receiver in np.unique(np.sort(legs[1], axis=0), axis=1).T:
        axes.plot(*places[[sender, receiver]].T, color="0.9", lw=0.5, zorder=0)
    dots = axes.scatter([], [], s=9, zorder=2)
    x, y = places.T
    circles = axes.scatter(x, y, s=260, c="white", edgecolors="0.3", zorder=3)
    _label(axes, units.layer[chosen], places)
    title = style.wrapped(title, TITLE)
    clock = axes.set_title(title, fontsize=9)
    _add_legend(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # once is enough
    end = max(packets.arrived.max(initial=0.0), values.time.max(initial=0.0))
    shown = _scaled(units, values)

    def update(frame: int) -> None:
        now = frame / FRAMES
        points, colours = _on_their_way(legs, places, packets, now)
        dots.set_offsets(points)
        dots.set_color(colours)
        circles.set_facecolor([_colour(shown, unit, now) for unit in chosen])
        reached = {
            int(unit)
            for time, unit in zip(broadcasts.time, broadcasts.unit, strict=True)
            if time <= now < time + FLASH
        }
        circles.set_edgecolor([TD_ERROR if unit in reached else "0.3" for unit in chosen])
        circles.set_linewidth([3.0 if unit in reached else 1.0 for unit in chosen])
        clock.set_text(f"{title}, {now:.1f} periods")

    frames = int(np.ceil(end * FRAMES)) + RATE // 2
    return Film(figure, update, frames)


def check_writer(path: Path) -> None:
    """Raise InputError where what writes an animation to `path` is not installed."""
    if path.suffix == ".mp4" and not FFMpegWriter.isAvailable():
        raise InputError(f"-o {path}: .mp4 files need ffmpeg; install it, or write a .gif.")


def save(film: Film, path: Path) -> None:
    """Write an animation.  Raises RunError where that fails."""
    animation = FuncAnimation(film.figure, film.update, frames=film.frames)
    writer = (PillowWriter if path.suffix == ".gif" else FFMpegWriter)(fps=RATE)
    try:
        animation.save(str(path), writer=writer)
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror}.") from error


def _places(layer: Integers) -> Floats:
    """Where units stand, layer above layer."""
    found = np.empty((layer.size, 2))
    for l in np.unique(layer):
        mine = np.flatnonzero(layer == l)
        found[mine, 0] = (np.arange(mine.size) + 0.5) / mine.size
        found[mine, 1] = l
    return found


def _legs(units: Units, chosen: Integers, packets: Transits) -> tuple[Integers, Integers]:
    """Of each packet and each chosen unit that it reaches: the packet, and (sender, receiver)."""
    index, ways = [], []
    at = {int(unit): k for k, unit in enumerate(chosen)}
    layer = units.layer[chosen]
    for k, (sender, receiver) in enumerate(zip(packets.sender, packets.receiver, strict=True)):
        if int(sender) not in at:
            continue
        towards = units.layer[sender] + (1 if packets.up[k] else -1)
        to = np.flatnonzero(layer == towards) if receiver == -1 else [at.get(int(receiver), -1)]
        for each in to:
            if each >= 0:
                index.append(k)
                ways.append((at[int(sender)], int(each)))
    return np.array(index, np.int64), np.array(ways, np.int64).reshape(-1, 2).T


def _on_their_way(
    legs: tuple[Integers, Integers], places: Floats, packets: Transits, now: float
) -> tuple[Floats, list[str]]:
    """Where packets are at a time, and their colours.  One without delay is seen for a frame."""
    index, (sender, receiver) = legs
    sent, took = packets.sent[index], (packets.arrived - packets.sent)[index]
    part = (now - sent) / np.maximum(took, 1.0 / FRAMES)
    there = (part >= 0.0) & (part < 1.0)
    way = places[receiver[there]] - places[sender[there]]
    points = places[sender[there]] + part[there, None] * way
    up = packets.up[index][there]
    points[:, 0] += np.where(up, -SHIFT, SHIFT)
    return points, [VALUES if each else ERRORS for each in up]


def _scaled(units: Units, values: Course) -> Course:
    """Values less the mean of their layer's values in the step, in their standard deviations."""
    scaled = values.value.astype(float)
    layer = units.layer[values.unit]
    for l in np.unique(layer):
        mine = layer == l
        scaled[mine] = (scaled[mine] - scaled[mine].mean()) / (scaled[mine].std() or 1.0)
    return values._replace(value=scaled)


def _colour(shown: Course, unit: int, now: float) -> tuple[float, float, float]:
    """From blue (low) over white to red (high); white before the unit has a value."""
    mine = np.flatnonzero((shown.unit == unit) & (shown.time <= now))
    if not mine.size:
        return (1.0, 1.0, 1.0)
    level = float(np.clip(shown.value[mine[-1]] / LARGE, -1.0, 1.0))
    faded = 1.0 - abs(level)
    return (1.0, faded, faded) if level > 0.0 else (faded, faded, 1.0)


def _label(axes: Axes, layer: Integers, places: Floats) -> None:
    last = int(layer.max())
    for l in np.unique(layer):
        text = "output" if l == last else f"layer {l}"
        axes.text(-0.06, l, text, ha="right", va="center", fontsize=9)
    axes.set_xlim(-0.2, 1.05)
    axes.set_ylim(0.6, last + 0.4)


def _add_legend(figure: Figure) -> None:
    dot: dict[str, Any] = {"ls": "none", "marker": "o"}
    handles = [
        Line2D([], [], color=VALUES, ms=4, label="values, up", **dot),
        Line2D([], [], color=ERRORS, ms=4, label="error packets, down", **dot),
        Line2D([], [], mfc="white", mec=TD_ERROR, mew=2.5, ms=9, label="td_error", **dot),
        Line2D([], [], color="red", ms=9, label="high value", **dot),
        Line2D([], [], color="blue", ms=9, label="low value", **dot),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8)
