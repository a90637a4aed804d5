"""The compiled phases against calculus: derivatives by finite differences, and the theorems.

The functions that are differentiated are written out in ``oracle.py`` (log densities, energy) or
here (the re-parameterised network); their derivatives are nobody's formula.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bridge import settings_of, small_spec, state_of, values_of
from numpy.testing import assert_allclose
from oracle import ACTIVATIONS, Array, Settings, State, energy, log_density

from neurosim.learners import MapProp
from neurosim.memory import Team
from neurosim.teams import SynchronousTeam

N_IN, N_OUT = 3, 3

both_outputs = pytest.mark.parametrize("output", ["gaussian", "softmax"])
all_activations = pytest.mark.parametrize("activation", ACTIVATIONS)
smooth_activations = pytest.mark.parametrize(
    "activation", [name for name in ACTIVATIONS if name != "relu"]
)

# Derivatives are extrapolated from central differences of steps 2h and h: (4 D(h) - D(2h)) / 3 is
# off by h**4 |f'''''| / 7.5 and by rounding, 2**-53 |f| / h a few times over. With h = 1e-3, |f|
# below 100 and fifth derivatives below 1e3 that is 1e-10 and 1e-10.
STEP = 1e-3
DIFFERENCES = 1e-8


def derivative(f: Callable[[], float], x: Array) -> Array:
    """Derivative of f for every entry of x, which f reads; x is put back."""
    result = np.empty_like(x)
    for index in np.ndindex(x.shape):
        old = x[index]
        values = {}
        for k in (-2, -1, 1, 2):
            x[index] = old + k * STEP
            values[k] = f()
        x[index] = old
        near = (values[1] - values[-1]) / (2.0 * STEP)
        far = (values[2] - values[-2]) / (4.0 * STEP)
        result[index] = (4.0 * near - far) / 3.0
    return result


def make_team(
    name: str, output: str, activation: str, N: int, step_size: float = 0.5, seed: int = 0
) -> tuple[SynchronousTeam, Settings]:
    """An actor or critic with moderate weights and biases, after it has acted on a state."""
    changes: dict[str, Any] = {
        f"{name}.activation": [activation, activation],
        f"{name}.N": N,
        f"{name}.step_size": step_size,
        "critic.gate_floor": 0.0,
    }
    if output == "gaussian":
        changes |= {"actor.output": "gaussian", "actor.T": None, "actor.var": [0.3, 0.7, 0.5]}
    model = small_spec(changes)
    agent = MapProp(model, N_IN, N_OUT, seed)
    rng = np.random.default_rng(seed)
    state = agent.state()
    state[f"{name}/w"] = 0.4 * rng.normal(size=state[f"{name}/w"].shape)
    agent.restore(state)
    team = SynchronousTeam(getattr(agent, name), agent.shared)
    team.act(rng.normal(size=N_IN))
    return team, settings_of(model, name, N_IN, N_OUT if name == "actor" else 1)


def trace_of(team: SynchronousTeam) -> State:
    """What the fourth phase adds to a trace of zero."""
    team.memory.z[:] = 0.0
    team.accumulate()
    return state_of(team.memory)


def values(team: Team) -> list[Array]:
    """Present values, layer by layer."""
    return values_of(team, team.h)


# --- derivatives ---------------------------------------------------------------------------------


@both_outputs
@all_activations
@pytest.mark.parametrize("N", [0, 5])
def test_the_trace_takes_up_the_derivative_of_each_layers_log_density(
    output: str, activation: str, N: int
) -> None:
    team, settings = make_team("actor", output, activation, N)
    team.relax()
    trace, H = trace_of(team), values(team.memory)
    state = state_of(team.memory)
    for i in range(settings.L):

        def log_pi(i: int = i) -> float:
            return log_density(settings, state, H)[i]

        assert np.max(np.abs(trace.zW[i])) > 1e-3
        assert_allclose(trace.zW[i], derivative(log_pi, state.W[i]), rtol=0, atol=DIFFERENCES)
        assert_allclose(trace.zb[i], derivative(log_pi, state.b[i]), rtol=0, atol=DIFFERENCES)


@all_activations
def test_the_critics_trace_takes_up_the_derivative_over_action_minus_mean(activation: str) -> None:
    team, settings = make_team("critic", "gaussian", activation, N=5)
    team.relax()
    trace, H = trace_of(team), values(team.memory)
    state = state_of(team.memory)
    mean = (state.W[-1] @ H[-2] + state.b[-1])[0]
    difference = H[-1][0] - mean
    for i in range(settings.L):

        def log_pi(i: int = i) -> float:
            return log_density(settings, state, H)[i]

        ours = difference * trace.zW[i], difference * trace.zb[i]
        assert_allclose(ours[0], derivative(log_pi, state.W[i]), rtol=0, atol=DIFFERENCES)
        assert_allclose(ours[1], derivative(log_pi, state.b[i]), rtol=0, atol=DIFFERENCES)


@pytest.mark.parametrize(
    ("name", "output"), [("actor", "softmax"), ("actor", "gaussian"), ("critic", "gaussian")]
)
@all_activations
def test_a_relaxation_step_is_alpha_h_down_the_slope_of_the_energy(
    name: str, activation: str, output: str
) -> None:
    team, settings = make_team(name, output, activation, N=1)
    state, before = state_of(team.memory), values(team.memory)
    team.relax()
    after = values(team.memory)
    for layer in range(1, settings.L):
        slope = derivative(lambda: energy(settings, state, before), before[layer])
        alpha_h = settings.step_size * settings.var[layer - 1]
        moved = after[layer] - before[layer]
        assert np.max(np.abs(moved)) > 1e-2
        assert_allclose(moved, -alpha_h * slope, rtol=0, atol=alpha_h * DIFFERENCES)
    for layer in (0, settings.L):
        assert np.array_equal(after[layer], before[layer])


@both_outputs
@smooth_activations
def test_a_long_relaxation_ends_where_the_energy_has_no_slope_and_is_lower(
    output: str, activation: str
) -> None:
    team, settings = make_team("actor", output, activation, N=3000, step_size=0.1)
    state = state_of(team.memory)
    sampled = energy(settings, state, values(team.memory))
    team.relax()
    H = values(team.memory)
    assert energy(settings, state, H) < sampled
    for layer in range(1, settings.L):
        slope = derivative(lambda: energy(settings, state, H), H[layer])
        assert_allclose(slope, 0.0, atol=DIFFERENCES)
    team.relax()  # and stays there, but for rounding
    for before, after in zip(H, values(team.memory), strict=True):
        assert_allclose(after, before, rtol=0, atol=1e-13)


# --- theorems 2 and 3 ----------------------------------------------------------------------------

# After 3000 steps of c = 0.1 the values move no more than they round, 1e-13 as above. So a unit is
# pulled by at most 1e-13 / (c var) < 1e-11. The local gradients are backprop's up to that pull
# times weights and values below 10.
THEOREM = 1e-9


def activation_of_complex(name: str, p: Array) -> Array:
    """Hidden means for complex potentials."""
    if name == "softplus":
        return np.log(1.0 + np.exp(p))
    if name == "sigmoid":
        return 1.0 / (1.0 + np.exp(-p))
    return np.tanh(p) if name == "tanh" else p


def reparameterised(
    settings: Settings, state: State, H: list[Array]
) -> Callable[[list[Array], list[Array]], Array]:
    """The potential p[L] as a function of the parameters, H being ``mu + sqrt(var) noise``.

    The noise is the one that puts the hidden layers at H now.
    """
    offsets = []
    for i in range(settings.L - 1):
        p = state.W[i] @ H[i] + state.b[i]
        offsets.append(H[i + 1] - activation_of_complex(settings.activations[i], p))

    def last_potential(W: list[Array], b: list[Array]) -> Array:
        h = H[0]
        for i in range(settings.L - 1):
            h = activation_of_complex(settings.activations[i], W[i] @ h + b[i]) + offsets[i]
        return W[-1] @ h + b[-1]

    return last_potential


def backprop(f: Callable[[list[Array], list[Array]], complex], state: State) -> State:
    """Derivatives of f for all parameters by complex steps, exact to rounding, in W and b."""
    W = [w.astype(complex) for w in state.W]
    b = [x.astype(complex) for x in state.b]
    result = copy.deepcopy(state)
    for arrays, derivatives in ((W, result.W), (b, result.b)):
        for x, d in zip(arrays, derivatives, strict=True):
            for index in np.ndindex(x.shape):
                x[index] += 1e-30j
                d[index] = complex(f(W, b)).imag / 1e-30
                x[index] = x[index].real
    return result


def backprop_of_log_pi(settings: Settings, state: State, H: list[Array]) -> State:
    """Derivatives of the action's log density through the re-parameterised network."""
    last_potential = reparameterised(settings, state, H)

    def log_pi(W: list[Array], b: list[Array]) -> complex:
        p = last_potential(W, b)
        if settings.output == "softmax":
            p = p / settings.T
            return complex(np.sum(H[-1] * p) - np.log(np.sum(np.exp(p))))
        return complex(np.sum(-((H[-1] - p) ** 2)) / (2.0 * settings.var[-1]))

    return backprop(log_pi, state)


