"""Sealing: all files of a run joined into one, which other tools open without help."""

import contextlib
import io
import itertools
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurosim.errors import InputError
from neurosim.record import schema
from neurosim.record.contents import DIMENSION_TYPE, Column, Contents, reading
from neurosim.record.files import (
    LIBVER,
    Attributes,
    Source,
    WriteFailed,
    create_fixed,
    create_growing,
    replacing,
    set_attributes,
    write_all,
)
from neurosim.record.stores import closed_segments
from neurosim.spec import Compression

# What netCDF writes into the name of a dimension that has no values of its own.
_PURE_DIMENSION = "This is a netCDF dimension but not a netCDF variable. {:9d}"


def seal(folder: Path, attrs: Attributes, compression: Compression = "gzip") -> Path:
    """Merge the closed segments of a run into its ``run.h5``, and keep them.

    Parameters
    ----------
    folder : Path
        The run folder.
    attrs : mapping
        Root attributes to add, such as ``complete``.
    compression : "gzip", "lz4" or "none"
        As the segments have it.

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
    segments = closed_segments(folder)
    if not segments:
        raise InputError(f"There is nothing to seal in {folder}. Give the folder of a run.")
    remedy = (
        f"The {len(segments)} closed segments in {folder / schema.SEGMENTS_FOLDER} are safe: free "
        f"some space, then go on with `neurosim resume {folder}`."
    )
    attrs = {**attrs, "segments": np.array(fingerprint(segments))}
    return merge([*segments], folder / schema.SEALED_FILE, attrs, compression, remedy)


def merge(
    sources: list[Source], path: Path, attrs: Attributes, compression: Compression, remedy: str
) -> Path:
    """Write what several files hold together as one file; `path` may be one of them.

    Datasets whose first dimension is unlimited are joined; of anything else the last written one is
    copied.

    Raises
    ------
    InputError
        A file is damaged.
    RunError
        The file could not be written; `remedy` is the last sentence of its message.
    """
    # In a thread, for a KeyboardInterrupt reaches only the main one: raised inside the calls that
    # HDF5 makes to `_Sink` it would crash the process.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_merge, sources, path, attrs, compression, remedy).result()


def fingerprint(segments: list[Path]) -> tuple[int, int]:
    """Return the number and total bytes of segments: what a sealed file was made from.

    Times of modification would not do: copying a run folder changes them.
    """
    size = 0
    for segment in segments:
        with reading(segment):
            size += segment.stat().st_size
    return len(segments), size


def drop_segments(folder: Path) -> None:
    """Delete the segments of a run that is complete and sealed: it cannot be resumed any more."""
    # The first goes first: without it the others do not count as the record of the run.
    for file in closed_segments(folder)[:1]:
        file.unlink(missing_ok=True)
    shutil.rmtree(folder / schema.SEGMENTS_FOLDER, ignore_errors=True)


def _merge(
    sources: list[Source], path: Path, attrs: Attributes, compression: Compression, remedy: str
) -> Path:
    with (
        Contents(lambda: sources) as contents,
        replacing(path, remedy) as part,
        _sink(part) as sink,
        h5py.File(sink, "w", libver=LIBVER) as file,
    ):
        for name in contents.walk():
            node = contents.node(name)
            if isinstance(node, Column):
                _copy(contents, node, name, file, compression, sink.check)
            target = file[name or "/"] if not name or name in file else file.create_group(name)
            set_attributes(target, contents.attributes(name))
            if not isinstance(node, Column):
                _name_dimensions(target)
        set_attributes(file, attrs)
    return path


def _copy(
    contents: Contents,
    column: Column,
    name: str,
    file: Any,
    compression: Compression,
    check: Callable[[], None],
) -> None:
    """Copy a column, chunks of growing datasets as they are where they fit."""
    if not column.growing:
        create_fixed(file, name, column[...], compression)
        check()
        return
    chunks = schema.chunk_shape(name, column.dtype, column.shape[1:])
    target = create_growing(file, name, column.dtype, column.shape[1:], chunks, compression)
    target.resize(len(column), axis=0)
    for source, dataset, first, end in contents.parts(name):
        with reading(source):
            if first % chunks[0] == 0 and _stored_alike(dataset, target):
                _copy_chunks(dataset, target, first, end, check)
            else:
                for start in range(first, end, chunks[0]):
                    stop = min(start + chunks[0], end)
                    target[start:stop] = dataset[start - first : stop - first]
                    check()


def _stored_alike(a: Any, b: Any) -> bool:
    return (a.chunks, a._filters, a.dtype) == (b.chunks, b._filters, b.dtype)


def _copy_chunks(
    dataset: Any, target: Any, first: int, end: int, check: Callable[[], None]
) -> None:
    """Copy compressed chunks; the rows of the last one beyond `end` are overwritten or cut off."""
    starts = [range(0, n, step) for n, step in zip(dataset.shape, dataset.chunks, strict=True)]
    for row, *rest in itertools.product(range(0, end - first, dataset.chunks[0]), *starts[1:]):
        mask, chunk = dataset.id.read_direct_chunk((row, *rest))
        target.id.write_direct_chunk((first + row, *rest), chunk, mask)
        check()


def _name_dimensions(group: Any) -> None:
    """Give each dataset of a group its dimensions, by name, as netCDF has them."""
    found: dict[str, Any] = {}
    for name, node in list(group.items()):
        if not isinstance(node, h5py.Dataset):
            continue
        growing = node.maxshape[0] is None
        names = schema.dimensions(node.name.strip("/"), node.ndim, growing)
        for axis, dimension in enumerate(names):
            size = node.shape[axis]
            if dimension in found and found[dimension].shape != (size,):
                dimension = f"{name}_{axis}"
            if dimension not in found:
                found[dimension] = _dimension(group, dimension, size)
            node.dims[axis].attach_scale(found[dimension])


def _dimension(group: Any, name: str, size: int) -> Any:
    scale = group.create_dataset(name, (size,), DIMENSION_TYPE)  # takes no room on disk
    scale.make_scale(_PURE_DIMENSION.format(size))
    return scale


@contextlib.contextmanager
def _sink(part: io.FileIO) -> Iterator["_Sink"]:
    """The sink of a file; at the end, or where it was noticed before, raises what went wrong."""
    sink = _Sink(part)
    try:
        yield sink
        sink.check()
    except WriteFailed as failed:
        raise failed.error from None


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
        except WriteFailed:
            self._lost.append((offset, bytes(data)))
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
        """Raise WriteFailed, if a write has failed."""
        if self._failure is not None:
            raise WriteFailed(self._failure)
