"""What an audit has found."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

KEPT = 20  # mismatches that a report shows


class Mismatch(NamedTuple):
    """Something that is not as it must be."""

    window: int
    step: int  # row of /steps
    team: str
    unit: int  # -1: all, or none
    kind: str  # of a row of events, or the name of what is not a row
    what: str  # of it: value, time, unit, ...; "missing" or "unexpected" for a row as such
    row: int  # of the window's events; -1: none
    expected: Any
    found: Any


class Place(NamedTuple):
    """Where in a run an array of numbers belongs: one place for each, or one for all."""

    window: int
    team: str
    unit: Any
    kind: Any
    step: Any
    row: Any = -1


@dataclass
class Report:
    """The outcome of an audit.

    Attributes
    ----------
    windows, steps : how many were looked at.
    units : how many were rebuilt, each in every window.
    values : numbers that were compared, bit for bit.
    n_mismatches : how many of them, and of rows, are not as they must be.
    non_local : what units had to be given beside their inbox, and how many values of it.
    remarks : what else is not local, in words.
    """

    windows: int = 0
    steps: int = 0
    units: int = 0
    values: int = 0
    n_mismatches: int = 0
    non_local: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    _rows: list[Mismatch] = field(default_factory=list, repr=False)
    _numbers: list[Mismatch] = field(default_factory=list, repr=False)

    @property
    def mismatches(self) -> list[Mismatch]:
        """The first of them: rows that are missing or too many, then numbers, which may follow."""
        return [*self._rows, *self._numbers][:KEPT]

    @property
    def passed(self) -> bool:
        """Whether every value matched."""
        return self.n_mismatches == 0

    def compare(self, place: Place, what: str, expected: Any, found: Any) -> None:
        """Compare arrays bit for bit.  place: its entries are numbers, or arrays of this shape."""
        expected, found = np.asarray(expected), np.asarray(found)
        self.values += expected.size
        for index in np.flatnonzero(_bits(expected) != _bits(found)):
            self.n_mismatches += 1
            if len(self._numbers) < KEPT:
                kind, unit, step, row = (
                    each if np.ndim(each) == 0 else np.ravel(each)[index]
                    for each in (place.kind, place.unit, place.step, place.row)
                )
                self._numbers.append(
                    Mismatch(
                        place.window,
                        int(step),
                        place.team,
                        int(unit),
                        str(kind),
                        what,
                        int(row),
                        expected.flat[index].item(),
                        found.flat[index].item(),
                    )
                )

    def complain(self, mismatch: Mismatch, times: int = 1) -> None:
        """Add a row that is missing or too many, standing for so many."""
        self.n_mismatches += times
        if len(self._rows) < KEPT:
            self._rows.append(mismatch)

    def give(self, what: str, values: int) -> None:
        """A unit was given values that are not local."""
        if values > 0:
            self.non_local[what] = self.non_local.get(what, 0) + values


def _bits(array: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers as integers that are equal where all their bits are."""
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, np.float64).reshape(-1).view(np.int64)
    return array.reshape(-1).astype(np.int64)
