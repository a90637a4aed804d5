"""What a run writes down: its steps, its episodes, its weights and the windows asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurosim.learners import MapProp
from neurosim.memory import Floats, Team
from neurosim.record import schema
from neurosim.record.segments import SegmentWriter
from neurosim.spec import TEAMS, Record


class RunLog:
    """Turns what happens in a run into rows of its segments.

    Parameters
    ----------
    writer : where the rows go.
    agent : whose values, weights and td_errors are recorded.
    records : the windows asked for.
    steps, windows : how many of each the segments hold already.
    """

    BUFFER = 4096  # steps held before they are handed to the writer

    def __init__(
        self,
        writer: SegmentWriter,
        agent: MapProp,
        records: Sequence[Record],
        steps: int = 0,
        windows: int = 0,
    ) -> None:
        self.steps = steps
        self.windows = windows
        self._writer = writer
        self._agent = agent
        self._records = records
        self._columns: dict[str, np.ndarray[Any, Any]] = {}
        self._filled = 0
        self._episode = self._t = self._episode_start = 0
        self._first, self._last = 0, 0  # steps [first, last) of this episode are in its window
        self._open = False
        self._events = 0  # rows of events in the window

    def begin_episode(self, episode: int) -> None:
        """Episode `episode`, counted from 1, is about to begin."""
        self._episode, self._t = episode, 0
        self._episode_start = self.steps
        self._first, self._last = self._window_of(episode)
        self.before_step()

    def step(self, observation: Floats, action: Any) -> None:
        """The agent has made step t: it saw `observation` and acts with `action`."""
        if not self._columns:
            self._allocate(observation, action)
        row = self._filled
        self._columns["episode"][row] = self._episode
        self._columns["observation"][row] = observation
        self._columns["action"][row] = action
        self._columns["value"][row] = self._agent.value
        for name, counts in self._agent.counts().items():
            self._columns[name][row] = counts
        if self._open:
            self._record_step()
        self._t += 1

    def outcome(self, reward: float) -> None:
        """The transition of the last step brought `reward`, and the agent has learned from it."""
        self._columns["reward"][self._filled] = reward
        self._columns["td_error"][self._filled] = self._agent.td_error
        self._filled += 1
        self.steps += 1
        if self._filled == self.BUFFER:
            self.flush()

    def before_step(self) -> None:
        """Step t of the episode is about to be made."""
        if self._open and self._t == self._last:
            self._close_window()
        elif self._t == self._first:
            self._put_state("before")
            self._open = True
            self._agent.write_log(True)
            self._window_start = self._episode_start + self._t
            self._events = 0

    def end_episode(self, total: float, terminated: bool, truncated: bool, seed: int) -> None:
        """The episode is over: `total` is its return, `seed` the environment's."""
        row = {
            "return": np.array([total]),
            "length": np.array([self._t], np.int32),
            "terminated": np.array([terminated]),
            "truncated": np.array([truncated]),
            "first_step": np.array([self._episode_start], np.int64),
            "seed": np.array([seed], np.int64),
        }
        for name, value in row.items():
            self._writer.append(f"{schema.EPISODES}/{name}", value)

    def end_steps(self) -> None:
        """The last step of the episode has been made, its transition not learned yet."""
        if self._open:
            self._close_window()

    def abandon_window(self) -> None:
        """End the window that is open, if one is, without the state after it."""
        if not self._open:
            return
        self._writer.annotate(
            f"{schema.WINDOWS}/{self.windows}",
            {
                "first_step": self._window_start,
                "n_steps": self._t - self._first,
                "episode": self._episode,
            },
        )
        self.windows += 1
        self._open = False
        self._agent.write_log(False)

    def flush(self) -> None:
        """Hand all finished steps to the writer."""
        for name, column in self._columns.items():
            self._writer.append(f"{schema.STEPS}/{name}", column[: self._filled])
        self._filled = 0

    def put_units(self) -> None:
        """Describe the units of both teams."""
        for name, team in self._teams():
            hidden = slice(int(team.size[0]), None)
            layers = np.repeat(np.arange(team.size.size), team.size)[hidden]
            index = np.concatenate([np.arange(n) for n in team.size[1:]])
            group = f"{schema.TEAMS}/{name}/units"
            self._writer.put(f"{group}/layer", layers.astype(np.int16))
            self._writer.put(f"{group}/index", index.astype(np.int32))
            self._writer.put(f"{group}/var", team.var[hidden])

    def put_weights(self, which: str) -> None:
        """Write the weights of both teams as `which`: initial or final."""
        for name in TEAMS:
            for key, array in self._agent.weights(name).items():
                self._writer.put(f"{schema.weights(name, which)}/{key}", array)

    def put_totals(self) -> None:
        """Write what all steps of the run counted together."""
        for path, counts in self._agent.totals().items():
            self._writer.put(f"{schema.TEAMS}/{path}", counts)

    def _teams(self) -> list[tuple[str, Team]]:
        return list(zip(TEAMS, (self._agent.actor, self._agent.critic), strict=True))

    def _allocate(self, observation: Floats, action: Any) -> None:
        action = np.asarray(action)
        kind = np.float64 if action.dtype.kind == "f" else np.int32
        self._columns = {
            "episode": np.empty(self.BUFFER, np.int32),
            "observation": np.empty((self.BUFFER, observation.size)),
            "action": np.empty((self.BUFFER, *action.shape), kind),
            "reward": np.empty(self.BUFFER),
            "td_error": np.empty(self.BUFFER),
            "value": np.empty(self.BUFFER),
        }
        for name, counts in self._agent.counts().items():
            self._columns[name] = np.empty((self.BUFFER, *counts.shape), np.int32)

    def _window_of(self, episode: int) -> tuple[int, int]:
        """Steps [first, last) of the episode's window, (-1, -1) where none was asked for."""
        asked = [r.steps for r in self._records if r.episodes == "all" or episode in r.episodes]
        spans = [(0, np.iinfo(np.int64).max) if s == "all" else s for s in asked]
        return (min(a for a, _ in spans), max(b for _, b in spans)) if spans else (-1, -1)

    def _record_step(self) -> None:
        window = f"{schema.WINDOWS}/{self.windows}"
        for name, team in self._teams():
            for key in ("sampled", "h"):
                path = f"{window}/{name}/{schema.WINDOW_VALUES[key]}"
                self._writer.append(path, getattr(team, key)[None, int(team.size[0]) :])
        events = self._agent.events()
        if not events:
            return
        self._writer.append(f"{window}/first_event", np.array([self._events]))
        for name, column in events.items():
            typed = column.astype(schema.KIND) if name == "kind" else column
            self._writer.append(f"{window}/events/{name}", typed)
        self._events += len(events["time"])

    def _close_window(self) -> None:
        self._put_state("after")
        self.abandon_window()

    def _put_state(self, when: str) -> None:
        for name in TEAMS:
            for key, array in self._agent.state_of(name).items():
                self._writer.put(f"{schema.WINDOWS}/{self.windows}/{name}/{when}/{key}", array)
