"""Windows added to finished runs, by a replay that is held against what was recorded."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import neurosim
from neurosim import cli, experiment, rerecording
from neurosim.errors import InputError, RunError
from neurosim.record import Window, checkpoint
from neurosim.spec import TEAMS

SMALL = {"actor.units": [6, 5], "critic.units": [5, 4], "actor.N": 4, "critic.N": 4}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "synchronous": ("cartpole", {}),
    "published habits": ("published/cartpole", {}),
    "continuous": ("mountaincar", {"task.options": {"max_episode_steps": 15}}),
    "hill climbing": ("hill_climbing/cartpole", {}),
    "fully local": ("async/cartpole", {}),
    "overtaking": ("async/cartpole", {"timing.packet_delay": 2.0, "timing.reorder": "newest"}),
    "per synapse": ("async/cartpole", {"timing.synapse_delay": 1.0}),
    "float32": ("async/cartpole", {"storage.values": "float32", "storage.compression": "none"}),
}


def load(name: str, more: dict[str, Any] | None = None) -> neurosim.Model:
    """A small model of six episodes."""
    model, changes = MODELS[name]
    return neurosim.load(model, {"task.episodes": 6, **SMALL, **changes, **(more or {})})


@pytest.fixture(autouse=True)
def _a_checkpoint_after_every_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", 0.0)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A finished asynchronous run without windows."""
    return neurosim.run(load("fully local"), out=tmp_path)


def everything_in(window: Window) -> dict[str, Any]:
    """All that a window holds, as bytes."""
    found: dict[str, Any] = {
        "place": (window.episode, window.first_step, window.n_steps, window.complete),
        "first_event": window.first_event.tolist(),
    }
    for team in TEAMS:
        found[f"{team} sampled"] = window.sampled(team).tobytes()
        found[f"{team} relaxed"] = window.relaxed(team).tobytes()
        for when in ("before", "after"):
            state = getattr(window, when)(team)
            found |= {f"{team} {when} {key}": array.tobytes() for key, array in state.items()}
    return found | {name: column[...].tobytes() for name, column in window.events.items()}


@pytest.mark.parametrize("name", MODELS)
def test_a_window_recorded_afterwards_has_the_bits_of_one_recorded_meanwhile(
    name: str, tmp_path: Path
) -> None:
    window = {"record": [{"episodes": [4], "steps": [1, 6]}]}
    folder = neurosim.run(load(name), out=tmp_path)
    added = neurosim.rerecord(folder, 4, (1, 6))
    with neurosim.simulate(load(name, window)) as meanwhile, neurosim.open(folder) as run:
        assert (added.window, len(run.windows)) == (0, 1)
        assert everything_in(run.windows[0]) == everything_in(meanwhile.windows[0])
        assert len(run.windows[0].events) == added.n_events
        assert (added.n_events > 0) == (run.attrs["mode"] == "asynchronous")
        first = run.episodes["first_step"][...]
        assert added.n_steps == first[4] - first[added.first_episode - 1]


def test_the_replay_goes_on_from_the_latest_checkpoint_before_the_episode(finished: Path) -> None:
    assert 3 in checkpoint.kept(finished)
    assert neurosim.rerecord(finished, 4, (0, 1)).first_episode == 4
    (finished / checkpoint.FOLDER / "episode-000000003.h5").unlink()
    assert neurosim.rerecord(finished, 4, (2, 3)).first_episode == 3
    shutil.rmtree(finished / checkpoint.FOLDER)
    assert neurosim.rerecord(finished, 4, (4, 5)).first_episode == 1


def test_all_else_in_the_run_stays_as_it_was(
    finished: Path, contents: Callable[[Path], dict[str, Any]]
) -> None:
    before = contents(finished)
    neurosim.rerecord(finished, 5, (0, 3))
    with neurosim.open(finished) as run:
        first = everything_in(run.windows[0])
        assert run.complete
    neurosim.rerecord(finished, 2, (0, 100))
    after = contents(finished)
    assert {key: after[key] for key in before} == before
    with neurosim.open(finished) as run:
        assert [window.episode for window in run.windows] == [5, 2]
        assert run.windows[1].n_steps == run.episodes["length"][1]
        assert everything_in(run.windows[0]) == first


def tamper(folder: Path, column: str, row: int) -> None:
    """Change a number of a run; the file stays whole."""
    with h5py.File(folder / "run.h5", "r+") as file:
        file[column][row] = file[column][row] + 1


