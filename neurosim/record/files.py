"""Files that are either whole or absent, and HDF5 that never fails half-way through a write.

HDF5 cannot close a file after a write that failed: the process crashes later, at the latest when it
exits. So HDF5 builds its files in memory, and what goes to disk is written with plain Python calls.
"""

import contextlib
import errno
import importlib
import io
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from neurosim.errors import InputError, RunError
from neurosim.spec import Compression

Array = npt.NDArray[Any]
Attribute = str | int | float | Array
Attributes = Mapping[str, Attribute]

# Files of 'latest' are unreadable to the HDF5 1.10 that many tools are built with.
LIBVER = ("v110", "v110")


class Image(NamedTuple):
    """An HDF5 file in memory."""

    name: str
    data: bytes

    def __repr__(self) -> str:
        return self.name


Source = Path | Image


class WriteFailed(Exception):
    """A write of HDF5 that went wrong.

    Attributes
    ----------
    error : OSError
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def open_source(source: Source) -> Any:
    """Open an HDF5 file on disk or in memory for reading."""
    if isinstance(source, Image):
        return h5py.File(io.BytesIO(source.data), "r")
    try:  # as other tools do, so that a file can be open in both
        return h5py.File(source, "r", locking="best-effort")
    except OSError:  # some disks have no locks; closed files never change, and need none
        return h5py.File(source, "r", locking=False)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that, whenever the process dies, it is there whole or not at all.

    Parameters
    ----------
    path : Path
        The file; an existing one is replaced.
    data : bytes
        Its contents.

    Raises
    ------
    RunError
        The file could not be written; an existing one is left as it was.
    """
    with replacing(path, "Free some space and try again; what was written before is safe.") as part:
        write_all(part, data)


@contextlib.contextmanager
def replacing(path: Path, remedy: str) -> Iterator[io.FileIO]:
    """Yield a new file beside `path`, which takes its place when the block ends without an error.

    Raises
    ------
    RunError
        For any OSError of the block; `remedy` is the last sentence of its message.
    """
    part = path.with_name(path.name + ".part")
    try:
        with io.FileIO(part, "w+") as file:
            yield file
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "the disk is full" if full else error.strerror or str(error)
            raise RunError(f"{path} could not be written: {reason}. {remedy}") from error
        raise


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Report what goes wrong while files of a folder are made or deleted.  Raises RunError."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{folder} could not be changed: {error.strerror or error}. What was written before "
            "is safe; make room, or the folder writable, and try again."
        ) from error


def write_all(file: io.FileIO, data: bytes | memoryview) -> None:
    """Write all of `data`; a raw file may take only a part of it at a time."""
    rest = memoryview(data).cast("B")
    while len(rest):
        rest = rest[file.write(rest) :]


def hdf5_image(build: Callable[[Any], None]) -> bytes:
    """Return the bytes of the HDF5 file that `build` fills.

    Not by H5Fget_file_image: in HDF5 1.14 that leaves a wrong checksum in files of this format.
    """
    image = io.BytesIO()
    with h5py.File(image, "w", libver=LIBVER) as file:
        build(file)
    return image.getvalue()


def filters(compression: Compression) -> dict[str, Any]:
    """Return what `create_dataset` takes for a compression.

    Every chunk has a checksum: that of gzip alone misses damage of chunks with few values.

    Raises
    ------
    InputError
        The library of the filter is not installed.
    """
    checked = {"fletcher32": True}
    if compression == "gzip":
        return {**checked, "shuffle": True, "compression": "gzip", "compression_opts": 1}
    if compression == "lz4":
        lz4 = load_lz4("storage.compression = 'lz4'").LZ4()
        return {**checked, "shuffle": True, **lz4}
    return checked


def deflated(rows: Array) -> bytes:
    """Return a chunk as HDF5's shuffle, gzip and checksum filters have it.

    HDF5 could do it itself, but would keep other threads waiting meanwhile; and of zlib's ways to
    find what repeats, looking for runs alone takes 2/3 of the time here, for 4 % more bytes.
    """
    planes = np.ascontiguousarray(rows).view(np.uint8).reshape(-1, rows.itemsize).T
    deflater = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    data = deflater.compress(planes.tobytes()) + deflater.flush()
    return data + fletcher32(data).to_bytes(4, "little")


def fletcher32(data: bytes) -> int:
    """Return HDF5's checksum of a chunk, over its big-endian 16-bit words (Fletcher 1982)."""
    words = np.frombuffer(data + b"\0" * (len(data) % 2), ">u2").astype(np.uint64)
    weights = np.arange(words.size, 0, -1, dtype=np.uint64)
    simple, weighted = int(words.sum()), int((words * weights).sum())
    low, high = (1 + (total - 1) % 65535 if total else 0 for total in (simple, weighted))
    return high << 16 | low


def load_lz4(what: str) -> Any:
    """Import the library of the LZ4 filter, which HDF5 knows from then on.

    Raises
    ------
    InputError
        It is not installed.
    """
    try:
        return importlib.import_module("hdf5plugin")
    except ImportError:
        raise InputError(
            f"{what} needs the package hdf5plugin: pip install 'neurosim[lz4]'."
        ) from None


def create_growing(
    file: Any,
    path: str,
    dtype: np.dtype[Any],
    row_shape: tuple[int, ...],
    chunks: tuple[int, ...],
    compression: Compression,
) -> Any:
    """Create a dataset whose first dimension is rows, marked as such by its unlimited maxshape."""
    return file.create_dataset(
        path,
        (0, *row_shape),
        dtype,
        maxshape=(None, *(n or None for n in row_shape)),  # chunks do not fit into a dimension of 0
        chunks=chunks,
        **filters(compression),
    )


def create_fixed(file: Any, path: str, array: Array, compression: Compression) -> None:
    """Create a dataset that holds `array`, which has dimensions, and never grows."""
    chunked = {"chunks": array.shape, **filters(compression)} if array.size else {}
    if array.nbytes > 2**20:
        chunked["chunks"] = True
    file.create_dataset(path, data=array, **chunked)


def set_attributes(node: Any, attrs: Attributes) -> None:
    """Add attributes to a group or dataset.

    Text has a fixed length: HDF5 keeps what is variable in a heap without a checksum.
    """
    for name, value in attrs.items():
        if isinstance(value, str):
            data = value.encode()
            node.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))
        else:
            node.attrs[name] = value


def plain_attributes(attrs: Any) -> dict[str, Any]:
    """Return HDF5 attributes as Python values, arrays as arrays."""
    return {name: _plain(value) for name, value in attrs.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; Windows has no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
