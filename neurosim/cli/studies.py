"""Commands that make many runs to answer one question."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from neurosim.cli.arguments import Folder, ModelName, seed_range, settings


def tune(
    model: Positional[ModelName],
    over: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="KEY=LOW:HIGH")]] = (),
    trials: int = 40,
    seeds: Annotated[str, arg(metavar="FIRST:LAST+1")] = "1000:1003",
    set: Annotated[tuple[str, ...], arg(metavar="KEY=VALUE ...")] = (),
    out: Folder = Path("runs"),
    workers: int = 1,
    quiet: bool = False,
) -> None:
    """Search for the step sizes, or other numbers, with which a model scores best.

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
        workers: Worker processes.  A search with one is reproducible.
        quiet: Show no progress.
    """
    from neurosim import progress, spec, tuning

    loaded = spec.load(model, settings(set))
    space = [tuning.parse_range(text) for text in over] or tuning.default_space(loaded)
    with progress.trials(loaded.name, trials, quiet) as on_trial:
        found = tuning.tune(
            loaded, space, seed_range(seeds), trials, out, workers=workers, on_trial=on_trial
        )
    print(f"{found.trials} trials, {found.dropped} of them dropped")
    print(f"score {found.score:.4g}; of the model's own values {found.initial:.4g}")
    for key, value in found.overrides.items():
        text = f"[{', '.join(f'{v:.3g}' for v in value)}]" if isinstance(value, list) else value
        print(f"{key} = {text}")
