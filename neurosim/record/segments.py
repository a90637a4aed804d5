"""Writing a run: rows in memory, then closed segments, at last one sealed file.

No HDF5 file is ever open for writing while a run goes on: killed with one open, a run leaves a file
that cannot be read, or one that is silently wrong. A segment is built in memory and takes its name
only when it is on disk.
"""

import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from neurosim.errors import InputError
from neurosim.record import schema
from neurosim.record.files import (
    LIBVER,
    Array,
    Attribute,
    Attributes,
    create_fixed,
    create_growing,
    hdf5_image,
    replacing,
    write_all,
    write_atomically,
)
from neurosim.record.reader import (
    Column,
    Contents,
    closed_segments,
    fingerprint,
    numbered_segments,
)


class _Rows:
    """The rows of one growing dataset that are not yet written, in a buffer that doubles.

    Attributes
    ----------
    filled : Array
        The rows.
    """

    def __init__(self, like: Array) -> None:
        self._buffer = like[:0].copy()
        self.filled = self._buffer

    def append(self, rows: Array) -> None:
        start = len(self.filled)
        stop = start + len(rows)
        if stop > len(self._buffer):
            shape = (max(stop, 2 * len(self._buffer)), *rows.shape[1:])
            self._buffer, old = np.empty(shape, rows.dtype), self.filled
            self._buffer[:start] = old
        self._buffer[start:stop] = rows
        self.filled = self._buffer[:stop]


class SegmentWriter:
    """Records a run as a sequence of closed segments ``segments/000000.h5``, ``000001.h5``, ...

    A killed process loses what was buffered, never what was closed. If writing fails (`RunError`)
    everything is still buffered, and closing the segment can be tried again.

    Parameters
    ----------
    folder : Path
        The run folder; it is made if need be.
    closed : int
        How many closed segments to keep, as the checkpoint says. Later ones are deleted: what a run
        recorded after the checkpoint it will record again.
    segment_bytes : int
        A segment is closed by itself when this much is buffered.

    Raises
    ------
    InputError
        Fewer than `closed` segments are there.
    """

    def __init__(self, folder: Path, closed: int = 0, segment_bytes: int = 32 * 2**20) -> None:
        self._folder = folder / schema.SEGMENTS_FOLDER
        self._closed = closed
        self._segment_bytes = segment_bytes
        self._layouts: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self._clear()
        self._folder.mkdir(parents=True, exist_ok=True)
        found = numbered_segments(folder)
        if any(number not in found for number in range(closed)):
            raise InputError(
                f"The checkpoint in {folder} counts {closed} closed segments, and some of them are "
                "missing. Restore them from a copy, or start the run anew."
            )
        late = [file for number, file in found.items() if number >= closed]
        for file in (*late, *self._folder.glob("*.part")):
            file.unlink()

    def append(self, path: str, rows: npt.ArrayLike) -> None:
        """Add rows to a growing dataset such as ``steps/reward``; they are copied.

        Raises
        ------
        ValueError
            The rows differ from those before, or from the schema, in type or shape.
        RunError
            A segment was due and could not be written.
        """
        path, new = path.strip("/"), np.asarray(rows)
        layout = (new.dtype, new.shape[1:])
        if path not in self._layouts:
            _check_type(path, new.dtype)
            self._layouts[path] = layout
            self.annotate(path, schema.attributes(path))
        if layout != self._layouts[path]:
            raise ValueError(f"{path} has rows of {self._layouts[path]}, not of {layout}")
        if path not in self._rows:
            self._rows[path] = _Rows(new)
        self._rows[path].append(new)
        self._count(new)

    def put(self, path: str, array: npt.ArrayLike) -> None:
        """Add a whole array such as ``teams/actor/weights/initial/W1``; it is copied.

        Raises
        ------
        RunError
            A segment was due and could not be written.
        """
        copy = np.array(array)
        self._arrays[path.strip("/")] = copy
        self._count(copy)

    def annotate(self, path: str, attrs: Attributes) -> None:
        """Add attributes to a group or dataset, whether written yet or not; "" is the root."""
        self._attributes.setdefault(path.strip("/"), {}).update(attrs)

    def close_segment(self) -> int:
        """Write what is buffered as one closed segment, and return how many there are now.

        Raises
        ------
        RunError
            The segment could not be written.
        """
        if self._rows or self._arrays or self._attributes:
            path = self._folder / f"{self._closed:06d}.h5"
            write_atomically(path, hdf5_image(self._build))
            self._closed += 1
            self._clear()
        return self._closed

    def _clear(self) -> None:
        self._rows: dict[str, _Rows] = {}
        self._arrays: dict[str, Array] = {}
        self._attributes: dict[str, dict[str, Attribute]] = {}
        self._bytes = 0

    def _count(self, array: Array) -> None:
        self._bytes += array.nbytes
        if self._bytes >= self._segment_bytes:
            self.close_segment()

    def _build(self, file: Any) -> None:
        for path, rows in self._rows.items():
            filled = rows.filled
            create_growing(file, path, len(filled), filled.dtype, filled.shape[1:])[...] = filled
        for path, array in self._arrays.items():
            create_fixed(file, path, array)
        _annotate(file, self._attributes)
        file.attrs.update(format=schema.FORMAT, format_version=schema.FORMAT_VERSION)


