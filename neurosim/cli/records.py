"""Commands on what a run has recorded."""

import sys
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from neurosim.cli.arguments import Folder
from neurosim.errors import InputError


def rerecord(
    run: Positional[Folder],
    episode: int,
    steps: Annotated[str, arg(metavar="FIRST:LAST+1")],
    quiet: bool = False,
) -> None:
    """Record steps of a finished run in full detail, by replaying it from a checkpoint.

    Args:
        run: The run's folder, such as runs/cartpole/seed-0000.
        episode: The episode, from 1.
        steps: Its steps: 0:20 means the twenty steps 0 to 19.
        quiet: Show no progress.
    """
    from neurosim import experiment, progress, rerecording

    model, seed = experiment.read_run_model(run)
    label = f"{model.name} seed {seed}, replayed"
    with progress.display({label: episode}, quiet) as on_episode:
        done = rerecording.rerecord(
            run,
            episode,
            _bounds(steps),
            on_episode=lambda ended: on_episode(label, ended),
        )
    print(
        f"Episodes {done.first_episode} to {episode} were replayed: all {done.n_steps} steps have "
        "the bits that were recorded."
    )
    events = f", {done.n_events} events" if done.n_events else ""
    print(f"{run / 'run.h5'} has them as window {done.window}{events}.")


def audit(
    run: Positional[Folder],
    team: Literal["actor", "critic"] | None = None,
    unit: int | None = None,
) -> None:
    """Rebuild each unit of an asynchronous run from its own inbox, and compare it bit for bit.

    Args:
        run: The folder of a run with windows, such as runs/async/cartpole/seed-0000.
        team: The team to audit, if not both.
        unit: The unit to audit, if not all, counted from the team's first hidden unit.
    """
    from rich.console import Console
    from rich.table import Table

    from neurosim import record
    from neurosim.audit import audit as examine

    with record.open_run(run) as opened:
        report = examine(opened, team, unit)
    console = Console()
    console.print(
        f"{report.units} units in {report.windows} windows of together {report.steps} steps, "
        f"{report.values} values compared: {report.n_mismatches} mismatches."
    )
    given = Table("not local", "values given", box=None, header_style="bold")
    for what, values in report.non_local.items():
        given.add_row(what, str(values))
    console.print(given)
    for remark in report.remarks:
        console.print(remark)
    if report.passed:
        return
    columns = ("window", "step", "team", "unit", "kind", "what", "row", "expected", "found")
    table = Table(*columns, box=None, header_style="bold")
    for mismatch in report.mismatches:
        table.add_row(*(str(each) for each in mismatch))
    console.print(table)
    if report.n_mismatches > len(report.mismatches):
        console.print(f"... and {report.n_mismatches - len(report.mismatches)} more.")
    sys.exit(1)


def _bounds(steps: str) -> tuple[int, int]:
    try:
        first, last = (int(part) for part in steps.split(":"))
    except ValueError:
        raise InputError(f"--steps {steps}: write FIRST:LAST+1, such as 0:20.") from None
    return first, last
