"""Commands on what a run has recorded."""

from typing import Annotated

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
    from neurosim import experiment, progress, replay

    model, seed = experiment.read_run_model(run)
    label = f"{model.name} seed {seed}, replayed"
    with progress.display([label], [episode], quiet) as on_episode:
        done = replay.rerecord(
            run,
            episode,
            _bounds(steps),
            on_episode=lambda ended: on_episode(0, ended),
        )
    print(
        f"Episodes {done.first_episode} to {episode} were replayed: all {done.n_steps} steps have "
        "the bits that were recorded."
    )
    events = f", {done.n_events} events" if done.n_events else ""
    print(f"{run / 'run.h5'} has them as window {done.window}{events}.")


def _bounds(steps: str) -> tuple[int, int]:
    try:
        first, last = (int(part) for part in steps.split(":"))
    except ValueError:
        raise InputError(f"--steps {steps}: write FIRST:LAST+1, such as 0:20.") from None
    return first, last
