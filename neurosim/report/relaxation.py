"""How the energy falls within a decision."""

from collections.abc import Sequence

import numpy as np

from neurosim.analysis.relaxation import relaxation
from neurosim.memory import Floats
from neurosim.report.figures import Panel, Plot, band, figure, line
from neurosim.report.subjects import Subject, gather

DASHES = ("solid", "dash", "dot")  # lines that lie on one another are told apart


def panel(subjects: Sequence[Subject]) -> Panel:
    """A plot for each team, runs on one another."""
    found, missing = gather(subjects, _descents)
    plots = []
    for team in ("actor", "critic"):
        data = []
        for k, (subject, descents) in enumerate(found):
            low, median, high = np.quantile(descents[team], [0.1, 0.5, 0.9], axis=0)
            tick = np.arange(median.size)
            dash = {"dash": DASHES[k % len(DASHES)]}
            colour, name = subject.colour, subject.label
            data.append(band(tick, low, high, colour, name))
            data.append(line(tick, median, colour, name, line=dash, legendgroup=name))
        clocks = {subject.asynchronous for subject, _ in found}
        axis = {
            frozenset({False}): "iteration",
            frozenset({True}): "mean tick periods",
        }.get(frozenset(clocks), "iteration, or mean tick periods")
        plots.append(Plot(figure(data, axis, "energy change (nats)"), title=team))
    reading = (
        "Between seeing and learning, units move to more probable values: lines are medians over "
        "the recorded steps, bands hold the middle 80 %; what is flat at the right has settled, "
        "what rises diverges."
    )
    return Panel("relaxation", "Energy in a decision", reading, plots if found else [], missing)


def _descents(subject: Subject) -> dict[str, Floats]:
    """Energy of each team less that of the sampled state, (steps, ticks + 1)."""
    subject.check_windows()
    energies = {team: relaxation(subject.run, team).energy for team in subject.teams}
    return {team: energy - energy[:, :1] for team, energy in energies.items()}
