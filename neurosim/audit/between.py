"""What lies between the units: observations, wires, the td_error, the order of the log."""

import numpy as np

from neurosim.audit.case import Case
from neurosim.audit.inbox import TeamLog, exists, wires_of
from neurosim.audit.report import Place, Report
from neurosim.audit.window import Recorded
from neurosim.kernels.agent import bounded
from neurosim.kernels.team import PASSES
from neurosim.kernels.traffic import DELIVER, NOBODY, OBSERVE, SAMPLE
from neurosim.kernels.wires import carry
from neurosim.memory import Floats, Shared
from neurosim.spec import TEAMS


def check_td_errors(report: Report, window: Recorded, shared: Shared, rewards: Floats) -> None:
    """The td_error of a transition is R + gamma mu(S') - mu(S) (line 13, Appendix C).

    rewards (S,): of the transition from each step.
    """
    for s in range(1, window.n_steps):
        reward = bounded(float(rewards[s - 1]), shared.reward_bound)
        expected = reward + shared.gamma * window.value[s] - window.value[s - 1]
        step = window.first_step + s - 1
        place = Place(window.number, "critic", NOBODY, "td_error of the transition", step)
        report.compare(place, "value", expected, window.td_error[s])


def rows_of(case: Case) -> TeamLog:
    """Of the rows of both teams those of the case's; rows of no kind or unit are reported."""
    log = case.log.only(case.window.team == TEAMS.index(case.name))
    there = exists(log, case.team.memory)
    for k in np.flatnonzero(~there):
        case.complain_of(log, k, "unexpected", None, float(log.value[k]))
    return log.only(there)


def check_order(case: Case) -> None:
    """Rows are in the order of their times."""
    log = case.log
    for k in np.flatnonzero((np.diff(log.time) < 0) & (np.diff(log.step) == 0)) + 1:
        case.complain_of(log, k, "time", f">= {log.time[k - 1]}", int(log.time[k]))


def check_observations(case: Case) -> None:
    """Each component of each observation is there once, at its time."""
    window, n = case.window, case.window.observation.shape[1]
    log = case.log.only(case.log.kind == OBSERVE)
    counts = np.diff(log.first)
    for s in np.flatnonzero(counts != n):
        case.complain("observe", NOBODY, int(s), "rows", n, int(counts[s]))
    if np.all(counts == n):
        place = case.place_of(log)
        unit = np.tile(np.arange(n), window.n_steps)
        case.report.compare(place, "unit", unit, log.unit)
        case.report.compare(place, "value", window.observation.ravel(), log.value)
        case.report.compare(place, "time", np.repeat(window.now, n), log.time)


def check_wires(case: Case) -> None:
    """Every packet has arrived as it was sent, when and where its wire delivers it, or was lost."""
    log, team, wiring = case.log, case.team.memory, case.team.wiring
    team.count[PASSES] = case.window.before[case.name]["passes"]
    wires = wires_of(log, team, wiring)
    carry(team, wiring, case.shared.key, wires)
    about = (log.kind >= DELIVER) & (log.kind < SAMPLE)
    for k in np.flatnonzero(about & (wires.known == 0)):
        case.complain_of(log, k, "unexpected", None, float(log.value[k]))
    known = about & (wires.known == 1)
    rows = log.only(known)
    place = case.place_of(rows)
    for what in ("kind", "unit", "source", "time", "value"):
        expected, found = getattr(wires, f"right_{what}")[known], getattr(rows, what)
        case.report.compare(place, what, expected, found)
    for k in np.flatnonzero(wires.lacking):
        fates = int(wires.fates[k])
        case.complain_of(log, k, "arrivals", fates + int(wires.lacking[k]), fates)


def check_counters(case: Case) -> None:
    """The team's passes and the agent's iterations go on by one a step."""
    steps, before, after = case.window.n_steps, case.window.before, case.window.after
    for key in ("passes", "iterations"):
        place = case.place(f"after {key}", NOBODY, steps - 1)
        expected = before[case.name][key] + steps
        case.report.compare(place, "value", expected, after[case.name][key])
