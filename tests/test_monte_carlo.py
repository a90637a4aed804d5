"""Algorithm 1: the compiled batch against the paper in plain NumPy, calculus, and its theorems."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import oracle_monte_carlo as oracle
import pytest
import tomlkit
from bridge import MARGIN, Noise, proposals_of, state_of, values_of
from numpy.testing import assert_allclose, assert_array_equal
from oracle import ACTIVATIONS, Array, Settings, State
from test_theory import DIFFERENCES, THEOREM, derivative, reparameterised
from test_theory import backprop as complex_backprop

from neurosim import spec
from neurosim.errors import RunError
from neurosim.kernels import rng
from neurosim.learners import MonteCarlo
from neurosim.spec import MonteCarloSpec
from neurosim.tasks import Environment

# Adding n terms rounds by at most n 2**-53 of their size (Higham 2002, eq. 4.4). A layer adds 65
# terms at most and a batch 128 samples, which makes 2e-14; 1e-12 leaves a factor of 50 for the
# elementary functions (3 ulp) and for twenty relaxation steps, each of which takes over part of the
# rounding of the one before.
TOLERANCE = 1e-12

SHIPPED = [name for name in spec.names() if name.startswith(("multiplexer/", "regression/"))]

SMALL: dict[str, Any] = {
    "description": "a small team",
    "task": {"id": "neurosim/Multiplexer-v0", "options": {"k": 1}},
    "batch": {"size": 6, "samples": 100_000, "signal": "reward"},
    "actor": {
        "rule": "map_prop",
        "units": [5, 4],
        "activation": ["softplus", "softplus"],
        "output": "softmax",
        "T": 2.0,
        "var": [0.3, 0.5],
        "alpha": [0.05, 0.02, 0.01],
        "N": 4,
        "step_size": 0.5,
    },
    "adam": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "bias_correction_until": math.inf},
}
# By name: what a rule or a task changes in the small model; None removes a key.
NO_RELAXATION = {"actor.N": None, "actor.step_size": None}
KINDS: dict[str, dict[str, Any]] = {
    "map_prop": {},
    "reinforce": {"actor.rule": "reinforce", **NO_RELAXATION},
    "thomas": {"actor.rule": "thomas", "actor.explore": 0.5, **NO_RELAXATION},
    "backprop": {"actor.rule": "backprop", "actor.var": None, **NO_RELAXATION},
}
GAUSSIAN: dict[str, Any] = {
    "task": {"id": "neurosim/ScalarRegression-v0"},
    "actor.output": "gaussian",
    "actor.T": None,
    "actor.var": [0.3, 0.5, 0.4],
}
KINDS |= {f"regression {name}": GAUSSIAN | KINDS[name] for name in ("map_prop", "thomas")}
KINDS["regression answers"] = GAUSSIAN | {"batch.signal": "answer", "actor.gate_floor": 0.01}
KINDS["regression coin"] = GAUSSIAN | {
    "batch.signal": "answer",
    "actor.action": "coin",
    "actor.gate_floor": 0.0,
}
CLIMBING = {"actor.relaxation": "hill_climbing", "actor.step_size": None, "actor.proposal": 0.3}
KINDS["climbing"] = CLIMBING | {"actor.N": 12}
KINDS["regression climbing"] = KINDS["regression answers"] | CLIMBING
KINDS["regression backprop"] = GAUSSIAN | KINDS["backprop"] | {"batch.signal": "answer"}


def small_model(changes: dict[str, Any]) -> MonteCarloSpec:
    """The small model with sections, or dotted keys, set to other values."""
    content = copy.deepcopy(SMALL)
    for path, value in changes.items():
        section, _, key = path.partition(".")
        if not key:
            content[section] = value
        elif value is None:
            content[section].pop(key, None)
        else:
            content[section][key] = value
    model = spec.parse(tomlkit.dumps(content), "small").spec
    assert isinstance(model, MonteCarloSpec)
    return model


def make(model: MonteCarloSpec, seed: int = 0) -> MonteCarlo:
    """A learner with its environment."""
    return MonteCarlo(model, Environment(model.task, model.actor.output), seed)


def settings_of(model: MonteCarloSpec, learner: MonteCarlo) -> Settings:
    """The oracle's constants of a model."""
    actor, gaussian = model.actor, model.actor.output == "gaussian"
    return Settings(
        sizes=tuple(int(n) for n in learner.actor.size),
        activations=tuple(actor.activation),
        output=actor.output,
        # backprop has no variances; the oracle wants some and its noise is zero
        var=tuple(actor.var or [1.0] * (len(actor.units) + gaussian)),
        alpha=tuple(actor.alpha),
        T=actor.T or 1.0,
        gamma=1.0,
        lambda_=1.0,
        N=actor.N or 0,
        step_size=actor.step_size or 1.0,
        proposal=actor.proposal or 0.0,
        gate_floor=actor.gate_floor or 0.0,
        beta1=model.adam.beta1,
        beta2=model.adam.beta2,
        epsilon=model.adam.epsilon,
        bias_correction_until=model.adam.bias_correction_until,
    )


