"""What a run writes down: its steps, its episodes, its weights and the windows asked for."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from neurosim.learners import MapProp, MonteCarlo
from neurosim.memory import Floats, Team
from neurosim.record import schema
from neurosim.spec import TEAMS, Record, Storage


class Writer(Protocol):
    """What takes down a run: a `Recorder`, or one that compares."""

    def append(self, path: str, rows: npt.ArrayLike) -> None:
        """Take rows of a growing dataset."""

    def put(self, path: str, array: npt.ArrayLike) -> None:
        """Take a whole array."""


class Log:
    """What a run writes down, be it of episodes or of batches.

    Parameters
    ----------
    writer : where it goes.
    weights : views of each team's weights, by name.
    """

    def __init__(self, writer: Writer, weights: Mapping[str, Mapping[str, Floats]]) -> None:
        self._writer = writer
        self._weights = weights

    @property
    def counts(self) -> dict[str, int]:
        """Rows so far of the tables whose rows refer to one another."""
        return {}

    def begin(self) -> None:
        """Write the weights as they are before anything is learned."""
        self._put_weights("initial")

    def flush(self) -> None:
        """Hand all finished rows to the writer."""
        raise NotImplementedError

    def put_totals(self) -> None:
        """Write what was counted over the whole run, if anything was."""

    def abandon(self) -> None:
        """The run has diverged: end what is open, if anything is."""

    def end(self) -> None:
        """Write the weights as they are when all is learned."""
        self._put_weights("final")

    def _put_weights(self, which: str) -> None:
        for team, arrays in self._weights.items():
            for key, array in arrays.items():
                self._writer.put(f"{schema.weights(team, which)}/{key}", _as_recorded(array))


class BatchLog(Log):
    """A row for each batch of Algorithm 1.

    Parameters
    ----------
    writer : where the rows go.
    learner : the team that learns.
    """

    def __init__(self, writer: Writer, learner: MonteCarlo) -> None:
        super().__init__(writer, {"actor": learner.weights()})
        self._learner = learner
        self._rewards: list[float] = []
        self._samples: list[int] = []

    def batch(self, reward: float) -> None:
        """A batch has been learned from, whose mean reward was this."""
        self._rewards.append(reward)
        self._samples.append(self._learner.samples)

    def flush(self) -> None:
        """Hand all finished batches to the writer."""
        self._writer.append(f"{schema.BATCHES}/reward", np.array(self._rewards))
        self._writer.append(f"{schema.BATCHES}/samples", np.array(self._samples, np.int64))
        self._rewards, self._samples = [], []


class RunLog(Log):
    """Turns what happens in a run of episodes into rows of its tables.

    Parameters
    ----------
    writer : where the rows go.
    agent : whose values, weights and td_errors are recorded.
    records : the windows asked for.
    storage : how the record is kept.
    counts : rows of the tables that are recorded already, as `counts` gave them.
    """

    BUFFER = 4096  # steps held before they are handed to the writer

    def __init__(
        self,
        writer: Writer,
        agent: MapProp,
        records: Sequence[Record],
        storage: Storage,
        counts: dict[str, int] | None = None,
    ) -> None:
        self._rows = dict.fromkeys((schema.STEPS, schema.WINDOW_STEPS, schema.EVENTS), 0)
        self._rows |= counts or {}
        super().__init__(writer, {name: agent.weights(name) for name in TEAMS})
        self._agent = agent
        self._records = records
        self._event_types = _event_types(agent, storage)
        self._columns: dict[str, np.ndarray[Any, Any]] = {}
        self._filled = 0
        self._episode = self._t = self._episode_start = 0
        self._first, self._last = 0, 0  # steps [first, last) of this episode are in its window
        self._open = False
        self._first_event = 0  # row of events at which the window begins

    @property
    def counts(self) -> dict[str, int]:
        """Rows of the tables so far."""
        return dict(self._rows)

    def begin_episode(self, episode: int) -> None:
        """Episode `episode`, counted from 1, is about to begin."""
        self._episode, self._t = episode, 0
        self._episode_start = self._rows[schema.STEPS]
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
        self._rows[schema.STEPS] += 1
        if self._filled == self.BUFFER:
            self.flush()

    def before_step(self) -> None:
        """Step t of the episode is about to be made."""
        if self._open and self._t == self._last:
            self._close_window()
        elif self._t == self._first:
            self._append_states("before", complete=True)
            self._open = True
            self._first_event = self._rows[schema.EVENTS]
            self._agent.write_log(True)

    def end_episode(self, total: float, terminated: bool, truncated: bool, seed: int) -> None:
        """The episode is over: `total` is its return, `seed` the environment's."""
        row = {
            "return": np.float64(total),
            "length": np.int32(self._t),
            "terminated": np.bool_(terminated),
            "truncated": np.bool_(truncated),
            "first_step": np.int64(self._episode_start),
            "seed": np.int64(seed),
        }
        self._append_row(schema.EPISODES, row)

    def end_steps(self) -> None:
        """The last step of the episode has been made, its transition not learned yet."""
        if self._open:
            self._close_window()

    def abandon(self) -> None:
        """The run has diverged: end the window that is open, if one is, with no state after it."""
        if self._open:
            self._close_window(complete=False)

    def flush(self) -> None:
        """Hand all finished steps to the writer."""
        for name, column in self._columns.items():
            self._writer.append(f"{schema.STEPS}/{name}", column[: self._filled])
        self._filled = 0

    def begin(self) -> None:
        """Describe the units of both teams, and write their weights before the first step."""
        super().begin()
        for name, team in self._teams():
            hidden = slice(int(team.size[0]), None)
            layers = np.repeat(np.arange(team.size.size), team.size)[hidden]
            index = np.concatenate([np.arange(n) for n in team.size[1:]])
            group = f"{schema.TEAMS}/{name}/units"
            self._writer.put(f"{group}/layer", layers.astype(np.int16))
            self._writer.put(f"{group}/index", index.astype(np.int32))
            self._writer.put(f"{group}/var", team.var[hidden])

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
        row: dict[str, Any] = {"step": np.int64(self._rows[schema.STEPS])}
        for name, team in self._teams():
            units = slice(int(team.size[0]), None)
            row |= {f"{name}_sampled": team.sampled[units], f"{name}_relaxed": team.h[units]}
        if events := self._agent.events():
            row["first_event"] = np.int64(self._rows[schema.EVENTS])
            for name, column in events.items():
                # A copy: without one NumPy takes an enum for the integers that it is made of.
                typed = column.astype(self._event_types.get(name, column.dtype))
                self._writer.append(f"{schema.EVENTS}/{name}", typed)
            self._rows[schema.EVENTS] += len(events["time"])
        self._append_row(schema.WINDOW_STEPS, row)
        self._rows[schema.WINDOW_STEPS] += 1

    def _close_window(self, complete: bool = True) -> None:
        self._append_states("after", complete)
        steps = self._t - self._first
        row: dict[str, Any] = {
            "first_step": np.int64(self._episode_start + self._first),
            "n_steps": np.int32(steps),
            "episode": np.int32(self._episode),
            "first_row": np.int64(self._rows[schema.WINDOW_STEPS] - steps),
            "complete": np.bool_(complete),
        }
        if self._agent.events():
            row["n_events"] = np.int64(self._rows[schema.EVENTS] - self._first_event)
        self._append_row(schema.WINDOWS, row)
        self._open = False
        self._agent.write_log(False)

    def _append_states(self, when: str, complete: bool) -> None:
        for name in TEAMS:
            for key, array in self._agent.state_of(name).items():
                lost = np.full_like(array, np.nan if array.dtype.kind == "f" else -1)
                row = {key: array if complete else lost}
                self._append_row(schema.state(name, when), row)

    def _append_row(self, table: str, row: dict[str, Any]) -> None:
        for name, value in row.items():
            self._writer.append(f"{table}/{name}", _as_recorded(value)[None])


def _as_recorded(value: Any) -> Any:
    """What a team holds, as files have it: in double precision, whatever the team's."""
    return np.float64(value) if value.dtype == np.float32 else value


def _event_types(agent: MapProp, storage: Storage) -> dict[str, Any]:
    """The types in which columns of events are kept, where they differ from the engine's."""
    units = max(agent.actor.h.size, agent.critic.h.size)
    unit = np.int16 if units <= np.iinfo(np.int16).max else np.int32
    return {"unit": unit, "source": unit, "kind": schema.KIND, "value": np.dtype(storage.values)}
