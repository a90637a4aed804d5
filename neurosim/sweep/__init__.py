"""Many runs, on worker processes of this machine or of a cluster."""

import signal
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context

from neurosim.errors import Interrupted
from neurosim.spec import RunMode
from neurosim.sweep.jobs import Job, OnEpisodeOf, Outcome, attempt
from neurosim.sweep.processes import run_on_processes

__all__ = ["Job", "OnEpisodeOf", "Outcome", "open_executor", "run_all"]


def run_all(
    jobs: Mapping[str, Job],
    on_episode: OnEpisodeOf,
    modes: Collection[RunMode],
    workers: int = 1,
    scheduler: str | None = None,
) -> Outcome:
    """Carry out jobs; one that fails does not stop the others, Ctrl-C stops all.

    Where a worker process is killed, the jobs that it had are carried out again, so they must be
    such that go on, or begin anew, like `experiment.make`.

    Parameters
    ----------
    jobs : the runs by their names; they must be picklable unless workers is 1.
    on_episode : called in this process after each episode, with the name of its job; of runs on a
        cluster a few times a second at most.
    modes : of the runs; their kernels are compiled before there are several processes.
    workers : processes of this machine.  The bits of a run do not depend on them.
    scheduler : address ("tcp://...") of a Dask scheduler or path of its file; its workers carry the
        jobs out instead.

    Raises
    ------
    InputError : there is no scheduler at that address, or Dask is missing.
    """
    if scheduler is not None:
        from neurosim.sweep.cluster import run_on_cluster

        return run_on_cluster(jobs, on_episode, scheduler)
    if workers > 1 and len(jobs) > 1:
        return run_on_processes(jobs, on_episode, modes, workers)
    outcome = Outcome()
    for name, job in jobs.items():
        outcome.append(attempt(job, partial(on_episode, name)))
        if isinstance(outcome[-1], Interrupted):
            break
    return outcome


@contextmanager
def open_executor(workers: int, scheduler: str | None = None) -> Iterator[Executor]:
    """An executor for tasks that have nothing to put in order when Ctrl-C ends them.

    Parameters
    ----------
    workers, scheduler : as of `run_all`.

    Raises
    ------
    InputError : as `run_all`.
    """
    if scheduler is None:
        with ProcessPoolExecutor(workers, get_context("spawn"), _end_at_interrupt) as executor:
            yield executor
        return
    from neurosim.sweep.cluster import connect

    with connect(scheduler) as client:
        yield client.get_executor(pure=False)


def _end_at_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