@both_outputs
@smooth_activations
def test_theorem_2_a_relaxed_teams_local_gradients_are_backprops_through_the_reparameterisation(
    output: str, activation: str
) -> None:
    team, settings = make_team("actor", output, activation, N=3000, step_size=0.1)
    team.relax()
    trace = trace_of(team)
    expected = backprop_of_log_pi(settings, state_of(team.memory), values(team.memory))
    for i in range(settings.L):
        assert np.max(np.abs(expected.W[i])) > 1e-4
        assert_allclose(trace.zW[i], expected.W[i], rtol=0, atol=THEOREM)
        assert_allclose(trace.zb[i], expected.b[i], rtol=0, atol=THEOREM)


@both_outputs
def test_theorem_2_needs_the_relaxation(output: str) -> None:
    team, settings = make_team("actor", output, "softplus", N=0)
    team.relax()
    trace = trace_of(team)
    expected = backprop_of_log_pi(settings, state_of(team.memory), values(team.memory))
    assert np.max(np.abs(trace.zW[0] - expected.W[0])) > 0.1
    assert_allclose(trace.zW[-1], expected.W[-1], rtol=0, atol=THEOREM)


@smooth_activations
def test_theorem_3_the_gated_trace_descends_the_squared_error_up_to_two_variances(
    activation: str,
) -> None:
    team, settings = make_team("critic", "gaussian", activation, N=3000, step_size=0.1)
    team.relax()
    trace, H, state = trace_of(team), values(team.memory), state_of(team.memory)
    last_potential = reparameterised(settings, state, H)
    target = 0.37

    def gain(W: list[Array], b: list[Array]) -> complex:
        return complex(-((target - last_potential(W, b)[0]) ** 2))

    expected = backprop(gain, state)
    mean = last_potential(state.W, state.b)[0]
    # The gate divides by A - mu, and with it the pull that is left over.
    tolerance = THEOREM * max(1.0, 1.0 / abs(H[-1][0] - mean))
    factor = 2.0 * settings.var[-1] * (target - mean)
    for i in range(settings.L):
        assert np.max(np.abs(expected.W[i])) > 1e-4
        assert_allclose(factor * trace.zW[i], expected.W[i], rtol=0, atol=tolerance)
        assert_allclose(factor * trace.zb[i], expected.b[i], rtol=0, atol=tolerance)


