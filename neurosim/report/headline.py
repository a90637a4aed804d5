"""What the runs of each model scored, in large figures."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from neurosim.analysis.returns import summarise
from neurosim.report.returns import scores
from neurosim.report.subjects import Subject, gather

SEEDS = 12  # that are named


class Score(NamedTuple):
    """Of the runs of a model."""

    mean: float  # average return, or reward of batches, over all of each run, averaged over runs
    spread: float  # population standard deviation between runs, of a single run between episodes
    last: float  # the average over the last 100 episodes or batches, averaged over runs
    best: float  # episode or batch of any run


def headline(subjects: Sequence[Subject]) -> str:
    """HTML: a card for each model."""
    models: dict[str, list[Subject]] = {}
    for subject in subjects:
        models.setdefault(subject.model, []).append(subject)
    return "\n".join(_card(model, its) for model, its in models.items())


def score_of(subjects: Sequence[Subject]) -> Score | None:
    """What the runs of a model scored; None if none has finished an episode or batch."""
    found, _ = gather(subjects, scores)
    values = [each for _, each in found]
    if not values:
        return None
    summaries = [summarise(each, np.zeros(0)) for each in values]
    means = [summary.mean for summary in summaries]
    return Score(
        mean=float(np.mean(means)),
        spread=float(np.std(means if len(means) > 1 else values[0])),
        last=float(np.mean([summary.last for summary in summaries])),
        best=max(summary.best for summary in summaries),
    )


def _card(model: str, subjects: Sequence[Subject]) -> str:
    batches = subjects[0].batches
    one, unit = ("batch", "batches") if batches else ("episode", "episodes")
    value = "mean reward" if batches else "average return"
    digits = 3 if batches else 1
    score = score_of(subjects)
    if score is None:
        number, lines = "–", [f"no {unit} finished yet"]
    else:
        number = f"{score.mean:.{digits}f} <small>± {score.spread:.{digits}f}</small>"
        over = f"between {len(subjects)} runs" if len(subjects) > 1 else f"between its {unit}"
        lines = [
            f"{value} ± standard deviation {over}",
            f"last 100 {unit}: <b>{score.last:.{digits}f}</b>, best: {score.best:.{digits}f}",
        ]
    done = sorted({subject.done for subject in subjects})
    counts = f"{done[0]:,}" if len(done) == 1 else f"{done[0]:,} to {done[-1]:,}"
    task = escape(subjects[0].spec.task.id)
    mode = "Algorithm 1" if batches else str(subjects[0].run.attribute("mode"))
    lines.append(f"{task}, {counts} {one if counts == '1' else unit}, {mode}")
    unfinished = sum(not subject.run.complete for subject in subjects)
    if unfinished:
        lines.append(f"<em>{unfinished} of {len(subjects)} not complete</em>")
    text = "".join(f"<p>{each}</p>" for each in lines)
    return (
        f'<article class="card" style="border-color: {subjects[0].colour}">'
        f"<h2>{escape(model).replace('+', '+<wbr>')} <small>{_seeds(subjects)}</small></h2>"
        f'<p class="number">{number}</p>{text}</article>'
    )


def _seeds(subjects: Sequence[Subject]) -> str:
    seeds = sorted({subject.run.seed for subject in subjects})
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    named = ", ".join(map(str, seeds[:SEEDS]))
    return f"seeds {named}" + (f" and {len(seeds) - SEEDS} more" if len(seeds) > SEEDS else "")
