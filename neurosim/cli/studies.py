"""Commands that make many runs to answer one question."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from neurosim.cli.arguments import Folder, ModelName, Scheduler, seed_range, settings
from neurosim.cli.working import carry_out, check_workers, exit_where_failed, make_folder
from neurosim.errors import InputError

ItemName = Literal["table1", "fig1", "fig2", "fig4", "fig5", "theory", "all"]


def tune(
    model: Positional[ModelName],
    over: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="KEY=LOW:HIGH")]] = (),
    trials: int = 40,
    seeds: Annotated[str, arg(metavar="FIRST:LAST+1")] = "1000:1003",
    set: Annotated[tuple[str, ...], arg(metavar="KEY=VALUE ...")] = (),
    out: Folder = Path("runs"),
    workers: int = 1,
    scheduler: Scheduler = None,
    quiet: bool = False,
) -> None:
    """Search for the step sizes, or other numbers, with which a model scores best.

    | neurosim tune backprop/cartpole --trials 30 --seeds 1000:1003
    | neurosim tune cartpole --over actor.alpha[0]=1e-4:1e-1

    The score of a trial is its average return, or reward, over all of a run, averaged over the
    seeds.  Given again, the command goes on with the search that is in DIR/MODEL/tuning.

    Args:
        model: A name from `neurosim list`, or the path of a model file ending in .toml.
        over: A number to search and its range, such as actor.alpha[0]=1e-4:1e-1; may be given
            several times.  Default: the step size of every layer, and explore where there is one.
        trials: How many sets of values to try, those of earlier calls included.
        seeds: Seeds of the runs of each trial; take others for the runs that you report.
        set: Other values for keys of the model, such as task.episodes=500.
        out: Folder of all runs; the search is kept in DIR/MODEL/tuning.
        workers: Runs at a time.  A search with one is reproducible.
        scheduler: Dask scheduler whose workers make the runs instead; see docs/scale-out.md.
        quiet: Show no progress.
    """
    from neurosim import progress, spec, tuning

    check_workers(workers, scheduler)
    loaded = spec.load(model, settings(set))
    space = [tuning.parse_range(text) for text in over] or tuning.default_space(loaded)
    with progress.trials(loaded.name, trials, quiet) as on_trial:
        found = tuning.tune(
            loaded,
            space,
            seed_range(seeds),
            trials,
            out,
            workers=workers,
            scheduler=scheduler,
            on_trial=on_trial,
        )
    print(f"{found.trials} trials, {found.dropped} of them dropped")
    print(f"score {found.score:.4g}; of the model's own values {found.initial:.4g}")
    for key, value in found.overrides.items():
        text = f"[{', '.join(f'{v:.3g}' for v in value)}]" if isinstance(value, list) else value
        print(f"{key} = {text}")


def reproduce(
    item: Positional[ItemName],
    runs: Folder = Path("runs"),
    out: Folder = Path("results"),
    quick: bool = False,
    workers: int = 1,
    scheduler: Scheduler = None,
    quiet: bool = False,
) -> None:
    """Make a table or figure of the paper from scratch, beside the published values.

    | neurosim reproduce table1 --workers 2
    | neurosim reproduce all --quick

    Runs that are there already are used, those that were stopped go on; so the command may be
    stopped and given again.

    Args:
        item: What to make; theory shows Theorems 1 to 3 and the variance reduction of B.6.
        runs: Folder of all runs, in which `neurosim run` puts them too.
        out: Folder of the tables (Markdown and CSV) and figures (PNG and PDF).
        quick: Two seeds and short runs, to see that everything works.
        workers: Worker processes.  The bits of a run do not depend on them.
        scheduler: Dask scheduler whose workers carry the runs out instead; see docs/scale-out.md.
        quiet: Show no progress.
    """
    from neurosim import reproduction
    from neurosim.studies.conditions import jobs_of

    check_workers(workers, scheduler)
    chosen = list(reproduction.ITEMS) if item == "all" else [item]
    make_folder(out)
    conditions = [each for name in chosen for each in reproduction.ITEMS[name].conditions(quick)]
    jobs = jobs_of(conditions, runs)
    if jobs:
        outcome = carry_out(jobs, workers, scheduler, quiet)
        exit_where_failed(outcome)
    for name in chosen:
        command = f"neurosim reproduce {name}{' --quick' if quick else ''}"
        for path in reproduction.ITEMS[name].write(runs, out, quick, command):
            print(path)


def compare(
    model: Positional[Annotated[str, arg(metavar="MODEL|STUDY")]],
    over: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="KEY=VALUE,VALUE,...")]] = (),
    seeds: Annotated[str | None, arg(metavar="FIRST:LAST+1")] = None,
    set: Annotated[tuple[str, ...], arg(metavar="KEY=VALUE ...")] = (),
    measure: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="NAME")]] = (),
    runs: Folder = Path("runs"),
    out: Folder = Path("results"),
    workers: int = 1,
    scheduler: Scheduler = None,
    dry: bool = False,
    quiet: bool = False,
) -> None:
    """Run a model in every combination of some settings with the same seeds, and compare.

    | neurosim compare async/cartpole --over timing.delay=0,1,2 --seeds 0:10
    | neurosim compare cartpole --over actor.N=10,20 --over critic.N=10,20 --dry
    | neurosim compare studies/delay --workers 2

    Runs that are there already are used, those that were stopped go on; so the command may be
    stopped and given again.

    Args:
        model: A model's name or the path of its file, or a study: a name from `neurosim list`, or
            the path of a file, of a grid with everything in it.
        over: A key and its values, such as timing.delay=0,0.5,1; given several times, all
            combinations are run.  The first one is the reference.
        seeds: Seeds of each condition; default 0:10, or those of the study.
        set: Other values for keys of the model, in all conditions.
        measure: What to compare beside the return, such as packets; may be given several times;
            see docs/studies.md.
        runs: Folder of all runs, in which `neurosim run` puts them too.
        out: Folder of the tables (Markdown and CSV) and figures (PNG and PDF).
        workers: Worker processes.  The bits of a run do not depend on them.
        scheduler: Dask scheduler whose workers carry the runs out instead; see docs/scale-out.md.
        dry: Only say how many runs there are to make, and about how long they take.
        quiet: Show no progress.
    """
    from neurosim import spec
    from neurosim.studies import comparison, grid, plan
    from neurosim.studies.conditions import jobs_of, predecessors, quoted

    check_workers(workers, scheduler)
    asked = grid.find(model)
    if asked is None:
        spec.load(model, settings(set))
        if not over:
            raise InputError("compare: say what to compare, such as --over timing.delay=0,0.5,1.")
        axes = tuple(grid.parse_axis(text) for text in over)
        asked = grid.Grid(f"Comparison of {model}", model, {}, axes, range(10))
    elif over:
        raise InputError(f"{model} is a study, which has its own grid; leave --over out.")
    asked = asked._replace(
        overrides={**asked.overrides, **settings(set)},
        seeds=asked.seeds if seeds is None else seed_range(seeds),
        measures=(*asked.measures, *measure),
    )
    conditions = asked.conditions()
    first = jobs_of(predecessors(conditions), runs)
    jobs = jobs_of(conditions, runs)
    print(plan.describe(asked, first, jobs, workers), flush=True)
    if dry:
        return
    make_folder(out)
    for each in (first, jobs):
        if each:
            exit_where_failed(carry_out(each, workers, scheduler, quiet))
    options = [f"--over {text}" for text in over]
    options += [] if seeds is None else [f"--seeds {seeds}"]
    options += [f"--measure {name}" for name in measure]
    options += ["--set", *map(quoted, set)] if set else []
    command = " ".join(["neurosim compare", model, *options])
    for path in comparison.write(asked, runs, out, command):
        print(path)
