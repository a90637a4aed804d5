"""Rebuild every unit of a recorded asynchronous run from its inbox alone (docs/audit.md)."""

from typing import Any, NamedTuple

import numpy as np

from neurosim import spec
from neurosim.audit import alone, inbox
from neurosim.audit.report import Mismatch, Place, Report
from neurosim.errors import InputError
from neurosim.kernels import replay as kernels
from neurosim.kernels.agent import bounded
from neurosim.kernels.engine import FEEDBACKS, KOLEN_POLLACK, NEVER, SIGN_SYMMETRIC, SYMMETRIC
from neurosim.kernels.team import PASSES
from neurosim.kernels.traffic import GATE, KINDS, NOBODY, OBSERVE
from neurosim.kernels.wires import carry
from neurosim.learners import AsynchronousMapProp
from neurosim.memory import Agent, Floats, Given, Inbox, Integers, Replayed
from neurosim.spec import TEAMS

MISSED = 20  # missing rows of an agent that are kept
TD_ERROR = "td_error, broadcast to all"
GATE_BROADCAST = "gate, broadcast to the critic by its output"
START = "start of the clocks, common to all"
ITERATIONS = "iterations of the run, for annealed step sizes"
WEIGHTS_ABOVE = {
    SYMMETRIC: "weights of the units above (feedback = symmetric)",
    SIGN_SYMMETRIC: "signs of the weights above (feedback = sign_symmetric)",
}
SHARED_START = (
    "feedback weights began as the transposed weights of the layer above, to {alignment:.0%} "
    "(feedback = kolen_pollack, {team})"
)


def audit(run: Any, team: str | None = None, unit: int | None = None) -> Report:
    """Rebuild the units of a run, each from its inbox alone, and compare them with the log.

    Parameters
    ----------
    run : what `neurosim.open` returned: an asynchronous run with windows.
    team : "actor" or "critic"; None: both.
    unit : a unit of the team, counted from the first hidden one; None: all.  Where feedback weights
        follow the weights above, the layers above it are audited, too.

    Raises
    ------
    InputError : the run is synchronous, has no windows, was recorded in float32, or lacks the state
        before or after a window; or there is no such team or unit.
    """
    if run.attrs["mode"] != "asynchronous":
        raise InputError(
            f"mode = {run.attrs['mode']!r}: only units of an asynchronous run have inboxes. "
            "Record one with `neurosim run MODEL --mode asynchronous --record ...`."
        )
    if len(run.windows) == 0:
        raise InputError(
            "The run has no windows, so there is nothing to audit. Record some with "
            '`neurosim run MODEL --record "episodes=1 steps=0:30"`.'
        )
    if team is not None and team not in TEAMS:
        raise InputError(f"team = {team!r}: one of {', '.join(map(repr, TEAMS))}, or None.")
    auditor = _Auditor(run, TEAMS if team is None else (team,), unit)
    for number in range(len(run.windows)):
        auditor.look_at(number)
    return auditor.report


class _Window(NamedTuple):
    """What is known of a window before any unit is looked at."""

    number: int
    first: int  # row of /steps at which it begins
    steps: int
    whole: Any  # the window of the run
    log: inbox.TeamLog  # of both teams
    teams: Integers  # (R,) team of each row
    begin: Integers  # (S,) T
    now: Integers  # (S,) time of the observation
    observation: Floats  # (S, n)
    value: Floats  # (S,) of the critic
    td_error: Floats  # (S,) that is broadcast
    clears: Integers  # (S,) 1 where an episode begins


