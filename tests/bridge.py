"""Between the package and the oracle: the same settings, state, noise and values in both forms."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import oracle
import tomlkit
from oracle import Array, Settings, State

from neurosim import spec
from neurosim.learners import MapProp
from neurosim.memory import Team
from neurosim.network import weights
from neurosim.spec import Spec
from neurosim.tasks import Environment, environment_seed

Noise = list[Array | float]

# --- models --------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {
    "description": "a small agent",
    "task": {"id": "CartPole-v1", "episodes": 3},
    "learning": {
        "gamma": 0.9,
        "reward_bound": float("inf"),
        "anneal_steps": float("inf"),
        "truncation": "bootstrap",
        "update_at_reset": False,
        "terminal_iteration": False,
        "stale_first_mean": False,
    },
    "actor": {
        "units": [5, 4],
        "activation": ["softplus", "softplus"],
        "output": "softmax",
        "T": 2.0,
        "var": [0.3, 0.5],
        "alpha": [0.05, 0.02, 0.01],
        "anneal_to": [1.0, 1.0, 1.0],
        "lambda": 0.8,
        "N": 4,
        "step_size": 0.5,
    },
    "critic": {
        "units": [4, 3],
        "activation": ["softplus", "softplus"],
        "var": [0.4, 0.6, 0.5],
        "alpha": [0.04, 0.03, 0.02],
        "anneal_to": [1.0, 1.0, 1.0],
        "lambda": 0.7,
        "N": 4,
        "step_size": 0.5,
        "gate_floor": 0.01,
    },
    "adam": {
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "bias_correction_until": float("inf"),
    },
}


def small_spec(**changes: Any) -> Spec:
    """A small model of two hidden layers each; ``learning__gamma=0.5`` changes one key.

    A change to None removes the key.
    """
    content = copy.deepcopy(SMALL)
    for name, value in changes.items():
        section, key = name.split("__", 1)
        if value is None:
            content[section].pop(key, None)
        else:
            content[section][key] = value
    return spec.parse(tomlkit.dumps(content), "small").spec


# --- one team ------------------------------------------------------------------------------------


def settings_of(model: Spec, name: str, n_in: int, n_out: int) -> Settings:
    """The oracle's constants of one team of a model."""
    team: spec.TeamSpec = getattr(model, name)
    return Settings(
        sizes=(n_in, *team.units, n_out),
        activations=tuple(team.activation),
        output=team.output,
        var=tuple(team.var),
        alpha=tuple(team.alpha),
        T=1.0 if team.T is None else team.T,
        anneal_to=tuple(team.anneal_to),
        anneal_steps=model.learning.anneal_steps,
        gamma=model.learning.gamma,
        lambda_=team.lambda_,
        N=team.N,
        step_size=team.step_size,
        gated=name == "critic",
        gate_floor=team.gate_floor,
        beta1=model.adam.beta1,
        beta2=model.adam.beta2,
        epsilon=model.adam.epsilon,
        bias_correction_until=model.adam.bias_correction_until,
        stale_first_mean=model.learning.stale_first_mean,
    )


def state_of(team: Team) -> State:
    """Copies of what a team has learned and remembers."""
    lists: dict[str, list[Array]] = {}
    for key in ("w", "z", "m", "v"):
        pairs = [weights(team, getattr(team, key), l) for l in range(1, team.size.size)]
        prefix = "" if key == "w" else key
        lists[prefix + "W"] = [W.copy() for W, _ in pairs]
        lists[prefix + "b"] = [b.copy() for _, b in pairs]
    return State(**lists, updates=int(team.count[1]))


def values_of(team: Team, units: Array) -> list[Array]:
    """Copies of one of the unit arrays, layer by layer from the state up."""
    return [
        units[first : first + size].copy() for first, size in zip(team.unit, team.size, strict=True)
    ]


def noise_of(team: Team) -> Noise:
    """Noise of the last feed-forward pass, as the oracle wants it."""
    noise: Noise = list(values_of(team, team.noise)[1:])
    if team.activation[-1] == SOFTMAX_CODE:
        noise[-1] = float(team.noise[team.unit[-1]])
    return noise
