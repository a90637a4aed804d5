"""The oracle against things outside it: finite differences, hand-worked numbers, the theorems.

Everything else in the suite leans on ``oracle.py``, so no expectation here is computed by the
function it tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from benchmarks.numpy_agent import NumpyAgent
from numpy.testing import assert_allclose, assert_array_equal
from oracle import (
    ACTIVATIONS,
    Agent,
    Array,
    Settings,
    State,
    accumulate,
    annealed_alpha,
    energy,
    feed_forward,
    gate,
    gradients,
    held_values,
    log_density,
    new_state,
    reinforce,
    relax,
    sigmoid,
    softplus,
)

# --- helpers -------------------------------------------------------------------------------------


def make_settings(
    sizes: tuple[int, ...] = (3, 5, 4, 2),
    output: str = "gaussian",
    activation: str = "softplus",
    **changes: Any,
) -> Settings:
    """Settings with a different variance and step size in every layer."""
    L = len(sizes) - 1
    settings = Settings(
        sizes=sizes,
        activations=(activation,) * (L - 1),
        output=output,
        var=(0.3, 0.7, 0.5, 0.4)[: L if output == "gaussian" else L - 1],
        alpha=(0.05, 0.02, 0.01, 0.03)[:L],
        T=1.7 if output == "softmax" else 1.0,
        gamma=0.9,
        lambda_=0.8,
    )
    return replace(settings, **changes)


def random_state(settings: Settings, rng: np.random.Generator, scale: float = 0.8) -> State:
    """Weights and biases of moderate size."""
    pairs = list(zip(settings.sizes[1:], settings.sizes[:-1], strict=True))
    W = [scale * rng.normal(size=pair) / math.sqrt(pair[1]) for pair in pairs]
    b = [0.3 * rng.normal(size=pair[0]) for pair in pairs]
    return new_state(W, b)


def random_noise(settings: Settings, rng: np.random.Generator) -> list[Array | float]:
    """What one feed-forward pass consumes."""
    noise: list[Array | float] = [rng.normal(size=n) for n in settings.sizes[1:]]
    if settings.output == "softmax":
        noise[-1] = float(rng.uniform())
    return noise


def sample(settings: Settings, state: State, rng: np.random.Generator) -> list[Array]:
    """Values of all layers on a random state."""
    S = rng.normal(size=settings.sizes[0])
    return feed_forward(settings, state, S, random_noise(settings, rng)).H


def central_difference(f: Callable[[], float], x: Array, step: float = 1e-5) -> Array:
    """Derivative of f for every entry of x, which f reads; x is put back."""
    derivative = np.empty_like(x)
    for index in np.ndindex(x.shape):
        old = x[index]
        x[index] = old + step
        upper = f()
        x[index] = old - step
        lower = f()
        x[index] = old
        derivative[index] = (upper - lower) / (2.0 * step)
    return derivative


def energy_gradient(settings: Settings, state: State, H: Sequence[Array]) -> list[Array]:
    """``dE/dh`` of all hidden layers by finite differences."""
    return [
        central_difference(lambda: energy(settings, state, H), H[layer])
        for layer in range(1, settings.L)
    ]


def one_step(settings: Settings, state: State, H: Sequence[Array]) -> list[Array]:
    """Displacement of every hidden layer in one relaxation step, divided by alpha_h."""
    moved = relax(replace(settings, N=1, stale_first_mean=False), state, H)
    return [
        (moved[layer] - H[layer]) / (settings.step_size * settings.var[layer - 1])
        for layer in range(1, settings.L)
    ]


def stationary_point(settings: Settings, state: State, H: Sequence[Array]) -> list[Array]:
    """Relax with a small step until no unit is pulled by more than 1e-12."""
    small = replace(settings, N=200, step_size=0.1)
    values = list(H)
    for _ in range(200):
        values = relax(small, state, values)
        if max(np.max(np.abs(pull)) for pull in one_step(small, state, values)) < 1e-12:
            return values
    raise AssertionError("no stationary point was reached")


def snapshot(state: State) -> list[Array]:
    """Copies of every array of a state."""
    lists = (state.W, state.b, state.zW, state.zb, state.mW, state.mb, state.vW, state.vb)
    return [x.copy() for arrays in lists for x in arrays]


def assert_same(before: Sequence[Array], after: Sequence[Array]) -> None:
    """Every array is bit-equal to its counterpart."""
    for x, y in zip(before, after, strict=True):
        assert_array_equal(x, y)


both_outputs = pytest.mark.parametrize("output", ["gaussian", "softmax"])
all_activations = pytest.mark.parametrize("activation", ACTIVATIONS)


# --- one layer -----------------------------------------------------------------------------------


def test_softplus_and_sigmoid_neither_overflow_nor_lose_small_values() -> None:
    x = np.array([-800.0, -40.0, 0.0, 40.0, 800.0])
    with np.errstate(over="raise", invalid="raise"):
        assert_allclose(softplus(x), [0.0, math.exp(-40.0), math.log(2.0), 40.0, 800.0], rtol=1e-15)
        assert_allclose(sigmoid(x), [0.0, math.exp(-40.0), 0.5, 1.0, 1.0], rtol=1e-15)


@both_outputs
@all_activations
@pytest.mark.parametrize("seed", [1, 101, 201])
def test_gradients_are_the_derivatives_of_the_log_densities(
    seed: int, activation: str, output: str
) -> None:
    rng = np.random.default_rng(seed)
    settings = make_settings(output=output, activation=activation)
    state = random_state(settings, rng)
    H = sample(settings, state, rng)
    dW, db = gradients(settings, state, H)
    for i in range(settings.L):

        def of_layer(i: int = i) -> float:
            return log_density(settings, state, H)[i]

        assert_allclose(dW[i], central_difference(of_layer, state.W[i]), rtol=1e-6, atol=1e-7)
        assert_allclose(db[i], central_difference(of_layer, state.b[i]), rtol=1e-6, atol=1e-7)


@both_outputs
@all_activations
def test_a_relaxation_step_of_all_layers_follows_the_negative_energy_gradient(
    activation: str, output: str
) -> None:
    # All layers at once from the old values: a Gauss-Seidel sweep would not pass.
    rng = np.random.default_rng(2)
    settings = make_settings(output=output, activation=activation, sizes=(3, 5, 4, 3, 2))
    for _ in range(3):
        state = random_state(settings, rng)
        H = sample(settings, state, rng)
        expected = energy_gradient(settings, state, H)
        for pull, slope_of_energy in zip(one_step(settings, state, H), expected, strict=True):
            assert_allclose(pull, -slope_of_energy, rtol=1e-6, atol=1e-7)


@both_outputs
@pytest.mark.parametrize("holding", [(1,), (2,), (3,), (1, 3)], ids=str)
def test_layers_that_hold_stay_and_the_others_follow_the_energy_of_those_that_decide(
    output: str, holding: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(8)
    settings = make_settings(output=output, sizes=(3, 5, 4, 3, 2), N=1)
    state = random_state(settings, rng)
    H = sample(settings, state, rng)
    moved = relax(settings, state, H, holding=holding)
    for layer in range(1, settings.L):
        pull = (moved[layer] - H[layer]) / (settings.step_size * settings.var[layer - 1])
        if layer in holding:
            assert_array_equal(moved[layer], H[layer])
            continue
        derivative = central_difference(lambda: energy(settings, state, H, holding), H[layer])
        assert_allclose(pull, -derivative, rtol=1e-6, atol=1e-7)
    dW, db = gradients(settings, state, H, holding)
    for layer in range(1, settings.L + 1):
        slope = central_difference(lambda: energy(settings, state, H, holding), state.W[layer - 1])
        assert_allclose(dW[layer - 1], -slope, rtol=1e-6, atol=1e-7)
        assert np.any(db[layer - 1]) == (layer not in holding)


def test_a_layer_decides_at_every_multiple_of_its_steps_and_holds_a_copy_in_between() -> None:
    settings = make_settings(sizes=(3, 5, 4, 2), hold=(2, 3))
    H = [np.arange(float(n)) for n in settings.sizes]
    held = [sorted(held_values(settings, t, H)) for t in range(7)]
    assert held == [[], [1, 2], [2], [1], [2], [1, 2], []]
    values = held_values(settings, 1, H)[2]
    H[2][:] = 7.0
    assert_array_equal(values, np.arange(4.0))


@both_outputs
def test_relaxation_lowers_the_energy_and_leaves_state_action_and_input_arrays_alone(
    output: str,
) -> None:
    rng = np.random.default_rng(3)
    settings = make_settings(output=output)
    state = random_state(settings, rng)
    H = sample(settings, state, rng)
    before = [h.copy() for h in H]
    relaxed = relax(replace(settings, step_size=0.2), state, H)
    assert_same(before, H)
    assert_array_equal(relaxed[0], H[0])
    assert_array_equal(relaxed[-1], H[-1])
    assert energy(settings, state, relaxed) < energy(settings, state, H)


def test_zero_relaxation_steps_leave_the_sampled_values() -> None:
    rng = np.random.default_rng(4)
    settings = make_settings(N=0)
    state = random_state(settings, rng)
    H = sample(settings, state, rng)
    assert_same(H, relax(settings, state, H))


def test_energy_of_one_unit_per_layer_is_the_written_out_gaussian_formula() -> None:
    s, h, a = 0.7, 1.3, -0.4
    w1, b1, w2, b2, var1, var2 = 0.9, -0.2, 1.1, 0.3, 0.25, 0.6
    mu1 = math.log(1.0 + math.exp(w1 * s + b1))
    mu2 = w2 * h + b2
    density1 = math.exp(-((h - mu1) ** 2) / (2 * var1)) / math.sqrt(2 * math.pi * var1)
    density2 = math.exp(-((a - mu2) ** 2) / (2 * var2)) / math.sqrt(2 * math.pi * var2)
    settings = make_settings((1, 1, 1), var=(var1, var2))
    state = new_state([[[w1]], [[w2]]], [[b1], [b2]])
    H = [np.array([s]), np.array([h]), np.array([a])]
    assert_allclose(energy(settings, state, H), -math.log(density1 * density2), rtol=1e-14)


def test_energy_with_a_softmax_output_is_the_written_out_formula_with_p_over_T() -> None:
    s, h, T = 0.7, 1.3, 4.0
    w1, b1, var1 = 0.9, -0.2, 0.25
    mu1 = math.log(1.0 + math.exp(w1 * s + b1))
    density1 = math.exp(-((h - mu1) ** 2) / (2 * var1)) / math.sqrt(2 * math.pi * var1)
    x, y = (1.1 * h + 0.3) / T, (-2.0 * h + 0.5) / T
    probability = math.exp(y) / (math.exp(x) + math.exp(y))
    settings = make_settings((1, 1, 2), "softmax", var=(var1,), T=T)
    state = new_state([[[w1]], [[1.1], [-2.0]]], [[b1], [0.3, 0.5]])
    H = [np.array([s]), np.array([h]), np.array([0.0, 1.0])]
    assert_allclose(energy(settings, state, H), -math.log(density1 * probability), rtol=1e-14)


def test_the_outcome_is_the_first_whose_cumulative_probability_exceeds_the_uniform_number() -> None:
    # p / T = log(0.2, 0.5, 0.3): cumulative probabilities 0.2, 0.7, 1.
    settings = make_settings((1, 3), "softmax", T=2.0)
    state = new_state([np.zeros((3, 1))], [2.0 * np.log([0.2, 0.5, 0.3])])
    expected = {1e-9: 0, 0.199: 0, 0.201: 1, 0.699: 1, 0.701: 2, 1.0 - 1e-16: 2}
    for u, outcome in expected.items():
        forward = feed_forward(settings, state, [0.0], [u])
        assert_array_equal(forward.H[-1], np.eye(3)[outcome])
        assert_allclose(forward.mu[-1], [0.2, 0.5, 0.3], rtol=1e-14)


def test_a_gaussian_layer_is_its_mean_plus_its_standard_deviation_times_the_noise() -> None:
    settings = make_settings((2, 2, 1), activation="linear", var=(0.25, 4.0))
    state = new_state([[[1.0, 2.0], [0.0, -1.0]], [[3.0, 1.0]]], [[0.5, 0.0], [-1.0]])
    # mu1 = (1 + 4 + 0.5, -2) = (5.5, -2), H1 = mu1 + 0.5 (1, -2) = (6, -3),
    # mu2 = 18 - 3 - 1 = 14, H2 = 14 + 2 * 0.5 = 15.
    forward = feed_forward(settings, state, [1.0, 2.0], [[1.0, -2.0], [0.5]])
    assert_allclose(forward.mu[0], [5.5, -2.0])
    assert_allclose(forward.H[1], [6.0, -3.0])
    assert_allclose(forward.mu[1], [14.0])
    assert_allclose(forward.H[2], [15.0])


# --- hand-worked examples ------------------------------------------------------------------------


def hand_worked_team(**changes: Any) -> tuple[Settings, State]:
    """One input, two relu units of which the second is silent, one Gaussian output."""
    settings = make_settings(
        (1, 2, 1), activation="relu", var=(0.5, 0.25), N=1, gamma=0.5, lambda_=0.5, **changes
    )
    return settings, new_state([[[2.0], [-1.0]], [[1.0, 2.0]]], [[0.0, 0.0], [-1.0]])


def hand_worked_forward(settings: Settings, state: State) -> list[Array]:
    """The pass of the example: S = 1, sampled H1 = (2.5, 0.25), A = 3."""
    # p1 = (2, -1), mu1 = (2, 0), slope1 = (1, 0); the noise puts H1 at mu1 + (0.5, 0.25).
    # mu2 = 2.5 + 2 * 0.25 - 1 = 2, standard deviation 0.5, so noise 2 gives A = 3.
    noise = [np.array([0.5, 0.25]) / math.sqrt(0.5), np.array([2.0])]
    return feed_forward(settings, state, [1.0], noise).H


def test_hand_worked_iteration_with_a_silent_unit() -> None:
    settings, state = hand_worked_team()
    H = hand_worked_forward(settings, state)
    assert_allclose(H[1], [2.5, 0.25])
    assert_allclose(H[2], [3.0])

    # Relax: e2 = 3 - 2 = 1, g2 = 1 / 0.25 = 4, alpha_h = 0.5 * 0.5 = 0.25.
    # H1[0] += 0.25 * (-(2.5 - 2) / 0.5 + 1 * 4) = 0.25 * (-1 + 4)    = 0.75
    # H1[1] += 0.25 * (-(0.25 - 0) / 0.5 + 2 * 4) = 0.25 * (-0.5 + 8) = 1.875
    H = relax(settings, state, H)
    assert_allclose(H[1], [3.25, 2.125])

    # Accumulate: g1 = ((3.25 - 2) * 1, (2.125 - 0) * 0) / 0.5 = (2.5, 0), times S = 1.
    # mu2 = 3.25 + 2 * 2.125 - 1 = 6.5, g2 = (3 - 6.5) / 0.25 = -14, times H1.
    accumulate(settings, state, H)
    assert_allclose(state.zW[0], [[2.5], [0.0]])
    assert_allclose(state.zb[0], [2.5, 0.0])
    assert_allclose(state.zW[1], [[-45.5, -29.75]])
    assert_allclose(state.zb[1], [-14.0])

    # The same gradient once more: z = 0.5 * 0.5 * z + gradient = 1.25 gradients.
    accumulate(settings, state, H)
    assert_allclose(state.zW[0], [[3.125], [0.0]])
    assert_allclose(state.zb[1], [-17.5])


def test_hand_worked_gate_divides_every_layer_by_the_error_after_the_relaxation() -> None:
    settings, state = hand_worked_team(gated=True)
    H = relax(settings, state, hand_worked_forward(settings, state))
    # A - mu is 3 - 6.5 = -3.5 after the relaxation (it was +1 before).
    accumulate(settings, state, H)
    assert_allclose(state.zW[0], [[2.5 / -3.5], [0.0]])
    assert_allclose(state.zb[0], [2.5 / -3.5, 0.0])
    assert_allclose(state.zW[1], [[13.0, 8.5]])
    assert_allclose(state.zb[1], [4.0])  # 1 / var[L], whatever A was


def test_hand_worked_softmax_packet_divides_by_the_temperature() -> None:
    # p / T = (log 3, 0): probabilities 3/4 and 1/4; u = 0.8 picks the second outcome.
    # g = (0 - 3/4, 1 - 1/4) / 2.
    settings = make_settings((1, 2), "softmax", T=2.0)
    state = new_state([[[2.0 * math.log(3.0)], [0.0]]], [[0.0, 0.0]])
    forward = feed_forward(settings, state, [1.0], [0.8])
    assert_array_equal(forward.H[-1], [0.0, 1.0])
    dW, db = gradients(settings, state, forward.H)
    assert_allclose(db[0], [-0.375, 0.375])
    assert_allclose(dW[0], [[-0.375], [0.375]])


def test_a_stale_first_step_uses_old_means_and_slopes_with_new_feedback_weights() -> None:
    settings, state = hand_worked_team(stale_first_mean=True)
    noise = [np.array([0.5, 0.25]) / math.sqrt(0.5), np.array([2.0])]
    forward = feed_forward(settings, state, [1.0], noise)
    # After the pass, unit 1 falls silent, the output's weights are (3, -1) and its bias is 7.
    state.W[0][...] = [[-5.0], [-1.0]]
    state.W[1][...] = [[3.0, -1.0]]
    state.b[1][...] = 7.0
    # Old: mu1 = (2, 0), g2 = 4. H1 += 0.25 * (-1 + 3 * 4, -0.5 - 1 * 4) = (2.75, -1.125).
    assert_allclose(relax(settings, state, forward.H, forward)[1], [5.25, -0.875])
    # New: mu1 = (0, 0), mu2 = 7.5 - 0.25 + 7 = 14.25, g2 = (3 - 14.25) / 0.25 = -45.
    # H1 += 0.25 * (-5 - 3 * 45, -0.5 + 45) = (-35, 11.125).
    fresh = replace(settings, stale_first_mean=False)
    assert_allclose(relax(fresh, state, forward.H, forward)[1], [-32.5, 11.375])
    # Only the first step is stale.
    second = relax(replace(settings, N=2), state, forward.H, forward)
    first = relax(settings, state, forward.H, forward)
    assert_same(relax(fresh, state, first), second)


@both_outputs
def test_without_an_update_in_between_a_stale_first_step_changes_nothing(output: str) -> None:
    rng = np.random.default_rng(5)
    settings = make_settings(output=output, stale_first_mean=True)
    state = random_state(settings, rng)
    S, noise = rng.normal(size=3), random_noise(settings, rng)
    forward = feed_forward(settings, state, S, noise)
    stale = relax(settings, state, forward.H, forward)
    assert_same(relax(replace(settings, stale_first_mean=False), state, forward.H), stale)


def test_a_stale_first_step_without_the_forward_pass_is_refused() -> None:
    settings, state = hand_worked_team(stale_first_mean=True)
    with pytest.raises(ValueError, match="feed-forward"):
        relax(settings, state, hand_worked_forward(settings, state))


@pytest.mark.parametrize(
    ("error", "gate_floor", "expected"),
    [
        (0.5, 0.1, 2.0),
        (-0.5, 0.1, -2.0),
        (0.001, 0.1, 20.0),  # the floor is 0.1 standard deviations of 0.5
        (-0.001, 0.1, -20.0),
        (0.0, 0.1, 20.0),
        (0.0, 0.0, 1.0 / np.finfo(float).tiny),
    ],
)
def test_the_gate_keeps_its_sign_and_stays_finite(
    error: float, gate_floor: float, expected: float
) -> None:
    settings = make_settings((1, 1), var=(0.25,), gated=True, gate_floor=gate_floor)
    state = new_state([[[0.0]]], [[0.0]])
    H = [np.array([0.0]), np.array([error])]
    assert_allclose(gate(settings, state, H), expected, rtol=1e-14)


# --- the theorems --------------------------------------------------------------------------------


def softmax_example() -> tuple[Settings, State, float]:
    """One hidden unit and three outcomes: everything about it is a one-dimensional integral."""
    settings = make_settings((1, 1, 3), "softmax", var=(0.4,), T=1.5)
    state = new_state([[[0.8]], [[1.0], [-0.7], [0.4]]], [[-0.3], [0.2, 0.1, -0.5]])
    return settings, state, 0.9


def gauss_hermite(nodes: int = 80) -> tuple[Array, Array]:
    """Points and weights that integrate against the standard normal density."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return points, weights / math.sqrt(2.0 * math.pi)


