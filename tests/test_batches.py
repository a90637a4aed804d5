"""Runs and model files of Algorithm 1: what is refused, what is recorded, how a run goes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from matplotlib.image import imread
from numpy.testing import assert_array_equal

import neurosim
from neurosim import cli, experiment, record, spec, sweep
from neurosim.analysis.operations import operations
from neurosim.analysis.replay import replay
from neurosim.errors import InputError, Interrupted, RunError
from neurosim.learners import MonteCarlo
from neurosim.plots import learning_curve
from neurosim.spec import Model, MonteCarloSpec
from neurosim.tasks import Environment, OneStep

Contents = Callable[[Path], dict[str, Any]]

SMALL: dict[str, Any] = {"task.options.k": 1, "batch.size": 8, "batch.samples": 100}
SMALL_REGRESSION: dict[str, Any] = {"batch.size": 8, "batch.samples": 100}

TABLE_2 = {
    "multiplexer/map_prop": {
        "task": ("neurosim/Multiplexer-v0", {"k": 5, "inputs": "signed"}),
        "batch": (128, 4_000_000, "reward"),
        "alpha": [4e-2, 4e-5, 4e-6],
        "var": [0.3, 1.0],
        "T": 1.0,
    },
    "regression/map_prop_rl": {
        "task": ("neurosim/ScalarRegression-v0", {"target_seed": 0}),
        "batch": (128, 1_000_000, "reward"),
        "alpha": [6e-2, 6e-5, 6e-6],
        "var": [0.0075, 0.025, 0.025],
        "T": None,
    },
}
TABLE_2["regression/map_prop_sl"] = TABLE_2["regression/map_prop_rl"] | {
    "batch": (128, 1_000_000, "answer")
}
RULES = {
    "multiplexer/map_prop": "map_prop",
    "multiplexer/reinforce": "reinforce",
    "multiplexer/thomas": "thomas",
    "multiplexer/backprop": "backprop",
    "regression/map_prop_rl": "map_prop",
    "regression/map_prop_sl": "map_prop",
    "regression/backprop": "backprop",
}


def load(name: str = "multiplexer/map_prop", **changes: Any) -> Model:
    small = SMALL if name.startswith("multiplexer") else SMALL_REGRESSION
    return spec.load(name, small | changes)


def monte_carlo(name: str) -> MonteCarloSpec:
    model = spec.load(name).spec
    assert isinstance(model, MonteCarloSpec)
    return model


# --- model files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLE_2)
def test_the_models_hold_table_2(name: str) -> None:
    model, table = monte_carlo(name), TABLE_2[name]
    actor, batch = model.actor, model.batch
    assert (model.task.id, model.task.options) == table["task"]
    assert (batch.size, batch.samples, batch.signal) == table["batch"]
    assert (actor.alpha, actor.var, actor.T) == (table["alpha"], table["var"], table["T"])
    assert (actor.N, actor.step_size) == (20, 0.5)
    assert (model.adam.beta1, model.adam.beta2) == (0.9, 0.999)


@pytest.mark.parametrize("name", RULES)
def test_all_models_have_their_rule_the_papers_layers_and_a_task_that_fits(name: str) -> None:
    model = monte_carlo(name)
    assert model.actor.rule == RULES[name]
    assert model.actor.units == [64, 32]
    assert model.actor.activation == ["softplus", "softplus"]
    Environment(model.task, model.actor.output).close()
    assert spec.load(name).mode == "monte_carlo"


def test_the_rule_is_map_propagation_where_none_is_given() -> None:
    assert load(**{"actor.rule": None}).spec.actor.rule == "map_prop"


def test_a_last_batch_that_would_not_be_full_is_left_out() -> None:
    assert load().length == 12  # 96 of 100 samples
    assert load(**{"batch.samples": 8}).length == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("critic.N", 20),
        ("learning.gamma", 0.9),
        ("timing.clock", "poisson"),
        ("record", [{"episodes": [1], "steps": "all"}]),
        ("task.episodes", 10),
        ("task.one_hot", True),
        ("task.action_map", [2.0, 1.0]),
        ("actor.lambda", 0.9),
        ("actor.anneal_to", [1.0, 1.0, 1.0]),
    ],
)
def test_what_belongs_to_algorithm_2_is_refused_with_key_value_and_remedy(
    key: str, value: Any
) -> None:
    with pytest.raises(InputError) as raised:
        load(**{key: value})
    section = key if key.startswith(("task", "actor")) else key.partition(".")[0]
    assert f"multiplexer/map_prop: {section} = " in str(raised.value)
    shown = value if section == key else value if "." not in key else {key.split(".")[1]: value}
    assert repr(shown) in str(raised.value)
    assert "remove it" in str(raised.value)


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_modes_are_refused(mode: spec.Mode) -> None:
    with pytest.raises(InputError, match=f"mode = '{mode}'.*Algorithm 1.*leave --mode out"):
        spec.load("multiplexer/map_prop", mode=mode)
    with pytest.raises(InputError, match=r"timing = \{\}: belongs to Algorithm 2"):
        spec.load("multiplexer/map_prop", {"timing": {}})
    assert spec.load("multiplexer/map_prop").mode == "monte_carlo"


SL = "regression/map_prop_sl"
WRONG = [
    ("multiplexer/map_prop", {"actor.N": None}, "actor.N: missing; rule = 'map_prop'"),
    ("multiplexer/map_prop", {"actor.step_size": None}, "actor.step_size: missing"),
    ("multiplexer/map_prop", {"actor.T": None}, "actor.T: missing; output = 'softmax'"),
    ("multiplexer/map_prop", {"actor.var": None}, "actor.var: missing"),
    ("multiplexer/map_prop", {"actor.explore": 0.5}, "actor.explore: 0.5 has no meaning"),
    ("multiplexer/map_prop", {"actor.gate_floor": 0.01}, "actor.gate_floor: 0.01 has no meaning"),
    ("multiplexer/map_prop", {"actor.rule": "hebb"}, "actor.rule = 'hebb': one of 'map_prop'"),
    (
        "multiplexer/map_prop",
        {"actor.alpha": [1.0]},
        r"actor.alpha: \[1.0\] has 1 entries; needs 3",
    ),
    ("multiplexer/map_prop", {"actor.var": [1.0]}, r"actor.var: \[1.0\] has 1 entries; needs 2"),
    ("multiplexer/map_prop", {"actor.activation": []}, r"actor.activation: \[\] has 0 entries"),
    ("multiplexer/map_prop", {"actor.c": 1}, "actor.c: unknown key"),
    ("multiplexer/map_prop", {"batch.signal": "answer", "actor.gate_floor": 0.0}, "batch.signal: "),
    ("multiplexer/map_prop", {"batch.size": 0}, "batch.size = 0"),
    ("multiplexer/map_prop", {"batch.samples": 5}, "batch.samples: 5 is less than one batch"),
    ("multiplexer/map_prop", {"batch.signal": "value"}, "batch.signal = 'value': one of 'reward'"),
    ("multiplexer/map_prop", {"batch": 3}, "batch = 3: "),
    (
        "multiplexer/map_prop",
        {"storage.values": "float32"},
        "storage.values = 'float32': belongs to Algorithm 2",
    ),
    ("multiplexer/map_prop", {"actor.proposal": 0.1}, "actor.proposal: 0.1 has no meaning with"),
    (
        "multiplexer/map_prop",
        {"actor.relaxation": "hill_climbing", "actor.step_size": None},
        "actor.proposal: missing; relaxation = 'hill_climbing'",
    ),
    (
        "multiplexer/reinforce",
        {"actor.relaxation": "hill_climbing"},
        "actor.relaxation: 'hill_climbing' has no meaning with rule = 'reinforce'",
    ),
    ("multiplexer/reinforce", {"actor.N": 20}, "actor.N: 20 has no meaning with rule = 'reinforce"),
    ("multiplexer/reinforce", {"actor.step_size": 0.5}, "actor.step_size: 0.5 has no meaning"),
    ("multiplexer/thomas", {"actor.explore": None}, "actor.explore: missing; rule = 'thomas'"),
    ("multiplexer/thomas", {"actor.explore": 1.5}, "actor.explore = 1.5"),
    ("multiplexer/backprop", {"actor.var": [0.3, 1.0]}, r"actor.var: \[0.3, 1.0\] has no meaning"),
    (SL, {"actor.gate_floor": None}, "actor.gate_floor: missing"),
    (SL, {"actor.T": 1.0}, "actor.T: 1.0 has no meaning with output = 'gaussian'"),
    (SL, {"actor.var": [0.1, 0.1]}, r"actor.var: .* needs 3, .* and one for the output"),
    (
        SL,
        {"actor.rule": "reinforce", "actor.N": None, "actor.step_size": None}
        | {"actor.gate_floor": None},
        "batch.signal: 'answer' is not for rule = 'reinforce'",
    ),
    ("regression/backprop", {"batch.signal": "reward"}, "batch.signal: 'reward' needs an output"),
    (SL, {"actor.action": "toss"}, "actor.action = 'toss': one of 'sampled', 'coin'"),
    (
        "regression/map_prop_rl",
        {"actor.action": "coin"},
        'actor.action: \'coin\' needs batch.signal = "answer"; set it to "sampled"',
    ),
    ("multiplexer/map_prop", {"actor.action": "coin"}, "actor.action: 'coin' needs batch.signal"),
    (
        "regression/backprop",
        {"actor.action": "coin"},
        "actor.action: 'coin' is not for rule = 'backprop'; set it to \"sampled\"",
    ),
]


@pytest.mark.parametrize(("name", "changes", "message"), WRONG)
def test_what_does_not_fit_is_refused_with_its_key(
    name: str, changes: dict[str, Any], message: str
) -> None:
    small = {} if "batch" in changes else SMALL if "multi" in name else SMALL_REGRESSION
    with pytest.raises(InputError, match=message):
        spec.load(name, small | changes)


@pytest.mark.parametrize(
    ("id_", "output", "message"),
    [
        ("CartPole-v1", "softmax", "task.id = 'CartPole-v1': .*draws batches"),
        ("neurosim/Multiplexer-v1", "softmax", "no such Gymnasium environment"),
        ("neurosim/ScalarRegression-v0", "softmax", "actor.output = 'softmax'"),
    ],
)
def test_a_task_that_does_not_fit_is_refused_before_anything_is_written(
    id_: str, output: str, message: str, tmp_path: Path
) -> None:
    model = load(**{"task.id": id_, "task.options": {}, "actor.output": output})
    with pytest.raises(InputError, match=message):
        experiment.run(model, 0, tmp_path)
    assert not any(tmp_path.iterdir())


class Own(OneStep):
    """A task of somebody's own: say twice what you see."""

    observation_space = Box(-1.0, 1.0, (1,), np.float64)
    action_space = Box(-2.0, 2.0, (1,), np.float64)

    def draw(self, key: Any, first: int, n: int) -> Any:
        x = np.sin(np.arange(first, first + n) + float(key[0] % 7))
        return x[:, None], 2.0 * x

    def rewards(self, actions: Any, answers: Any) -> Any:
        return -np.abs(actions - answers)