def noise_of(settings: Settings, seed: int, number: int) -> Noise:
    """Noise of a sample's feed-forward pass, drawn as the documentation says: of (pass, unit)."""
    key, where = rng.mixed_key(seed), np.uint64(rng.NOISE)
    units = sum(settings.sizes[1:])
    flat = np.array([rng.normal(key, number, unit, where) for unit in range(units)])
    noise: Noise = [*np.split(flat, np.cumsum(settings.sizes[1:-1]))]
    if settings.output == "softmax":
        noise[-1] = rng.uniform(key, number, units - settings.sizes[-1], where)
    return noise


def explores_of(model: MonteCarloSpec, seed: int, number: int) -> Array | None:
    """Which hidden units explore at a sample; None where all do."""
    if model.actor.rule != "thomas":
        return None
    key, where = rng.mixed_key(seed), np.uint64(rng.EXPLORE)
    units = range(sum(model.actor.units))
    drawn = np.array([rng.uniform(key, number, unit, where) for unit in units])
    return (drawn < model.actor.explore).astype(float)


class Twins:
    """A learner of the package and the oracle, on the same samples and noise.

    The oracle begins each batch with a copy of the package's state.
    """

    def __init__(self, model: MonteCarloSpec, seed: int) -> None:
        self.model, self.seed = model, seed
        self.learner = make(model, seed)
        self.settings = settings_of(model, self.learner)
        self.samples = Environment(model.task, model.actor.output).samples

    def step(self) -> None:
        """One batch in both forms; they must agree."""
        model, learner, settings = self.model, self.learner, self.settings
        first, size = learner.samples, model.batch.size
        state = state_of(learner.actor)
        reward = learner.step()
        inputs, answers = self.samples.draw(rng.mixed_key(self.seed), first, size)
        forwards = []
        for k in range(size):
            noise = noise_of(settings, self.seed, first + k)
            explores = explores_of(model, self.seed, first + k)
            sample = (inputs[k], noise, 0.0)
            forwards.append(
                oracle.sample_forward(
                    settings, state, sample, model.actor.rule, explores, model.actor.action
                )
            )
        values = np.array([np.concatenate(forward.H) for forward in forwards])
        scale = np.max(np.abs(values))
        assert_allclose(learner.values, values, rtol=0, atol=TOLERANCE * scale)
        outputs = np.array([forward.H[-1] for forward in forwards])
        if settings.output == "softmax":
            rewards = np.where(np.argmax(outputs, axis=1) == answers, 1.0, -1.0)
        else:
            rewards = -((outputs[:, 0] - answers) ** 2)
        assert reward == pytest.approx(np.mean(rewards), rel=TOLERANCE)
        signals = answers.astype(float) if model.batch.signal == "answer" else rewards
        key = rng.mixed_key(self.seed)
        proposals = [proposals_of(learner.actor, settings, key, first + k) for k in range(size)]
        W, b, terms, margin = oracle.learn_batch(
            settings, state, forwards, signals, model.actor.rule, model.batch.signal, proposals
        )
        assert margin > MARGIN  # rounding cannot have turned a decision
        self._compare(state, [*W, *b], terms)

    def _compare(self, theirs: State, gradients: list[Array], terms: list[float]) -> None:
        ours, settings = state_of(self.learner.actor), self.settings
        assert ours.updates == theirs.updates
        assert all(np.any(gradient != 0.0) for gradient in gradients)
        beta1, beta2, t = settings.beta1, settings.beta2, ours.updates
        for i, alpha in enumerate(settings.alpha):
            size = TOLERANCE * terms[i]
            for w in ("W", "b"):
                m, v = getattr(ours, f"m{w}")[i], getattr(ours, f"v{w}")[i]
                m_size = size + TOLERANCE * np.abs(m).max()
                v_size = 2.0 * size * terms[i] + TOLERANCE * np.abs(v).max()
                assert_allclose(m, getattr(theirs, f"m{w}")[i], rtol=0, atol=m_size)
                assert_allclose(v, getattr(theirs, f"v{w}")[i], rtol=0, atol=v_size)
                # Adam divides by the gradient's size, rounding included: its step is checked from
                # the package's own moments.
                m_hat, v_hat = m / (1.0 - beta1**t), v / (1.0 - beta2**t)
                step = alpha * m_hat / (np.sqrt(v_hat) + settings.epsilon)
                before = getattr(self.before, w)[i]
                tolerance = TOLERANCE * (np.abs(before).max() + alpha)
                assert_allclose(getattr(ours, w)[i], before + step, rtol=0, atol=tolerance)

    @property
    def before(self) -> State:
        return self._before

    def run(self, batches: int) -> None:
        """Some batches."""
        for _ in range(batches):
            self._before = state_of(self.learner.actor)
            self.step()


