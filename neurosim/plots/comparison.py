"""Scores of the conditions of a grid, with their uncertainty."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurosim.memory import Floats
from neurosim.plots import style

ROOM = 50  # characters of names that stand side by side
SHIFT = 0.12  # between the lines of a category


class Point(NamedTuple):
    """A condition."""

    names: tuple[str, ...]  # of its values, axis by axis
    values: Sequence[float] | Floats  # (seeds,)
    middle: float  # their mean or median
    interval: Sequence[float] | None = None  # low, high, of the mean; nan: unknown


class Panel(NamedTuple):
    """What is drawn of all conditions."""

    label: str  # of the ordinate
    points: Sequence[Point]
    log: bool = False


class Marks(NamedTuple):
    """Places along the abscissa, drawn as upright lines in the first panel."""

    label: str  # what lies there
    places: Sequence[float]  # of each line; inf: none


class Axis(Protocol):
    """What differs in one respect."""

    @property
    def label(self) -> str:
        """Label of the axis of a figure."""

    @property
    def settings(self) -> Mapping[str, object]:
        """Its values by name."""

    @property
    def numbers(self) -> list[float] | None:
        """Its values as numbers, None where they are not."""


def draw(axes: Sequence[Axis], panels: Sequence[Panel], marks: Marks | None = None) -> Figure:
    """Draw the last axis of the grid along the abscissa, and a line for each other combination.

    Parameters
    ----------
    axes : of the grid, one at least.
    panels : one below the other, each of all conditions.
    marks : what is marked along the abscissa, if anything.

    Returns
    -------
    The figure.  Dots are runs; bars are intervals of the mean.
    """
    style.apply()
    figure = style.Figure(figsize=(5.6, 1.4 + 2.2 * len(panels)))
    column = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    along = axes[-1]
    numbers = along.numbers
    places = numbers or [float(k) for k in range(len(along.settings))]
    at = dict(zip(along.settings, places, strict=True))
    gap = min(np.diff(sorted(places)), default=1.0)
    for panel, (label, points, log) in zip(column, panels, strict=True):
        lines: dict[tuple[str, ...], list[Point]] = {}
        for point in points:
            lines.setdefault(point.names[:-1], []).append(point)
        for index, (names, of_line) in enumerate(lines.items()):
            shift = SHIFT * gap * (index - (len(lines) - 1) / 2) / max(1, len(lines) - 1)
            line = ", ".join(f"{a.label} = {n}" for a, n in zip(axes[:-1], names, strict=True))
            _draw_line(panel, of_line, at, shift, index, line, joined=numbers is not None)
        panel.set_ylabel(label)
        if log:
            panel.set_yscale("log")
    if numbers is None:
        column[-1].set_xticks(places, list(along.settings))
        if sum(map(len, along.settings)) > ROOM:
            for tick in column[-1].get_xticklabels():
                tick.set(rotation=25, ha="right")
    if marks is not None:
        _draw_marks(column[0], marks)
    runs = style.spanned(len(point.values) for point in panels[0].points)
    reading = f"{runs} runs each (small dots); mean with 95 % interval"
    reading += "; below it medians" if len(panels) > 1 else ""
    column[-1].set_xlabel(f"{along.label}\n{reading}", linespacing=1.6)
    style.add_legend(figure, column[0])
    return figure


def _draw_marks(panel: Axes, marks: Marks) -> None:
    """Each in the colour of its line; the legend has one entry for all."""
    left, right = panel.get_xlim()
    for index, place in enumerate(marks.places):
        if left <= place <= right:
            panel.axvline(place, color=style.look(index)["color"], lw=1, ls="--")
    panel.plot([], [], color="0.3", lw=1, ls="--", label=marks.label)


def _draw_line(
    panel: Axes,
    points: Sequence[Point],
    at: Mapping[str, float],
    shift: float,
    index: int,
    label: str,
    *,
    joined: bool,
) -> None:
    colour = style.COLOURS[index % len(style.COLOURS)]
    x = [at[point.names[-1]] + shift for point in points]
    middles = [point.middle for point in points]
    for place, point in zip(x, points, strict=True):
        panel.plot([place] * len(point.values), point.values, ".", ms=3, alpha=0.35, color=colour)
        if point.interval is not None and not np.isnan(point.interval).any():
            panel.plot([place, place], list(point.interval), color=colour, lw=1.5)
    dashes = style.look(index)["ls"] if joined else "none"
    panel.plot(x, middles, marker="o", ls=dashes, ms=5, lw=1.2, color=colour, label=label)
