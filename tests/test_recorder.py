"""Recording, to a folder and to memory: what was appended comes back, bit for bit."""

from __future__ import annotations

import importlib
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from recording import (
    ROOT,
    Place,
    child,
    everything,
    parts,
    record_run,
    record_steps,
    record_windows,
    same_bits,
    small_chunks,
)

from neurosim.errors import InputError, NeurosimError, RunError
from neurosim.record import FolderStore, Recorder, open_run, schema, seal
from neurosim.record.files import open_source
from neurosim.spec import Compression

dtypes = st.sampled_from(["f8", "f4", "i8", "i4", "u1", "?"]).map(np.dtype)


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path)


kinds = pytest.mark.parametrize("kind", ["folder", "memory"])


# --- what is appended ----------------------------------------------------------------------------


@kinds
@given(data=st.data(), dtype=dtypes, row=npst.array_shapes(min_dims=0, max_dims=2, min_side=0))
@settings(max_examples=25, deadline=None)
def test_many_segments_one_segment_and_the_merged_file_hold_what_was_appended(
    kind: str, data: st.DataObject, dtype: np.dtype[Any], row: tuple[int, ...]
) -> None:
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    pieces = [data.draw(npst.arrays(dtype, (n, *row))) for n in lengths]
    put = data.draw(npst.arrays(dtypes, npst.array_shapes(max_dims=3, min_side=0, max_side=5)))
    with tempfile.TemporaryDirectory() as folder:
        for name, commits in (("many", True), ("one", False)):
            place = Place(kind, Path(folder) / name)
            with small_chunks(16), Recorder(place.store()) as recorder:
                recorder.put("teams/actor/weights/final/W1", put)
                for piece in pieces:
                    recorder.append("mine/values", piece)
                    if commits:
                        recorder.commit()
                recorder.commit()
            place.folder.mkdir(exist_ok=True)
            for run in (place.open(), open_run(place.merged())):
                assert same_bits(run.weights("actor", "final")["W1"], put)
                if sum(lengths):
                    assert same_bits(run["mine/values"], np.concatenate(pieces))
                run.close()


def test_appended_rows_and_arrays_are_copies(place: Place) -> None:
    rows, array = np.ones(3), np.ones(3)
    with Recorder(place.store()) as recorder:
        recorder.append("steps/reward", rows)
        recorder.put("teams/actor/units/var", array)
        rows[:] = array[:] = 0
        recorder.commit()
    with place.open() as run:
        assert same_bits(run.steps["reward"], np.ones(3))
        assert same_bits(run["teams/actor/units/var"], np.ones(3))


def test_rows_that_go_on_are_not_those_that_are_being_written(place: Place) -> None:
    """The chunk that is handed over and the tail of a commit are never written to again."""
    with small_chunks(), Recorder(place.store()) as recorder:
        for row in range(200):
            recorder.append("steps/reward", np.array([float(row)]))
            if row % 13 == 0:
                recorder.commit()
        recorder.commit()
    with place.open() as run:
        assert same_bits(run.steps["reward"], np.arange(200.0))


def test_a_segment_closes_by_itself_when_it_is_large(place: Place) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=200_000)
    store = place.store()
    with Recorder(store, segment_bytes=300_000) as recorder:
        recorder.append("steps/reward", rows)
        recorder.append("steps/td_error", rows[:1])
        assert recorder.commit() == len(store.sources()) > 3
    with place.open() as run:
        assert same_bits(run["steps/reward"], rows)


def test_nothing_recorded_writes_no_segment(place: Place) -> None:
    with Recorder(place.store()) as recorder:
        assert recorder.commit() == 0
        recorder.append("steps/reward", np.zeros(1))
        assert recorder.commit() == 1
        assert recorder.commit() == 1
    with Recorder(place.store(1)) as recorder:
        assert recorder.commit() == 1
        recorder.append("steps/reward", np.zeros(0))
        assert recorder.commit() == 1


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_rows_wider_than_a_chunk_are_recorded(place: Place, compression: Compression) -> None:
    wide = np.random.default_rng(0).normal(size=(3, 200_000))
    cubes = np.random.default_rng(1).normal(size=(5, 3, 300, 500))
    with Recorder(place.store(), compression) as recorder:
        recorder.append("steps/observation", wide)
        for cube in cubes:
            recorder.append("windows/actor/before/W1", cube[None])
            recorder.commit()
    for run in (place.open(), open_run(place.merged(compression))):
        assert same_bits(run.steps["observation"], wide)
        assert same_bits(run["windows/actor/before/W1"], cubes)
        run.close()