class _Auditor:
    """One audit: the settings that a run's model gives, and the report so far."""

    def __init__(self, run: Any, teams: tuple[str, ...], unit: int | None) -> None:
        self.report = Report()
        self._run, self._names, self._unit = run, teams, unit
        self._spec = spec.parse(run.model, str(run.attrs.get("model_name", "model"))).spec
        outputs = run.windows[0].sampled("actor").shape[1] - sum(self._spec.actor.units)
        n_in = run.steps["observation"].shape[1]
        self._learner = AsynchronousMapProp(self._spec, n_in, outputs, run.seed)
        self._teams = dict(zip(TEAMS, self._learner.teams, strict=True))
        for name in teams:
            self._prepare(name)

    def _prepare(self, name: str) -> None:
        """Count the units of a team; make sure that the unit asked for is one of them."""
        team, units = self._teams[name].memory, 0
        for layer, first, last in alone.agents_of(team):
            units += last - first if self._wanted(name, layer, first, last) else 0
        if units == 0:
            raise InputError(
                f"unit = {self._unit}: the {name} has the units 0 to "
                f"{team.h.size - int(team.size[0]) - 1}."
            )
        self.report.units += units
        timing = spec.timing_of(self._spec, name)
        if FEEDBACKS[timing.feedback] == KOLEN_POLLACK and timing.feedback_alignment > 0.0:
            alignment = timing.feedback_alignment
            self.report.remarks.append(SHARED_START.format(alignment=alignment, team=name))

    def _wanted(self, name: str, layer: int, first: int, last: int) -> bool:
        if self._unit is None or first <= self._unit < last:
            return True
        team = self._teams[name]
        of_layer = int(np.searchsorted(team.memory.unit - team.memory.size[0], self._unit, "right"))
        return team.wiring.feedback in WEIGHTS_ABOVE and layer > of_layer - 1

    def look_at(self, number: int) -> None:
        """One window."""
        window = self._open(number)
        self.report.windows += 1
        self.report.steps += window.steps
        self._check_td_errors(window)
        self._check_order(window)
        for name in self._names:
            log = self._rows_of(window, name)
            self._check_observations(window, name, log)
            self._check_wires(window, name, log)
            self._check_counters(window, name)
            self._check_agents(window, name, log)

    def _open(self, number: int) -> _Window:
        whole = self._run.windows[number]
        if whole.events["value"].dtype != np.float64:
            raise InputError(
                f"The values of window {number} are {whole.events['value'].dtype}, and an audit "
                'compares all bits: record the run with storage.values = "float64".'
            )
        if not whole.complete:
            raise InputError(
                f"Window {number} has a missing checkpoint, the state after it: the run diverged "
                "or was stopped in it. Record the steps before that."
            )
        for name in TEAMS:
            self._check_checkpoint(number, name, "before", whole.before(name))
            self._check_checkpoint(number, name, "after", whole.after(name))
        log = inbox.read_log(whole)
        teams = np.asarray(whole.events["team"][:]).astype(np.int64)
        tops = [(t.memory.unit[-1] - t.memory.size[0], t.memory.h.size) for t in self._teams.values()]
        begin = inbox.starts(log, tops, teams)
        duration = max(t.wiring.duration for t in self._teams.values())
        now = np.append(log.time[: log.first[1]].min(initial=NEVER), begin[:-1] + duration)
        first, steps = whole.first_step, whole.n_steps
        rows = slice(max(first - 1, 0), first + steps)
        episode = self._run.steps["episode"][rows]
        starts = int(first == 0 or episode[0] != episode[1])
        clears = np.zeros(steps, np.int64)
        clears[0] = starts
        td_error = np.zeros(steps)
        td_error[starts:] = self._run.steps["td_error"][first - 1 + starts : first + steps - 1]
        return _Window(
            number,
            first,
            steps,
            whole,
            log,
            teams,
            begin,
            now,
            self._run.steps["observation"][first : first + steps],
            self._run.steps["value"][first : first + steps],
            td_error,
            clears,
        )

    def _check_checkpoint(self, number: int, name: str, when: str, state: alone.State) -> None:
        for key, array in self._learner.state_of(name).items():
            if key not in state or np.shape(state[key]) != np.shape(array):
                found = np.shape(state[key]) if key in state else "not there"
                raise InputError(
                    f"Window {number} has a missing checkpoint: {name}/{when}/{key} is {found}, "
                    f"and must be {np.shape(array)}. Restore the file from a copy, or record the "
                    "run again."
                )

    def _check_td_errors(self, window: _Window) -> None:
        """The td_error that is broadcast is the one of the transition before (line 13)."""
        for s in np.flatnonzero(window.clears == 0):
            row = window.first + int(s) - 1
            before = {key: self._run.steps[key][row : row + 1] for key in ("reward", "value")}
            reward = bounded(float(before["reward"][0]), self._learner.shared.reward_bound)
            value = window.value[s : s + 1]
            expected = reward + self._learner.shared.gamma * value - before["value"]
            place = Place(window.number, "critic", NOBODY, "td_error", row)
            self.report.compare(place, "value", expected, window.td_error[s : s + 1])

    def _check_order(self, window: _Window) -> None:
        """Rows are in the order of their times, steps where they begin."""
        log, first = window.log, window.log.first
        if first.size != window.steps + 1 or first[0] != 0 or np.any(np.diff(first) < 0):
            raise InputError(f"Window {window.number}: first_event does not count its events.")
        back = np.flatnonzero((np.diff(log.time) < 0) & (np.diff(log.step) == 0)) + 1
        for row in back:
            self._complain(window, log, int(row), "time", int(log.time[row - 1]), log.time[row])

    def _rows_of(self, window: _Window, name: str) -> inbox.TeamLog:
        """A team's rows; those of units or kinds that there are not are reported here."""
        team = self._teams[name].memory
        log = window.log.only(np.flatnonzero(window.teams == TEAMS.index(name)))
        there = inbox.exists(log, team)
        for row in np.flatnonzero(~there):
            self._complain(window, log, int(row), "unexpected", None, log.value[row], name)
        return log.only(there)

    def _check_observations(self, window: _Window, name: str, log: inbox.TeamLog) -> None:
        """Every component of each observation is there once, at its time."""
        log, n = log.only(log.kind == OBSERVE), window.observation.shape[1]
        counts = np.diff(log.first)
        for s in np.flatnonzero(counts != n):
            step = window.first + int(s)
            mismatch = (window.number, step, name, NOBODY, KINDS[OBSERVE], "rows", -1, n)
            self.report.complain(Mismatch(*mismatch, int(counts[s])))
        if np.all(counts == n):
            unit = np.tile(np.arange(n), window.steps)
            place = self._place(window, name, log, unit)
            self.report.compare(place, "unit", unit, log.unit)
            self.report.compare(place, "value", window.observation.ravel(), log.value)
            self.report.compare(place, "time", np.repeat(window.now, n), log.time)

    def _check_wires(self, window: _Window, name: str, log: inbox.TeamLog) -> None:
        """Every packet has become what its wire makes of it."""
        team, wiring = self._teams[name].memory, self._teams[name].wiring
        team.count[PASSES] = window.whole.before(name)["passes"]
        traffic = inbox.traffic_of(log, team, wiring)
        carry(team, wiring, self._learner.shared.key, traffic)
        about = np.flatnonzero((log.kind > OBSERVE) & (log.kind < 7))
        for row in about[traffic.known[about] == 0]:
            self._complain(window, log, int(row), "unexpected", None, log.value[row], name)
        right = about[traffic.known[about] == 1]
        told = log.only(right)
        place = self._place(window, name, told, told.unit)
        for what, expected, found in (
            ("kind", traffic.right_kind, told.kind),
            ("unit", traffic.right_unit, told.unit),
            ("source", traffic.right_source, told.source),
            ("time", traffic.right_time, told.time),
            ("value", traffic.right_value, told.value),
        ):
            self.report.compare(place, what, expected[right], found)
        for row in np.flatnonzero(traffic.lacking):
            lacking = int(traffic.lacking[row])
            self._complain(window, log, int(row), "packet's arrival", lacking, 0, name)

    def _check_counters(self, window: _Window, name: str) -> None:
        """The team's passes and the run's iterations go on by one a step."""
        before, after = window.whole.before(name), window.whole.after(name)
        last = window.first + window.steps - 1
        for key in ("passes", "iterations"):
            place = Place(window.number, name, NOBODY, f"after {key}", last)
            self.report.compare(place, "value", before[key] + window.steps, after[key])

    def _check_agents(self, window: _Window, name: str, log: inbox.TeamLog) -> None:
        """Each agent from the output down: those above have been rebuilt when theirs are needed."""
        above: list[Replayed] = []
        layer_above: list[Replayed] = []
        current = -1
        for layer, first, last in alone.agents_of(self._teams[name].memory):
            if layer != current:
                layer_above, above, current = above, [], layer
            if self._wanted(name, layer, first, last):
                above.append(self._check_agent(window, name, log, (layer, first, last), layer_above))

    def _check_agent(
        self,
        window: _Window,
        name: str,
        log: inbox.TeamLog,
        which: tuple[int, int, int],
        above: list[Replayed],
    ) -> Replayed:
        """One agent: rebuild it, then compare it with its rows and its state after the window."""
        team, wiring = self._teams[name].memory, self._teams[name].wiring
        layer, first, last = which
        before, after = window.whole.before(name), window.whole.after(name)
        i = first - int(team.unit[layer] - team.size[0])
        mail, own = inbox.inbox_of(log, team, *which)
        agent = alone.agent_of(team, wiring, *which, before)
        given = self._given(window, name, agent, i, above)
        single = alone.own_wiring(wiring, team, first)
        ticks = kernels.most_ticks(agent, single, given)
        agent = agent._replace(times=np.zeros(ticks, np.int64))
        found = _room(agent, mail, window.steps, wiring.feedback in WEIGHTS_ABOVE)
        kernels.replay(agent, single, given, mail, found)
        self._compare_rows(window, name, first, mail, own, found)
        self._compare_values(window, name, agent, first, found)
        self._compare_state(window, name, agent, i, alone.agent_of(team, wiring, *which, after))
        self._name_what_is_not_local(agent, given, mail, wiring.feedback)
        return found

    def _given(
        self, window: _Window, name: str, agent: Agent, i: int, above: list[Replayed]
    ) -> Given:
        before, shared = window.whole.before(name), self._learner.shared
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

    def _compare_rows(
        self,
        window: _Window,
        name: str,
        first: int,
        mail: Inbox,
        own: inbox.TeamLog,
        found: Replayed,
    ) -> None:
        mine = mail.own == 1
        known = found.known[mine] == 1
        for row in np.flatnonzero(~known):
            self._complain(window, own, int(row), "unexpected", None, own.value[row], name)
        rows = own.only(known)
        place = self._place(window, name, rows, rows.unit)
        self.report.compare(place, "value", found.value[mine][known], rows.value)
        self.report.compare(place, "time", found.time[mine][known], rows.time)
        self.report.compare(place, "packet sent", found.packet[mine][known], rows.cause)
        missing = int(found.count[0])
        for k in range(min(missing, MISSED)):
            s, kind, outcome, _ = (int(x) for x in found.missed[k])
            where = (window.number, window.first + s, name, first + outcome, KINDS[kind])
            value = float(found.missed_value[k])
            times = missing - MISSED + 1 if k == MISSED - 1 and missing > MISSED else 1
            self.report.complain(Mismatch(*where, "missing", -1, value, None), times)

    def _compare_values(
        self, window: _Window, name: str, agent: Agent, first: int, found: Replayed
    ) -> None:
        """Sampled and relaxed values, and the critic's estimates."""
        K, steps = agent.h.size, window.first + np.arange(window.steps)
        step = np.repeat(steps, K)
        unit = np.tile(np.arange(first, first + K), window.steps)
        for kind, expected, values in (
            ("sampled", found.sampled, window.whole.sampled(name)),
            ("relaxed", found.relaxed, window.whole.relaxed(name)),
        ):
            place = Place(window.number, name, unit, kind, step)
            self.report.compare(place, "value", expected, values[:, first : first + K])
        if agent.gated and agent.top:
            place = Place(window.number, name, unit, "value of the state", step)
            self.report.compare(place, "value", found.mean[:, 0], window.value)

    def _compare_state(
        self, window: _Window, name: str, agent: Agent, i: int, after: Agent
    ) -> None:
        last = window.first + window.steps - 1
        ours = alone.compared(agent, agent.layer, i)
        for (field, expected, names), (_, found, _) in zip(
            ours, alone.compared(after, agent.layer, i), strict=True
        ):
            kinds = np.array([f"after {each}" for each in names.ravel()], object)
            unit = agent.unit
            if field in ("w", "z", "m", "v", "x", "updates"):
                unit = agent.unit + np.repeat(np.arange(agent.h.size), expected.size // agent.h.size)
            place = Place(window.number, name, unit, kinds, last)
            self.report.compare(place, "value", expected, found)

    def _name_what_is_not_local(
        self, agent: Agent, given: Given, mail: Inbox, feedback: int
    ) -> None:
        steps, give = given.begin.size, self.report.give
        give(TD_ERROR, steps)
        give(START, steps)
        give(GATE_BROADCAST, 0 if agent.top else int(np.sum((mail.kind == GATE) & (mail.own == 0))))
        if np.isfinite(given.anneal_steps) and np.any(agent.anneal_to[: 2 - agent.top] != 1.0):
            give(ITERATIONS, steps)
        if feedback in WEIGHTS_ABOVE and not agent.top:
            at_first = agent.wt.size if feedback == SYMMETRIC else 0
            give(WEIGHTS_ABOVE[feedback], at_first + given.change_time.size)

    def _place(self, window: _Window, name: str, log: inbox.TeamLog, unit: Any) -> Place:
        kinds = np.array(KINDS, object)[log.kind]
        return Place(window.number, name, unit, kinds, window.first + log.step, log.row)

    def _complain(
        self,
        window: _Window,
        log: inbox.TeamLog,
        row: int,
        what: str,
        expected: Any,
        found: Any,
        name: str = "",
    ) -> None:
        kind = int(log.kind[row])
        self.report.complain(
            Mismatch(
                window.number,
                window.first + int(log.step[row]),
                name,
                int(log.unit[row]),
                KINDS[kind] if 0 <= kind < len(KINDS) else str(kind),
                what,
                int(log.row[row]),
                expected,
                found.item() if isinstance(found, np.generic) else found,
            )
        )


def _changes(above: list[Replayed], i: int) -> tuple[Integers, Integers, Floats]:
    """When the weights that lead from unit i to those above have changed, of whom, and to what."""
    times, sources, values = [], [], []
    j = 0
    for agent in (each for each in above if each.weights.size):
        for k in range(agent.weights.shape[1]):
            learned = np.flatnonzero(agent.told < NEVER)
            times.append(agent.told[learned])
            sources.append(np.full(learned.size, j))
            values.append(agent.weights[learned, k, i])
            j += 1
    if not times:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    time = np.concatenate(times)
    order = np.argsort(time, kind="stable")
    return time[order], np.concatenate(sources)[order], np.concatenate(values)[order]


def _room(agent: Agent, mail: Inbox, steps: int, weights: bool) -> Replayed:
    """Room for what an agent does."""
    rows, (K, n) = mail.time.size, agent.x.shape
    return Replayed(
        *(np.zeros(rows, np.int64) for _ in range(3)),
        np.zeros(rows),
        *(np.zeros((steps, K)) for _ in range(3)),
        np.zeros(steps, np.int64),
        np.zeros((steps if weights else 0, K, n)),
        np.zeros((MISSED, 4), np.int64),
        np.zeros(MISSED),
        np.zeros(1, np.int64),
    )
