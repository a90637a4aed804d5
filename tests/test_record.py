"""Runs on disk: round trips, and what is left after kills, full disks and damaged files."""

import errno
import io
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import neurosim
from neurosim.errors import InputError, NeurosimError, RunError
from neurosim.record import (
    Column,
    Group,
    Run,
    SegmentWriter,
    checkpoint,
    drop_segments,
    open_run,
    schema,
    seal,
    segments,
    write_atomically,
)

ROOT: dict[str, str | int] = {"model": 'task = "cartpole"\n', "seed": 7, "mode": "synchronous"}

dtypes = st.sampled_from(["f8", "f4", "i8", "i4", "u1", "?"]).map(np.dtype)
arrays = npst.arrays(dtypes, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))


def same_bits(a: Any, b: Any) -> bool:
    """Equal in dtype, shape and every bit: NaN payloads and the sign of zero count."""
    a, b = np.asarray(a), np.asarray(b)
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def record_steps(writer: SegmentWriter, start: int, stop: int) -> None:
    """Append rows whose values are their own row numbers."""
    rows = np.arange(start, stop)
    writer.append("steps/reward", rows.astype("f8"))
    writer.append("steps/episode", rows.astype("i4"))
    writer.append("steps/observation", np.stack([rows, -rows], axis=1).astype("f8"))


def record_run(folder: Path, segments: int = 3, rows: int = 10) -> Path:
    """Record `segments` closed segments of `rows` steps."""
    writer = SegmentWriter(folder)
    writer.annotate("", ROOT)
    for segment in range(segments):
        record_steps(writer, segment * rows, (segment + 1) * rows)
        writer.close_segment()
    return folder


def child(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start a Python process that runs `code`."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(Path(neurosim.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def parts(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


def open_hdf5_files() -> int:
    return int(h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE))


# ---------------------------------------------------------------- round trips


