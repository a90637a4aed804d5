"""`neurosim plot`: one command for each figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tyro.extras import SubcommandApp

from neurosim.cli.arguments import Output, Runs, all_run_folders
from neurosim.errors import InputError

app = SubcommandApp()


@app.command
def learning_curve(runs: Runs, output: Output) -> None:
    """Draw the running average of the return over the episodes.

    Args:
        runs: Folders of runs, or folders of several seeds, or run.h5 files.
        output: The .png, .pdf or .svg file to write.
    """
    from neurosim.plots import learning_curve, style

    style.check_figure_path(output)
    learning_curve.save(returns_of(all_run_folders(runs)), output)
    print(output)


def returns_of(folders: Sequence[Path]) -> dict[str, list[Any]]:
    """Returns of the episodes of runs, by model."""
    from neurosim import record

    returns: dict[str, list[Any]] = {}
    for folder in folders:
        with record.open_run(folder) as opened:
            if not len(opened.episodes):
                raise InputError(f"{folder} has no finished episode, there is nothing to draw.")
            name = str(opened.attrs["model_name"])
            returns.setdefault(name, []).append(opened.episodes["return"][:])
    return returns
