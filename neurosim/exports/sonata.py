"""A window of a run as spikes and element reports of SONATA, in one HDF5 file."""

from pathlib import Path

import h5py
import numpy as np

from neurosim.analysis.activity import held_at, is_asynchronous
from neurosim.analysis.ticks import ticks
from neurosim.analysis.windows import Units, units_of
from neurosim.exports.output import exported_window
from neurosim.kernels.clock import TICKS
from neurosim.memory import Floats
from neurosim.record.reader import Run, Window
from neurosim.spec import TEAMS

BY_TIME = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="u1")


def save(run: Run, number: int, path: Path) -> None:
    """Write a window: a population for each team, a node for each unit, an element for its value.

    A millisecond of the file is a mean tick period, from the window's start on.  Spikes are ticks,
    and the report has what units held once a period, nan where that is nothing.  Where units have
    no clocks there are no spikes, and a frame of the report is a step, after relaxation.

    Parameters
    ----------
    run : with windows.
    number : of the window, from 0.
    path : of the file.

    Raises
    ------
    InputError : no such window, or one without a finished step.
    """
    window = exported_window(run, number)
    units = {team: units_of(run, team) for team in TEAMS}
    with h5py.File(path, "w") as file:
        file.attrs["magic"] = np.uint32(0x0A7A)
        file.attrs["version"] = np.array([0, 1], np.uint32)
        for team, its in units.items():
            _add_report(file, team, _frames(window, team, its))
            if is_asynchronous(window):
                _add_spikes(file, window, team, its)


def _frames(window: Window, team: str, units: Units) -> Floats:
    """Values of units, frame by frame: (n, units)."""
    if not is_asynchronous(window):
        return window.relaxed(team)
    first, last = (int(window.events["time"][row]) for row in (0, len(window.events) - 1))
    return held_at(window, team, units, np.arange(first, last, TICKS)).T


def _add_report(file: h5py.File, team: str, frames: Floats) -> None:
    count, units = frames.shape
    group = file.create_group(f"report/{team}")
    data = group.create_dataset("data", data=frames.astype(np.float32))
    data.attrs["units"] = "1"
    mapping = group.create_group("mapping")
    mapping["node_ids"] = np.arange(units, dtype=np.uint64)
    mapping["node_ids"].attrs["sorted"] = np.uint8(1)
    mapping["index_pointers"] = np.arange(units + 1, dtype=np.uint64)
    mapping["element_ids"] = np.zeros(units, np.uint32)
    mapping["time"] = np.array([0.0, count, 1.0])
    mapping["time"].attrs["units"] = "ms"


def _add_spikes(file: h5py.File, window: Window, team: str, units: Units) -> None:
    found = ticks(window, team, units)
    group = file.create_group(f"spikes/{team}")
    group.attrs.create("sorting", 2, dtype=BY_TIME)
    group["timestamps"] = found.time
    group["timestamps"].attrs["units"] = "ms"
    group["node_ids"] = found.unit.astype(np.uint64)