# --- the oracle ----------------------------------------------------------------------------------


def test_each_batch_of_a_model_with_a_coin_is_the_oracles() -> None:
    model = spec.load("regression/map_prop_sl", {"actor.action": "coin"}).spec
    assert isinstance(model, MonteCarloSpec)
    Twins(model, seed=3).run(batches=2)


@pytest.mark.parametrize("name", SHIPPED)
def test_each_batch_of_a_shipped_model_is_the_oracles(name: str) -> None:
    model = spec.load(name).spec
    assert isinstance(model, MonteCarloSpec)
    Twins(model, seed=3).run(batches=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_batch_of_a_small_team_is_the_oracles(kind: str, activation: str) -> None:
    changes = {**KINDS[kind], "actor.activation": [activation, "softplus"]}
    Twins(small_model(changes), seed=5).run(batches=3)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 21])
@pytest.mark.parametrize("kind", ["map_prop", "regression answers"])
def test_batches_of_any_size_are_the_oracles(kind: str, size: int) -> None:
    """Samples relax eight at a time, and those that are left over."""
    Twins(small_model(KINDS[kind] | {"batch.size": size}), seed=5).run(batches=3)


@pytest.mark.parametrize("units", [[], [3], [4, 3, 5]])
@pytest.mark.parametrize("kind", ["map_prop", "backprop"])
def test_teams_of_any_depth_are_the_oracles(kind: str, units: list[int]) -> None:
    changes = KINDS[kind] | {
        "actor.units": units,
        "actor.activation": ["softplus"] * len(units),
        "actor.alpha": [0.01] * (len(units) + 1),
    }
    if kind == "map_prop":
        changes["actor.var"] = [0.4] * len(units)
    Twins(small_model(changes), seed=1).run(batches=2)


# --- rules ---------------------------------------------------------------------------------------


def bits_after(changes: dict[str, Any], batches: int = 5) -> Array:
    """Weights after some batches."""
    learner = make(small_model(changes))
    for _ in range(batches):
        learner.step()
    return learner.actor.w.copy()


def test_reinforce_is_map_propagation_without_relaxation_to_the_bit() -> None:
    assert_array_equal(bits_after(KINDS["reinforce"]), bits_after({"actor.N": 0}))
    assert np.any(bits_after(KINDS["reinforce"]) != bits_after({}))


