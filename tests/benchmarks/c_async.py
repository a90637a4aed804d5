"""The asynchronous team of async_engine.c, as a shared library called through ctypes."""

import ctypes

import numpy as np
from benchmarks.c_agent import DOUBLE, INTEGER, POINTER
from benchmarks.harness import compiled

from neurosim.kernels.engine import KOLEN_POLLACK, SYMMETRIC
from neurosim.memory import Shared
from neurosim.teams import AsynchronousTeam

FUNCTIONS = (
    ("team_new", POINTER, (POINTER,) * 11),
    ("team_act", INTEGER, (POINTER, INTEGER, POINTER)),
    ("team_settle", INTEGER, (POINTER, INTEGER, DOUBLE, INTEGER, INTEGER)),
    ("team_parameters", POINTER, (POINTER, INTEGER)),
    ("team_values", None, (POINTER, POINTER)),
    ("team_counts", None, (POINTER, POINTER)),
    ("team_free", None, (POINTER,)),
)
PARAMETERS = ("w", "z", "m", "v", "wt", "zt", "mt", "vt")  # the last four of feedback weights


class Settings(ctypes.Structure):
    """Mirror of Settings in async_team.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("layers", "where", "gated", "learned_feedback")),
        *((name, ctypes.c_int64) for name in ("silent", "window")),
        ("key", ctypes.c_int64 * 2),
        *((name, ctypes.c_double) for name in ("T", "c", "trace_decay", "gate_floor", "keep")),
        *((name, ctypes.c_double) for name in ("beta1", "beta2", "epsilon")),
        *((name, ctypes.c_double) for name in ("correction_until", "anneal_steps")),
    )


def build() -> ctypes.CDLL | None:
    """async_engine.c, if there is a compiler; sums and products are rounded one by one."""
    return compiled("async_engine.c", FUNCTIONS, "-ffp-contract=off")


class CTeam:
    """The C team with the weights that one of neurosim's has now."""

    def __init__(self, library: ctypes.CDLL, ours: AsynchronousTeam, shared: Shared) -> None:
        team, wiring = ours.memory, ours.wiring
        inputs, layers = int(team.size[0]), team.size.size
        assert wiring.poisson
        assert wiring.in_order
        assert not wiring.per_synapse
        assert wiring.feedback in (KOLEN_POLLACK, SYMMETRIC)
        settings = Settings(
            layers=layers,
            where=int(team.where),
            gated=int(team.gated),
            learned_feedback=int(wiring.feedback == KOLEN_POLLACK),
            silent=int(wiring.silent),
            window=int(wiring.window),
            key=(ctypes.c_int64 * 2)(*map(int, shared.key)),
            anneal_steps=shared.anneal_steps,
            correction_until=team.bias_correction_until,
            keep=wiring.keep,
            **{k: getattr(team, k) for k in ("T", "c", "trace_decay", "gate_floor")},
            **{k: getattr(team, k) for k in ("beta1", "beta2", "epsilon")},
        )
        delay = wiring.delay.reshape(2, -1)[:, team.unit]  # of each layer's first unit
        arrays = (
            *(team.size, team.activation, team.alpha, team.anneal_to, team.var[inputs:]),
            *(wiring.interval[inputs:], wiring.lag[inputs:], delay, team.w, team.wt),
        )
        arrays = tuple(np.ascontiguousarray(array) for array in arrays)
        self._library = library
        self._team = library.team_new(ctypes.byref(settings), *(a.ctypes.data for a in arrays))
        self._duration = wiring.duration
        self._now = self._steps = 0
        self._counts = np.zeros_like(ours.mail.counts)
        self._values = np.zeros(team.h.size - inputs)
        self._sizes = [getattr(ours.memory, name).size for name in PARAMETERS[:5]]
        self._sizes += [getattr(ours.mail, name).size for name in PARAMETERS[5:]]

    def step(self, observation: np.ndarray, td_error: float, learning: bool) -> None:
        """A time step: sampling wave, broadcast, window, traces."""
        ready = self._library.team_act(self._team, self._now, observation.ctypes.data)
        if self._library.team_settle(self._team, ready, td_error, learning, self._steps) >= 0:
            raise SystemExit("a unit has diverged: nothing can be measured")
        self._steps += 1
        self._now = ready + self._duration

    @property
    def counts(self) -> np.ndarray:
        """Those of the latest step, as neurosim's."""
        self._library.team_counts(self._team, self._counts.ctypes.data)
        return self._counts

    @property
    def values(self) -> np.ndarray:
        """h of all units but the state."""
        self._library.team_values(self._team, self._values.ctypes.data)
        return self._values

    def parameters(self) -> dict[str, np.ndarray]:
        """By neurosim's names."""
        found = {}
        for which, (name, size) in enumerate(zip(PARAMETERS, self._sizes, strict=True)):
            address = self._library.team_parameters(self._team, which)
            found[name] = np.ctypeslib.as_array((ctypes.c_double * size).from_address(address))
        return found

    def __del__(self) -> None:
        self._library.team_free(self._team)