def seal(folder: Path, attrs: Attributes) -> Path:
    """Merge the closed segments of a run into ``run.h5``, and keep them.

    Datasets whose first dimension is unlimited are joined; of anything else the last written one is
    copied.

    Parameters
    ----------
    folder : Path
        The run folder.
    attrs : mapping
        Root attributes to add, such as ``complete``.

    Returns
    -------
    Path
        The sealed file.

    Raises
    ------
    InputError
        There is no closed segment, or one is damaged.
    RunError
        The file could not be written.
    """
    # In a thread, for a KeyboardInterrupt reaches only the main one: raised inside the calls that
    # HDF5 makes to `_Sink` it would crash the process.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_seal, folder, attrs).result()


def drop_segments(folder: Path) -> None:
    """Delete the segments of a run that is complete and sealed: it cannot be resumed any more."""
    # The first goes first: without it the others do not count as the record of the run.
    for file in closed_segments(folder)[:1]:
        file.unlink()
    shutil.rmtree(folder / schema.SEGMENTS_FOLDER)


def _seal(folder: Path, attrs: Attributes) -> Path:
    segments = closed_segments(folder)
    if not segments:
        raise InputError(f"There is nothing to seal in {folder}. Give the folder of a run.")
    path = folder / schema.SEALED_FILE
    remedy = (
        f"The {len(segments)} closed segments in {folder / schema.SEGMENTS_FOLDER} are safe: free "
        f"some space, then go on with `neurosim resume {folder}`."
    )
    with Contents(segments) as contents, replacing(path, remedy) as part:
        sink = _Sink(part)
        with h5py.File(sink, "w", libver=LIBVER) as file:
            for name in contents.walk():
                node = contents.node(name)
                if isinstance(node, Column):
                    _copy(node, file, name, sink)
                _annotate(file, {name: contents.attributes(name)})
            file.attrs.update(attrs)
            file.attrs["segments"] = fingerprint(segments)
        sink.check()
    return path


def _copy(column: Column, file: Any, name: str, sink: "_Sink") -> None:
    if not column.growing:
        create_fixed(file, name, column[...])
        sink.check()
        return
    target = create_growing(file, name, len(column), column.dtype, column.shape[1:])
    for start, stop in column.blocks():
        target[start:stop] = column[start:stop]
        sink.check()


def _annotate(file: Any, attributes: dict[str, dict[str, Attribute]]) -> None:
    """Add attributes by path; one that has no dataset here is a group, or is made one.

    In a segment such a group may stand for a dataset of another segment.
    """
    for path, attrs in attributes.items():
        name = path or "/"
        node = file[name] if name in file else file.create_group(name)
        node.attrs.update(attrs)


def _check_type(path: str, dtype: np.dtype[Any]) -> None:
    field = schema.COLUMNS.get(path)
    if field and field.dtype and dtype != field.dtype:
        raise ValueError(f"{path} holds {np.dtype(field.dtype)}, not {dtype}")


class _Sink:
    """The file that HDF5 writes a sealed run to.

    After an error in one of these calls HDF5 crashes the process. So a write that fails is kept in
    memory, where HDF5 finds it when it reads it again, and `check` tells that the file is lost.
    """

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._failure: OSError | None = None
        self._lost: list[tuple[int, bytes]] = []
        self.seek, self.tell, self.flush = file.seek, file.tell, file.flush

    def read(self, size: int) -> bytes:
        """Return the next bytes of the file, and over them what could not be written."""
        start = self._file.tell()
        data = bytearray(self._file.read(size).ljust(size, b"\0"))
        for offset, lost in self._lost:
            low, high = max(start, offset), min(start + size, offset + len(lost))
            if low < high:
                data[low - start : high - start] = lost[low - offset : high - offset]
        return bytes(data)

    def write(self, data: memoryview) -> None:
        """Write all of `data`, to the file or else to memory."""
        offset = self._file.tell()
        try:
            self.check()
            write_all(self._file, data)
        except OSError as error:
            self._failure = error
            self._lost.append((offset, bytes(data)))

    def truncate(self, size: int) -> None:
        """Set the length of the file."""
        try:
            self._file.truncate(size)
        except OSError as error:
            self._failure = error

    def check(self) -> None:
        """Raise the failure, if there was one."""
        if self._failure is not None:
            raise self._failure
