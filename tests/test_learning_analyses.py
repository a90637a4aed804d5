"""Relaxation, alignment with backprop and feedback angles of recorded runs, and their figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from bridge import TEAMS, settings_of
from numpy.testing import assert_allclose
from test_replay import MIDDLE, POISSON, recorded
from test_theory import backprop, backprop_of_log_pi, reparameterised

import neurosim
from neurosim.analysis.alignment import Alignment, alignment
from neurosim.analysis.feedback import angle, feedback_angles
from neurosim.analysis.relaxation import Relaxation, relaxation
from neurosim.analysis.replay import Step, replay
from neurosim.errors import InputError
from neurosim.plots import alignment as alignment_figure
from neurosim.plots import feedback as feedback_figure
from neurosim.plots import relaxation as relaxation_figure
from neurosim.record.reader import Run
from neurosim.spec import parse

SETTLED = {"actor.N": 3000, "critic.N": 3000, "actor.step_size": 0.1, "critic.step_size": 0.1}
GAUSSIAN = {
    "task.id": "MountainCarContinuous-v0",
    "task.episodes": 1,
    "task.options": {"max_episode_steps": 12},
    "actor.output": "gaussian",
    "actor.T": None,
    "actor.var": [0.3, 0.5, 0.4],
}
RANDOM = POISSON | {"feedback": "random"}


def settings_in(run: Run, name: str) -> oracle.Settings:
    spec = parse(run.model, "small").spec
    n_in = run.steps["observation"].shape[1]
    gaussian = name == "critic" or spec.actor.output == "gaussian"
    return settings_of(spec, name, n_in, 1 if gaussian else 2)


# --- relaxation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEAMS)
@pytest.mark.parametrize("timing", [None, POISSON], ids=["synchronous", "asynchronous"])
def test_energy_and_residual_of_each_tick(
    tmp_path: Path, name: str, timing: dict[str, Any] | None
) -> None:
    with recorded(tmp_path, timing=timing, windows=MIDDLE) as run:
        found, steps = relaxation(run, name), list(replay(run, name))
        settings = settings_in(run, name)
        rows = np.concatenate([w.first_step + np.arange(w.n_steps) for w in run.windows])
    assert np.array_equal(found.row, rows)
    assert found.energy.shape == found.residual.shape == (rows.size, 5)
    for k, step in enumerate(steps):
        state = oracle.new_state(step.network.W, step.network.b)
        for tick in range(5):
            H = [layer[tick] for layer in step.path]
            expected = oracle.energy(settings, state, H)
            assert_allclose(found.energy[k, tick], expected, rtol=1e-12)
            # one more iteration moves h by c var dE/dh
            once = oracle.Settings(**{**vars(settings), "N": 1, "stale_first_mean": False})
            moves = [
                (after - before) / (settings.step_size * np.sqrt(var))
                for before, after, var in zip(
                    H[1:-1], oracle.relax(once, state, H)[1:-1], settings.var, strict=False
                )
            ]
            rms = np.sqrt(np.mean(np.concatenate(moves) ** 2))
            assert_allclose(found.residual[k, tick], rms, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", TEAMS)
def test_the_energy_falls_and_the_units_settle(tmp_path: Path, name: str) -> None:
    changes = {f"{name}.N": 60, f"{name}.step_size": 0.2}
    with recorded(tmp_path, changes, windows=MIDDLE) as run:
        found = relaxation(run, name)
    assert np.all(np.diff(found.energy, axis=1) < 1e-12)
    assert np.all(found.residual[:, 0] > 0.1)
    assert np.all(found.residual[:, -1] < 1e-3 * found.residual[:, 0])


# --- alignment -----------------------------------------------------------------------------------


def backprops(settings: oracle.Settings, step: Step, name: str) -> list[np.ndarray]:
    """Backprop's gradient of each layer by complex steps, where the relaxation has ended."""
    state = oracle.new_state(step.network.W, step.network.b)
    if name == "actor":
        found = backprop_of_log_pi(settings, state, step.relaxed)
    else:
        last = reparameterised(settings, state, step.relaxed)
        found = backprop(lambda W, b: complex(last(W, b)[0]) / settings.var[-1], state)
    return [np.column_stack(pair) for pair in zip(found.W, found.b, strict=True)]


def local(settings: oracle.Settings, step: Step) -> list[np.ndarray]:
    """What the oracle's trace takes up."""
    state = oracle.new_state(step.network.W, step.network.b)
    oracle.accumulate(settings, state, step.relaxed)
    return [np.column_stack(pair) for pair in zip(state.zW, state.zb, strict=True)]


