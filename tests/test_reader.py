"""Reading: columns, tables and windows of runs in segments, in memory and sealed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from recording import (
    ROOT,
    Place,
    bits,
    record_run,
    record_steps,
    record_windows,
    same_bits,
    small_chunks,
)

from neurosim.errors import InputError
from neurosim.kernels.traffic import KINDS
from neurosim.record import (
    Column,
    Contents,
    FolderStore,
    Group,
    Recorder,
    Run,
    drop_segments,
    open_run,
    seal,
)


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path)


@pytest.fixture(params=["segments", "memory", "sealed"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """100 steps in 4 segments."""
    place = Place("memory" if request.param == "memory" else "folder", tmp_path)
    with small_chunks(), Recorder(place.store()) as recorder:
        recorder.annotate("", ROOT)
        for start in range(0, 100, 25):
            record_steps(recorder, start, start + 25)
            recorder.commit()
        if request.param == "sealed":
            seal(tmp_path, {"complete": True})
    with place.open() as opened:
        yield opened


@pytest.fixture(params=["segments", "memory", "sealed"])
def windowed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """3 windows of 5 steps of 40 events."""
    place = Place("memory" if request.param == "memory" else "folder", tmp_path)
    with small_chunks(), Recorder(place.store()) as recorder:
        record_windows(recorder)
        recorder.commit()
        if request.param == "sealed":
            seal(tmp_path, {"complete": True})
    with place.open() as opened:
        yield opened


# --- columns and tables --------------------------------------------------------------------------


def test_a_column_is_indexed_like_an_array(run: Run) -> None:
    column = run.steps["observation"]
    whole = np.stack([np.arange(100), -np.arange(100)], axis=1).astype("f8")
    assert same_bits(column[...], whole)
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


def test_a_part_of_a_table_is_indexed_from_its_own_first_row(run: Run) -> None:
    for start, stop in ((0, 100), (23, 61), (50, 50), (90, 200), (-10, 100)):
        part = run.steps.rows(start, stop)
        expected = np.arange(100.0)[start:stop]
        assert len(part) == len(expected)
        assert list(part) == list(run.steps)
        assert same_bits(part["reward"][...], expected)
        assert same_bits(part["reward"][::-2], expected[::-2])
        assert same_bits(part.rows(1, 3)["reward"][...], expected[1:3])


def test_scattered_rows_of_a_long_column_are_gathered_across_blocks(place: Place) -> None:
    with Recorder(place.store()) as recorder:
        for start in (0, 150_000):
            recorder.append("steps/reward", np.arange(start, start + 150_000.0))
            recorder.commit()
    rows = np.random.default_rng(0).integers(-300_000, 300_000, 500)
    with place.open() as opened:
        column = opened.steps["reward"]
        assert same_bits(column[rows], np.arange(300_000.0)[rows])
        assert same_bits(column[::-7], np.arange(300_000.0)[::-7])
        assert same_bits(column[149_990:150_010], np.arange(149_990, 150_010.0))


def test_a_table_ends_with_the_last_row_that_all_columns_have(place: Place) -> None:
    with Recorder(place.store()) as recorder:
        record_steps(recorder, 0, 30)
        recorder.append("steps/reward", np.zeros(5))
        recorder.commit()
    with place.open() as opened:
        assert len(opened.steps) == 30
        assert {len(column) for _, column in opened.steps.items()} == {30}


def test_columns_cut_apart_by_the_end_of_a_segment_are_one_table(place: Place) -> None:
    """A segment that closes by itself holds whole chunks alone, of whichever column was full."""
    with small_chunks():
        with Recorder(place.store(), segment_bytes=1) as recorder:
            record_steps(recorder, 0, 20)
            recorder.commit()
            recorder.append("steps/reward", np.arange(20.0, 36.0))
        with place.open() as opened:
            assert len(opened["steps/reward"]) > 20
            assert len(opened.steps) == 20


def test_reading_one_column_touches_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_run(tmp_path)
    seal(tmp_path, {})
    touched = []
    original = h5py.Dataset.read_direct

    def spy(dataset: h5py.Dataset, out: Any, source: Any, target: Any) -> None:
        touched.append((dataset.name, source))
        original(dataset, out, source, target)

    def not_this_way(dataset: h5py.Dataset, *_: Any) -> None:
        raise AssertionError(dataset.name)

    monkeypatch.setattr(h5py.Dataset, "read_direct", spy)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", not_this_way)
    with open_run(tmp_path) as opened:
        repr((opened, opened.steps, opened.steps["reward"], opened.windows))
        assert touched == []
        opened.steps["reward"][3:5]
    assert touched == [("/steps/reward", slice(3, 5))]


def test_reading_rows_of_one_segment_opens_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_chunks():  # of 8 rows
        record_run(tmp_path, segments=5, rows=16)
    opened = open_run(tmp_path)
    reward = opened.steps["reward"]
    opened.close()
    touched = []
    original = h5py.File.__init__

    def spy(file: h5py.File, name: Any, *arguments: Any, **keywords: Any) -> None:
        if isinstance(name, Path):
            touched.append(name.name)
        original(file, name, *arguments, **keywords)

    monkeypatch.setattr(h5py.File, "__init__", spy)
    assert reward[18:30].tolist() == list(range(18, 30))
    assert touched == ["000001.h5"]
    opened.close()


def open_hdf5_files() -> int:
    return int(h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE))


def test_many_segments_are_read_with_few_open_files(place: Place) -> None:
    with Recorder(place.store()) as recorder:
        for row in range(40):
            record_steps(recorder, row, row + 1)
            recorder.commit()
    before = open_hdf5_files()
    with place.open() as opened:
        assert opened.steps["reward"][...].tolist() == list(range(40))
        assert 0 < open_hdf5_files() - before <= 8
    assert open_hdf5_files() == before


def test_representations_fit_on_a_line(run: Run) -> None:
    state = "complete" if run.complete else "incomplete"
    assert repr(run) == f"<Run {run.path}: {state}, 0 episodes, 100 steps, 0 windows>"
    assert repr(run.steps) == "<Table steps: 100 rows of episode, observation, reward>"
    assert repr(run.steps["observation"]) == "<Column steps/observation: float64 (100, 2)>"


# --- runs and windows ----------------------------------------------------------------------------


def test_a_run_shows_its_attributes_and_weights(place: Place) -> None:
    model = "# long\n" * 20_000
    with Recorder(place.store()) as recorder:
        recorder.annotate("", {**ROOT, "model": model})
        recorder.put("teams/actor/weights/initial/W1", np.eye(2))
        recorder.put("teams/actor/weights/initial/b1", np.zeros(2))
        recorder.commit()
    for opened in (place.open(), open_run(place.merged())):
        assert (opened.model, opened.seed, opened.complete) == (model, 7, False)
        assert sorted(opened.weights("actor", "initial")) == ["W1", "b1"]
        with pytest.raises(InputError, match="It holds: actor initial"):
            opened.weights("critic", "final")
        assert isinstance(opened["teams/actor"], Group)
        assert isinstance(opened["teams/actor/weights/initial/W1"], Column)
        assert len(opened.episodes) == 0
        assert "return" not in opened.episodes
        assert len(opened.windows) == 0
        with pytest.raises(KeyError):
            opened["nothing"]
        with pytest.raises(KeyError):
            opened["teams/actor/nothing"]
        opened.close()


def test_a_run_without_a_seed_says_so(place: Place) -> None:
    with Recorder(place.store()) as recorder:
        recorder.append("steps/reward", np.zeros(1))
        recorder.commit()
    with place.open() as opened, pytest.raises(InputError, match="no attribute 'seed'"):
        _ = opened.seed


def test_a_window_is_its_rows_of_every_table(windowed: Run) -> None:
    assert len(windowed.windows) == len(list(windowed.windows)) == len(windowed.windows[:]) == 3
    events = windowed.table("windows/events")
    assert len(events) == 600
    for k, window in enumerate(windowed.windows):
        assert (window.number, window.episode, window.complete) == (k, k + 1, k < 2)
        assert (window.first_step, window.n_steps) == (5 * k, 5)
        mine = slice(5 * k, 5 * k + 5)
        assert same_bits(window.steps["reward"][...], np.arange(5.0 * k, 5 * k + 5))
        assert window.first_event.tolist() == [0, 40, 80, 120, 160, 200]
        assert list(window.events) == list(events)
        for name, column in window.events.items():
            assert bits(column[...]) == bits(events[name][200 * k : 200 * k + 200]), name
        for team in ("actor", "critic"):
            of_steps = windowed.table("windows/steps")
            assert same_bits(window.sampled(team), of_steps[f"{team}_sampled"][mine])
            assert same_bits(window.relaxed(team), of_steps[f"{team}_relaxed"][mine])
        for when, state in (("before", window.before("actor")), ("after", window.after("actor"))):
            assert sorted(state) == ["W1", "adam_count"]
            assert same_bits(state["W1"], windowed[f"windows/actor/{when}/W1"][k])
            assert state["W1"].shape == (3, 2)
            assert state["adam_count"] == windowed[f"windows/actor/{when}/adam_count"][k]
    assert repr(windowed.windows[-1]) == "<Window 2: episode 3, 5 steps>"
    with pytest.raises(IndexError):
        windowed.windows[3]


def test_a_window_of_units_without_clocks_has_no_events(place: Place) -> None:
    with Recorder(place.store()) as recorder:
        recorder.annotate("", ROOT)
        record_steps(recorder, 0, 4)
        row = {"first_step": 1, "first_row": 0}
        for name, value in row.items():
            recorder.append(f"windows/{name}", np.array([value]))
        recorder.append("windows/n_steps", np.array([2], "i4"))
        recorder.append("windows/episode", np.array([1], "i4"))
        recorder.append("windows/complete", np.array([True]))
        recorder.append("windows/steps/step", np.array([1, 2]))
        recorder.commit()
    with place.open() as opened:
        (window,) = opened.windows
        assert len(window.events) == 0
        assert list(window.events) == []
        assert window.first_event.tolist() == [0, 0, 0]
        assert window.steps["reward"][...].tolist() == [1, 2]


# --- pandas and xarray ---------------------------------------------------------------------------


def test_a_table_becomes_a_pandas_frame_with_kinds_as_categories(windowed: Run) -> None:
    pandas = pytest.importorskip("pandas")
    for name in ("episodes", "steps", "windows", "windows/steps", "windows/events"):
        table = windowed.table(name)
        frame = table.to_pandas()
        assert len(frame) == len(table) > 0
        for column in table:
            if table[column].shape[1:]:
                for k in range(table[column].shape[1]):
                    assert same_bits(frame[f"{column}_{k}"], table[column][...][:, k])
            elif column != "kind":
                assert same_bits(frame[column], table[column])
    kinds = windowed.windows[1].events.to_pandas(["kind", "time"])
    assert list(kinds) == ["kind", "time"]
    assert isinstance(kinds["kind"].dtype, pandas.CategoricalDtype)
    assert list(kinds["kind"].cat.categories) == list(KINDS)
    codes = windowed.windows[1].events["kind"][...]
    assert kinds["kind"].tolist() == [KINDS[code] for code in codes]
    with pytest.raises(InputError, match="windows/events has no column 'packet'; it has cause"):
        windowed.windows[1].events.to_pandas(["packet"])


def test_a_table_becomes_an_xarray_dataset_with_named_dimensions(windowed: Run) -> None:
    pytest.importorskip("xarray")
    dimensions = {
        "episodes": {"episode"},
        "steps": {"step", "component"},
        "windows": {"window"},
        "windows/steps": {"recorded_step", "actor_unit", "critic_unit"},
        "windows/events": {"event"},
    }
    for name, expected in dimensions.items():
        table = windowed.table(name)
        dataset = table.to_xarray()
        assert set(dataset.dims) == expected
        for column in table:
            assert same_bits(dataset[column].values, table[column])
            assert dataset[column].attrs["description"] == table[column].attrs["description"]
    assert list(windowed.steps.to_xarray(["reward"])) == ["reward"]
    with pytest.raises(InputError, match="steps has no column 'rewards'; it has"):
        windowed.steps.to_xarray(["rewards"])


@pytest.mark.parametrize("code", ["import neurosim", "import neurosim; neurosim.open(sys.argv[1])"])
def test_neither_pandas_nor_xarray_is_imported_before_it_is_asked_for(
    code: str, tmp_path: Path
) -> None:
    record_run(tmp_path)
    code = f"import sys; {code}; print(sorted({{'pandas', 'xarray'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# --- while a run goes on -------------------------------------------------------------------------


def test_a_run_that_is_read_while_it_is_sealed_goes_on_from_the_sealed_file(
    tmp_path: Path,
) -> None:
    with small_chunks(), Recorder(FolderStore(tmp_path)) as recorder:
        record_windows(recorder)
        recorder.commit()
        record_steps(recorder, 15, 50)
        recorder.commit()
        with open_run(tmp_path) as opened:
            column = opened["steps/reward"]
            opened.close()
            seal(tmp_path, {"complete": True})
            drop_segments(tmp_path)
            assert same_bits(column[...], np.arange(50.0))
            assert same_bits(opened.windows[2].steps["reward"][...], np.arange(10.0, 15.0))


def test_a_run_that_is_gone_is_an_input_error(tmp_path: Path) -> None:
    record_run(tmp_path)
    with open_run(tmp_path) as opened:
        reward = opened.steps["reward"]
        opened.close()
        drop_segments(tmp_path)
        with pytest.raises(InputError, match=r"no run\.h5 and no closed segment"):
            reward[...]


def test_a_source_that_is_gone_twice_is_an_input_error(tmp_path: Path) -> None:
    """Named again, the file is still missing."""
    record_run(tmp_path)
    file = tmp_path / "segments/000000.h5"
    with Contents(lambda: [file]) as contents:
        column = contents.column("steps/reward")
        contents.close()
        file.unlink()
        with pytest.raises(InputError, match=r"000000\.h5 is gone: .* Open the run again"):
            column[...]
