"""Where closed segments go: a run's folder, or memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from neurosim.errors import InputError
from neurosim.record import schema
from neurosim.record.files import Image, Source, changing, write_atomically


class Store(Protocol):
    """Keeps closed segments, which never change, in order."""

    def write(self, number: int, image: bytes) -> None:
        """Keep a closed segment, whole or not at all.  Raises RunError where that fails."""

    def sources(self) -> list[Source]:
        """Return the closed segments in order."""


class MemoryStore:
    """Segments that are gone with the process.

    Parameters
    ----------
    before : files that they go on from, such as the ``run.h5`` of a run.
    """

    def __init__(self, before: Sequence[Source] = ()) -> None:
        self._sources = list(before)

    def write(self, number: int, image: bytes) -> None:
        """Keep a closed segment."""
        self._sources.append(Image(f"segment {number} in memory", image))

    def sources(self) -> list[Source]:
        """Return the closed segments in order, after the files before them."""
        return list(self._sources)


class FolderStore:
    """Segments as files ``segments/000000.h5``, ``000001.h5``, ... of a run folder.

    Parameters
    ----------
    folder : Path
        The run folder; it is made if need be.
    closed : int
        How many segments to keep, as the checkpoint says. Later ones are deleted: what a run
        recorded after the checkpoint it will record again.

    Raises
    ------
    InputError
        Fewer than `closed` segments are there.
    RunError
        The folder cannot be made, or segments not be deleted.
    """

    def __init__(self, folder: Path, closed: int = 0) -> None:
        self._run = folder
        self._folder = folder / schema.SEGMENTS_FOLDER
        with changing(folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        found = numbered_segments(folder)
        if any(number not in found for number in range(closed)):
            raise InputError(
                f"The checkpoint in {folder} counts {closed} closed segments, and some of them are "
                "missing. Restore them from a copy, or start the run anew."
            )
        late = [file for number, file in found.items() if number >= closed]
        with changing(self._folder):
            for file in (*reversed(late), *self._folder.glob("*.part")):  # never leaves a gap
                file.unlink()

    def write(self, number: int, image: bytes) -> None:
        """Keep a closed segment, whole or not at all.  Raises RunError where that fails."""
        write_atomically(self._folder / f"{number:06d}.h5", image)

    def sources(self) -> list[Source]:
        """Return the closed segments in order."""
        return list(closed_segments(self._run))


def numbered_segments(folder: Path) -> dict[int, Path]:
    """Return the segments in a run folder by number."""
    files = (folder / schema.SEGMENTS_FOLDER).glob("*.h5")
    return {int(file.stem): file for file in sorted(files) if file.stem.isdigit()}


def closed_segments(folder: Path) -> list[Path]:
    """Return the closed segments of a run folder in order; none once they are being dropped."""
    found = numbered_segments(folder)
    if 0 not in found:
        return []
    for number in range(len(found)):
        if number not in found:
            raise InputError(
                f"Segment {number} is missing from {folder / schema.SEGMENTS_FOLDER}. "
                "Restore it from a copy, or record the run again."
            ) from FileNotFoundError(number)
    return [found[number] for number in range(len(found))]
