"""States of a run, from each of which it goes on with the same bits.

A run folder keeps a few of them in ``checkpoints/``, spread over the run; it resumes from the
latest, and what was not recorded can be recorded again from any of them.

A checkpoint is an HDF5 file followed by four bytes, the CRC-32 of all before them: HDF5 does not
notice a flipped bit in an array, and a run that resumes from one would differ silently. Tools that
open HDF5 ignore what follows its end. No pickles: nothing is executed on reading.
"""

import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurosim.errors import InputError
from neurosim.record.files import (
    Array,
    changing,
    hdf5_image,
    plain_attributes,
    write_atomically,
)

FOLDER = "checkpoints"

_FORMAT = "neurosim-checkpoint"
_FORMAT_VERSION = 2
_MOST_KEPT = 8


def save(path: Path, arrays: Mapping[str, Array], attrs: Mapping[str, int | float | str]) -> None:
    """Write a checkpoint; an older one at `path` is replaced only once the new one is on disk.

    Parameters
    ----------
    path : Path
        The file.
    arrays : mapping of str to array
        Arrays by name; ``/`` in a name makes groups.
    attrs : mapping of str to int, float or str
        Single values by name.

    Raises
    ------
    RunError
        The file could not be written.
    """

    def build(file: Any) -> None:
        file.attrs["format"] = _FORMAT
        file.attrs["format_version"] = _FORMAT_VERSION
        file.create_group("attrs").attrs.update(attrs)
        group = file.create_group("arrays")
        for name, array in arrays.items():
            group.create_dataset(name, data=array)

    image = hdf5_image(build)
    write_atomically(path, image + _checksum(image))


def load(path: Path) -> tuple[dict[str, Array], dict[str, int | float | str]]:
    """Read a checkpoint.

    Returns
    -------
    arrays, attrs : dict, dict
        What was given to `save`, bit for bit.

    Raises
    ------
    InputError
        The file is missing, damaged, foreign, or of a newer version of neurosim.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"The checkpoint {path} cannot be read: {error.strerror}. "
            "Name a run folder that holds a checkpoint, or start the run anew."
        ) from error
    image, checksum = data[:-4], data[-4:]
    foreign = InputError(
        f"{path} is damaged or not a checkpoint of neurosim. "
        "Delete it: the run then goes on from the checkpoint before it."
    )
    if checksum != _checksum(image) or not h5py.is_hdf5(path):
        raise foreign
    with h5py.File(io.BytesIO(image), "r") as file:
        if file.attrs.get("format") != _FORMAT:
            raise foreign
        if file.attrs["format_version"] != _FORMAT_VERSION:
            raise InputError(
                f"The checkpoint {path} was written by another version of neurosim, format "
                f"{file.attrs['format_version']} instead of {_FORMAT_VERSION}. Use that version."
            )
        arrays: dict[str, Array] = {}

        def collect(name: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset):
                arrays[name] = np.asarray(node[()])

        file["arrays"].visititems(collect)
        return arrays, plain_attributes(file["attrs"].attrs)


def kept(folder: Path) -> dict[int, Path]:
    """Return the checkpoints in a run folder by the number of episodes, or batches, that were done.

    They are in order.
    """
    files = sorted((folder / FOLDER).glob("episode-*.h5"))
    named = {file.stem.removeprefix("episode-"): file for file in files}
    return {int(number): file for number, file in named.items() if number.isdigit()}


def keep(
    folder: Path,
    episode: int,
    arrays: Mapping[str, Array],
    attrs: Mapping[str, int | float | str],
) -> None:
    """Write the checkpoint of a run after an episode or batch; of too many the least missed goes.

    Raises
    ------
    RunError
        The file could not be written.
    """
    with changing(folder):
        (folder / FOLDER).mkdir(exist_ok=True)
    save(folder / FOLDER / f"episode-{episode:09d}.h5", arrays, attrs)
    files = kept(folder)
    with changing(folder / FOLDER):
        while len(files) > _MOST_KEPT:
            done = list(files)
            gaps = {done[k]: done[k + 1] - done[k - 1] for k in range(1, len(done) - 1)}
            files.pop(min(gaps, key=gaps.__getitem__)).unlink()
        for part in (folder / FOLDER).glob("*.part"):  # of a process that was killed
            part.unlink()


def _checksum(image: bytes) -> bytes:
    return zlib.crc32(image).to_bytes(4, "little")