def test_a_task_of_ones_own_can_be_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        gymnasium.registry, "Own-v0", gymnasium.envs.registration.EnvSpec("Own-v0", Own)
    )
    model = load(SL, **{"task.id": "Own-v0", "task.options": {}, "batch.samples": 3000})
    with neurosim.open(experiment.run(model, 0, tmp_path)) as run:
        rewards = run.batches["reward"][:]
    assert rewards[-50:].mean() > rewards[:10].mean() / 2.0


def test_actions_of_several_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        gymnasium.registry, "Own-v0", gymnasium.envs.registration.EnvSpec("Own-v0", Own)
    )
    monkeypatch.setattr(Own, "action_space", Box(-1.0, 1.0, (2,), np.float64))
    model = load(SL, **{"task.id": "Own-v0", "task.options": {}})
    with pytest.raises(InputError, match=r"task.id = 'Own-v0': .*one number"):
        Environment(model.spec.task, model.spec.actor.output)


# --- runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES)
def test_a_run_records_each_batch_and_the_weights(name: str, tmp_path: Path) -> None:
    model = load(name)
    seen: list[experiment.Episode] = []
    folder = experiment.run(model, 3, tmp_path, on_episode=seen.append)
    assert isinstance(model.spec, MonteCarloSpec)
    learner = MonteCarlo(model.spec, Environment(model.spec.task, model.spec.actor.output), 3)
    initial = {key: array.copy() for key, array in learner.weights().items()}
    rewards = [learner.step() for _ in range(12)]
    assert seen == [experiment.Episode(k + 1, r, 8) for k, r in enumerate(rewards)]
    with neurosim.open(folder) as run:
        assert run.complete
        assert run.attrs["mode"] == "monte_carlo"
        assert_array_equal(run.batches["reward"][:], rewards)
        assert_array_equal(run.batches["samples"][:], np.arange(8, 100, 8))
        assert run.batches["samples"].attrs["units"] == "samples"
        for which, expected in (("initial", initial), ("final", learner.weights())):
            found = run.weights("actor", which)
            assert found.keys() == expected.keys()
            for key, array in expected.items():
                assert_array_equal(found[key], array)