def cosine_and_ratio(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    sizes = np.linalg.norm(a), np.linalg.norm(b)
    return np.sum(a * b) / (sizes[0] * sizes[1]), sizes[0] / sizes[1]


@pytest.mark.parametrize("name", TEAMS)
@pytest.mark.parametrize("changes", [{}, GAUSSIAN], ids=["softmax", "gaussian"])
def test_cosine_and_ratio_of_each_layer_and_unit(
    tmp_path: Path, name: str, changes: dict[str, Any]
) -> None:
    with recorded(tmp_path, {**changes, "critic.gate_floor": 0.0}) as run:
        found, steps = alignment(run, name), list(replay(run, name))
        settings = settings_in(run, name)
    assert found.cosine.shape == (len(steps), 3)
    assert np.array_equal(found.layer, np.repeat([1, 2, 3], settings.sizes[1:]))
    assert np.all(np.min(found.cosine[:, :2], axis=0) < 0.99)  # after 4 iterations
    for k, step in enumerate(steps):
        pairs = zip(local(settings, step), backprops(settings, step, name), strict=True)
        first = 0
        for l, (ours, theirs) in enumerate(pairs):
            cosine, ratio = cosine_and_ratio(ours, theirs)
            assert_allclose(found.cosine[k, l], cosine, rtol=0, atol=1e-8)
            assert_allclose(found.ratio[k, l], ratio, rtol=1e-7)
            for i in range(len(ours)):
                cosine, ratio = cosine_and_ratio(ours[i], theirs[i])
                assert_allclose(found.unit_cosine[k, first + i], cosine, rtol=0, atol=1e-7)
                assert_allclose(found.unit_ratio[k, first + i], ratio, rtol=1e-6)
            first += len(ours)


@pytest.mark.parametrize("name", TEAMS)
@pytest.mark.parametrize("changes", [{}, GAUSSIAN], ids=["softmax", "gaussian"])
def test_settled_teams_have_backprops_gradient(
    tmp_path: Path, name: str, changes: dict[str, Any]
) -> None:
    # Theorems 2 and 3
    with recorded(tmp_path, {**changes, **SETTLED, "critic.gate_floor": 0.0}) as run:
        found = alignment(run, name)
    assert found.row.size >= 12
    assert_allclose(found.cosine, 1.0, rtol=0, atol=1e-9)
    assert_allclose(found.ratio, 1.0, rtol=0, atol=1e-6)
    assert_allclose(found.unit_cosine, 1.0, rtol=0, atol=1e-6)
    assert_allclose(found.unit_ratio, 1.0, rtol=0, atol=1e-5)


def test_units_that_settle_by_random_feedback_do_not(tmp_path: Path) -> None:
    changes = {"actor.N": 60, "critic.N": 60}
    with recorded(tmp_path, changes, timing=RANDOM, windows=MIDDLE) as run:
        found = alignment(run, "actor")
    assert np.all(found.cosine[:, :2] < 0.9)
    assert_allclose(found.cosine[:, 2], 1.0, rtol=0, atol=1e-6)


def test_a_gradient_of_zero_has_no_direction(tmp_path: Path) -> None:
    changes = {"actor.activation": ["relu", "relu"], "actor.var": [0.3, 20.0]}
    with recorded(tmp_path, changes) as run:
        found, steps = alignment(run, "actor"), list(replay(run, "actor"))
    dead = np.array([np.concatenate([(g == 0).all(axis=1) for g in s.gradient]) for s in steps])
    assert dead.any()
    assert np.isnan(found.unit_cosine[dead]).all()
    assert np.isnan(found.unit_ratio[dead]).all()
    assert np.isfinite(found.unit_cosine[~dead]).all()


# --- feedback ------------------------------------------------------------------------------------


def degrees(a: np.ndarray, b: np.ndarray) -> float:
    cosine = np.sum(a * b) / np.sqrt(np.sum(a**2) * np.sum(b**2))
    return np.degrees(np.arccos(cosine))


def test_angles_of_vectors() -> None:
    a = np.array([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [1.0, 0.0], [0.1, 0.3]])
    b = np.array([[0.0, 3.0], [1.0, 1.0], [-1.0, 0.0], [1.0, 1e-9], [0.2, 0.6]])
    expected = [90.0, 45.0, 180.0, np.degrees(1e-9), 0.0]
    assert_allclose(angle(a, b), expected, rtol=1e-7, atol=1e-14)
    assert np.isnan(angle(np.zeros(2), np.ones(2)))


@pytest.mark.parametrize("name", TEAMS)
def test_feedback_angles_are_those_of_the_recorded_weights(tmp_path: Path, name: str) -> None:
    timing = POISSON | {"feedback": "kolen_pollack", "feedback_alignment": 0.3}
    with recorded(tmp_path, timing=timing, windows=MIDDLE) as run:
        found = feedback_angles(run, name)
        moments = [run.weights(name, "initial")]
        for window in run.windows:
            moments += [window.before(name), window.after(name)]
        moments.append(run.weights(name, "final"))
        lengths = run.episodes["length"][:]
    for k, weights in enumerate(moments):
        for l in (2, 3):
            B, W = weights[f"B{l}"], weights[f"W{l}"]
            assert_allclose(found.layer[k, l - 2], degrees(B, W.T), rtol=1e-9)
            for j in range(len(B)):
                if W.shape[0] > 1:  # the arc cosine of -1 or 1 is off by 1e-6
                    expected = degrees(B[j], W[:, j])
                    assert_allclose(found.unit[l - 2][k, j], expected, rtol=1e-6)
    ends = [1 + min(1, 8 / lengths[1]), 2 + min(1, 8 / lengths[2])]
    episodes = [0, 1 + 3 / lengths[1], ends[0], 2 + 3 / lengths[2], ends[1], 3]
    assert_allclose(found.episode, episodes)


@pytest.mark.parametrize("timing", [None, POISSON, POISSON | {"feedback": "kolen_pollack"}])
def test_transposed_weights_have_no_angle(tmp_path: Path, timing: dict[str, Any] | None) -> None:
    with recorded(tmp_path, timing=timing, windows=MIDDLE) as run:
        for name in TEAMS:
            found = feedback_angles(run, name)
            assert found.layer.shape == (6, 2)
            assert not found.layer.any()
            assert not any(units.any() for units in found.unit)


@pytest.mark.parametrize("timing", [None, RANDOM], ids=["synchronous", "asynchronous"])
def test_windows_that_were_recorded_later_take_their_place(
    tmp_path: Path, timing: dict[str, Any] | None
) -> None:
    recorded(tmp_path, timing=timing, windows=MIDDLE).close()
    neurosim.rerecord(tmp_path / "small" / "seed-0007", 1, (2, 5))
    with neurosim.open(tmp_path / "small" / "seed-0007") as run:
        assert [window.episode for window in run.windows] == [2, 3, 1]
        found, length = feedback_angles(run, "actor"), run.episodes["length"][0]
        assert relaxation(run, "critic").row.tolist()[-3:] == [2, 3, 4]
    assert_allclose(found.episode[:3], [0, 2 / length, 5 / length])
    assert np.all(np.diff(found.episode) >= 0)


def test_a_team_that_is_none_has_no_angles(tmp_path: Path) -> None:
    with recorded(tmp_path, windows=[]) as run, pytest.raises(InputError, match="actors"):
        feedback_angles(run, "actors")


# --- figures -------------------------------------------------------------------------------------


def test_relaxations_are_drawn_by_their_medians() -> None:
    values = np.array([[2.0, 1.0, 0.5], [6.0, 3.0, 1.5], [4.0, 2.0, 1.0]])
    found = {"actor": Relaxation(np.arange(3), values, 10 * values)}
    left, right = relaxation_figure.draw({"a": found, "b": found}).axes
    assert [line.get_label() for line in left.lines] == ["a", "b"]
    assert_allclose(left.lines[0].get_ydata(), [0.0, -2.0, -3.0])
    assert_allclose(right.lines[0].get_ydata(), [40.0, 20.0, 10.0])
    assert right.get_yscale() == "log"
    assert "nats" in left.get_ylabel()
    assert "standard deviations" in right.get_ylabel()


def test_alignments_are_drawn_layer_by_layer() -> None:
    values = np.array([[0.1, 0.9], [0.3, 0.9], [0.8, np.nan]])
    found = {"critic": Alignment(np.arange(3), values, 2 * values, *[values] * 3)}
    left, right = alignment_figure.draw({"a": found}).axes
    assert_allclose(left.lines[0].get_xydata(), [[1.0, 0.3], [2.0, 0.9]])
    assert_allclose(right.lines[0].get_ydata(), [0.6, 1.8])


def test_feedback_is_drawn_for_each_team_and_layer(tmp_path: Path) -> None:
    with recorded(tmp_path, timing=RANDOM, windows=MIDDLE) as run:
        found = {name: feedback_angles(run, name) for name in TEAMS}
    figure = feedback_figure.draw({"a": found})
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [f"{name}, from layer {l} down to {l - 1}" for l in (2, 3) for name in TEAMS]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a"]
    for axes, name, l in zip(figure.axes, TEAMS * 2, (0, 0, 1, 1), strict=True):
        assert np.array_equal(axes.lines[0].get_xdata(), found[name].episode)
        assert np.array_equal(axes.lines[0].get_ydata(), found[name].layer[:, l])
