"""A comparison: what the conditions of a grid scored, each against the reference."""

from pathlib import Path
from typing import NamedTuple

from neurosim.analysis.statistics import Difference, Sample, compare, describe, holm
from neurosim.plots import comparison
from neurosim.studies.conditions import Condition, Curve, read_curves
from neurosim.studies.figures import save
from neurosim.studies.grid import Grid
from neurosim.studies.tables import Row, interval, markdown, spread, write_csv, write_page

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


def evaluate(grid: Grid, runs: Path) -> list[Compared]:
    """Read and compare the complete runs of a grid, condition by condition."""
    conditions = grid.conditions()
    curves = [read_curves(each, runs) for each in conditions]
    scores = [[float(curve.totals.mean()) for curve in of_one] for of_one in curves]
    differences = [None, *(compare(each, scores[0]) for each in scores[1:])]
    corrected = [1.0, *holm([each.p for each in differences if each is not None])]
    return [
        Compared(point, condition, of_one, own, describe(own), difference, p)
        for point, condition, of_one, own, difference, p in zip(
            grid.points(), conditions, curves, scores, differences, corrected, strict=True
        )
    ]


def write(grid: Grid, runs: Path, results: Path, command: str) -> list[Path]:
    """Write comparison.md, .csv, .png and .pdf and runs.csv from complete runs."""
    compared = evaluate(grid, runs)
    labels = [axis.label for axis in grid.axes]
    rows: list[Row] = []
    of_runs: list[Row] = []
    lines = []
    for each in compared:
        difference = each.difference or Difference(0.0, float("nan"), float("nan"), 1.0)
        rows.append([*each.point, *each.sample, *difference, each.p_holm, each.condition.command])
        for curve, score in zip(each.curves, each.scores, strict=True):
            steps, last = int(curve.lengths.sum()), float(curve.totals[-RECENT:].mean())
            of_runs.append([*each.point, curve.seed, curve.totals.size, steps, score, last])
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
            ]
        )
    header = [*labels, "runs", "return", "95 % interval", "IQM", "difference", "95 %", "p (Holm)"]
    intro = INTRODUCTION.format(reference=compared[0].condition.label)
    parts = [intro, "![comparison](comparison.png)\n", markdown(header, lines)]
    columns = [*labels, *Sample._fields, "difference", "difference_low", "difference_high"]
    columns += ["p", "p_holm", "command"]
    columns_of_runs = [*labels, "seed", "episodes", "steps", "mean", "last_100"]
    points = [
        comparison.Point(each.point, each.scores, each.sample.mean, each.sample[4:6])
        for each in compared
    ]
    figure = comparison.draw(grid.axes, points)
    return [
        write_page(results / "comparison.md", grid.title, parts, command),
        write_csv(results / "comparison.csv", columns, rows),
        write_csv(results / "runs.csv", columns_of_runs, of_runs),
        *save(figure, results / "comparison"),
    ]


INTRODUCTION = """\
Average return over all episodes of a run, mean ± population standard deviation over the runs. \
The intervals are bias-corrected bootstrap intervals of the mean, IQM is the mean of the middle \
half of the runs. Every condition has the same seeds, so the same environments and the same unit \
noise; its difference from the reference ({reference}) is taken seed by seed and tested by \
permuting signs, with Holm's correction for the number of conditions.
"""