@pytest.mark.parametrize("name", ["multiplexer/thomas", SL])
@pytest.mark.parametrize("seconds", [0.0, 5.0])
def test_stopped_after_any_batch_a_run_resumes_to_the_same_bits(
    name: str,
    seconds: float,
    tmp_path: Path,
    contents: Contents,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", seconds)
    model = load(name)
    whole = contents(experiment.run(model, 1, tmp_path / "whole"))
    for last in (1, 7, 11):
        out = tmp_path / str(last)
        with pytest.raises(Interrupted, match=f"after batch {last} of 12.*neurosim resume"):
            experiment.run(model, 1, out, on_episode=lambda batch, n=last: batch.number == n)
        folder = experiment.run_folder(model, 1, out)
        with neurosim.open(folder) as run:
            assert (run.complete, len(run.batches)) == (False, last)
        experiment.resume(folder)
        assert contents(folder) == whole


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("batch", [1, 5, 12])
def test_killed_at_a_batch_a_run_resumes_to_the_same_bits(
    batch: int, tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", 0.0)
    model = load()
    whole = contents(experiment.run(model, 1, tmp_path / "whole"))

    def kill(done: experiment.Episode) -> None:
        if done.number == batch:
            raise Killed

    with pytest.raises(Killed):
        experiment.run(model, 1, tmp_path, on_episode=kill)
    folder = experiment.resume(experiment.run_folder(model, 1, tmp_path))
    assert contents(folder) == whole
    assert experiment.resume(folder) == folder  # complete: left alone
    assert contents(folder) == whole


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_a_run_in_memory_is_the_run_on_disk(compression: str, tmp_path: Path) -> None:
    model = load(SL, **{"storage.compression": compression})
    with neurosim.open(experiment.run(model, 2, tmp_path)) as kept:
        simulated = neurosim.simulate(model, 2)
        assert simulated.complete
        for column in ("reward", "samples"):
            assert_array_equal(simulated.batches[column][:], kept.batches[column][:])
        for key, array in kept.weights("actor", "final").items():
            assert_array_equal(simulated.weights("actor", "final")[key], array)
        assert repr(kept) == f"<Run {kept.path}: complete, 12 batches, 96 samples>"
    stopped = neurosim.simulate(model, 2, on_episode=lambda batch: batch.number == 5)
    assert (stopped.complete, len(stopped.batches)) == (False, 5)


def test_xarray_opens_the_batches_of_a_run(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    folder = experiment.run(load(), 0, tmp_path)
    with xarray.open_dataset(folder / "run.h5", group="batches", engine="h5netcdf") as batches:
        assert dict(batches.sizes) == {"batch": 12}
        assert batches["reward"].dims == ("batch",)
    weights = "teams/actor/weights/final"
    with xarray.open_dataset(folder / "run.h5", group=weights, engine="h5netcdf") as final:
        assert final["W1"].dims == ("layer_1", "input")


def test_a_run_that_diverges_keeps_what_came_before(tmp_path: Path) -> None:
    model = load(**{"actor.alpha": [1e200, 1e200, 1e200]})
    with pytest.raises(RunError, match=r"diverged in batch \d+.*Recorded up to there"):
        experiment.run(model, 0, tmp_path)
    with neurosim.open(experiment.run_folder(model, 0, tmp_path)) as run:
        assert not run.complete
        assert 0 < len(run.batches) < 12


def test_a_full_disk_is_reported_with_what_is_safe(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", 0.0)
    model = load()
    whole = contents(experiment.run(model, 0, tmp_path / "whole"))
    save, count = record.checkpoint.save, [0]

    def full(*arguments: Any) -> None:
        count[0] += 1
        if count[0] > 4:  # the one at the start, and those of three batches
            raise RunError("The disk is full.") from OSError()
        save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(record.checkpoint, "save", full)
        with pytest.raises(RunError, match=r"disk is full. Batches 1 to 3 of the 4 done are safe"):
            experiment.run(model, 0, tmp_path)
    folder = experiment.resume(experiment.run_folder(model, 0, tmp_path))
    assert contents(folder) == whole


def test_the_bits_of_runs_do_not_depend_on_the_workers(tmp_path: Path, contents: Contents) -> None:
    model = load()
    folders = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        jobs = {str(s): partial(experiment.make, model, s, out) for s in (0, 1)}
        outcome = sweep.run_all(jobs, lambda *_: None, [model.mode], workers)
        assert not outcome.errors
        folders.append(outcome.folders)
    for one, two in zip(*folders, strict=True):
        assert contents(one) == contents(two)
    assert contents(folders[0][0]) != contents(folders[0][1])


# --- command line --------------------------------------------------------------------------------

SET = ["--set", "task.options.k=1", "batch.size=8", "batch.samples=100"]


@pytest.fixture
def do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in an empty folder; its status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = 0
        try:
            cli.main(arguments)
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        return (status, *capsys.readouterr())

    return command


def test_the_command_runs_shows_draws_and_lists(do: Any) -> None:
    status, out, err = do("run", "multiplexer/map_prop", *SET, "--seeds", "0:2")
    assert status == 0
    assert "12 of 12" in err
    means = []
    for seed in (0, 1):
        with neurosim.open(f"runs/multiplexer/map_prop/seed-000{seed}") as run:
            rewards = run.batches["reward"][:]
        means.append(rewards.mean())
        numbers = (rewards.mean(), rewards.mean(), rewards.max())
        row = f"seed-000{seed} 12 96 " + " ".join(f"{x:.4f}" for x in numbers)
        assert row in " ".join(out.split())
    assert f"{np.mean(means):.4f} ± {np.std(means):.4f}" in out
    assert imread("runs/multiplexer/map_prop/learning-curve.png").std() > 0.01
    status, out, _ = do("show", "runs/multiplexer/map_prop/seed-0001")
    assert status == 0
    assert f"12 96 {means[1]:.4f}" in " ".join(out.split())
    status, out, _ = do("list")
    assert "seed-0000 12 complete" in " ".join(out.split())


def test_a_figure_has_batches_of_one_size_and_no_episodes(do: Any) -> None:
    assert do("run", "multiplexer/map_prop", *SET, "--quiet")[0] == 0
    assert do("run", "multiplexer/backprop", *SET, "batch.size=4", "--quiet")[0] == 0
    small = ["--set", "actor.units=[8, 4]", "critic.units=[8, 4]"]
    assert do("run", "cartpole", "--episodes", "1", "--quiet", *small)[0] == 0
    for other in ("multiplexer/backprop", "cartpole"):
        status, _, err = do(
            *("plot", "learning-curve", "runs/multiplexer/map_prop", f"runs/{other}"),
            *("-o", "both.png"),
        )
        assert status == 2
        assert "do not fit one figure" in err
    assert not Path("both.png").exists()


def test_the_axes_of_a_figure_of_batches_span_what_came_after_the_first_errors() -> None:
    rewards = np.concatenate([np.full(20, -50.0), np.linspace(-1.0, -0.5, 980)])
    axes = learning_curve.draw({"a": [rewards]}, batch=128).axes[0]
    assert axes.get_xlim()[1] == 128_000
    low, high = axes.get_ylim()
    assert -1.1 < low < -1.0
    assert -0.5 < high < -0.4
    # of a single batch, and of rewards that are all the same, a figure can be drawn, too
    assert learning_curve.draw({"a": [np.array([1.0])]}, batch=128).axes[0].get_ylim()[1] > 1.0


@pytest.mark.parametrize(
    "command",
    [
        ("rerecord", "--episode", "1", "--steps", "0:5"),
        ("audit",),
        *(
            ("plot", figure, "-o", "figure.png")
            for figure in (
                *("trajectories", "coverage", "activity", "traffic", "staleness", "causes"),
                *("flow", "operations", "energy", "relaxation", "alignment", "feedback"),
            )
        ),
    ],
    ids=lambda command: command[1] if command[0] == "plot" else command[0],
)
def test_what_is_for_episodes_refuses_batches(command: tuple[str, ...], do: Any) -> None:
    experiment.run(load(), 0, "runs")
    words = 2 if command[0] == "plot" else 1
    status, _, err = do(*command[:words], "runs/multiplexer/map_prop/seed-0000", *command[words:])
    assert status == 2
    assert "asynchronous" in err if command == ("audit",) else "is a run of batches" in err
    assert not Path("figure.png").exists()


@pytest.mark.parametrize("analyse", [replay, operations])
def test_analyses_of_teams_refuse_batches(analyse: Any) -> None:
    with pytest.raises(InputError, match="is a run of batches"):
        list(analyse(neurosim.simulate(load()), "actor"))


def test_episodes_are_not_a_matter_of_batches(do: Any) -> None:
    status, _, err = do("run", "multiplexer/map_prop", "--episodes", "5")
    assert status == 2
    assert "task.episodes = 5: belongs to Algorithm 2" in err
