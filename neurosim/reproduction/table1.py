"""Table 1: average return over all episodes of a run, beside the published values."""

from pathlib import Path
from typing import Any

from neurosim.analysis.statistics import Sample, describe
from neurosim.reproduction.published import TABLE_1, Published
from neurosim.studies.conditions import Condition, condition, read_curves
from neurosim.studies.tables import Row, interval, markdown, spread, write_csv, write_page

TASKS = {
    "acrobot": "Acrobot",
    "cartpole": "CartPole",
    "lunarlander": "LunarLander",
    "mountaincar": "MountainCar",
}
SEEDS = 10  # as many runs as the paper's
MORE_SEEDS = {  # where single runs decide the mean
    ("MAP propagation", "acrobot"): 30,
    ("MAP propagation", "lunarlander"): 20,
    ("MAP propagation", "mountaincar"): 20,
    ("Backprop", "mountaincar"): 20,
}
QUICK_EPISODES = {"acrobot": 20, "cartpole": 100, "lunarlander": 20, "mountaincar": 100}
METHODS = {  # of the paper, and the folder of their model files
    "MAP propagation": "",
    "REINFORCE": "reinforce/",
    "REINFORCE, Thomas 2011": "thomas/",
    "Backprop": "backprop/",
}
NO_ACTION_MAP = {"task.action_map": [1.0, 0.0]}  # the environment is given clip(A, -1, 1)
OTHERS: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {  # folder, tasks, other values
    "Backprop, eq. (10)": ("reparameterised/", ("acrobot", "cartpole", "mountaincar"), {}),
    "MAP propagation, discount 0.99": ("", ("lunarlander",), {"learning.gamma": 0.99}),
    "MAP propagation, no action map": ("", ("mountaincar",), NO_ACTION_MAP),
    "Backprop, no action map": ("backprop/", ("mountaincar",), NO_ACTION_MAP),
}  # that the paper has no row for
RECENT = 100  # episodes at the end of a run


def conditions(quick: bool) -> list[Condition]:
    """All rows of the table, task by task."""
    return [
        row(method, task, quick)
        for task in TASKS
        for method in (*METHODS, *OTHERS)
        if method in METHODS or task in OTHERS[method][1]
    ]


def row(method: str, task: str, quick: bool) -> Condition:
    """The runs of a method on a task."""
    folder, _, changed = (METHODS[method], (), {}) if method in METHODS else OTHERS[method]
    seeds = MORE_SEEDS.get((method, task), SEEDS)
    shortened: dict[str, Any] | None = {"task.episodes": QUICK_EPISODES[task]} if quick else None
    return condition(method, task, folder + task, seeds, shortened, changed)


def write(runs: Path, results: Path, quick: bool, command: str) -> list[Path]:
    """Write table1.md, table1.csv and table1-runs.csv from complete runs."""
    of_runs: list[Row] = []
    rows: list[Row] = []
    shown: dict[str, list[list[str]]] = {task: [] for task in TASKS}
    for each in conditions(quick):
        scores = []
        for curve in read_curves(each, runs):
            scores.append(float(curve.totals.mean()))
            steps, last = int(curve.lengths.sum()), float(curve.totals[-RECENT:].mean())
            numbers = (curve.seed, curve.totals.size, steps, scores[-1], last)
            of_runs.append([each.task, each.label, each.name, *numbers])
        sample, published = describe(scores), TABLE_1.get(each.label, {}).get(each.task)
        rows.append([each.task, each.label, *(published or ("", "")), *sample, each.command])
        shown[each.task].append(
            [
                each.label,
                spread(*published) if published else "",
                spread(sample.mean, sample.std),
                str(sample.n),
                interval(sample.low, sample.high),
                f"{sample.iqm:.2f}",
                verdict(sample, published) if published and not quick else "",
                f"`{each.command}`",
            ]
        )
    header = ["method", "paper", "ours", "runs", "95 % interval", "IQM", "ours is", "command"]
    parts = [INTRODUCTION + (SHORTENED if quick else "")]
    for task, lines in shown.items():
        parts.append(f"## {TASKS[task]}\n\n{markdown(header, lines)}")
    columns = ["task", "method", "paper_mean", "paper_std", *Sample._fields, "command"]
    columns_of_runs = ["task", "method", "model", "seed", "episodes", "steps", "mean", "last_100"]
    return [
        write_page(results / "table1.md", "Table 1", parts, command),
        write_csv(results / "table1.csv", columns, rows),
        write_csv(results / "table1-runs.csv", columns_of_runs, of_runs),
    ]


def verdict(sample: Sample, published: Published) -> str:
    """Whether our mean lies within one published standard deviation of the published mean."""
    difference = sample.mean - published.mean
    if abs(difference) <= published.std:
        return "within ± 1 std"
    return "better" if difference > 0 else "worse"


INTRODUCTION = """\
Average return over all episodes of a run, mean ± population standard deviation over runs, as in \
the paper's Table 1. The interval is the bias-corrected bootstrap's of the mean, IQM the mean of \
the middle half of the runs. "Within ± 1 std": our mean is at most one published standard \
deviation from the published one.
"""
SHORTENED = """
**Shortened runs, of two seeds: they show that everything works, and say nothing of the paper.**
"""