def outcome_probability(state: State, settings: Settings, s: float, a: int) -> float:
    """``Pr(A = a | S = s)`` of the example, with the hidden unit integrated out."""
    points, weights = gauss_hermite()
    h = np.log1p(np.exp(state.W[0][0, 0] * s + state.b[0][0]))
    h = h + math.sqrt(settings.var[0]) * points
    x = np.exp((np.outer(state.W[1][:, 0], h) + state.b[1][:, None]) / settings.T)
    return float(np.sum(weights * x[a] / x.sum(axis=0)))


def parameters(state: State) -> list[Array]:
    """All arrays of weights and biases."""
    return [*state.W, *state.b]


def all_gradients(settings: Settings, state: State, H: Sequence[Array]) -> Array:
    """Local gradients of all parameters in one vector, in the order of ``parameters``."""
    dW, db = gradients(settings, state, H)
    return np.concatenate([x.ravel() for x in (*dW, *db)])


def test_theorem_1_the_local_gradients_average_to_the_gradient_of_the_expected_return() -> None:
    settings, state, s = softmax_example()
    G = np.array([1.0, -2.0, 0.5])
    points, weights = gauss_hermite()
    local = np.zeros(sum(x.size for x in parameters(state)))
    for point, weight in zip(points, weights, strict=True):
        forward = feed_forward(settings, state, [s], [[point], 0.5])
        for a, probability in enumerate(forward.mu[-1]):
            H = [*forward.H[:-1], np.eye(3)[a]]
            local += weight * probability * G[a] * all_gradients(settings, state, H)

    def expected_return() -> float:
        return sum(float(G[a]) * outcome_probability(state, settings, s, a) for a in range(3))

    exact = [central_difference(expected_return, x).ravel() for x in parameters(state)]
    assert_allclose(local, np.concatenate(exact), rtol=1e-7, atol=1e-9)


