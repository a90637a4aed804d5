"""One agent cut out of its team: its own state, its own settings, nothing else."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurosim.kernels.activation import SOFTMAX
from neurosim.kernels.engine import KOLEN_POLLACK, SYMMETRIC
from neurosim.kernels.replay import COUNTS
from neurosim.memory import Agent, Floats, Team, Wiring

State = Mapping[str, NDArray[Any]]  # a team's, as a window has it before or after
_PARAMETERS = {"w": "", "z": "z", "m": "m", "v": "v"}  # field of Agent: prefix in a file
_FEEDBACK = {"wt": "", "zt": "z", "mt": "m", "vt": "v"}
_SETTINGS = (
    *("where", "T", "c", "trace_decay", "gated", "gate_floor"),
    *("beta1", "beta2", "epsilon", "bias_correction_until"),
)  # that a team's units share
_UNIT_FIELDS = ("layer", "agent", "period", "phase", "lag", "broadcast_delay", "interval")


def agents_of(team: Team) -> Iterator[tuple[int, int, int]]:
    """Layer, first unit and end of each agent, from the output down; units as the log counts."""
    inputs, top = int(team.size[0]), team.size.size - 1
    for layer in range(top, 0, -1):
        first = int(team.unit[layer]) - inputs
        end = first + int(team.size[layer])
        step = end - first if team.activation[layer] == SOFTMAX else 1
        yield from ((layer, u, u + step) for u in range(first, end, step))


def own_wiring(wiring: Wiring, team: Team, first: int) -> Wiring:
    """The settings of one agent, as those of a team with a single unit."""
    u, units = int(team.size[0]) + first, team.h.size
    own = {name: getattr(wiring, name)[u : u + 1] for name in _UNIT_FIELDS}
    both = {name: getattr(wiring, name)[u::units] for name in ("delay", "loss", "least_change")}
    own["broadcast_loss"] = wiring.broadcast_loss[u : u + 1]
    nothing = {"synapse_delay": wiring.synapse_delay[:0]}
    return wiring._replace(**{k: v.copy() for k, v in (own | both | nothing).items()})


def agent_of(
    team: Team, wiring: Wiring, layer: int, first: int, last: int, state: State, ticks: int = 0
) -> Agent:
    """The agent of units first ... last - 1 in a state, with room for so many ticks."""
    u, top = int(team.size[0]) + first, team.size.size - 1
    K, n = last - first, int(team.size[layer - 1])
    m = int(team.size[layer + 1]) if layer < top else 0
    i = u - int(team.unit[layer])
    rows = {name: _rows(state, prefix, layer, i, K) for name, prefix in _PARAMETERS.items()}
    feedback = dict.fromkeys(_FEEDBACK, np.zeros(m))
    if m > 0 and wiring.feedback == SYMMETRIC:
        feedback["wt"] = state[f"W{layer + 1}"][:, i]
    elif m > 0:
        feedback["wt"] = state[f"B{layer + 1}"][i]
    if m > 0 and wiring.feedback == KOLEN_POLLACK:
        feedback |= {f"{p}t": state[f"{p}B{layer + 1}"][i] for p in "zmv"}
    arrays: dict[str, Any] = {
        **dict.fromkeys(("h", "p", "mu", "slope", "g", "sampled", "sampled_mean"), np.zeros(K)),
        "var": team.var[u : u + K],
        "updates": state["adam_count"][first:last],
        **rows,
        **feedback,
        "x": _values(team, wiring, layer, i, K, state),
        "heard": np.zeros((K, n), np.int64),
        "g_above": _errors(team, wiring, layer, i, state),
        "heard_above": np.zeros(m, np.int64),
        "gate": np.zeros(1),
        "sent": np.zeros((2, K), np.int64),
        "last": np.zeros((2, K)),
        "tagged_g": np.zeros(K),
        "tagged_x": np.zeros((K, n)),
        "tagged_h": np.zeros(K),
        "tagged_g_above": np.zeros(m),
        "times": np.zeros(ticks, np.int64),
        "intervals": np.zeros(16),
        **dict.fromkeys(("rows_kind", "rows_unit", "rows_packet"), np.zeros(K + 1, np.int64)),
        "rows_value": np.zeros(K + 1),
        "count": np.zeros(COUNTS, np.int64),
        "alpha": np.append(team.alpha, 0.0)[layer : layer + 2],
        "anneal_to": np.append(team.anneal_to, 1.0)[layer : layer + 2],
    }
    settings: dict[str, Any] = {name: getattr(team, name) for name in _SETTINGS}
    copies: dict[str, Any] = {name: np.array(array, order="C") for name, array in arrays.items()}
    return Agent(
        **copies,
        **settings,
        unit=first,
        layer=layer,
        top=layer == top,
        activation=int(team.activation[layer]),
    )


class Compared(NamedTuple):
    """Numbers of an agent that outlive a window."""

    array: NDArray[Any]
    names: list[str]  # of its entries, as a file has them
    units: Any  # whose they are, as the log counts


def compared(agent: Agent, i: int) -> Iterator[Compared]:
    """What of an agent outlives a window.  i: index of its first unit in its layer."""
    (K, n), layer = agent.x.shape, agent.layer
    units = agent.unit + np.arange(K)
    for field, prefix in _PARAMETERS.items():
        names = []
        for k in range(i, i + K):
            names += [f"{prefix}W{layer}[{k}, {j}]" for j in range(n)]
            names += [f"{prefix}b{layer}[{k}]"]
        yield Compared(getattr(agent, field), names, np.repeat(units, n + 1))
    for field, prefix in _FEEDBACK.items():
        array = getattr(agent, field)
        names = [f"{prefix}B{layer + 1}[{i}, {j}]" for j in range(array.size)]
        yield Compared(array, names, agent.unit)
    yield Compared(agent.updates, ["adam_count"] * K, units)
    if layer > 1:  # an observation comes anew in each pass
        names = [f"value held from {j}" for j in range(n)] * K
        yield Compared(agent.x, names, np.repeat(units, n))
    names = [f"error held from {j}" for j in range(agent.g_above.size)]
    yield Compared(agent.g_above, names, agent.unit)


def _rows(state: State, prefix: str, layer: int, i: int, K: int) -> Floats:
    """Rows of weights, each with its bias: (K, n+1)."""
    W, b = state[f"{prefix}W{layer}"][i : i + K], state[f"{prefix}b{layer}"][i : i + K]
    return np.column_stack([W, b])


def _values(team: Team, wiring: Wiring, layer: int, i: int, K: int, state: State) -> Floats:
    """The values that an agent holds from below (K, n)."""
    n = int(team.size[layer - 1])
    if not wiring.per_synapse:
        below = int(team.unit[layer - 1])
        return np.tile(state["heard"][below : below + n], (K, 1))
    if layer == 1:
        return np.zeros((K, n))  # observations have no slots, and come anew in each pass
    first = int(team.param[layer]) + i * n
    slots: Floats = state["slot"][first : first + K * n].reshape(K, n)
    return slots


def _errors(team: Team, wiring: Wiring, layer: int, i: int, state: State) -> Floats:
    """The error packets that an agent holds from above (m,)."""
    if layer == team.size.size - 1:
        return np.zeros(0)
    m, above = int(team.size[layer + 1]), int(team.unit[layer + 1])
    name, first = "heard", int(team.h.size) + above
    if wiring.per_synapse:
        name, first = "slot", int(team.w.size + team.param[layer + 1]) + i * m
    held: Floats = state[name][first : first + m]
    return held