def test_where_all_units_explore_the_rule_of_thomas_is_reinforce_to_the_bit() -> None:
    all_explore = KINDS["thomas"] | {"actor.explore": 1.0}
    assert_array_equal(bits_after(all_explore), bits_after(KINDS["reinforce"]))
    assert np.any(bits_after(KINDS["thomas"]) != bits_after(KINDS["reinforce"]))


def test_a_unit_that_does_not_explore_outputs_its_mean_and_is_not_updated() -> None:
    model = small_model(KINDS["thomas"] | {"batch.size": 1, "actor.explore": 0.5})
    seen = set()
    for seed in range(8):
        learner = make(model, seed)
        before = state_of(learner.actor)
        learner.step()
        H = values_of(learner.actor, learner.values[0])
        explores = explores_of(model, seed, 0)
        assert explores is not None
        for i, layer in enumerate(np.split(explores, [5])):
            p = before.W[i] @ H[i] + before.b[i]
            still = layer == 0.0
            mean = np.log1p(np.exp(p))
            # sums of six terms at most; the softplus is exact to 3 ulp
            assert_allclose(H[i + 1][still], mean[still], rtol=1e-14, atol=0)
            assert np.all(np.abs(H[i + 1] - mean)[~still] > 1e-9)
            after = state_of(learner.actor)
            moved = np.any(after.W[i] != before.W[i], axis=1)
            assert_array_equal(moved, ~still)
            assert_array_equal(after.b[i] != before.b[i], ~still)
            seen.update(layer)
    assert seen == {0.0, 1.0}


def test_units_explore_as_often_as_the_model_says_each_on_its_own() -> None:
    model = small_model(KINDS["thomas"] | {"batch.size": 4000, "actor.explore": 0.3})
    learner = make(model)
    w, b = state_of(learner.actor).W[0], state_of(learner.actor).b[0]
    learner.step()
    first = learner.values[:, :3] @ w.T + b
    explores = np.abs(learner.values[:, 3:8] - np.log1p(np.exp(first))) > 1e-12
    # 5 standard errors of a mean and of a correlation of 4000
    assert_allclose(explores.mean(axis=0), 0.3, rtol=0, atol=5 * math.sqrt(0.21 / 4000))
    correlation = np.corrcoef(explores.T.astype(float))[np.triu_indices(5, 1)]
    assert_allclose(correlation, 0.0, rtol=0, atol=5 / math.sqrt(4000))


def test_an_action_is_sampled_where_the_model_says_nothing_else() -> None:
    answers, coin = KINDS["regression answers"], KINDS["regression coin"]
    assert_array_equal(bits_after(answers | {"actor.action": "sampled"}), bits_after(answers))
    assert np.any(bits_after(coin) != bits_after(answers | {"actor.gate_floor": 0.0}))


def test_a_fair_coin_puts_the_action_a_standard_deviation_off_the_mean_without_noise() -> None:
    n = 4000
    model = small_model(KINDS["regression coin"] | {"batch.size": n})
    learner, without_coin = make(model), make(small_model(GAUSSIAN | {"batch.size": n}))
    state = state_of(learner.actor)
    learner.step()
    without_coin.step()
    h = learner.values[:, :8]
    assert_array_equal(h, without_coin.values[:, :8])  # the same inputs
    for i, layer in enumerate((slice(8, 13), slice(13, 17))):
        h = np.logaddexp(0.0, h @ state.W[i].T + state.b[i])
        # sums of nine terms at most; the softplus is exact to 3 ulp
        assert_allclose(learner.values[:, layer], h, rtol=1e-14, atol=0)
    e = learner.values[:, 17] - (h @ state.W[2].T + state.b[2])[:, 0]
    assert_allclose(np.abs(e), math.sqrt(0.4), rtol=0, atol=1e-13)
    # 5 standard errors of a mean, and of a correlation with the first input, of 4000
    assert abs(np.mean(e > 0.0) - 0.5) < 5 * 0.5 / math.sqrt(n)
    assert abs(np.corrcoef(e, learner.values[:, 0])[0, 1]) < 5 / math.sqrt(n)
    # the side is that of the noise which would be the output's
    noise = [noise_of(settings_of(model, learner), 0, k)[-1] for k in range(50)]
    assert_array_equal(e[:50] > 0.0, np.array(noise)[:, 0] > 0.0)


