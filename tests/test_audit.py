"""Audits: each unit of a recorded run, rebuilt alone, has its bits; what is tampered with shows.

Windows are recorded without a file (``unwritten.py``), so that they can be altered at will; runs as
a user makes them are audited, too.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tomlkit
from bridge import TEAMS, timed_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_asynchronous import ARCHITECTURES, GAUSSIAN, OPTIONS, SEED, experience, models
from unwritten import FakeRun, FakeWindow, Recorder

import neurosim
from neurosim import cli, spec
from neurosim.audit import Report, audit
from neurosim.audit.inbox import inbox_of, read_log
from neurosim.errors import InputError
from neurosim.kernels.traffic import KINDS
from neurosim.learners import AsynchronousMapProp

N_IN, N_OUT = 3, 2


def record(model: spec.Model, seed: int = SEED) -> FakeRun:
    """Three episodes: windows at the beginning, in the middle and of the whole."""
    recorder = Recorder(model, N_IN, N_OUT, seed)
    recorder.episode(experience(6, 0), terminated=True, record=(0, 3))
    recorder.episode(experience(7, 1), terminated=False, record=(2, 5))
    recorder.episode(experience(4, 2), terminated=True, record=(0, 9))
    return recorder.run()


def assert_clean(report: Report) -> None:
    """Every value matched, and there were many."""
    assert report.mismatches == []
    assert report.n_mismatches == 0
    assert report.passed
    assert report.values > 500


# --- what matches --------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("option", OPTIONS)
def test_every_unit_is_rebuilt_from_its_inbox_with_any_option(
    option: str, architecture: str
) -> None:
    run = record(timed_model(OPTIONS[option], ARCHITECTURES[architecture]))
    report = audit(run)
    assert_clean(report)
    assert (report.windows, report.steps) == (3, 3 + 3 + 3)
    assert report.units == sum(run.windows[0].sampled(name).shape[1] for name in TEAMS)


def test_every_unit_is_rebuilt_with_a_timing_for_each_team() -> None:
    for first, second in (("poisson", "all per synapse"), ("all at once", "defaults")):
        assert_clean(audit(record(timed_model(OPTIONS[first], critic=OPTIONS[second]))))
        assert_clean(audit(record(timed_model(OPTIONS[second], GAUSSIAN, critic=OPTIONS[first]))))


@settings(
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(models(), st.integers(0, 2**63 - 1))
def test_every_unit_is_rebuilt_with_any_options_together(it: spec.Spec, seed: int) -> None:
    report = audit(record(written(it), seed))
    assert report.mismatches == []
    assert report.passed


def written(it: spec.Spec) -> spec.Model:
    """A model whose file says this."""

    def stated(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: stated(each) for key, each in node.items() if each is not None}
        return [stated(each) for each in node] if isinstance(node, list | tuple) else node

    content = stated(msgspec.to_builtins(it))
    del content["actor"]["explore"]  # a key of another rule
    return spec.parse(tomlkit.dumps(content), "any")


# --- runs as users make them ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """async/cartpole, packets that overtake each other, thirty steps of its second episode."""
    changes = {
        "task.episodes": 2,
        "learning.anneal_steps": 100,
        "timing.packet_delay": 0.5,
        "timing.reorder": "newest",
        "record": [{"episodes": [2], "steps": [0, 30]}],
    }
    model = neurosim.load("async/cartpole", changes)
    return neurosim.run(model, seed=4, out=tmp_path_factory.mktemp("audited"))


def test_all_units_of_a_run_of_cartpole_are_rebuilt(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with neurosim.open(folder) as run:
        window = run.windows[0]
        report = audit(run)
        assert report.steps == window.n_steps == 30
        assert report.values > len(window.events)
        learned = window.after("actor")["W1"] != window.before("actor")["W1"]
        assert learned.mean() > 0.9
    assert_clean(report)
    assert report.units == 64 + 32 + 2 + 64 + 32 + 1
    agents = 64 + 32 + 1 + 64 + 32 + 1
    assert report.non_local == {
        "td_error: a broadcast to all": agents * report.steps,
        "start of the clocks: common to all": agents * report.steps,
        "iterations of the run: for annealed step sizes": agents * report.steps,
        "gate: a broadcast of the critic's output to the critic": (64 + 32) * report.steps,
    }
    assert [remark.split()[1] for remark in report.remarks] == ["actor's", "critic's"]
    cli.main(["audit", str(folder)])
    said = " ".join(capsys.readouterr().out.split())
    assert f"{report.units} units in 1 windows" in said
    assert "0 mismatches" in said


def test_one_unit_is_audited_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with neurosim.open(folder) as run:
        report = audit(run, "critic", 17)
        outcomes = audit(run, "actor", 97)
    assert report.units == 1
    assert_clean(report)
    assert outcomes.units == 2  # a softmax agent is audited as a whole
    assert_clean(outcomes)
    cli.main(["audit", str(folder), "--team", "critic", "--unit", "17"])
    assert "1 units" in capsys.readouterr().out


def test_the_command_fails_where_something_was_altered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def altered(self: Any, team: str) -> Any:
        state = original(self, team)
        state["W2"][3, 5] += 1e-9
        return state

    original = neurosim.record.Window.before
    monkeypatch.setattr(neurosim.record.Window, "before", altered)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["audit", str(folder), "--team", "actor"])
    assert stopped.value.code == 1
    assert "mismatches" in capsys.readouterr().out


# --- negative controls ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def honest() -> FakeRun:
    """A run in which packets overtake each other and are lost."""
    timing = OPTIONS["packet_delay"] | {"feedback": "kolen_pollack", "loss": 0.1, "window": 12.0}
    return record(timed_model(timing))


def rows(window: FakeWindow, kind: str, team: int = 0, step: int = 1) -> np.ndarray[Any, Any]:
    """Rows of a kind, of a team in a step."""
    events, (first, end) = window.events, window.first_event[step : step + 2]
    found = np.flatnonzero((events["kind"] == KINDS.index(kind)) & (events["team"] == team))
    return found[(found >= first) & (found < end)]


def remove(window: FakeWindow, row: int) -> None:
    """Take a row out of the log; causes still lead where they led."""
    events = window.events
    n = len(events["time"])
    origin = np.arange(n) - events["cause"]
    across = (np.arange(n) > row) & (events["cause"] > 0) & (origin < row)
    events["cause"][across] -= 1
    for name, column in events.items():
        events[name] = np.delete(column, row)
    window.first_event[window.first_event > row] -= 1


def nudge(array: np.ndarray[Any, Any], index: Any) -> None:
    """The next larger number."""
    array[index] = np.nextafter(array[index], np.inf)


def a_payload(window: FakeWindow) -> dict[str, Any]:
    row = rows(window, "deliver_error")[20]
    nudge(window.events["value"], row)
    return {"kind": "deliver_error", "what": "value", "row": row}


def a_payload_and_what_was_sent(window: FakeWindow) -> dict[str, Any]:
    row = rows(window, "deliver_value", team=1)[20]
    origin = row - window.events["cause"][row]
    for each in (row, origin):
        nudge(window.events["value"], each)
    return {"kind": KINDS[window.events["kind"][origin]], "what": "value", "row": origin}


def a_broadcast(window: FakeWindow) -> dict[str, Any]:
    row = rows(window, "broadcast")[2]
    unit = window.events["unit"][row]
    remove(window, row)
    return {"kind": "broadcast", "what": "missing", "unit": unit}


def a_second_broadcast(window: FakeWindow) -> dict[str, Any]:
    first, second = rows(window, "broadcast")[2:4]
    window.events["unit"][second] = window.events["unit"][first]
    return {"kind": "broadcast", "what": "unexpected"}


def a_broadcasts_td_error(window: FakeWindow) -> dict[str, Any]:
    row = rows(window, "broadcast", team=1)[4]
    nudge(window.events["value"], row)
    return {"kind": "broadcast", "what": "value", "row": row}


def a_value_tick(window: FakeWindow) -> dict[str, Any]:
    row = rows(window, "value_tick")[5]
    nudge(window.events["value"], row)
    unit = window.events["unit"][row]
    return {"kind": "value_tick", "what": "value", "row": row, "unit": unit}


def a_tick_that_is_gone(window: FakeWindow) -> dict[str, Any]:
    row = rows(window, "value_tick")[5]
    unit = window.events["unit"][row]
    remove(window, row)
    return {"kind": "value_tick", "what": "missing", "unit": unit}


def a_ticks_time(window: FakeWindow) -> dict[str, Any]:
    row = rows(window, "error_tick", team=1)[3]
    window.events["time"][row] += 1
    return {"kind": "error_tick", "unit": window.events["unit"][row]}


def whether_a_packet_was_sent(window: FakeWindow) -> dict[str, Any]:
    row = rows(window, "trace")[3]
    window.events["cause"][row] = 0
    return {"kind": "trace", "what": "packet sent", "row": row}


def a_delivery_that_is_gone(window: FakeWindow) -> dict[str, Any]:
    row = rows(window, "deliver_value")[12]
    origin = row - window.events["cause"][row]
    remove(window, row)
    return {"what": "arrivals", "row": origin}


def a_delivery_that_comes_twice(window: FakeWindow) -> dict[str, Any]:
    first, second = rows(window, "deliver_value")[12:14]
    for name in ("value", "source"):
        window.events[name][second] = window.events[name][first]
    window.events["cause"][second] = second - first + window.events["cause"][first]
    return {"kind": "deliver_value", "what": "unexpected", "row": second}


def two_deliveries_swapped_in_time(window: FakeWindow) -> dict[str, Any]:
    events, all_of_them = window.events, rows(window, "deliver_error")
    first, second = next(
        (a, b)
        for a, b in pairwise(all_of_them)
        if events["source"][a] != events["source"][b] and b - events["cause"][b] < a
    )
    origins = [row - events["cause"][row] for row in (first, second)]
    for name in ("value", "source"):
        events[name][[first, second]] = events[name][[second, first]]
    events["cause"][first], events["cause"][second] = first - origins[1], second - origins[0]
    return {"kind": "deliver_error", "what": "time"}


def a_lost_packet_that_arrives(window: FakeWindow) -> dict[str, Any]:
    row = rows(window, "lost_value")[0]
    events = window.events
    events["kind"][row], events["source"][row] = KINDS.index("deliver_value"), events["unit"][row]
    events["unit"][row] = -1
    return {"kind": "deliver_value", "what": "kind", "row": row}


def an_observation(window: FakeWindow) -> dict[str, Any]:
    row = rows(window, "observe")[1]
    nudge(window.events["value"], row)
    return {"kind": "observe", "what": "value", "row": row}


def a_gate(window: FakeWindow) -> dict[str, Any]:
    row = rows(window, "gate", team=1)[0]
    nudge(window.events["value"], row)
    return {"kind": "gate", "what": "value", "row": row}


def a_trace(window: FakeWindow) -> dict[str, Any]:
    row = rows(window, "trace", team=1)[2]
    nudge(window.events["value"], row)
    return {"kind": "trace", "what": "value", "row": row}


def a_row_of_nobody(window: FakeWindow) -> dict[str, Any]:
    row = rows(window, "value_tick")[5]
    window.events["unit"][row] = 4000
    return {"kind": "value_tick", "what": "unexpected", "row": row, "unit": 4000}


def a_weight_before(window: FakeWindow) -> dict[str, Any]:
    nudge(window.before("actor")["W2"], (2, 3))
    return {"team": "actor", "unit": 5 + 2}


def a_weight_after(window: FakeWindow) -> dict[str, Any]:
    nudge(window.after("critic")["W1"], (3, 1))
    return {"kind": "after W1[3, 1]", "unit": 3, "team": "critic"}


def a_feedback_weight_after(window: FakeWindow) -> dict[str, Any]:
    nudge(window.after("actor")["B2"], (1, 3))
    return {"kind": "after B2[1, 3]", "unit": 1}


def a_trace_after(window: FakeWindow) -> dict[str, Any]:
    nudge(window.after("actor")["zb3"], 1)
    return {"kind": "after zb3[1]", "unit": 10}


def a_moment_before(window: FakeWindow) -> dict[str, Any]:
    nudge(window.before("critic")["vW2"], (0, 0))
    return {"kind": "after vW2[0, 0]", "unit": 4}


def what_a_mailbox_holds_after(window: FakeWindow) -> dict[str, Any]:
    nudge(window.after("actor")["heard"], N_IN + 2)
    return {"kind": "after value held from 2"}


def a_count_of_updates(window: FakeWindow) -> dict[str, Any]:
    window.before("actor")["adam_count"][4] += 1
    return {"team": "actor", "unit": 4}


def the_count_of_passes(window: FakeWindow) -> dict[str, Any]:
    window.after("critic")["passes"] = window.after("critic")["passes"] + 1
    return {"kind": "after passes", "team": "critic"}


def two_columns_of_values(window: FakeWindow) -> dict[str, Any]:
    sampled = window.sampled("actor")
    sampled[:, [1, 2]] = sampled[:, [2, 1]]
    return {"kind": "sampled", "unit": 1}


def two_columns_of_weights(window: FakeWindow) -> dict[str, Any]:
    W = window.before("critic")["W1"]
    W[:, [0, 1]] = W[:, [1, 0]]
    return {"kind": "sample", "what": "value", "team": "critic"}


ALTERED = (
    a_payload,
    a_payload_and_what_was_sent,
    a_broadcast,
    a_second_broadcast,
    a_broadcasts_td_error,
    a_value_tick,
    a_tick_that_is_gone,
    a_ticks_time,
    whether_a_packet_was_sent,
    a_delivery_that_is_gone,
    a_delivery_that_comes_twice,
    two_deliveries_swapped_in_time,
    a_lost_packet_that_arrives,
    an_observation,
    a_gate,
    a_trace,
    a_row_of_nobody,
    a_weight_before,
    a_weight_after,
    a_feedback_weight_after,
    a_trace_after,
    a_moment_before,
    what_a_mailbox_holds_after,
    a_count_of_updates,
    the_count_of_passes,
    two_columns_of_values,
    two_columns_of_weights,
)


def test_the_run_that_is_altered_was_clean(honest: FakeRun) -> None:
    assert_clean(audit(honest))


@pytest.mark.parametrize("alter", ALTERED, ids=lambda alter: alter.__name__)
def test_whatever_is_altered_is_detected_and_named(
    honest: FakeRun, alter: Callable[[FakeWindow], dict[str, Any]]
) -> None:
    run = honest.copy()
    expected = alter(run.windows[1]) | {"window": 1}
    report = audit(run)
    assert not report.passed
    assert report.n_mismatches >= len(report.mismatches) > 0
    assert any(
        all(getattr(mismatch, name) == x for name, x in expected.items())
        for mismatch in report.mismatches
    ), report.mismatches


@pytest.mark.parametrize("column", ["td_error", "value", "reward", "observation"])
def test_steps_that_are_altered_are_detected(honest: FakeRun, column: str) -> None:
    run = honest.copy()
    window = run.windows[1]
    run.steps[column][window.first_step + 1] += 1e-3
    report = audit(run)
    assert not report.passed
    assert {mismatch.window for mismatch in report.mismatches} == {1}


def test_a_report_keeps_the_first_mismatches_and_counts_all(honest: FakeRun) -> None:
    run = honest.copy()
    for window in run.windows:
        window.before("actor")["W1"] += 1e-3
    report = audit(run)
    assert len(report.mismatches) == 20
    assert report.n_mismatches > 1000


# --- locality ------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["kolen_pollack", "all at once", "kolen_pollack per synapse"])
@pytest.mark.parametrize(
    ("name", "unit"), [("actor", 1), ("actor", 6), ("actor", 10), ("critic", 2)]
)
def test_what_a_unit_may_not_read_changes_nothing(
    option: str, name: str, unit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neurosim.audit.report.KEPT", 10**6)
    run = record(timed_model(OPTIONS[option]))
    expected = audit(run, name, unit)
    assert_clean(expected)
    for window in run.windows:
        hide(window, name, unit)
    found = audit(run, name, unit)
    assert found.values == expected.values
    # Of senders that are nan the wires say so; of the unit itself nothing has changed.
    about_packets = ("deliver", "discard", "lost")
    assert all(mismatch.kind.startswith(about_packets) for mismatch in found.mismatches)
    assert found.n_mismatches == len(found.mismatches) > 0


SIZES = {"actor": [N_IN, 5, 4, 2], "critic": [N_IN, 4, 3, 1]}


def hide(window: FakeWindow, name: str, unit: int) -> None:
    """Nan in all states but an agent's own, and in all rows that are not its own and tell it
    nothing."""
    events, units = window.events, [9, 10] if (name, unit) == ("actor", 10) else [unit]
    kind = np.array(KINDS)[events["kind"]]
    to_several = np.char.startswith(kind, "deliver") | np.isin(kind, ["observe", "gate"])
    reads = (events["team"] == TEAMS.index(name)) & (to_several | np.isin(events["unit"], units))
    events["value"][~reads] = np.nan
    for team in TEAMS:
        for values in ("sampled", "relaxed"):
            array = window.values[team, values]
            array[:, ~np.isin(np.arange(array.shape[1]), units if team == name else [])] = np.nan
        for when in ("before", "after"):
            for key, array in window.states[team, when].items():
                if array.dtype == np.float64:
                    own = own_entries(key, array, name, units) if team == name else False
                    array[~(np.zeros(array.shape, bool) | own)] = np.nan


def own_entries(key: str, array: np.ndarray[Any, Any], name: str, units: list[int]) -> Any:
    """Which entries of a team's state are those of an agent."""
    sizes = SIZES[name]
    start = np.cumsum([0, *sizes])  # of each layer, inputs included
    places = [N_IN + u for u in units]
    layer = int(np.searchsorted(start, places[0], "right")) - 1
    rows = [place - start[layer] for place in places]
    mask = np.zeros(array.shape, bool)
    above = slice(start[layer + 1], (*start, 0)[layer + 2])
    if key == "heard":
        mask[start[layer - 1] : start[layer]] = True
        mask[start[-1] :][above] = True
    elif key == "slot":
        parameters = [n * (m + 1) for m, n in pairwise(sizes)]
        offset = np.cumsum([0, 0, *parameters])  # of W1, b1, W2, ... by layer
        for i in rows:
            n = sizes[layer - 1]
            mask[offset[layer] + i * n :][:n] = True
            if layer < len(sizes) - 1:
                m = sizes[layer + 1]
                mask[offset[-1] + offset[layer + 1] + i * m :][:m] = True
    elif int(key[-1]) == layer + (key[-2] == "B"):
        mask[rows] = True
    return mask


