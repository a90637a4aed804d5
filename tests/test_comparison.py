"""`neurosim compare`: grids, their statistics and what is said before they start."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurosim import cli, spec
from neurosim.analysis.statistics import compare, holm
from neurosim.errors import InputError
from neurosim.studies import comparison, grid, plan
from neurosim.studies.conditions import jobs_of

TINY = ["task.episodes=3", "actor.units=[3,2]", "critic.units=[3,2]"]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def small_grid(*over: str, seeds: int = 2) -> grid.Grid:
    overrides = {"task.episodes": 3, "actor.units": [3, 2], "critic.units": [3, 2]}
    axes = tuple(grid.parse_axis(text) for text in over)
    return grid.Grid("a title", "cartpole", overrides, axes, range(seeds))


# Statistics


def test_the_paired_test_is_that_of_all_sign_changes() -> None:
    scores, reference = [5.0, 3.0, 4.0, 9.0, 1.0], [4.0, 3.5, 1.0, 2.0, 2.0]
    differences = np.subtract(scores, reference)
    means = [np.mean(signs * differences) for signs in itertools.product([1, -1], repeat=5)]
    extreme = np.mean(np.abs(means) >= abs(differences.mean()) - 1e-12)
    found = compare(scores, reference)
    assert found.p == pytest.approx(extreme, abs=1e-12)
    assert found.mean == pytest.approx(differences.mean(), abs=1e-12)
    assert found.low < found.mean < found.high


def test_equal_scores_do_not_differ() -> None:
    found = compare([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (found.mean, found.p) == (0.0, 1.0)
    assert np.isnan(found.low)


def test_one_pair_shows_nothing() -> None:
    found = compare([5.0], [3.0])
    assert (found.mean, found.p) == (2.0, 1.0)
    assert np.isnan(found.low)


def test_a_chance_difference_is_called_significant_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    p = [compare(*rng.normal(size=(2, 8))).p for _ in range(200)]
    # 10 of 200 are expected below 0.05; more than 26 would be a chance of 1 in 100,000
    assert sum(each <= 0.05 for each in p) <= 26
    assert compare(rng.normal(5.0, 1.0, 8), rng.normal(0.0, 1.0, 8)).p == 2 / 2**8


def test_holms_correction_is_that_of_his_example() -> None:
    # of four tests the smallest is taken times 4, the next one times 3 and so on, never falling
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


# Grids


def test_a_grid_is_every_combination_the_last_axis_fastest() -> None:
    asked = small_grid("actor.N=2,3", "critic.var=[0.1,0.1,0.1],[0.1,0.1,0.5]")
    conditions = asked.conditions()
    assert [(each.model.spec.actor.N, each.model.spec.critic.var[2]) for each in conditions] == [
        (2, 0.1),
        (2, 0.5),
        (3, 0.1),
        (3, 0.5),
    ]
    assert conditions[1].label == "actor.N = 2, critic.var = [0.1,0.1,0.5]"
    assert len({each.model.name for each in conditions}) == 4
    assert asked.axes[0].numbers == [2.0, 3.0]
    assert asked.axes[1].numbers is None


def test_words_are_values_too() -> None:
    axis = grid.parse_axis("timing.feedback=symmetric,random")
    assert axis.settings == {
        "symmetric": {"timing.feedback": "symmetric"},
        "random": {"timing.feedback": "random"},
    }


@pytest.mark.parametrize(
    ("over", "problem"),
    [
        (["actor.NN=1,2"], "unknown key. Did you mean 'N'"),
        (["actor.N=-1,2"], "actor.N = -1"),
        (["actor.N=2,2"], "none twice"),
        (["actor.N"], "write KEY=VALUE"),
        (["timing.delay=0,1"], "belongs to the asynchronous mode"),
        (["actor.N=2,3", "actor.N=4,5"], "set the same values"),
    ],
)
def test_a_bad_grid_is_refused_before_anything_runs(
    over: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [part for text in over for part in ("--over", text)]
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stopped:
        cli.main(["compare", "cartpole", *arguments, *folders, "--set", *TINY])
    assert stopped.value.code == 2
    assert problem in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_before_it_starts_a_study_says_how_many_runs_it_takes_and_how_long(
    tmp_path: Path,
) -> None:
    asked = small_grid("actor.N=2,3", seeds=4)
    jobs = jobs_of(asked.conditions(), tmp_path)
    said = plan.describe(asked, {}, jobs, workers=2)
    assert said.startswith("2 conditions with 4 seeds: 8 runs, 8 of them to make, in about ")
    next(iter(jobs.values()))[0](on_episode=None)
    left = jobs_of(asked.conditions(), tmp_path)
    assert len(left) == 7
    assert "8 runs, 7 of them to make" in plan.describe(asked, {}, left, workers=2)
    assert plan.describe(asked, {}, {}, 1).endswith("all of them there.")


def test_the_longest_time_is_that_of_the_tasks_limit() -> None:
    """CartPole's untrained episodes last about 20 of at most 500 steps."""
    seconds = plan.cost(small_grid("actor.N=2").conditions()[0].model, 0)
    assert 5 < seconds.longest / seconds.likely < 60


# Results


