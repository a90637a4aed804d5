"""The agent of agent_step.c, as a shared library called through ctypes."""

import ctypes

import numpy as np
from benchmarks.harness import compiled
from numpy.testing import assert_allclose

from neurosim.kernels.activation import SOFTMAX
from neurosim.learners import MapProp
from neurosim.memory import Team
from neurosim.spec import Spec


class Settings(ctypes.Structure):
    """Mirror of Settings in agent_step.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("layers", "softmax", "gated", "N", "where")),
        *((name, ctypes.c_double) for name in ("T", "c", "trace_decay", "gate_floor")),
        *((name, ctypes.c_double) for name in ("beta1", "beta2", "epsilon")),
        ("correction_until", ctypes.c_double),
    )


SINGLE = ("-DSINGLE", "-fsingle-precision-constant")
POINTER, INTEGER, DOUBLE = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
TEAM = (
    ("team_new", POINTER, (POINTER,) * 7),
    ("team_parameters", None, (POINTER, INTEGER, POINTER)),
    ("team_values", None, (POINTER, POINTER)),
)
AGENT = (
    ("agent_new", POINTER, (POINTER, POINTER, DOUBLE, DOUBLE, DOUBLE)),
    ("agent_begin", INTEGER, (POINTER, POINTER)),
    ("agent_steps", INTEGER, (POINTER, POINTER, INTEGER, DOUBLE)),
    ("agent_free", None, (POINTER,)),
)


def build(*flags: str) -> ctypes.CDLL | None:
    """agent_step.c with more flags for the compiler, if there is one."""
    return compiled("agent_step.c", (*TEAM, *AGENT), *flags)


def new_team(library: ctypes.CDLL, team: Team, key: np.ndarray) -> int:
    """A C team with the weights and settings that a team has now."""
    last = team.size.size - 1
    settings = Settings(
        layers=team.size.size,
        softmax=int(team.activation[last] == SOFTMAX),
        gated=int(team.gated),
        N=int(team.N),
        where=int(team.where),
        correction_until=team.bias_correction_until,
        **{k: getattr(team, k) for k in ("T", "c", "trace_decay", "gate_floor")},
        **{k: getattr(team, k) for k in ("beta1", "beta2", "epsilon")},
    )
    arrays = (key, team.size, team.alpha, team.anneal_to, team.var[team.unit], team.w)
    arrays = tuple(np.ascontiguousarray(array) for array in arrays)
    return library.team_new(ctypes.byref(settings), *(a.ctypes.data for a in arrays))


def parameters(library: ctypes.CDLL, team: int, size: int) -> dict[str, np.ndarray]:
    """A C team's w, z, m and v, in neurosim's order."""
    found = {key: np.zeros(size) for key in "wzmv"}
    for which, array in enumerate(found.values()):
        library.team_parameters(team, which, array.ctypes.data)
    return found


class CAgent:
    """The C agent with the weights, settings and random numbers that one of neurosim's has now."""

    def __init__(self, library: ctypes.CDLL, ours: MapProp) -> None:
        self._library, self._ours = library, ours
        shared = ours.shared
        self._teams = [new_team(library, t, shared.key) for t in (ours.actor, ours.critic)]
        self._agent = library.agent_new(
            *self._teams, shared.gamma, shared.reward_bound, shared.anneal_steps
        )

    def begin(self, observation: np.ndarray) -> None:
        """First step of an episode."""
        if not self._library.agent_begin(self._agent, observation.ctypes.data):
            raise SystemExit("a unit has diverged: nothing can be measured")

    def steps(self, observations: np.ndarray, reward: float) -> None:
        """One step for each of the observations (steps, n), in C altogether."""
        data, steps = observations.ctypes.data, len(observations)
        if not self._library.agent_steps(self._agent, data, steps, reward):
            raise SystemExit("a unit has diverged: nothing can be measured")

    def state(self) -> dict[str, np.ndarray]:
        """Values and parameters of both teams, by team and neurosim's name."""
        found = {}
        for name, team in zip(("actor", "critic"), self._teams, strict=True):
            mine = getattr(self._ours, name)
            found[f"{name}.h"] = values = np.zeros(mine.h.size)
            self._library.team_values(team, values.ctypes.data)
            for key, array in parameters(self._library, team, mine.w.size).items():
                found[f"{name}.{key}"] = array
        return found

    def __del__(self) -> None:
        self._library.agent_free(self._agent)


def check(library: ctypes.CDLL, spec: Spec, sizes: tuple[int, int], tolerance: float) -> None:
    """Both must have the same values and parameters after eight steps, but for rounding."""
    ours = MapProp(spec, *sizes, 0)
    theirs = CAgent(library, ours)
    observations = np.random.default_rng(0).normal(scale=0.1, size=(9, sizes[0]))
    for agent in (ours, theirs):
        agent.begin(observations[0])
    for observation in observations[1:]:
        ours.step(observation, 1.0)
    theirs.steps(observations[1:], 1.0)
    for name, array in theirs.state().items():
        team, key = name.split(".")
        expected = getattr(getattr(ours, team), key)
        assert_allclose(array, expected, tolerance, tolerance * np.abs(expected).max(), name)
