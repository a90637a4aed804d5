"""Recorded windows, lived through again: the weights, the relaxation and the gradient of each step.

A window holds the state in which its first step begins and the values of every step.  Noise and
clocks are functions of (seed; unit, pass), so a team that starts from that state and is given the
recorded observations and td_errors does the same again.  That it does is checked bit for bit: the
values at each step, and at the window's end all that has been learned.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurosim.analysis.landscape import Network, layers_of, network_of
from neurosim.analysis.windows import map_prop_of
from neurosim.errors import InputError, RunError
from neurosim.kernels.clock import NOW, TICKS
from neurosim.kernels.engine import KOLEN_POLLACK, SYMMETRIC
from neurosim.kernels.team import PASSES, UPDATES
from neurosim.kernels.traffic import KINDS
from neurosim.learners.map_prop import holding, named_layers
from neurosim.memory import Block, Floats, Shared, Team
from neurosim.network import build_shared, build_team, orient, read_shared, read_team, weights
from neurosim.record.reader import Run, Table, Window
from neurosim.spec import TEAMS, Spec, timing_of
from neurosim.teams import AsynchronousTeam, SynchronousTeam
from neurosim.timing import feedback_weights

SAMPLE, VALUE_TICK = KINDS.index("sample"), KINDS.index("value_tick")
Views = dict[str, NDArray[Any]]


class Step(NamedTuple):
    """What one team did in one recorded step."""

    row: int  # row of /steps
    network: Network  # with the weights in use from the step's update on
    path: list[Floats]  # H[0], ..., H[L], each (ticks + 1, n(l)), in the course of relaxation
    relaxed: list[Floats]  # H[0], ..., H[L], each (n(l),), after it
    gradient: list[Floats]  # by layer (n(l), n(l-1) + 1): what its trace took up; the bias's last


def replay(run: Run, name: str) -> Iterator[Step]:
    """Live through the recorded steps of a team again.

    `Step.path` holds the values after 0, 1, 2, ... ticks of the relaxation.  In synchronous mode
    these are its iterations.  In asynchronous mode they are mean tick periods since the td_error
    was broadcast, and a hidden unit's value is that of its latest value tick.

    Parameters
    ----------
    run : a run with recorded windows.
    name : "actor" or "critic".

    Raises
    ------
    InputError : there is no such team, it learns by another rule than MAP propagation, or no step
        was recorded in full detail.
    RunError : a step, or a window, ends otherwise than was recorded.
    """
    if name not in TEAMS:
        raise InputError(f"team = {name!r}: one of {', '.join(map(repr, TEAMS))} is needed.")
    spec = map_prop_of(run, name)
    if not any(window.n_steps for window in run.windows):
        raise InputError(
            f"{run.path} holds no step in full detail. Record some, for instance with "
            'neurosim run MODEL --record "episodes=1,50,100 steps=0:20".'
        )
    team = (_Synchronous if spec.timing is None else _Asynchronous)(run, spec, name)
    for window in run.windows:
        _restore(team.memory, team.views(), window.before(name))
        yield from _live_through(run, window, name, team, spec.learning.update_at_reset)
        if window.complete:
            after = window.after(name)
            for key, view in team.views().items():
                _check(run, name, window.first_step + window.n_steps - 1, key, view, after[key])


def _live_through(
    run: Run,
    window: Window,
    name: str,
    team: "_Synchronous | _Asynchronous",
    update_at_reset: bool,
) -> Iterator[Step]:
    """The steps of one window."""
    memory = team.memory
    hidden = slice(int(memory.size[0]), None)
    sampled, relaxed = window.sampled(name), window.relaxed(name)
    observations = window.steps["observation"][:]
    for k, td_error in enumerate(_td_errors(run, window)):
        if td_error is None:
            memory.held[:] = -1
            for key, view in team.views().items():
                if key.startswith("z"):
                    view[...] = 0.0
        old = memory.z.copy()
        events = window.events.rows(window.first_event[k], window.first_event[k + 1])
        learning = update_at_reset or td_error is not None
        path = team.step(observations[k], td_error or 0.0, learning, events)
        row = window.first_step + k
        _check(run, name, row, "sampled values", memory.sampled[hidden], sampled[k])
        _check(run, name, row, "relaxed values", memory.h[hidden], relaxed[k])
        taken = memory.z - memory.trace_decay * old
        pairs = [weights(memory, taken, layer) for layer in range(1, memory.size.size)]
        yield Step(
            row=row,
            network=network_of(memory),
            path=layers_of(memory, path),
            relaxed=layers_of(memory, memory.h.copy()),
            gradient=[np.column_stack(pair) for pair in pairs],
        )


def _td_errors(run: Run, window: Window) -> list[float | None]:
    """What each step of a window learns from: the td_error of the row of /steps before it, or None
    at the first step of an episode."""
    first, n = window.first_step, window.n_steps
    if first == 0 or run.steps["episode"][first - 1] != window.episode:
        return [None, *window.steps["td_error"][: n - 1].tolist()][:n]
    found: list[float | None] = run.steps["td_error"][first - 1 : first - 1 + n].tolist()
    return found


class _Synchronous:
    """A synchronous team that pauses after each iteration of its relaxation."""

    def __init__(self, run: Run, spec: Spec, name: str) -> None:
        block, shared = _blocks(run, spec, name)
        self.memory, self._shared = read_team(block), read_shared(shared)
        once = self.memory._replace(N=1)
        self._team = SynchronousTeam(self.memory, self._shared)
        self._first = SynchronousTeam(once, self._shared)
        self._later = SynchronousTeam(once._replace(stale_first_mean=False), self._shared)

    def views(self) -> Views:
        """All that a window holds of the team before and after its steps."""
        updates = {"adam_count": self.memory.count[UPDATES, ...]}
        return _common_views(self.memory, self._shared) | updates | holding(self.memory)

    def step(self, observation: Floats, td_error: float, learning: bool, _: Table) -> Floats:
        """The four phases.  Returns values (N + 1, U) in the course of the relaxation."""
        self._team.act(observation)
        if learning:
            self._team.learn(td_error)
        path = [self.memory.h.copy()]
        for n in range(self.memory.N):
            (self._later if n else self._first).relax(n)
            path.append(self.memory.h.copy())
        self._team.accumulate()
        self._shared.steps[0] += 1
        return np.array(path)


class _Asynchronous:
    """An asynchronous team, put into the time of its record at each step."""

    def __init__(self, run: Run, spec: Spec, name: str) -> None:
        block, shared = _blocks(run, spec, name)
        self.memory, self._shared = read_team(block), read_shared(shared)
        N, key = getattr(spec, name).N, self._shared.key
        self._team = AsynchronousTeam(name, block, shared, timing_of(spec, name), N, key)
        self._number = TEAMS.index(name)

    def views(self) -> Views:
        """All that a window holds of the team before and after its steps."""
        memory, mail, feedback = self.memory, self._team.mail, self._team.wiring.feedback
        views = _common_views(memory, self._shared)
        if feedback != SYMMETRIC:
            views |= _named_feedback(memory, memory.wt, "")
        if feedback == KOLEN_POLLACK:
            for prefix in "zmv":
                views |= _named_feedback(memory, getattr(mail, f"{prefix}t"), prefix)
        views["adam_count"] = mail.updates[int(memory.size[0]) :]
        return views | ({"slot": mail.slot} if mail.slot.size else {"heard": mail.heard})

    def step(self, observation: Floats, td_error: float, learning: bool, events: Table) -> Floats:
        """A sampling wave and a window.  Returns values (periods + 1, U) in the course of it."""
        time, kind = events["time"][:], events["kind"][:]
        self._team.mail.clock[NOW] = time[0]
        self._team.act(observation)
        begin = int(time[kind == SAMPLE].max())  # both teams have sampled
        path = np.tile(self.memory.h, (self._team.wiring.window // TICKS + 1, 1))
        self._team.settle(td_error, begin, learning)
        self._shared.steps[0] += 1
        mine = (kind == VALUE_TICK) & (events["team"][:] == self._number)
        period = -((begin - time[mine]) // TICKS)  # the first one whose end is not before the tick
        unit = events["unit"][:][mine] + int(self.memory.size[0])
        for first, u, value in zip(period, unit, events["value"][:][mine], strict=True):
            path[first:, u] = value
        return path


def _blocks(run: Run, spec: Spec, name: str) -> tuple[Block, Block]:
    """Memory for a team of a run, and for what it shares with the other one."""
    team, initial = getattr(spec, name), run.weights(name, "initial")
    n_in, n_out = initial["W1"].shape[1], initial[f"b{len(team.units) + 1}"].size
    block = build_team(name, team, spec.learning, spec.adam, n_in, n_out, run.seed)
    return block, build_shared(spec.learning, run.seed)


def _common_views(memory: Team, shared: Shared) -> Views:
    views: Views = {"passes": memory.count[PASSES, ...], "iterations": shared.steps[0, ...]}
    for parameters, prefix in ((memory.w, ""), (memory.z, "z"), (memory.m, "m"), (memory.v, "v")):
        views |= named_layers(memory, parameters, prefix)
    return views


def _named_feedback(memory: Team, parameters: Floats, prefix: str) -> Views:
    views = feedback_weights(memory, parameters)
    return {f"{prefix}B{layer}": view for layer, view in enumerate(views, start=2)}


def _restore(memory: Team, views: Views, before: Views) -> None:
    for key, view in views.items():
        view[...] = before[key]
    if "B2" not in views:  # feedback weights are the transposed weights
        orient(memory)


def _check(run: Run, name: str, row: int, what: str, found: Any, recorded: Any) -> None:
    """Make sure that a replay has met what was recorded, bit for bit."""
    if not np.array_equal(found, recorded):
        raise RunError(
            f"{run.path}: replayed, the {name}'s {what} in row {row} of /steps are not those that "
            "were recorded. The file was changed, or recorded by another version of neurosim; "
            "record the run again."
        )
