"""Arguments that several commands take, and the runs that they name."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from neurosim.errors import InputError

ModelName = Annotated[str, arg(metavar="MODEL")]
Folder = Annotated[Path, arg(metavar="DIR")]
Runs = Positional[Annotated[tuple[Path, ...], arg(metavar="RUN ...")]]
Scheduler = Annotated[str | None, arg(metavar="ADDRESS|FILE")]
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
    """The runs that several paths name, one at least, each once."""
    if not paths:
        raise InputError("Name at least one run, such as runs/cartpole/seed-0000.")
    folders: dict[Path, Path] = {}
    for path in paths:
        for folder in run_folders(path):
            folders.setdefault(folder.resolve(), folder)
    return list(folders.values())


def check_output(path: Path, what: str, *suffixes: str, force: bool = True) -> None:
    """Make sure that what -o names can be written.

    Parameters
    ----------
    path : of a file, or of a folder if there are no suffixes.
    what : it is, with its article.
    suffixes : that it can have.
    force : it may be there already, and is replaced.

    Raises
    ------
    InputError : its suffix is another one, its folder is not there, or it is.
    """
    if suffixes and path.suffix not in suffixes:
        *others, last = suffixes
        listed = f"{', '.join(others)} or {last}" if others else last
        raise InputError(f"-o {path}: {what} is a {listed} file.")
    if not path.parent.is_dir():
        raise InputError(f"-o {path}: there is no folder {path.parent}; make it first.")
    if path.exists() and not force:
        raise InputError(f"-o {path} is there already; --force replaces it.")


def settings(texts: Sequence[str]) -> dict[str, Any]:
    """Values by key from texts such as "actor.N=40"; None, which takes a key away, from "KEY="."""
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise InputError(f"--set {text}: write KEY=VALUE, such as actor.N=40.")
        if not value:
            values[key] = None
            continue
        try:
            values[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            values[key] = value  # a bare word is a string
    return values


def seed_range(text: str) -> list[int]:
    """The seeds that a text such as "0:10" means."""
    try:
        first, last = (int(part) for part in text.split(":"))
        if 0 <= first < last:
            return list(range(first, last))
    except ValueError:
        pass
    raise InputError(f"--seeds {text}: write FIRST:LAST+1, such as 0:10 for the seeds 0 to 9.")
