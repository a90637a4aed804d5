"""Each demo runs from top to bottom, as a reader would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import neurosim

DEMOS = sorted((Path(__file__).parents[1] / "demos").glob("*.py"))
FEWER = {"two_modes": 4, "broken_feedback": 6, "hill_climbing": 20}  # episodes, steps
RUNS = {  # model and settings of the run that a demo is given
    "fig5": ("mountaincar", {"task.episodes": 2}),
    "offline_analysis": (
        "async/cartpole",
        {"task.episodes": 2, "record": [{"episodes": [2], "steps": [0, 3]}]},
    ),
}


def arguments(demo: str, folder: Path) -> list[str]:
    """What a demo is called with, so that it takes a second or two."""
    if demo in FEWER:
        return [str(FEWER[demo])]
    if demo in RUNS:
        model, settings = RUNS[demo]
        return [str(neurosim.run(neurosim.load(model, settings), 0, folder) / "run.h5")]
    return []


@pytest.mark.parametrize("demo", DEMOS, ids=lambda path: path.stem)
def test_the_demo_runs_and_draws_what_it_says(demo: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", demo, *arguments(demo.stem, tmp_path / "runs")],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    figure = tmp_path / f"{demo.stem}.png"
    assert figure.exists() == (f"draws {figure.name}" in demo.read_text())


@pytest.mark.parametrize("demo", DEMOS, ids=lambda path: path.stem)
def test_a_demo_is_short_and_shown_in_the_documentation(demo: Path) -> None:
    assert len(demo.read_text().splitlines()) < 80
    shown = (demo.parents[1] / "docs" / "demos.md").read_text()
    assert f"literalinclude}} ../demos/{demo.name}" in shown


def test_the_analysis_without_neurosim_imports_none_of_it() -> None:
    (offline,) = (demo for demo in DEMOS if demo.stem == "offline_analysis")
    imported = [line for line in offline.read_text().splitlines() if line.startswith("import")]
    assert imported
    assert not any("neurosim" in line for line in imported)
