"""Recording: rows in memory, compressed by a thread of its own, kept in closed segments.

No HDF5 file on disk is ever open for writing while a run goes on: killed with one open, a run
leaves a file that cannot be read, or one that is silently wrong. A segment is built in memory and
takes its name only when it is on disk.

Rows leave in whole chunks. What does not fill a chunk when a segment is closed is written all the
same, and once more at the beginning of the next segment, so that every segment begins with a whole
chunk: sealing then copies chunks as they are.
"""

import io
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from neurosim.record import schema
from neurosim.record.contents import FIRST_ROW, Column, Contents
from neurosim.record.files import (
    LIBVER,
    Array,
    Attribute,
    Attributes,
    create_fixed,
    create_growing,
    deflated,
    set_attributes,
)
from neurosim.record.stores import Store
from neurosim.spec import Compression

_MOST_WAITING = 8 * 2**20  # bytes handed to the writing thread and not yet taken in


class _Rows:
    """The rows of one growing dataset that do not fill a chunk yet.

    Attributes
    ----------
    first : int
        Row of the dataset that the buffer begins with, a multiple of the rows of a chunk.
    filled : int
        Rows in the buffer.
    written : int
        How many of them a closed segment holds already.
    """

    def __init__(self, path: str, like: Array) -> None:
        self.chunks = schema.chunk_shape(path, like.dtype, like.shape[1:])
        self._buffer = np.empty((0, *like.shape[1:]), like.dtype)
        self.first = self.filled = self.written = 0

    def go_on_from(self, column: Column) -> None:
        """Take over the rows at the end of what is recorded already."""
        self.first = len(column) // self.chunks[0] * self.chunks[0]
        self.add(column[self.first :])
        self.written = self.filled

    def add(self, rows: Array) -> int:
        """Copy rows as far as they fill the chunk; returns how many."""
        stop = min(self.filled + len(rows), self.chunks[0])
        if stop > len(self._buffer):  # small datasets never need a whole chunk
            room = min(self.chunks[0], max(stop, 2 * len(self._buffer)))
            old, self._buffer = self._buffer, np.empty((room, *rows.shape[1:]), rows.dtype)
            self._buffer[: self.filled] = old[: self.filled]
        taken = stop - self.filled
        self._buffer[self.filled : stop] = rows[:taken]
        self.filled = stop
        return taken

    @property
    def full(self) -> bool:
        """Whether the rows fill a chunk."""
        return self.filled == self.chunks[0]

    def take_chunk(self) -> tuple[int, Array]:
        """Return the whole chunk and where it begins, and go on with the next one."""
        chunk = self.first, self._buffer
        self.first += self.filled
        self._buffer = np.empty_like(self._buffer)
        self.filled = self.written = 0
        return chunk

    def tail(self) -> tuple[int, Array]:
        """Return a copy of the rows that do not fill a chunk, and where they begin."""
        return self.first, self._buffer[: self.filled].copy()


class _Segment:
    """A segment that is being built in memory."""

    def __init__(self, compression: Compression) -> None:
        self._image = io.BytesIO()
        self._file = h5py.File(self._image, "w", libver=LIBVER)
        set_attributes(
            self._file, {"format": schema.FORMAT, "format_version": schema.FORMAT_VERSION}
        )
        self._compression = compression
        self._first: dict[str, int] = {}
        self.empty = True

    def append(self, path: str, chunks: tuple[int, ...], first: int, rows: Array) -> None:
        """Add a chunk of a growing dataset, or the rows that are its last ones in this segment.

        first : the row of the dataset that `rows` begin with.
        """
        self.empty = False
        if path not in self._file:
            dataset = create_growing(
                self._file, path, rows.dtype, rows.shape[1:], chunks, self._compression
            )
            dataset.attrs[FIRST_ROW] = self._first[path] = first
        dataset = self._file[path]
        start = first - self._first[path]
        assert start == len(dataset), (path, first)
        dataset.resize(start + len(rows), axis=0)
        if self._compression == "gzip" and chunks[1:] == rows.shape[1:]:
            chunk = rows
            if len(rows) < chunks[0]:
                chunk = np.zeros(chunks, rows.dtype)
                chunk[: len(rows)] = rows
            dataset.id.write_direct_chunk((start, *(0 for _ in chunks[1:])), deflated(chunk))
        else:
            dataset[start:] = rows

    def put(self, path: str, array: Array) -> None:
        """Add a whole array."""
        self.empty = False
        if path in self._file:
            del self._file[path]
        create_fixed(self._file, path, array, self._compression)

    def annotate(self, path: str, attrs: Attributes) -> None:
        """Add attributes; a name that has no dataset here is a group, or is made one.

        Such a group may stand for a dataset of another segment.
        """
        self.empty = False
        name = path or "/"
        node = self._file[name] if name in self._file else self._file.create_group(name)
        set_attributes(node, attrs)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._image.getbuffer().nbytes

    def close(self) -> bytes:
        """Return the finished segment."""
        self._file.close()
        return self._image.getvalue()


