"""Commands on models and runs."""

import sys
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg

from neurosim.cli.arguments import (
    Folder,
    ModelName,
    Scheduler,
    run_folders,
    seed_range,
    settings,
)
from neurosim.cli.live import live_folders, scalars
from neurosim.cli.plots import curves_of
from neurosim.cli.summary import describe, summarise
from neurosim.cli.working import carry_out, check_workers, exit_where_failed
from neurosim.errors import InputError

if TYPE_CHECKING:
    from neurosim.spec import Model
    from neurosim.sweep import Job, OnEpisodeOf
    from neurosim.tasks import Environment


def run(
    model: Positional[ModelName],
    seed: int | None = None,
    seeds: Annotated[str | None, arg(metavar="FIRST:LAST+1")] = None,
    episodes: int | None = None,
    mode: Literal["synchronous", "asynchronous"] | None = None,
    out: Folder = Path("runs"),
    set: Annotated[tuple[str, ...], arg(metavar="KEY=VALUE ...")] = (),
    record: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="WINDOW")]] = (),
    tensorboard: Annotated[Path | None, arg(metavar="DIR")] = None,
    video: Annotated[Path | None, arg(metavar="DIR")] = None,
    workers: int = 1,
    scheduler: Scheduler = None,
    force: bool = False,
    quiet: bool = False,
) -> None:
    """Train a model, record it, draw its learning curve.

    | neurosim run cartpole
    | neurosim run async/cartpole --seeds 0:10 --workers 2
    | neurosim run cartpole --set actor.N=40 learning.truncation=zero
    | neurosim run mountaincar --record "episodes=1,50,100 steps=0:5"

    Args:
        model: A name from `neurosim list`, or the path of a model file ending in .toml.
        seed: Seed of the run; default 0.
        seeds: Several runs: 0:10 means the ten seeds 0 to 9.
        episodes: Shorthand for --set task.episodes=...; for batches, --set batch.samples=...
        mode: Run in this mode: asynchronous, by [timing] or its defaults; synchronous, Algorithm 2.
        out: Folder of all runs; a run goes to DIR/MODEL/seed-NNNN.
        set: Other values for keys of the model, such as actor.N=40 adam.epsilon=1e-9; KEY= takes
            a key away.
        record: Steps to record in full detail, such as "episodes=1,50,100 steps=0:5".
        tensorboard: Write what each episode scores for TensorBoard, to DIR/MODEL/seed-NNNN.
        video: Film some episodes (1, 8, 27, ...), to DIR/MODEL/seed-NNNN; see docs/export.md.
        workers: Worker processes, for several seeds.  The bits of a run do not depend on them.
        scheduler: Dask scheduler whose workers carry the runs out instead; see docs/scale-out.md.
        force: Replace runs that are there already.
        quiet: Show no progress.
    """
    from neurosim import experiment, spec

    if seed is not None and seeds is not None:
        raise InputError(f"--seed {seed} --seeds {seeds}: leave one of them out.")
    check_workers(workers, scheduler)
    overrides = settings(set)
    if episodes is not None:
        overrides["task.episodes"] = episodes
    if record:
        overrides["record"] = [_window(text) for text in record]
    loaded = spec.load(model, overrides, mode)
    chosen = [seed or 0] if seeds is None else seed_range(seeds)
    for each in chosen:
        environment = experiment.check_before_run(loaded, each, out, force=force)
        with closing(environment):
            if each == chosen[0]:
                _warn_of_instability(loaded, environment, each)
    if scheduler is not None and (tensorboard or video):
        raise InputError(
            "--tensorboard and --video show runs on this machine: leave them out, or --scheduler."
        )
    seeds_of = {f"{loaded.name} seed {each}": each for each in chosen}
    live = live_folders(loaded, seeds_of, out, tensorboard, video, force)
    with scalars(live.scalars, loaded) as also:
        jobs = {}
        for name, each in seeds_of.items():
            if force:
                experiment.clear(experiment.run_folder(loaded, each, out))
            job = partial(experiment.make, loaded, each, out, film=live.films.get(name))
            jobs[name] = job, loaded
        _carry_out(jobs, workers, scheduler, quiet, out / loaded.name, also)


