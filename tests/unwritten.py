"""Windows of a run that was never written to a file, and may be tampered with."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bridge import TEAMS
from oracle import Array

from neurosim.learners import AsynchronousMapProp
from neurosim.spec import Model, parse

Columns = dict[str, Array]


@dataclass
class FakeWindow:
    """What `neurosim.record.reader.Window` has, as plain arrays."""

    number: int
    episode: int
    first_step: int
    n_steps: int = 0
    complete: bool = False
    events: Columns = field(default_factory=dict)
    first_event: Array = field(default_factory=lambda: np.zeros(1, np.int64))
    states: dict[tuple[str, str], Columns] = field(default_factory=dict)
    values: dict[tuple[str, str], Array] = field(default_factory=dict)

    def before(self, team: str) -> Columns:
        return self.states[team, "before"]

    def after(self, team: str) -> Columns:
        return self.states[team, "after"]

    def sampled(self, team: str) -> Array:
        return self.values[team, "sampled"]

    def relaxed(self, team: str) -> Array:
        return self.values[team, "relaxed"]


@dataclass
class FakeRun:
    """What an audit asks of `neurosim.record.reader.Run`."""

    model: str
    seed: int
    steps: Columns
    windows: list[FakeWindow]
    attrs: dict[str, Any]

    @property
    def spec(self) -> Any:
        return parse(self.model, "small").spec

    def attribute(self, name: str) -> Any:
        return self.attrs[name]

    def copy(self) -> FakeRun:
        return copy.deepcopy(self)


class Recorder:
    """Lets an agent live, and records some steps of each episode."""

    def __init__(self, model: Model, n_in: int, n_out: int, seed: int) -> None:
        self.agent = AsynchronousMapProp(model.spec, n_in, n_out, seed)
        self._model, self._seed = model, seed
        self._steps: dict[str, list[Any]] = {
            name: [] for name in ("episode", "observation", "reward", "td_error", "value")
        }
        self._windows: list[FakeWindow] = []

    def episode(
        self, steps: list[tuple[Array, float]], terminated: bool, record: tuple[int, int]
    ) -> None:
        """An episode: observations, each with the reward that came with it.  Steps record[0] to
        record[1] - 1 make a window; the last observation is where the episode ends."""
        agent, number = self.agent, 1 + len(set(self._steps["episode"]))
        for t, (observation, reward) in enumerate(steps[:-1]):
            if t == record[0]:
                self._open(number)
            if t == 0:
                agent.begin(observation)
            else:
                agent.step(observation, reward)
                self._outcome(reward)
            self._steps["episode"].append(number)
            self._steps["observation"].append(observation)
            self._steps["value"].append(agent.value)
            if record[0] <= t < record[1]:
                self._record()
            if t == min(record[1], len(steps) - 1) - 1:
                self._close()
        agent.end(*steps[-1], terminated)
        self._outcome(steps[-1][1])

    def run(self) -> FakeRun:
        """All that was recorded."""
        steps = {name: np.array(column) for name, column in self._steps.items()}
        attrs = {"mode": "asynchronous", "model_name": self._model.name}
        return FakeRun(self._model.text, self._seed, steps, self._windows, attrs)

    def _outcome(self, reward: float) -> None:
        self._steps["reward"].append(reward)
        self._steps["td_error"].append(self.agent.td_error)

    def _open(self, episode: int) -> None:
        first = len(self._steps["episode"])
        self._windows.append(FakeWindow(len(self._windows), episode, first))
        self._put("before")
        self.agent.write_log(True)

    def _record(self) -> None:
        window, events = self._windows[-1], self.agent.events()
        window.n_steps += 1
        for name, column in events.items():
            old = window.events.get(name, column[:0])
            window.events[name] = np.concatenate([old, column])
        end = window.first_event[-1] + len(events["time"])
        window.first_event = np.append(window.first_event, end)
        for team in TEAMS:
            memory = getattr(self.agent, team)
            for key, name in (("sampled", "sampled"), ("h", "relaxed")):
                row = getattr(memory, key)[None, int(memory.size[0]) :]
                old = window.values.get((team, name), row[:0])
                window.values[team, name] = np.concatenate([old, row])

    def _close(self) -> None:
        self._put("after")
        self._windows[-1].complete = True
        self.agent.write_log(False)

    def _put(self, when: str) -> None:
        for team in TEAMS:
            state = self.agent.state_of(team)
            self._windows[-1].states[team, when] = {k: np.array(v) for k, v in state.items()}
