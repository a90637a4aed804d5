"""How far weights have come, and feedback weights from the weights that they stand for."""

from collections.abc import Sequence

import numpy as np

from neurosim.analysis.change import Change, weight_change
from neurosim.analysis.feedback import FeedbackAngles, feedback_angles
from neurosim.errors import InputError
from neurosim.report.figures import Panel, Plot, figure, line, picked
from neurosim.report.subjects import Subject, gather, units_of_time

DASHES = ("solid", "dash", "dot", "dashdot")


def change_panel(subjects: Sequence[Subject]) -> Panel:
    """A plot for each team: the distance of each layer from its initial weights."""
    found, missing = gather(subjects, _changes)
    plots = []
    for team in ("actor", "critic"):
        data = []
        for subject, changes in found:
            if team not in changes:
                continue
            done, relative = (each[1:] for each in changes[team])  # a logarithm has no 0
            shown = picked(done.size)
            for l, column in enumerate(relative.T):
                name = f"layer {l + 1}" if len(found) == 1 else f"{subject.label}, layer {l + 1}"
                style = {"line": {"dash": DASHES[l % len(DASHES)]}, "mode": "lines+markers"}
                data.append(line(done[shown], column[shown], subject.colour, name, **style))
        if data:
            unit = units_of_time([subject for subject, _ in found])
            axis = {"type": "log", "exponentformat": "power", "dtick": 1}
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
    for team in ("actor", "critic"):
        data = []
        for subject, angles in found:
            episode, layer, _ = angles[team]
            shown = picked(episode.size)
            for l, column in enumerate(layer.T, start=2):
                way = f"layer {l} to {l - 1}"
                name = way if len(found) == 1 else f"{subject.label}, {way}"
                style = {"line": {"dash": DASHES[(l - 2) % len(DASHES)]}, "mode": "lines+markers"}
                data.append(line(episode[shown], column[shown], subject.colour, name, **style))
        top = max([100.0, *(float(np.nanmax(angles[team].layer)) + 5 for _, angles in found)])
        axis = {"tickvals": [0, 30, 60, 90, 120, 150, 180], "range": [-4, top]}
        plots.append(Plot(figure(data, "episodes done", "degrees", y_axis=axis), title=team))
    reading = (
        "Angle between the weights B by which errors come down and the transposed weights W′: at "
        "0° units are told what backprop would tell them, at 90° nothing about the weights above."
    )
    return Panel("feedback", "Feedback alignment", reading, plots if found else [], missing)


def _changes(subject: Subject) -> dict[str, Change]:
    changes = {team: weight_change(subject.run, team) for team in subject.teams}
    if changes["actor"].done.size < 2:
        raise InputError(
            "only the weights it began with are held yet. "
            f"`neurosim resume {subject.folder}` ends the run."
        )
    return changes


def _angles(subject: Subject) -> dict[str, FeedbackAngles]:
    if all("B2" not in subject.run.weights(team, "initial") for team in subject.teams):
        raise InputError(
            "errors come down by the transposed weights themselves, at 0°. "
            "`neurosim run async/cartpole` records a run whose feedback weights are its own, "
            'where timing.feedback is not "symmetric".'
        )
    return {team: feedback_angles(subject.run, team) for team in subject.teams}
