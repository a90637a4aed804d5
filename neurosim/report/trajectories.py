"""States that a run went through, episode by episode."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurosim.analysis.observations import Component, observed
from neurosim.analysis.trajectories import trajectory
from neurosim.errors import InputError
from neurosim.memory import Floats
from neurosim.report.figures import Figure, Panel, Plot, figure, numbers, picked
from neurosim.report.subjects import Subject, gather

EPISODES = 120  # of all runs together, at most
STEPS = 300  # of an episode, at most
PASSING = [[0, "#56B4E9"], [0.5, "#0072B2"], [1, "#D55E00"]]  # of time, from begin to end


def panel(subjects: Sequence[Subject]) -> Panel:
    """The pair of components that is usual for a task, of the chosen run and episode."""
    found, missing = gather(subjects, lambda subject: _views(subject, EPISODES // len(subjects)))
    reading = (
        "Each dot is what the agent saw at a step, light blue at the beginning of the episode and "
        "orange at its end; move the slider to see how behaviour changes as the run learns."
    )
    if len(found) == 1:
        plots = [Plot(found[0][1], (("slider", "episode"),))]
    else:
        choices = [{"label": subject.label, **views} for subject, views in found]
        plots = [Plot({"choices": choices}, (("select", "run"), ("slider", "episode")))]
    return Panel("trajectories", "States", reading, plots if found else [], missing)


def _views(subject: Subject, most: int) -> dict[str, Any]:
    """Some episodes of a run, evenly spread, on the same axes."""
    if not subject.done:
        raise InputError("no episode is finished yet; make the page again later.")
    seen = observed(subject.run)
    x, y = seen.usual
    pair = seen.components[x], seen.components[y]
    chosen = picked(subject.done, most) + 1
    paths = [trajectory(subject.run, int(episode), (x, y)) for episode in chosen]
    ranges = [_range([path[:, k] for path in paths], component) for k, component in enumerate(pair)]
    choices = []
    for episode, path in zip(chosen, paths, strict=True):
        score = float(subject.run.episodes["return"][episode - 1])
        label = f"{episode} of {subject.done}: return {score:.4g}, {len(path)} steps"
        choices.append({"label": label, **_figure(path, pair, ranges)})
    return {"choices": choices}


def _figure(
    path: Floats, pair: tuple[Component, Component], ranges: Sequence[list[float]]
) -> Figure:
    """One episode."""
    steps = picked(len(path), STEPS)
    x, y = (numbers(column) for column in path[steps].T)
    way = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": x,
        "y": y,
        "line": {"width": 1, "color": "#b6bcc4"},
        "marker": {
            "size": 6,
            "color": numbers(steps),
            "colorscale": PASSING,
            "cmin": 0,
            "cmax": max(1, len(path) - 1),
            "colorbar": {"title": {"text": "step"}, "thickness": 12, "outlinewidth": 0},
        },
        "hovertemplate": "step %{marker.color}: %{x}, %{y}<extra></extra>",
        "showlegend": False,
    }
    notes = [
        {
            "x": x[k],
            "y": y[k],
            "ax": 0,
            "ay": away,
            "text": f"<b>{text}</b>",
            "arrowwidth": 1.5,
            "bgcolor": "rgba(255,255,255,0.8)",
        }
        for k, text, away in ((0, "start", 40), (-1, "end", -40))
    ]
    shapes = []
    for name, other, component in zip("xy", "yx", pair, strict=True):
        if component.goal is None:
            continue
        dashed = {"dash": "dash", "color": "#009E73", "width": 2}
        across = {f"{other}ref": "paper", f"{other}0": 0, f"{other}1": 1}
        at = {f"{name}0": component.goal, f"{name}1": component.goal}
        shapes.append({"type": "line", "line": dashed, "layer": "below", **across, **at})
        place = {name: component.goal, other: 1, f"{other}ref": "paper", f"{name}ref": name}
        notes.append(
            {
                **place,
                "text": "goal",
                "showarrow": False,
                "font": {"color": "#007a59"},
                "xanchor": "right",
                "yanchor": "bottom" if name == "y" else "top",
            }
        )
    return figure(
        [way],
        pair[0].label,
        pair[1].label,
        x_axis={"range": ranges[0]},
        y_axis={"range": ranges[1]},
        shapes=shapes,
        annotations=notes,
        height=420,
    )


def _range(values: Sequence[Floats], component: Component) -> list[float]:
    """What an axis spans: all values, the goal, and the bounds where the task has both."""
    ends = [each.min() for each in values] + [each.max() for each in values]
    ends += [each for each in (component.goal,) if each is not None]
    if component.low is not None and component.high is not None:
        ends += [component.low, component.high]
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low) or 1.0
    span: list[float] = numbers(np.array([low - room, high + room]))
    return span
