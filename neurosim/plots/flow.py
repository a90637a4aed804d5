"""What went from unit to unit in one step: the paper's Fig. 6, with what was counted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

from neurosim.analysis.flow import Flow
from neurosim.analysis.windows import Units
from neurosim.memory import Floats, Integers
from neurosim.plots import style

VALUES, ERRORS, TD_ERROR, GATE = (style.COLOURS[k] for k in (0, 1, 2, 3))
WIDTH, GUTTER = 10.0, 4.2  # of a team, and between the two
STOREY = 5.2  # from layer to layer
MARGIN, SIDE = 1.1, 5.2  # of the gate's line, and of the labels at both sides
RADIUS, GAP = 0.85, 0.95  # of a unit, and from its centre to the arrows
APART = 0.16  # values and errors on their way between the same two units
INCH = 0.25
SHOWN = 4  # components of the observation
THIN: dict[str, Any] = {"lw": 0.5}
DASHED: dict[str, Any] = {"color": TD_ERROR, "lw": 1.3, "ls": "--"}
DOTTED: dict[str, Any] = {"color": GATE, "lw": 1.3, "ls": ":"}


class Team(NamedTuple):
    """One half of the figure."""

    units: Units
    chosen: Integers  # units that are drawn
    flow: Flow
    softmax: bool  # whether the output's units are the outcomes of one agent


def draw(teams: Mapping[str, Team], title: str) -> Figure:
    """Draw both teams side by side, a few units of each layer.

    Parameters
    ----------
    teams : actor and critic, in this order.
    title : of the figure.
    """
    style.apply()
    layers = max(int(team.units.layer[-1]) for team in teams.values())
    height = STOREY * layers + 3.4
    width = 2 * WIDTH + GUTTER + MARGIN + 2 * SIDE
    figure = style.Figure(figsize=(INCH * width, INCH * height + 0.7))
    axes = figure.subplots()
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_xlim(-SIDE, width - SIDE)
    axes.set_ylim(-1.0, height - 1.0)
    for number, (name, team) in enumerate(teams.items()):
        left = number * (WIDTH + GUTTER)
        top = STOREY * int(team.units.layer[-1])
        axes.text(left + WIDTH / 2, top + 1.5, name, ha="center", fontsize=12, weight="bold")
        _draw_team(axes, team, left, outside=-1 if number == 0 else +1)
    actor, critic = teams.values()
    _draw_td_error(axes, actor, critic)
    _draw_gate(axes, critic)
    style.add_title(figure, title)
    handles = [
        Line2D([], [], color=VALUES, marker="^", ms=5, label="values, up"),
        Line2D([], [], color=ERRORS, marker="v", ms=5, label="error packets, down"),
        Line2D([], [], color=TD_ERROR, ls="--", label="td_error, and how many it reached"),
        Line2D([], [], color=GATE, ls=":", label="gate, to the critic"),
        Line2D(
            [],
            [],
            color="0.3",
            marker="o",
            mfc="white",
            ms=9,
            ls="none",
            label="unit, with its ticks",
        ),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8)
    return figure


def save(teams: Mapping[str, Team], title: str, path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(teams, title), path)


def _draw_team(axes: Axes, team: Team, left: float, outside: int) -> None:
    units, chosen, flow, softmax = team
    layer = units.layer[chosen]
    places = np.empty((chosen.size, 2))
    size = np.bincount(units.layer)
    for l in range(1, size.size):
        mine = np.flatnonzero(layer == l)
        places[mine, 0] = left + _columns(mine.size)
        places[mine, 1] = STOREY * l
        name = "output" if l == size.size - 1 else f"layer {l}"
        agent = softmax and l == size.size - 1
        noun = "outcome" if agent else "unit"
        text = f"{name}{', one agent' * agent}\n{_shown(mine.size, int(size[l]), noun)}"
        _label_row(axes, left, STOREY * l, outside, text)
    for direction, colour in enumerate((VALUES, ERRORS)):
        for i, j in zip(*np.nonzero(flow.arrived[direction]), strict=True):
            shift = np.array([APART if direction else -APART, 0.0])
            _arrow(axes, places[i] + shift, places[j] + shift, GAP, color=colour, **THIN)
    components = left + _columns(min(SHOWN, flow.observed))
    for x in components:
        for place in places[layer == 1]:
            _arrow(axes, np.array([x, 0.0]), place, GAP, color=VALUES, **THIN)
        axes.add_patch(Rectangle((x - 0.5, -0.5), 1, 1, fc="white", ec="0.3", zorder=3))
    text = f"state\n{_shown(components.size, flow.observed, 'component')}"
    _label_row(axes, left, 0.0, outside, text)
    _count(axes, left + WIDTH / 2, STOREY / 2, f"{flow.observed:,} observed", VALUES)
    for l in range(1, size.size - 1):
        up, down = (int(flow.sent[d][units.layer == l + d].sum()) for d in (0, 1))
        y = STOREY * (l + 0.5)
        _count(axes, left + 0.24 * WIDTH, y, f"{up:,} values ↑", VALUES)
        _count(axes, left + 0.76 * WIDTH, y, f"{down:,} errors ↓", ERRORS)
    for (x, y), unit in zip(places, chosen, strict=True):
        axes.add_patch(Circle((x, y), RADIUS, fc="white", ec="0.3", zorder=3))
        axes.text(x, y, f"{flow.ticks[unit]}", ha="center", va="center", fontsize=8, zorder=4)


def _draw_td_error(axes: Axes, actor: Team, critic: Team) -> None:
    """The broadcast from the critic's output to the units of both teams."""
    bus, top = WIDTH + GUTTER / 2, STOREY * int(critic.units.layer[-1])
    branches = [
        (side, STOREY * l, int(team.flow.reached[team.units.layer == l].sum()))
        for team, side in ((actor, -1), (critic, +1))
        for l in range(1, int(team.units.layer[-1]) + 1)
    ]
    heights = [y for _, y, reached in branches if reached]
    if not heights:
        return
    source, turn = WIDTH + GUTTER + _output(critic), top + 1.1
    axes.plot([source, source, bus], [top + RADIUS, turn, turn], **DASHED)
    axes.plot([bus, bus], [min(heights), max(turn, *heights)], **DASHED)
    text = f"td_error = {critic.flow.td_error:.3g}"
    axes.text(bus, turn + 0.3, text, color=TD_ERROR, ha="center", fontsize=9)
    for side, y, reached in branches:
        if reached:
            end = bus + side * GUTTER / 2
            _arrow(axes, np.array([bus, y]), np.array([end, y]), 0.0, **DASHED)
            x, words = bus + side * GUTTER / 4, f"to {reached:,}"
            axes.text(x, y + 0.2, words, color=TD_ERROR, ha="center", fontsize=8)


