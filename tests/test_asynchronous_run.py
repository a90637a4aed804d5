"""Runs of asynchronous models: what is recorded, resumed, counted and shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from bridge import with_packets

import neurosim
from neurosim import cli
from neurosim.analysis import traffic
from neurosim.errors import InputError, Interrupted, RunError
from neurosim.kernels.clock import TICKS
from neurosim.kernels.traffic import KINDS
from neurosim.record.reader import Run

SMALL = {
    "task.episodes": 4,
    "actor.units": [6, 5],
    "critic.units": [5, 4],
    "actor.N": 4,
    "critic.N": 4,
}
WINDOW = {"record": [{"episodes": [2, 3], "steps": [1, 4]}]}
SETTINGS: dict[str, dict[str, Any]] = {
    "fully local": {},
    "timer and losses": {"sampling": "timer", "sampling_timer": 1.0, "loss": 0.2},
    "per synapse": {"synapse_delay": 1.0, "loss": 0.1, "loss_per": "synapse"},
    "overtaking": {"packet_delay": 2.0, "reorder": "newest", "feedback_decay": 1e-3},
    "symmetric": {"feedback": "symmetric", "broadcast_delay": 0.5, "broadcast_loss": 0.2},
    "tagged": {"trace_after": 2, "feedback": "random", "rate_spread": 0.5},
}


def model(timing: dict[str, Any] | None = None, more: dict[str, Any] | None = None) -> Any:
    """A small async/cartpole with other settings of [timing] and of anything else."""
    changes = {f"timing.{key}": value for key, value in (timing or {}).items()}
    return neurosim.load("async/cartpole", SMALL | changes | (more or {}))


@pytest.fixture(scope="module", params=SETTINGS)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with windows, for each of the settings."""
    folder = tmp_path_factory.mktemp("recorded")
    return neurosim.run(model(SETTINGS[request.param], WINDOW), out=folder)


