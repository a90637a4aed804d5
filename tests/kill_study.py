"""Kill runs at random moments: ``python tests/kill_study.py --kills 100``.

For each mode, with windows open, small segments and a checkpoint after every episode: a run is
killed (kill -9) at a random moment, several times in its life. After each kill every file must
open, and every row that the latest checkpoint counts must be there with the bits of a run that was
never stopped; resumed to its end, the run must be that run. Exit status 1 at any failure.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from recording import contents_of

import neurosim
from neurosim import experiment, record
from neurosim.errors import NeurosimError
from neurosim.record import Run, checkpoint, schema
from neurosim.spec import Model

MODELS = {"synchronous": "cartpole", "asynchronous": "async/cartpole"}
SETTINGS: dict[str, Any] = {
    "task.episodes": 6,
    "task.options": {"max_episode_steps": 30},
    "actor.units": [6, 5],
    "critic.units": [5, 4],
    "actor.N": 4,
    "critic.N": 4,
    "record": [{"episodes": [1, 2, 4, 6], "steps": [1, 12]}],
}
SEED = 3
SEGMENT_BYTES = 20_000
EVENT_CHUNK_ROWS = 512
CHUNK_BYTES = 2048
KILLS_OF_A_RUN = 4


class Study:
    """Kills of runs of one model, and what was found after them."""

    def __init__(self, mode: str, folder: Path, seed: int) -> None:
        self.model: Model = neurosim.load(MODELS[mode], SETTINGS)
        self.dice = random.Random(f"{mode} {seed}")
        self.out = folder / mode
        self.kills = self.files = self.rows = self.resumed = self.during = 0
        self.failures: list[str] = []
        self.alone = neurosim.run(self.model, SEED, self.out / "alone")
        begun = time.monotonic()
        neurosim.run(self.model, SEED, self.out / "timed")  # with the kernels loaded
        self.seconds = time.monotonic() - begun
        self.expected = contents_of(self.alone)

    def run(self, kills: int) -> None:
        """Kill so many times."""
        number = 0
        while self.kills < kills:
            number += 1
            out = self.out / str(number)
            folder = experiment.run_folder(self.model, SEED, out)
            for _ in range(min(KILLS_OF_A_RUN, kills - self.kills)):
                if not self._killed(partial(go_on, self.model, folder, out)):
                    break  # it came to its end
                self.kills += 1
                self._look(folder, number)
            self._finish(folder, out, number)

    def _killed(self, work: Callable[[], object]) -> bool:
        """Do some work in a process of its own and kill it; False if it came to its end."""
        child = os.fork()
        if not child:
            status = 1
            try:
                work()
                status = 0
            finally:
                os._exit(status)
        time.sleep(self.dice.uniform(0.0, 1.1 * self.seconds))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            self.failures.append(f"a run ended with status {os.WEXITSTATUS(status)}")
        return os.WIFSIGNALED(status)

    def _look(self, folder: Path, number: int) -> None:
        """Open every file, and hold the rows that are acknowledged against the other run's."""
        try:
            for file in folder.rglob("*.h5"):
                if file.parent.name == checkpoint.FOLDER:
                    checkpoint.load(file)
                else:
                    with h5py.File(file) as opened:
                        opened.visititems(lambda _, node: node.attrs)
                self.files += 1
            kept = checkpoint.kept(folder)
            if not kept:
                return  # nothing is promised yet
            self.during += 1
            counts = checkpoint.load(kept[max(kept)])[1]
            with neurosim.open(folder) as run, neurosim.open(self.alone) as alone:
                self.rows += compare(run, alone, counts)
        except (AssertionError, NeurosimError, OSError) as error:
            self.failures.append(f"run {number}, kill {self.kills}: {error}")

    def _finish(self, folder: Path, out: Path, number: int) -> None:
        try:
            go_on(self.model, folder, out)
            if contents_of(folder) != self.expected:
                self.failures.append(f"run {number}, resumed, is another one")
                return
            self.resumed += 1
        except NeurosimError as error:
            self.failures.append(f"run {number} cannot be resumed: {error}")


def go_on(model: Model, folder: Path, out: Path) -> None:
    """Resume a run, or start it anew where it was killed before it had a provenance."""
    if (folder / experiment.PROVENANCE).exists():
        neurosim.resume(folder)
    else:
        neurosim.run(model, SEED, out, force=True)


def compare(run: Run, alone: Run, counts: dict[str, Any]) -> int:
    """Hold every row that a checkpoint counts against the same of a run that nothing stopped.

    Returns
    -------
    How many rows of tables that were.
    """
    done = counts["episode"]
    windows = int(np.sum(alone.table(schema.WINDOWS)["episode"][...] <= done))
    rows = {schema.EPISODES: done, schema.WINDOWS: windows}
    rows |= {name: int(counts[name]) for name in schema.ROWS.keys() & counts.keys()}
    compared = 0
    for table, n in rows.items():
        columns = {f"{table}/{name}": column for name, column in alone.table(table).items()}
        if table == schema.WINDOWS:
            for team in ("actor", "critic"):
                for when in ("before", "after"):
                    group = schema.state(team, when)
                    columns |= {f"{group}/{name}": column for name, column in alone[group].items()}
        for path, column in columns.items():
            if n:
                ours, theirs = run[path][:n], column[:n]
                assert len(ours) == n, f"{path} has {len(ours)} of {n} rows"
                assert ours.tobytes() == theirs.tobytes(), f"{path} differs"
        compared += n
    return compared


def main(arguments: list[str] | None = None) -> int:
    """Kill runs of both modes; print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="of each mode")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args(arguments)
    experiment.CHECKPOINT_SECONDS = 0.0
    schema.EVENT_CHUNK_ROWS, schema.CHUNK_BYTES = EVENT_CHUNK_ROWS, CHUNK_BYTES
    record.Recorder = partial(record.Recorder, segment_bytes=SEGMENT_BYTES)  # type: ignore[misc]
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for mode in MODELS:
            study = Study(mode, Path(folder), options.seed)
            study.run(options.kills)
            print(
                f"{mode}: {study.kills} kills, {study.during} of them after the first checkpoint; "
                f"{study.files} files opened; {study.rows} rows acknowledged and right; "
                f"{study.resumed} resumed runs equal to the uninterrupted one; "
                f"{len(study.failures)} failures"
            )
            failures += study.failures
    print(*failures, sep="\n", end="\n" if failures else "")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
