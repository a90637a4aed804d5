"""Scores of the conditions of a grid, with their uncertainty."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurosim.plots import style

ROOM = 50  # characters of names that stand side by side
SHIFT = 0.12  # between the lines of a category


class Point(NamedTuple):
    """A condition."""

    names: tuple[str, ...]  # of its values, axis by axis
    scores: Sequence[float]  # (seeds,)
    mean: float
    interval: Sequence[float]  # low, high; nan: none


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


def draw(axes: Sequence[Axis], points: Sequence[Point], score: str = "average return") -> Figure:
    """Draw the last axis of the grid along the abscissa, and a line for each other combination.

    Parameters
    ----------
    axes : of the grid, one at least.
    points : all conditions.
    score : label of the ordinate.

    Returns
    -------
    The figure.  Dots are runs; bars are intervals of the mean.
    """
    style.apply()
    figure = Figure(figsize=(5.6, 3.6))
    panel = figure.subplots()
    along = axes[-1]
    numbers = along.numbers
    places = numbers or [float(k) for k in range(len(along.settings))]
    at = dict(zip(along.settings, places, strict=True))
    lines: dict[tuple[str, ...], list[Point]] = {}
    for point in points:
        lines.setdefault(point.names[:-1], []).append(point)
    gap = min(np.diff(sorted(places)), default=1.0)
    for index, (names, of_line) in enumerate(lines.items()):
        shift = SHIFT * gap * (index - (len(lines) - 1) / 2) / max(1, len(lines) - 1)
        label = ", ".join(f"{a.label} = {n}" for a, n in zip(axes[:-1], names, strict=True))
        _draw_line(panel, of_line, at, shift, index, label, joined=numbers is not None)
    if numbers is None:
        panel.set_xticks(places, list(along.settings))
        if sum(map(len, along.settings)) > ROOM:
            for tick in panel.get_xticklabels():
                tick.set(rotation=25, ha="right")
    panel.set_xlabel(along.label)
    runs = {len(point.scores) for point in points}
    count = f"{min(runs)}" if len(runs) == 1 else f"{min(runs)} to {max(runs)}"
    panel.set_ylabel(f"{score}, {count} runs each")
    if len(axes) > 1:
        style.add_legend(figure, panel)
    return figure


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
    means = [point.mean for point in points]
    for place, point in zip(x, points, strict=True):
        panel.plot([place] * len(point.scores), point.scores, ".", ms=3, alpha=0.35, color=colour)
        if point.interval[0] == point.interval[0]:
            panel.plot([place, place], list(point.interval), color=colour, lw=1.5)
    panel.plot(x, means, "o-" if joined else "o", ms=5, lw=1.2, color=colour, label=label)