def test_b6_conditioning_on_the_action_gives_its_score_and_lowers_the_variance() -> None:
    settings, state, s = softmax_example()
    G = np.array([1.0, -2.0, 0.5])
    points, weights = gauss_hermite()
    size = sum(x.size for x in parameters(state))
    square, conditional = np.zeros(size), np.zeros((3, size))
    for point, weight in zip(points, weights, strict=True):
        forward = feed_forward(settings, state, [s], [[point], 0.5])
        for a, probability in enumerate(forward.mu[-1]):
            gradient = all_gradients(settings, state, [*forward.H[:-1], np.eye(3)[a]])
            square += weight * probability * (G[a] * gradient) ** 2
            conditional[a] += weight * probability * gradient
    square_conditional = np.zeros(size)
    for a in range(3):
        probability = outcome_probability(state, settings, s, a)
        conditional[a] /= probability
        square_conditional += probability * (G[a] * conditional[a]) ** 2

        def log_probability(a: int = a) -> float:
            return math.log(outcome_probability(state, settings, s, a))

        score = [central_difference(log_probability, x).ravel() for x in parameters(state)]
        assert_allclose(conditional[a], np.concatenate(score), rtol=1e-7, atol=1e-9)
    # Both estimates have the same mean, so comparing second moments compares variances. The
    # biases of the output depend on the hidden unit too, so every variance drops.
    assert np.all(square_conditional < square)