def resume(
    run: Positional[Folder],
    workers: int = 1,
    scheduler: Scheduler = None,
    quiet: bool = False,
) -> None:
    """Go on with runs that were stopped, from their last checkpoints, to the same bits.

    | neurosim resume runs/cartpole/seed-0000
    | neurosim resume runs --workers 2

    Args:
        run: A run's folder, such as runs/cartpole/seed-0000, or a folder of several.
        workers: Worker processes, for several runs.
        scheduler: Dask scheduler whose workers carry the runs out instead; see docs/scale-out.md.
        quiet: Show no progress.
    """
    from neurosim import experiment

    check_workers(workers, scheduler)
    jobs = {}
    for folder in run_folders(run):
        model, seed = experiment.read_run_model(folder)
        if not experiment.is_complete(folder):
            name = f"{model.name} seed {seed}"
            job = partial(experiment.resume, folder), model
            jobs[str(folder) if name in jobs else name] = job
    if not jobs:
        print(f"{run} is complete already.")
        return
    _carry_out(jobs, workers, scheduler, quiet, run)


def list_models(runs: Folder = Path("runs")) -> None:
    """List the models and studies that come with neurosim, and the runs made so far.

    Args:
        runs: Folder of all runs.
    """
    from rich.console import Console
    from rich.table import Table

    from neurosim import record, spec
    from neurosim.studies.grid import read_grid

    studies = {name: read_grid(spec.shipped() / f"{name}.toml").title for name in spec.studies()}
    models = {name: spec.load(name).spec.description for name in spec.names()}
    for heading, texts in (("model", models), ("study", studies)):
        width = max(map(len, texts))
        print(f"{heading:<{width}}  what it is")
        for name, text in texts.items():
            print(f"{name:<{width}}  {text}")
        print()
    if runs.is_dir() and any(runs.rglob("provenance.json")):
        table = Table(
            "run", "episodes or batches", "state", box=None, header_style="bold", pad_edge=False
        )
        for folder in run_folders(runs):
            try:
                with record.open_run(folder) as opened:
                    state = "complete" if opened.complete else "can be resumed"
                    done = max(len(opened.episodes), len(opened.batches))
                    table.add_row(str(folder), str(done), state)
            except InputError as error:
                table.add_row(str(folder), "", str(error))
        Console().print(table)


def show(what: Positional[Annotated[str, arg(metavar="MODEL|RUN")]]) -> None:
    """Show the file of a model or a study, or the summary of a run.

    | neurosim show async/cartpole
    | neurosim show runs/cartpole/seed-0000

    Args:
        what: The name or path of a model or a study, or a run's folder or file.
    """
    from neurosim import spec
    from neurosim.studies import grid

    if Path(what).is_dir() or what.endswith(".h5"):
        folders = run_folders(Path(what))
        if len(folders) == 1:
            describe(folders[0])
        summarise(folders)
    elif (study := grid.path_of(what)) is not None:
        print(study.read_text("utf-8"), end="")
    else:
        print(spec.load(what).text, end="")


def _warn_of_instability(model: "Model", environment: "Environment", seed: int) -> None:
    """Say on stderr where the relaxation of fresh weights is beyond its limits."""
    from neurosim.analysis.stability import of_model, warnings

    if model.spec.initial is not None:  # the weights are not drawn
        return
    for warning in warnings(of_model(model, environment, seed, episodes=1, steps=5)):
        print(f"neurosim: warning: {warning}", file=sys.stderr)


def _window(text: str) -> dict[str, Any]:
    """The [[record]] table for "episodes=1,50,100 steps=0:5"; either may be left out for all."""
    window: dict[str, Any] = {"episodes": "all", "steps": "all"}
    try:
        if not text.split():
            raise ValueError
        for part in text.split():
            key, _, value = part.partition("=")
            if key not in window or not value:
                raise ValueError
            if value == "all":
                continue
            separator = "," if key == "episodes" else ":"
            window[key] = [int(number) for number in value.split(separator)]
    except ValueError:
        raise InputError(
            f'--record "{text}": write for instance "episodes=1,50,100 steps=0:5" or '
            '"episodes=all steps=0:5"; episodes are counted from 1, steps from 0.'
        ) from None
    return window


def _carry_out(
    jobs: "Mapping[str, tuple[Job, Model]]",
    workers: int,
    scheduler: str | None,
    quiet: bool,
    folder: Path,
    also: "OnEpisodeOf | None" = None,
) -> None:
    """Run jobs behind a progress display, then show what came out; exit 1 if any failed."""
    from neurosim.plots import learning_curve

    outcome = carry_out(jobs, workers, scheduler, quiet, also)
    if outcome.folders:
        figure = folder / "learning-curve.png"
        learning_curve.save(*curves_of(outcome.folders), figure)
        summarise(outcome.folders)
        print(f"learning curve: {figure}")
    exit_where_failed(outcome)
