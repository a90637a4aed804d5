"""Arguments that several commands take, and the runs that they name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from neurosim.errors import InputError

ModelName = Annotated[str, arg(metavar="MODEL")]
Folder = Annotated[Path, arg(metavar="DIR")]
Runs = Positional[Annotated[tuple[Path, ...], arg(metavar="RUN ...")]]
Output = Annotated[Path, arg(aliases=["-o"], metavar="FILE")]


def run_folders(path: Path) -> list[Path]:
    """The runs that a path names: itself, or all runs below it."""
    if path.is_file() or (path / "provenance.json").exists():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: there is no such run. `neurosim list` names the runs.")
    folders = sorted(found.parent for found in path.rglob("provenance.json"))
    if not folders:
        raise InputError(f"{path} holds no runs. `neurosim list` names the runs.")
    return folders


def all_run_folders(paths: Sequence[Path]) -> list[Path]:
    """The runs that several paths name, one at least."""
    if not paths:
        raise InputError("Name at least one run, such as runs/cartpole/seed-0000.")
    return [folder for path in paths for folder in run_folders(path)]
