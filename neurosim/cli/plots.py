"""`neurosim plot`: one command for each figure."""

import os
from collections.abc import Callable, Sequence
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


@app.command
def relaxation(runs: Runs, output: Output) -> None:
    """Draw how the energy falls while the units relax, in the recorded steps.

    Args:
        runs: Runs that were recorded with --record; runs of one folder are drawn together.
        output: The .png, .pdf or .svg file to write.
    """
    from neurosim.analysis import relaxation as analysis
    from neurosim.plots import relaxation, style

    style.check_figure_path(output)
    relaxation.save(found_in(all_run_folders(runs), analysis.relaxation), output)
    print(output)


@app.command
def alignment(runs: Runs, output: Output) -> None:
    """Draw how the units' gradients compare with backprop's, in the recorded steps.

    Args:
        runs: Runs that were recorded with --record; runs of one folder are drawn together.
        output: The .png, .pdf or .svg file to write.
    """
    from neurosim.analysis import alignment as analysis
    from neurosim.plots import alignment, style

    style.check_figure_path(output)
    alignment.save(found_in(all_run_folders(runs), analysis.alignment), output)
    print(output)


@app.command
def feedback(runs: Runs, output: Output) -> None:
    """Draw the angle between feedback weights and transposed weights over the episodes.

    Args:
        runs: Folders of runs, or folders of several seeds, or run.h5 files.
        output: The .png, .pdf or .svg file to write.
    """
    from neurosim.analysis import feedback as analysis
    from neurosim.plots import feedback, style

    style.check_figure_path(output)
    feedback.save(found_in(all_run_folders(runs), analysis.feedback_angles), output)
    print(output)


def found_in(
    folders: Sequence[Path], analysis: Callable[[Any, str], Any]
) -> dict[str, list[dict[str, Any]]]:
    """What an analysis finds of both teams in runs, by the folder that holds their seeds."""
    from neurosim import record
    from neurosim.spec import TEAMS

    places = [(each.parent if each.is_file() else each).resolve().parent for each in folders]
    common = Path(os.path.commonpath([place.parent for place in places]))
    found: dict[str, list[dict[str, Any]]] = {}
    for folder, place in zip(folders, places, strict=True):
        with record.open_run(folder) as opened:
            of_teams = {team: analysis(opened, team) for team in TEAMS}
        found.setdefault(str(place.relative_to(common)), []).append(of_teams)
    return found


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
