"""A window of a run, read once, with all that an audit knows before it looks at a unit."""

from typing import NamedTuple

import numpy as np

from neurosim.audit.alone import State
from neurosim.audit.inbox import TeamLog, read_log, starts
from neurosim.errors import InputError
from neurosim.kernels.engine import NEVER
from neurosim.learners import AsynchronousMapProp
from neurosim.memory import Floats, Integers
from neurosim.record import Run, Window
from neurosim.spec import TEAMS


class Recorded(NamedTuple):
    """What a window of S steps holds."""

    number: int
    first_step: int  # row of /steps at which it begins
    n_steps: int
    log: TeamLog  # of both teams
    team: Integers  # (R,) team of each row
    begin: Integers  # (S,) T
    now: Integers  # (S,) time of the observation
    observation: Floats  # (S, n)
    value: Floats  # (S,) of the critic
    td_error: Floats  # (S,) that must be broadcast
    clears: Integers  # (S,) 1 where an episode begins
    before: dict[str, State]  # by team
    after: dict[str, State]
    sampled: dict[str, Floats]  # by team, (S, units)
    relaxed: dict[str, Floats]


def read_window(run: Run, number: int, learner: AsynchronousMapProp) -> Recorded:
    """Read a window.

    Raises
    ------
    InputError : its values are float32, or a state before or after it is missing.
    """
    window = run.windows[number]
    _check_storage(number, window)
    before: dict[str, State] = {name: window.before(name) for name in TEAMS}
    after: dict[str, State] = {name: window.after(name) for name in TEAMS}
    for when, states in (("before", before), ("after", after)):
        for name in TEAMS:
            _check_state(number, f"{name}/{when}", states[name], learner.state_of(name))
    log, first, steps = read_log(window), window.first_step, window.n_steps
    if (
        log.first.size != steps + 1
        or log.first[-1] != log.row.size
        or np.any(np.diff(log.first) < 0)
    ):
        raise InputError(
            f"first_event of window {number} does not tell where its {steps} steps begin. Restore "
            "the file from a copy, or record the run again."
        )
    team = np.asarray(window.events["team"][:], np.int64)
    outputs = [each.memory.unit[-1] - each.memory.size[0] for each in learner.teams]
    begin = starts(log, team, outputs)
    duration = max(each.wiring.duration for each in learner.teams)
    episode = run.steps["episode"][max(first - 1, 0) : first + 1]
    clears = np.zeros(steps, np.int64)
    clears[0] = int(first == 0 or episode[0] != episode[1])
    told = run.steps["td_error"][first - 1 + clears[0] : first + steps - 1]
    return Recorded(
        number,
        first,
        steps,
        log,
        team,
        begin,
        np.append(log.time[: log.first[1]].min(initial=NEVER), begin[:-1] + duration),
        run.steps["observation"][first : first + steps],
        run.steps["value"][first : first + steps],
        np.concatenate([np.zeros(clears[0]), told]),
        clears,
        before,
        after,
        {name: window.sampled(name) for name in TEAMS},
        {name: window.relaxed(name) for name in TEAMS},
    )


def _check_storage(number: int, window: Window) -> None:
    if window.events["value"].dtype != np.float64:
        raise InputError(
            f"storage.values = {str(window.events['value'].dtype)!r}: an audit compares all bits "
            'of a value. Record the run again with storage.values = "float64".'
        )
    if not window.complete:
        raise InputError(
            f"Window {number} has a missing checkpoint, the state after it: a unit diverged in it. "
            "Record the steps before that."
        )


def _check_state(number: int, which: str, found: State, needed: State) -> None:
    for key, array in needed.items():
        shape = np.shape(found[key]) if key in found else "not there"
        if shape != np.shape(array):
            raise InputError(
                f"Window {number} has a missing checkpoint: {which}/{key} is {shape}, and must be "
                f"{np.shape(array)}. Restore the file from a copy, or record the run again."
            )