def complex_activation(name: str, p: Array) -> Array:
    """Hidden means in a form that also takes complex numbers."""
    forms: dict[str, Callable[[Array], Array]] = {
        "softplus": lambda x: np.log(1.0 + np.exp(x)),
        "tanh": np.tanh,
        "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
        "linear": lambda x: x,
    }
    return forms[name](p)


def last_potential(
    settings: Settings, W: Sequence[Array], b: Sequence[Array], S: Array, z: Sequence[Array]
) -> Array:
    """p[L] of the re-parameterised network ``h[l] = f(W[l] h[l-1] + b[l]) + sqrt(var[l]) z[l]``."""
    h = S
    for i in range(settings.L - 1):
        mean = complex_activation(settings.activations[i], W[i] @ h + b[i])
        h = mean + math.sqrt(settings.var[i]) * z[i]
    return W[-1] @ h + b[-1]


def complex_step(
    f: Callable[[list[Array], list[Array]], complex], state: State
) -> tuple[list[Array], list[Array]]:
    """Derivatives of f(W, b) for all weights and biases, exact to rounding."""
    W = [w.astype(complex) for w in state.W]
    b = [x.astype(complex) for x in state.b]
    derivatives = []
    for arrays in (W, b):
        per_layer = []
        for x in arrays:
            derivative = np.empty(x.shape)
            for index in np.ndindex(x.shape):
                x[index] += 1e-30j
                derivative[index] = complex(f(W, b)).imag / 1e-30
                x[index] = x[index].real
            per_layer.append(derivative)
        derivatives.append(per_layer)
    return derivatives[0], derivatives[1]


