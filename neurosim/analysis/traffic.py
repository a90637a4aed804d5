"""What units that are agents of their own sent, lost and computed."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import InputError
from neurosim.kernels.clock import TICKS
from neurosim.kernels.traffic import BIN_BITS, BINS
from neurosim.memory import Floats, Integers
from neurosim.record.reader import Run

BIN_PERIODS = 2**BIN_BITS / TICKS  # width of a bin of the staleness, mean tick periods
ROWS = 65_536  # of /steps, read at once


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


PACKETS = Traffic._fields[:5]


def check_asynchronous(run: Run) -> None:
    """Raise InputError unless the units of a run were agents that exchange packets."""
    if run.attribute("mode") != "asynchronous":
        raise InputError(
            f"{run.path} is a synchronous run: its units exchange no packets. "
            "Give a run of an async/ model, or one made with --mode asynchronous."
        )


def totals(run: Run, team: str) -> Traffic:
    """What a team did in a whole run.

    The mean staleness takes the middle of each bin, and for the open one its beginning.

    Raises
    ------
    InputError : the run is synchronous.
    """
    check_asynchronous(run)
    group = run[f"teams/{team}/totals"]
    packets = [int(group[name][...].sum()) for name in PACKETS]
    ticks = [int(n) for n in group["ticks"][...]]
    age = float(mean_age(group["staleness"][...].sum(axis=0)))
    return Traffic._make([*packets, *ticks, int(group["multiply_adds"][...].sum()), age])


def series(run: Run, team: str) -> dict[str, NDArray[Any]]:
    """The same for each step.

    Returns
    -------
    By the names of `Traffic`, arrays (steps,).  In each step
    sent = delivered + lost + discarded + in_flight.

    Raises
    ------
    InputError : the run is synchronous, or has no steps yet.
    """
    check_asynchronous(run)
    if not len(run.steps):
        raise InputError(f"{run.path} has no finished step, there is nothing to draw.")
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in Traffic._fields}
    for start in range(0, len(run.steps), ROWS):
        rows = slice(start, start + ROWS)
        for name in (*PACKETS, "multiply_adds"):
            counts = run.steps[f"{team}_{name}"][rows]
            found[name].append(counts.sum(axis=tuple(range(1, counts.ndim)), dtype=np.int64))
        ticks = run.steps[f"{team}_ticks"][rows].astype(np.int64)
        for name, column in zip(("value_ticks", "error_ticks", "idle_ticks"), ticks.T, strict=True):
            found[name].append(column)
        found["staleness"].append(mean_age(run.steps[f"{team}_staleness"][rows].sum(axis=1)))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def staleness(run: Run, team: str) -> tuple[Floats, Integers]:
    """How old mailboxes were when they were used, over a whole run.

    The age of a mailbox is the mean over its slots of the time since the packet that each holds
    was sent.

    Returns
    -------
    edges : (32,) lower edges of the bins, mean tick periods; the last bin is open.
    uses : (2, 32) of mailboxes of values and of errors.

    Raises
    ------
    InputError : the run is synchronous.
    """
    check_asynchronous(run)
    uses: Integers = run[f"teams/{team}/totals"]["staleness"][...]
    return np.arange(BINS) * BIN_PERIODS, uses


def mean_age(uses: Integers) -> Floats:
    """Mean age (...,) of mailboxes, mean tick periods, from uses (..., 32) by bin; nan: no use.

    Each bin counts as its middle, the open one as its beginning.
    """
    ages = (np.arange(BINS) + 0.5) * BIN_PERIODS
    ages[-1] = (BINS - 1) * BIN_PERIODS
    total = uses.sum(axis=-1)
    mean: Floats = np.divide(
        uses @ ages, total, out=np.full(np.shape(total), np.nan), where=total > 0
    )
    return mean