def test_what_is_written_again_counts_as_last_written(place: Place) -> None:
    with Recorder(place.store()) as recorder:
        for value in (1, 2):
            recorder.put("teams/actor/weights/final/W1", np.full(3, value))
            recorder.annotate("windows", {"remarks": value})
            recorder.commit()
    for run in (place.open(), open_run(place.merged())):
        assert run.weights("actor", "final")["W1"].tolist() == [2, 2, 2]
        assert run["windows"].attrs == {"remarks": 2}
        run.close()


def test_attributes_may_come_before_or_after_their_dataset(place: Place) -> None:
    with Recorder(place.store()) as recorder:
        recorder.annotate("windows/mine/time", {"ticks_per_period": 2**20})
        recorder.commit()
        recorder.append("windows/mine/time", np.arange(5))
        recorder.commit()
        recorder.annotate("windows/mine/time", {"units": "ticks"})
        recorder.commit()
    for run in (place.open(), open_run(place.merged())):
        column = run["windows/mine/time"]
        assert column.attrs == {"ticks_per_period": 2**20, "units": "ticks"}
        assert same_bits(column, np.arange(5))
        run.close()


def test_rows_of_another_type_or_shape_are_refused_also_after_resuming(place: Place) -> None:
    with Recorder(place.store()) as recorder:
        with pytest.raises(ValueError, match="steps/reward holds float64, not int64"):
            recorder.append("steps/reward", np.zeros(3, "i8"))
        recorder.append("steps/observation", np.zeros((3, 4)))
        with pytest.raises(ValueError, match="steps/observation has rows of"):
            recorder.append("steps/observation", np.zeros((3, 5)))
        recorder.commit()
    with Recorder(place.store(1)) as recorder, pytest.raises(ValueError):
        recorder.append("steps/observation", np.zeros((3, 5)))


def test_a_single_value_is_refused_as_an_array(place: Place) -> None:
    with (
        Recorder(place.store()) as recorder,
        pytest.raises(ValueError, match="a single value belongs into the attributes"),
    ):
        recorder.put("windows/count", np.float64(3))


# --- chunks and segments -------------------------------------------------------------------------


def written(place: Place, path: str) -> list[tuple[int, int, int]]:
    """The segments that hold rows of a dataset: number, the row they begin with, how many."""
    found = []
    for number, source in enumerate(place.sources()):
        with open_source(source) as file:
            if path in file:
                found.append((number, int(file[path].attrs["first_row"]), len(file[path])))
    return found


def test_every_segment_begins_with_a_whole_chunk_and_writes_the_unfinished_one_again(
    place: Place,
) -> None:
    with small_chunks():
        with Recorder(place.store()) as recorder:
            for start, stop in itertools.pairwise((0, 3, 5, 15, 16, 24)):
                recorder.append("steps/reward", np.arange(start, stop, dtype="f8"))
                recorder.commit()
        # What does not fill a chunk of 8 rows is written again, until it does.
        assert [(first, rows) for _, first, rows in written(place, "steps/reward")] == [
            (0, 3),
            (0, 5),
            (0, 15),
            (8, 8),
            (16, 8),
        ]
    with place.open() as run:
        assert same_bits(run.steps["reward"], np.arange(24.0))


def test_a_resumed_recorder_goes_on_within_a_chunk(place: Place) -> None:
    with small_chunks():
        for closed in range(12):  # every third begins with a whole chunk of 8 rows
            with Recorder(place.store(closed)) as recorder:
                record_steps(recorder, 3 * closed, 3 * closed + 3)
                assert recorder.commit() == closed + 1
        firsts = [first for _, first, _ in written(place, "steps/reward")]
        assert firsts == [3 * closed // 8 * 8 for closed in range(12)]
    with place.open() as run:
        assert same_bits(run.steps["reward"], np.arange(36.0))
        assert same_bits(run.steps["observation"][...][:, 1], 0.0 - np.arange(36.0))


def test_resuming_drops_exactly_the_rows_past_the_checkpoint(place: Place) -> None:
    with Recorder(place.store()) as recorder:
        recorder.annotate("", ROOT)
        for segment in range(5):
            record_steps(recorder, 10 * segment, 10 * segment + 10)
            recorder.commit()
    if place.kind == "folder":
        (place.folder / "segments/000005.h5.part").write_bytes(b"half")
    with Recorder(place.store(2)) as recorder:
        assert not parts(place.folder)
        with place.open() as run:
            assert run.steps["reward"][...].tolist() == list(range(20))
        record_steps(recorder, 20, 30)
        assert recorder.commit() == 3
    with place.open() as run:
        assert run.steps["reward"][...].tolist() == list(range(30))
        assert run.seed == 7


def test_a_checkpoint_whose_segments_are_missing_is_refused(tmp_path: Path) -> None:
    record_run(tmp_path, segments=2)
    with pytest.raises(InputError, match="counts 3 closed segments"):
        FolderStore(tmp_path, 3)
    assert len(list((tmp_path / "segments").iterdir())) == 2


# Narrow rows, of several types; a row of several dimensions; one wider than a chunk; none at all.
COLUMNS: dict[str, tuple[str, tuple[int, ...]]] = {
    "steps/reward": ("f8", ()),
    "steps/episode": ("i4", ()),
    "steps/observation": ("f8", (3,)),
    "windows/complete": ("?", ()),
    "windows/events/time": ("i8", ()),
    "windows/events/team": ("u1", ()),
    "windows/actor/before/W1": ("f8", (5, 4)),
    "windows/actor/before/W2": ("f8", (40, 30)),
    "windows/actor/before/W3": ("f8", (0, 2)),
}
operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from(list(COLUMNS)), st.integers(0, 21)),
        st.tuples(st.sampled_from(["commit", "kill"])),
    ),
    max_size=40,
)


