"""`neurosim reproduce`: the right runs, made once, and tables that say what is in their files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import neurosim
from neurosim import cli, experiment, reproduction, sweep
from neurosim.analysis.statistics import describe
from neurosim.errors import InputError
from neurosim.reproduction import curves, mountaincar, published, table1
from neurosim.reproduction.published import Published
from neurosim.spec import variant

TINY = {"task.episodes": 3, "actor.units": [3, 2], "critic.units": [3, 2]}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# Statistics


def test_a_sample_is_described_by_the_textbook_formulas() -> None:
    scores = [4.0, 1.0, 2.0, 100.0, 3.0, -50.0, 2.0, 5.0]
    sample = describe(scores)
    assert sample.n == 8
    assert sample.mean == sum(scores) / 8
    assert sample.std == pytest.approx(
        (sum((x - sample.mean) ** 2 for x in scores) / 8) ** 0.5, rel=1e-14
    )
    assert sample.iqm == (2 + 2 + 3 + 4) / 4  # the middle half of the sorted scores
    assert sample.low < sample.mean < sample.high


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = [
        sample.low <= 3.0 <= sample.high
        for sample in (describe(rng.normal(3.0, 2.0, 20)) for _ in range(200))
    ]
    # Of 200 draws with probability 0.95 at least 170 succeed but for a chance of 1e-7; the
    # bootstrap of 20 values is known to be a little short.
    assert 170 <= sum(held) < 200


def test_of_one_or_two_or_equal_scores_there_is_no_interval() -> None:
    for scores in ([1.0], [1.0, 2.0], [3.0, 3.0, 3.0, 3.0]):
        assert np.isnan([describe(scores).low, describe(scores).high]).all()


@pytest.mark.parametrize(
    ("mean", "expected"),
    [(11.0, "within ± 1 std"), (9.0, "within ± 1 std"), (11.1, "better"), (8.9, "worse")],
    ids=["just_within", "within_from_below", "above", "below"],
)
def test_the_verdict_is_of_the_published_standard_deviation(mean: float, expected: str) -> None:
    assert table1.verdict(describe([mean]), Published(10.0, 1.0)) == expected


# Runs that are made once


def test_a_run_is_begun_gone_on_with_or_left_alone(tmp_path: Path, contents: Any) -> None:
    model = neurosim.load("cartpole", TINY)
    whole = experiment.make(model, 0, tmp_path / "whole")
    assert experiment.is_made(model, 0, tmp_path / "whole")
    before = (whole / "run.h5").stat().st_mtime_ns
    assert experiment.make(model, 0, tmp_path / "whole") == whole
    assert (whole / "run.h5").stat().st_mtime_ns == before
    with pytest.raises(neurosim.RunError):
        experiment.make(model, 0, tmp_path / "two", on_episode=lambda episode: episode.number == 2)
    assert not experiment.is_made(model, 0, tmp_path / "two")
    halves = experiment.make(model, 0, tmp_path / "two")
    assert experiment.is_made(model, 0, tmp_path / "two")
    assert contents(halves) == contents(whole)


def test_a_run_with_other_values_is_not_taken_for_it_but_one_with_other_words_is(
    tmp_path: Path,
) -> None:
    model = neurosim.load("cartpole", TINY)
    experiment.make(model, 0, tmp_path)
    reworded = neurosim.load("cartpole", {**TINY, "description": "in other words"})
    assert experiment.is_made(reworded, 0, tmp_path)
    other = neurosim.load("cartpole", {**TINY, "learning.gamma": 0.5})
    for ask in (experiment.is_made, experiment.make):
        said = ""
        try:
            ask(other, 0, tmp_path)
        except InputError as error:
            said = str(error)
        assert "other values" in said


def test_a_folder_left_by_a_run_that_was_killed_as_it_began_is_used(tmp_path: Path) -> None:
    model = neurosim.load("cartpole", TINY)
    folder = experiment.run_folder(model, 0, tmp_path)
    folder.mkdir(parents=True)
    (folder / "model.toml.part").write_text("")
    assert not experiment.is_made(model, 0, tmp_path)
    experiment.make(model, 0, tmp_path)
    assert experiment.is_made(model, 0, tmp_path)


def test_a_model_with_other_values_has_a_name_and_a_folder_of_its_own(tmp_path: Path) -> None:
    base = neurosim.load("cartpole", TINY)
    changed = variant(base, {"actor.N": 3, "critic.var": [0.1, 0.2, 0.3]})
    assert changed.name == "cartpole+actor.N=3+critic.var=[0.1,0.2,0.3]"
    assert changed.spec.actor.N == 3
    assert variant(base, {}) is base
    folder = experiment.make(changed, 0, tmp_path)
    assert folder == tmp_path / changed.name / "seed-0000"
    read, seed = experiment.read_run_model(folder)
    assert (read, seed) == (changed, 0)


def test_a_model_with_many_other_values_has_a_short_name() -> None:
    base = neurosim.load("cartpole")
    names = set()
    for steps in (3, 4):
        many = {
            f"{team}.var": [0.1, 0.2, 0.3][: 2 + (team == "critic")] for team in ("actor", "critic")
        }
        many |= {f"{team}.alpha": [0.0123, 0.0456, 0.0789] for team in ("actor", "critic")}
        many |= {f"{team}.anneal_to": [0.125, 0.25, 0.5] for team in ("actor", "critic")}
        names.add(variant(base, {**many, "actor.N": steps}).name)
    assert len(names) == 2
    for name in names:
        assert name.startswith("cartpole+")
        assert len(name) < 30


# Tables and figures


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks, the plain methods, a few episodes."""
    monkeypatch.setattr(table1, "TASKS", {"cartpole": "CartPole", "mountaincar": "MountainCar"})
    others = {key: value for key, value in table1.OTHERS.items() if "no action map" in key}
    monkeypatch.setattr(table1, "OTHERS", others)
    monkeypatch.setattr(table1, "QUICK_EPISODES", {"cartpole": 4, "mountaincar": 3})
    monkeypatch.setattr(mountaincar, "EPISODES", (1, 2, 3))
    monkeypatch.setattr(curves, "QUICK", {"batch.samples": 1280})


