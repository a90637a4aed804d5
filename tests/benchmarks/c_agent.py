"""The agent of agent_step.c, as a shared library called through ctypes."""

import ctypes
from typing import Any

import numpy as np

from neurosim.learners import MapProp
from neurosim.memory import Team


class Settings(ctypes.Structure):
    """Mirror of Settings in agent_step.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("layers", "softmax", "gated", "N", "where")),
        *((name, ctypes.c_double) for name in ("T", "c", "trace_decay", "gate_floor")),
        *((name, ctypes.c_double) for name in ("beta1", "beta2", "epsilon")),
        ("correction_until", ctypes.c_double),
    )


def declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """Say what the functions of the library take and return."""
    pointer, integer, double = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
    for name, result, arguments in (
        ("team_new", pointer, [pointer] * 7),
        ("team_parameters", None, [pointer, integer, pointer]),
        ("team_values", None, [pointer, pointer]),
        ("agent_new", pointer, [pointer, pointer, double, double, double]),
        ("agent_begin", integer, [pointer, pointer]),
        ("agent_steps", integer, [pointer, pointer, integer, double]),
        ("agent_free", None, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class CAgent:
    """The C agent with the weights, settings and random numbers that one of neurosim's has now."""

    def __init__(self, library: ctypes.CDLL, ours: MapProp) -> None:
        self._library, self._ours = library, ours
        shared = ours.shared
        self._teams = [self._team(team) for team in (ours.actor, ours.critic)]
        self._agent = library.agent_new(
            *self._teams, shared.gamma, shared.reward_bound, shared.anneal_steps
        )

    def _team(self, team: Team) -> Any:
        last = team.size.size - 1
        settings = Settings(
            layers=team.size.size,
            softmax=int(team.activation[last] == 5),
            gated=int(team.gated),
            N=int(team.N),
            where=int(team.where),
            correction_until=team.bias_correction_until,
            **{k: getattr(team, k) for k in ("T", "c", "trace_decay", "gate_floor")},
            **{k: getattr(team, k) for k in ("beta1", "beta2", "epsilon")},
        )
        arrays = (self._ours.shared.key, team.size, team.alpha, team.anneal_to)
        arrays = (*arrays, team.var[team.unit], team.w)
        arrays = tuple(np.ascontiguousarray(array) for array in arrays)
        return self._library.team_new(ctypes.byref(settings), *(a.ctypes.data for a in arrays))

    def begin(self, observation: np.ndarray) -> None:
        if not self._library.agent_begin(self._agent, observation.ctypes.data):
            raise SystemExit("a unit has diverged: nothing can be measured")

    def steps(self, observations: np.ndarray, reward: float) -> None:
        """One step for each of the observations (steps, n), in C altogether."""
        data, steps = observations.ctypes.data, len(observations)
        if not self._library.agent_steps(self._agent, data, steps, reward):
            raise SystemExit("a unit has diverged: nothing can be measured")

    def state(self) -> dict[str, np.ndarray]:
        """Values and parameters of both teams, as `state_of`."""
        found = {}
        for name, team in zip(("actor", "critic"), self._teams, strict=True):
            mine = getattr(self._ours, name)
            found[f"{name}.h"] = values = np.zeros(mine.h.size)
            self._library.team_values(team, values.ctypes.data)
            for which, key in enumerate("wzmv"):
                found[f"{name}.{key}"] = array = np.zeros(mine.w.size)
                self._library.team_parameters(team, which, array.ctypes.data)
        return found

    def close(self) -> None:
        self._library.agent_free(self._agent)


def state_of(agent: MapProp) -> dict[str, np.ndarray]:
    """Values and parameters of neurosim's agent."""
    return {
        f"{name}.{key}": getattr(getattr(agent, name), key)
        for name in ("actor", "critic")
        for key in ("h", *"wzmv")
    }
