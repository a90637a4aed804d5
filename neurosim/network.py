"""From a team's settings to its memory, and the layers' readings of it."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from neurosim.kernels import reading, rng
from neurosim.kernels.activation import CODES, LINEAR, SOFTMAX
from neurosim.kernels.layer import transpose
from neurosim.kernels.tile import TOGETHER
from neurosim.memory import Block, Floats, Shared, Team
from neurosim.spec import BY_BACKPROP, TEAMS, Actor, Adam, Critic, Learning, MonteCarloActor

PRECISIONS: dict[str, type[np.floating[Any]]] = {"double": np.float64, "single": np.float32}


def build_shared(learning: Learning, seed: int) -> Block:
    """What the two teams share at the start of a run."""
    flags = (learning.update_at_reset, learning.terminal_iteration)
    return (
        np.array([*rng.mixed_key(seed), 0, *flags], np.int64),
        np.array([0.0, 0.0, learning.gamma, learning.reward_bound, learning.anneal_steps]),
    )


def build_team(
    name: str,
    spec: Actor | Critic | MonteCarloActor,
    learning: Learning,
    adam: Adam,
    n_in: int,
    n_out: int,
    seed: int,
) -> Block:
    """Memory of one team with Glorot-uniform weights and zero biases (Section 2).

    Parameters
    ----------
    name : "actor" or "critic", which decides on the team's random streams and its gate.
    spec, learning, adam : the model's sections.
    n_in : components of the state.
    n_out : components of the action; outcomes of a softmax output.
    seed : of the run, in [0, 2**63).
    """
    size = np.array([n_in, *spec.units, n_out], np.int64)
    softmax = spec.output == "softmax"
    codes = [LINEAR, *(CODES[f] for f in spec.activation), SOFTMAX if softmax else LINEAR]
    still = [0.0] * len(spec.units) if spec.rule == "backprop" else []
    output = [1.0 if softmax else 0.0]  # where the model gives none
    variances = [1.0, *still, *spec.var, *output][: size.size]
    parameters = size[1:] * (size[:-1] + 1)
    layers, units, all_parameters = size.size, int(size.sum()), int(parameters.sum())
    where = 256 * TEAMS.index(name)
    header = {
        reading.LAYERS: layers,
        reading.UNITS: units,
        reading.PARAMETERS: all_parameters,
        reading.N: spec.N,
        reading.GATED: name == "critic",
        reading.STALE: learning.stale_first_mean,
        reading.BACKPROP: spec.rule in BY_BACKPROP,
        reading.WHERE: where + rng.NOISE,
    }
    settings = {
        reading.T: 1.0 if spec.T is None else spec.T,
        reading.C: spec.step_size,
        reading.PROPOSAL: spec.proposal or 0.0,
        reading.TRACE_DECAY: learning.gamma * spec.lambda_,
        reading.GATE_FLOOR: spec.gate_floor * np.sqrt(variances[-1]),
        reading.EXPLORE: spec.explore,
        reading.BETA1: adam.beta1,
        reading.BETA2: adam.beta2,
        reading.EPSILON: adam.epsilon,
        reading.CORRECTION_UNTIL: adam.bias_correction_until,
    }
    before, per_unit, per_parameter = reading.room(layers, units, all_parameters, n_in)
    first = reading.aligned(before + reading.UNIT_ARRAYS * per_unit)
    integers = np.zeros(reading.INTEGERS + reading.LAYER_INTEGERS * layers, np.int64)
    length = first + reading.PARAMETER_ARRAYS * per_parameter
    floats = aligned_zeros(length, PRECISIONS[learning.precision])
    integers[list(header)] = list(header.values())
    floats[list(settings)] = list(settings.values())
    integers[reading.INTEGERS : reading.INTEGERS + layers] = size
    team = read_team((integers, floats))
    team.unit[1:] = np.cumsum(size)[:-1]
    team.param[2:] = np.cumsum(parameters)[:-1]
    team.activation[:] = codes
    team.alpha[1:] = spec.alpha
    team.anneal_to[1:] = spec.anneal_to
    team.hold[:] = [1, *(spec.hold or [1] * len(spec.units)), 1]
    team.held[:] = -1
    team.var[:] = np.repeat(variances, size)
    draw_weights(team, rng.mixed_key(seed), np.uint64(where + rng.INIT))
    return integers, floats


def build_together(team: Team) -> Floats:
    """Unit arrays of as many samples as relax side by side, see `reading.side_by_side`."""
    n = team.h.size * TOGETHER
    values = aligned_zeros(7 * n)
    values[6 * n :] = np.repeat(team.var, TOGETHER)
    return values


def read_team(block: Block) -> Team:
    """The arrays of a team, as views of its block."""
    team: Team = getattr(reading.read_team, "py_func", reading.read_team)(*block)
    return team


def read_shared(block: Block) -> Shared:
    """What two teams share, as views of its block."""
    shared: Shared = getattr(reading.read_shared, "py_func", reading.read_shared)(*block)
    return shared


def aligned_zeros(length: int, kind: type[np.floating[Any]] = np.float64) -> Floats:
    """Zeros that begin at a multiple of 64 bytes."""
    room = np.zeros(length + 16, kind)
    start = -(room.ctypes.data // room.itemsize) % 16
    return cast(Floats, room[start : start + length])


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


def weights(team: Team, parameters: NDArray[Any], layer: int) -> tuple[NDArray[Any], NDArray[Any]]:
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