def test_a_relaxed_teams_gradient_varies_less_than_the_sampled_ones_for_the_same_action() -> None:
    # Appendix B.6 in its strongest form: with the state and the action held, the gradient of a team
    # at the stationary point is one number, that of a sampled team varies with the hidden noise.
    gradients: dict[int, list[Array]] = {0: [], 3000: []}
    for N, found in gradients.items():
        for seed in range(4):
            team, _ = make_team("actor", "gaussian", "linear", N, step_size=0.1)
            memory = team.memory
            rng = np.random.default_rng(seed)
            for layer in (1, 2):
                first = memory.unit[layer]
                memory.h[first : first + memory.size[layer]] += rng.normal(size=memory.size[layer])
            team.relax()
            found.append(trace_of(team).zW[0])
    assert np.max(np.std(gradients[3000], axis=0)) < THEOREM  # linear: one stationary point
    assert np.max(np.std(gradients[0], axis=0)) > 0.1


# --- hill climbing (Appendix F) ------------------------------------------------------------------


def climbing(team: SynchronousTeam, N: int, proposal: float) -> SynchronousTeam:
    """The same team, making so many proposals of such a size."""
    return SynchronousTeam(team.memory._replace(N=N, proposal=proposal), team.shared)


@pytest.mark.parametrize(
    ("name", "output"), [("actor", "softmax"), ("actor", "gaussian"), ("critic", "gaussian")]
)
@all_activations
def test_by_hill_climbing_values_move_where_the_energy_falls_and_else_stay(
    name: str, activation: str, output: str
) -> None:
    team, settings = make_team(name, output, activation, N=0)
    state, once = state_of(team.memory), climbing(team, 1, 0.2)
    kept = []
    for n in range(100):
        before = values(team.memory)
        once.relax(first=n)
        after = values(team.memory)
        moved = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
        assert moved[0] is moved[-1] is False
        assert len(set(moved[1:-1])) == 1  # all hidden units, or none
        fall = energy(settings, state, before) - energy(settings, state, after)
        assert (fall > 0.0) if moved[1] else (fall == 0.0)
        kept.append(moved[1])
    assert 10 < sum(kept) < 90


