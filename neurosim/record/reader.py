"""Reading runs: sealed, running or killed, through one interface, and only what is asked for.

A run that is not sealed lies in many closed segments. Its growing datasets are shown as one
:class:`Column` each, which joins the rows of all segments when it is read; a sealed run is the same
with one file. What is written in several segments, attributes included, counts as last written.
"""

import contextlib
import os
from collections.abc import ItemsView, Iterator, KeysView, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import EllipsisType
from typing import Any

import h5py
import numpy as np

from neurosim.errors import InputError, NeurosimError
from neurosim.record import schema
from neurosim.record.files import Array, block_rows, plain_attributes

Index = int | np.integer[Any] | slice | EllipsisType | list[int] | Array

_MOST_OPEN_FILES = 4  # HDF5 keeps up to 32 MB of metadata for each


def open_run(path: str | os.PathLike[str]) -> "Run":
    """Open a run for reading.

    Parameters
    ----------
    path : path
        A run folder, or its ``run.h5``. A folder is read from its closed segments while it has no
        ``run.h5``, or one that was sealed from other segments (the run was resumed since).

    Returns
    -------
    Run
        To be used in a ``with`` statement, or closed.

    Raises
    ------
    InputError
        There is no run at `path`, or a file of it is damaged, foreign, or of a newer version.
    """
    path = Path(path)
    return Run(path, Contents(_files_of(path)))


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
            )
    return [found[number] for number in range(len(found))]


