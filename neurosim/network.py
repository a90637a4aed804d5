"""From a team's settings to its memory, and the layers' readings of it."""

from typing import Any

import numpy as np

from neurosim.kernels import rng
from neurosim.kernels.activation import CODES, LINEAR, SOFTMAX
from neurosim.kernels.layer import transpose
from neurosim.memory import Floats, Shared, Team
from neurosim.spec import Adam, Learning, TeamSpec

TEAMS = ("actor", "critic")


def build_shared(learning: Learning, seed: int) -> Shared:
    """What the two teams share at the start of a run."""
    return Shared(
        key=rng.mixed_key(seed),
        steps=np.zeros(1, np.int64),
        value=np.zeros(1),
        td_error=np.zeros(1),
        gamma=learning.gamma,
        reward_bound=learning.reward_bound,
        anneal_steps=learning.anneal_steps,
        update_at_reset=learning.update_at_reset,
        terminal_iteration=learning.terminal_iteration,
    )


def build_team(
    name: str, spec: TeamSpec, learning: Learning, adam: Adam, n_in: int, n_out: int, seed: int
) -> Team:
    """Memory of one team with Glorot-uniform weights and zero biases (Section 2).

    n_in is the number of state components, n_out of action components (softmax: of outcomes).
    """
    size = np.array([n_in, *spec.units, n_out], np.int64)
    softmax = spec.output == "softmax"
    codes = [LINEAR, *(CODES[f] for f in spec.activation), SOFTMAX if softmax else LINEAR]
    variances = [1.0, *spec.var, *([1.0] if softmax else [])]
    units = int(size.sum())
    parameters = size[1:] * (size[:-1] + 1)
    where = np.uint64(256 * TEAMS.index(name))
    unit_arrays = {k: np.zeros(units) for k in ("h", "sampled", "p", "mu", "slope", "g", "f")}
    parameter_arrays = {k: np.zeros(int(parameters.sum())) for k in ("w", "wt", "z", "m", "v")}
    team = Team(
        size=size,
        unit=np.concatenate([[0], np.cumsum(size)[:-1]]),
        param=np.concatenate([[0, 0], np.cumsum(parameters)[:-1]]),
        activation=np.array(codes, np.int64),
        alpha=np.array([0.0, *spec.alpha]),
        anneal_to=np.array([1.0, *spec.anneal_to]),
        **unit_arrays,
        var=np.repeat(np.array(variances), size),
        noise=np.zeros(units),
        **parameter_arrays,
        count=np.zeros(2, np.int64),
        where=where + np.uint64(rng.NOISE),
        T=1.0 if spec.T is None else float(spec.T),
        N=spec.N,
        c=float(spec.step_size),
        trace_decay=learning.gamma * spec.lambda_,
        gated=name == "critic",
        gate_floor=spec.gate_floor * float(np.sqrt(variances[-1])),
        stale_first_mean=learning.stale_first_mean,
        beta1=float(adam.beta1),
        beta2=float(adam.beta2),
        epsilon=float(adam.epsilon),
        bias_correction_until=float(adam.bias_correction_until),
    )
    draw_weights(team, rng.mixed_key(seed), where + np.uint64(rng.INIT))
    return team


def draw_weights(team: Team, key: Any, where: np.uint64) -> None:
    """W[l] ~ U(-a, a) with a = sqrt(6 / (n_in + n_out)), each unit from its own stream."""
    unit = 0
    for layer in range(1, team.size.size):
        w, _ = weights(team, team.w, layer)
        n_out, n_in = w.shape
        bound = np.sqrt(6.0 / (n_in + n_out))
        for row in w:
            rng.uniforms(key, n_in, unit, where, row)
            unit += 1
        w *= 2.0 * bound
        w -= bound
    orient(team)


def orient(team: Team) -> None:
    """Make the transposed weights agree with the weights."""
    for layer in range(1, team.size.size):
        n_out, n_in = int(team.size[layer]), int(team.size[layer - 1])
        part = slice(int(team.param[layer]), int(team.param[layer]) + n_out * n_in)
        transpose(team.w[part], n_out, n_in, team.wt[part])


def weights(team: Team, parameters: Floats, layer: int) -> tuple[Floats, Floats]:
    """Views (n_out, n_in) and (n_out,) of one layer's weights and biases in w, z, m or v."""
    n_out, n_in = int(team.size[layer]), int(team.size[layer - 1])
    start = int(team.param[layer])
    middle = start + n_out * n_in
    return parameters[start:middle].reshape(n_out, n_in), parameters[middle : middle + n_out]


def layer_of(team: Team, unit: int) -> tuple[int, int]:
    """Layer (from 1) and index within it of a unit counted from the first hidden one."""
    position = unit + int(team.size[0])
    layer = int(np.searchsorted(team.unit, position, side="right")) - 1
    return layer, position - int(team.unit[layer])
