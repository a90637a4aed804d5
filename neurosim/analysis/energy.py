"""Energy of a decision, estimated from published costs of single operations.

An estimate, and a rough one: it prices operations and leaves out everything else (control, routes,
idle power, the environment).  Its use is to compare settings, and orders of magnitude.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from neurosim.analysis.operations import Operations


class Cost(NamedTuple):
    """A published energy of one operation."""

    joules: float
    what: str
    source: str


HOROWITZ = "Horowitz 2014, ISSCC, Computing's energy problem, Fig. 1.1.9: 45 nm, 0.9 V"
DAVIES = "Davies et al. 2018, IEEE Micro 38(1), Loihi: 14 nm"
MEROLLA = "Merolla et al. 2014, Science 345, 668-673, TrueNorth: 28 nm"

COSTS = {
    "float add": Cost(0.9e-12, "32-bit floating-point addition", HOROWITZ),
    "float multiply": Cost(3.7e-12, "32-bit floating-point multiplication", HOROWITZ),
    "cache": Cost(100e-12, "64 bits from a cache of 1 MB", HOROWITZ),
    "Loihi operation": Cost(23.6e-12, "synaptic operation, the least", DAVIES),
    "Loihi update": Cost(120e-12, "synaptic update, pairwise STDP", DAVIES),
    "TrueNorth operation": Cost(26e-12, "synaptic event, typical network", MEROLLA),
}


class Range(NamedTuple):
    """Lowest and highest estimate, joules."""

    low: float
    high: float


def energy(operations: Operations) -> dict[str, Range]:
    """Estimates of the energy of one decision of a team, by hardware.

    digital, 45 nm : every multiply-add that was made, learning included, as one 32-bit
        multiplication and addition; high: and for each a number from a cache of 1 MB.
    Loihi : low: effective synaptic operations, learning left out; high: dense ones, and an update
        of each parameter, which is four multiply-adds of learning.
    TrueNorth : which does not learn; low: effective synaptic operations, high: dense ones.

    Returns
    -------
    Joules for one step of the environment.
    """
    joules = {name: cost.joules for name, cost in COSTS.items()}
    arithmetic = joules["float add"] + joules["float multiply"]
    made = sum(operations.multiply_adds)
    effective = operations.effective_macs + operations.effective_acs
    updates = operations.multiply_adds[2] / 4
    return {
        "digital, 45 nm": Range(made * arithmetic, made * (arithmetic + joules["cache"])),
        "Loihi": Range(
            effective * joules["Loihi operation"],
            operations.dense * joules["Loihi operation"] + updates * joules["Loihi update"],
        ),
        "TrueNorth": Range(
            effective * joules["TrueNorth operation"],
            operations.dense * joules["TrueNorth operation"],
        ),
    }


def together(parts: Iterable[Mapping[str, Range]]) -> dict[str, Range]:
    """Ranges of several teams, by hardware, added up."""
    total: dict[str, Range] = {}
    for ranges in parts:
        for name, (low, high) in ranges.items():
            before = total.get(name, Range(0.0, 0.0))
            total[name] = Range(before.low + low, before.high + high)
    return total
