"""How the energy falls while the units of a team relax (Section 3.1, Algorithm 2 lines 16-18)."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from neurosim.analysis.landscape import energy, residual
from neurosim.analysis.replay import Step, replay
from neurosim.memory import Floats, Integers
from neurosim.record.reader import Run


class Relaxation(NamedTuple):
    """The relaxations of the recorded steps of a team."""

    row: Integers  # (steps,) rows of /steps
    energy: Floats  # (steps, ticks + 1) E after 0, 1, 2, ... ticks, nats; see landscape.energy
    residual: Floats  # (steps, ticks + 1) standard deviations; see landscape.residual


def relaxation(run: Run, team: str) -> Relaxation:
    """Energy and residual of a team at each tick of the recorded steps.

    Tick 0 is the sampled state under the weights of after the step's update.  In synchronous mode
    a tick is an iteration, in asynchronous mode a mean tick period: see `replay.replay`, and there
    what is raised.
    """
    return relaxation_of(replay(run, team))


def relaxation_of(steps: Iterable[Step]) -> Relaxation:
    """The same of steps that were replayed."""
    found = [(s.row, energy(s.network, s.path), residual(s.network, s.path)) for s in steps]
    rows, energies, residuals = zip(*found, strict=True)
    return Relaxation(np.array(rows), np.array(energies), np.array(residuals))
