"""What studies say of runs beside what they scored: numbers, columns, panels, errors."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

import neurosim
from neurosim import cli
from neurosim.analysis.alignment import alignment
from neurosim.analysis.relaxation import relaxation
from neurosim.analysis.replay import Step, replay
from neurosim.errors import InputError
from neurosim.plots import comparison as plot
from neurosim.record.reader import Run
from neurosim.spec import TEAMS
from neurosim.studies import grid, measures
from neurosim.studies.measures import MEASURES

STUDY = """
title = "Small teams, measured"
model = "async/cartpole"
seeds = [0, 2]
measures = ["packets", "feedback_angle", "residual", "cosine", "critical_delay"]
mark = "critical_delay"

[set]
"task.episodes" = 3
"actor.units" = [6, 4]
"critic.units" = [6, 4]
"record" = [{ episodes = [3], steps = [0, 4] }]

[[axis]]
label = "feedback"
key = "timing.feedback"
values = ["kolen_pollack", "random"]

[[axis]]
label = "N"
[axis.values.2]
"actor.N" = 2
"critic.N" = 2
[axis.values.30]
"actor.N" = 30
"critic.N" = 30
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the study was run."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "study.toml").write_text(STUDY)
    folders = ["--runs", str(folder / "runs"), "--out", str(folder / "out")]
    cli.main(["compare", str(folder / "study.toml"), *folders, "--quiet"])
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_run_has_a_column_for_each_measure(study: Path) -> None:
    rows = rows_of(study / "out/runs.csv")
    assert len(rows) == 8
    asked = grid.find(str(study / "study.toml"))
    assert asked is not None
    folders = [path for each in asked.conditions() for path in each.folders(study / "runs")]
    for row, folder in zip(rows, folders, strict=True):
        with h5py.File(folder / "run.h5") as file:
            steps = len(file["steps/reward"])
            sent = sum(file[f"steps/{team}_sent"][:].sum() for team in ("actor", "critic"))
            assert float(row["packets"]) == pytest.approx(sent / steps, rel=1e-12)
            angles = []
            for team in ("actor", "critic"):
                weights = file[f"teams/{team}/weights/final"]
                for l in (2, 3):
                    B, W = weights[f"B{l}"][:].ravel(), weights[f"W{l}"][:].T.ravel()
                    cosine = B @ W / np.sqrt((B @ B) * (W @ W))
                    angles.append(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
            assert float(row["feedback_angle"]) == pytest.approx(np.mean(angles), abs=1e-5)


def test_more_ticks_leave_less_and_exact_feedback_settles_where_random_feedback_does_not(
    study: Path,
) -> None:
    rows = rows_of(study / "out/comparison.csv")
    residual = {(row["feedback"], row["N"]): float(row["residual"]) for row in rows}
    cosine = {(row["feedback"], row["N"]): float(row["cosine"]) for row in rows}
    assert residual["kolen_pollack", "30"] < 0.01 * residual["kolen_pollack", "2"]
    assert residual["kolen_pollack", "30"] < 0.01 * residual["random", "30"]
    assert cosine["kolen_pollack", "30"] > 0.99 > cosine["random", "30"]


def test_the_page_has_medians_and_the_relaxation_has_a_figure(study: Path) -> None:
    rows = rows_of(study / "out/runs.csv")[:2]
    packets = sorted(float(row["packets"]) for row in rows)
    text = (study / "out/comparison.md").read_text()
    assert f"{np.median(packets):.3g} ({packets[0]:.3g} … {packets[1]:.3g})" in text
    assert "![relaxation](relaxation.png)" in text
    for name in ("comparison.png", "comparison.pdf", "relaxation.png", "relaxation.pdf"):
        assert (study / "out" / name).stat().st_size > 5_000


def test_a_run_is_replayed_once_for_all_its_measures(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = grid.find(str(study / "study.toml"))
    assert asked is not None
    replayed = []

    def counted(run: Run, team: str) -> Iterator[Step]:
        replayed.append(team)
        return replay(run, team)

    monkeypatch.setattr(measures, "replay", counted)
    with neurosim.open(asked.conditions()[0].folders(study / "runs")[0]) as run:
        subject = measures.Subject(run)
        for name in ("residual", "cosine", "residual"):
            MEASURES[name].of(subject)
        assert replayed == [*TEAMS]
        for team, found in zip(TEAMS, subject.alignments, strict=True):
            for mine, theirs in (
                *zip(subject.relaxations[team], relaxation(run, team), strict=True),
                *zip(found, alignment(run, team), strict=True),
            ):
                np.testing.assert_array_equal(mine, theirs)


def test_a_mark_stands_where_its_measure_is_at_the_first_point_of_a_line() -> None:
    axes = (
        grid.Axis("setting", {"a": {}, "b": {}}),
        grid.parse_axis("timing.delay=0,1,2"),
    )
    names = [(a, d) for a in "ab" for d in "012"]
    points = [plot.Point(each, [1.0, 2.0], 1.5, (1.0, 2.0)) for each in names]
    marks = plot.Marks("angle (degrees)", [0.75, np.inf])
    figure = plot.draw(axes, [plot.Panel("return", points)], marks)
    panel = figure.axes[0]
    upright = [
        line for line in panel.lines if line.get_linestyle() == "--" and len(line.get_xdata())
    ]
    assert [line.get_xdata()[0] for line in upright] == [0.75]
    assert len(figure.axes) == 1
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["setting = a", "setting = b", "angle (degrees)"]
    of_one = [plot.Point((d,), [1.0, 2.0], 1.5, (1.0, 2.0)) for d in "012"]
    (alone,) = plot.draw(axes[1:], [plot.Panel("return", of_one)], marks).legends
    assert [text.get_text() for text in alone.get_texts()] == ["angle (degrees)"]


def test_exploration_is_the_share_of_cells_that_the_first_episodes_visited(
    tmp_path: Path,
) -> None:
    small = ["task.episodes=101", 'task.options={"max_episode_steps"=5}', "actor.N=1"]
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    over = ["--over", "learning.gamma=0.9", "--seeds", "0:1", "--measure", "explored"]
    cli.main(["compare", "mountaincar", *over, *folders, "--quiet", "--set", *small])
    (row,) = rows_of(tmp_path / "out/runs.csv")
    with h5py.File(next((tmp_path / "runs").rglob("run.h5"))) as file:
        points = file["steps/observation"][: 5 * 100]
    low, high = np.array([-1.2, -0.07]), np.array([0.6, 0.07])
    cells = {tuple(cell) for cell in np.floor((points - low) / (high - low) * 20).astype(int)}
    assert float(row["explored"]) == pytest.approx(len(cells) / 400, rel=1e-12)


@pytest.mark.parametrize(
    ("model", "measure", "problem"),
    [
        ("cartpole", "packet", "there is none; give one of packets"),
        ("cartpole", "packets", "take an async/ model"),
        ("cartpole", "residual", "is of recorded steps; set some"),
        ("cartpole", "explored", "observations are bounded"),
        ("backprop/cartpole", "critical_delay", "is of teams with rule"),
        ("backprop/cartpole", "residual", "both of them"),
        ("multiplexer/map_prop", "residual", "is of runs with episodes"),
    ],
)
def test_what_runs_would_not_have_is_refused_before_they_are_made(
    model: str,
    measure: str,
    problem: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    over = "batch.size=8,16" if "multiplexer" in model else "learning.gamma=0.8,0.9"
    with pytest.raises(SystemExit) as stopped:
        cli.main(["compare", model, "--over", over, *folders, "--measure", measure])
    assert stopped.value.code == 2
    assert problem in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_mark_is_one_of_the_measures(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(STUDY.replace('"residual", "cosine", "critical_delay"', '"residual"'))
    with pytest.raises(InputError, match="add it to measures"):
        grid.find(str(path))


def test_every_measure_is_named_on_the_page_of_studies() -> None:
    page = (Path(__file__).parent.parent / "docs/studies.md").read_text()
    assert all(f"`{name}`" in page for name in MEASURES)
