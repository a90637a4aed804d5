"""Runs a second with one worker process and with two.

    python tests/benchmarks/workers.py [--quick] [--json PATH]

Four runs of `cartpole` as `neurosim run --seeds 0:4 --workers N` makes them, worker processes and
all that starts them included; wall-clock time.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness import Line, in_turn, lines, main

import neurosim
from neurosim import experiment
from neurosim.sweep import run_all

ROUNDS, RUNS = 3, 4
EPISODES, QUICK_EPISODES = 200, 30


def runs_a_second(workers: int, episodes: int) -> float:
    """Runs made by so many processes, by the time that they took."""
    model = neurosim.load("cartpole", {"task.episodes": episodes})
    with tempfile.TemporaryDirectory() as folder:
        jobs = {str(k): partial(experiment.make, model, k, folder) for k in range(RUNS)}
        start = time.perf_counter()
        outcome = run_all(jobs, lambda name, episode: None, ["synchronous"], workers)
        taken = time.perf_counter() - start
    assert len(outcome) == RUNS
    return RUNS / taken


def measure(quick: bool) -> Iterator[Line]:
    """The lines."""
    episodes = QUICK_EPISODES if quick else EPISODES
    contestants = {
        f"{workers} worker{'s' * (workers > 1)}": partial(runs_a_second, workers, episodes)
        for workers in (1, 2)
    }
    found = in_turn(contestants, 1 if quick else ROUNDS)
    yield from lines(f"cartpole, {episodes} episodes", "runs/s", found)


if __name__ == "__main__":
    main(__file__, measure, __doc__)