def events_of(run: Run, window: int) -> dict[str, np.ndarray]:
    """Columns of a window's events, kind as names."""
    columns = with_packets({name: column[:] for name, column in run.windows[window].events.items()})
    columns["kind"] = np.array(KINDS)[columns["kind"]]
    return columns


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_that_was_stopped_ends_with_the_bits_of_one_that_was_not(
    name: str, tmp_path: Path, contents: Callable[[Path], dict[str, Any]]
) -> None:
    it = model(SETTINGS[name], WINDOW)
    whole = neurosim.run(it, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        neurosim.run(it, out=tmp_path, on_episode=lambda episode: episode.number == 2)
    resumed = neurosim.resume(tmp_path / it.name / "seed-0000")
    assert contents(resumed) == contents(whole)


def test_what_is_recorded_changes_no_bits(
    tmp_path: Path, contents: Callable[[Path], dict[str, Any]]
) -> None:
    with_windows = contents(neurosim.run(model(None, WINDOW), out=tmp_path / "with"))
    without = contents(neurosim.run(model(), out=tmp_path / "without"))
    del without["@model"]
    assert {key: with_windows[key] for key in without} == without


def test_workers_change_no_bits(tmp_path: Path, contents: Callable[[Path], dict[str, Any]]) -> None:
    arguments = ["run", "async/cartpole", "--seeds", "0:2", "--quiet", "--set"]
    arguments += [f"{key}={value}" for key, value in SMALL.items()]
    cli.main([*arguments, "--out", str(tmp_path / "one")])
    cli.main([*arguments, "--out", str(tmp_path / "two"), "--workers", "2"])
    for seed in ("seed-0000", "seed-0001"):
        one, two = (contents(tmp_path / n / "async/cartpole" / seed) for n in ("one", "two"))
        assert one == two


def test_events_are_in_the_order_of_time_and_steps_begin_where_it_says(recorded: Path) -> None:
    with neurosim.open(recorded) as run:
        for number, window in enumerate(run.windows):
            events = events_of(run, number)
            assert np.all(np.diff(events["time"]) >= 0)
            *first, end = window.first_event
            assert len(first) == window.n_steps
            assert first[0] == 0
            assert end == len(events["time"])
            assert set(events["kind"][first]) == {"observe"}
            observed = (events["kind"] == "observe") & (events["team"] == 0)
            rows = np.searchsorted(first, np.flatnonzero(observed), side="right") - 1
            seen = window.steps["observation"][:][rows]
            component = events["unit"][observed]
            assert np.array_equal(events["value"][observed], seen[np.arange(len(rows)), component])


def test_every_arrival_and_loss_names_the_row_that_sent_its_packet(recorded: Path) -> None:
    senders = {"value": ("sample", "value_tick"), "error": ("arm", "error_tick")}
    with neurosim.open(recorded) as run:
        for number, window in enumerate(run.windows):
            events = events_of(run, number)
            for direction, kinds in senders.items():
                sent = np.isin(events["kind"], kinds)
                assert set(events["cause"][sent]) <= {-1, 0}
                came = np.isin(events["kind"], [f"deliver_{direction}", f"discard_{direction}"])
                lost = events["kind"] == f"lost_{direction}"
                assert came.any()
                assert (events["cause"][came | lost] > 0).all()
                for row in np.flatnonzero(came | lost):
                    sending = row - events["cause"][row]
                    assert sent[sending]
                    assert events["cause"][sending] == 0
                    assert events["team"][sending] == events["team"][row]
                    assert events["value"][sending] == events["value"][row]
                    of_step = np.searchsorted(window.first_event, [sending, row], side="right")
                    assert of_step[0] == of_step[1]
                for row in np.flatnonzero(came):
                    sending = row - events["cause"][row]
                    assert events["unit"][sending] == events["source"][row]
                    assert events["time"][row] - events["time"][sending] >= TICKS  # delay = 1
            others = ("deliver_value", "deliver_error", "discard_value", "discard_error")
            others += ("lost_value", "lost_error", *senders["value"], *senders["error"])
            assert (events["cause"][~np.isin(events["kind"], others)] == -1).all()


def test_the_counts_of_a_step_are_those_of_its_events(recorded: Path) -> None:
    with neurosim.open(recorded) as run:
        for number, window in enumerate(run.windows):
            events = events_of(run, number)
            bounds = window.first_event
            for step in range(window.n_steps):
                rows = slice(bounds[step], bounds[step + 1])
                at = window.first_step + step
                for team, name in enumerate(("actor", "critic")):
                    kinds = events["kind"][rows][events["team"][rows] == team]
                    count = {kind: int((kinds == kind).sum()) for kind in KINDS}
                    packets = {
                        k: run.steps[f"{name}_{k}"][at]
                        for k in ("delivered", "lost", "discarded", "in_flight", "sent")
                    }
                    arrived = packets["delivered"] + packets["discarded"] + packets["in_flight"]
                    for d, what in enumerate(("value", "error")):
                        assert (
                            count[f"deliver_{what}"] + count[f"discard_{what}"] == arrived[d].sum()
                        )
                        assert count[f"lost_{what}"] == packets["lost"][d].sum()
                    assert np.array_equal(packets["sent"], arrived + packets["lost"])
                    moved, _, idle = run.steps[f"{name}_ticks"][at]
                    assert (count["value_tick"], count["idle_tick"]) == (moved, idle)


def test_the_last_value_of_each_unit_is_the_relaxed_one(recorded: Path) -> None:
    with neurosim.open(recorded) as run:
        for number, window in enumerate(run.windows):
            events = events_of(run, number)
            bounds = window.first_event
            for team, name in enumerate(("actor", "critic")):
                for step, relaxed in enumerate(window.relaxed(name)):
                    rows = slice(bounds[step], bounds[step + 1])
                    moved = np.isin(events["kind"][rows], ["sample", "value_tick"])
                    moved &= events["team"][rows] == team
                    value = dict(
                        zip(events["unit"][rows][moved], events["value"][rows][moved], strict=True)
                    )
                    assert [value[unit] for unit in range(len(relaxed))] == relaxed.tolist()


def test_totals_are_the_sums_over_all_steps(recorded: Path) -> None:
    with neurosim.open(recorded) as run:
        for team in ("actor", "critic"):
            for name, total in run[f"teams/{team}/totals"].items():
                assert np.array_equal(total[...], run.steps[f"{team}_{name}"][:].sum(axis=0))
            summary = traffic.totals(run, team)
            parts = summary.delivered + summary.lost + summary.discarded + summary.in_flight
            assert summary.sent == parts > 0
            assert summary.staleness > 1.0  # at least the delay


def test_the_file_explains_times_and_kinds_by_itself(recorded: Path) -> None:
    with h5py.File(recorded / "run.h5") as file:
        assert file.attrs["mode"].decode() == "asynchronous"
        events = file["windows/events"]
        assert events["time"].attrs["ticks_per_period"] == TICKS
        meanings = events["kind"].attrs["flag_meanings"].decode().split()
        codes = events["kind"].attrs["flag_values"]
        assert h5py.check_enum_dtype(events["kind"].dtype) == dict(
            zip(meanings, codes, strict=True)
        )


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_how_a_run_is_compressed_changes_no_bits(
    compression: str, tmp_path: Path, contents: Callable[[Path], dict[str, Any]]
) -> None:
    if compression == "lz4":
        pytest.importorskip("hdf5plugin")
    found = []
    for one in ("gzip", compression):
        storage = WINDOW | {"storage.compression": one}
        found.append(contents(neurosim.run(model(None, storage), out=tmp_path / one)))
        del found[-1]["@model"]
    assert found[0] == found[1]


def test_values_of_events_are_kept_in_single_precision_if_the_model_says_so(
    tmp_path: Path, contents: Callable[[Path], dict[str, Any]]
) -> None:
    folders = {
        values: neurosim.run(
            model(None, WINDOW | {"storage.values": values}), out=tmp_path / values
        )
        for values in ("float64", "float32")
    }
    double, single = (contents(folder) for folder in folders.values())
    for found in (double, single):
        del found["@model"], found["windows/events/value"]
    assert single == double
    exact, rounded = (neurosim.open(folder) for folder in folders.values())
    for a, b in zip(exact.windows, rounded.windows, strict=True):
        assert a.events["value"].dtype == np.float64
        assert b.events["value"].dtype == np.float32
        assert np.array_equal(a.events["value"][:].astype(np.float32), b.events["value"][:])


def test_learned_feedback_weights_are_recorded_and_stay_the_transposed_weights(
    tmp_path: Path,
) -> None:
    with neurosim.open(neurosim.run(model(None, WINDOW), out=tmp_path)) as run:
        for team in ("actor", "critic"):
            first, last = run.weights(team, "initial"), run.weights(team, "final")
            for layer in (2, 3):
                assert np.array_equal(last[f"B{layer}"], last[f"W{layer}"].T)
                assert not np.array_equal(last[f"B{layer}"], first[f"B{layer}"])
                state = run.windows[1].after(team)
                assert np.array_equal(state[f"zB{layer}"], state[f"zW{layer}"].T)


def test_the_lock_step_model_gives_the_bits_of_the_synchronous_one(
    tmp_path: Path, contents: Callable[[Path], dict[str, Any]]
) -> None:
    names = ("cartpole", "lockstep/cartpole")
    plain, lockstep = (
        contents(neurosim.run(neurosim.load(name, {"task.episodes": 3}), out=tmp_path))
        for name in names
    )
    data = [path for path in plain if "@" not in path]
    assert len(data) > 20
    assert {path: lockstep[path] for path in data} == {path: plain[path] for path in data}


def test_the_mode_is_chosen_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "async/cartpole", "--episodes", "1", "--quiet", "--out"]
    cli.main([*arguments, str(tmp_path / "a")])
    shown = capsys.readouterr().out
    assert "packets" in shown
    assert "critic 0" in shown
    cli.main(
        [
            *arguments,
            str(tmp_path / "b"),
            "--mode",
            "synchronous",
            "--set",
            "actor.step_size=0.5",
            "critic.step_size=0.5",
        ]
    )
    assert "packets" not in capsys.readouterr().out
    with neurosim.open(tmp_path / "b/async/cartpole/seed-0000") as run:
        assert run.attrs["mode"] == "synchronous"
        assert "timing" not in run.model


def test_divergence_stops_the_run_with_the_unit_and_keeps_what_there_is(tmp_path: Path) -> None:
    wild = model(
        {"clock": "synchronous", "delay": 0.25, "silent_until_first_tick": False},
        {"actor.step_size": 30.0, "actor.N": 20},
    )
    with pytest.raises(RunError, match=r"diverged at step \d+: in the actor, layer 1, unit"):
        neurosim.run(wild, out=tmp_path)
    with neurosim.open(tmp_path / "async/cartpole/seed-0000") as run:
        assert not run.complete


@pytest.mark.parametrize("key", ["rate", "broadcast_delay", "broadcast_loss"])
def test_a_list_that_does_not_fit_the_actors_output_is_refused_before_anything_is_written(
    key: str, tmp_path: Path
) -> None:
    it = model({"actor": {key: [0.5, 0.5, [0.5, 0.5, 0.5]]}})
    remedy = rf"timing.{key}\[2\] has 3 entries, but layer 3 of the actor has 2 units"
    with pytest.raises(InputError, match=remedy):
        neurosim.run(it, out=tmp_path)
    assert not list(tmp_path.iterdir())
