"""What units that are agents of their own sent, lost and computed."""

from typing import NamedTuple

import numpy as np

from neurosim.kernels.clock import TICKS
from neurosim.kernels.traffic import BIN_BITS, BINS
from neurosim.record.reader import Run

BIN_PERIODS = 2**BIN_BITS / TICKS  # width of a bin of the staleness


class Traffic(NamedTuple):
    """Totals of one team over a run."""

    sent: int  # packets
    delivered: int  # of them, arrived by their window's end
    lost: int  # of them
    discarded: int  # of them, overtaken on their way
    in_flight: int  # of them, on their way at their window's end
    value_ticks: int
    error_ticks: int
    idle_ticks: int  # value ticks of units that were not armed
    multiply_adds: int
    staleness: float  # mean age of a mailbox at its use, mean tick periods; nan: never used


def totals(run: Run, team: str) -> Traffic:
    """What a team did in a whole run.

    The mean staleness takes the middle of each bin, and for the open one its beginning.

    Raises
    ------
    KeyError : the run is synchronous.
    """
    group = run[f"teams/{team}/totals"]
    packets = [int(group[name][...].sum()) for name in Traffic._fields[:5]]
    ticks = [int(n) for n in group["ticks"][...]]
    uses = group["staleness"][...].sum(axis=0)
    ages = (np.arange(BINS) + 0.5) * BIN_PERIODS
    ages[-1] = (BINS - 1) * BIN_PERIODS
    staleness = float(uses @ ages / uses.sum()) if uses.sum() else float("nan")
    return Traffic._make([*packets, *ticks, int(group["multiply_adds"][...].sum()), staleness])
