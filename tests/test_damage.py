"""Damaged, foreign and missing files: one clear error, never other values than were recorded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from recording import ROOT, everything, record_run, record_steps, record_windows, small_chunks

from neurosim import cli
from neurosim.errors import InputError, NeurosimError, RunError
from neurosim.record import FolderStore, Recorder, open_run, seal
from neurosim.spec import Compression


def assert_unreadable(path: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        open_run(path)
    assert caught.value.exit_status == 2
    assert str(path.name) in str(caught.value)


def sealed(folder: Path, compression: Compression = "gzip") -> Path:
    """The sealed file of a run with windows, of several segments."""
    with small_chunks(512, 64):
        with Recorder(FolderStore(folder), compression) as recorder:
            record_windows(recorder)
            recorder.commit()
            record_steps(recorder, 15, 100)
            recorder.commit()
        return seal(folder, {"complete": True}, compression)


# --- any byte ------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_whatever_byte_is_damaged_it_is_an_input_error_or_reads_as_it_was(
    compression: Compression, tmp_path: Path
) -> None:
    path = sealed(tmp_path / "run", compression)
    whole = path.read_bytes()
    with open_run(path) as run:
        expected = everything(run)
    damaged = tmp_path / "damaged.h5"
    outcomes: Counter[str] = Counter()
    for position in range(0, len(whole), len(whole) // 400):
        data = bytearray(whole)
        data[position] ^= 0x55
        damaged.write_bytes(data)
        try:
            with open_run(damaged) as run:
                found = everything(run)
        except InputError:
            outcomes["refused"] += 1
        else:
            differ = [name for name in expected if found.get(name) != expected[name]]
            assert found == expected, (position, differ)
            outcomes["as it was"] += 1
    assert outcomes["refused"] > 200
