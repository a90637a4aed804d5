"""A run's folder stays one run's: one writer, no gaps, and no reader is given another's rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from recording import ROOT, Place, record_run, record_steps, record_windows, same_bits

import neurosim
from neurosim import experiment
from neurosim.errors import InputError, Interrupted
from neurosim.record import FolderStore, Recorder, checkpoint, open_run, reader, seal

SMALL = {"task.episodes": 4, "actor.units": [4], "critic.units": [4], "actor.N": 2, "critic.N": 2}
LAYERS = {
    f"{team}.{key}": value
    for team in ("actor", "critic")
    for key, value in (("activation", ["softplus"]), ("alpha", [1e-3, 1e-4]))
}
LAYERS |= {"actor.var": [0.1], "critic.var": [0.1, 0.1]}
LAYERS |= {"actor.anneal_to": [1.0, 1.0], "critic.anneal_to": [1.0, 1.0]}


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run that was stopped after its second episode."""
    model = neurosim.load("cartpole", SMALL | LAYERS)
    with pytest.raises(Interrupted):
        neurosim.run(model, out=tmp_path, on_episode=lambda episode: episode.number == 2)
    return tmp_path / "cartpole/seed-0000"


# --- readers -------------------------------------------------------------------------------------


def test_rows_that_a_resumed_run_has_not_recorded_again_are_an_error(tmp_path: Path) -> None:
    record_run(tmp_path, segments=8)
    with open_run(tmp_path) as run:
        reward = run.steps["reward"]
        run.close()
        FolderStore(tmp_path, 5)  # resumes from a checkpoint: the last three segments go
        with pytest.raises(InputError, match="Open the run again"):
            reward[...]


def test_rows_that_a_resumed_run_has_recorded_again_are_read_from_where_they_are_now(
    tmp_path: Path,
) -> None:
    record_run(tmp_path, segments=8)
    with open_run(tmp_path) as run:
        reward = run.steps["reward"]
        run.close()
        with Recorder(FolderStore(tmp_path, 5)) as recorder:
            for start in (50, 54, 70):  # segments of other lengths, under the same names
                record_steps(recorder, start, {50: 54, 54: 70, 70: 80}[start])
                recorder.commit()
        assert same_bits(reward[...], np.arange(80.0))
        assert same_bits(reward[45:75], np.arange(45.0, 75.0))


def test_rows_of_a_run_that_replaced_the_one_opened_are_never_given(tmp_path: Path) -> None:
    record_run(tmp_path, segments=3)
    with open_run(tmp_path) as run:
        reward = run.steps["reward"]
        run.close()
        shutil.rmtree(tmp_path / "segments")
        with Recorder(FolderStore(tmp_path)) as recorder:
            recorder.annotate("", {**ROOT, "seed": 8})
            record_steps(recorder, 100, 200)
            recorder.commit()
        with pytest.raises(InputError, match="replaced by another one"):
            reward[...]


def test_the_last_window_ends_where_it_ends_while_the_next_one_is_being_recorded(
    tmp_path: Path,
) -> None:
    place = Place("folder", tmp_path)
    with Recorder(place.store()) as recorder:
        record_windows(recorder, windows=2, steps=5, events=40)
        for name, kind in (("time", "i8"), ("team", "u1"), ("value", "f8"), ("cause", "i4")):
            recorder.append(f"windows/events/{name}", np.zeros(60, kind))
        recorder.commit()
    with place.open() as run:
        assert [len(window.events) for window in run.windows] == [200, 200]


@pytest.mark.parametrize("damage", ["first lost", "one twice"])
def test_segments_out_of_place_are_an_error(tmp_path: Path, damage: str) -> None:
    record_run(tmp_path, segments=2, rows=20_000)
    first, second = sorted((tmp_path / "segments").iterdir())
    if damage == "first lost":
        second.rename(first)
    else:
        shutil.copy(first, tmp_path / "segments/000002.h5")
    with open_run(tmp_path) as run, pytest.raises(InputError, match=r"missing|out of place"):
        _ = run.steps