# --- calculus ------------------------------------------------------------------------------------


def gradient_of(learner: MonteCarlo) -> State:
    """The mean gradient of the first batch, in zW and zb; Adam is left to other tests."""
    learner.step()
    found = state_of(learner.actor)
    size = len(learner.values)
    for z in (*found.zW, *found.zb):
        z /= size
    return found


def actions_and_answers(learner: MonteCarlo, model: MonteCarloSpec, n: int) -> tuple[Array, ...]:
    """Inputs, outputs and answers of the first batch."""
    samples = Environment(model.task, model.actor.output).samples
    inputs, answers = samples.draw(rng.mixed_key(0), 0, n)
    outputs = learner.values[:, -int(learner.actor.size[-1]) :].copy()
    return inputs, outputs, np.asarray(answers, float)


def objective(
    settings: Settings, state: State, inputs: Array, outputs: Array, answers: Array
) -> float:
    """What backprop climbs, written as a function of the parameters of an ordinary network."""
    x = inputs
    for i in range(settings.L - 1):
        p = x @ state.W[i].T + state.b[i]
        x = p if settings.activations[i] == "linear" else np.logaddexp(0.0, p)
        x = np.tanh(p) if settings.activations[i] == "tanh" else x
    p = x @ state.W[-1].T + state.b[-1]
    if settings.output == "gaussian":
        return float(np.mean(-((answers - p[:, 0]) ** 2)))
    rewards = np.where(np.argmax(outputs, axis=1) == answers, 1.0, -1.0)
    p = p / settings.T
    log_pi = np.sum(outputs * p, axis=1) - np.log(np.sum(np.exp(p), axis=1))
    return float(np.mean(rewards * log_pi))


@pytest.mark.parametrize("kind", ["backprop", "regression backprop"])
@pytest.mark.parametrize("activation", ["softplus", "tanh", "linear"])
def test_backprop_is_the_derivative_of_the_mean_objective(kind: str, activation: str) -> None:
    model = small_model(KINDS[kind] | {"actor.activation": [activation, activation]})
    learner = make(model)
    state, settings = state_of(learner.actor), settings_of(model, learner)
    ours = gradient_of(learner)
    batch = actions_and_answers(learner, model, 6)

    def f() -> float:
        return objective(settings, state, *batch)

    for i in range(settings.L):
        assert np.max(np.abs(ours.zW[i])) > 1e-3
        assert_allclose(ours.zW[i], derivative(f, state.W[i]), rtol=0, atol=DIFFERENCES)
        assert_allclose(ours.zb[i], derivative(f, state.b[i]), rtol=0, atol=DIFFERENCES)


@pytest.mark.parametrize("name", ["multiplexer/backprop", "regression/backprop"])
def test_backprop_has_the_gradients_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch, the peer, is not installed")
    model = spec.load(name).spec
    assert isinstance(model, MonteCarloSpec)
    learner = make(model)
    state = state_of(learner.actor)
    ours = gradient_of(learner)
    inputs, outputs, answers = map(
        torch.from_numpy, actions_and_answers(learner, model, model.batch.size)
    )
    W = [torch.tensor(w, requires_grad=True) for w in state.W]
    b = [torch.tensor(x, requires_grad=True) for x in state.b]
    h = inputs
    for i in range(2):
        # threshold: PyTorch's softplus is the identity above it, 20 by default
        h = torch.nn.functional.softplus(h @ W[i].T + b[i], threshold=1e6)
    p = h @ W[2].T + b[2]
    if name.startswith("multiplexer"):
        rewards = torch.where(outputs.argmax(1) == answers, 1.0, -1.0)
        gain = (rewards * (torch.log_softmax(p, 1) * outputs).sum(1)).mean()
    else:
        gain = -((answers - p[:, 0]) ** 2).mean()
    gain.backward()
    for i in range(3):
        # both add 128 samples of sums of 65 terms: 1e-10 is a thousand times their rounding
        scale = float(np.max(np.abs(W[i].grad.numpy())))
        assert scale > 1e-4
        assert_allclose(ours.zW[i], W[i].grad.numpy(), rtol=0, atol=1e-10 * max(1.0, scale))
        assert_allclose(ours.zb[i], b[i].grad.numpy(), rtol=0, atol=1e-10 * max(1.0, scale))