def noise_behind(settings: Settings, state: State, H: Sequence[Array]) -> list[Array]:
    """The z of the re-parameterisation that puts the hidden layers at H."""
    z = []
    for i in range(settings.L - 1):
        mean = complex_activation(settings.activations[i], state.W[i] @ H[i] + state.b[i])
        z.append((H[i + 1] - mean) / math.sqrt(settings.var[i]))
    return z


smooth_activations = pytest.mark.parametrize(
    "activation", ["softplus", "tanh", "sigmoid", "linear"]
)


@both_outputs
@smooth_activations
def test_theorem_2_at_a_stationary_point_the_local_gradients_are_those_of_backprop(
    activation: str, output: str
) -> None:
    rng = np.random.default_rng(6)
    settings = make_settings((3, 5, 4, 3, 2), output, activation)
    state = random_state(settings, rng)
    H = stationary_point(settings, state, sample(settings, state, rng))
    z = noise_behind(settings, state, H)

    def log_pi_L(W: list[Array], b: list[Array]) -> complex:
        p = last_potential(settings, W, b, H[0], z)
        if output == "softmax":
            return complex(np.sum(H[-1] * p / settings.T) - np.log(np.sum(np.exp(p / settings.T))))
        return complex(np.sum(-((H[-1] - p) ** 2)) / (2.0 * settings.var[-1]))

    dW, db = gradients(settings, state, H)
    backprop_W, backprop_b = complex_step(log_pi_L, state)
    for i in range(settings.L):
        assert np.max(np.abs(dW[i])) > 1e-4
        assert_allclose(dW[i], backprop_W[i], rtol=1e-9, atol=1e-11)
        assert_allclose(db[i], backprop_b[i], rtol=1e-9, atol=1e-11)


def test_theorem_2_does_not_hold_away_from_the_stationary_point() -> None:
    rng = np.random.default_rng(7)
    settings = make_settings((3, 5, 2))
    state = random_state(settings, rng)
    H = sample(settings, state, rng)
    z = noise_behind(settings, state, H)

    def log_pi_L(W: list[Array], b: list[Array]) -> complex:
        p = last_potential(settings, W, b, H[0], z)
        return complex(np.sum(-((H[-1] - p) ** 2)) / (2.0 * settings.var[-1]))

    dW, _ = gradients(settings, state, H)
    backprop_W, _ = complex_step(log_pi_L, state)
    assert np.max(np.abs(dW[0] - backprop_W[0])) > 0.1
    assert_allclose(dW[-1], backprop_W[-1], rtol=1e-9, atol=1e-11)


@smooth_activations
def test_theorem_3_the_gated_rule_is_gradient_descent_on_the_squared_error_over_2_var(
    activation: str,
) -> None:
    rng = np.random.default_rng(8)
    settings = make_settings((3, 5, 4, 1), activation=activation, gated=True)
    state = random_state(settings, rng)
    H = stationary_point(settings, state, sample(settings, state, rng))
    z = noise_behind(settings, state, H)
    target = 0.37

    def negative_squared_error(W: list[Array], b: list[Array]) -> complex:
        return complex(-((target - last_potential(settings, W, b, H[0], z)[0]) ** 2))

    mu = (state.W[-1] @ H[-2] + state.b[-1])[0]
    accumulate(settings, state, H)  # z starts at zero: the gated gradient
    backprop_W, backprop_b = complex_step(negative_squared_error, state)
    scale = 2.0 * settings.var[-1]
    for i in range(settings.L):
        assert np.max(np.abs(backprop_W[i])) > 1e-4
        gated_W, gated_b = (target - mu) * state.zW[i], (target - mu) * state.zb[i]
        assert_allclose(scale * gated_W, backprop_W[i], rtol=1e-9, atol=1e-11)
        assert_allclose(scale * gated_b, backprop_b[i], rtol=1e-9, atol=1e-11)


# --- Adam and annealing --------------------------------------------------------------------------


def state_with_traces(settings: Settings, rng: np.random.Generator) -> State:
    """Random weights and traces bounded away from zero."""
    state = random_state(settings, rng)
    for z in (*state.zW, *state.zb):
        z[...] = rng.uniform(0.5, 2.0, z.shape) * rng.choice([-1.0, 1.0], z.shape)
    return state


