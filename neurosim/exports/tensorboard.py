"""What each episode scored, for TensorBoard, while runs go on."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from neurosim.exports.output import package
from neurosim.training import Episode

SECONDS = 5  # until what was written can be seen


@contextmanager
def scalars(folders: Mapping[str, Path], unit: str) -> Iterator[Callable[[str, Episode], None]]:
    """Write scalars of runs by their names; gives what takes each episode of each run.

    Parameters
    ----------
    folders : of each run, by its name.
    unit : "episode" or "batch", of which a run is made.

    Raises
    ------
    InputError : tensorboardX is missing.
    """
    writer_class = package("tensorboardX", "tensorboard").SummaryWriter
    writers: dict[str, Any] = {}
    with ExitStack() as stack:

        def write(name: str, episode: Episode) -> None:
            if name not in writers:
                writer = writer_class(str(folders[name]), flush_secs=SECONDS)
                writers[name] = stack.enter_context(writer)
            found = {"return": episode.total, "length": episode.length}
            if unit == "batch":
                found = {"reward": episode.total}
            for key, value in found.items():
                writers[name].add_scalar(f"{unit}/{key}", value, episode.number)

        yield write
