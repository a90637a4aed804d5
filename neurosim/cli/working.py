"""Carrying out runs from the command line."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from neurosim.errors import InputError

if TYPE_CHECKING:
    from neurosim.spec import Model
    from neurosim.sweep import Job, OnEpisodeOf, Outcome
    from neurosim.training import Episode


def check_workers(workers: int, scheduler: str | None) -> None:
    """Make sure, before any work starts, that there is somebody to do it.

    Raises
    ------
    InputError : less than one worker, or no scheduler at that address.
    """
    if workers < 1:
        raise InputError(f"--workers {workers}: at least one is needed.")
    if scheduler is not None:
        from neurosim.sweep.cluster import connect

        with connect(scheduler):
            pass


def carry_out(
    jobs: "Mapping[str, tuple[Job, Model]]",
    workers: int,
    scheduler: str | None,
    quiet: bool,
    also: "OnEpisodeOf | None" = None,
) -> "Outcome":
    """Run jobs, each with its model, behind a progress display; `also` is told of episodes too."""
    from neurosim import progress, sweep
    from neurosim.learners.compiling import is_compiled

    modes = {model.mode for _, model in jobs.values()}
    if not quiet and not all(is_compiled(mode) for mode in modes):
        print("Compiling the kernels; this happens once and takes up to half a minute.", flush=True)
    totals = {name: model.length for name, (_, model) in jobs.items()}
    with progress.display(totals, quiet) as show:

        def on_episode(name: str, episode: "Episode") -> None:
            show(name, episode)
            if also is not None:
                also(name, episode)

        bare = {name: job for name, (job, _) in jobs.items()}
        return sweep.run_all(bare, on_episode, modes, workers, scheduler)


def exit_where_failed(outcome: "Outcome") -> None:
    """Say what went wrong, and exit with its status."""
    for message in dict.fromkeys(str(error) for error in outcome.errors):
        print(f"neurosim: {message}", file=sys.stderr)
    if outcome.errors:
        sys.exit(max(error.exit_status for error in outcome.errors))


def make_folder(out: Path) -> None:
    """Make a folder of results, before any work starts."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be made: {error.strerror}.") from None
