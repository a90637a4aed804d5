"""The search for step sizes: what it tries, when it stops, and that it goes on where it was."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import neurosim
from neurosim import cli, tuning
from neurosim.errors import InputError, RunError
from neurosim.spec import Model, parse

optuna = pytest.importorskip("optuna")

SEEDS = [1000, 1001]


@pytest.fixture
def model() -> Model:
    small = {"task.episodes": 3, "actor.units": [4, 3], "critic.units": [4, 3]}
    return neurosim.load("reinforce/cartpole", small)


def trials_in(out: Path, model: Model) -> list[dict[str, str]]:
    with (out / model.name / "tuning" / tuning.TRIALS).open(newline="") as file:
        return list(csv.DictReader(file))


def in_this_process(monkeypatch: pytest.MonkeyPatch, score: Any) -> None:
    """Run trials one after the other in this process, scored by a function."""
    monkeypatch.setattr(tuning, "open_executor", lambda *_: ThreadPoolExecutor(1))
    monkeypatch.setattr(tuning, "score_run", score)


def test_the_models_own_values_are_tried_first_and_the_best_values_score_what_is_said(
    model: Model, tmp_path: Path
) -> None:
    space = [tuning.Range("actor.alpha", 0, 1e-4, 1e-1), tuning.Range("critic.alpha", 2, 1e-7, 1)]
    found = tuning.tune(model, space, SEEDS, 3, tmp_path, workers=2)
    rows = trials_in(tmp_path, model)
    assert len(rows) == found.trials == 3
    assert float(rows[0]["actor.alpha[0]"]) == model.spec.actor.alpha[0]
    assert found.initial == sum(tuning.score_run(model, seed) for seed in SEEDS) / 2
    best = parse(model.text, model.name, found.overrides)
    assert found.score == sum(tuning.score_run(best, seed) for seed in SEEDS) / 2
    assert found.score == max(float(row["after_seed_1001"]) for row in rows)
    assert best.spec.actor.alpha[1:] == model.spec.actor.alpha[1:]


def test_a_search_finds_where_the_score_is_highest(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(monkeypatch, lambda variant, seed: -abs(variant.spec.actor.alpha[1] - 4e-3))
    space = [tuning.Range("actor.alpha", 1, 1e-6, 1e-1)]
    found = tuning.tune(model, space, SEEDS, 40, tmp_path)
    assert found.initial == -abs(model.spec.actor.alpha[1] - 4e-3)
    assert abs(found.values["actor.alpha[1]"] - 4e-3) < 1e-3


def test_a_trial_below_the_median_is_not_run_with_more_seeds(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[tuple[float, int]] = []

    def score(variant: Model, seed: int) -> float:
        runs.append((variant.spec.actor.alpha[0], seed))
        return variant.spec.actor.alpha[0]

    in_this_process(monkeypatch, score)
    space = [tuning.Range("actor.alpha", 0, 1e-4, 1e-1)]
    found = tuning.tune(model, space, SEEDS, 30, tmp_path)
    rows = trials_in(tmp_path, model)
    dropped = [row for row in rows if row["state"] == "pruned"]
    assert found.dropped == len(dropped) > 0
    assert len(runs) == 2 * 30 - len(dropped)
    whole = [row for row in rows if row["state"] == "complete"]
    for row in dropped:
        before = [float(each["after_seed_1000"]) for each in whole if each["trial"] < row["trial"]]
        assert row["after_seed_1001"] == ""
        assert float(row["after_seed_1000"]) < max(before)


def test_a_diverging_trial_is_dropped_and_if_all_do_that_is_an_error(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = [tuning.Range("actor.alpha", 0, 1e-4, 1e-1)]
    in_this_process(monkeypatch, lambda variant, seed: float("-inf"))
    with pytest.raises(RunError, match="Every trial"):
        tuning.tune(model, space, SEEDS, 2, tmp_path)
    assert [row["state"] for row in trials_in(tmp_path, model)] == ["pruned"] * 2


def test_a_run_that_diverges_scores_minus_infinity(model: Model) -> None:
    wild = parse(model.text, model.name, {"actor.alpha": [1e200, 1e200, 1e200]})
    assert tuning.score_run(wild, 0) == float("-inf")


def test_a_search_that_was_stopped_goes_on_and_finishes_the_trial_that_was_running(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = [tuning.Range("actor.alpha", 0, 1e-4, 1e-1)]
    seen: list[float] = []

    def killed_at_the_third(variant: Model, seed: int) -> float:
        if len(seen) == 2 * len(SEEDS) + 1:
            raise KeyboardInterrupt  # after the first run of the third trial
        seen.append(variant.spec.actor.alpha[0])
        return 1.0

    in_this_process(monkeypatch, killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        tuning.tune(model, space, SEEDS, 5, tmp_path)
    in_this_process(monkeypatch, lambda variant, seed: 2.0)
    found = tuning.tune(model, space, SEEDS, 5, tmp_path)
    rows = trials_in(tmp_path, model)
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert len({row["actor.alpha[0]"] for row in rows}) == 5
    averages = [float(row["after_seed_1001"]) for row in rows]
    assert averages == [1.0, 1.0, 1.5, 2.0, 2.0]  # of the third, one run each time
    assert found.score == 2.0
    assert tuning.tune(model, space, SEEDS, 5, tmp_path) == found  # nothing is left to try


def test_another_model_space_or_seeds_do_not_go_on_with_a_search(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = [tuning.Range("actor.alpha", 0, 1e-4, 1e-1)]
    in_this_process(monkeypatch, lambda variant, seed: 1.0)
    tuning.tune(model, space, SEEDS, 1, tmp_path)
    other = parse(model.text, model.name, {"learning.gamma": 0.5})
    wider = [tuning.Range("actor.alpha", 0, 1e-5, 1e-1)]
    for arguments in ((other, space, SEEDS), (model, wider, SEEDS), (model, space, [1])):
        with pytest.raises(InputError, match="another model, space or seeds"):
            tuning.tune(*arguments, 2, tmp_path)


def test_one_worker_is_reproducible(model: Model, tmp_path: Path) -> None:
    space = tuning.default_space(model)
    found = [tuning.tune(model, space, [5], 3, tmp_path / name) for name in ("a", "b")]
    assert found[0] == found[1]


def test_by_default_all_step_sizes_are_searched_and_the_probability_to_explore() -> None:
    names = [each.name for each in tuning.default_space(neurosim.load("thomas/cartpole"))]
    of_teams = [f"{team}.alpha[{layer}]" for team in ("actor", "critic") for layer in range(3)]
    assert names == [*of_teams, "actor.explore"]
    one_team = tuning.default_space(neurosim.load("multiplexer/backprop"))
    assert [each.name for each in one_team] == [f"actor.alpha[{layer}]" for layer in range(3)]


@pytest.mark.parametrize(
    "text", ["actor.alpha[0]", "actor.alpha[0]=1", "actor.alpha[0]=2:1", "x=-1:1", "x=a:b", "=1:2"]
)
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="write KEY=LOW:HIGH"):
        tuning.parse_range(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("actor.alpha=1e-4:1e-1", "not a number in the model"),
        ("actor.alpha[3]=1e-4:1e-1", "not a number in the model"),
        ("actor.nothing=1e-4:1e-1", "not a number in the model"),
        ("learning.update_at_reset=0:1", "not a number in the model"),
        ("learning.gamma=0.9:1.5", "learning.gamma = 1.5"),
    ],
)
def test_a_range_that_does_not_fit_the_model_is_refused_before_anything_runs(
    model: Model, tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        tuning.tune(model, [tuning.parse_range(text)], SEEDS, 1, tmp_path)
    assert problem in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["task.episodes=2", "actor.units=[3,2]", "critic.units=[3,2]"]
    over = ["--over", "actor.alpha[1]=1e-4:1e-2"]
    more = ["--trials", "2", "--seeds", "0:1", "--out", str(tmp_path), "--quiet"]
    cli.main(["tune", "backprop/cartpole", *over, *more, "--set", *small])
    said = capsys.readouterr().out
    assert "2 trials, 0 of them dropped" in said
    assert "actor.alpha = [0.01, " in said


@pytest.mark.parametrize("option", ["--workers", "--trials"])
def test_a_search_of_nothing_is_refused(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["tune", "backprop/cartpole", option, "0", "--out", str(tmp_path), "--quiet"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert option[2:] in said
    assert "at least one" in said
