"""What runs scored: returns of episodes, or rewards of the batches of Algorithm 1."""

from collections.abc import Sequence

import numpy as np

from neurosim.analysis.returns import running_average
from neurosim.errors import InputError
from neurosim.memory import Floats
from neurosim.report.figures import (
    POINTS,
    Figure,
    Panel,
    Plot,
    Trace,
    band,
    binned,
    faint,
    figure,
    line,
    numbers,
    picked,
)
from neurosim.report.subjects import RUNS, Subject, gather, units_of_time

WINDOW = 100
SHOWN_FROM = 0.03  # of a run of batches: the axis spans what lies behind


def scores(subject: Subject) -> Floats:
    """Returns of a run's episodes, or mean rewards of its batches.

    Raises
    ------
    InputError : it has finished none yet.
    """
    if not subject.done:
        unit = "batch" if subject.batches else "episode"
        raise InputError(f"no {unit} is finished yet; make the page again later.")
    run = subject.run
    values: Floats = (run.batches["reward"] if subject.batches else run.episodes["return"])[:]
    return values


def panel(subjects: Sequence[Subject]) -> Panel:
    """A plot for each task."""
    found, missing = gather(subjects, scores)
    tasks: dict[str, list[tuple[Subject, Floats]]] = {}
    for subject, values in found:
        tasks.setdefault(subject.spec.task.id, []).append((subject, values))
    many = any(len(runs) > RUNS for runs in tasks.values())
    reading = (
        "Lines are medians of the runs of a model, bands hold the middle 80 % of them"
        if many
        else f"Lines are averages of the last {WINDOW} {units_of_time(subjects)}, dots single ones "
        "or, where these are many, means of as many as a dot stands for"
    )
    plots = [Plot(_figure(runs), title=task) for task, runs in tasks.items()]
    reading += "; up is better, and a line that has become flat has stopped learning."
    return Panel("returns", "What was scored", reading, plots, missing)


def _figure(runs: Sequence[tuple[Subject, Floats]]) -> Figure:
    batches = runs[0][0].batches
    draw = _each if len(runs) <= RUNS else _quantiles
    data = draw(runs)
    unit, value = ("batch", "mean reward") if batches else ("episode", "return")
    more = {}
    if batches:  # the first errors of a regression are a hundred times the last ones
        shown = [binned(values)[1] for _, values in runs]
        later = np.concatenate([each[int(SHOWN_FROM * each.size) :] for each in shown])
        room = 0.1 * np.ptp(later) or 0.05
        more["range"] = numbers([later.min() - room, later.max() + room])
    return figure(data, unit, value, y_axis=more, height=380)


def _each(runs: Sequence[tuple[Subject, Floats]]) -> list[Trace]:
    """Dots and a line for each run; dots lie below the lines of all."""
    dots, lines = [], []
    for subject, values in runs:
        bounds, means = binned(values)
        middle = (bounds[:-1] + bounds[1:] + 1) / 2  # episodes count from 1
        shown = picked(values.size)
        colour, name = subject.colour, subject.label
        text = f"mean of {bounds[1]}: " if bounds[1] > 1 else ""
        dots.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": numbers(middle, 6),
                "y": numbers(means),
                "marker": {"size": 4, "color": faint(colour, 0.35)},
                "hovertemplate": f"{text}%{{y}}<extra></extra>",
                "showlegend": False,
                "legendgroup": name,
            }
        )
        average = running_average(values, WINDOW)[shown]
        lines.append(line(shown + 1, average, colour, name, legendgroup=name))
    return dots + lines


def _quantiles(runs: Sequence[tuple[Subject, Floats]]) -> list[Trace]:
    """A line and a band for each model; its runs are cut to the shortest."""
    models: dict[str, list[tuple[Subject, Floats]]] = {}
    for subject, values in runs:
        models.setdefault(subject.model, []).append((subject, values))
    data = []
    for model, its in models.items():
        length = min(values.size for _, values in its)
        shown = picked(length, POINTS)
        curves = [running_average(values[:length], WINDOW)[shown] for _, values in its]
        low, median, high = np.quantile(curves, [0.1, 0.5, 0.9], axis=0)
        colour, name = its[0][0].colour, f"{model}, {len(its)} runs"
        data.append(band(shown + 1, low, high, colour, name))
        data.append(line(shown + 1, median, colour, name, legendgroup=name))
    return data
