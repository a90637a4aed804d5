"""Exports of runs, opened by the tools that they are for, hold the numbers of the run file."""

from __future__ import annotations

import shutil
import sys
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import neurosim
from neurosim import cli
from neurosim.errors import RunError
from neurosim.kernels.traffic import KINDS

TEAMS = ("actor", "critic")
SMALL = {
    "task.episodes": 3,
    "actor.units": [4, 3],
    "critic.units": [5, 3],
    "actor.N": 4,
    "critic.N": 4,
    "storage.compression": "none",
}
WINDOWS = [{"episodes": [2], "steps": [1, 5]}, {"episodes": [3], "steps": "all"}]
LONG = 1  # number of the longer window
PERIOD = 2**20


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs with two windows: synchronous; asynchronous, with losses by packet and by synapse."""
    out = tmp_path_factory.mktemp("exports")
    lossy = {"timing.loss": 0.1, "timing.packet_delay": 3.0}
    timer = {"timing.sampling": "timer", "timing.sampling_timer": 2.0}
    per_synapse = {"timing.loss": 0.1, "timing.loss_per": "synapse", "timing.send_on_delta": 0.1}
    settings: dict[str, tuple[str, dict[str, Any]]] = {
        "synchronous": ("cartpole", {}),
        "asynchronous": ("async/cartpole", {}),
        "newest": ("async/cartpole", {**lossy, **timer, "timing.reorder": "newest"}),
        "synapse": ("async/cartpole", per_synapse),
    }
    return {
        name: neurosim.run(
            neurosim.load(model, {**SMALL, "record": WINDOWS, **more}), 0, out / name
        )
        for name, (model, more) in settings.items()
    }


def export(run: Path, to: str, output: Path, *more: str) -> Path:
    cli.main(["export", str(run), "--to", to, "-o", str(output), *more])
    return output


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command says that is refused."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(["export", *arguments])
    assert stopped.value.code == 2
    return capsys.readouterr().err


class Log:
    """What the run file holds of a window, read by h5py alone."""

    def __init__(self, run: Path, number: int) -> None:
        with h5py.File(run / "run.h5") as file:
            windows = file["windows"]
            self.n_steps = int(windows["n_steps"][number])
            first, row = int(windows["first_step"][number]), int(windows["first_row"][number])
            self.steps = columns(file["steps"], slice(first, first + self.n_steps))
            self.recorded = columns(file["windows/steps"], slice(row, row + self.n_steps))
            self.layer = {team: file[f"teams/{team}/units/layer"][:] for team in TEAMS}
            if "n_events" not in windows:
                return
            begin = int(self.recorded["first_event"][0])
            end = begin + int(windows["n_events"][number])
            self.events = columns(file["windows/events"], slice(begin, end))
            self.first = [*(self.recorded["first_event"] - begin), end - begin]
            self.kind = [KINDS[code] for code in self.events["kind"]]
            self.team = [TEAMS[code] for code in self.events["team"]]
            self.unit = self.events["unit"].tolist()
            self.source = self.events["source"].tolist()
            self.time = self.events["time"] - self.events["time"][0]

    def ticks(self, team: str) -> list[tuple[float, int]]:
        """Time in periods, and unit: value ticks of hidden units, error ticks of outputs."""
        layer = self.layer[team]
        return [
            (time / PERIOD, unit)
            for time, kind, of, unit in zip(self.time, self.kind, self.team, self.unit, strict=True)
            if of == team
            and kind in ("value_tick", "error_tick")
            and (kind == "error_tick") == (layer[unit] == layer.max())
        ]

    def held(self, team: str) -> np.ndarray[Any, Any]:
        """What units held after each whole number of periods: (periods, units)."""
        now = np.full(len(self.layer[team]), np.nan)
        frames, row = [], 0
        for at in range(0, int(self.time[-1]), PERIOD):
            while self.time[row] <= at:
                if self.team[row] == team and self.kind[row] in ("sample", "value_tick"):
                    now[self.unit[row]] = self.events["value"][row]
                elif self.team[row] == team and self.kind[row] == "trace":
                    now[self.unit[row]] = np.nan
                row += 1
            frames.append(now.copy())
        return np.array(frames)

    def receivers(self, row: int) -> list[int]:
        """Units that an arrival reaches."""
        if self.unit[row] != -1:
            return [self.unit[row]]
        layer = self.layer[self.team[row]]
        return np.flatnonzero(layer == self.towards(row)).tolist()

    def towards(self, row: int) -> int:
        """The layer that an arrival comes to."""
        side = 1 if self.kind[row].endswith("value") else -1
        return int(self.layer[self.team[row]][self.source[row]]) + side

    def arrows(self) -> Counter[tuple[int, int]]:
        """The row that sent and the row that used, of each packet and each unit that used it.

        Found with a mailbox for each unit: what is in it and has not been used.
        """
        found: Counter[tuple[int, int]] = Counter()
        values = ("sample", "arm", "error_tick", "value_tick")
        for begin, end in pairwise(self.first):
            unused: dict[tuple[str, int, str], dict[int, int]] = defaultdict(dict)
            for row in range(begin, end):
                kind, team = self.kind[row], self.team[row]
                if kind in ("deliver_value", "deliver_error"):
                    for unit in self.receivers(row):
                        sent = row - int(self.events["cause"][row])
                        unused[team, unit, kind][self.source[row]] = sent
                if kind in values:
                    senders = unused[team, self.unit[row], "deliver_value"]
                    found.update((sent, row) for sent in senders.values())
                    senders.clear()
                if kind == "value_tick":
                    senders = unused[team, self.unit[row], "deliver_error"]
                    found.update((sent, row) for sent in senders.values())
                    senders.clear()
        return found


def columns(group: h5py.Group, rows: slice) -> dict[str, np.ndarray[Any, Any]]:
    datasets = {name: node for name, node in group.items() if isinstance(node, h5py.Dataset)}
    return {name: node[rows] for name, node in datasets.items() if not node.is_scale}


def episodes_of(run: Path) -> list[dict[str, Any]]:
    """The episodes of a run, each with its rows of /steps, read by h5py alone."""
    with h5py.File(run / "run.h5") as file:
        table = columns(file["episodes"], slice(None))
        found = []
        for k, (first, length) in enumerate(zip(table["first_step"], table["length"], strict=True)):
            steps = columns(file["steps"], slice(first, first + length))
            found.append({**steps, **{name: column[k] for name, column in table.items()}})
    return found


# --- Minari --------------------------------------------------------------------------------------

MODELS: dict[str, dict[str, Any]] = {
    "cartpole": {},
    "mountaincar": {},  # continuous actions
    "cartpole on ice": {"task.id": "FrozenLake-v1", "task.one_hot": True},
}


@pytest.mark.parametrize("name", MODELS)
def test_minari_loads_what_the_run_recorded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some episodes are cut off, and the last observation is what a fresh environment shows."""
    minari = pytest.importorskip("minari")
    settings = {**SMALL, "task.options": {"max_episode_steps": 12}, **MODELS[name]}
    model = neurosim.load(name.split()[0], settings)
    run = neurosim.run(model, 0, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    export(run, "minari", Path("learned-v0"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = minari.load_dataset("learned-v0")
    expected = episodes_of(run)
    assert dataset.total_episodes == len(expected) == 3
    assert dataset.total_steps == sum(each["length"] for each in expected)
    environment = dataset.recover_environment()
    assert dataset.observation_space == environment.observation_space
    for episode, there in zip(dataset, expected, strict=True):
        seen, _ = environment.reset(seed=int(there["seed"]))
        for action in episode.actions:
            seen, *_ = environment.step(action)
        np.testing.assert_array_equal(episode.observations[-1], seen)
        observations = episode.observations[:-1]
        if model.spec.task.one_hot:
            observations = np.eye(16)[observations]
        np.testing.assert_array_equal(observations, there["observation"])
        np.testing.assert_array_equal(episode.actions, there["action"])
        np.testing.assert_array_equal(episode.rewards, there["reward"])
        ends = np.stack([episode.terminations, episode.truncations])
        assert not ends[:, :-1].any()
        assert ends[:, -1].tolist() == [there["terminated"], there["truncated"]]
    environment.close()


def test_an_episode_that_does_not_come_out_again_is_not_exported(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("minari")
    copy = Path(shutil.copytree(runs["synchronous"], tmp_path / "copy"))
    with h5py.File(copy / "run.h5", "r+") as file:
        second = int(file["episodes/first_step"][1])
        file["steps/reward"][second + 3] += 1.0
    with pytest.raises(SystemExit) as stopped:
        export(copy, "minari", tmp_path / "wrong-v0")
    assert stopped.value.code == 1
    assert "Episode 2 differs from step 3 on" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["copy"]


# --- Neurodata Without Borders -------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_nwb_holds_the_window(mode: str, runs: dict[str, Path], tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    log = Log(runs[mode], LONG)
    path = export(runs[mode], "nwb", tmp_path / "window.nwb", "--window", str(LONG))
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        file = io.read()
        expected = {
            **{name: log.steps[name] for name in ("observation", "action", "reward")},
            **{name: log.steps[name] for name in ("td_error", "value")},
            **{name: log.recorded[name] for name in log.recorded if name.startswith(TEAMS)},
        }
        assert set(file.acquisition) == set(expected)
        begun = np.arange(float(log.n_steps))
        if mode == "asynchronous":
            begun = log.time[log.first[:-1]] / PERIOD
        for name, values in expected.items():
            np.testing.assert_array_equal(file.acquisition[name].data[:], values)
            times = file.acquisition[name].get_timestamps()
            np.testing.assert_allclose(times, begun, rtol=1e-15)
        if mode == "synchronous":
            assert file.units is None
            return
        table = file.units.to_dataframe()
        for team in TEAMS:
            mine = table[table.team == team]
            assert mine.layer.tolist() == log.layer[team].tolist()
            assert mine.number.tolist() == [*range(len(log.layer[team]))]
            ticks = log.ticks(team)
            assert ticks
            for unit, times in zip(mine.number, mine.spike_times, strict=True):
                assert times.tolist() == [time for time, of in ticks if of == unit]


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_nwb_inspector_misses_nothing_but_the_animal(
    mode: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    """In a window that has more steps than a team has units, see docs/export.md."""
    inspector = pytest.importorskip("nwbinspector")
    path = export(runs[mode], "nwb", tmp_path / "window.nwb", "--window", str(LONG))
    suggestion = inspector.Importance.BEST_PRACTICE_SUGGESTION.value
    found = {
        message.check_function_name
        for message in inspector.inspect_nwbfile(nwbfile_path=path)
        if message.importance.value > suggestion
    }
    assert found == {"check_subject_exists"}


# --- Perfetto ------------------------------------------------------------------------------------


def parsed(path: Path) -> Any:
    protobuf = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    trace = protobuf.Trace()
    trace.ParseFromString(path.read_bytes())
    return trace


def paths_of_tracks(trace: Any) -> dict[int, tuple[str, ...]]:
    """Names of the tracks by number, those of their parents before them."""
    found: dict[int, tuple[str, ...]] = {}
    for packet in trace.packet:
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            assert track.uuid not in found
            found[track.uuid] = (*found.get(track.parent_uuid, ()), track.name)
    return found


@pytest.mark.parametrize("mode", ["asynchronous", "newest", "synapse"])
def test_a_trace_has_the_log_row_by_row(mode: str, runs: dict[str, Path], tmp_path: Path) -> None:
    """Every row is an instant on its track, every use of a packet an arrow to it."""
    log = Log(runs[mode], LONG)
    path = export(runs[mode], "perfetto", tmp_path / "trace", "--window", str(LONG))
    trace = parsed(path)
    tracks = paths_of_tracks(trace)
    assert len(set(tracks.values())) == len(tracks)
    sizes = [len(log.layer[team]) for team in TEAMS]
    layers = [log.layer[team].max() for team in TEAMS]
    assert len(tracks) == 1 + sum(2 + l for l in layers) + sum(sizes) + 2 * 4
    events = [p for p in trace.packet if p.HasField("track_event")]
    instants = [p for p in events if p.track_event.type == p.track_event.TYPE_INSTANT]
    assert len(instants) == len(log.kind)
    assert len(events) == len(instants) + 2 * log.n_steps
    begun: dict[int, int] = {}
    arrows: Counter[tuple[int, int]] = Counter()
    for row, packet in enumerate(instants):
        event = packet.track_event
        assert (event.name, packet.timestamp) == (log.kind[row], log.time[row])
        assert tracks[event.track_uuid] == place(log, row)
        notes = {note.name: note.double_value for note in event.debug_annotations}
        assert notes["value"] == log.events["value"][row]
        assert notes.get("source", -1) == log.source[row]
        for flow in event.flow_ids:
            assert flow not in begun
            begun[flow] = row
        arrows.update((begun.pop(flow), row) for flow in event.terminating_flow_ids)
    assert not begun
    assert arrows == log.arrows()
    assert {"newest": "discard_value", "synapse": "lost_error"}.get(mode, "trace") in log.kind


def place(log: Log, row: int) -> tuple[str, ...]:
    """Names of the track that a row belongs to, and of those around it."""
    team, unit = log.team[row], log.unit[row]
    if log.kind[row] == "observe":
        return team, "observation", f"component {unit}"
    layer = log.towards(row) if unit == -1 else log.layer[team][unit]
    name = "output" if layer == log.layer[team].max() else f"layer {layer}"
    return (team, name) if unit == -1 else (team, name, f"unit {unit}")


def test_steps_are_slices_with_their_outcome(runs: dict[str, Path], tmp_path: Path) -> None:
    log = Log(runs["asynchronous"], 0)
    trace = parsed(export(runs["asynchronous"], "perfetto", tmp_path / "trace"))
    tracks = paths_of_tracks(trace)
    slices = [
        packet for packet in trace.packet if tracks.get(packet.track_event.track_uuid) == ("steps",)
    ]
    assert len(slices) == 2 * log.n_steps == 8
    for step, (begin, end) in enumerate(zip(slices[::2], slices[1::2], strict=True)):
        assert begin.track_event.type == begin.track_event.TYPE_SLICE_BEGIN
        assert end.track_event.type == end.track_event.TYPE_SLICE_END
        assert begin.timestamp == log.time[log.first[step]]
        assert end.timestamp == log.time[log.first[step + 1] - 1]
        notes = {note.name: note.double_value for note in begin.track_event.debug_annotations}
        names = ("reward", "td_error", "value")
        assert notes == {name: log.steps[name][step] for name in names}


def test_the_same_run_gives_the_same_trace(runs: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("perfetto")
    first, again = (
        export(runs["asynchronous"], "perfetto", tmp_path / name) for name in ("one", "two")
    )
    assert first.read_bytes() == again.read_bytes()


def test_a_synchronous_run_has_nothing_to_trace(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (str(runs["synchronous"]), "--to", "perfetto", "-o", str(tmp_path / "trace"))
    assert "send no packets" in refused(capsys, *arguments)
    assert not [*tmp_path.iterdir()]


# --- SONATA --------------------------------------------------------------------------------------


def test_sonata_has_ticks_as_spikes_and_values_once_a_period(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    libsonata = pytest.importorskip("libsonata")
    log = Log(runs["asynchronous"], LONG)
    output = tmp_path / "activity.h5"
    path = str(export(runs["asynchronous"], "sonata", output, "--window", str(LONG)))
    spikes, reports = libsonata.SpikeReader(path), libsonata.ElementReportReader(path)
    assert set(spikes.get_population_names()) == set(reports.get_population_names()) == set(TEAMS)
    for team in TEAMS:
        assert spikes[team].sorting == "by_time"
        assert [(time, unit) for unit, time in spikes[team].get()] == log.ticks(team)
        frames = reports[team].get()
        expected = log.held(team)
        assert np.isfinite(expected).any()
        assert frames.ids[:, 0].tolist() == [*range(len(log.layer[team]))]
        np.testing.assert_array_equal(frames.times, np.arange(len(expected)))
        np.testing.assert_array_equal(frames.data, expected.astype(np.float32))


def test_sonata_has_a_frame_for_each_step_of_a_synchronous_run(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    libsonata = pytest.importorskip("libsonata")
    log = Log(runs["synchronous"], 0)
    path = str(export(runs["synchronous"], "sonata", tmp_path / "activity.h5"))
    reports = libsonata.ElementReportReader(path)
    for team in TEAMS:
        expected = log.recorded[f"{team}_relaxed"].astype(np.float32)
        np.testing.assert_array_equal(reports[team].get().data, expected)
    with h5py.File(path) as file:
        assert set(file) == {"report"}


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "name", "module"),
    [
        ("minari", "learned-v0", "minari"),
        ("nwb", "window.nwb", "pynwb"),
        ("perfetto", "trace", "perfetto"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    to: str,
    name: str,
    module: str,
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for loaded in [each for each in sys.modules if each.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    message = refused(capsys, str(runs["asynchronous"]), "--to", to, "-o", str(tmp_path / name))
    assert f"This needs {module}: pip install 'neurosim[export]'" in message
    assert not [*tmp_path.iterdir()]


def test_nothing_is_replaced_without_force(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, output = str(runs["synchronous"]), tmp_path / "activity.h5"
    output.write_text("mine")
    arguments = (run, "--to", "sonata", "-o", str(output))
    assert "--force replaces it" in refused(capsys, *arguments)
    assert output.read_text() == "mine"
    export(runs["synchronous"], "sonata", output, "--force")
    with h5py.File(output) as file:
        assert "report" in file


def test_a_folder_that_is_no_dataset_is_not_emptied(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("minari")
    folder = tmp_path / "mine-v0"
    folder.mkdir()
    (folder / "letter").write_text("mine")
    run = str(runs["synchronous"])
    arguments = (run, "--to", "minari", "-o", str(folder), "--force")
    assert "is a folder and no dataset" in refused(capsys, *arguments)
    assert (folder / "letter").read_text() == "mine"
    other = export(runs["synchronous"], "minari", tmp_path / "other-v0")
    before = (other / "data/metadata.json").read_bytes()
    (other / "data/metadata.json").unlink()
    export(runs["synchronous"], "minari", other, "--force")
    assert (other / "data/metadata.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "minari", "-o", "learned"), "a name such as learned-v0"),
        (("--to", "minari", "-o", "learned-v0", "--window", "0"), "holds all steps"),
        (("--to", "nwb", "-o", "away/window.nwb"), "there is no folder away"),
        (("--to", "nwb", "-o", "window.nwb", "--window", "7"), "window = 7"),
        (("--to", "sonata", "-o", "window.h5", "--window", "-1"), "window = -1"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: tuple[str, ...],
    message: str,
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, str(runs["synchronous"]), *arguments)
    assert not [*tmp_path.iterdir()]


def test_a_window_in_which_the_run_diverged_ends_with_its_last_action(tmp_path: Path) -> None:
    """The outcome of that action never came, so td_error and reward have a row less."""
    pynwb = pytest.importorskip("pynwb")
    run = diverged({"critic.step_size": 3.0, "critic.N": 12}, tmp_path / "runs")
    log = Log(run, 0)
    assert log.n_steps == len(log.steps["reward"]) + 1 > 1
    with pynwb.NWBHDF5IO(str(export(run, "nwb", tmp_path / "window.nwb")), "r") as io:
        series = io.read().acquisition
        np.testing.assert_array_equal(series["reward"].data[:], log.steps["reward"])
        np.testing.assert_array_equal(
            series["critic_relaxed"].data[:], log.recorded["critic_relaxed"]
        )
    trace = parsed(export(run, "perfetto", tmp_path / "trace"))
    begun = [
        len(packet.track_event.debug_annotations)
        for packet in trace.packet
        if packet.track_event.type == packet.track_event.TYPE_SLICE_BEGIN
    ]
    assert begun == [*[3] * (log.n_steps - 1), 0]


@pytest.mark.parametrize("wild", [{"actor.step_size": 1e6}, {"actor.alpha": [1e9, 1e9, 1e9]}])
def test_a_window_without_a_finished_step_is_refused(
    wild: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(diverged(wild, tmp_path / "runs"))
    for to in ("nwb", "perfetto", "sonata"):
        output = tmp_path / "window"
        assert "has no finished step" in refused(capsys, run, "--to", to, "-o", str(output))
        assert not output.exists()


def diverged(settings: dict[str, Any], out: Path) -> Path:
    """A run that does not get far, all of it in a window."""
    window = {"record": [{"episodes": "all", "steps": "all"}]}
    model = neurosim.load("async/cartpole", {**SMALL, **window, **settings})
    with pytest.raises(RunError, match="diverged"):
        neurosim.run(model, 0, out)
    return out / "async/cartpole/seed-0000"


def test_a_run_of_batches_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = neurosim.load("multiplexer/map_prop", {"batch.samples": 256, "actor.N": 2})
    run = str(neurosim.run(model, 0, tmp_path / "runs"))
    for to in ("minari", "nwb", "perfetto", "sonata"):
        output = tmp_path / "batches-v0"
        message = refused(capsys, run, "--to", to, "-o", str(output))
        assert "is a run of batches" in message or "has no windows" in message
        assert not output.exists()
