"""Many runs: several seeds of a model, on one or more worker processes."""

import multiprocessing
import queue
import signal
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from threading import Event
from typing import Any, Protocol

from neurosim.errors import Interrupted, NeurosimError, RunError
from neurosim.experiment import OnEpisode, stop_on_interrupt
from neurosim.learners.compiling import compile_kernels
from neurosim.spec import RunMode
from neurosim.training import Episode

NOT_BEGUN = "Stopped before all runs had begun."


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
    jobs: Sequence[Job],
    workers: int,
    on_episode: Callable[[int, Episode], None],
    modes: Collection[RunMode],
) -> Outcome:
    """Carry out jobs; one that fails does not stop the others, Ctrl-C stops all.

    Parameters
    ----------
    jobs : the runs; they must be picklable where workers > 1.
    workers : processes.  The bits of a run do not depend on them.
    on_episode : called in this process after each episode, with the index of its job.
    modes : of the runs; their kernels are compiled before there are several processes.
    """
    if workers == 1 or len(jobs) == 1:
        outcome = Outcome()
        for index, job in enumerate(jobs):
            outcome.append(_attempt(job, partial(on_episode, index)))
            if isinstance(outcome[-1], Interrupted):
                break
        return outcome
    for mode in modes:
        compile_kernels(mode)  # once, before every worker does
    context = multiprocessing.get_context("spawn")
    with stop_on_interrupt() as stopped:
        resource_tracker.ensure_running()  # or it would unblock them when it is first needed
        _block_interrupts(True)  # while workers start, which begin with it
        manager = context.Manager()
        pool = ProcessPoolExecutor(min(workers, len(jobs)), context, _ignore_interrupts)
        episodes, stop = manager.Queue(), manager.Event()
        with manager, pool:
            futures = [
                pool.submit(_carry_out, job, partial(_report, episodes, index, stop), stop)
                for index, job in enumerate(jobs)
            ]
            _block_interrupts(False)
            while not all(future.done() for future in futures):
                with suppress(queue.Empty):
                    on_episode(*episodes.get(timeout=0.1))
                if stopped and not stop.is_set():
                    stop.set()
                    for future in futures:
                        future.cancel()
            while not episodes.empty():
                on_episode(*episodes.get())
            return Outcome(_result(future) for future in futures)


def _attempt(job: Job, on_episode: OnEpisode) -> Path | NeurosimError:
    try:
        return job(on_episode=on_episode)
    except NeurosimError as error:
        return error


def _carry_out(job: Job, on_episode: OnEpisode, stop: Event) -> Path | NeurosimError:
    """Attempt a job in a worker, unless all was stopped."""
    if stop.is_set():
        return Interrupted(NOT_BEGUN)
    outcome = _attempt(job, on_episode)
    if isinstance(outcome, Interrupted):
        stop.set()
    return outcome


def _result(future: Future[Path | NeurosimError]) -> Path | NeurosimError:
    try:
        return future.result()
    except CancelledError:
        return Interrupted(NOT_BEGUN)
    except BrokenProcessPool:
        return RunError(
            "A worker process was killed, perhaps for want of memory; `neurosim resume DIR` goes "
            "on with the runs that had begun."
        )


def _report(episodes: Any, index: int, stop: Event, episode: Episode) -> bool:
    """Pass on an episode; the run is to stop where this returns True."""
    episodes.put((index, episode))
    return stop.is_set()


def _block_interrupts(block: bool) -> None:
    """Hold Ctrl-C back, or let it through, in this process and in those it starts."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK if block else signal.SIG_UNBLOCK, [signal.SIGINT])


def _ignore_interrupts() -> None:
    """Begin a worker.  It heeds Ctrl-C only during a run, which then ends in good order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _block_interrupts(False)
