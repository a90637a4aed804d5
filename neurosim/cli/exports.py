"""A run in the format of another tool."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from neurosim.cli.arguments import Folder, check_output
from neurosim.errors import InputError

Target = Annotated[Path, arg(aliases=["-o"], metavar="PATH")]


def export(
    run: Positional[Folder],
    to: Literal["minari", "nwb", "perfetto", "sonata"],
    output: Target,
    window: int | None = None,
    force: bool = False,
) -> None:
    """Write a run for another tool: all its steps for Minari, for the others a window.

    | neurosim export runs/cartpole/seed-0000 --to minari -o cartpole-v0
    | neurosim export runs/async/cartpole/seed-0000 --to perfetto -o trace.pftrace --window 1

    See docs/export.md.

    Args:
        run: The run's folder, such as runs/cartpole/seed-0000, or its run.h5.
        to: minari, offline reinforcement learning; nwb, Neurodata Without Borders; perfetto, its
            viewer of traces, for asynchronous runs; sonata, spikes and values of units.
        output: The file to write; for minari the folder, named such as cartpole-v0.
        window: Which of the recorded windows, from 0; the first one if none is named.
        force: Replace what is there already.
    """
    from neurosim import record
    from neurosim.exports import minari, nwb, perfetto, sonata
    from neurosim.exports.output import whole

    if to == "minari":
        minari.check_name(output)
        if window is not None:
            raise InputError(f"--window {window}: a dataset of Minari holds all steps; leave it.")
    check_output(output, "an export", force=force)
    with record.open_run(run) as opened, whole(output) as part:
        if to == "minari":
            minari.save(opened, part)
        else:
            save = {"nwb": nwb.save, "perfetto": perfetto.save, "sonata": sonata.save}[to]
            save(opened, window or 0, part)
    print(output)