def _draw_gate(axes: Axes, critic: Team) -> None:
    """The broadcast from the critic's output to the units below it."""
    last = int(critic.units.layer[-1])
    if not critic.flow.gates or last < 2:
        return
    right = 2 * WIDTH + GUTTER
    bus, top = right + MARGIN, STOREY * last
    source = WIDTH + GUTTER + _output(critic) + RADIUS
    axes.plot([source, bus, bus], [top, top, STOREY], **DOTTED)
    axes.text(
        (source + bus) / 2, top + 0.3, "gate 1 / (A - mu)", color=GATE, ha="center", fontsize=8
    )
    for l in range(1, last):
        _arrow(axes, np.array([bus, STOREY * l]), np.array([right, STOREY * l]), 0.0, **DOTTED)


def _output(team: Team) -> float:
    """Where the last unit of the output stands."""
    layer = team.units.layer
    return float(_columns(int(np.sum(layer[team.chosen] == layer[-1])))[-1])


def _columns(count: int) -> Floats:
    """Where so many units of a layer stand."""
    return WIDTH * (np.arange(count) + 0.5) / count


def _shown(count: int, of: int, noun: str) -> str:
    """Such as "4 of 64 units"."""
    return f"{f'{count} of ' if count < of else ''}{of:,} {noun}{'s' if of > 1 else ''}"


def _label_row(axes: Axes, left: float, y: float, outside: int, text: str) -> None:
    x = left - 0.4 if outside < 0 else left + WIDTH + MARGIN + 0.4
    align = "right" if outside < 0 else "left"
    axes.text(x, y, text, ha=align, va="center", fontsize=9)


def _count(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    box = {"fc": "white", "ec": colour, "lw": 0.8, "boxstyle": "round,pad=0.3"}
    axes.text(x, y, text, color=colour, ha="center", va="center", fontsize=9, bbox=box, zorder=5)


def _arrow(axes: Axes, start: Floats, end: Floats, gap: float, **line: Any) -> None:
    """From one place to another, but for a gap at both ends."""
    way = gap * (end - start) / np.hypot(*(end - start))
    head: dict[str, Any] = {
        "arrowstyle": "-|>",
        "mutation_scale": 5,
        "shrinkA": 0,
        "shrinkB": 0,
        "zorder": 2,
    }
    axes.add_patch(FancyArrowPatch(tuple(start + way), tuple(end - way), **head, **line))