def test_the_table_is_of_the_run_files_paired_by_seed(tmp_path: Path) -> None:
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    over = ["--over", "actor.N=2,6", "--over", "learning.gamma=0.5,0.9"]
    cli.main(["compare", "cartpole", *over, "--seeds", "3:6", *folders, "--quiet", "--set", *TINY])
    rows = rows_of(tmp_path / "out/comparison.csv")
    assert [(row["actor.N"], row["learning.gamma"]) for row in rows] == [
        *[("2", "0.5"), ("2", "0.9")],
        *[("6", "0.5"), ("6", "0.9")],
    ]
    scores = []
    for row in rows:
        own = []
        settings = "+".join(
            [*TINY, f"actor.N={row['actor.N']}", f"learning.gamma={row['learning.gamma']}"]
        )
        for seed in (3, 4, 5):
            with h5py.File(tmp_path / f"runs/cartpole+{settings}/seed-000{seed}/run.h5") as file:
                own.append(file["episodes/return"][:].mean())
        scores.append(own)
        assert float(row["mean"]) == pytest.approx(np.mean(own), rel=1e-12)
        difference = np.mean(np.subtract(own, scores[0]))
        assert float(row["difference"]) == pytest.approx(difference, abs=1e-12)
    of_runs = rows_of(tmp_path / "out/runs.csv")
    assert [float(row["mean"]) for row in of_runs] == pytest.approx(np.ravel(scores).tolist())
    text = (tmp_path / "out/comparison.md").read_text()
    assert "reference (actor.N = 2, learning.gamma = 0.5)" in text
    command = ["neurosim compare cartpole", *(" ".join(over).split()), "--seeds 3:6 --set", *TINY]
    assert f"`{' '.join(command)}`" in text
    for name in ("comparison.png", "comparison.pdf"):
        assert (tmp_path / "out" / name).stat().st_size > 5_000


def test_conditions_see_the_same_environments_and_the_same_first_noise(tmp_path: Path) -> None:
    asked = small_grid("actor.N=2,6", seeds=1)
    for job, _ in jobs_of(asked.conditions(), tmp_path).values():
        job(on_episode=None)
    files = [h5py.File(path) for path in sorted(tmp_path.rglob("run.h5"))]
    seeds = [file["episodes/seed"][:] for file in files]
    first = [file["steps/action"][0] for file in files]
    values = [file["steps/value"][0] for file in files]
    for file in files:
        file.close()
    assert (seeds[0] == seeds[1]).all()
    assert first[0] == first[1]
    assert values[0] == values[1]


# Studies


STUDY = """
title = "Relaxation steps of small teams"
model = "cartpole"
seeds = [0, 2]
set = { "task.episodes" = 2, "actor.units" = [3, 2] }

[[axis]]
label = "discount"
[axis.values]
near = { "learning.gamma" = 0.5 }
far = { "learning.gamma" = 0.9, "actor.lambda" = 0.5 }

[[axis]]
label = "N"
key = "actor.N"
values = [1, 2]
"""


def test_a_study_file_is_a_grid_with_named_settings(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    asked = grid.find(str(path))
    assert asked is not None
    assert asked.points() == [("near", "1"), ("near", "2"), ("far", "1"), ("far", "2")]
    far = asked.conditions()[3].model.spec
    assert (far.learning.gamma, far.actor.lambda_, far.actor.N) == (0.9, 0.5, 2)
    assert list(asked.seeds) == [0, 1]
    results = tmp_path / "results"
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(results)]
    cli.main(["compare", str(path), "--quiet", *folders])
    assert len(rows_of(results / "runs.csv")) == 8
    assert comparison.evaluate(asked, tmp_path / "runs")[0].difference is None


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('title = "Relaxation steps of small teams"', "", "title"),
        ("[0, 2]", "[0]", "seeds"),
        ("[0, 2]", "[5, 5]", r"seeds = \[5, 5\]"),
        ("[0, 2]", '"0:2"', "seeds = '0:2'"),
        ('key = "actor.N"', "", "need a key"),
        ('label = "N"', "labels = 2", "labels"),
    ],
)
def test_a_bad_study_file_is_an_error_that_says_where(
    old: str, new: str, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "study.toml"
    path.write_text(STUDY.replace(old, new))
    with pytest.raises(InputError, match=problem):
        grid.find(str(path))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.toml", None, "missing.toml"),
        ("study.toml", STUDY.replace('model = "cartpole"', "model = ").encode(), "not valid TOML"),
        ("study.toml", b"\xff\xfe", "UTF-8"),
        ("study.toml", b'title = "no axis"\nmodel = "cartpole"\nseeds = [0, 5]\naxis = []', "axis"),
    ],
)
def test_what_is_no_study_is_refused(
    name: str,
    content: bytes | None,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as raised:
        cli.main(["compare", str(path), "--dry"])
    assert raised.value.code == 2
    assert words in capsys.readouterr().err


def test_models_are_no_studies_and_studies_no_models(tmp_path: Path) -> None:
    assert grid.find("cartpole") is None
    assert not [name for name in spec.names() if name.startswith("studies/")]
    with pytest.raises(InputError, match="no study"):
        grid.find("studies/of-nothing")
    for name in spec.studies():
        asked = grid.find(name)
        assert asked is not None
        assert len(asked.seeds) >= 5
        asked.conditions()
