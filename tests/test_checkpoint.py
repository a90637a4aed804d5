"""Checkpoints: every bit comes back, damage is noticed, a run goes on from each that is kept."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from recording import record_run, same_bits

import neurosim
from neurosim import experiment
from neurosim.errors import InputError, Interrupted
from neurosim.record import checkpoint, seal

Contents = Callable[[Path], dict[str, Any]]

dtypes = st.sampled_from(["f8", "f4", "i8", "i4", "u1", "?"]).map(np.dtype)
arrays = npst.arrays(dtypes, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))


# --- the file ------------------------------------------------------------------------------------


@given(array=arrays, other=arrays, number=st.integers(-(2**63), 2**63 - 1), x=st.floats())
@settings(max_examples=60, deadline=None)
def test_a_checkpoint_returns_every_bit(
    array: np.ndarray[Any, Any], other: np.ndarray[Any, Any], number: int, x: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.h5"
        checkpoint.save(path, {"actor/W1": array, "rows": other}, {"n": number, "x": x, "s": "é"})
        loaded, attrs = checkpoint.load(path)
    assert sorted(loaded) == ["actor/W1", "rows"]
    assert same_bits(loaded["actor/W1"], array)
    assert same_bits(loaded["rows"], other)
    assert type(attrs["n"]) is int
    assert attrs["n"] == number
    assert type(attrs["x"]) is float
    assert same_bits(attrs["x"], x)
    assert attrs["s"] == "é"


def test_a_checkpoint_keeps_nan_payloads_infinities_and_the_sign_of_zero(tmp_path: Path) -> None:
    odd = np.array([0x7FF8000000000123, 0xFFF0000000000001, 1 << 63, 0x7FF0 << 48], "u8")
    checkpoint.save(tmp_path / "c.h5", {"odd": odd.view("f8")}, {})
    assert same_bits(checkpoint.load(tmp_path / "c.h5")[0]["odd"].view("u8"), odd)


def test_a_checkpoint_opens_in_plain_h5py(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c.h5", {"actor/W1": np.eye(2)}, {"closed": 3})
    with h5py.File(tmp_path / "c.h5") as file:
        assert same_bits(file["arrays/actor/W1"], np.eye(2))
        assert file["attrs"].attrs["closed"] == 3


def test_a_damaged_checkpoint_is_an_input_error_whatever_byte_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.h5"
    checkpoint.save(path, {"actor/W1": np.arange(20.0)}, {"closed": 3, "name": "x"})
    whole = path.read_bytes()
    for position in range(0, len(whole), 13):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged or not a checkpoint"):
            checkpoint.load(path)
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="damaged or not a checkpoint"):
            checkpoint.load(path)


def test_a_missing_foreign_or_other_versions_checkpoint_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.h5"
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint.load(path)
    path.write_bytes(seal(record_run(tmp_path / "run"), {}).read_bytes())
    with pytest.raises(InputError, match="damaged or not a checkpoint"):
        checkpoint.load(path)
    for version in (1, 3):
        monkeypatch.setattr(checkpoint, "_FORMAT_VERSION", version)
        checkpoint.save(path, {}, {})
        monkeypatch.undo()
        with pytest.raises(InputError, match=f"another version of neurosim, format {version} "):
            checkpoint.load(path)


# --- those of a run ------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3])
def test_at_most_eight_checkpoints_are_kept_and_they_are_spread_over_the_run(
    every: int, tmp_path: Path
) -> None:
    """The first and the latest always; no gap is more than about twice an even share."""
    for number in range(200):
        episode = every * number
        checkpoint.keep(tmp_path, episode, {"x": np.array([episode])}, {"episode": episode})
        done = list(checkpoint.kept(tmp_path))
        assert len(done) == min(number + 1, 8)
        assert done == sorted(done)
        assert (done[0], done[-1]) == (0, episode)
        if number >= 8:
            assert np.diff(done).max() <= 2.5 * episode / 7
    for number, file in checkpoint.kept(tmp_path).items():
        arrays, attrs = checkpoint.load(file)
        assert arrays["x"].tolist() == [number]
        assert attrs == {"episode": number}


SMALL = {"actor.units": [5, 4], "critic.units": [4, 3], "actor.N": 4, "critic.N": 4}
WINDOWS = {"record": [{"episodes": [1, 5, 12, 14], "steps": [2, 6]}], "task.episodes": 14}


@pytest.mark.parametrize("name", ["cartpole", "async/cartpole"])
def test_a_run_goes_on_from_each_of_its_checkpoints_to_the_same_bits(
    name: str, tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = neurosim.load(name, SMALL | WINDOWS)
    alone = contents(neurosim.run(model, 3, tmp_path / "alone"))
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "CHECKPOINT_SECONDS", 0.0)
        with pytest.raises(Interrupted):
            neurosim.run(model, 3, tmp_path, on_episode=lambda episode: episode.number == 12)
    folder = experiment.run_folder(model, 3, tmp_path)
    kept = checkpoint.kept(folder)
    assert len(kept) == 8
    assert {0, 12} <= kept.keys()
    for latest in kept:
        copy = Path(shutil.copytree(folder, tmp_path / str(latest)))
        for done, file in checkpoint.kept(copy).items():
            if done > latest:
                file.unlink()
        went_on: list[int] = []
        neurosim.resume(copy, on_episode=lambda episode, to=went_on: to.append(episode.number))
        assert went_on == list(range(latest + 1, 15))
        assert contents(copy) == alone, latest