def reproduce(item: str, tmp_path: Path) -> Path:
    out = tmp_path / "results"
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(out)]
    cli.main(["reproduce", item, "--quick", "--quiet", *folders])
    return out


@pytest.mark.usefixtures("small")
def test_table_1_says_what_is_in_the_run_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = reproduce("table1", tmp_path)
    rows = rows_of(out / "table1.csv")
    assert len(rows) == 2 * len(published.TABLE_1) + 2
    found: dict[tuple[str, str], list[float]] = {}
    for path in (tmp_path / "runs").rglob("run.h5"):
        name = json.loads((path.parent / "provenance.json").read_text())["model"]
        method, _, task = name.partition("+")[0].rpartition("/")
        method += " without" * ("action_map" in name)
        with h5py.File(path) as file:
            returns = file["episodes/return"][:]
        assert len(returns) == (4 if task == "cartpole" else 3)
        found.setdefault((task, method), []).append(returns.mean())
    folders = {"MAP propagation": "", "REINFORCE": "reinforce", "Backprop": "backprop"}
    folders["REINFORCE, Thomas 2011"] = "thomas"
    folders["MAP propagation, no action map"] = " without"
    folders["Backprop, no action map"] = "backprop without"
    text = (out / "table1.md").read_text()
    for row in rows:
        scores = found[row["task"], folders[row["method"]]]
        assert len(scores) == int(row["n"]) == 2
        assert float(row["mean"]) == pytest.approx(sum(scores) / 2, rel=1e-12)
        assert float(row["std"]) == pytest.approx(abs(scores[0] - scores[1]) / 2, abs=1e-9)
        if row["method"] in published.TABLE_1:
            paper = published.TABLE_1[row["method"]][row["task"]]
            assert (float(row["paper_mean"]), float(row["paper_std"])) == paper
        else:
            assert row["paper_mean"] == row["paper_std"] == ""
        assert f"{sum(scores) / 2:.2f} ± " in text
        assert row["command"] in text
    assert "Shortened" in text
    assert len(rows_of(out / "table1-runs.csv")) == 2 * len(rows)

    def run_again(*arguments: Any) -> None:
        raise AssertionError("a run was made twice")

    first = (out / "table1.csv").read_bytes()
    monkeypatch.setattr(sweep, "run_all", run_again)
    reproduce("table1", tmp_path)
    assert (out / "table1.csv").read_bytes() == first
    reproduce("fig2", tmp_path)  # of the same runs
    for name in ("fig2.png", "fig2.pdf"):
        assert (out / name).stat().st_size > 10_000