@both_outputs
def test_proposals_made_in_parts_are_those_made_at_once(output: str) -> None:
    ends = []
    for parts in ([60], [1, 9, 50]):
        team, _ = make_team("actor", output, "softplus", N=0)
        done = 0
        for part in parts:
            climbing(team, part, 0.2).relax(first=done)
            done += part
        ends.append(team.memory.h.copy())
    assert np.array_equal(*ends)


def test_a_proposal_has_the_size_that_the_model_says_in_every_unit_and_is_never_the_same() -> None:
    team, settings = make_team("actor", "softmax", "softplus", N=0)
    once, steps = climbing(team, 1, 0.25), []
    for n in range(4000):
        before = values(team.memory)
        once.relax(first=n)
        # what was proposed: kept, it is in h and what was held in f; else the energy was not lower
        after = values(team.memory)
        if not np.array_equal(before[1], after[1]):
            steps.append(np.concatenate(after[1:-1]) - np.concatenate(before[1:-1]))
        for layer in (1, 2):
            first = team.memory.unit[layer]
            team.memory.h[first : first + team.memory.size[layer]] = before[layer]
    deviation = 0.25 * np.sqrt(np.repeat(settings.var[:2], settings.sizes[1:-1]))
    found = np.array(steps) / deviation
    assert len(np.unique(found)) == found.size
    # those that are kept lie on the lower side of a slope: their mean square about 0 is still 1,
    # for the other side is its mirror image, but for the curvature of E
    assert_allclose(np.sqrt((found**2).mean(axis=0)), 1.0, atol=0.1)


@both_outputs
@smooth_activations
def test_hill_climbing_ends_where_the_gradient_does_and_its_gradients_become_backprops(
    output: str, activation: str
) -> None:
    relaxed, settings = make_team("actor", output, activation, N=3000, step_size=0.1)
    relaxed.relax()
    team, _ = make_team("actor", output, activation, N=0)
    done, distances, cosines = 0, [], []
    for N, proposal in ((0, 1.0), (300, 0.3), (3000, 0.03), (30_000, 0.001)):
        climbing(team, N, proposal).relax(first=done)
        done += N
        deviations = np.sqrt(team.memory.var[N_IN : team.memory.unit[-1]])
        off = (team.memory.h - relaxed.memory.h)[N_IN : team.memory.unit[-1]] / deviations
        distances.append(float(np.sqrt(np.mean(off**2))))
        own = trace_of(team).zW[0]
        theirs = backprop_of_log_pi(settings, state_of(team.memory), values(team.memory)).W[0]
        cosines.append(float(np.sum(own * theirs) / np.linalg.norm(own) / np.linalg.norm(theirs)))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.01 < 0.3 < distances[0]
    assert cosines[1] < cosines[2] < cosines[3]
    assert cosines[0] < 0.95 < 0.999 < cosines[-1]


def test_without_hidden_layers_the_trace_is_plain_reinforce() -> None:
    model = small_spec(
        {f"actor.{key}": [] for key in ("units", "activation", "var")}
        | {"actor.alpha": [0.1], "actor.anneal_to": [1.0]}
    )
    agent = MapProp(model, N_IN, 2, seed=0)
    agent.begin(np.array([0.3, -1.0, 0.5]))
    W, b = state_of(agent.actor).W[0], state_of(agent.actor).b[0]
    x = (W @ [0.3, -1.0, 0.5] + b) / 2.0
    probability = np.exp(x) / np.sum(np.exp(x))
    expected = (agent.actor.h[N_IN:] - probability) / 2.0
    trace = state_of(agent.actor)
    assert_allclose(trace.zb[0], expected, rtol=0, atol=1e-14)  # numbers below 1, a few roundings
    assert_allclose(trace.zW[0], np.outer(expected, [0.3, -1.0, 0.5]), rtol=0, atol=1e-14)
    assert math.isclose(float(np.sum(agent.actor.h[N_IN:])), 1.0, rel_tol=0.0)
