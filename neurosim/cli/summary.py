"""Runs on one screen."""

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neurosim.spec import Actor, Critic, MonteCarloActor

WINDOWS = 8  # that are named


def describe(folder: Path) -> None:
    """What a run is, how far it has come, what was recorded of it."""
    from neurosim import record, spec

    with record.open_run(folder) as run:
        model = spec.parse(run.attribute("model"), run.attribute("model_name"))
        batches = isinstance(model.spec, spec.MonteCarloSpec)
        unit = "batches" if batches else "episodes"
        state = "complete" if run.complete else "incomplete, `neurosim resume` goes on with it"
        lines = {
            "run": f"{model.name}, seed {run.seed}: {state}",
            "what": model.spec.description,
            "task": f"{model.spec.task.id}, {model.length} {unit}, {model.mode}",
            "actor": _team(model.spec.actor),
        }
        if not isinstance(model.spec, spec.MonteCarloSpec):
            lines["critic"] = _team(model.spec.critic)
        if run.windows:
            shown = ", ".join(f"{each.episode} ({each.n_steps})" for each in run.windows[:WINDOWS])
            more = len(run.windows) - WINDOWS
            rest = f" and {more} more" if more > 0 else ""
            lines["windows"] = f"of episodes (steps) {shown}{rest}"
        versions = json.loads(run.attribute("versions"))
        packages = ", ".join(f"{name} {versions[name]}" for name in ("neurosim", "numba", "numpy"))
        lines["made"] = f"{run.attribute('created')} with {packages}"
    for key, text in lines.items():
        print(f"{key:<9}{text}")
    print()


def _team(team: "Actor | Critic | MonteCarloActor") -> str:
    """Layers, rule, and what its relaxation goes by."""
    activation = ", ".join(dict.fromkeys(team.activation))
    hidden = f"{'-'.join(map(str, team.units))} {activation}" if team.units else "no hidden layers"
    text = f"{hidden}, {team.output} output, {team.rule}"
    if team.rule != "map_prop" or not team.N:
        return text
    step = f"c = {team.step_size:g}" if team.proposal is None else f"proposal = {team.proposal:g}"
    return f"{text}, N = {team.N}, {step}"


def summarise(folders: Sequence[Path]) -> None:
    """What runs have scored, a table for each model, and what their units exchanged."""
    for _, of_one in groupby(folders, key=lambda folder: folder.parent):
        _summarise_model(list(of_one))
    _summarise_traffic(folders)


def _summarise_model(folders: Sequence[Path]) -> None:
    """What the runs of a model have scored."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from neurosim import record
    from neurosim.analysis import returns

    with record.open_run(folders[0]) as opened:
        by_batches = opened.attribute("mode") == "monte_carlo"
    headings = ("run", "episodes", "steps", "mean return", "last 100", "best", "")
    if by_batches:
        headings = ("run", "batches", "samples", "mean reward", "last 100", "best", "")
    digits = 4 if by_batches else 2
    table = Table(*headings, box=None, header_style="bold", pad_edge=False)
    table.columns[0].overflow = "fold"
    means = []
    for folder in folders:
        with record.open_run(folder) as opened:
            if not max(len(opened.episodes), len(opened.batches)):
                table.add_row(str(folder), "0", "", "", "", "", "incomplete")
                continue
            if by_batches:
                lengths = np.diff(opened.batches["samples"][:], prepend=0)
                summary = returns.summarise(opened.batches["reward"][:], lengths)
            else:
                summary = returns.summarise(
                    opened.episodes["return"][:], opened.episodes["length"][:]
                )
            numbers = (summary.mean, summary.last, summary.best)
            state = "" if opened.complete else "incomplete"
            table.add_row(
                str(folder),
                str(summary.episodes),
                str(summary.steps),
                *(f"{number:.{digits}f}" for number in numbers),
                state,
            )
            means.append(summary.mean)
    if len(means) > 1:
        spread = f"{np.mean(means):.{digits}f} ± {np.std(means):.{digits}f}"
        table.add_row(f"mean ± std of {len(means)} runs", "", "", spread, "", "", "")
    Console().print(table)


def _summarise_traffic(folders: Sequence[Path]) -> None:
    """What the agents of asynchronous runs exchanged, for each step of the environment."""
    from rich.console import Console
    from rich.table import Table

    from neurosim import record
    from neurosim.analysis import traffic
    from neurosim.spec import TEAMS

    headings = ("each step", "packets", "lost", "discarded", "in flight", "ticks", "idle", "MACs")
    table = Table(*headings, "age", box=None, header_style="bold", pad_edge=False)
    for folder in folders:
        with record.open_run(folder) as opened:
            if opened.attribute("mode") != "asynchronous" or not len(opened.steps):
                continue
            for team in TEAMS:
                total = traffic.totals(opened, team)
                each = [f"{n / max(1, total.sent):.1%}" for n in total[2:5]]
                ticks = (total.value_ticks + total.error_ticks, total.idle_ticks)
                numbers = (total.sent, *ticks, total.multiply_adds)
                sent, *rest = (f"{n / len(opened.steps):.0f}" for n in numbers)
                age = f"{total.staleness:.2f}"
                table.add_row(f"{team} {opened.seed}", sent, *each, *rest, age)
    if table.row_count:
        Console().print(table)
