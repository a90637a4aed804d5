"""An asynchronous team of neurosim as a benchmark steps it, beside the same one in C."""

import ctypes
from typing import Any

import numpy as np
from benchmarks.c_async import PARAMETERS, CTeam
from benchmarks.harness import cpu_seconds

from neurosim.kernels import traffic
from neurosim.kernels.clock import NOW
from neurosim.network import build_shared, build_team, read_shared
from neurosim.spec import Spec, timing_of
from neurosim.teams import AsynchronousTeam

TICKS = [traffic.MOVES, traffic.IDLE, traffic.REPORTS]
SUMS = [traffic.FORWARD, traffic.FEEDBACK]
ARRIVED = [traffic.DELIVERED, traffic.IN_FLIGHT]


class Team:
    """neurosim's team, called as the learner calls it.

    ticks, sums, arrivals : of each round that was timed, in a step: value and error ticks, the
        multiply-adds of their sums, packets times their receivers.
    """

    def __init__(self, spec: Spec, name: str, n_in: int, n_out: int) -> None:
        shared = build_shared(spec.learning, 0)
        settings = getattr(spec, name)
        block = build_team(name, settings, spec.learning, spec.adam, n_in, n_out, 0)
        self.shared = read_shared(shared)
        self.team = AsynchronousTeam(
            name, block, shared, timing_of(spec, name), settings.N, self.shared.key
        )
        self.ticks: list[float] = []
        self.sums: list[float] = []
        self.arrivals: list[float] = []

    def step(self, observation: np.ndarray, td_error: float, learning: bool) -> None:
        """A time step."""
        team = self.team
        team.act(observation)
        if team.settle(td_error, team.ready, learning) >= 0:
            raise SystemExit("a unit has diverged: nothing can be measured")
        self.shared.steps[0] += 1
        team.mail.clock[NOW] = team.ready + team.wiring.duration

    @property
    def counts(self) -> np.ndarray:
        """Those of the latest step."""
        return self.team.mail.counts

    @property
    def values(self) -> np.ndarray:
        """h of all units but the state."""
        return self.team.memory.h[self.team.memory.size[0] :]

    def parameters(self) -> dict[str, np.ndarray]:
        """By name; those of feedback weights that are not learned are empty."""
        memory, mail = self.team.memory, self.team.mail
        return {k: getattr(memory if hasattr(memory, k) else mail, k) for k in PARAMETERS}

    def count(self, counts: np.ndarray, steps: int) -> None:
        """Note what was counted in a round."""
        size = self.team.memory.size
        lanes = counts[: 10 * size.size].reshape(5, -1)
        totals = counts[10 * size.size :]
        receivers = np.concatenate([size[1:], [0], size[:-1], [0]])  # of each lane
        self.ticks.append(float(totals[TICKS].sum()) / steps)
        self.sums.append(float(totals[SUMS].sum()) / steps)
        self.arrivals.append(float(lanes[ARRIVED].sum(axis=0) @ receivers) / steps)


def inputs(steps: int, n: int) -> tuple[np.ndarray, list[float]]:
    """Observations (steps, n) and td_errors."""
    random = np.random.default_rng(1)
    return random.normal(scale=0.5, size=(steps, n)), random.normal(size=steps).tolist()


def timed(team: Team | CTeam, n: int, steps: int, learning: bool = True) -> float:
    """A round: CPU seconds of a step on n inputs."""
    observations, td_errors = inputs(steps, n)
    seconds, counts = 0.0, 0
    for observation, td_error in zip(observations, td_errors, strict=True):
        seconds += cpu_seconds(lambda x=observation, y=td_error: team.step(x, y, learning))
        if isinstance(team, Team):
            counts = counts + team.counts
    if isinstance(team, Team):
        team.count(np.asarray(counts), steps)
    return seconds / steps


def both(library: ctypes.CDLL, spec: Spec, name: str, n_in: int, n_out: int) -> tuple[Team, CTeam]:
    """A team twice, with the same bits after eight steps, the first of them without learning."""
    ours = Team(spec, name, n_in, n_out)
    theirs = CTeam(library, ours.team, ours.shared)
    for n, (observation, td_error) in enumerate(zip(*inputs(8, n_in), strict=True)):
        for team in (ours, theirs):
            team.step(observation, td_error, n > 0)
        np.testing.assert_array_equal(theirs.counts, ours.counts, f"counts, step {n}")
        np.testing.assert_array_equal(theirs.values, ours.values, f"h, step {n}")
    mine: dict[str, Any] = ours.parameters()
    for key, array in theirs.parameters().items():
        np.testing.assert_array_equal(array, mine[key], key)
        assert array.any() or not array.size
    return ours, theirs
