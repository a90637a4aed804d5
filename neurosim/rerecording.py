"""Recording in full detail what a finished run did not keep: it is replayed, and held against it.

A replay goes on from the checkpoint before the episode. Every step of it must have the bits that
the run recorded; only then is the window added to the run.
"""

import json
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurosim import record
from neurosim.errors import InputError, RunError
from neurosim.experiment import (
    OnEpisode,
    check_model,
    installed_versions,
    read_run_model,
    restore,
    sole_writer,
)
from neurosim.record import Recorder, Run, schema
from neurosim.spec import TEAMS, MonteCarloSpec, Record
from neurosim.training import Episodes


class Rerecorded(NamedTuple):
    """What was recorded again."""

    window: int  # number of the new window
    first_episode: int  # the replay's first episode
    n_steps: int  # steps of the replay, all of which are as they were recorded
    n_events: int  # rows of events in the window


def rerecord(
    folder: str | Path, episode: int, steps: tuple[int, int], *, on_episode: OnEpisode | None = None
) -> Rerecorded:
    """Replay a finished run to some steps of an episode and add them to it as a window.

    Parameters
    ----------
    folder : the run's folder.
    episode : from 1.
    steps : the first step, from 0, and the one after the last; steps beyond the episode's end are
        not there.
    on_episode : called after each episode of the replay.

    Raises
    ------
    InputError : not a finished run, no such steps, or a window of them is there already.
    RunError : the replay differs from what was recorded; nothing is added.
    """
    folder = Path(folder)
    model, seed = read_run_model(folder)
    if isinstance(model.spec, MonteCarloSpec):
        raise InputError(
            f"{folder} is a run of batches, which has no windows; name a run of episodes, such as "
            "runs/cartpole/seed-0000."
        )
    with (
        sole_writer(folder),
        closing(check_model(model, seed)) as environment,
        record.open_run(folder) as run,
    ):
        episodes = Episodes(model.spec, environment, seed)
        _check(run, folder, episode, steps)
        done, counts = restore(folder, episodes.learner, model, seed, before=episode)
        if done == 0:
            episodes.learner.begin_with({name: run.weights(name, "initial") for name in TEAMS})
        counts = {
            schema.STEPS: counts.get(schema.STEPS, 0),
            schema.WINDOW_STEPS: len(run.table(schema.WINDOW_STEPS)),
            schema.EVENTS: len(run.table(schema.EVENTS)),
        }
        path = folder / schema.SEALED_FILE
        store, storage = record.MemoryStore([path]), model.spec.storage
        with Recorder(store, storage.compression) as recorder:
            begun = {schema.EPISODES: done, schema.STEPS: counts[schema.STEPS]}
            comparison = _Comparison(run, recorder, begun)
            window = Record(episodes=[episode], steps=steps)
            log = episodes.record_to(comparison, counts, [window])
            for number in range(done + 1, episode + 1):
                try:
                    ended = episodes.advance(number)
                except RunError:  # it diverged: it has differed before
                    log.flush()
                    comparison.check()
                    raise
                log.flush()
                comparison.check()
                if on_episode:
                    on_episode(ended)
            recorder.commit()
        number = len(run.windows)
        remedy = "The run is as it was: make room, then record the window again."
        record.merge(store.sources(), path, {}, storage.compression, remedy)
    replayed = log.counts[schema.STEPS] - counts[schema.STEPS]
    events = log.counts[schema.EVENTS] - counts[schema.EVENTS]
    return Rerecorded(number, done + 1, replayed, events)


class _Comparison:
    """Passes on what belongs to windows, and holds all else against what the run recorded."""

    def __init__(self, run: Run, recorder: Recorder, begun: dict[str, int]) -> None:
        self._run = run
        self._recorder = recorder
        self._begun = begun  # rows of each table before the replay
        self._compared: dict[str, int] = {}
        self._differences: list[tuple[int, str, str]] = []  # row, path, what differs

    def append(self, path: str, rows: npt.ArrayLike) -> None:
        """Take rows of a growing dataset."""
        table = schema.table_of(path)
        if table not in self._begun:
            self._recorder.append(path, rows)
            return
        mine = np.asarray(rows)
        start = self._begun[table] + self._compared.get(path, 0)
        self._compared[path] = self._compared.get(path, 0) + len(mine)
        theirs = self._run[path][start : start + len(mine)]
        if mine.tobytes() == theirs.tobytes():
            return
        for k, (a, b) in enumerate(zip(mine, theirs, strict=False)):
            if a.tobytes() != b.tobytes():
                self._differences.append((start + k, path, f"{a.tolist()} instead of {b.tolist()}"))
                return
        self._differences.append((start + len(theirs), path, "more rows than were recorded"))

    def put(self, path: str, array: npt.ArrayLike) -> None:
        """Take a whole array."""
        self._recorder.put(path, array)

    def check(self) -> None:
        """Raise RunError at the earliest step that differed."""
        if not self._differences:
            return
        row, path, what = min(
            self._differences, key=lambda each: (schema.table_of(each[1]) != schema.STEPS, *each)
        )
        place = f"row {row} of /{path}"
        if schema.table_of(path) == schema.STEPS:
            episodes = self._run.episodes
            k = int(np.searchsorted(episodes["first_step"][...], row, side="right")) - 1
            place = f"{place} (episode {k + 1}, step {row - episodes['first_step'][k]})"
        recorded, installed = json.loads(self._run.attribute("versions")), installed_versions()
        other = [
            f"{name} {installed[name]} instead of {version}"
            for name, version in recorded.items()
            if installed.get(name) not in (None, version)
        ]
        reason = f"Other versions are installed: {', '.join(other)}. " if other else ""
        raise RunError(
            f"The replay differs from the run first at {place}: {what}. {reason}"
            "Nothing was added to the run."
        )


def _check(run: Run, folder: Path, episode: int, steps: tuple[int, int]) -> None:
    if not run.complete:
        raise InputError(f"{folder} is not finished: `neurosim resume {folder}` goes on with it.")
    if not 1 <= episode <= len(run.episodes):
        raise InputError(
            f"--episode {episode}: {folder} has the episodes 1 to {len(run.episodes)}."
        )
    first, last = steps
    length = int(run.episodes["length"][episode - 1])
    if not 0 <= first < min(last, length):
        raise InputError(
            f"--steps {first}:{last}: episode {episode} has the steps 0 to {length - 1}; give "
            "FIRST:LAST+1."
        )
    begin = int(run.episodes["first_step"][episode - 1])
    for window in run.windows:
        mine = begin + first, begin + min(last, length)
        if window.first_step <= mine[0] and mine[1] <= window.first_step + window.n_steps:
            raise InputError(
                f"--episode {episode} --steps {first}:{last}: {folder} has them in its window "
                f"{window.number} already."
            )