def fingerprint(segments: list[Path]) -> tuple[int, int]:
    """Return the number and total bytes of segments: what a sealed file was made from.

    Times of modification would not do: copying a run folder changes them.
    """
    size = 0
    for segment in segments:
        with _reading(segment):
            size += segment.stat().st_size
    return len(segments), size


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"There is no run at {path}. Give a run folder or its run.h5.")
    sealed, segments = path / schema.SEALED_FILE, closed_segments(path)
    if sealed.is_file():
        if not segments:
            return [sealed]
        with Contents([sealed]) as contents:
            made_from = contents.attributes("").get("segments", ())
        if tuple(made_from) == fingerprint(segments):
            return [sealed]
    if not segments:
        raise InputError(
            f"{path} holds no run.h5 and no closed segment. Give a run folder, "
            "or wait until the run has recorded something."
        )
    return segments


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn whatever h5py raises on a bad file into one clear error."""
    try:
        yield
    except (NeurosimError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise InputError(
            f"{file} is gone: the run was sealed, resumed or moved. Open the run again."
        ) from error
    except PermissionError as error:
        raise InputError(f"{file} may not be read. Ask its owner for permission.") from error
    except Exception as error:
        raise InputError(
            f"{file} is damaged, incomplete or not an HDF5 file ({error}). "
            "Restore it from a copy, or record the run again."
        ) from error


def _check_format(path: Path, file: Any) -> None:
    name = file.attrs.get("format")
    if name != schema.FORMAT:
        raise InputError(
            f"{path} is not a neurosim run: its attribute 'format' is {name!r}. "
            "Give a run folder or its run.h5."
        )
    version = int(file.attrs["format_version"])
    if version > schema.FORMAT_VERSION:
        raise InputError(
            f"{path} has format version {version}, and this neurosim reads versions up to "
            f"{schema.FORMAT_VERSION}. Install a newer neurosim."
        )


@dataclass
class _Entry:
    """One name: the files that hold it, and what they say of it together."""

    files: list[Path] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)
    children: list[str] | None = None  # None: not looked up yet
    dtype: np.dtype[Any] | None = None  # None: a group
    shape: tuple[int, ...] = ()
    growing: bool = False
    parts: list[tuple[Path, int]] = field(default_factory=list)  # files with rows, how many

    def add(self, path: Path, node: Any) -> None:
        """Take in what one more file holds under this name."""
        self.files.append(path)
        if len(node.attrs):
            self.attrs.update(plain_attributes(node.attrs))
        if not isinstance(node, h5py.Dataset):
            return
        shape, growing = node.shape, node.shape != () and node.maxshape[0] is None
        rows = shape[0] if shape else 1
        if not (growing and self.growing):
            self.dtype, self.shape, self.growing = node.dtype, shape, growing
            self.parts = [(path, rows)]
            return
        if (node.dtype, shape[1:]) != (self.dtype, self.shape[1:]):
            raise InputError(
                f"{path} holds {node.name} in another layout than the segments before it. "
                "Record the run again."
            )
        self.shape = (self.shape[0] + rows, *shape[1:])
        self.parts.append((path, rows))


class Contents:
    """What a list of files holds, joined, and looked up no further than is asked for."""

    def __init__(self, files: list[Path]) -> None:
        root = _Entry()
        self._entries = {"": root}
        self._open: dict[Path, Any] = {}
        try:
            for path in files:
                with _reading(path):
                    file = self._file(path)
                    _check_format(path, file)
                    root.add(path, file)
        except BaseException:
            self.close()
            raise

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
            yield from self.walk(_join(name, child))
        yield name
        entry = self._entries[name]
        for child in entry.children or ():
            del self._entries[_join(name, child)]
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
            found: dict[str, _Entry] = {}
            for path in entry.files:
                with _reading(path):
                    for child, node in self._file(path)[name or "/"].items():
                        found.setdefault(child, _Entry()).add(path, node)
            self._entries.update((_join(name, child), found[child]) for child in found)
            entry.children = list(found)
        return entry.children

    def node(self, name: str) -> "Column | Group":
        """Return the column or group of that name, or raise KeyError."""
        entry = self._entry(name)
        if entry.dtype is None:
            return Group(self, name)
        return Column(self, name, entry.dtype, entry.shape, entry.growing)

    def read(self, name: str, start: int, stop: int, out: Array) -> None:
        """Fill `out` with rows of a column, opening only the files that hold them."""
        first = 0
        for path, rows in self._entries[name].parts:
            low, high = max(start, first), min(stop, first + rows)
            if low < high:
                with _reading(path):
                    out[low - start : high - start] = self._file(path)[name][
                        low - first : high - first
                    ]
            first += rows

    def read_single(self, name: str) -> Array:
        """Return the value of a dataset without dimensions."""
        path = self._entries[name].parts[0][0]
        with _reading(path):
            return np.asarray(self._file(path)[name][()])

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            self.children(name.rpartition("/")[0])
        return self._entries[name]

    def _file(self, path: Path) -> Any:
        file = self._open.get(path)
        if file is None:
            if len(self._open) == _MOST_OPEN_FILES:
                self._open.pop(next(iter(self._open))).close()
            # Closed files never change: a lock would only fail on read-only and network disks.
            file = self._open[path] = h5py.File(path, "r", locking=False)
        return file


def _join(group: str, child: str) -> str:
    return f"{group}/{child}" if group else child


class Column:
    """One dataset, read when it is indexed: ``column[3]``, ``column[10:20]``, ``column[[5, 2]]``.

    NumPy functions take it as an array; ``column[...]`` is the whole of it.

    Attributes
    ----------
    dtype : numpy.dtype
    shape : tuple of int
        Rows first; without dimensions for a single value.
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
    ) -> None:
        self._contents = contents
        self._name = name
        self.dtype = dtype
        self.shape = shape
        self.growing = growing

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes, such as ``description``."""
        return self._contents.attributes(self._name)

    def __repr__(self) -> str:
        return f"<Column {self._name}: {self.dtype} {self.shape}>"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"{self._name} is a single value: read it with column[...]")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        for start, stop in self.blocks():
            yield from self._rows(start, stop)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield the bounds of successive blocks of rows, of about 1 MB each."""
        size = block_rows(self.dtype, self.shape[1:])
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
            if not self.shape:
                return self._contents.read_single(self._name)
            return self._rows(0, len(self))
        if isinstance(index, int | np.integer):
            row = range(len(self))[index]
            return self._rows(row, row + 1)[0]
        if isinstance(index, slice) and (rows := range(len(self))[index]).step == 1:
            return self._rows(rows.start, max(rows.start, rows.stop))
        return self._gather(np.arange(len(self))[index])

    def first(self, rows: int) -> "Column":
        """Return the column cut to its first rows."""
        shape = (rows, *self.shape[1:])
        return Column(self._contents, self._name, self.dtype, shape, self.growing)

    def _rows(self, start: int, stop: int) -> Array:
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        self._contents.read(self._name, start, stop, out)
        return out

    def _gather(self, rows: Array) -> Array:
        """Read rows in any order, each block that holds some of them once."""
        size = block_rows(self.dtype, self.shape[1:])
        flat = rows.ravel()
        order = np.argsort(flat, kind="stable")
        blocks = flat[order] // size
        out = np.empty((flat.size, *self.shape[1:]), self.dtype)
        for mine in np.split(order, np.flatnonzero(np.diff(blocks)) + 1):
            if mine.size:
                low, high = flat[mine[0]], flat[mine[-1]] + 1
                out[mine] = self._rows(low, high)[flat[mine] - low]
        return out.reshape(*rows.shape, *self.shape[1:])