@pytest.mark.parametrize(
    ("column", "k", "place"),
    [
        ("steps/td_error", 2, r"steps/td_error \(episode 4, step 2\)"),
        ("steps/observation", 0, r"steps/observation \(episode 4, step 0\)"),
        ("steps/actor_sent", 3, r"steps/actor_sent \(episode 4, step 3\)"),
        ("episodes/return", None, r"row 3 of /episodes/return"),
    ],
)
def test_a_replay_that_differs_is_refused_and_the_first_difference_named(
    finished: Path, column: str, k: int | None, place: str
) -> None:
    with neurosim.open(finished) as run:
        first = int(run.episodes["first_step"][3])
    tamper(finished, column, 3 if k is None else first + k)
    if k is not None:
        tamper(finished, "steps/value", first + 5)  # comes later
    before = (finished / "run.h5").read_bytes()
    with pytest.raises(RunError, match=f"{place}: .* instead of .*Nothing was added"):
        neurosim.rerecord(finished, 4, (0, 2))
    assert (finished / "run.h5").read_bytes() == before


def test_other_versions_are_named_where_a_replay_differs(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = experiment.installed_versions()
    monkeypatch.setattr(rerecording, "installed_versions", lambda: installed | {"numpy": "1.0"})
    neurosim.rerecord(finished, 1, (0, 1))  # same bits all the same
    tamper(finished, "steps/reward", 0)
    with pytest.raises(RunError, match=f"numpy 1.0 instead of {np.__version__}"):
        neurosim.rerecord(finished, 1, (2, 3))


def test_a_full_disk_leaves_the_run_as_it_was(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (finished / "run.h5").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"the disk is full\. The run is as it was"):
        neurosim.rerecord(finished, 3, (0, 2))
    assert (finished / "run.h5").read_bytes() == before
    assert not list(finished.rglob("*.part"))


@pytest.mark.parametrize(
    ("episode", "steps", "message"),
    [
        (0, (0, 1), "--episode 0: .* episodes 1 to 6"),
        (7, (0, 1), "--episode 7: .* episodes 1 to 6"),
        (2, (3, 3), "--steps 3:3: episode 2 has the steps 0 to"),
        (2, (-1, 3), "--steps -1:3"),
        (2, (1000, 1001), "--steps 1000:1001"),
        (3, (1, 2), "in its window 0 already"),
    ],
)
def test_steps_that_are_not_there_or_there_already_are_wrong_input(
    finished: Path, episode: int, steps: tuple[int, int], message: str
) -> None:
    neurosim.rerecord(finished, 3, (0, 4))
    with pytest.raises(InputError, match=message):
        neurosim.rerecord(finished, episode, steps)


def test_a_run_that_has_not_ended_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(experiment.Interrupted):
        neurosim.run(load("fully local"), out=tmp_path, on_episode=lambda episode: True)
    folder = tmp_path / "async/cartpole/seed-0000"
    with pytest.raises(InputError, match="neurosim resume"):
        neurosim.rerecord(folder, 1, (0, 1))


def test_the_command_says_what_was_replayed(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["rerecord", str(finished), "--episode", "4", "--steps", "0:2", "--quiet"])
    with neurosim.open(finished) as run:
        window = run.windows[0]
        said = capsys.readouterr().out
        assert f"all {run.episodes['length'][3]} steps have the bits" in said
        assert f"window 0, {len(window.events)} events" in said
    with pytest.raises(SystemExit) as ended:
        cli.main(["rerecord", str(finished), "--episode", "4", "--steps", "two", "--quiet"])
    assert ended.value.code == 2
    assert "write FIRST:LAST+1" in capsys.readouterr().err


@pytest.mark.slow
def test_an_episode_in_the_middle_of_200_is_recorded_again(tmp_path: Path) -> None:
    model = neurosim.load("async/cartpole", {"task.episodes": 200})
    folder = neurosim.run(model, out=tmp_path)
    added = neurosim.rerecord(folder, 100, (0, 20))
    window = {"task.episodes": 100, "record": [{"episodes": [100], "steps": [0, 20]}]}
    with neurosim.simulate(neurosim.load("async/cartpole", window)) as whole:
        with neurosim.open(folder) as run:
            assert everything_in(run.windows[0]) == everything_in(whole.windows[0])
        assert added.n_events == len(whole.windows[0].events) > 100_000
