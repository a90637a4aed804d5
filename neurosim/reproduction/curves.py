"""Fig. 1, learning curves of Algorithm 1, and Fig. 2, those of Algorithm 2."""

from pathlib import Path
from typing import Any

from neurosim.analysis.statistics import describe
from neurosim.memory import Floats
from neurosim.plots import learning_curve
from neurosim.plots.learning_curve import Panel
from neurosim.reproduction import table1
from neurosim.studies.conditions import Condition, condition, read_curves
from neurosim.studies.figures import save
from neurosim.studies.tables import Row, interval, markdown, spread, write_csv, write_page

SEEDS = 10
QUICK: dict[str, Any] = {"batch.samples": 128_000}
BATCHES = 1000  # of 128 samples, that a figure "at n samples" is the mean of
MARKS = (1_000_000, 2_000_000, 4_000_000)  # samples
FIG_1: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "Multiplexer (k = 5)": [
        ("MAP propagation", "multiplexer/map_prop", {}),
        ("Backprop", "multiplexer/backprop", {}),
        ("REINFORCE", "multiplexer/reinforce", {}),
        ("REINFORCE, Thomas 2011", "multiplexer/thomas", {}),
    ],
    "Scalar regression": [
        ("MAP propagation (SL)", "regression/map_prop_sl", {}),
        ("MAP propagation (RL)", "regression/map_prop_rl", {}),
        ("Backprop", "regression/backprop", {}),
    ],
    "Scalar regression, Appendix C": [
        ("gate floor 0.01 σ", "regression/map_prop_sl", {}),
        ("no floor", "regression/map_prop_sl", {"actor.gate_floor": 0.0}),
        ("no floor, N = 40", "regression/map_prop_sl", {"actor.gate_floor": 0.0, "actor.N": 40}),
        (
            "no floor, coin",
            "regression/map_prop_sl",
            {"actor.gate_floor": 0.0, "actor.action": "coin"},
        ),
    ],
}


def fig1_conditions(quick: bool) -> list[Condition]:
    """All curves of Fig. 1, and beside them forms of the rule of Appendix C."""
    return [
        condition(label, task, name, SEEDS, QUICK if quick else None, overrides)
        for task, lines in FIG_1.items()
        for label, name, overrides in lines
    ]


def write_fig1(runs: Path, results: Path, quick: bool, command: str) -> list[Path]:
    """Write fig1.png, .pdf, .md and .csv from complete runs."""
    rewards: dict[str, dict[str, list[Floats]]] = {task: {} for task in FIG_1}
    rows: list[Row] = []
    lines: dict[str, list[list[str]]] = {task: [] for task in FIG_1}
    for each in fig1_conditions(quick):
        curves = read_curves(each, runs)
        rewards[each.task][each.label] = [curve.totals for curve in curves]
        size = int(curves[0].lengths[0])
        cells = []
        for mark in ("all", *MARKS):
            if mark == "all":
                scores = [float(curve.totals.mean()) for curve in curves]
            elif int(mark) // size <= curves[0].totals.size:
                stop = int(mark) // size
                scores = [
                    float(curve.totals[max(0, stop - BATCHES) : stop].mean()) for curve in curves
                ]
            else:
                cells.append("")
                continue
            sample = describe(scores)
            rows.append([each.task, each.label, mark, *sample, each.command])
            cells.append(spread(sample.mean, sample.std, 4))
            if mark == "all":
                cells.append(interval(sample.low, sample.high, 4))
        lines[each.task].append([each.label, *cells, str(len(curves)), f"`{each.command}`"])
    figure = learning_curve.draw_panels(
        [Panel(of_task, size, title) for title, of_task in rewards.items()], 3, one_legend=False
    )
    at = [f"at {mark:,}" for mark in MARKS]
    header = ["model", "all", "95 % interval of all", *at, "runs", "command"]
    parts = [INTRODUCTION + (table1.SHORTENED if quick else ""), "![Fig. 1](fig1.png)\n"]
    parts += [f"## {task}\n\n{markdown(header, of_task)}" for task, of_task in lines.items()]
    columns = ["task", "model", "samples", *describe([0.0])._fields, "command"]
    return [
        write_page(results / "fig1.md", "Fig. 1", parts, command),
        write_csv(results / "fig1.csv", columns, rows),
        *save(figure, results / "fig1"),
    ]


def fig2_conditions(quick: bool) -> list[Condition]:
    """The paper's four methods on its four tasks, with the runs of Table 1."""
    return [table1.row(method, task, quick) for task in table1.TASKS for method in table1.METHODS]


def write_fig2(runs: Path, results: Path, quick: bool, command: str) -> list[Path]:
    """Write fig2.png and .pdf from complete runs."""
    returns: dict[str, dict[str, list[Floats]]] = {task: {} for task in table1.TASKS}
    for each in fig2_conditions(quick):
        returns[each.task][each.label] = [curve.totals for curve in read_curves(each, runs)]
    panels = [Panel(of_task, title=table1.TASKS[task]) for task, of_task in returns.items()]
    return save(learning_curve.draw_panels(panels, 2, one_legend=True), results / "fig2")


INTRODUCTION = f"""\
Rewards of Algorithm 1, mean ± population standard deviation over runs. "All" is the mean reward \
of all samples of a run, "at n" that of the {BATCHES} batches up to sample n; the figure shows \
running averages over {learning_curve.BATCH_WINDOW} batches. The paper prints no numbers.
"""