@given(array=arrays, other=arrays, number=st.integers(-(2**63), 2**63 - 1), x=st.floats())
@settings(max_examples=60, deadline=None)
def test_a_checkpoint_returns_every_bit(
    array: np.ndarray, other: np.ndarray, number: int, x: float
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


@given(data=st.data(), dtype=dtypes, row=npst.array_shapes(min_dims=0, max_dims=2, min_side=0))
@settings(max_examples=40, deadline=None)
def test_many_segments_one_segment_and_the_sealed_file_hold_what_was_appended(
    data: st.DataObject, dtype: np.dtype, row: tuple[int, ...]
) -> None:
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    pieces = [data.draw(npst.arrays(dtype, (n, *row))) for n in lengths]
    put = data.draw(arrays)
    with tempfile.TemporaryDirectory() as folder:
        for name, segment_bytes in (("many", 16), ("one", 2**20)):
            writer = SegmentWriter(Path(folder) / name, segment_bytes=segment_bytes)
            writer.put("windows/0/actor/before/W1", put)
            for piece in pieces:
                writer.append("/windows/0/actor/sampled", piece)
            writer.close_segment()
        seal(Path(folder) / "many", {})
        drop_segments(Path(folder) / "many")
        for name in ("many", "one"):
            with open_run(Path(folder) / name) as run:
                window = run.windows[0]
                assert same_bits(window["actor/sampled"], np.concatenate(pieces))
                assert same_bits(window["actor/before/W1"], put)


def test_appended_rows_are_copies(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    rows, array = np.ones(3), np.ones(3)
    writer.append("steps/reward", rows)
    writer.put("teams/actor/units/var", array)
    rows[:] = array[:] = 0
    writer.close_segment()
    with open_run(tmp_path) as run:
        assert same_bits(run.steps["reward"], np.ones(3))
        assert same_bits(run["teams/actor/units/var"], np.ones(3))


def test_memory_is_bounded_by_closing_segments(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, segment_bytes=1000)
    for _ in range(100):
        writer.append("steps/reward", np.zeros(10))
    assert writer.close_segment() == 8


def test_nothing_buffered_writes_no_segment(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    assert writer.close_segment() == 0
    writer.append("steps/reward", np.zeros(0))
    assert writer.close_segment() == 1
    assert writer.close_segment() == 1


def test_rows_wider_than_a_chunk_are_recorded(tmp_path: Path) -> None:
    wide = np.random.default_rng(0).normal(size=(3, 200_000))
    writer = SegmentWriter(tmp_path)
    writer.append("steps/observation", wide)
    writer.close_segment()
    seal(tmp_path, {})
    with open_run(tmp_path / "run.h5") as run:
        assert same_bits(run.steps["observation"], wide)


def test_what_is_written_again_counts_as_last_written(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    for value in (1, 2):
        writer.put("teams/actor/weights/final/W1", np.full(3, value))
        writer.annotate("windows/0", {"n_steps": value})
        writer.close_segment()
    with open_run(tmp_path) as run:
        assert run.weights("actor", "final")["W1"].tolist() == [2, 2, 2]
        assert run.windows[0].attrs == {"n_steps": 2}
    seal(tmp_path, {"mode": "synchronous"})
    with open_run(tmp_path / "run.h5") as run:
        assert run.weights("actor", "final")["W1"].tolist() == [2, 2, 2]
        assert run.windows[0].attrs == {"n_steps": 2}


def test_attributes_may_come_before_or_after_their_dataset(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.annotate("windows/0/mine/time", {"ticks_per_period": 2**20})
    writer.close_segment()
    writer.append("windows/0/mine/time", np.arange(5))
    writer.close_segment()
    writer.annotate("windows/0/mine/time", {"units": "ticks"})
    writer.close_segment()
    seal(tmp_path, {})
    for path in (tmp_path / "segments", tmp_path / "run.h5"):
        with open_run(tmp_path if path.is_dir() else path) as run:
            time_column = run.windows[0]["mine/time"]
            assert time_column.attrs == {"ticks_per_period": 2**20, "units": "ticks"}
            assert same_bits(time_column, np.arange(5))


def test_rows_of_another_type_or_shape_are_refused(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    with pytest.raises(ValueError, match="steps/reward holds float64, not int64"):
        writer.append("steps/reward", np.zeros(3, "i8"))
    writer.append("steps/observation", np.zeros((3, 4)))
    with pytest.raises(ValueError, match="steps/observation has rows of"):
        writer.append("steps/observation", np.zeros((3, 5)))


# ---------------------------------------------------------------- the sealed file


def test_a_sealed_file_opens_in_plain_h5py_with_filters_and_format_of_old_tools(
    tmp_path: Path,
) -> None:
    record_run(tmp_path)
    writer = SegmentWriter(tmp_path, closed=3)
    writer.append("episodes/terminated", np.array([True, False]))
    writer.put("teams/actor/weights/initial/W1", np.zeros((100, 100)))
    writer.close_segment()
    path = seal(tmp_path, {"complete": True})
    # Format signature, then superblock version 3: HDF5 1.10 and all later ones read it.
    assert path.read_bytes()[:9] == b"\x89HDF\r\n\x1a\n\x03"
    with h5py.File(path) as file:
        assert file.attrs["format"] == "neurosim-run"
        assert file.attrs["format_version"] == 1
        assert file.attrs["seed"] == 7
        assert file.attrs["complete"]
        assert file["steps/reward"][...].tolist() == list(range(30))
        assert file["episodes/terminated"].dtype == bool
        assert file["steps/reward"].attrs["description"] == "reward of this row's transition"
        assert file["episodes/terminated"].parent.name == schema.EPISODES

        def check(name: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset):
                assert node.compression in (None, "gzip"), name
                assert node.scaleoffset is None, name
                assert not node.fletcher32, name

        file.visititems(check)


def test_chunks_of_a_sealed_file_do_not_depend_on_its_segments(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    for rows in (10, 100_000, 7):
        writer.append("steps/reward", np.zeros(rows))
        writer.append("steps/observation", np.zeros((rows, 100)))
        writer.close_segment()
    with h5py.File(seal(tmp_path, {})) as file:
        assert file["steps/reward"].chunks == (65536,)
        assert file["steps/observation"].chunks == (2**20 // 800, 100)


def test_every_column_of_the_tables_is_described() -> None:
    assert all(field.description for field in schema.COLUMNS.values())
    assert schema.attributes("episodes/length")["units"] == "steps"
    assert schema.attributes("windows/0/actor/sampled") == {}


# ---------------------------------------------------------------- kill and resume


def test_resuming_drops_exactly_the_rows_past_the_checkpoint(tmp_path: Path) -> None:
    record_run(tmp_path, segments=5)
    (tmp_path / "segments/000005.h5.part").write_bytes(b"half")
    writer = SegmentWriter(tmp_path, closed=2)
    assert not parts(tmp_path)
    with open_run(tmp_path) as run:
        assert run.steps["reward"][...].tolist() == list(range(20))
    record_steps(writer, 20, 30)
    assert writer.close_segment() == 3
    with open_run(tmp_path) as run:
        assert run.steps["reward"][...].tolist() == list(range(30))
        assert run.seed == 7


def test_a_checkpoint_whose_segments_are_missing_is_refused(tmp_path: Path) -> None:
    record_run(tmp_path, segments=2)
    with pytest.raises(InputError, match="counts 3 closed segments"):
        SegmentWriter(tmp_path, closed=3)
    assert len(list((tmp_path / "segments").iterdir())) == 2


WORKER = """
import sys
from pathlib import Path
import numpy as np
from neurosim.record import SegmentWriter, checkpoint, seal

folder = Path(sys.argv[1])
state = {"closed": 0, "rows": 0}
if (folder / "checkpoint.h5").exists():
    state = checkpoint.load(folder / "checkpoint.h5")[1]
rows, writer = state["rows"], SegmentWriter(folder, state["closed"], segment_bytes=5000)
while True:
    for _ in range(3):
        writer.append("steps/reward", np.arange(rows, rows + 100.0))
        writer.append("steps/td_error", np.arange(rows, rows + 100.0))
        rows += 100
    closed = writer.close_segment()
    checkpoint.save(folder / "checkpoint.h5", {"rows": np.arange(rows)},
                    {"closed": closed, "rows": rows})
    print(rows, flush=True)
    if closed % 20 == 0:
        seal(folder, {"complete": False})
"""


def test_kill_9_loses_no_acknowledged_row(tmp_path: Path) -> None:
    moments = random.Random(1)
    for _ in range(8):
        with child(WORKER, tmp_path) as process:
            assert process.stdout
            first = process.stdout.readline()
            threading.Timer(moments.uniform(0, 0.4), process.kill).start()
            output = process.stdout.read()
        acknowledged = int((first + output).split("\n")[-2])  # the last whole line
        for path in (*tmp_path.glob("segments/*.h5"), *tmp_path.glob("*.h5")):
            assert h5py.is_hdf5(path)
        rows = checkpoint.load(tmp_path / "checkpoint.h5")[1]["rows"]
        with open_run(tmp_path) as run:
            reward = run.steps["reward"][...]
        assert acknowledged <= int(rows) <= len(reward)
        assert same_bits(reward, np.arange(float(len(reward))))
    with open_run(seal(tmp_path, {})) as run:
        assert same_bits(run.steps["td_error"], np.arange(float(len(run.steps))))


def test_a_resumed_folder_is_read_from_its_segments_until_it_is_sealed_again(
    tmp_path: Path,
) -> None:
    record_run(tmp_path)
    seal(tmp_path, {"complete": True})
    with open_run(tmp_path) as run:
        assert run.complete
        assert len(run.steps) == 30
    copy = Path(shutil.copytree(tmp_path, tmp_path / "copy", copy_function=shutil.copyfile))
    with open_run(copy) as run:
        assert run.complete
    writer = SegmentWriter(tmp_path, closed=3)
    record_steps(writer, 30, 35)
    writer.close_segment()
    with open_run(tmp_path) as run:
        assert not run.complete
        assert len(run.steps) == 35
    seal(tmp_path, {"complete": True})
    drop_segments(tmp_path)
    with open_run(tmp_path) as run:
        assert run.complete
        assert len(run.steps) == 35


def test_an_interrupted_drop_leaves_the_sealed_run(tmp_path: Path) -> None:
    record_run(tmp_path)
    seal(tmp_path, {"complete": True})
    (tmp_path / "segments/000000.h5").unlink()
    with open_run(tmp_path) as run:
        assert run.complete
        assert len(run.steps) == 30


# ---------------------------------------------------------------- full disks and interrupts

FILLER = """
import subprocess, sys
from pathlib import Path
import numpy as np
from neurosim.errors import RunError
from neurosim.record import SegmentWriter, open_run, seal

folder = Path(sys.argv[1])
rng = np.random.default_rng(0)
writer = SegmentWriter(folder, segment_bytes=2**17)
rows, message = [], ""
while not message:
    rows.append(rng.normal(size=1000))
    try:
        writer.append("steps/reward", rows[-1])
    except RunError as error:
        message = str(error)
        assert error.exit_status == 1
assert "the disk is full" in message and "segments/" in message, message
assert not list(folder.rglob("*.part"))
rows = np.concatenate(rows)
with open_run(folder) as run:
    safe = run.steps["reward"][...]
assert safe.tobytes() == rows[: len(safe)].tobytes() and len(safe) > 100_000

try:
    seal(folder, {})
except RunError as error:
    message = str(error)
assert f"closed segments in {folder / 'segments'} are safe" in message, message
assert f"neurosim resume {folder}" in message, message
assert not list(folder.rglob("*.part")) and not (folder / "run.h5").exists()

subprocess.run(["mount", "-o", "remount,size=8m", folder], check=True)
writer.close_segment()
with open_run(seal(folder, {})) as run:
    assert run.steps["reward"][...].tobytes() == rows.tobytes()
print("done")
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_clear_error_and_closed_segments_stay(small_disk: Path) -> None:
    with child(FILLER, small_disk) as process:
        output, errors = process.communicate()
    assert (process.returncode, output, errors) == (0, "done\n", "")


LIMITED = """
import resource, sys
from pathlib import Path
from neurosim.errors import RunError
from neurosim.record import open_run, seal

folder = Path(sys.argv[1])
size = seal(folder, {}).stat().st_size
before = (folder / "run.h5").read_bytes()
for limit in range(0, size, max(1, size // 150)):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        seal(folder, {})
    except RunError:
        pass
    else:
        raise AssertionError(limit)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert not (folder / "run.h5.part").exists()
    assert (folder / "run.h5").read_bytes() == before
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the file size")
def test_sealing_survives_a_write_that_fails_at_any_byte(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    rng = np.random.default_rng(0)
    for k in range(30):
        writer.put(f"windows/{k}/actor/before/W1", rng.normal(size=(30, 30)))
        writer.append(f"windows/{k}/actor/sampled", rng.normal(size=(20, 9)))
    writer.close_segment()
    with child(LIMITED, tmp_path) as process:
        output, errors = process.communicate()
    assert (process.returncode, output, errors) == (0, "done\n", "")


def test_hdf5_reads_back_what_could_not_be_written(tmp_path: Path) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            if self.tell() >= 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    with Full(tmp_path / "file", "w+") as file:
        sink = segments._Sink(file)
        for offset, data in ((0, b"abcd"), (4, b"efgh"), (2, b"CD"), (6, b"GH")):
            sink.seek(offset)
            sink.write(memoryview(data))
        sink.seek(1)
        assert sink.read(8) == b"bCDefGH\0"
        with pytest.raises(OSError, match="No space left"):
            sink.check()


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from neurosim.record import seal, segments

writes, write = 0, segments._Sink.write

def write_interrupted(sink, data):
    global writes
    writes += 1
    if writes == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGINT)
    write(sink, data)

segments._Sink.write = write_interrupted
try:
    seal(Path(sys.argv[1]), {})
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_an_interrupt_while_hdf5_writes_does_not_crash(tmp_path: Path) -> None:
    record_run(tmp_path)
    for write in (1, 3, 5):
        with child(INTERRUPTED, tmp_path, write) as process:
            output, errors = process.communicate()
        assert (process.returncode, output, errors) == (0, "interrupted\n", "")
        assert not parts(tmp_path)
        with open_run(tmp_path / "run.h5") as run:
            assert len(run.steps) == 30


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "provenance.json"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"provenance\.json could not be written: the disk is full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert not parts(tmp_path)


# ---------------------------------------------------------------- reading


def assert_unreadable(path: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        open_run(path)
    assert caught.value.exit_status == 2
    assert str(path.name) in str(caught.value)


def test_a_missing_path_is_an_input_error(tmp_path: Path) -> None:
    assert_unreadable(tmp_path / "nowhere", "There is no run at")


def test_a_folder_without_records_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text("")
    assert_unreadable(tmp_path, "holds no run.h5 and no closed segment")


def test_a_foreign_file_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "run.h5").write_text("this is no HDF5 file")
    assert_unreadable(tmp_path / "run.h5", "damaged, incomplete or not an HDF5 file")
    for attrs in ({}, {"format": "other"}, {"format": np.arange(3)}, {"format": "neurosim-run"}):
        with h5py.File(tmp_path / "run.h5", "w") as file:
            file.attrs.update(attrs)
        assert_unreadable(tmp_path / "run.h5", "is not a neurosim run|damaged")


def test_a_newer_format_is_an_input_error(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file.attrs.update(format="neurosim-run", format_version=2)
    assert_unreadable(tmp_path / "run.h5", "Install a newer neurosim")


def test_a_missing_segment_is_an_input_error(tmp_path: Path) -> None:
    record_run(tmp_path)
    (tmp_path / "segments/000001.h5").unlink()
    with pytest.raises(InputError, match="Segment 1 is missing"):
        open_run(tmp_path)


def test_segments_that_disagree_are_an_input_error(tmp_path: Path) -> None:
    record_run(tmp_path)
    writer = SegmentWriter(tmp_path, closed=3)
    writer.append("steps/observation", np.zeros((1, 5)))
    writer.close_segment()
    match = r"000003\.h5 holds /steps/observation in another layout"
    with open_run(tmp_path) as opened:
        for _ in range(2):
            with pytest.raises(InputError, match=match):
                _ = opened["steps/reward"]


def test_a_segment_that_is_gone_is_an_input_error(tmp_path: Path) -> None:
    record_run(tmp_path)
    with open_run(tmp_path) as run:
        run.close()
        seal(tmp_path, {})
        drop_segments(tmp_path)
        with pytest.raises(InputError, match="Open the run again"):
            run.steps["reward"][...]


def read_everything(path: Path) -> None:
    with open_run(path) as run:
        for table in (run.episodes, run.steps):
            for _, column in table.items():
                np.asarray(column)
        run.weights("actor", "initial")


def sealed_bytes(folder: Path) -> bytes:
    writer = SegmentWriter(folder)
    writer.annotate("", ROOT)
    record_steps(writer, 0, 2000)
    writer.put("teams/actor/weights/initial/W1", np.arange(1000.0))
    writer.close_segment()
    return seal(folder, {}).read_bytes()


def test_a_truncated_file_is_an_input_error_wherever_it_ends(tmp_path: Path) -> None:
    whole = sealed_bytes(tmp_path / "run")
    for size in range(0, len(whole), len(whole) // 60):
        (tmp_path / "cut.h5").write_bytes(whole[:size])
        assert_unreadable(tmp_path / "cut.h5", "damaged, incomplete")


def test_a_damaged_file_raises_nothing_but_input_errors(tmp_path: Path) -> None:
    whole = sealed_bytes(tmp_path / "run")
    refused = 0
    for position in range(0, len(whole), len(whole) // 200):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        (tmp_path / "damaged.h5").write_bytes(damaged)
        try:
            read_everything(tmp_path / "damaged.h5")
        except InputError:
            refused += 1
    assert refused > 100


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


def test_a_missing_foreign_or_newer_checkpoint_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.h5"
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint.load(path)
    path.write_bytes(sealed_bytes(tmp_path / "run"))
    with pytest.raises(InputError, match="damaged or not a checkpoint"):
        checkpoint.load(path)
    monkeypatch.setattr(checkpoint, "_FORMAT_VERSION", 2)
    checkpoint.save(path, {}, {})
    monkeypatch.undo()
    with pytest.raises(InputError, match="newer neurosim"):
        checkpoint.load(path)


@pytest.fixture(params=["segments", "sealed"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    record_run(tmp_path, segments=4, rows=25)
    if request.param == "sealed":
        seal(tmp_path, {"complete": True})
    with open_run(tmp_path) as opened:
        yield opened


def test_a_column_is_indexed_like_an_array(run: Run) -> None:
    column = run.steps["observation"]
    whole = column[...]
    assert (len(column), column.shape, column.dtype) == (100, whole.shape, whole.dtype)
    mask = np.arange(100) % 7 == 3
    indices: tuple[Any, ...] = (
        0, -1, np.int64(30), slice(None), slice(20, 60), slice(60, 20), slice(5, 95, 10),
        slice(None, None, -1), [99, 0, 26, 26, -100], [], np.array([[1, 2], [80, 3]]), mask,
    )  # fmt: skip
    for index in indices:
        assert same_bits(column[index], whole[index]), index
    for wrong in ([100], [-101], [3, 100], 100, -101):
        with pytest.raises(IndexError):
            column[wrong]
    with pytest.raises(TypeError, match="rows only"):
        column[1:3, 0]  # type: ignore[index]
    assert same_bits(np.stack(list(column)), whole)
    assert np.mean(column) == whole.mean()
    assert np.asarray(column, "f4").dtype == "f4"


def test_scattered_rows_of_a_long_column_are_gathered_across_blocks(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    for start in (0, 150_000):
        writer.append("steps/reward", np.arange(start, start + 150_000.0))
        writer.close_segment()
    rows = np.random.default_rng(0).integers(-300_000, 300_000, 500)
    with open_run(tmp_path) as opened:
        column = opened.steps["reward"]
        assert same_bits(column[rows], np.arange(300_000.0)[rows])
        assert same_bits(column[::-7], np.arange(300_000.0)[::-7])
        assert same_bits(column[149_990:150_010], np.arange(149_990, 150_010.0))


def test_a_table_ends_with_the_last_row_that_all_columns_have(tmp_path: Path) -> None:
    writer = SegmentWriter(record_run(tmp_path), closed=3)
    writer.append("steps/reward", np.zeros(5))
    writer.close_segment()
    with open_run(tmp_path) as opened:
        assert len(opened.steps) == 30
        assert {len(column) for _, column in opened.steps.items()} == {30}


def test_reading_one_column_touches_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_run(tmp_path)
    seal(tmp_path, {})
    touched = []
    original = h5py.Dataset.__getitem__

    def spy(dataset: h5py.Dataset, *arguments: Any, **keywords: Any) -> Any:
        touched.append((dataset.name, arguments[0]))
        return original(dataset, *arguments, **keywords)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", spy)
    with open_run(tmp_path) as opened:
        repr((opened, opened.steps, opened.steps["reward"], opened.windows))
        assert touched == []
        opened.steps["reward"][3:5]
    assert touched == [("/steps/reward", slice(3, 5))]


def test_reading_rows_of_one_segment_opens_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_run(record_run(tmp_path, segments=5))
    reward = opened.steps["reward"]
    opened.close()
    touched = []
    original = h5py.File.__init__

    def spy(file: h5py.File, name: Any, *arguments: Any, **keywords: Any) -> None:
        if isinstance(name, Path):
            touched.append(name.name)
        original(file, name, *arguments, **keywords)

    monkeypatch.setattr(h5py.File, "__init__", spy)
    assert reward[12:18].tolist() == list(range(12, 18))
    assert touched == ["000001.h5"]
    opened.close()


def test_many_segments_are_read_with_few_open_files(tmp_path: Path) -> None:
    record_run(tmp_path, segments=100, rows=1)
    before = open_hdf5_files()
    with open_run(tmp_path) as opened:
        assert opened.steps["reward"][...].tolist() == list(range(100))
        assert open_hdf5_files() - before <= 64
    assert open_hdf5_files() == before


def test_a_run_shows_its_attributes_windows_and_weights(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    model = "# long\n" * 20_000
    writer.annotate("", {**ROOT, "model": model})
    writer.put("teams/actor/weights/initial/W1", np.eye(2))
    writer.put("teams/actor/weights/initial/b1", np.zeros(2))
    writer.annotate("windows/3", {"first_step": 17, "n_steps": 2})
    writer.put("windows/3/actor/before/adam_count", np.int64(5))
    writer.append("windows/3/actor/sampled", np.ones((2, 5)))
    writer.close_segment()
    with open_run(tmp_path) as opened:
        assert (opened.model, opened.seed, opened.complete) == (model, 7, False)
        assert sorted(opened.weights("actor", "initial")) == ["W1", "b1"]
        with pytest.raises(InputError, match="It holds: actor initial"):
            opened.weights("critic", "final")
        (window,) = opened.windows.values()
        assert window.attrs["first_step"] == 17
        assert sorted(window) == ["actor"]
        assert len(window) == 1
        count = window["actor/before/adam_count"]
        assert isinstance(count, Column)
        assert count[...] == 5
        assert count.shape == ()
        with pytest.raises(TypeError):
            len(count)
        assert isinstance(opened["teams/actor"], Group)
        assert len(opened.episodes) == 0
        assert "return" not in opened.episodes
        with pytest.raises(KeyError):
            window["nothing"]


def test_a_run_without_a_seed_says_so(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append("steps/reward", np.zeros(1))
    writer.close_segment()
    with open_run(tmp_path) as opened, pytest.raises(InputError, match="no attribute 'seed'"):
        _ = opened.seed


def test_representations_fit_on_a_line(run: Run) -> None:
    state = "complete" if run.complete else "incomplete"
    assert repr(run) == f"<Run {run.path}: {state}, 0 episodes, 100 steps, 0 windows>"
    assert repr(run.steps) == "<Table /steps: 100 rows of episode, observation, reward>"
    assert repr(run.steps["observation"]) == "<Column steps/observation: float64 (100, 2)>"


def test_sealing_nothing_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to seal"):
        seal(tmp_path, {})


def test_errors_carry_the_exit_status_of_the_command_line() -> None:
    assert (InputError.exit_status, RunError.exit_status) == (2, 1)
    assert issubclass(InputError, NeurosimError)
    assert issubclass(RunError, NeurosimError)