def test_an_old_sealed_file_does_not_stand_in_for_a_lost_first_segment(tmp_path: Path) -> None:
    record_run(tmp_path, segments=2)
    seal(tmp_path, {"complete": False})
    with Recorder(FolderStore(tmp_path, 2)) as recorder:
        record_steps(recorder, 20, 50)
        recorder.commit()
    (tmp_path / "segments/000000.h5").unlink()
    with pytest.raises(InputError, match="Segment 0 is missing"):
        open_run(tmp_path)


def test_tables_need_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    with open_run(record_run(tmp_path)) as run:
        monkeypatch.setattr(reader.importlib, "import_module", missing)
        for method in (run.steps.to_pandas, run.steps.to_xarray):
            with pytest.raises(InputError, match=r"pip install 'neurosim\[tables\]'"):
                method()


# --- writers -------------------------------------------------------------------------------------


def test_only_one_process_writes_to_a_folder(stopped: Path) -> None:
    model = neurosim.load("cartpole", SMALL | LAYERS)
    before = sorted(stopped.rglob("*"))
    with experiment.sole_writer(stopped):
        for attempt in (
            lambda: neurosim.resume(stopped),
            lambda: neurosim.rerecord(stopped, 1, (0, 1)),
            lambda: neurosim.run(model, out=stopped.parents[1], force=True),
        ):
            with pytest.raises(InputError, match="Another process is writing"):
                attempt()
    assert sorted(stopped.rglob("*")) == before
    with neurosim.open(neurosim.resume(stopped)) as run:
        assert run.complete


@pytest.mark.parametrize("file", ["provenance.json", "model.toml"])
def test_a_checkpoint_of_another_model_or_seed_is_refused(stopped: Path, file: str) -> None:
    path = stopped / file
    if file == "provenance.json":
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 1}))
    else:
        path.write_text(path.read_text().replace("gamma = 0.98", "gamma = 0.97"))
    segments = sorted((stopped / "segments").iterdir())
    with pytest.raises(InputError, match="of another model or seed"):
        neurosim.resume(stopped)
    assert sorted((stopped / "segments").iterdir()) == segments


def test_a_run_that_lost_its_checkpoints_is_not_begun_anew(stopped: Path) -> None:
    shutil.rmtree(stopped / checkpoint.FOLDER)
    segments = sorted((stopped / "segments").iterdir())
    assert len(segments) > 1
    with pytest.raises(InputError, match="has lost its checkpoints"):
        neurosim.resume(stopped)
    assert sorted((stopped / "segments").iterdir()) == segments


def test_a_damaged_checkpoint_can_be_deleted_and_the_run_goes_on_from_the_one_before(
    stopped: Path,
) -> None:
    files = checkpoint.kept(stopped)
    latest = files[max(files)]
    (stopped / checkpoint.FOLDER / "episode-000000002 (copy).h5").write_bytes(b"not one of ours")
    latest.write_bytes(latest.read_bytes()[:-9])
    with pytest.raises(InputError, match="Delete it: the run then goes on from the checkpoint be"):
        neurosim.resume(stopped)
    latest.unlink()
    whole = neurosim.run(neurosim.load("cartpole", SMALL | LAYERS), out=stopped.parents[1] / "new")
    with neurosim.open(neurosim.resume(stopped)) as run, neurosim.open(whole) as expected:
        for name in expected.steps:
            assert same_bits(run.steps[name], expected.steps[name])


def test_segments_left_by_a_run_that_was_killed_when_it_had_ended_are_dropped(
    stopped: Path,
) -> None:
    segments = stopped / "segments"
    shutil.copytree(segments, stopped.parent / "left")
    neurosim.resume(stopped)
    assert not segments.exists()
    shutil.copytree(stopped.parent / "left", segments)
    (segments / "000000.h5").unlink()
    neurosim.resume(stopped)
    assert not segments.exists()
    with neurosim.open(stopped) as run:
        assert run.complete