@pytest.mark.parametrize("td_error", [3.0, -0.2])
def test_adams_first_update_moves_every_parameter_by_its_layers_alpha(td_error: float) -> None:
    rng = np.random.default_rng(9)
    settings = make_settings(epsilon=1e-12)
    state = state_with_traces(settings, rng)
    old_W, old_b = [w.copy() for w in state.W], [x.copy() for x in state.b]
    reinforce(settings, state, td_error, 0)
    for i, alpha in enumerate(settings.alpha):
        up_W, up_b = np.sign(td_error * state.zW[i]), np.sign(td_error * state.zb[i])
        assert_allclose(state.W[i] - old_W[i], alpha * up_W, rtol=1e-9)
        assert_allclose(state.b[i] - old_b[i], alpha * up_b, rtol=1e-9)
    assert state.updates == 1


def test_adam_follows_the_written_out_sums_over_past_gradients() -> None:
    # m_hat and v_hat are weighted means of all past gradients and their squares.
    settings = make_settings((1, 1), alpha=(0.1,), epsilon=1e-3)
    state = new_state([[[0.0]]], [[0.0]])
    td_errors = [1.0, -2.0, 0.5, 0.0, 3.0]
    w = 0.0
    for t, td_error in enumerate(td_errors, start=1):
        state.zW[0][...] = 2.0
        reinforce(settings, state, td_error, 0)
        past = np.array([2.0 * x for x in td_errors[:t]])
        first = 0.9 ** np.arange(t)[::-1]
        second = 0.999 ** np.arange(t)[::-1]
        m_hat = np.sum(first * past) / np.sum(first)
        v_hat = np.sum(second * past**2) / np.sum(second)
        w += 0.1 * m_hat / (math.sqrt(v_hat) + 1e-3)
        assert_allclose(state.W[0], [[w]], rtol=1e-12)
        assert_allclose(state.b[0], [0.0])


def test_bias_correction_stops_at_the_named_update_and_the_step_grows_by_a_quarter_there() -> None:
    settings = make_settings((1, 1), alpha=(1e-3,), epsilon=1e-12, bias_correction_until=1000)
    state = new_state([[[0.0]]], [[0.0]])
    state.zW[0][...] = 0.3
    steps = []
    for _ in range(1001):
        old = float(state.W[0][0, 0])
        reinforce(settings, state, 1.0, 0)
        steps.append(float(state.W[0][0, 0]) - old)
    # A constant gradient: alpha with the correction, alpha (1 - b1^t) / sqrt(1 - b2^t) without.
    assert_allclose(steps[:999], 1e-3, rtol=1e-8)
    assert_allclose(steps[999], 1e-3 / math.sqrt(1.0 - 0.999**1000), rtol=1e-8)
    assert 1.25 < steps[999] / steps[998] < 1.27


def test_alpha_falls_linearly_to_its_fraction_and_stays_there() -> None:
    settings = make_settings(anneal_to=(0.1, 1.0, 0.01), anneal_steps=1000)
    assert_allclose([annealed_alpha(settings, k, 0) for k in (1, 2, 3)], [0.05, 0.02, 0.01])
    assert_allclose([annealed_alpha(settings, k, 500) for k in (1, 2, 3)], [0.0275, 0.02, 0.00505])
    for late in (1000, 123456):
        assert_allclose([annealed_alpha(settings, k, late) for k in (1, 2, 3)], [5e-3, 0.02, 1e-4])
    never = replace(settings, anneal_steps=math.inf)
    assert annealed_alpha(never, 1, 10**9) == 0.05


# --- actor and critic together -------------------------------------------------------------------


def make_agent(
    seed: int = 10,
    actor_changes: dict[str, Any] | None = None,
    critic_changes: dict[str, Any] | None = None,
    **options: Any,
) -> Agent:
    """A small agent with a softmax actor and a gated critic."""
    rng = np.random.default_rng(seed)
    actor = make_settings((3, 5, 4, 2), "softmax", **(actor_changes or {}))
    critic = make_settings((3, 5, 4, 1), gated=True, gate_floor=0.1, **(critic_changes or {}))
    states = random_state(actor, rng), random_state(critic, rng)
    return Agent(actor, critic, *states, **options)


class Driver:
    """Feeds an agent random states and noise, the same for the same seed."""

    def __init__(self, agent: Agent, seed: int = 11) -> None:
        self.agent = agent
        self.rng = np.random.default_rng(seed)

    def inputs(self) -> tuple[Array, list[Array | float], list[Array | float]]:
        return (
            self.rng.normal(size=3),
            random_noise(self.agent.actor, self.rng),
            random_noise(self.agent.critic, self.rng),
        )

    def step(self, reward: float | None = None) -> Array:
        return self.agent.step(*self.inputs(), reward)

    def end(self, reward: float, terminated: bool) -> None:
        S, noise_actor, noise_critic = self.inputs()
        self.agent.end(S, reward, terminated, noise_actor, noise_critic)


def weights(agent: Agent) -> list[Array]:
    """Copies of all parameters of both teams."""
    return [x.copy() for x in parameters(agent.actor_state) + parameters(agent.critic_state)]


def critic_mean(agent: Agent, H: Sequence[Array]) -> float:
    """Mean of the critic's output given its last hidden layer, with the weights as they are."""
    return float((agent.critic_state.W[-1] @ H[-2] + agent.critic_state.b[-1])[0])


def test_the_first_step_of_an_episode_clears_the_traces_and_updates_nothing() -> None:
    agent = make_agent()
    driver = Driver(agent)
    driver.step()
    driver.step(1.0)
    old = weights(agent)
    driver.step()
    assert_same(old, weights(agent))
    assert agent.actor_state.updates == 1
    # Traces of one gradient only: the one of this step.
    dW, db = gradients(agent.actor, agent.actor_state, agent.actor_H)
    assert_same(dW, agent.actor_state.zW)
    assert_same(db, agent.actor_state.zb)
    dW, db = gradients(agent.critic, agent.critic_state, agent.critic_H)
    factor = gate(agent.critic, agent.critic_state, agent.critic_H)
    assert_same([factor * x for x in (*dW, *db)], [*agent.critic_state.zW, *agent.critic_state.zb])