@kinds
@given(
    operations=operations,
    segment_bytes=st.sampled_from([1, 2500, 2**25]),
    compression=st.sampled_from(["gzip", "none"]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=30, deadline=None)
def test_whatever_is_appended_committed_and_lost_in_kills_the_rest_comes_back_in_order(
    kind: str,
    operations: list[tuple[Any, ...]],
    segment_bytes: int,
    compression: Compression,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)

    def rows(path: str, n: int) -> np.ndarray[Any, Any]:
        dtype, shape = np.dtype(COLUMNS[path][0]), COLUMNS[path][1]
        if dtype.kind == "b":
            return rng.integers(2, size=(n, *shape)).astype(bool)
        size = n * int(np.prod(shape)) * dtype.itemsize
        return np.frombuffer(rng.bytes(size), dtype).reshape(n, *shape)

    appended: dict[str, list[Any]] = {path: [] for path in COLUMNS}
    safe = dict.fromkeys(COLUMNS, 0)  # how many pieces
    closed = 0
    with tempfile.TemporaryDirectory() as folder, small_chunks(100, 7):
        place = Place(kind, Path(folder))
        recorder = Recorder(place.store(), compression, segment_bytes)
        for operation, *arguments in [*operations, ("commit",)]:
            if operation == "append":
                path, n = arguments
                appended[path].append(rows(path, n))
                recorder.append(path, appended[path][-1])
            elif operation == "commit":
                closed = recorder.commit()
                safe = {path: len(pieces) for path, pieces in appended.items()}
            else:  # what came after the last commit is lost
                with recorder:
                    pass
                recorder = Recorder(place.store(closed), compression, segment_bytes)
                appended = {path: pieces[: safe[path]] for path, pieces in appended.items()}
        with recorder:
            pass
        expected = {
            path: np.concatenate(pieces)
            for path, pieces in appended.items()
            if sum(map(len, pieces))
        }
        if not expected:
            return
        with place.open() as run:
            for path, values in expected.items():
                assert same_bits(run[path], values), path
        with h5py.File(place.merged(compression)) as file:
            for path, values in expected.items():
                assert same_bits(file[path], values), path


# --- compression ---------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_the_contents_do_not_depend_on_the_compression(
    place: Place, compression: Compression
) -> None:
    if compression == "lz4":
        pytest.importorskip("hdf5plugin")
    found = []
    for one in ("gzip", compression):
        with small_chunks(1000, 500), Recorder(place.store(), one) as recorder:
            record_windows(recorder)
            recorder.commit()
        with place.open() as run:
            found.append(everything(run))
        with open_run(place.merged(one)) as run:
            found.append(everything(run))
    assert len(found[0]) > 60
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize(
    ("compression", "filters"),
    [
        ("gzip", {"shuffle", "1", "fletcher32"}),
        ("none", {"fletcher32"}),
        ("lz4", {"shuffle", "fletcher32", "32004"}),
    ],
)
def test_chunks_are_compressed_as_asked_for(
    place: Place, compression: Compression, filters: set[str]
) -> None:
    if compression == "lz4":
        pytest.importorskip("hdf5plugin")
    with Recorder(place.store(), compression) as recorder:
        record_windows(recorder)
        recorder.commit()
    names = {"gzip": "1"}
    with h5py.File(place.merged(compression)) as file:
        for path in ("steps/reward", "windows/events/kind", "teams/actor/weights/initial/W1"):
            assert {names.get(each, each) for each in file[path]._filters} == filters, path


