"""Jobs on several processes of this machine."""

import queue
import signal
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from threading import Event
from typing import Any

from neurosim.errors import Interrupted, NeurosimError, RunError
from neurosim.experiment import stop_on_interrupt
from neurosim.learners.compiling import compile_kernels
from neurosim.spec import RunMode
from neurosim.sweep.jobs import NOT_BEGUN, Job, OnEpisodeOf, Outcome, attempt, result_of
from neurosim.training import Episode


def run_on_processes(
    jobs: Mapping[str, Job],
    on_episode: OnEpisodeOf,
    modes: Collection[RunMode],
    workers: int,
) -> Outcome:
    """As `run_all`, on several processes of this machine."""
    for mode in modes:
        compile_kernels(mode)  # once, before every worker does
    with stop_on_interrupt() as stopped:
        resource_tracker.ensure_running()  # or it would unblock them when it is first needed
        _block_interrupts(True)  # while the manager starts, which begins with it
        with get_context("spawn").Manager() as manager:
            _block_interrupts(False)
            pools = _Pools(jobs, on_episode, manager.Queue(), manager.Event(), stopped)
            return pools.run(workers)


class _Pools:
    """Pools of processes, one after the other: a killed worker breaks the pool that it is of.

    Attributes
    ----------
    ended : what became of jobs, by name.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        on_episode: OnEpisodeOf,
        messages: Any,
        stop: Event,
        stopped: list[int],
    ) -> None:
        self.ended: dict[str, Path | NeurosimError] = {}
        self._jobs, self._on_episode = jobs, on_episode
        self._messages, self._stop, self._stopped = messages, stop, stopped

    def run(self, workers: int) -> Outcome:
        """Carry out all jobs.  Those that were under way when a worker was killed go on alone."""
        left, suspects = list(self._jobs), list[str]()
        while left or suspects:
            alone = bool(suspects)
            names, left = ([suspects.pop()], left) if alone else (left, [])
            begun = self._run_pool(names, min(workers, len(names)))
            killed = [name for name in names if name not in self.ended]
            if alone or not begun.intersection(killed):
                self.ended |= {name: _killed(name) for name in killed}
            else:
                suspects = [name for name in killed if name in begun]
                left = [name for name in killed if name not in begun]
        return Outcome(self.ended[name] for name in self._jobs)

    def _run_pool(self, names: Sequence[str], workers: int) -> set[str]:
        """Carry out jobs until they have ended or the pool is broken; gives those that began."""
        begun = set()

        def take(name: str, episode: Episode | None) -> None:
            begun.add(name)
            if episode is not None:
                self._on_episode(name, episode)

        _block_interrupts(True)  # while workers start
        with ProcessPoolExecutor(workers, get_context("spawn"), _ignore_interrupts) as pool:
            futures = {
                name: pool.submit(_carry_out, name, self._jobs[name], self._messages, self._stop)
                for name in names
            }
            _block_interrupts(False)
            while not all(future.done() for future in futures.values()):
                with suppress(queue.Empty):
                    take(*self._messages.get(timeout=0.1))
                if self._stopped and not self._stop.is_set():
                    self._stop.set()
                    for future in futures.values():
                        future.cancel()
            while not self._messages.empty():
                take(*self._messages.get())
        for name, future in futures.items():
            with suppress(BrokenProcessPool):
                self.ended[name] = result_of(future)
        return begun


def _carry_out(name: str, job: Job, messages: Any, stop: Event) -> Path | NeurosimError:
    """Attempt a job in a worker, unless all was stopped."""
    if stop.is_set():
        return Interrupted(NOT_BEGUN)
    messages.put((name, None))

    def report(episode: Episode) -> bool:
        messages.put((name, episode))
        return stop.is_set()

    outcome = attempt(job, report)
    if isinstance(outcome, Interrupted):
        stop.set()
    return outcome


def _killed(name: str) -> RunError:
    return RunError(
        f"{name}: its worker process was killed, perhaps for want of memory. The same command "
        "given again, or `neurosim resume DIR`, goes on with it."
    )


def _block_interrupts(block: bool) -> None:
    """Hold Ctrl-C back, or let it through, in this process and in those it starts."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK if block else signal.SIG_UNBLOCK, [signal.SIGINT])


def _ignore_interrupts() -> None:
    """Begin a worker.  It heeds Ctrl-C only during a run, which then ends in good order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _block_interrupts(False)
