"""A comparison: what the conditions of a grid scored, each against the reference."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neurosim import record
from neurosim.analysis.relaxation import Relaxation
from neurosim.analysis.statistics import Difference, Sample, compare, describe, holm
from neurosim.memory import Floats
from neurosim.plots import comparison
from neurosim.plots import relaxation as relaxation_plot
from neurosim.spec import TEAMS
from neurosim.studies.conditions import Condition, Curve, read_curves
from neurosim.studies.figures import save
from neurosim.studies.grid import Grid
from neurosim.studies.measures import MEASURES, Subject
from neurosim.studies.tables import Row, interval, markdown, spread, write_csv, write_page

RESIDUAL = "residual"  # the measure that has a figure of its own
RECENT = 100  # episodes at the end of a run


class Compared(NamedTuple):
    """A condition and its scores."""

    point: tuple[str, ...]  # names of its values, axis by axis
    condition: Condition
    curves: list[Curve]
    scores: list[float]  # (seeds,) average return over all episodes of a run
    sample: Sample
    difference: Difference | None  # from the reference, None for the reference itself
    p_holm: float  # corrected for the number of comparisons
    measured: Floats  # (measures, seeds) what the grid's measures say of each run
    relaxations: list[dict[str, Relaxation]]  # of each run, by team; [] without the residual


def evaluate(grid: Grid, runs: Path) -> list[Compared]:
    """Read and compare the complete runs of a grid, condition by condition."""
    conditions = grid.conditions()
    curves = [read_curves(each, runs) for each in conditions]
    scores = [[float(curve.totals.mean()) for curve in of_one] for of_one in curves]
    differences = [None, *(compare(each, scores[0]) for each in scores[1:])]
    corrected = [1.0, *holm([each.p for each in differences if each is not None])]
    return [
        Compared(
            point,
            condition,
            of_one,
            own,
            describe(own),
            difference,
            p,
            *_measured(grid.measures, condition, runs),
        )
        for point, condition, of_one, own, difference, p in zip(
            grid.points(), conditions, curves, scores, differences, corrected, strict=True
        )
    ]


def write(grid: Grid, runs: Path, results: Path, command: str) -> list[Path]:
    """Write comparison.md, .csv, .png and .pdf and runs.csv from complete runs.

    Where the residual is measured, relaxation.png and .pdf show it tick by tick.
    """
    compared = evaluate(grid, runs)
    labels = [axis.label for axis in grid.axes]
    measured = [MEASURES[name].label for name in grid.measures]
    rows: list[Row] = []
    of_runs: list[Row] = []
    lines = []
    for each in compared:
        difference = each.difference or Difference(0.0, float("nan"), float("nan"), 1.0)
        medians = np.median(each.measured, axis=1)
        statistics = [*each.sample, *difference, each.p_holm]
        rows.append([*each.point, *statistics, *medians, each.condition.command])
        for curve, score, own in zip(each.curves, each.scores, each.measured.T, strict=True):
            steps, last = int(curve.lengths.sum()), float(curve.totals[-RECENT:].mean())
            of_runs.append([*each.point, curve.seed, curve.totals.size, steps, score, last, *own])
        against = ["reference", "", ""]
        if each.difference is not None:
            against = [
                f"{difference.mean:+.2f}",
                interval(difference.low, difference.high),
                f"{each.p_holm:.2g}",
            ]
        sample = each.sample
        lines.append(
            [
                *each.point,
                str(sample.n),
                spread(sample.mean, sample.std),
                interval(sample.low, sample.high),
                f"{sample.iqm:.2f}",
                *against,
                *(_median(own) for own in each.measured),
            ]
        )
    header = [*labels, "runs", "return", "95 % interval", "IQM", "difference", "95 %", "p (Holm)"]
    header += measured
    intro = INTRODUCTION.format(reference=compared[0].condition.label)
    if measured:
        intro += OF_MEASURES
    figures = ["comparison"] + ["relaxation"] * (RESIDUAL in grid.measures)
    parts = [intro, *(f"![{name}]({name}.png)\n" for name in figures), markdown(header, lines)]
    columns = [*labels, *Sample._fields, "difference", "difference_low", "difference_high"]
    columns += ["p", "p_holm", *grid.measures, "command"]
    columns_of_runs = [*labels, "seed", "episodes", "steps", "mean", "last_100", *grid.measures]
    drawn = {"comparison": comparison.draw(grid.axes, *_panels(grid, compared))}
    if RESIDUAL in grid.measures:
        drawn["relaxation"] = relaxation_plot.draw(
            {", ".join(each.point): _joined(each.relaxations) for each in compared}
        )
    return [
        write_page(results / "comparison.md", grid.title, parts, command),
        write_csv(results / "comparison.csv", columns, rows),
        write_csv(results / "runs.csv", columns_of_runs, of_runs),
        *(path for name, figure in drawn.items() for path in save(figure, results / name)),
    ]


def _median(values: Floats) -> str:
    return f"{np.median(values):.3g} ({values.min():.3g} … {values.max():.3g})"


def _measured(
    names: Sequence[str], condition: Condition, runs: Path
) -> tuple[Floats, list[dict[str, Relaxation]]]:
    """What measures say of the runs of a condition; and their relaxations, where one needs them."""
    found, relaxations = np.zeros((len(names), len(condition.seeds))), []
    for k, folder in enumerate(condition.folders(runs) if names else []):
        with record.open_run(folder) as run:
            subject = Subject(run)
            found[:, k] = [MEASURES[name].of(subject) for name in names]
            if RESIDUAL in names:
                relaxations.append(subject.relaxations)
    return found, relaxations


def _joined(relaxations: Sequence[dict[str, Relaxation]]) -> dict[str, Relaxation]:
    """The recorded steps of all runs of a condition, by team."""
    return {
        team: Relaxation(*map(np.concatenate, zip(*(of[team] for of in relaxations), strict=True)))
        for team in TEAMS
    }


def _panels(
    grid: Grid, compared: Sequence[Compared]
) -> tuple[list[comparison.Panel], comparison.Marks | None]:
    """What the figure shows: the score, then each measure; and what is marked, if anything."""
    score = [
        comparison.Point(each.point, each.scores, each.sample.mean, each.sample[4:6])
        for each in compared
    ]
    panels = [comparison.Panel("average return", score)]
    for k, name in enumerate(grid.measures):
        points = [
            comparison.Point(each.point, each.measured[k], float(np.median(each.measured[k])))
            for each in compared
        ]
        panels.append(comparison.Panel(MEASURES[name].label, points, MEASURES[name].log))
    if grid.mark is None:
        return panels, None
    marked = panels[1 + grid.measures.index(grid.mark)].points
    places = [point.middle for point in marked[:: len(grid.axes[-1].settings)]]
    return panels, comparison.Marks(MEASURES[grid.mark].label, places)


INTRODUCTION = """\
Average return over all episodes of a run, mean ± population standard deviation over the runs. \
The intervals are bias-corrected bootstrap intervals of the mean, IQM is the mean of the middle \
half of the runs. Every condition has the same seeds, so the same environments and the same unit \
noise; its difference from the reference ({reference}) is taken seed by seed and tested by \
permuting signs, with Holm's correction for the number of conditions.
"""

OF_MEASURES = """\
Of what is measured beside the return: median over the runs (lowest … highest).
"""
