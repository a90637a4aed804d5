"""Runs that begin with the weights with which a run of another model ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_array_equal

import neurosim
from neurosim import cli, experiment, rerecording, spec
from neurosim.errors import InputError, Interrupted
from neurosim.spec import TEAMS

SMALL = {"actor.units": [6, 5], "critic.units": [5, 4], "actor.N": 4, "critic.N": 4}
BEFORE = {"task.episodes": 4, **SMALL}
# What makes of async/cartpole the lock-step limit, with the values of cartpole.
LOCK_STEP = {
    "actor.step_size": 0.5,
    "critic.step_size": 0.5,
    "critic.var": [0.03, 0.1, 0.1],
    "timing.clock": "synchronous",
    "timing.delay": 0.25,
    "timing.feedback": "symmetric",
    "timing.silent_until_first_tick": False,
}
FROZEN = {"actor.alpha": [0.0] * 3, "critic.alpha": [0.0] * 3}


def after(name: str, before: str, more: dict[str, Any] | None = None) -> neurosim.Model:
    """A small model of three episodes that begins where another one ended."""
    initial = {"initial.model": before, "initial.set": BEFORE}
    return neurosim.load(name, {"task.episodes": 3, **SMALL, **initial, **(more or {})})


@pytest.mark.parametrize("name", ["cartpole", "async/cartpole"])
@pytest.mark.parametrize("before", ["cartpole", "async/cartpole", "backprop/cartpole"])
def test_the_first_weights_are_the_last_ones_of_the_run_before(
    name: str, before: str, tmp_path: Path
) -> None:
    plain = {key: value for key, value in BEFORE.items() if not key.endswith(".N")}
    own = {"initial.set": plain} if before.startswith("backprop") else {}  # which does not relax
    model = after(name, before, own)
    first = spec.predecessor(model)
    assert first is not None
    with neurosim.open(neurosim.run(model, 3, tmp_path)) as run:
        earlier = tmp_path / first.name / "seed-0003"
        assert experiment.is_complete(earlier)
        with neurosim.open(earlier) as source:
            for team in TEAMS:
                found, expected = run.weights(team, "initial"), source.weights(team, "final")
                for key in ("W1", "b1", "W2", "b2", "W3", "b3"):
                    assert_array_equal(found[key][...], expected[key][...])
                if name == "async/cartpole":
                    assert_array_equal(found["B2"][...], expected["W2"][...].T)


def test_the_lock_step_limit_goes_on_from_the_same_weights_to_the_same_bits(
    tmp_path: Path, contents: Callable[[Path], dict[str, Any]]
) -> None:
    runs = [
        neurosim.run(after("cartpole", "cartpole"), 1, tmp_path / "a"),
        neurosim.run(after("async/cartpole", "cartpole", LOCK_STEP), 1, tmp_path / "b"),
    ]
    found = []
    for folder in runs:
        with neurosim.open(folder) as run:
            weights = [run.weights(team, "final") for team in TEAMS]
            found.append(
                [run.steps["td_error"][:], *(w[k][...] for w in weights for k in ("W1", "b3"))]
            )
    for a, b in zip(*found, strict=True):
        assert_array_equal(a, b)


def test_without_learning_both_modes_act_alike(tmp_path: Path) -> None:
    """Values of the sampling wave do not depend on clocks and delays."""
    actions = []
    for more in (LOCK_STEP, {"timing.delay": 3.0, "timing.rate_spread": 1.0}):
        model = after("async/cartpole", "async/cartpole", {**FROZEN, **more})
        with neurosim.simulate(model, 2) as run:
            actions.append(run.steps["action"][:])
            first, last = run.weights("actor", "initial"), run.weights("actor", "final")
            assert_array_equal(first["W2"][...], last["W2"][...])
    assert_array_equal(*actions)
    assert set(actions[0]) == {0, 1}


def test_in_memory_on_disk_and_stopped_on_the_way_the_run_is_the_same(
    tmp_path: Path, contents: Callable[[Path], dict[str, Any]]
) -> None:
    model = after("async/cartpole", "cartpole")
    whole = neurosim.run(model, 5, tmp_path / "whole")
    with pytest.raises(Interrupted):
        neurosim.run(model, 5, tmp_path / "stopped", on_episode=lambda episode: True)
    stopped = experiment.run_folder(model, 5, tmp_path / "stopped")
    neurosim.resume(stopped)
    assert contents(stopped) == contents(whole)
    with neurosim.open(whole) as on_disk, neurosim.simulate(model, 5) as in_memory:
        assert_array_equal(on_disk.steps["value"][:], in_memory.steps["value"][:])
        assert_array_equal(on_disk.steps["action"][:], in_memory.steps["action"][:])


def test_the_first_episode_can_be_recorded_afterwards(tmp_path: Path) -> None:
    """Without checkpoints a replay begins with the recorded first weights, not with drawn ones."""
    folder = neurosim.run(after("cartpole", "async/cartpole"), 0, tmp_path)
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    added = rerecording.rerecord(folder, 2, (0, 3))
    assert added.first_episode == 1
    with neurosim.open(folder) as run:
        assert run.windows[0].n_steps == 3


def test_a_run_that_has_no_first_weights_yet_is_begun_again(tmp_path: Path) -> None:
    model = after("cartpole", "cartpole")
    folder = neurosim.run(model, 0, tmp_path)
    with neurosim.open(folder) as run:
        values = run.steps["value"][:]
    for path in [folder / "run.h5", *(folder / "checkpoints").iterdir()]:
        path.unlink()  # as if it had been killed before its first checkpoint
    with pytest.raises(InputError, match="again with --force"):
        neurosim.resume(folder)
    experiment.make(model, 0, tmp_path)
    with neurosim.open(folder) as run:
        assert_array_equal(run.steps["value"][:], values)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"initial.model": "cartpol"}, "There is no model 'cartpol'"),
        ({"initial.model": "cartpole", "initial.set": {"actor.M": 3}}, "actor.M"),
        ({"initial.model": "multiplexer/map_prop", "initial.set": {}}, "one of Algorithm 1"),
        ({"initial.model": "cartpole", "initial.set": {}}, r"\[64, 32\], not \[5, 4\]"),
        ({"initial.model": "acrobot"}, r"are \(6, 3\), not \(4, 2\)"),
        (
            {"initial.set": BEFORE | {"initial.model": "cartpole", "initial.set": BEFORE}},
            "weights of another model itself",
        ),
    ],
)
def test_a_model_that_cannot_be_begun_with_is_refused_before_anything_runs(
    changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    model = after("cartpole", "cartpole", changes)
    for act in (neurosim.simulate, lambda model: neurosim.run(model, out=tmp_path)):
        with pytest.raises(InputError, match=problem):
            act(model)
    assert not list(tmp_path.iterdir())


def test_algorithm_1_has_no_run_before() -> None:
    with pytest.raises(InputError, match=r"initial.*belongs to Algorithm 2"):
        neurosim.load("multiplexer/map_prop", {"initial.model": "cartpole"})


def test_conditions_share_the_runs_before_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study.toml"
    study.write_text(STUDY)
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    cli.main(["compare", str(study), *folders, "--workers", "2", "--quiet"])
    assert "4 runs, 4 of them to make and 2 before them" in capsys.readouterr().out
    models = [path.name for path in (tmp_path / "runs").iterdir()]
    assert len(models) == 3
    table = (tmp_path / "out/comparison.csv").read_text()
    command = """'initial.set={""actor.units""=[3,2],""critic.units""=[3,2],""task.episodes""=2}'"""
    assert command in table


STUDY = """
title = "Two ways to go on"
model = "cartpole"
seeds = [0, 2]

[set]
"task.episodes" = 2
"actor.units" = [3, 2]
"critic.units" = [3, 2]
"initial.model" = "cartpole"
"initial.set" = { "actor.units" = [3, 2], "critic.units" = [3, 2], "task.episodes" = 2 }

[[axis]]
label = "N"
key = "actor.N"
values = [1, 2]
"""


def test_settings_of_tables_are_read_back_from_the_command_that_is_printed() -> None:
    value = {"task.episodes": 2, "record": [{"episodes": [1], "steps": "all"}]}
    (text,) = spec.as_settings({"initial.set": value})
    assert cli.arguments.settings([text])["initial.set"] == value


def test_no_judgement_is_passed_on_weights_that_are_not_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "after.toml"
    path.write_text(after("cartpole", "cartpole").text)
    with pytest.raises(SystemExit):
        cli.main(["stability", str(path)])
    assert "neurosim stability RUN" in capsys.readouterr().err