def relaxed_to_the_end(changes: dict[str, Any]) -> tuple[MonteCarlo, MonteCarloSpec]:
    """A learner of one sample whose hidden units reach the stationary point."""
    model = small_model({**changes, "batch.size": 1, "actor.N": 3000, "actor.step_size": 0.1})
    return make(model), model


def test_theorem_2_a_relaxed_batch_learns_backprops_gradient_through_the_reparameterisation() -> (
    None
):
    learner, model = relaxed_to_the_end({})
    state, settings = state_of(learner.actor), settings_of(model, learner)
    ours = gradient_of(learner)
    _, outputs, answers = actions_and_answers(learner, model, 1)
    reward = 1.0 if outputs[0].argmax() == answers[0] else -1.0
    H = values_of(learner.actor, learner.actor.h)
    last_potential = reparameterised(settings, state, H)

    def gain(W: list[Array], b: list[Array]) -> complex:
        p = last_potential(W, b) / settings.T
        return complex(reward * (np.sum(H[-1] * p) - np.log(np.sum(np.exp(p)))))

    expected = complex_backprop(gain, state)
    for i in range(settings.L):
        assert np.max(np.abs(expected.W[i])) > 1e-4
        assert_allclose(ours.zW[i], expected.W[i], rtol=0, atol=THEOREM)
        assert_allclose(ours.zb[i], expected.b[i], rtol=0, atol=THEOREM)


@pytest.mark.parametrize("action", ["sampled", "coin"])
def test_theorem_3_a_relaxed_batch_descends_the_squared_error_up_to_two_variances(
    action: str,
) -> None:
    changes = KINDS["regression answers"] | {"actor.gate_floor": 0.0, "actor.action": action}
    learner, model = relaxed_to_the_end(changes)
    state, settings = state_of(learner.actor), settings_of(model, learner)
    ours = gradient_of(learner)
    _, _, answers = actions_and_answers(learner, model, 1)
    H = values_of(learner.actor, learner.actor.h)
    last_potential = reparameterised(settings, state, H)

    def gain(W: list[Array], b: list[Array]) -> complex:
        return complex(-((answers[0] - last_potential(W, b)[0]) ** 2))

    expected = complex_backprop(gain, state)
    mean = last_potential(state.W, state.b)[0]
    factor = 2.0 * settings.var[-1]
    # The gate multiplies the pull that is left over.
    tolerance = THEOREM * max(1.0, abs(answers[0] - mean) / abs(H[-1][0] - mean))
    for i in range(settings.L):
        assert np.max(np.abs(expected.W[i])) > 1e-4
        assert_allclose(factor * ours.zW[i], expected.W[i], rtol=0, atol=tolerance)
        assert_allclose(factor * ours.zb[i], expected.b[i], rtol=0, atol=tolerance)