def test_a_unit_does_not_read_the_values_of_its_own_rows() -> None:
    model = timed_model({})
    window, team = (
        record(model).windows[0],
        AsynchronousMapProp(model.spec, N_IN, N_OUT, SEED).actor,
    )
    mail, own = inbox_of(read_log(window), team, 1, 2, 3)
    assert own.value.size > 0
    assert np.all(np.isnan(mail.value[mail.own == 1]))
    assert np.all(np.isfinite(mail.value[mail.own == 0]))


# --- what is not local ---------------------------------------------------------------------------


def test_weights_above_are_given_to_symmetric_units_and_named() -> None:
    run = record(timed_model({}))
    report = audit(run)
    hidden = {"actor": 5 * 4 + 4 * 2, "critic": 4 * 3 + 3 * 1}  # weights between layers
    # All of them at each of three windows' beginnings, and after each update of it.
    updates = (3 - 1) + 3 + (3 - 1)
    weights = sum(hidden.values()) * (3 + updates)
    assert report.non_local["weights of the units above: feedback = symmetric"] == weights
    assert report.non_local["gate: a broadcast of the critic's output to the critic"] == 7 * 9
    assert not any("step sizes" in what for what in report.non_local)
    assert report.remarks == []


def test_signs_above_are_named_and_random_feedback_has_nothing_to_name() -> None:
    signs = "signs of the weights above: feedback = sign_symmetric"
    assert signs in audit(record(timed_model({"feedback": "sign_symmetric"}))).non_local
    for feedback in ("random", "kolen_pollack"):
        report = audit(record(timed_model({"feedback": feedback})))
        assert len(report.non_local) == 3  # two broadcasts and the start of the clocks
        assert len(report.remarks) == (2 if feedback == "kolen_pollack" else 0)


