"""Carrying out runs from the command line."""

import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from neurosim.errors import InputError

if TYPE_CHECKING:
    from neurosim.spec import RunMode
    from neurosim.sweep import Job, Outcome


def carry_out(
    jobs: "Sequence[Job]",
    labels: Sequence[str],
    totals: Sequence[int],
    workers: int,
    quiet: bool,
    modes: "Collection[RunMode]",
) -> "Outcome":
    """Run jobs behind a progress display."""
    from neurosim import progress, sweep
    from neurosim.learners.compiling import is_compiled

    if workers < 1:
        raise InputError(f"--workers {workers}: at least one is needed.")
    if not quiet and not all(is_compiled(mode) for mode in modes):
        print("Compiling the kernels; this happens once and takes up to half a minute.", flush=True)
    with progress.display(labels, totals, quiet) as on_episode:
        return sweep.run_all(jobs, workers, on_episode, modes)


def exit_where_failed(outcome: "Outcome") -> None:
    """Say what went wrong, and exit with its status."""
    for message in dict.fromkeys(str(error) for error in outcome.errors):
        print(f"neurosim: {message}", file=sys.stderr)
    if outcome.errors:
        sys.exit(max(error.exit_status for error in outcome.errors))