def expected_reward(settings: Settings, state: State, explores: float) -> float:
    """Mean reward of a team with one hidden unit in the multiplexer with k = 1, by quadrature.

    explores : 1 if the hidden unit explores, 0 if it outputs its mean.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    total = 0.0
    for bits in np.ndindex(2, 2, 2):
        x = 2.0 * np.array(bits) - 1.0
        answer = bits[1 + bits[0]]
        mean = np.logaddexp(0.0, state.W[0] @ x + state.b[0])
        h = mean + explores * math.sqrt(settings.var[0]) * nodes
        p = (state.W[1] @ h[None, :] + state.b[1][:, None]) / settings.T
        pi = np.exp(p) / np.sum(np.exp(p), axis=0)
        total += float(np.sum(weights * (2.0 * pi[answer] - 1.0)) / np.sum(weights)) / 8.0
    return total


@pytest.mark.parametrize("explore", [1.0, 0.5])
def test_theorem_1_local_reinforce_follows_the_gradient_of_the_expected_reward(
    explore: float,
) -> None:
    # Exact expectations by quadrature and differences. With probability 1 - explore the hidden
    # unit outputs its mean; then its own weights learn nothing, the output's do.
    changes = KINDS["thomas"] | {
        "batch.size": 4096,
        "actor.explore": explore,
        "actor.units": [1],
        "actor.activation": ["softplus"],
        "actor.var": [0.6],
        "actor.alpha": [0.0, 0.0],  # the weights stay, batch after batch
    }
    model = small_model(changes)
    learner = make(model)
    learner.actor.w[:] = [0.9, -0.4, 0.7, 0.3, 1.5, -1.1, 0.2, -0.1]
    learner.restore(copy.deepcopy(learner.state()))
    state, settings = state_of(learner.actor), settings_of(model, learner)
    found = [gradient_of(learner) for _ in range(32)]
    for i, w in ((0, "W"), (0, "b"), (1, "W"), (1, "b")):
        estimates = np.array([getattr(each, f"z{w}")[i] for each in found])
        x = getattr(state, w)[i]
        exploring = derivative(lambda: expected_reward(settings, state, 1.0), x)
        still = derivative(lambda: expected_reward(settings, state, 0.0), x)
        expected = explore * exploring + (1.0 - explore) * (still if i == 1 else 0.0 * still)
        error = estimates.std(axis=0) / math.sqrt(32)
        assert np.all(np.abs(estimates.mean(axis=0) - expected) < 5.0 * error)
        assert np.max(np.abs(expected)) > 10.0 * np.max(error)


# --- determinism and failure ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_learner_that_is_restored_goes_on_with_the_same_bits(kind: str) -> None:
    model = small_model(KINDS[kind])
    whole, second = make(model, 4), make(model, 4)
    rewards = [whole.step() for _ in range(6)]
    first = make(model, 4)
    assert [first.step() for _ in range(3)] == rewards[:3]
    second.restore({key: array.copy() for key, array in first.state().items()})
    assert [second.step() for _ in range(3)] == rewards[3:]
    for key, array in whole.state().items():
        assert_array_equal(second.state()[key], array)
    other = make(model, 5)
    other.step()
    assert np.any(other.values != first.values)


def test_no_sample_comes_twice() -> None:
    learner = make(small_model(GAUSSIAN))
    seen: set[bytes] = set()
    for _ in range(5):
        learner.step()
        seen.update(row.tobytes() for row in learner.values)
    assert len(seen) == learner.samples == 30


def test_a_relaxation_that_diverges_is_reported_with_its_place() -> None:
    learner = make(small_model({"actor.step_size": 30.0, "actor.N": 20}))
    with pytest.raises(RunError, match=r"batch 1, sample 0: in layer [12], unit \d, .*step_size"):
        learner.step()


def test_weights_that_overflow_are_reported() -> None:
    learner = make(small_model({"actor.alpha": [1e200, 1e200, 1e200]}))
    with pytest.raises(RunError, match="diverged in batch"):
        [learner.step() for _ in range(10)]


# --- learning ------------------------------------------------------------------------------------


def last_rewards(name: str, changes: dict[str, Any], batches: int) -> float:
    """Mean reward of the last quarter of a shipped model's first batches."""
    model = spec.load(name, changes).spec
    assert isinstance(model, MonteCarloSpec)
    learner = make(model)
    rewards = [learner.step() for _ in range(batches)]
    return float(np.mean(rewards[-batches // 4 :]))


def test_map_propagation_learns_a_multiplexer_that_reinforce_does_not_in_the_same_time() -> None:
    options = {"task.options.k": 2}
    assert last_rewards("multiplexer/map_prop", options, 600) > 0.9
    assert last_rewards("multiplexer/reinforce", options, 600) < 0.7


def test_the_regression_is_learned_from_answers_faster_than_from_rewards() -> None:
    # A constant prediction scores -7, the variance of the targets.
    answers = last_rewards("regression/map_prop_sl", {}, 400)
    assert last_rewards("regression/map_prop_rl", {}, 400) < answers
    assert answers > -0.5