def test_a_unit_that_is_given_weights_above_is_audited_behind_those() -> None:
    run = record(timed_model({}))
    report = audit(run, "actor", 3)
    assert_clean(report)
    assert report.units == 1 + 4 + 2
    assert audit(record(timed_model({"feedback": "random"})), "actor", 3).units == 1


# --- what cannot be audited ----------------------------------------------------------------------


def synchronous(run: FakeRun) -> None:
    run.attrs["mode"] = "synchronous"


def no_windows(run: FakeRun) -> None:
    run.windows.clear()


def float32(run: FakeRun) -> None:
    run.windows[0].events["value"] = run.windows[0].events["value"].astype(np.float32)


def diverged(run: FakeRun) -> None:
    run.windows[2].complete = False


def without_before(run: FakeRun) -> None:
    run.windows[1].before("actor").clear()


def without_mailboxes(run: FakeRun) -> None:
    del run.windows[1].before("critic")["heard"]


def of_other_layers(run: FakeRun) -> None:
    run.windows[0].after("actor")["W1"] = np.zeros((2, 2))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (synchronous, "mode = 'synchronous'"),
        (no_windows, "no windows"),
        (float32, "storage.values = 'float32'"),
        (diverged, "Window 2 has a missing checkpoint, the state after it"),
        (without_before, "Window 1 has a missing checkpoint: actor/before/W1 is not there"),
        (without_mailboxes, "critic/before/heard is not there"),
        (of_other_layers, r"actor/after/W1 is \(2, 2\), and must be \(5, 3\)"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_what_cannot_be_audited_is_refused(
    honest: FakeRun, spoil: Callable[[FakeRun], None], said: str
) -> None:
    run = honest.copy()
    spoil(run)
    with pytest.raises(InputError, match=said):
        audit(run)


def test_a_team_or_a_unit_that_there_is_not_is_refused(honest: FakeRun) -> None:
    with pytest.raises(InputError, match="team = 'referee'"):
        audit(honest, "referee")
    with pytest.raises(InputError, match="unit = 8: the critic has the units 0 to 7"):
        audit(honest, "critic", 8)
    with pytest.raises(InputError, match="unit = -1"):
        audit(honest, "actor", -1)


def test_the_command_refuses_a_synchronous_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = neurosim.load("cartpole", {"task.episodes": 1})
    with pytest.raises(SystemExit) as stopped:
        cli.main(["audit", str(neurosim.run(model, out=tmp_path))])
    assert stopped.value.code == 2
    assert "mode = 'synchronous'" in capsys.readouterr().err
