"""What several HDF5 files hold, shown as one, and read no further than is asked for.

A run that is not sealed lies in many closed segments. Its growing datasets are shown as one
:class:`Column` each, which joins the rows of all segments when it is read; a sealed run is the same
with one file. What is written in several segments, attributes included, counts as last written;
so do the rows of a growing dataset that a later segment begins before the end of the ones before.
"""

import contextlib
import errno
import operator
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import EllipsisType
from typing import Any

import h5py
import numpy as np

from neurosim.errors import InputError, NeurosimError
from neurosim.record import schema
from neurosim.record.files import (
    Array,
    Source,
    WriteFailed,
    load_lz4,
    open_source,
    plain_attributes,
)

Index = int | np.integer[Any] | slice | EllipsisType | list[int] | Array

FIRST_ROW = "first_row"  # attribute of a growing dataset in a segment: the row that it begins with
DIMENSION_TYPE = np.dtype(">f4")  # of datasets that only name a dimension; nothing else has it
_OWN_ATTRIBUTES = {FIRST_ROW, "DIMENSION_LIST", "REFERENCE_LIST"}  # of the file, not of the data
_LZ4 = "32004"  # HDF5's number of the filter
_BLOCK_BYTES = 2**20
_NOT_THE_FILES_FAULT = (errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM)
_ATTEMPTS = 5  # to find the files of a run while they change
_MOST_OPEN_FILES = 4  # HDF5 keeps up to 32 MB of metadata for each


@contextlib.contextmanager
def reading(source: Source) -> Iterator[None]:
    """Turn whatever h5py raises on a bad file into one clear error."""
    try:
        yield
    except (NeurosimError, MemoryError, WriteFailed):
        raise
    except FileNotFoundError as error:
        raise InputError(
            f"{source} is gone: the run was sealed, resumed or moved. Open the run again."
        ) from error
    except PermissionError as error:
        raise InputError(f"{source} may not be read. Ask its owner for permission.") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NOT_THE_FILES_FAULT:
            raise InputError(f"{source} cannot be read: {os.strerror(error.errno)}.") from error
        raise InputError(
            f"{source} is damaged, incomplete or not an HDF5 file ({error}). "
            "Restore it from a copy, or record the run again."
        ) from error


def _check_format(source: Source, file: Any) -> None:
    name = plain_attributes(file.attrs).get("format")
    if name != schema.FORMAT:
        raise InputError(
            f"{source} is not a neurosim run: its attribute 'format' is {name!r}. "
            "Give a run folder or its run.h5."
        )
    version = int(file.attrs["format_version"])
    if version > schema.FORMAT_VERSION:
        raise InputError(
            f"{source} has format version {version}, and this neurosim reads versions up to "
            f"{schema.FORMAT_VERSION}. Install a newer neurosim."
        )


@dataclass
class _Entry:
    """One name: the files that hold it, and what they say of it together."""

    files: list[Source] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)
    children: list[str] | None = None  # None: not looked up yet
    dtype: np.dtype[Any] | None = None  # None: a group
    shape: tuple[int, ...] = ()
    growing: bool = False
    parts: list[tuple[Source, int]] = field(default_factory=list)  # file, row it begins with

    def add(self, source: Source, node: Any) -> None:
        """Take in what one more file holds under this name."""
        self.files.append(source)
        if len(node.attrs):
            found = plain_attributes(node.attrs)
            self.attrs |= {key: found[key] for key in found.keys() - _OWN_ATTRIBUTES}
        if not isinstance(node, h5py.Dataset):
            return
        if not node.shape:
            raise InputError(f"{source} holds a single value, {node.name}. Record the run again.")
        if _LZ4 in node._filters:
            load_lz4(str(source))
        growing = node.maxshape[0] is None
        if not (growing and self.growing):
            if growing and int(node.attrs.get(FIRST_ROW, 0)) != 0:
                raise InputError(
                    f"{source} begins with row {node.attrs[FIRST_ROW]} of {node.name}; the rows "
                    "before it are missing. Open the run's folder, or restore them from a copy."
                )
            self.dtype, self.shape, self.growing = node.dtype, node.shape, growing
            self.parts = [(source, 0)]
            return
        if (node.dtype, node.shape[1:]) != (self.dtype, self.shape[1:]):
            raise InputError(
                f"{source} holds {node.name} in another layout than the segments before it. "
                "Record the run again."
            )
        first = int(node.attrs.get(FIRST_ROW, self.shape[0]))  # format 1 had none
        end = first + node.shape[0]
        if not self.parts[-1][1] <= first <= self.shape[0] <= end:
            raise InputError(
                f"{source} holds the rows {first} to {end} of {node.name}, and the segments before "
                f"it end with row {self.shape[0]}: one is missing, or out of place. Restore it "
                "from a copy, or record the run again."
            )
        if first == self.parts[-1][1]:
            self.parts.pop()
        self.shape = (end, *self.shape[1:])
        self.parts.append((source, first))

    def bounds(self) -> Iterator[tuple[Source, int, int]]:
        """Yield each file of a growing dataset with the rows that count, first and end."""
        ends = [first for _, first in self.parts[1:]] + [self.shape[0]]
        for (source, first), end in zip(self.parts, ends, strict=True):
            yield source, first, end


