"""Packets between units that are agents, and how old what they know is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.analysis.traffic import BIN_PERIODS, series, staleness
from neurosim.errors import InputError
from neurosim.memory import Floats, Integers
from neurosim.report.figures import Panel, Plot, Trace, binned, figure, line, numbers
from neurosim.report.subjects import Subject, gather

DASHES = {"actor": "solid", "critic": "dash"}

Found = dict[str, tuple[dict[str, NDArray[Any]], Floats, Integers]]


def panel(subjects: Sequence[Subject]) -> Panel:
    """Packets and ages by step, then how often a mailbox was how old."""
    found, missing = gather(subjects, _of_teams)
    packets: list[Trace] = []
    late: list[Trace] = []
    ages: tuple[list[Trace], list[Trace]] = ([], [])
    for subject, teams in found:
        for team, (counts, edges, uses) in teams.items():
            name = team if len(found) == 1 else f"{subject.label}, {team}"
            style = {"line": {"dash": DASHES[team]}}
            bounds, sent = binned(counts["sent"])
            arrived = binned(counts["delivered"])[1]
            middle = (bounds[:-1] + bounds[1:]) / 2
            share = 100 * (1 - arrived / np.maximum(sent, 1e-300))
            packets.append(line(middle, sent, subject.colour, name, **style))
            late.append(line(middle, share, subject.colour, name, **style))
            for way, traces in enumerate(ages):
                percent = 100 * uses[way] / max(1, uses[way].sum())
                stairs = {"line": {"dash": DASHES[team], "shape": "hv"}}
                traces.append(line(edges, percent, subject.colour, name, **stairs))
    uses_of_all = [uses.sum(axis=0) for _, teams in found for _, _, uses in teams.values()]
    last = max((int(np.flatnonzero(uses).max(initial=0)) for uses in uses_of_all), default=0)
    from_zero = {"rangemode": "tozero"}
    to_last = {"range": numbers([0.0, BIN_PERIODS * (last + 2)])}
    step, age = "step of the run", "age (mean tick periods)"
    plots = [
        Plot(figure(packets, step, "packets a step", y_axis=from_zero), title="sent"),
        Plot(figure(late, step, "% of packets", y_axis=from_zero), title="did not arrive in time"),
    ]
    for what, traces in zip(("values", "errors"), ages, strict=True):
        histogram = figure(traces, age, "% of uses", x_axis=to_last, y_axis=from_zero)
        plots.append(Plot(histogram, title=f"age of {what} when used"))
    reading = (
        "Above: what units sent each other, and how much of it was lost, thrown away or still on "
        "its way when the decision ended. Below: how old a unit's knowledge of others was when it "
        "computed from it; the further to the right, the staler."
    )
    return Panel("traffic", "Packets and staleness", reading, plots if found else [], missing)


def _of_teams(subject: Subject) -> Found:
    if not subject.asynchronous:
        raise InputError(
            "its units are synchronous and exchange no packets. "
            f"`neurosim run {subject.folder}/model.toml --mode asynchronous` makes units that do."
        )
    return {
        team: (series(subject.run, team), *staleness(subject.run, team)) for team in subject.teams
    }
