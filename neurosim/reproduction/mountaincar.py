"""Figs. 4 and 5: selected MountainCar runs, their returns and their trajectories."""

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neurosim import record
from neurosim.analysis.coverage import bounds_of, coverage
from neurosim.analysis.observations import observed
from neurosim.analysis.trajectories import trajectory
from neurosim.memory import Floats
from neurosim.plots import learning_curve, trajectories
from neurosim.plots.learning_curve import Panel
from neurosim.reproduction import table1
from neurosim.studies.conditions import Condition, Curve, read_curves
from neurosim.studies.figures import save
from neurosim.studies.tables import Row, markdown, spread, write_csv, write_page

EPISODES = (1, 50, 100)  # of Fig. 5
BINS = 20  # cells of the grid along position and along velocity
METHODS = (
    "MAP propagation",
    "Backprop",
    "MAP propagation, no action map",
    "Backprop, no action map",
)


class Selected(NamedTuple):
    """A run of the figures."""

    label: str
    folder: Path
    curve: Curve


def conditions(quick: bool) -> list[Condition]:
    """MountainCar by MAP propagation and by backprop, with and without the map of actions."""
    return [table1.row(method, "mountaincar", quick) for method in METHODS]


def select(runs: Path, quick: bool) -> list[Selected]:
    """MAP propagation's median run, backprop's best, and backprop's median one without the map.

    By average return.
    """
    by_method = {}
    for each in conditions(quick):
        pairs = zip(each.folders(runs), read_curves(each, runs), strict=True)
        by_method[each.label] = sorted(pairs, key=lambda pair: pair[1].totals.mean())
    ours, theirs, _, failed = (by_method[method] for method in METHODS)
    return [
        Selected("MAP propagation", *ours[len(ours) // 2]),
        Selected("Backprop, successful", *theirs[-1]),
        Selected("Backprop, failed (no action map)", *failed[len(failed) // 2]),
    ]


def write_fig4(runs: Path, results: Path, quick: bool, command: str) -> list[Path]:
    """Write fig4.png and .pdf from complete runs."""
    returns = {each.label: [each.curve.totals] for each in select(runs, quick)}
    panel = Panel(returns, title=table1.TASKS["mountaincar"])
    return save(learning_curve.draw_panels([panel], 1, one_legend=False), results / "fig4")


def write_fig5(runs: Path, results: Path, quick: bool, command: str) -> list[Path]:
    """Write fig5.png and .pdf, and the coverage of all runs as fig5.md and fig5.csv."""
    chosen = select(runs, quick)
    with ExitStack() as stack:
        opened = {
            f"{each.label} (seed {each.curve.seed})": stack.enter_context(
                record.open_run(each.folder)
            )
            for each in chosen
        }
        panels = {
            label: {episode: trajectory(run, episode, (0, 1)) for episode in EPISODES}
            for label, run in opened.items()
        }
        components = observed(next(iter(opened.values()))).components[:2]
    figure = trajectories.draw(panels, (components[0], components[1]))
    rows: list[Row] = []
    lines = []
    for each in conditions(quick):
        explored = [_explored(folder) for folder in each.folders(runs)]
        for seed, run in zip(each.seeds, explored, strict=True):
            rows.append([each.label, seed, run.average_return, run.first_goal, *run.covered])
        for name, group in _groups(each.label, explored).items():
            if group:
                columns = np.array([run.covered for run in group])
                cells = [spread(*pair, 3) for pair in zip(*_moments(columns), strict=True)]
                reached = [run.first_goal for run in group if run.first_goal]
                first = f"{np.median(reached):.0f}" if reached else "never"
                lines.append([name, str(len(group)), first, *cells])
    header = ["runs", "number", "first goal, median episode"]
    header += [f"episodes 1 to {episode}" for episode in EPISODES] + ["whole run"]
    parts = [
        INTRODUCTION + (table1.SHORTENED if quick else ""),
        "![Fig. 5](fig5.png)\n",
        markdown(header, lines),
    ]
    names = ["method", "seed", "average_return", "first_goal"]
    names += [f"coverage_{episode}" for episode in EPISODES] + ["coverage_all"]
    return [
        write_page(results / "fig5.md", "Fig. 5", parts, command),
        write_csv(results / "fig5.csv", names, rows),
        *save(figure, results / "fig5"),
    ]


class Explored(NamedTuple):
    """How a run explored."""

    average_return: float
    first_goal: int  # episode that reached the goal first, 0: none
    covered: tuple[float, ...]  # fraction of the grid, after each of EPISODES and the whole run


def _explored(folder: Path) -> Explored:
    with record.open_run(folder) as run:
        returns, terminated = run.episodes["return"][:], run.episodes["terminated"][:]
        visited = coverage(run, (0, 1), bounds_of([run], (0, 1)), BINS).fraction
        goals = np.flatnonzero(terminated)
        first_goal = int(goals[0]) + 1 if goals.size else 0
        covered = tuple(float(visited[episode - 1]) for episode in (*EPISODES, visited.size))
        return Explored(float(returns.mean()), first_goal, covered)


def _groups(label: str, explored: list[Explored]) -> dict[str, list[Explored]]:
    """Runs by whether they learned the task: an average return above that of staying put, 0."""
    return {
        f"{label}, average return > 0": [run for run in explored if run.average_return > 0],
        f"{label}, average return ≤ 0": [run for run in explored if run.average_return <= 0],
    }


def _moments(columns: Floats) -> tuple[Floats, Floats]:
    return columns.mean(axis=0), columns.std(axis=0)


INTRODUCTION = f"""\
States of the first, 50th and 100th episode of three MountainCar runs: by average return MAP \
propagation's median run, backprop's best, and backprop's median run without the action map of the \
published experiments, which turns an output of 0 into a full push to the right. The table tells \
of all runs: which fraction of a grid of {BINS} × {BINS} cells over position and velocity they \
had visited, mean ± population standard deviation, and when they first reached the goal. A run \
that stays in the valley has an average return of at most 0.
"""