class Group(Mapping[str, Any]):
    """A group as a mapping from names, or paths such as ``actor/sampled``, to what lies there."""

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
        return self._contents.node(_join(self._name, path))

    def __iter__(self) -> Iterator[str]:
        return iter(self._contents.children(self._name))

    def __len__(self) -> int:
        return len(self._contents.children(self._name))


class Table:
    """Columns of one length by name; ``len()`` is the number of rows, iteration is over names.

    Columns of a run that is not sealed may be cut apart by the end of its last segment; the table
    ends with the last row that all of them have.
    """

    def __init__(self, contents: Contents, name: str) -> None:
        self._name = name
        columns = {
            child: node for child, node in Group(contents, name).items() if isinstance(node, Column)
        }
        self._rows = min((len(column) for column in columns.values()), default=0)
        self._columns = {child: column.first(self._rows) for child, column in columns.items()}

    def __repr__(self) -> str:
        return f"<Table {self._name}: {self._rows} rows of {', '.join(self._columns)}>"

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def keys(self) -> KeysView[str]:
        """Return the names of the columns."""
        return self._columns.keys()

    def items(self) -> ItemsView[str, Column]:
        """Return the columns by name."""
        return self._columns.items()


class Run:
    """A run, opened for reading by :func:`open_run`; ``run["teams/actor/units"]`` is any part.

    Attributes
    ----------
    path : Path
        What was opened.
    attrs : dict
        The root attributes.
    """

    def __init__(self, path: Path, contents: Contents) -> None:
        self.path = path
        self._contents = contents
        self.attrs = contents.attributes("")

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "complete" if self.complete else "incomplete"
        counts = f"{len(self.episodes)} episodes, {len(self.steps)} steps"
        return f"<Run {self.path}: {state}, {counts}, {len(self.windows)} windows>"

    def close(self) -> None:
        """Release the open files; a later read opens them again."""
        self._contents.close()

    def __getitem__(self, path: str) -> Any:
        return self._contents.node(path.strip("/"))

    @property
    def model(self) -> str:
        """The resolved model file, TOML text."""
        return str(self._attribute("model"))

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self._attribute("seed"))

    @property
    def complete(self) -> bool:
        """Whether the run reached its end; never before it is sealed."""
        return bool(self.attrs.get("complete", False))

    @property
    def episodes(self) -> Table:
        """One row per episode; row k is episode k + 1."""
        return Table(self._contents, schema.EPISODES)

    @property
    def steps(self) -> Table:
        """One row per step of the environment."""
        return Table(self._contents, schema.STEPS)

    @property
    def batches(self) -> Table:
        """One row per batch of a run of Algorithm 1; row k is batch k + 1."""
        return Table(self._contents, schema.BATCHES)

    @property
    def windows(self) -> dict[int, Group]:
        """The windows recorded in full detail, by number."""
        group = Group(self._contents, schema.WINDOWS)
        return {int(k): node for k, node in group.items() if isinstance(node, Group)}

    def weights(self, team: str, which: str) -> dict[str, Array]:
        """Return the weights of a team, ``W1``, ``b1``, ``W2`` and so on, as arrays.

        Parameters
        ----------
        team : str
            ``actor`` or ``critic``.
        which : str
            ``initial``, ``final`` or ``episode-N``.

        Raises
        ------
        InputError
            The run holds no such weights.
        """
        group = Group(self._contents, schema.weights(team, which))
        if not group:
            raise InputError(
                f"{self.path} holds no weights {which!r} of a team {team!r}. "
                f"It holds: {', '.join(self._weights_held()) or 'none'}."
            )
        return {name: np.asarray(column) for name, column in group.items()}

    def _weights_held(self) -> list[str]:
        teams = Group(self._contents, schema.TEAMS)
        return [
            f"{team} {which}"
            for team in teams
            for which in Group(self._contents, f"{schema.TEAMS}/{team}/weights")
        ]

    def _attribute(self, name: str) -> Any:
        if name not in self.attrs:
            raise InputError(
                f"{self.path} has no attribute {name!r}: it was not recorded by `neurosim run`. "
                "Record the run again."
            )
        return self.attrs[name]
