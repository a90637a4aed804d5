"""Commands on what a run has recorded."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from neurosim.cli.arguments import Folder, run_folders, settings
from neurosim.errors import InputError

if TYPE_CHECKING:
    from neurosim.analysis.stability import Limits


def rerecord(
    run: Positional[Folder],
    episode: int,
    steps: Annotated[str, arg(metavar="FIRST:LAST+1")],
    quiet: bool = False,
) -> None:
    """Record steps of a finished run in full detail, by replaying it from a checkpoint.

    | neurosim rerecord runs/cartpole/seed-0000 --episode 50 --steps 0:20

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

    | neurosim audit runs/async/cartpole/seed-0000
    | neurosim audit runs/async/cartpole/seed-0000 --team critic --unit 17

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
    given = Table("not local", "values given", box=None, header_style="bold", pad_edge=False)
    for what, values in report.non_local.items():
        given.add_row(what, str(values))
    console.print(given)
    for remark in report.remarks:
        console.print(remark)
    if report.passed:
        return
    columns = ("window", "step", "team", "unit", "kind", "what", "row", "expected", "found")
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for mismatch in report.mismatches:
        table.add_row(*(str(each) for each in mismatch))
    console.print(table)
    if report.n_mismatches > len(report.mismatches):
        console.print(f"... and {report.n_mismatches - len(report.mismatches)} more.")
    sys.exit(1)


def stability(
    what: Positional[Annotated[str, arg(metavar="MODEL|RUN")]],
    seed: int = 0,
    mode: Literal["synchronous", "asynchronous"] | None = None,
    set: Annotated[tuple[str, ...], arg(metavar="KEY=VALUE ...")] = (),
) -> None:
    """How far relaxation is from its limits: the largest stable step, the longest stable delay.

    | neurosim stability cartpole --set critic.step_size=0.8
    | neurosim stability runs/cartpole/seed-0000

    Of a model its teams are judged before they have learned, of a run at its beginning, its end,
    and wherever it holds weights between.  See docs/analysis-learning.md.

    Args:
        what: A model's name or path, or a run's folder or file.
        seed: Seed of a model's initial weights and states.
        mode: Judge a model in this mode, as `neurosim run` takes it.
        set: Other values for keys of a model, such as critic.step_size=1.
    """
    from neurosim import experiment, record, spec
    from neurosim.analysis.stability import of_model, of_run

    if Path(what).is_dir() or what.endswith(".h5"):
        if set or mode or seed:
            raise InputError(f"{what} is a run: --seed, --mode and --set are for models.")
        for folder in run_folders(Path(what)):
            with record.open_run(folder) as opened:
                moments = of_run(opened)
            print(folder)
            _show_limits(
                {
                    team: [(f"{m.what}, episode {m.episode:.4g}", m.limits) for m in each]
                    for team, each in moments.items()
                }
            )
        return
    model = spec.load(what, settings(set), mode)
    with closing(experiment.check_model(model, seed)) as environment:
        found = of_model(model, environment, seed)
    _show_limits({team: [("fresh weights", each)] for team, each in found.items()})


def _show_limits(teams: "Mapping[str, Sequence[tuple[str, Limits]]]") -> None:
    """A table of limits, then a verdict on each team at the moment that is closest to a limit."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    if not teams:
        print("No team relaxes: this is of MAP propagation, with N > 0 and hidden layers.")
        return
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("team", "when,\nepisode"):
        table.add_column(heading)
    for heading in (
        *("states", "lambda\nmedian", "lambda\nmax", "largest\nstep", "step\nsize"),
        *("o", "critical\ndelay", "delay"),
    ):
        table.add_column(heading, justify="right")
    for team, moments in teams.items():
        for when, limits in moments:
            numbers = (
                *(np.median(limits.lambda_max), limits.lambda_max.max(), limits.largest_step),
                *(limits.step_size, limits.o, limits.critical_delay),
            )
            delay = "" if limits.delay is None else f"{limits.delay:.3g}"
            cells = [f"{number:.3g}" for number in numbers]
            place = when.replace(", episode", "")  # so that a row takes one line of a terminal
            table.add_row(team, place, str(limits.lambda_max.size), *cells, delay)
    console = Console()
    console.print(table)
    for team, moments in teams.items():
        when, limits = max(moments, key=lambda moment: moment[1].o)
        place = f" ({when})" if len(moments) > 1 else ""
        print(f"{team}: {limits.verdict}{place}")


def _bounds(steps: str) -> tuple[int, int]:
    try:
        first, last = (int(part) for part in steps.split(":"))
    except ValueError:
        raise InputError(f"--steps {steps}: write FIRST:LAST+1, such as 0:20.") from None
    return first, last
