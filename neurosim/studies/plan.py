"""What a study would take, said before it starts."""

import time
from collections.abc import Mapping
from typing import NamedTuple

import gymnasium
from msgspec.structs import replace

from neurosim import experiment
from neurosim.learners.compiling import compile_kernels
from neurosim.spec import Model, MonteCarloSpec
from neurosim.studies.grid import Grid
from neurosim.sweep import Job
from neurosim.training import Episode

SECONDS = 1.0  # that a condition is tried for


class Cost(NamedTuple):
    """Seconds of a run by what was seen in its first second."""

    likely: float  # if all episodes are as long as the first ones
    longest: float  # if all are as long as the task lets them be; inf: it sets no limit


def describe(
    grid: Grid,
    first: Mapping[str, tuple[Job, Model]],
    jobs: Mapping[str, tuple[Job, Model]],
    workers: int,
) -> str:
    """How many runs there are to make, and about how long they take.

    Parameters
    ----------
    grid : the study.
    first : the runs that others take their first weights from and that are not there yet.
    jobs : the runs of the grid that are not there yet.
    workers : runs at a time.
    """
    total = len(grid.points()) * len(grid.seeds)
    text = f"{len(grid.points())} conditions with {len(grid.seeds)} seeds: {total} runs"
    to_make = {**first, **jobs}
    if not to_make:
        return f"{text}, all of them there."
    models = [model for _, model in to_make.values()]
    tried = [cost(model, grid.seeds[0]) for model in (models[0], models[-1])]
    each = len(to_make) / len(tried) / min(workers, len(to_make))
    likely, longest = (each * sum(seconds) for seconds in zip(*tried, strict=True))
    before = f" and {len(first)} before them" if first else ""
    text = f"{text}, {len(jobs)} of them to make{before}, in about {_duration(likely)}"
    if longest == likely:
        return f"{text}."
    return (
        f"{text} if their episodes stay as long as the first ones, {_duration(longest)} if they "
        "become as long as the task lets them."
    )


def cost(model: Model, seed: int) -> Cost:
    """Try a model for a second and say what a run would take."""
    compile_kernels(model.mode)
    lengths: list[int] = []
    started = time.perf_counter()

    def stop(episode: Episode) -> bool:
        lengths.append(episode.length)
        return time.perf_counter() - started > SECONDS

    model = model._replace(spec=replace(model.spec, initial=None))  # drawn weights do as well
    experiment.simulate(model, seed, on_episode=stop)
    elapsed = time.perf_counter() - started
    likely = elapsed / len(lengths) * model.length
    if isinstance(model.spec, MonteCarloSpec):
        return Cost(likely, likely)
    task = model.spec.task
    limit = task.options.get("max_episode_steps", gymnasium.spec(task.id).max_episode_steps)
    return Cost(likely, elapsed / sum(lengths) * model.length * (limit or float("inf")))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