@pytest.mark.usefixtures("small")
def test_figures_4_and_5_select_by_average_return_and_tell_the_coverage(tmp_path: Path) -> None:
    out = reproduce("fig5", tmp_path)
    reproduce("fig4", tmp_path)
    for name in ("fig4.png", "fig4.pdf", "fig5.png", "fig5.pdf"):
        assert (out / name).stat().st_size > 5_000
    rows = rows_of(out / "fig5.csv")
    scores: dict[str, list[float]] = {}
    for row in rows:
        scores.setdefault(row["method"], []).append(float(row["average_return"]))
    chosen = {
        each.label: each.curve.totals.mean()
        for each in mountaincar.select(tmp_path / "runs", quick=True)
    }
    assert chosen["Backprop, successful"] == max(scores["Backprop"])
    assert chosen["MAP propagation"] == sorted(scores["MAP propagation"])[1]
    failed = sorted(scores["Backprop, no action map"])[1]
    assert chosen["Backprop, failed (no action map)"] == failed
    assert len(rows) == 8
    for row in rows:
        name = "backprop/mountaincar" if "Backprop" in row["method"] else "mountaincar"
        name += "+task.action_map=[1.0,0.0]" * ("no action map" in row["method"])
        folder = tmp_path / f"runs/{name}+task.episodes=3/seed-000{row['seed']}"
        with h5py.File(folder / "run.h5") as file:
            states, ends = file["steps/observation"][:], np.cumsum(file["episodes/length"][:])
            terminated = file["episodes/terminated"][:]
        for episode, column in zip((1, 2, 3, 3), ("1", "2", "3", "all"), strict=True):
            counts, _, _ = np.histogram2d(
                *states[: ends[episode - 1], :2].T, bins=20, range=[[-1.2, 0.6], [-0.07, 0.07]]
            )
            assert float(row[f"coverage_{column}"]) == np.count_nonzero(counts) / 400
        first = next((k + 1 for k, end in enumerate(terminated) if end), 0)
        assert int(row["first_goal"]) == first


@pytest.mark.usefixtures("small")
def test_figure_1_tells_the_mean_rewards_of_the_batches(tmp_path: Path) -> None:
    out = reproduce("fig1", tmp_path)
    rows = rows_of(out / "fig1.csv")
    of_map = next(row for row in rows if row["model"] == "MAP propagation")
    folder = tmp_path / "runs/multiplexer/map_prop+batch.samples=1280"
    rewards = []
    for seed in (0, 1):
        with h5py.File(folder / f"seed-000{seed}/run.h5") as file:
            rewards.append(file["batches/reward"][:].mean())
    assert float(of_map["mean"]) == pytest.approx(np.mean(rewards), rel=1e-12)
    assert (out / "fig1.png").stat().st_size > 10_000
    assert "MAP propagation (SL)" in (out / "fig1.md").read_text()


def test_a_run_in_the_way_is_named_before_anything_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], small: None
) -> None:
    shortened = table1.row("REINFORCE", "mountaincar", quick=True).model
    other = neurosim.load(
        "reinforce/mountaincar", {"task.episodes": 1, "task.options": {"max_episode_steps": 5}}
    )
    experiment.run(other._replace(name=shortened.name), 1, tmp_path / "runs")
    with pytest.raises(SystemExit) as stopped:
        reproduce("table1", tmp_path)
    assert stopped.value.code == 2
    assert "seed-0001 holds a run" in capsys.readouterr().err
    assert len(list((tmp_path / "runs").rglob("run.h5"))) == 1


def test_everything_in_the_paper_can_be_made() -> None:
    assert set(reproduction.ITEMS) == {"table1", "fig1", "fig2", "fig4", "fig5", "theory"}
    full = [each for item in reproduction.ITEMS.values() for each in item.conditions(False)]
    for each in full:
        assert len(each.seeds) >= 10
        assert each.command.startswith(f"neurosim run {each.name} --seeds 0:{len(each.seeds)}")
    tasks = {(each.label, each.task) for each in full}
    for method, of_tasks in published.TABLE_1.items():
        assert {(method, task) for task in of_tasks} <= tasks


@pytest.mark.slow
def test_all_of_it_in_a_quick_form(tmp_path: Path) -> None:
    out = tmp_path / "results"
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(out)]
    cli.main(["reproduce", "all", "--quick", "--quiet", "--workers", "2", *folders])
    names = {path.name for path in out.iterdir()}
    for stem in ("table1", "fig1", "fig5", "theory"):
        assert {f"{stem}.md", f"{stem}.csv"} <= names
    for stem in ("fig1", "fig2", "fig4", "fig5", "theory"):
        assert {f"{stem}.png", f"{stem}.pdf"} <= names