def test_value_is_the_mean_given_the_sampled_layers_before_update_and_relaxation() -> None:
    agent = make_agent()
    driver = Driver(agent)
    driver.step()
    S, noise_actor, noise_critic = driver.inputs()
    h = S
    for i in range(2):
        mean = np.log1p(np.exp(agent.critic_state.W[i] @ h + agent.critic_state.b[i]))
        h = mean + math.sqrt(agent.critic.var[i]) * np.asarray(noise_critic[i])
    expected = (agent.critic_state.W[2] @ h + agent.critic_state.b[2])[0]
    agent.step(S, noise_actor, noise_critic, 1.0)
    assert_allclose(agent.value, expected, rtol=1e-13)
    assert critic_mean(agent, agent.critic_H_sampled) != agent.value  # the weights have moved
    assert_allclose(agent.critic_H_sampled[2], h, rtol=1e-13)


def test_td_error_is_reward_plus_discounted_next_mean_minus_the_stored_mean() -> None:
    agent = make_agent()
    driver = Driver(agent)
    driver.step()
    assert agent.td_error == 0.0
    for reward in (1.0, -0.5, 7.0):
        old_value = agent.value
        driver.step(reward)
        assert_allclose(agent.td_error, reward + 0.9 * agent.value - old_value, rtol=1e-14)


def test_an_iteration_updates_before_it_relaxes_and_accumulates_after() -> None:
    agent, twin = make_agent(), make_agent()
    driver, twin_driver = Driver(agent), Driver(twin)
    driver.step()
    twin_driver.step()
    driver.step(1.0)
    S, noise_actor, noise_critic = twin_driver.inputs()
    pairs = [
        (twin.actor, twin.actor_state, noise_actor, agent.actor_state, agent.actor_H),
        (twin.critic, twin.critic_state, noise_critic, agent.critic_state, agent.critic_H),
    ]
    for settings, state, noise, result, H_result in pairs:
        H = feed_forward(settings, state, S, noise).H
        reinforce(settings, state, agent.td_error, 1)
        H = relax(settings, state, H)
        accumulate(settings, state, H)
        assert_same(H, H_result)
        assert_same(snapshot(state), snapshot(result))


def test_the_terminal_transition_learns_from_reward_minus_value_without_an_iteration() -> None:
    agent = make_agent()
    driver = Driver(agent)
    driver.step()
    driver.step(1.0)
    old, value, H = weights(agent), agent.value, agent.actor_H
    traces = [z.copy() for z in agent.actor_state.zW]
    driver.end(2.5, terminated=True)
    assert_allclose(agent.td_error, 2.5 - value, rtol=1e-14)
    assert agent.steps == 2
    assert agent.actor_state.updates == agent.critic_state.updates == 2
    assert all(np.any(x != y) for x, y in zip(old, weights(agent), strict=True))
    assert_same(traces, agent.actor_state.zW)
    assert agent.actor_H is H


def test_a_truncated_episode_bootstraps_from_its_last_state() -> None:
    agent, twin = make_agent(), make_agent()
    driver, twin_driver = Driver(agent), Driver(twin)
    for each in (driver, twin_driver):
        each.step()
        each.step(1.0)
    driver.end(2.5, terminated=False)
    twin_driver.step(2.5)  # bootstraps from the same state with the same noise
    assert agent.td_error == twin.td_error
    assert_same(weights(twin), weights(agent))
    assert (agent.steps, twin.steps) == (2, 3)


def test_truncation_zero_gives_no_error_but_momentum_still_moves_the_weights() -> None:
    agent = make_agent(truncation="zero")
    driver = Driver(agent)
    driver.step()
    driver.step(1.0)
    old = weights(agent)
    driver.end(2.5, terminated=False)
    assert agent.td_error == 0.0
    assert all(np.any(x != y) for x, y in zip(old, weights(agent), strict=True))
    driver.step()
    value = agent.value
    driver.end(2.5, terminated=True)  # a terminal state is one, whatever the truncation rule
    assert_allclose(agent.td_error, 2.5 - value, rtol=1e-14)


def test_a_terminal_iteration_adds_one_iteration_with_the_terminal_td_error() -> None:
    agent, twin = make_agent(terminal_iteration=True), make_agent()
    driver, twin_driver = Driver(agent), Driver(twin)
    for each in (driver, twin_driver):
        each.step()
        each.step(1.0)
    value, old_H = agent.value, agent.actor_H
    driver.end(2.5, terminated=True)
    twin_driver.end(2.5, terminated=True)
    assert_allclose(agent.td_error, 2.5 - value, rtol=1e-14)
    assert_same(weights(twin), weights(agent))
    assert (agent.steps, twin.steps) == (3, 2)
    assert agent.actor_H is not old_H
    # The iteration's own gradient is in the trace; without it the trace is as it was.
    dW, _ = gradients(agent.actor, agent.actor_state, agent.actor_H)
    for z, old_z, gradient in zip(agent.actor_state.zW, twin.actor_state.zW, dW, strict=True):
        assert_allclose(z, 0.9 * 0.8 * old_z + gradient, rtol=1e-13)


def test_a_truncated_terminal_iteration_bootstraps_from_its_own_pass() -> None:
    agent, twin = make_agent(terminal_iteration=True), make_agent()
    driver, twin_driver = Driver(agent), Driver(twin)
    for each in (driver, twin_driver):
        each.step()
    driver.end(2.5, terminated=False)
    twin_driver.step(2.5)
    assert agent.td_error == twin.td_error
    assert_same(snapshot(twin.actor_state), snapshot(agent.actor_state))
    assert_same(snapshot(twin.critic_state), snapshot(agent.critic_state))
    assert agent.steps == twin.steps == 2


def test_an_update_at_reset_lets_momentum_move_the_weights_and_counts_as_an_update() -> None:
    agent = make_agent(update_at_reset=True)
    driver = Driver(agent)
    old = weights(agent)
    driver.step()
    assert_same(old, weights(agent))  # no momentum yet
    assert agent.actor_state.updates == 1
    driver.step(1.0)
    old = weights(agent)
    driver.step()
    assert agent.td_error == 0.0
    assert agent.actor_state.updates == 3
    assert all(np.any(x != y) for x, y in zip(old, weights(agent), strict=True))


