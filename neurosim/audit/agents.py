"""One agent: rebuilt from its inbox, then compared with its rows and its state at the end."""

from collections.abc import Sequence

import numpy as np

from neurosim.audit.alone import agent_of, compared, own_wiring
from neurosim.audit.case import Case
from neurosim.audit.inbox import TeamLog, inbox_of
from neurosim.kernels import replay as kernels
from neurosim.kernels.engine import KOLEN_POLLACK, NEVER, SIGN_SYMMETRIC, SYMMETRIC
from neurosim.kernels.traffic import GATE, KINDS
from neurosim.memory import Agent, Floats, Given, Inbox, Integers, Replayed

MISSED = 20  # missing rows of an agent that are kept
TD_ERROR = "td_error: a broadcast to all"
GATE_BROADCAST = "gate: a broadcast of the critic's output to the critic"
START = "start of the clocks: common to all"
ITERATIONS = "iterations of the run: for annealed step sizes"
WEIGHTS_ABOVE = {
    SYMMETRIC: "weights of the units above: feedback = symmetric",
    SIGN_SYMMETRIC: "signs of the weights above: feedback = sign_symmetric",
}


def check_agent(case: Case, which: tuple[int, int, int], above: Sequence[Replayed]) -> Replayed:
    """Rebuild an agent and compare it.

    which : its layer, its first unit and their end, as `agents_of` has them.
    above : the agents of the layer above, where its feedback weights follow theirs.
    """
    layer, first, _ = which
    team, wiring, window = case.team.memory, case.team.wiring, case.window
    i = first - int(team.unit[layer] - team.size[0])
    mail, own = inbox_of(case.log, team, *which)
    agent = agent_of(team, wiring, *which, window.before[case.name])
    given, alone = _given(case, above, i), own_wiring(wiring, team, first)
    ticks = kernels.most_ticks(agent, alone, given)
    agent = agent._replace(times=np.zeros(ticks, np.int64))
    found = _room(agent, mail, window.n_steps, wiring.feedback in WEIGHTS_ABOVE)
    kernels.replay(agent, alone, given, mail, found)
    _compare_rows(case, first, mail, own, found)
    _compare_values(case, agent, found)
    after = agent_of(team, wiring, *which, window.after[case.name])
    _compare_state(case, i, agent, after)
    _name_what_is_not_local(case, agent, given, mail)
    return found


def _given(case: Case, above: Sequence[Replayed], i: int) -> Given:
    window, before, shared = case.window, case.window.before[case.name], case.shared
    learns = np.where(window.clears == 1, shared.update_at_reset, True)
    return Given(
        shared.key,
        int(before["passes"]),
        int(before["iterations"]),
        shared.anneal_steps,
        window.begin,
        window.now,
        window.td_error,
        learns.astype(np.int64),
        window.clears,
        *_changes(above, i),
    )


def _changes(above: Sequence[Replayed], i: int) -> tuple[Integers, Integers, Floats]:
    """When weights that lead from unit i of a layer to the one above changed, whose, to what."""
    times, sources, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for agent in above:
        learned = np.flatnonzero(agent.told[: len(agent.weights)] < NEVER)
        for k in range(agent.weights.shape[1]):
            times.append(agent.told[learned])
            sources.append(np.full(learned.size, len(sources) - 1))
            values.append(agent.weights[learned, k, i])
    order = np.argsort(np.concatenate(times), kind="stable")
    return (
        np.concatenate(times)[order],
        np.concatenate(sources)[order],
        np.concatenate(values)[order],
    )


def _room(agent: Agent, mail: Inbox, steps: int, weights: bool) -> Replayed:
    rows, (K, n) = mail.time.size, agent.x.shape
    return Replayed(
        known=np.zeros(rows, np.int64),
        time=np.zeros(rows, np.int64),
        packet=np.zeros(rows, np.int64),
        value=np.zeros(rows),
        mean=np.zeros((steps, K)),
        sampled=np.zeros((steps, K)),
        relaxed=np.zeros((steps, K)),
        told=np.zeros(steps, np.int64),
        weights=np.zeros((steps if weights else 0, K, n)),
        missed=np.zeros((MISSED, 4), np.int64),
        missed_value=np.zeros(MISSED),
        count=np.zeros(1, np.int64),
    )


def _compare_rows(case: Case, first: int, mail: Inbox, own: TeamLog, found: Replayed) -> None:
    """The agent's rows are those that it must have, with its values, at its times."""
    mine = mail.own == 1
    known = found.known[mine] == 1
    for k in np.flatnonzero(~known):
        case.complain_of(own, k, "unexpected", None, float(own.value[k]))
    rows = own.only(known)
    place = case.place_of(rows)
    case.report.compare(place, "value", found.value[mine][known], rows.value)
    case.report.compare(place, "time", found.time[mine][known], rows.time)
    case.report.compare(place, "packet sent", found.packet[mine][known], rows.cause)
    missing = int(found.count[0])
    for j in range(min(missing, MISSED)):
        s, kind, outcome, time = (int(each) for each in found.missed[j])
        times = missing - j if j == MISSED - 1 else 1  # the last one stands for the rest
        expected = f"{found.missed_value[j]} at {time}"
        case.complain(KINDS[kind], first + outcome, s, "missing", expected, None, times=times)


def _compare_values(case: Case, agent: Agent, found: Replayed) -> None:
    """Sampled and relaxed values; the critic's estimates are its output's means."""
    window, K = case.window, agent.h.size
    units = slice(agent.unit, agent.unit + K)
    unit = np.tile(np.arange(agent.unit, agent.unit + K), window.n_steps)
    step = np.repeat(np.arange(window.n_steps), K)
    for kind in ("sampled", "relaxed"):
        values = getattr(window, kind)[case.name][:, units]
        case.report.compare(case.place(kind, unit, step), "value", getattr(found, kind), values)
    if agent.gated and agent.top:
        place = case.place("value of the state", unit, step)
        case.report.compare(place, "value", found.mean[:, 0], window.value)


def _compare_state(case: Case, i: int, agent: Agent, after: Agent) -> None:
    """Weights, traces, moments, counts and mailboxes after the window."""
    for ours, theirs in zip(compared(agent, i), compared(after, i), strict=True):
        kinds = np.array([f"after {name}" for name in ours.names], object)
        place = case.place(kinds, ours.units, case.window.n_steps - 1)
        case.report.compare(place, "value", ours.array, theirs.array)


def _name_what_is_not_local(case: Case, agent: Agent, given: Given, mail: Inbox) -> None:
    steps, feedback = given.begin.size, case.team.wiring.feedback
    give = case.report.give
    give(TD_ERROR, steps)
    give(START, steps)
    give(GATE_BROADCAST, int(np.sum((mail.kind == GATE) & (mail.own == 0))))
    step_sizes = 2 if feedback == KOLEN_POLLACK else 1  # of feedback weights, too
    if np.isfinite(given.anneal_steps) and np.any(agent.anneal_to[:step_sizes] != 1.0):
        give(ITERATIONS, steps)
    if feedback in WEIGHTS_ABOVE and not agent.top:
        at_first = agent.wt.size if feedback == SYMMETRIC else 0
        give(WEIGHTS_ABOVE[feedback], at_first + given.change_time.size)