class Recorder:
    """Records a run as a sequence of closed segments, in a folder or in memory.

    A killed process loses what came after the last `commit`, never what was before it. If writing
    fails, that error is raised from then on, whatever is asked for: the run goes on from its
    checkpoint.

    Parameters
    ----------
    store : Store
        Where closed segments go; the record goes on from those that it has already.
    compression : "gzip", "lz4" or "none"
        How chunks are compressed.
    segment_bytes : int
        A segment is closed by itself when it has this size.
    """

    def __init__(
        self,
        store: Store,
        compression: Compression = "gzip",
        segment_bytes: int = 8 * 2**20,
    ) -> None:
        self._store = store
        self._compression = compression
        self._segment_bytes = segment_bytes
        self._rows: dict[str, _Rows] = {}
        self._layouts: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self._arrays: dict[str, Array] = {}
        self._attributes: dict[str, dict[str, Attribute]] = {}
        before = store.sources()
        self._before = Contents(lambda: before)
        # What follows belongs to the writing thread once it is at work.
        self._thread = ThreadPoolExecutor(1, "recorder")
        self._waiting: deque[tuple[Future[None], int]] = deque()
        self._closed = len(before)
        self._segment = _Segment(compression)
        self._failure: BaseException | None = None

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        self._thread.shutdown(cancel_futures=kind is not None)

    def append(self, path: str, rows: npt.ArrayLike) -> None:
        """Add rows to a growing dataset such as ``steps/reward``; they are copied.

        Raises
        ------
        ValueError
            The rows differ from those before, or from the schema, in type or shape.
        RunError
            A segment was due and could not be written.
        """
        new = np.asarray(rows)
        mine = self._rows.get(path) or self._begin(path, new)
        if (new.dtype, new.shape[1:]) != self._layouts[path]:
            raise ValueError(
                f"{path} has rows of {self._layouts[path]}, not of {(new.dtype, new.shape[1:])}"
            )
        while len(new):
            new = new[mine.add(new) :]
            if mine.full:
                first, chunk = mine.take_chunk()
                self._hand_over(self._append, path, mine.chunks, first, chunk, room=chunk.nbytes)

    def put(self, path: str, array: npt.ArrayLike) -> None:
        """Add a whole array such as ``teams/actor/weights/initial/W1``; it is copied."""
        copy = np.array(array)
        if not copy.ndim:
            raise ValueError(f"{path}: a single value belongs into the attributes of a group")
        self._arrays[path] = copy

    def annotate(self, path: str, attrs: Attributes) -> None:
        """Add attributes to a group or dataset, whether written yet or not; "" is the root."""
        self._attributes.setdefault(path, {}).update(attrs)

    def commit(self) -> int:
        """Close a segment with all there is, and return how many there are now.

        Raises
        ------
        RunError
            It could not be written.
        """
        tails = {
            path: (rows.chunks, *rows.tail())
            for path, rows in self._rows.items()
            if rows.filled > rows.written
        }
        arrays, self._arrays = self._arrays, {}
        attributes, self._attributes = self._attributes, {}
        self._hand_over(self._close_all, tails, arrays, attributes)
        while self._waiting:
            self._waiting.popleft()[0].result()
        for path in tails:
            self._rows[path].written = self._rows[path].filled
        return self._closed

    def _begin(self, path: str, like: Array) -> _Rows:
        """The buffer of a dataset that has not been added to before."""
        _check_type(path, like.dtype)
        rows = _Rows(path, like)
        layout = (like.dtype, like.shape[1:])
        with self._before:
            try:
                column = self._before.column(path)
            except KeyError:
                self.annotate(path, schema.attributes(path))
            else:
                layout = (column.dtype, column.shape[1:])
                if layout == (like.dtype, like.shape[1:]):
                    rows.go_on_from(column)
        self._rows[path], self._layouts[path] = rows, layout
        return rows

    def _hand_over(self, task: Callable[..., None], *arguments: Any, room: int = 0) -> None:
        """Give the writing thread a task; waits where too many bytes wait there.

        room : bytes of the rows that wait with it.
        """
        self._waiting.append((self._thread.submit(self._work, task, *arguments), room))
        while self._waiting:
            oldest, _ = self._waiting[0]
            if not oldest.done() and sum(size for _, size in self._waiting) <= _MOST_WAITING:
                break
            self._waiting.popleft()
            oldest.result()

    # ---- in the writing thread

    def _work(self, task: Callable[..., None], *arguments: Any) -> None:
        """Do a task, unless one before it has failed."""
        if self._failure is not None:
            raise self._failure
        try:
            task(*arguments)
        except BaseException as error:
            self._failure = error
            raise

    def _append(self, path: str, chunks: tuple[int, ...], first: int, rows: Array) -> None:
        self._segment.append(path, chunks, first, rows)
        if self._segment.size >= self._segment_bytes:
            self._close()

    def _close_all(
        self,
        tails: dict[str, tuple[tuple[int, ...], int, Array]],
        arrays: dict[str, Array],
        attributes: dict[str, dict[str, Attribute]],
    ) -> None:
        for path, tail in tails.items():
            self._segment.append(path, *tail)
        for path, array in arrays.items():
            self._segment.put(path, array)
        for path, attrs in attributes.items():
            self._segment.annotate(path, attrs)
        self._close()

    def _close(self) -> None:
        """Close the segment and write it."""
        if not self._segment.empty:
            self._store.write(self._closed, self._segment.close())
            self._segment = _Segment(self._compression)
            self._closed += 1


def _check_type(path: str, dtype: np.dtype[Any]) -> None:
    field = schema.COLUMNS.get(path)
    if field and field.dtype and dtype != field.dtype:
        raise ValueError(f"{path} holds {np.dtype(field.dtype)}, not {dtype}")
