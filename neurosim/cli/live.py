"""What `neurosim run` shows while it goes on: scalars for TensorBoard, films."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from neurosim.errors import InputError

if TYPE_CHECKING:
    from neurosim.spec import Model
    from neurosim.training import Episode

FILES = ("events.out.tfevents.*", "*.mp4")  # of scalars, of films


class Live(NamedTuple):
    """Where to put what is shown of runs, by their names; empty where nothing is asked for."""

    scalars: dict[str, Path]
    films: dict[str, Path]


def live_folders(
    model: "Model",
    seeds: Mapping[str, int],
    out: Path,
    tensorboard: Path | None,
    video: Path | None,
    force: bool,
) -> Live:
    """Find a folder for each run, DIR/MODEL/seed-NNNN, and empty those of earlier runs.

    Parameters
    ----------
    model : of the runs.
    seeds : of the runs, by their names.
    out, tensorboard, video, force : as of `neurosim run`.

    Raises
    ------
    InputError : the task cannot be filmed, a package is missing, or a folder holds something.
    """
    from neurosim.experiment import run_folder
    from neurosim.exports.output import package
    from neurosim.tasks import check_film

    if tensorboard is not None:
        package("tensorboardX", "tensorboard")
    if video is not None:
        check_film(model.spec.task)
    roots = {"--tensorboard": tensorboard, "--video": video}
    found = Live({}, {})
    taken = {out.resolve(): "--out"}
    for (option, root), folders, files in zip(roots.items(), found, FILES, strict=True):
        if root is None:
            continue
        other = taken.setdefault(root.resolve(), option)
        if other != option:
            raise InputError(f"{option} {root}: this is the folder of {other} too; choose another.")
        for name, seed in seeds.items():
            folders[name] = run_folder(model, seed, root)
            _empty(folders[name], option, files, force)
    return found


def _empty(folder: Path, option: str, files: str, force: bool) -> None:
    """Delete what an earlier run has left in a folder.  Raises InputError as `live_folders`."""
    there = list(folder.iterdir()) if folder.is_dir() else []
    strange = [each for each in there if not each.match(files)]
    if strange:
        raise InputError(f"{option}: {folder} holds {strange[0].name}; choose another folder.")
    if there and not force:
        raise InputError(f"{option}: {folder} holds files of a run already: --force replaces them.")
    for each in there:
        each.unlink()
    if folder.is_dir():
        folder.rmdir()


@contextmanager
def scalars(
    folders: Mapping[str, Path], model: "Model"
) -> "Iterator[Callable[[str, Episode], None] | None]":
    """What takes the episodes of runs of a model for TensorBoard; None without folders."""
    if not folders:
        yield None
        return
    from neurosim.exports import tensorboard

    unit = "batch" if model.mode == "monte_carlo" else "episode"
    with tensorboard.scalars(folders, unit) as write:
        yield write
