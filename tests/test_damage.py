"""Damaged, foreign and missing files: one clear error, never other values than were recorded."""

from __future__ import annotations

import contextlib
import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
from recording import ROOT, everything, record_run, record_steps, record_windows, small_chunks

import neurosim
from neurosim import cli
from neurosim.errors import InputError
from neurosim.learners import LEARNERS
from neurosim.record import FolderStore, Recorder, checkpoint, drop_segments, open_run, seal
from neurosim.spec import Compression, Model


def assert_unreadable(path: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        open_run(path)
    assert caught.value.exit_status == 2
    assert str(path.name) in str(caught.value)


def sealed(folder: Path, compression: Compression = "gzip") -> Path:
    """The sealed file of a run with windows, of several segments."""
    with small_chunks(512, 64):
        with Recorder(FolderStore(folder), compression) as recorder:
            record_windows(recorder)
            recorder.commit()
            record_steps(recorder, 15, 100)
            recorder.commit()
        return seal(folder, {"complete": True}, compression)


# --- any byte ------------------------------------------------------------------------------------


class Damage(NamedTuple):
    """What came of changing single bytes of a file."""

    refused: int  # how often it was an InputError
    others: list[tuple[int, str]]  # positions, and names that read as something else


@pytest.fixture(scope="module", params=["gzip", "none"])
def damage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Damage:
    """All that is read from a sealed file of which one byte after the other is damaged."""
    path = sealed(tmp_path_factory.mktemp("run"), request.param)
    whole = path.read_bytes()
    with open_run(path) as run:
        expected = everything(run)
    refused, others = 0, []
    for position in range(0, len(whole), len(whole) // 200):
        data = bytearray(whole)
        data[position] ^= 0x55
        path.write_bytes(data)
        try:
            with open_run(path) as run:
                found = everything(run)
        except InputError:
            refused += 1
        else:
            names = expected.keys() | found.keys()
            others += [(position, k) for k in names if found.get(k) != expected.get(k)]
    return Damage(refused, others)


def test_whatever_byte_is_damaged_no_other_value_is_read(damage: Damage) -> None:
    assert damage.refused > 80
    assert [(position, name) for position, name in damage.others if name[-1] != "@"] == []


def test_whatever_byte_is_damaged_no_other_attribute_is_read(damage: Damage) -> None:
    assert [(position, name) for position, name in damage.others if name[-1] == "@"] == []


def test_damage_that_the_checksum_of_gzip_misses_is_noticed(tmp_path: Path) -> None:
    """Adler-32 is weak where few values repeat, as units and kinds of events do."""
    units = np.random.default_rng(0).integers(12, size=30_000).astype("i2")
    with small_chunks(event_rows=1500), Recorder(FolderStore(tmp_path)) as recorder:
        recorder.append("windows/events/unit", units)
        recorder.commit()
        path = seal(tmp_path, {})
    with h5py.File(path) as file:
        column = file["windows/events/unit"].id
        chunks = [column.get_chunk_info(k) for k in range(column.get_num_chunks())]
    whole, missed = path.read_bytes(), []
    for chunk in chunks:
        stored = whole[chunk.byte_offset : chunk.byte_offset + chunk.size]
        original = zlib.decompressobj().decompress(stored)
        for bit in range(8 * len(stored)):
            damaged = bytearray(stored)
            damaged[bit // 8] ^= 1 << bit % 8
            inflater = zlib.decompressobj()
            with contextlib.suppress(zlib.error):
                if inflater.decompress(damaged) != original and inflater.eof:
                    missed.append((chunk.byte_offset, bytes(damaged)))
    assert missed
    for start, damaged in missed:
        path.write_bytes(whole[:start] + damaged + whole[start + len(damaged) :])
        with open_run(path) as run, pytest.raises(InputError, match="damaged"):
            run["windows/events/unit"][...]


def test_a_truncated_file_is_an_input_error_wherever_it_ends(tmp_path: Path) -> None:
    whole = sealed(tmp_path / "run").read_bytes()
    for size in range(0, len(whole), len(whole) // 60):
        (tmp_path / "cut.h5").write_bytes(whole[:size])
        assert_unreadable(tmp_path / "cut.h5", "damaged, incomplete")


def test_a_truncated_segment_is_an_input_error_wherever_it_ends(tmp_path: Path) -> None:
    segment = record_run(tmp_path) / "segments/000001.h5"
    whole = segment.read_bytes()
    for size in range(0, len(whole), len(whole) // 20):
        segment.write_bytes(whole[:size])
        for use in (open_run, lambda folder: seal(folder, {})):
            with pytest.raises(InputError, match=r"000001\.h5 is damaged, incomplete"):
                use(tmp_path)
        assert not (tmp_path / "run.h5").exists()


# --- missing, foreign, newer, older --------------------------------------------------------------


def test_a_missing_path_is_an_input_error(tmp_path: Path) -> None:
    assert_unreadable(tmp_path / "nowhere", "There is no run at")


def test_a_folder_without_records_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text("")
    assert_unreadable(tmp_path, r"holds no run\.h5 and no closed segment")


def test_a_foreign_file_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "run.h5").write_text("this is no HDF5 file")
    assert_unreadable(tmp_path / "run.h5", "damaged, incomplete or not an HDF5 file")
    for attrs in ({}, {"format": "other"}, {"format": np.arange(3)}, {"format": "neurosim-run"}):
        with h5py.File(tmp_path / "run.h5", "w") as file:
            file.attrs.update(attrs)
        assert_unreadable(tmp_path / "run.h5", "is not a neurosim run|damaged")


def test_a_newer_format_is_an_input_error(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file.attrs.update(format="neurosim-run", format_version=3)
    assert_unreadable(tmp_path / "run.h5", r"format version 3, .* up to 2\. Install a newer")


def test_tables_of_the_first_format_are_read_and_its_windows_say_that_they_are_not(
    tmp_path: Path,
) -> None:
    """Segments of format 1 did not say where they begin, and windows were groups of their own."""
    rows = np.arange(30.0)
    (tmp_path / "segments").mkdir()
    for k, part in enumerate(np.split(rows, 3)):
        with h5py.File(tmp_path / f"segments/{k:06d}.h5", "w") as file:
            file.attrs.update({**ROOT, "format": "neurosim-run", "format_version": 1})
            file.create_dataset("steps/reward", data=part, maxshape=(None,), chunks=(4,))
            file.create_dataset("episodes/return", data=part[:2], maxshape=(None,), chunks=(4,))
            if k == 0:
                file.create_dataset("windows/0/actor/sampled", data=np.ones((3, 2)))
                file["windows/0"].attrs.update(first_step=0, n_steps=3, episode=1)
                file["teams/actor/weights/initial/W1"] = np.eye(2)
    for path in (tmp_path, seal(tmp_path, {"complete": True, "format_version": 1})):
        with open_run(path) as run:
            assert run.steps["reward"][...].tolist() == rows.tolist()
            assert run.episodes["return"][...].tolist() == [0, 1, 10, 11, 20, 21]
            assert run.weights("actor", "initial")["W1"].tolist() == [[1, 0], [0, 1]]
            assert run.seed == 7
            with pytest.raises(InputError, match=r"recorded by neurosim 0\.1, whose windows"):
                _ = run.windows


# --- segments that do not belong together --------------------------------------------------------


def test_a_missing_segment_is_an_input_error(tmp_path: Path) -> None:
    record_run(tmp_path)
    (tmp_path / "segments/000001.h5").unlink()
    with pytest.raises(InputError, match="Segment 1 is missing"):
        open_run(tmp_path)


def test_a_segment_that_begins_too_late_is_an_input_error(tmp_path: Path) -> None:
    """Renamed, so that no number is missing."""
    with small_chunks():
        record_run(tmp_path, segments=4, rows=16)
    (tmp_path / "segments/000001.h5").unlink()
    for number in (2, 3):
        file = tmp_path / f"segments/{number:06d}.h5"
        file.rename(tmp_path / f"segments/{number - 1:06d}.h5")
    match = r"000001\.h5 holds the rows 32 to 48 of /steps/\w+, .* end with row 16: one is missing"
    with open_run(tmp_path) as run, pytest.raises(InputError, match=match):
        _ = run.steps
    with pytest.raises(InputError, match=match):
        seal(tmp_path, {})


def test_segments_that_disagree_are_an_input_error(tmp_path: Path) -> None:
    record_run(tmp_path, segments=4)
    with h5py.File(tmp_path / "segments/000003.h5", "r+") as file:
        first = file["steps/observation"].attrs["first_row"]
        del file["steps/observation"]
        file.create_dataset("steps/observation", data=np.zeros((40, 5)), maxshape=(None, 5))
        file["steps/observation"].attrs["first_row"] = first
    match = r"000003\.h5 holds /steps/observation in another layout"
    with open_run(tmp_path) as opened:
        for _ in range(2):
            with pytest.raises(InputError, match=match):
                _ = opened["steps/reward"]


# --- the command line ----------------------------------------------------------------------------


def spoil(folder: Path, how: str) -> None:
    """Spoil the run in a folder, and leave all that the other ways do not spoil."""
    file = folder / "run.h5"
    if how == "truncated":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif how == "foreign":
        file.write_bytes(b"this is no HDF5 file")
    elif how == "newer":
        with h5py.File(file, "r+") as opened:
            opened.attrs["format_version"] = 3
    elif how == "flipped":
        with h5py.File(file) as opened:
            returns, start = opened["episodes/return"], 0
            start = returns.id.get_chunk_info(0).byte_offset
        data = bytearray(file.read_bytes())
        data[start + 4] ^= 0x55
        file.write_bytes(data)
    elif how == "a segment is missing":
        file.unlink()
        (folder / "segments/000001.h5").unlink()
    else:
        file.unlink()
        segment = folder / "segments/000001.h5"
        segment.write_bytes(segment.read_bytes()[:100])


COMMANDS = {
    "show": ["show", "RUN"],
    "plot": ["plot", "learning-curve", "RUN", "-o", "curve.png"],
    "resume": ["resume", "RUN"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "how",
    ["truncated", "foreign", "newer", "flipped", "a segment is missing", "a segment is truncated"],
)
def test_commands_on_a_spoiled_run_end_with_status_2_and_one_line(
    command: str,
    how: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if command == "resume" and how == "flipped":
        pytest.skip("going on with a complete run reads none of its rows")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs/cartpole/seed-0000"
    folder.mkdir(parents=True)
    model = neurosim.load("cartpole")
    (folder / "model.toml").write_text(model.text)
    provenance = {"model": "cartpole", "seed": 7, "created": "", "versions": {}}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    with Recorder(FolderStore(folder)) as recorder:
        recorder.annotate("", ROOT)
        for _ in range(3):
            record_windows(recorder)
            recorder.commit()
    (folder / "checkpoints").mkdir()
    counts = {"episode": 3, "steps": 45, "segments": 3}
    checkpoint.save(folder / "checkpoints/episode-000000003.h5", state_of(model), counts)
    seal(folder, {"complete": True})
    if how not in ("a segment is missing", "a segment is truncated"):
        drop_segments(folder)
    spoil(folder, how)
    with pytest.raises(SystemExit) as caught:
        cli.main([part.replace("RUN", str(folder)) for part in COMMANDS[command]])
    said = capsys.readouterr()
    assert caught.value.code == 2
    (line,) = said.err.strip().splitlines()
    assert line.startswith("neurosim: ")
    assert not (tmp_path / "curve.png").exists()


def state_of(model: Model) -> dict[str, Any]:
    """What a checkpoint holds before the first step."""
    agent = LEARNERS[model.mode](model.spec, 4, 2, 7)
    return {key: np.array(array) for key, array in agent.state().items()}
