"""Conditions: models, with the seeds that they are run with."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import numpy as np

from neurosim import experiment, record, sweep
from neurosim.memory import Floats
from neurosim.spec import Model, as_settings, load, variant

QUICK_SEEDS = 2


class Condition(NamedTuple):
    """Runs that differ in their seeds alone."""

    label: str  # in tables and figures
    task: str  # what it is compared on, such as "cartpole"
    name: str  # of its model file
    overrides: Mapping[str, Any]
    seeds: Sequence[int]

    @property
    def model(self) -> Model:
        """The model; with other values, it has a name of its own."""
        return variant(load(self.name), self.overrides)

    @property
    def command(self) -> str:
        """The command that makes the same runs."""
        texts = as_settings(self.overrides)
        keys = ["--set", *map(quoted, texts)] if texts else []
        seeds = f"{self.seeds[0]}:{self.seeds[-1] + 1}"
        return " ".join(["neurosim run", self.name, "--seeds", seeds, *keys])

    def folders(self, runs: Path) -> list[Path]:
        """Where its runs are, below the folder of all runs."""
        model = self.model
        return [experiment.run_folder(model, seed, runs) for seed in self.seeds]


class Curve(NamedTuple):
    """What a run scored, episode by episode or batch by batch."""

    seed: int
    totals: Floats  # (episodes,) returns, or (batches,) mean rewards
    lengths: Floats  # (episodes,) steps, or (batches,) samples


def condition(
    label: str,
    task: str,
    name: str,
    seeds: int,
    quick: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Condition:
    """A condition with the seeds 0 ... seeds - 1; shortened by the keys `quick`, if given."""
    changed = {**(overrides or {}), **(quick or {})}
    return Condition(label, task, name, changed, range(QUICK_SEEDS if quick else seeds))


def read_curves(which: Condition, runs: Path) -> list[Curve]:
    """Curves of a condition's runs, in the order of its seeds."""
    curves = []
    for seed, folder in zip(which.seeds, which.folders(runs), strict=True):
        with record.open_run(folder) as run:
            if len(run.batches):
                lengths = np.diff(run.batches["samples"][:], prepend=0)
                curves.append(Curve(seed, run.batches["reward"][:], lengths))
            else:
                curves.append(Curve(seed, run.episodes["return"][:], run.episodes["length"][:]))
    return curves


def quoted(text: str) -> str:
    """A setting as a shell takes it: tables are quoted, whose braces and commas it would expand."""
    return quote(text) if "{" in text else text


def predecessors(conditions: Sequence[Condition]) -> list[Condition]:
    """What runs of some conditions take their first weights from, each once."""
    found = {}
    for each in conditions:
        initial = each.model.spec.initial
        if initial is not None:
            label = f"before {each.label}"
            first = Condition(label, each.task, initial.model, initial.set, each.seeds)
            found[first.model.name] = first
    return list(found.values())


def jobs_of(conditions: Sequence[Condition], runs: Path) -> dict[str, tuple[sweep.Job, Model]]:
    """A job for each run that is not complete yet, by a label; conditions may share runs.

    Raises
    ------
    InputError : a run of another model is in the place of one, or a model cannot be run.
    """
    jobs: dict[str, tuple[sweep.Job, Model]] = {}
    for each in conditions:
        model = each.model
        with closing(experiment.check_model(model, each.seeds[0])) as environment:
            experiment.check_predecessor(model, environment)
        for seed in each.seeds:
            if not experiment.is_made(model, seed, runs):
                job = partial(experiment.make, model, seed, runs)
                jobs[f"{model.name} seed {seed}"] = job, model
    return jobs
