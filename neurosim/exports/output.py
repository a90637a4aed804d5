"""What exports need: packages that may be missing, and files that are whole or not there."""

import importlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neurosim.analysis.windows import window_of
from neurosim.errors import InputError, RunError
from neurosim.record.reader import Run, Window


def package(name: str, extra: str = "export") -> Any:
    """A package that comes with an extra of neurosim.  Raises InputError where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError:
        root = name.partition(".")[0]
        raise InputError(f"This needs {root}: pip install 'neurosim[{extra}]'.") from None


def exported_window(run: Run, number: int) -> Window:
    """A window of a run by its number, from 0.

    Raises
    ------
    InputError : there is none, or no step of it came to its end, as of a run that diverged at once.
    """
    window = window_of(run, number)
    if not len(window.steps):
        raise InputError(f"window {number} has no finished step; give another one.")
    return window


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write what becomes `path`, a file or a folder, once it is whole.

    Parameters
    ----------
    path : what is asked for; replaced if it is there, of folders only a dataset of Minari.

    Raises
    ------
    InputError : it is another folder.
    RunError : it could not be written; then what was there before still is.
    """
    if path.is_dir() and [each.name for each in path.iterdir()] != ["data"]:
        raise InputError(f"-o {path} is a folder and no dataset; --force will not empty it.")
    parent = path.parent.resolve()  # Minari stumbles over relative paths
    try:
        with tempfile.TemporaryDirectory(dir=parent, prefix=f".{path.name}.") as folder:
            part = Path(folder) / path.name
            yield part
            if path.is_dir():
                shutil.rmtree(path)
            part.replace(path)
    except OSError as error:
        raise RunError(f"{path} could not be written: {error}.") from error
