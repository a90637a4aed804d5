"""Many runs: several seeds of a model, on one or more worker processes."""

import multiprocessing
import queue
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from neurosim.errors import Interrupted, NeurosimError
from neurosim.experiment import Episode, OnEpisode
from neurosim.learners.map_prop import compile_kernels


class Job(Protocol):
    """A run or a resume, such as ``partial(experiment.run, model, seed, out)``."""

    def __call__(self, *, on_episode: OnEpisode | None = None) -> Path: ...


class Outcome(list[Path | NeurosimError]):
    """For each job that was begun its folder, or what went wrong."""

    @property
    def folders(self) -> list[Path]:
        """Folders of the runs that ended well."""
        return [each for each in self if isinstance(each, Path)]

    @property
    def errors(self) -> list[NeurosimError]:
        """What went wrong."""
        return [each for each in self if isinstance(each, NeurosimError)]


def run_all(
    jobs: Sequence[Job], workers: int, on_episode: Callable[[int, Episode], None]
) -> Outcome:
    """Carry out jobs; one that fails does not stop the others, Ctrl-C stops all.

    Parameters
    ----------
    jobs : the runs; they must be picklable where workers > 1.
    workers : processes.  The bits of a run do not depend on them.
    on_episode : called in this process after each episode, with the index of its job.
    """
    if workers == 1 or len(jobs) == 1:
        outcome = Outcome()
        for index, job in enumerate(jobs):
            outcome.append(_attempt(job, partial(on_episode, index)))
            if isinstance(outcome[-1], Interrupted):
                break
        return outcome
    compile_kernels()  # once, before every worker does
    context = multiprocessing.get_context("spawn")
    with (
        context.Manager() as manager,
        ProcessPoolExecutor(min(workers, len(jobs)), context, _ignore_interrupts) as pool,
    ):
        episodes = manager.Queue()
        futures = [
            pool.submit(_attempt, job, partial(_report, episodes, index))
            for index, job in enumerate(jobs)
        ]
        _relay(episodes, futures, on_episode)
        return Outcome(future.result() for future in futures if not future.cancelled())


def _attempt(job: Job, on_episode: OnEpisode) -> Path | NeurosimError:
    try:
        return job(on_episode=on_episode)
    except NeurosimError as error:
        return error


def _report(episodes: Any, index: int, episode: Episode) -> None:
    episodes.put((index, episode))


def _ignore_interrupts() -> None:
    """A worker between two jobs; while it runs one, the run itself ends in good order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _relay(
    episodes: Any, futures: Sequence[Future[Any]], on_episode: Callable[[int, Episode], None]
) -> None:
    """Hand on the workers' episodes until all is done; Ctrl-C drops the jobs not begun."""
    while True:
        try:
            done = all(future.done() for future in futures)
            while True:
                on_episode(*episodes.get(timeout=0.1))
        except queue.Empty:
            if done:
                return
        except KeyboardInterrupt:
            for future in futures:
                future.cancel()