def test_rewards_are_clipped_on_both_sides_and_at_the_end_too() -> None:
    agent = make_agent(reward_bound=5.0)
    driver = Driver(agent)
    driver.step()
    for reward, bounded in ((100.0, 5.0), (-100.0, -5.0), (3.0, 3.0)):
        old_value = agent.value
        driver.step(reward)
        assert_allclose(agent.td_error, bounded + 0.9 * agent.value - old_value, rtol=1e-14)
    value = agent.value
    driver.end(100.0, terminated=True)
    assert_allclose(agent.td_error, 5.0 - value, rtol=1e-14)


def test_the_kth_iteration_of_the_run_is_annealed_by_k() -> None:
    # alpha falls to zero at k = 2: iteration 1 moves by half alpha, iterations from 2 on by none.
    annealing = {"anneal_to": (0.0, 0.0, 0.0), "anneal_steps": 2.0, "epsilon": 1e-12}
    agent = make_agent(actor_changes=annealing, critic_changes=annealing)
    driver = Driver(agent)
    driver.step()
    old = agent.actor_state.b[0].copy()
    driver.step(1.0)
    assert_allclose(np.abs(agent.actor_state.b[0] - old), 0.5 * 0.05, rtol=1e-6)
    frozen = weights(agent)
    driver.step(1.0)
    driver.end(1.0, terminated=True)
    driver.step()
    driver.step(1.0)
    assert_same(frozen, weights(agent))
    assert agent.steps == 5


def test_missing_noise_at_the_end_is_refused() -> None:
    agent = make_agent()
    Driver(agent).step()
    with pytest.raises(ValueError, match="noise"):
        agent.end([0.0, 0.0, 0.0], 1.0, terminated=False)
    agent.end([0.0, 0.0, 0.0], 1.0, terminated=True)
    agent.terminal_iteration = True
    with pytest.raises(ValueError, match="noise"):
        agent.end([0.0, 0.0, 0.0], 1.0, terminated=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": (3,)},
        {"output": "bernoulli"},
        {"activations": ("softplus",)},
        {"activations": ("softplus", "swish")},
        {"var": (0.1, 0.1)},
        {"alpha": (0.1,)},
        {"anneal_to": (0.1,)},
        {"gated": True},
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        make_settings(**changes)


def test_agents_that_contradict_themselves_are_refused() -> None:
    agent = make_agent()
    states = agent.actor_state, agent.critic_state
    with pytest.raises(ValueError, match="truncation"):
        Agent(agent.actor, agent.critic, *states, truncation="ignore")
    with pytest.raises(ValueError, match="gamma"):
        Agent(replace(agent.actor, gamma=0.5), agent.critic, *states)
    with pytest.raises(ValueError, match="critic"):
        Agent(agent.actor, agent.actor, *states)


# --- the NumPy baseline --------------------------------------------------------------------------


class Recorder:
    """Random numbers for the baseline, kept in the order in which they were drawn."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.drawn: list[Array | float] = []

    def standard_normal(self, size: int) -> Array:
        numbers = self.rng.standard_normal(size)
        self.drawn.append(numbers.copy())
        return numbers

    def random(self) -> float:
        number = self.rng.random()
        self.drawn.append(number)
        return number

    def take(self) -> list[Array | float]:
        """Everything drawn since the last call."""
        drawn, self.drawn = self.drawn, []
        return drawn


@pytest.mark.parametrize(
    ("hidden", "n_actions"), [((64, 32), 2), ((6,), 3), ((7, 6, 5), 2)], ids=["paper", "1", "3"]
)
def test_the_numpy_baseline_takes_the_same_steps(hidden: tuple[int, ...], n_actions: int) -> None:
    L = len(hidden) + 1
    var, alpha = (0.03, 0.1, 0.2)[: L - 1], (1e-2, 1e-3, 1e-4, 1e-5)[:L]
    noise = Recorder(12)
    baseline = NumpyAgent(
        4,
        hidden,
        n_actions,
        actor_alpha=alpha,
        actor_var=var,
        critic_alpha=alpha,
        critic_var=(*var, 0.1),
        anneal_steps=20,
        seed=13,
        noise=noise,
    )
    actor = Settings(
        sizes=(4, *hidden, n_actions),
        activations=("softplus",) * (L - 1),
        output="softmax",
        var=var,
        alpha=alpha,
        T=2.0,
        anneal_to=(0.1,) * L,
        anneal_steps=20,
        gamma=0.98,
        lambda_=0.95,
    )
    critic = replace(
        actor, sizes=(4, *hidden, 1), output="gaussian", var=(*var, 0.1), T=1.0, gated=True
    )
    agent = Agent(
        actor,
        critic,
        new_state(baseline.actor.W, baseline.actor.b),
        new_state(baseline.critic.W, baseline.critic.b),
    )

    def compare() -> None:
        for team, state in (
            (baseline.actor, agent.actor_state),
            (baseline.critic, agent.critic_state),
        ):
            for i in range(L):
                assert_allclose(team.W[i], state.W[i], rtol=1e-9, atol=1e-9)
                assert_allclose(team.b[i], state.b[i], rtol=1e-9, atol=1e-9)
                assert_allclose(team.zW[i], state.zW[i], rtol=1e-9, atol=1e-9)
                assert_allclose(team.zb[i], state.zb[i], rtol=1e-9, atol=1e-9)

    rng = np.random.default_rng(14)
    for terminated in (True, False, True):
        for k in range(8):
            S = rng.normal(size=4)
            action = baseline.begin(S) if k == 0 else baseline.step(S, 1.0)
            drawn = noise.take()
            A = agent.step(S, drawn[:L], drawn[L:], None if k == 0 else 1.0)
            assert A[action] == 1.0
            compare()
        S = rng.normal(size=4)
        baseline.end(S, 1.0, terminated)
        agent.end(S, 1.0, terminated, noise_critic=noise.take())
        compare()
    assert baseline.steps == agent.steps == 24
