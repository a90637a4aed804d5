"""One team in one window, and the report on it."""

from typing import Any, NamedTuple

import numpy as np

from neurosim.audit.inbox import TeamLog
from neurosim.audit.report import Mismatch, Place, Report
from neurosim.audit.window import Recorded
from neurosim.kernels.traffic import KINDS
from neurosim.memory import Shared
from neurosim.teams import AsynchronousTeam

NAMES = np.array(KINDS, object)


class Case(NamedTuple):
    """What a team is audited by."""

    report: Report
    window: Recorded
    name: str  # "actor" or "critic"
    team: AsynchronousTeam  # its settings
    shared: Shared  # those that both teams share
    log: TeamLog  # its rows

    def place(self, kind: Any, unit: Any, step: Any, row: Any = -1) -> Place:
        """Where numbers belong; step counts from the window's beginning."""
        first = self.window.first_step
        return Place(self.window.number, self.name, unit, kind, first + np.asarray(step), row)

    def place_of(self, rows: TeamLog) -> Place:
        """Where the values of rows belong."""
        return self.place(NAMES[rows.kind], rows.unit, rows.step, rows.row)

    def complain_of(self, rows: TeamLog, k: Any, what: str, expected: Any, found: Any) -> None:
        """Row k is not as it must be."""
        kind = int(rows.kind[k])
        name = KINDS[kind] if 0 <= kind < len(KINDS) else str(kind)
        self.complain(
            name, int(rows.unit[k]), int(rows.step[k]), what, expected, found, int(rows.row[k])
        )

    def complain(
        self,
        kind: str,
        unit: int,
        step: int,
        what: str,
        expected: Any,
        found: Any,
        row: int = -1,
        times: int = 1,
    ) -> None:
        """Something is not as it must be."""
        step += self.window.first_step
        place = (self.window.number, step, self.name, unit, kind)
        self.report.complain(Mismatch(*place, what, row, expected, found), times)
