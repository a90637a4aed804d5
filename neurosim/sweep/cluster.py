"""Runs on the workers of a Dask cluster."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosim.errors import InputError, NeurosimError, RunError
from neurosim.experiment import stop_on_interrupt
from neurosim.sweep.jobs import Job, OnEpisodeOf, Outcome, attempt, result_of
from neurosim.training import Episode

if TYPE_CHECKING:
    from distributed import Client

TOPIC = "neurosim"  # of the messages from workers
SECONDS_BETWEEN_MESSAGES = 0.5
SECONDS_TO_CONNECT = 10.0


def run_on_cluster(jobs: Mapping[str, Job], on_episode: OnEpisodeOf, scheduler: str) -> Outcome:
    """As `sweep.run_all`, on the workers of a Dask scheduler.

    Ctrl-C keeps the jobs that have not begun from beginning; those under way go on to their end.

    Raises
    ------
    InputError : there is no scheduler at that address, or Dask is missing.
    """
    with stop_on_interrupt() as stopped, connect(scheduler) as client:
        from distributed import KilledWorker

        def take(message: tuple[float, tuple[str, Episode]]) -> None:
            name, episode = message[1]
            if name in jobs:  # others may use the cluster, too
                on_episode(name, Episode(*episode))

        client.subscribe_topic(TOPIC, take)
        executor = client.get_executor(pure=False)
        futures = {name: executor.submit(_carry_out, name, job) for name, job in jobs.items()}
        while not all(future.done() for future in futures.values()):
            time.sleep(0.1)
            if stopped:
                for future in futures.values():
                    future.cancel()
                break
        outcome = Outcome()
        for name, future in futures.items():
            try:
                outcome.append(result_of(future))
            except KilledWorker:
                outcome.append(
                    RunError(
                        f"{name}: the workers that carried it out were killed, again and again. "
                        "The same command given again goes on with it."
                    )
                )
        client.unsubscribe_topic(TOPIC)
        return outcome


def connect(scheduler: str) -> "Client":
    """A client of a Dask scheduler, named by its address or its file.

    Raises
    ------
    InputError : there is no scheduler at that address, or Dask is missing.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError("--scheduler needs Dask: pip install 'neurosim[cluster]'.") from None
    at: dict[str, Any] = (
        {"address": scheduler} if "://" in scheduler else {"scheduler_file": scheduler}
    )
    if "scheduler_file" in at and not Path(scheduler).is_file():
        raise InputError(
            f"--scheduler {scheduler}: no such file; give the address of a Dask scheduler, such as "
            "tcp://node:8786, or the file that it wrote."
        )
    try:
        return Client(**at, timeout=SECONDS_TO_CONNECT)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise InputError(
            f"--scheduler {scheduler}: no Dask scheduler answers there ({error}). "
            "`dask scheduler` starts one, `dask worker ADDRESS --nthreads 1` its workers."
        ) from None


def _carry_out(name: str, job: Job) -> Path | NeurosimError:
    """Attempt a job on a worker, which reports from time to time."""
    from distributed import get_worker

    worker, sent = get_worker(), 0.0

    def report(episode: Episode) -> None:
        nonlocal sent
        if time.monotonic() - sent > SECONDS_BETWEEN_MESSAGES:
            worker.log_event(TOPIC, (name, tuple(episode)))
            sent = time.monotonic()

    return attempt(job, report)