def without_hdf5plugin(name: str, package: str | None = None) -> ModuleType:
    if name == "hdf5plugin":
        raise ModuleNotFoundError(name)
    return import_module(name, package)


import_module = importlib.import_module


def test_lz4_without_its_library_is_an_input_error_when_writing_and_when_reading(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hdf5plugin")
    with Recorder(place.store(), "lz4") as recorder:
        record_steps(recorder, 0, 10)
        recorder.commit()
    monkeypatch.setattr(importlib, "import_module", without_hdf5plugin)
    with place.open() as run, pytest.raises(InputError, match=r"pip install 'neurosim\[lz4\]'"):
        _ = run.steps
    with Recorder(place.store(), "lz4") as recorder:
        recorder.append("steps/reward", np.zeros(3))
        with pytest.raises(InputError, match=r"storage.compression = 'lz4' needs .* hdf5plugin"):
            recorder.commit()


# --- full disks ----------------------------------------------------------------------------------

FILLER = """
import subprocess, sys
from pathlib import Path
import numpy as np
from neurosim.errors import RunError
from neurosim.record import FolderStore, Recorder, open_run, seal

folder = Path(sys.argv[1])
rng = np.random.default_rng(0)
recorder = Recorder(FolderStore(folder), segment_bytes=2**17)
rows, message = [], ""
while not message:
    rows.append(rng.normal(size=1000))
    try:
        recorder.append("steps/reward", rows[-1])
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

subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
store = FolderStore(folder, len(list((folder / "segments").iterdir())))
with Recorder(store) as recorder:
    recorder.append("steps/reward", rows[len(safe) :])
    recorder.commit()
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


class Refusing:
    """A store whose disk is full from some segment on."""

    def __init__(self, store: Any, segments: int) -> None:
        self._store = store
        self._left = segments
        self.sources: Callable[[], list[Any]] = store.sources

    def write(self, number: int, image: bytes) -> None:
        if not self._left:
            raise RunError("full")
        self._left -= 1
        self._store.write(number, image)


@pytest.mark.parametrize("rows_at_once", [1, 5, 8, 50])
def test_after_a_write_that_failed_nothing_more_is_taken_and_what_was_written_goes_on(
    place: Place, rows_at_once: int
) -> None:
    """Chunks have 8 rows: some appends fill several of them."""

    def fill(recorder: Recorder) -> None:
        for row in range(0, 200, rows_at_once):
            recorder.append("steps/reward", np.arange(row, row + rows_at_once, dtype="f8"))
        recorder.commit()

    with small_chunks():
        with Recorder(Refusing(place.store(), 3), segment_bytes=1) as recorder:
            with pytest.raises(RunError, match="full"):
                fill(recorder)
            for _ in range(2):
                with pytest.raises(RunError, match="full"):
                    recorder.commit()
        with place.open() as run:
            safe = run.steps["reward"][...]
        assert same_bits(safe, np.arange(24.0))
        with Recorder(place.store(3)) as recorder:
            recorder.append("steps/reward", np.arange(24.0, 30.0))
            recorder.commit()
        with place.open() as run:
            assert same_bits(run.steps["reward"], np.arange(30.0))


def test_errors_carry_the_exit_status_of_the_command_line() -> None:
    assert (InputError.exit_status, RunError.exit_status) == (2, 1)
    assert issubclass(InputError, NeurosimError)
    assert issubclass(RunError, NeurosimError)


def test_every_column_of_the_tables_is_described() -> None:
    assert all(field.description for field in schema.COLUMNS.values())
    assert schema.attributes("episodes/length")["units"] == "steps"
    assert schema.attributes("windows/actor/before/W1") == {}


def test_the_columns_of_a_record_carry_their_descriptions(place: Place) -> None:
    with Recorder(place.store()) as recorder:
        record_windows(recorder)
        recorder.commit()
    for run in (place.open(), open_run(place.merged())):
        for path in ("steps/reward", "windows/first_row", "windows/events/kind"):
            attrs = run[path].attrs
            assert attrs["description"] == schema.COLUMNS[path].description
            assert attrs.get("units") == schema.COLUMNS[path].units
        run.close()


def test_sealing_and_reading_a_folder_is_the_same_for_a_sealed_run(tmp_path: Path) -> None:
    with small_chunks(), Recorder(FolderStore(tmp_path)) as recorder:
        record_windows(recorder)
        recorder.commit()
    with open_run(tmp_path) as run:
        before = everything(run)
    seal(tmp_path, {})
    with open_run(tmp_path / "run.h5") as run:
        after = everything(run)
    del after["@"]["segments"]
    assert after == before
