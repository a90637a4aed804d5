"""How far weights have come, and feedback weights from the weights that they stand for."""

from collections.abc import Callable, Sequence

import numpy as np

from neurosim.analysis.change import Change, weight_change
from neurosim.analysis.feedback import FeedbackAngles, feedback_angles
from neurosim.errors import InputError
from neurosim.memory import Floats
from neurosim.report.figures import Panel, Plot, Trace, figure, line, picked
from neurosim.report.subjects import Subject, gather, units_of_time

DASHES = ("solid", "dash", "dot", "dashdot")
KEY = "#6e7781"  # colour of what the legend says of all runs

Curves = tuple[Subject, Floats, Floats]  # a run, moments (n,), and at each a value a layer (n, L)


def change_panel(subjects: Sequence[Subject]) -> Panel:
    """A plot for each team: the distance of each layer from its initial weights."""
    found, missing = gather(subjects, _changes)
    unit = units_of_time([subject for subject, _ in found])
    axis = {"type": "log", "exponentformat": "power", "dtick": 1}
    plots = []
    for team in ("actor", "critic"):
        curves = [_begun(subject, changes[team]) for subject, changes in found if team in changes]
        if curves:
            data = _lines(curves, lambda k: f"layer {k + 1}")
            plot = figure(data, f"{unit} done", "|W − W₀| / |W₀|", y_axis=axis)
            plots.append(Plot(plot, title=team))
    reading = (
        "How far the weights W of each layer are from those they began with, W₀, relative to their "
        "size, on a logarithmic axis: at 1 (10⁰) the change is as large as they were. Dots are the "
        "moments at which weights are held."
    )
    return Panel("weights", "Change of weights", reading, plots, missing)


def feedback_panel(subjects: Sequence[Subject]) -> Panel:
    """A plot for each team: angles between feedback weights and transposed weights."""
    found, missing = gather(subjects, _angles)
    plots = []
    for team in ("actor", "critic") if found else ():
        curves = [(subject, each[team].episode, each[team].layer) for subject, each in found]
        data = _lines(curves, lambda k: f"layer {k + 2} to {k + 1}")
        top = max(float(np.nanmax(layer)) for _, _, layer in curves)
        axis = {"tickvals": [0, 30, 60, 90, 120, 150, 180], "range": [-4, max(100.0, top + 5)]}
        plots.append(Plot(figure(data, "episodes done", "degrees", y_axis=axis), title=team))
    reading = (
        "Angle between the weights B by which errors come down and the transposed weights W′: at "
        "0° units are told what backprop would tell them, at 90° nothing about the weights above."
    )
    return Panel("feedback", "Feedback alignment", reading, plots, missing)


def _changes(subject: Subject) -> dict[str, Change]:
    changes = {team: weight_change(subject.run, team) for team in subject.teams}
    if not changes["actor"].done.any():
        raise InputError(
            "only the weights it began with are held yet. "
            f"`neurosim resume {subject.folder}` ends the run."
        )
    return changes


def _begun(subject: Subject, change: Change) -> Curves:
    """The moments after the run's beginning: a logarithm has no 0."""
    later = change.done > 0
    return subject, change.done[later], change.relative[later]


def _angles(subject: Subject) -> dict[str, FeedbackAngles]:
    if all("B2" not in subject.run.weights(team, "initial") for team in subject.teams):
        raise InputError(
            "errors come down by the transposed weights themselves, at 0°. "
            "`neurosim run async/cartpole` makes a run with feedback weights of its own."
        )
    return {team: feedback_angles(subject.run, team) for team in subject.teams}


def _lines(curves: Sequence[Curves], name: Callable[[int], str]) -> list[Trace]:
    """A line for each run and layer, layers told apart by dashes.

    Of several runs, the legend has one line for each run and then, in grey, one for each layer.
    """
    several = len(curves) > 1
    dashes = [DASHES[k % len(DASHES)] for k in range(max(each.shape[1] for _, _, each in curves))]
    lines = []
    for subject, moments, values in curves:
        shown = picked(moments.size)
        for k, column in enumerate(values[shown].T):
            label = subject.label if several else name(k)
            trace = line(moments[shown], column, subject.colour, label, line={"dash": dashes[k]})
            more = {"legendgroup": label, "showlegend": not several or k == 0}
            lines.append(trace | more | {"mode": "lines+markers"})
    if several:
        none = [np.nan]
        lines += [
            line(none, none, KEY, name(k), line={"dash": dash}) for k, dash in enumerate(dashes)
        ]
    return lines
