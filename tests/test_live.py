"""A run that is read, held open and killed while it goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from recording import child, contents_of, record_run

import neurosim
from neurosim.errors import InputError
from neurosim.record import contents, drop_segments, open_run, reader, seal
from neurosim.record.files import Source

SETTINGS: dict[str, Any] = {
    "task.episodes": 16,
    "task.options": {"max_episode_steps": 40},
    "actor.units": [6, 5],
    "critic.units": [5, 4],
    "record": [{"episodes": "all", "steps": [0, 8]}],
}
RUNNING = """
import json, sys
from functools import partial
from pathlib import Path
import neurosim
from neurosim import cli, experiment, record
from neurosim.record import schema

experiment.CHECKPOINT_SECONDS = 0.0
schema.CHUNK_BYTES, schema.EVENT_CHUNK_ROWS = 2048, 512
record.Recorder = partial(record.Recorder, segment_bytes=10_000)
settings = [f"{key}={value}" for key, value in json.loads(sys.argv[2]).items()]
record = ["--record", "episodes=all steps=0:8"]
cli.main(["run", sys.argv[1], "--out", sys.argv[3], "--quiet", "--set", *settings, *record])
"""
PLAIN = {
    "task.episodes": "16",
    "task.options": "{max_episode_steps = 40}",
    "actor.units": "[6, 5]",
    "critic.units": "[5, 4]",
}


@pytest.fixture(params=["cartpole", "async/cartpole"])
def model_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def start(name: str, out: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start `neurosim run` with many small segments; returns when there is the first one."""
    process = child(RUNNING, name, json.dumps(PLAIN), out)
    folder = out / name / "seed-0000"
    deadline = time.monotonic() + 120
    while not (folder / "segments/000000.h5").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process, folder


def end(process: subprocess.Popen[str]) -> None:
    """Wait for the end, which must be a good one."""
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")


def sizes(run: neurosim.Run) -> list[int]:
    tables = ("episodes", "steps", "windows", "windows/steps", "windows/events")
    return [len(run.table(name)) for name in tables]


def test_a_reader_of_a_running_run_sees_it_grow_and_no_error(
    model_name: str, tmp_path: Path
) -> None:
    """Over the sealing and the dropping of its segments; rows that were seen do not change."""
    process, folder = start(model_name, tmp_path)
    seen, rewards = [[0] * 5], np.zeros(0)
    states = set()
    while True:
        over = process.poll() is not None
        with neurosim.open(folder) as run:
            states.add(run.complete)
            seen.append(sizes(run))
            found = run.steps["reward"][:] if len(run.steps) else np.zeros(0)
            for window in run.windows[-1:]:
                assert len(window.sampled("actor")) == window.n_steps
                assert len(window.events) == window.first_event[-1]
        assert found[: len(rewards)].tobytes() == rewards.tobytes()
        rewards = found
        if over:
            break
        time.sleep(0.005)
    end(process)
    growth = np.diff(seen, axis=0)
    assert (growth >= 0).all()
    assert (growth[:, 1] > 0).sum() >= 3
    assert states == {False, True}
    assert seen[-1][0] == 16


def test_a_process_that_holds_files_open_all_the_time_does_not_disturb_a_run(
    model_name: str, tmp_path: Path
) -> None:
    """This one, with HDF5's locks."""
    process, folder = start(model_name, tmp_path / "held")
    held: dict[str, h5py.File] = {}
    try:
        while process.poll() is None:
            for file in folder.glob("segments/*.h5"):
                if file.name not in held:
                    try:
                        held[file.name] = h5py.File(file)
                    except FileNotFoundError:  # dropped since
                        continue
            time.sleep(0.01)
    finally:
        for opened in held.values():
            opened.close()
    end(process)
    assert len(held) >= 3
    alone = neurosim.run(neurosim.load(model_name, SETTINGS), 0, tmp_path / "alone")
    assert contents_of(folder) == contents_of(alone)


# --- opened just when the segments go ------------------------------------------------------------


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A folder whose run is sealed, its segments still there."""
    seal(record_run(tmp_path), {"complete": True})
    return tmp_path


def before_the_first(call: Callable[..., Any], do: Callable[[], None]) -> Callable[..., Any]:
    """A function like `call`, the first call of which does something before."""
    begun: Iterator[None] = iter([None])

    def instead(*arguments: Any) -> Any:
        for _ in begun:
            do()
        return call(*arguments)

    return instead


def test_a_run_can_be_opened_just_when_its_segments_are_dropped(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between finding them and asking for their size."""
    spy = before_the_first(reader.fingerprint, lambda: drop_segments(sealed))
    monkeypatch.setattr(reader, "fingerprint", spy)
    with open_run(sealed) as run:
        assert len(run.steps) == 30


def test_a_run_can_be_opened_just_when_it_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between finding the segments and opening the first."""
    record_run(tmp_path)

    def finish() -> None:
        monkeypatch.undo()
        seal(tmp_path, {"complete": True})
        drop_segments(tmp_path)

    monkeypatch.setattr(contents, "open_source", before_the_first(contents.open_source, finish))
    with open_run(tmp_path) as run:
        assert len(run.steps) == 30


def test_a_file_that_is_always_gone_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_run(tmp_path)

    def gone(source: Source) -> Any:
        raise FileNotFoundError(source)

    monkeypatch.setattr(contents, "open_source", gone)
    with pytest.raises(InputError, match=r"000000\.h5 is gone"):
        open_run(tmp_path)


# --- killed --------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_runs_lose_no_acknowledged_row_and_resume_to_the_same_bits(kills: int) -> None:
    study = Path(__file__).parent / "kill_study.py"
    seed = int(time.time())
    done = subprocess.run(
        [sys.executable, study, "--kills", str(kills), "--seed", str(seed)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"{kills} kills") == 2