class Contents:
    """What a list of files holds, joined, and looked up no further than is asked for.

    Parameters
    ----------
    find : callable
        Names the files, in order. It is asked again if one of them has gone meanwhile, as the
        segments do once a run is sealed.
    """

    def __init__(self, find: Callable[[], list[Source]]) -> None:
        self._find = find
        self._open: dict[Source, Any] = {}
        self._seen: dict[Source, tuple[int, ...]] = {}  # what each file was when first opened
        self._entries: dict[str, _Entry] = {}
        self._begin()
        self._run = self._identity()

    def __enter__(self) -> "Contents":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the open files; a later read opens them again."""
        while self._open:
            self._open.popitem()[1].close()

    def walk(self, name: str = "") -> Iterator[str]:
        """Yield the names of all that lies below a group, then its own; "" is the root.

        What was yielded is forgotten when the next group is, so that a walk takes little memory.
        """
        for child in self.children(name):
            yield from self.walk(join(name, child))
        yield name
        entry = self._entries[name]
        for child in entry.children or ():
            del self._entries[join(name, child)]
        entry.children = None

    def attributes(self, name: str) -> dict[str, Any]:
        """Return the attributes of a group or dataset, or raise KeyError."""
        return dict(self._entry(name).attrs)

    def children(self, name: str) -> list[str]:
        """Return the names right below a group, none if there is no such group."""
        try:
            entry = self._entry(name)
        except KeyError:
            return []
        if entry.dtype is not None:
            return []
        if entry.children is None:
            self._retried(lambda: self._look_up(name))
        return self._entry(name).children or []

    def node(self, name: str) -> "Column | Group":
        """Return the column or group of that name, or raise KeyError."""
        return Group(self, name) if self._entry(name).dtype is None else self.column(name)

    def column(self, name: str) -> "Column":
        """Return the column of that name, or raise KeyError."""
        entry = self._entry(name)
        if entry.dtype is None:
            raise KeyError(name)
        return Column(self, name, entry.dtype, entry.shape, entry.growing)

    def read(self, name: str, start: int, stop: int, out: Array) -> None:
        """Fill `out` with rows of a column, opening only the files that hold them."""
        self._retried(lambda: self._read(name, start, stop, out))

    def parts(self, name: str) -> Iterator[tuple[Source, Any, int, int]]:
        """Yield the files and datasets that make up a column, and the rows that they hold of it."""
        for source, first, end in self._entry(name).bounds():
            with reading(source):
                dataset = self._file(source)[name]
            yield source, dataset, first, end

    def _begin(self) -> None:
        """Find the files, again if they change meanwhile."""
        for attempt in range(_ATTEMPTS):
            root = _Entry()
            self._entries, self._seen = {"": root}, {}
            try:
                for source in self._find():
                    with reading(source):
                        file = self._file(source)
                        _check_format(source, file)
                        root.add(source, file)
                return
            except BaseException as error:
                self.close()
                if not _gone(error) or attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(0.02)

    def _retried(self, look: Callable[[], None]) -> None:
        """Do something; should a file have gone meanwhile, find the files again and do it again."""
        try:
            look()
        except InputError as error:
            if not _gone(error):
                raise
            self.close()
            self._begin()
            if self._identity() != self._run:
                raise InputError("The run was replaced by another one. Open it again.") from None
            look()

    def _identity(self) -> tuple[Any, ...]:
        """What tells one run from another one at the same place."""
        attrs = self._entries[""].attrs
        return tuple(attrs.get(name) for name in ("model_name", "seed", "created"))

    def _look_up(self, name: str) -> None:
        entry = self._entry(name)
        found: dict[str, _Entry] = {}
        for source in entry.files:
            with reading(source):
                for child, node in self._file(source)[name or "/"].items():
                    if getattr(node, "dtype", None) != DIMENSION_TYPE:
                        found.setdefault(child, _Entry()).add(source, node)
        self._entries.update((join(name, child), found[child]) for child in found)
        entry.children = list(found)

    def _read(self, name: str, start: int, stop: int, out: Array) -> None:
        entry = self._entry(name)
        if stop > entry.shape[0] or (entry.dtype, entry.shape[1:]) != (out.dtype, out.shape[1:]):
            raise InputError(f"/{name} has changed since it was looked up. Open the run again.")
        for source, first, end in entry.bounds():
            low, high = max(start, first), min(stop, end)
            if low < high:
                with reading(source):
                    rows = self._file(source)[name]
                    rows.read_direct(
                        out,
                        np.s_[low - first : high - first],
                        np.s_[low - start : high - start],
                    )

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            parent, _, child = name.rpartition("/")
            if child not in self.children(parent):
                raise KeyError(name)
        return self._entries[name]

    def _file(self, source: Source) -> Any:
        file = self._open.get(source)
        if file is None:
            if isinstance(source, Path):
                found = source.stat()
                state = found.st_ino, found.st_size, found.st_mtime_ns
                if self._seen.setdefault(source, state) != state:
                    raise FileNotFoundError(f"{source} was replaced")
            if len(self._open) == _MOST_OPEN_FILES:
                self._open.pop(next(iter(self._open))).close()
            file = self._open[source] = open_source(source)
        return file


def _gone(error: BaseException) -> bool:
    """Whether an error says that a file is not there any more."""
    return isinstance(error, InputError) and isinstance(error.__cause__, FileNotFoundError)


def _rows_of(index: Array, length: int) -> Array:
    """Row numbers from 0 of an index as NumPy has it: numbers, negative ones too, or a mask."""
    if index.dtype == bool:
        if index.shape != (length,):
            raise IndexError(f"a mask of {index.shape} does not fit a column of {length} rows")
        return np.flatnonzero(index)
    index = index.astype(np.int64) if index.size else np.zeros(index.shape, np.int64)
    if index.size and not -length <= index.min() <= index.max() < length:
        raise IndexError(f"rows {index.min()} to {index.max()} of a column of {length} rows")
    return np.where(index < 0, index + length, index)


def join(group: str, child: str) -> str:
    """Return the path of a child of a group."""
    return f"{group}/{child}" if group else child


class Column:
    """One dataset, read when it is indexed: ``column[3]``, ``column[10:20]``, ``column[[5, 2]]``.

    NumPy functions take it as an array; ``column[...]`` is the whole of it.

    Attributes
    ----------
    dtype : numpy.dtype
    shape : tuple of int
        Rows first.
    growing : bool
        Whether it gains rows while a run goes on.
    """

    def __init__(
        self,
        contents: Contents,
        name: str,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        growing: bool,
        start: int = 0,
    ) -> None:
        self._contents = contents
        self._name = name
        self._start = start
        self.dtype = dtype
        self.shape = shape
        self.growing = growing

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes, such as ``description``."""
        return self._contents.attributes(self._name)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names of the dimensions."""
        return schema.dimensions(self._name, len(self.shape), self.growing)

    def __repr__(self) -> str:
        return f"<Column {self._name}: {self.dtype} {self.shape}>"

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        for start, stop in self.blocks():
            yield from self._read(start, stop)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield the bounds of successive blocks of rows, of about 1 MB each."""
        size = self._block_rows()
        for start in range(0, len(self), size):
            yield start, min(start + size, len(self))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("reading a column always makes a new array")
        array: Array = self[...]
        return array if dtype is None else array.astype(dtype, copy=False)

    def __getitem__(self, index: Index) -> Any:
        if isinstance(index, tuple):
            raise TypeError("a column is indexed by rows only: write column[rows][:, k]")
        if index is ...:
            return self._read(0, len(self))
        if isinstance(index, int | np.integer):
            row = range(len(self))[operator.index(index)]
            return self._read(row, row + 1)[0]
        if isinstance(index, slice):
            rows = range(len(self))[index]
            if rows.step == 1:
                return self._read(rows.start, max(rows.start, rows.stop))
            return self._gather(np.arange(rows.start, rows.stop, rows.step))
        return self._gather(_rows_of(np.asarray(index), len(self)))

    def rows(self, start: int, stop: int) -> "Column":
        """Return the column of the rows start ... stop - 1; nothing is read yet."""
        shape = (stop - start, *self.shape[1:])
        first = self._start + start
        return Column(self._contents, self._name, self.dtype, shape, self.growing, first)

    def _block_rows(self) -> int:
        row_bytes = max(1, self.dtype.itemsize * int(np.prod(self.shape[1:])))
        return max(1, _BLOCK_BYTES // row_bytes)

    def _read(self, start: int, stop: int) -> Array:
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        if out.size:
            self._contents.read(self._name, self._start + start, self._start + stop, out)
        return out

    def _gather(self, rows: Array) -> Array:
        """Read rows in any order, each block that holds some of them once."""
        size = self._block_rows()
        flat = rows.ravel()
        order = np.argsort(flat, kind="stable")
        blocks = flat[order] // size
        out = np.empty((flat.size, *self.shape[1:]), self.dtype)
        for mine in np.split(order, np.flatnonzero(np.diff(blocks)) + 1):
            if mine.size:
                low, high = flat[mine[0]], flat[mine[-1]] + 1
                out[mine] = self._read(low, high)[flat[mine] - low]
        return out.reshape(*rows.shape, *self.shape[1:])


class Group(Mapping[str, Any]):
    """A group as a mapping from names, or paths such as ``actor/before``, to what lies there."""

    def __init__(self, contents: Contents, name: str) -> None:
        self._contents = contents
        self._name = name.strip("/")

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes."""
        return self._contents.attributes(self._name)

    def __repr__(self) -> str:
        return f"<Group {self._name}: {', '.join(self)}>"

    def __getitem__(self, path: str) -> Any:
        return self._contents.node(join(self._name, path))

    def __iter__(self) -> Iterator[str]:
        return iter(self._contents.children(self._name))

    def __len__(self) -> int:
        return len(self._contents.children(self._name))
