"""The learning rules beside MAP propagation (Section 5.3 and eq. 10).

The oracles are the rules in plain NumPy (``oracle_baselines.py``), derivatives by finite
differences and by PyTorch, MAP propagation itself where a rule is a limit of it, and statistics of
who explores. Tolerances of steps are those of ``test_algorithm.py``, of finite differences those of
``test_theory.py``.
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from bridge import Twins, explorers, play, settings_of, small_spec, state_of, values_of
from numpy.testing import assert_allclose, assert_array_equal
from oracle import Array, log_density
from oracle_baselines import BY_BACKPROP
from test_algorithm import PLAIN, SEED, TOLERANCE, everything, experience, run_episode
from test_theory import DIFFERENCES, THEOREM, all_activations, both_outputs, derivative

import neurosim
from neurosim import experiment, spec
from neurosim.analysis.operations import operations
from neurosim.analysis.replay import replay
from neurosim.audit import audit
from neurosim.errors import InputError, RunError
from neurosim.learners import MapProp
from neurosim.memory import Team
from neurosim.network import weights
from neurosim.spec import Spec
from neurosim.teams import SynchronousTeam

RULES = ("reinforce", "thomas", "backprop", "reparameterised")
CRITICS = ("map_prop", "backprop", "reparameterised")
N_IN, N_OUT = 3, 2

backprops = pytest.mark.parametrize("rule", BY_BACKPROP)


def ruled(
    actor: str, critic: str, output: str = "softmax", changes: dict[str, Any] | None = None
) -> Spec:
    """The small model with other rules, and with the keys that they have."""
    keys: dict[str, Any] = {"actor.rule": actor, "critic.rule": critic}
    if output == "gaussian":
        keys |= {"actor.output": "gaussian", "actor.T": None, "actor.var": [0.3, 0.5, 0.4]}
    if actor != "map_prop":
        keys |= {"actor.N": None, "actor.step_size": None}
    if actor == "thomas":
        keys["actor.explore"] = 0.5
    if actor == "backprop":
        keys["actor.var"] = [0.4] if output == "gaussian" else None
    if critic != "map_prop":
        keys |= {"critic.N": None, "critic.step_size": None, "critic.gate_floor": None}
        keys["critic.var"] = None if critic == "backprop" else [0.4, 0.6]
    return small_spec(keys | (changes or {}))


def acted(
    model: Spec, name: str, n_out: int = N_OUT, seed: int = 0
) -> tuple[MapProp, SynchronousTeam]:
    """An agent and one of its teams, with moderate weights and biases, that has acted once."""
    agent = MapProp(model, N_IN, n_out, seed)
    rng = np.random.default_rng(seed)
    state = agent.state()
    state[f"{name}/w"] = 0.4 * rng.normal(size=state[f"{name}/w"].shape)
    agent.restore(state)
    team = SynchronousTeam(getattr(agent, name), agent.shared)
    team.act(rng.normal(size=N_IN))
    return agent, team


def hidden(team: Team, units: Array) -> Array:
    """The hidden units of a unit array, a view."""
    return units[int(team.size[0]) : int(team.unit[-1])]


# --- steps of the oracle -------------------------------------------------------------------------


@pytest.mark.parametrize("name", [f"{rule}/{task}" for rule in RULES for task in PLAIN])
def test_each_step_of_real_episodes_is_the_oracles_from_the_same_state(name: str) -> None:
    for twins in itertools.islice(play(spec.load(name).spec, episodes=3, seed=SEED), 300):
        twins.assert_close(TOLERANCE)


def deep(model: Spec, layers: int) -> dict[str, Any]:
    """Keys of teams with so many hidden layers, of all activations."""
    keys: dict[str, Any] = {}
    for name, team in (("actor", model.actor), ("critic", model.critic)):
        activations = ["tanh", "sigmoid", "relu", "linear"] if name == "actor" else ["softplus"] * 4
        var = [0.1 + 0.1 * l for l in range(layers)] if len(team.var) > 1 else []
        keys |= {
            f"{name}.units": [5, 7, 4, 6][:layers],
            f"{name}.activation": activations[:layers],
            f"{name}.alpha": [0.02] * (layers + 1),
            f"{name}.anneal_to": [0.5] * (layers + 1),
            f"{name}.var": var + list(team.var[2:] if len(team.var) > 1 else team.var),
        }
        if not team.var:
            keys[f"{name}.var"] = None
    return keys


HABITS: dict[str, Any] = {
    "learning.truncation": "zero",
    "learning.update_at_reset": True,
    "learning.terminal_iteration": True,
    "learning.anneal_steps": 7.0,
    "learning.reward_bound": 0.5,
    "adam.bias_correction_until": 4.0,
}


@pytest.mark.parametrize("layers", [0, 1, 2, 4])
@pytest.mark.parametrize("habits", [{}, HABITS], ids=["plain", "habits"])
@pytest.mark.parametrize(
    ("actor", "critic"),
    [
        pair
        for pair in itertools.product(("map_prop", *RULES), CRITICS)
        if set(pair) != {"map_prop"}
    ],
)
@both_outputs
def test_each_step_of_a_small_agent_is_the_oracles(
    actor: str, critic: str, output: str, habits: dict[str, Any], layers: int
) -> None:
    model = ruled(actor, critic, output, habits)
    if layers != 2:
        changes = deep(model, layers)
        model = ruled(actor, critic, output, habits | changes)
    twins = Twins(model, N_IN, N_OUT, seed=1)
    for episode, terminated in enumerate((True, False, True)):
        steps = experience(6, seed=episode)
        twins.step(steps[0][0])
        twins.assert_close(TOLERANCE)
        for observation, reward in steps[1:-1]:
            twins.step(observation, reward)
            twins.assert_close(TOLERANCE)
        twins.end(*steps[-1], terminated)
        twins.assert_close(TOLERANCE)


# --- REINFORCE -----------------------------------------------------------------------------------


@both_outputs
def test_reinforce_is_map_propagation_without_relaxation_bit_for_bit(output: str) -> None:
    without = {"actor.N": 0, "actor.step_size": 0.5}
    models = [
        ruled("reinforce", "backprop", output),
        ruled("map_prop", "backprop", output, without),
    ]
    ours, limit = (MapProp(model, N_IN, N_OUT, seed=4) for model in models)
    for agent in (ours, limit):
        run_episode(agent, experience(30), terminated=True)
        run_episode(agent, experience(30, seed=1))
    for name in ("actor", "critic"):
        for key, array in everything(getattr(ours, name)).items():
            assert_array_equal(
                array, everything(getattr(limit, name))[key], err_msg=f"{name} {key}"
            )


def estimates(rule: str, passes: int) -> Array:
    """G times the gradient of the first layer for one state in many passes, G a function of A."""
    model = ruled(rule, "backprop", "gaussian")
    _, team = acted(model, "actor", n_out=1)
    memory, state = team.memory, np.array([0.5, -0.3, 0.8])
    W, _ = weights(memory, memory.z, 1)
    found = np.empty((passes, W.size))
    for row in found:
        action = team.act(state)[0]
        memory.z[:] = 0.0
        team.relax()
        team.accumulate()
        row[:] = math.tanh(action) * W.ravel()
    return found


def test_theorem_1_reinforce_and_eq_10_have_the_same_expectation() -> None:
    # Both are unbiased estimates of the gradient of E[G]. Fifteen means of 20 000 passes each: none
    # is five standard errors from where it should be, but once in 100 000 suites.
    ours, theirs = (estimates(rule, 20_000) for rule in ("reinforce", "reparameterised"))
    difference = ours.mean(axis=0) - theirs.mean(axis=0)
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / len(ours))
    assert np.all(np.abs(difference) < 5.0 * error)
    signal = np.abs(theirs.mean(axis=0)) / (theirs.std(axis=0) / math.sqrt(len(theirs)))
    assert np.max(signal) > 10.0  # and it is not that both are nothing but noise
    assert np.all(ours.var(axis=0) > theirs.var(axis=0))  # eq. 10 leaves out the units' own noise


# --- Thomas --------------------------------------------------------------------------------------


@both_outputs
def test_units_that_do_not_explore_output_their_mean_and_only_their_old_traces_are_left(
    output: str,
) -> None:
    model = ruled("thomas", "backprop", output)
    agent = MapProp(model, N_IN, N_OUT, seed=2)
    actor = agent.actor
    decay = model.learning.gamma * model.actor.lambda_
    steps = experience(20)
    agent.begin(steps[0][0])
    kinds = set()
    for observation, reward in steps[1:]:
        mean = _means_before_learning(agent, observation)
        before = state_of(actor)
        agent.step(observation, reward)
        explores = explorers(actor, agent.shared.key, model.actor.explore)
        still = hidden(actor, actor.h)[~explores]
        assert_array_equal(still, mean[~explores])
        assert np.all(hidden(actor, actor.h)[explores] != mean[explores])
        after = state_of(actor)
        masks = np.split(explores, [actor.size[1]])
        for i, mask in enumerate(masks):
            assert_array_equal(after.zW[i][~mask], decay * before.zW[i][~mask])
            assert_array_equal(after.zb[i][~mask], decay * before.zb[i][~mask])
            assert np.all(after.zb[i][mask] != decay * before.zb[i][mask])
        assert actor.noise[actor.unit[-1]] != 0.0  # the output always explores
        assert np.all(after.zb[-1] != decay * before.zb[-1])
        kinds |= set(explores.tolist())
    assert kinds == {True, False}


def _means_before_learning(agent: MapProp, observation: Array) -> Array:
    """Means of the actor's hidden units at the pass that an equal agent makes next."""
    actor = agent.actor
    twin = SynchronousTeam(actor, agent.shared)
    saved = {key: array.copy() for key, array in everything(actor).items()}
    twin.act(observation)
    mean = hidden(actor, actor.mu).copy()
    for key, array in saved.items():
        everything(actor)[key][...] = array
    return mean


def test_those_that_explore_are_a_random_subset_with_reinforces_noise() -> None:
    changes = {"actor.units": [40, 20], "learning.update_at_reset": False}
    thomas = MapProp(ruled("thomas", "backprop", changes=changes | {"actor.explore": 0.3}), 3, 2, 5)
    full = MapProp(ruled("reinforce", "backprop", changes=changes), 3, 2, 5)
    passes = 2000
    explores = np.empty((passes, 60), bool)
    for row in explores:
        for agent in (thomas, full):
            agent.begin(np.zeros(3))  # nothing is learned, so both keep their weights
        noise, all_noise = (hidden(a.actor, a.actor.noise) for a in (thomas, full))
        row[:] = noise != 0.0
        assert_array_equal(noise[row], all_noise[row])
        assert thomas.actor.noise[-2] == full.actor.noise[-2]  # the output's uniform number
    # Means of independent numbers, each at most five standard deviations off.
    deviation = math.sqrt(0.3 * 0.7)
    assert np.all(np.abs(explores.mean(axis=0) - 0.3) < 5.0 * deviation / math.sqrt(passes))
    sizes = explores.sum(axis=1)
    assert abs(sizes.mean() - 18.0) < 5.0 * deviation * math.sqrt(60 / passes)
    # Nobody's exploring tells of another's, nor of what oneself does at the next time step.
    for a, b in ((explores[:, :-1], explores[:, 1:]), (explores[:-1], explores[1:])):
        correlation = np.mean((a - 0.3) * (b - 0.3)) / deviation**2
        assert abs(correlation) < 5.0 / math.sqrt(a.size)


@pytest.mark.parametrize(("explore", "same"), [(1.0, True), (0.9, False)])
def test_thomas_with_everybody_exploring_is_reinforce(explore: float, same: bool) -> None:
    models = [
        ruled("thomas", "backprop", changes={"actor.explore": explore}),
        ruled("reinforce", "backprop"),
    ]
    ours, limit = (MapProp(model, N_IN, N_OUT, seed=4) for model in models)
    for agent in (ours, limit):
        run_episode(agent, experience(30), terminated=True)
    assert np.array_equal(ours.actor.w, limit.actor.w) == same


def test_where_nobody_explores_the_hidden_layers_learn_nothing() -> None:
    model = ruled("thomas", "backprop", changes={"actor.explore": 0.0})
    agent = MapProp(model, N_IN, N_OUT, seed=4)
    before = state_of(agent.actor)
    run_episode(agent, experience(10), terminated=True)
    after = state_of(agent.actor)
    for i in (0, 1):
        assert_array_equal(after.W[i], before.W[i])
        assert_array_equal(after.b[i], before.b[i])
    assert np.all(after.W[2] != before.W[2])


# --- backprop ------------------------------------------------------------------------------------


def test_hidden_units_and_critics_by_backprop_are_deterministic() -> None:
    one, other = (MapProp(ruled("backprop", "backprop"), N_IN, N_OUT, seed) for seed in (0, 1))
    other.restore(one.state())  # the weights of one, and noise of its own
    for agent in (one, other):
        agent.begin(np.array([0.2, -0.4, 1.0]))
    assert np.any(one.actor.noise != other.actor.noise)
    for ours, theirs in ((one.actor, other.actor), (one.critic, other.critic)):
        assert_array_equal(hidden(ours, ours.sampled), hidden(theirs, theirs.sampled))
        assert_array_equal(hidden(ours, ours.h), hidden(ours, ours.mu))
    assert one.value == other.value == one.critic.h[-1] == one.critic.sampled[-1]


@both_outputs
def test_the_action_of_a_backprop_actor_is_drawn_from_its_policy(output: str) -> None:
    _, team = acted(ruled("backprop", "backprop", output), "actor")
    actions = np.array([team.act(np.ones(N_IN)).copy() for _ in range(4000)])
    mean = team.memory.mu[-N_OUT:]
    var = mean * (1.0 - mean) if output == "softmax" else np.full(N_OUT, 0.4)
    # Means and, of the Gaussian, variances of 4000 draws, five standard errors.
    assert np.all(np.abs(actions.mean(axis=0) - mean) < 5.0 * np.sqrt(var / 4000))
    assert np.all(np.abs(actions.var(axis=0) / var - 1.0) < 5.0 * math.sqrt(2.0 / 4000))


def forward(memory: Team, model: Spec, name: str, noise: Array, S: Array) -> list[Array]:
    """Values of the layers below the output, as a function of the weights that memory holds now."""
    team = getattr(model, name)
    settings = settings_of(model, name, len(S), 1)
    H, first = [S], 0
    for i, size in enumerate(team.units):
        W, b = weights(memory, memory.w, i + 1)
        p = W @ H[-1] + b
        f = {
            "softplus": lambda p: np.logaddexp(0.0, p),
            "relu": lambda p: np.maximum(p, 0.0),
            "tanh": np.tanh,
            "sigmoid": lambda p: 1.0 / (1.0 + np.exp(-p)),
            "linear": lambda p: p,
        }[team.activation[i]]
        H.append(f(p) + math.sqrt(settings.var[i]) * noise[first : first + size])
        first += size
    return H


@backprops
@both_outputs
@all_activations
def test_an_actors_trace_takes_up_the_derivative_of_the_actions_log_density(
    rule: str, output: str, activation: str
) -> None:
    model = ruled(rule, "backprop", output, {"actor.activation": [activation] * 2})
    _, team = acted(model, "actor")
    memory, S = team.memory, values_of(team.memory, team.memory.h)[0]
    settings = settings_of(model, "actor", N_IN, N_OUT)
    action, noise = memory.h[-N_OUT:].copy(), hidden(memory, memory.noise).copy()

    def log_pi() -> float:
        """Of the action, for the weights that the team's memory holds now."""
        H = forward(memory, model, "actor", noise, S)
        W, b = weights(memory, memory.w, 3)
        p = W @ H[-1] + b
        if output == "softmax":
            p = p / settings.T
            return float(action @ p - np.log(np.sum(np.exp(p))))
        return float(np.sum(-((action - p) ** 2)) / (2.0 * settings.var[-1]))

    assert_takes_up(team, log_pi)


@backprops
@all_activations
def test_a_critics_trace_takes_up_the_derivative_of_its_value(rule: str, activation: str) -> None:
    model = ruled("reinforce", rule, changes={"critic.activation": [activation] * 2})
    _, team = acted(model, "critic")
    memory, S = team.memory, values_of(team.memory, team.memory.h)[0]
    noise = hidden(memory, memory.noise).copy()

    def value() -> float:
        """mu(S), for the weights that the team's memory holds now."""
        W, b = weights(memory, memory.w, 3)
        return float((W @ forward(memory, model, "critic", noise, S)[-1] + b)[0])

    assert_takes_up(team, value)


def assert_takes_up(team: SynchronousTeam, f: Callable[[], float]) -> None:
    """The trace goes from 0 to the derivative of f for the team's weights."""
    memory = team.memory
    memory.z[:] = 0.0
    team.relax()
    team.accumulate()
    for layer in (1, 2, 3):
        for trace, x in zip(
            weights(memory, memory.z, layer), weights(memory, memory.w, layer), strict=True
        ):
            assert np.max(np.abs(trace)) > 1e-3
            assert_allclose(trace, derivative(f, x), rtol=0, atol=DIFFERENCES)


@backprops
@pytest.mark.parametrize("output", ["gaussian", "softmax", "value"])
@all_activations
def test_gradients_are_those_of_pytorch(rule: str, output: str, activation: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch's autograd is the oracle")
    name = "critic" if output == "value" else "actor"
    actor = ("reinforce", rule) if name == "critic" else (rule, "backprop")
    kind = "gaussian" if output == "gaussian" else "softmax"
    model = ruled(*actor, kind, {f"{name}.activation": [activation] * 2})
    _, team = acted(model, name)
    memory = team.memory
    settings = settings_of(model, name, N_IN, N_OUT if name == "actor" else 1)
    f = {"softplus": torch.nn.functional.softplus, "linear": lambda p: p}
    f |= {key: getattr(torch, key) for key in ("relu", "tanh", "sigmoid")}
    pairs = [weights(memory, memory.w, layer) for layer in (1, 2, 3)]
    parameters = [[torch.tensor(x, requires_grad=True) for x in pair] for pair in pairs]
    h = torch.tensor(values_of(memory, memory.h)[0])
    noise = [torch.tensor(Z) for Z in values_of(memory, memory.noise)[1:]]
    for (W, b), Z, var in zip(parameters[:2], noise, settings.var, strict=False):
        h = f[activation](W @ h + b) + math.sqrt(var) * Z
    p = parameters[2][0] @ h + parameters[2][1]
    action = torch.tensor(memory.h[int(memory.unit[-1]) :])
    if output == "value":
        target = p[0]
    elif output == "gaussian":
        target = torch.distributions.Normal(p, math.sqrt(settings.var[-1])).log_prob(action).sum()
    else:
        logits = p / settings.T
        target = torch.distributions.Categorical(logits=logits).log_prob(action.argmax())
    target.backward()
    memory.z[:] = 0.0
    team.accumulate()
    for layer, pair in enumerate(parameters, start=1):
        for ours, theirs in zip(weights(memory, memory.z, layer), pair, strict=True):
            # Derivatives of at most 10 with some ten terms each in double precision: 1e-14; PyTorch
            # takes softplus for linear above 20, which is 2e-9 there, and no potential is above 10.
            assert_allclose(ours, theirs.grad.numpy(), rtol=0, atol=1e-10)


@both_outputs
def test_theorem_2_a_relaxed_team_of_map_propagation_learns_as_the_reparameterised_one(
    output: str,
) -> None:
    changes = {"actor.N": 3000, "actor.step_size": 0.1}
    _, relaxed = acted(ruled("map_prop", "backprop", output, changes), "actor")
    relaxed.memory.z[:] = 0.0
    relaxed.relax()
    relaxed.accumulate()
    _, team = acted(ruled("reparameterised", "backprop", output), "actor")
    memory = team.memory
    e = hidden(memory, relaxed.memory.h) - hidden(memory, relaxed.memory.mu)
    hidden(memory, memory.noise)[:] = e / np.sqrt(hidden(memory, memory.var))
    memory.z[:] = 0.0
    team.accumulate()
    assert np.max(np.abs(memory.z)) > 0.1
    assert_allclose(memory.z, relaxed.memory.z, rtol=0, atol=THEOREM)


def test_the_reparameterised_critics_gradient_is_eq_68s_up_to_the_outputs_variance() -> None:
    # gate d log pi_L = (A - mu) / var dmu / (A - mu); here of the last layer, which no rule relaxes
    var = 0.25
    gated = ruled("reinforce", "map_prop", changes={"critic.N": 0, "critic.var": [0.4, 0.6, var]})
    traces = []
    for model in (gated, ruled("reinforce", "reparameterised")):
        _, team = acted(model, "critic")
        team.memory.z[:] = 0.0
        team.accumulate()
        traces.append(weights(team.memory, team.memory.z, 3))
    for local, ours in zip(*traces, strict=True):
        assert_allclose(var * local, ours, rtol=1e-13)  # the few roundings of the quotient


def test_log_density_of_the_oracle_is_what_reinforces_trace_derives() -> None:
    model = ruled("reinforce", "backprop", "gaussian")
    _, team = acted(model, "actor")
    memory, settings = team.memory, settings_of(model, "actor", N_IN, N_OUT)
    memory.z[:] = 0.0
    team.accumulate()
    H, state = values_of(memory, memory.h), state_of(memory)
    for i in range(3):
        expected = derivative(lambda i=i: log_density(settings, state, H)[i], state.W[i])  # type: ignore[misc]
        assert_allclose(weights(memory, memory.z, i + 1)[0], expected, rtol=0, atol=DIFFERENCES)


# --- runs ----------------------------------------------------------------------------------------

RUNS = {
    "reinforce": "reinforce/cartpole",
    "thomas": "thomas/mountaincar",
    "backprop": "backprop/mountaincar",
    "reparameterised": "reparameterised/cartpole",
}
Contents = Callable[[Path], dict[str, Any]]


class Stopped(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("rule", RUNS)
def test_a_run_has_the_same_bits_again_and_after_it_was_stopped(
    rule: str, tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", 0.0)
    changes: dict[str, Any] = {"task.episodes": 6, "task.options": {"max_episode_steps": 40}}
    record = {"record": [{"episodes": [2, 5], "steps": [3, 8]}]}
    model = neurosim.load(RUNS[rule], changes | record)

    def stop(ended: experiment.Episode) -> None:
        if ended.number == 3:
            raise Stopped

    alone, again = (neurosim.run(model, 7, tmp_path / name) for name in ("alone", "again"))
    stopped = experiment.run_folder(model, 7, tmp_path / "stopped")
    with pytest.raises(Stopped):
        neurosim.run(model, 7, tmp_path / "stopped", on_episode=stop)
    neurosim.resume(stopped)
    assert contents(again) == contents(alone)
    assert contents(stopped) == contents(alone)
    other = neurosim.run(model, 8, tmp_path / "alone")
    assert contents(other) != contents(alone)


def test_a_run_says_which_units_are_deterministic(tmp_path: Path) -> None:
    model = neurosim.load("backprop/mountaincar", {"task.episodes": 1})
    with h5py.File(neurosim.run(model, 0, tmp_path) / "run.h5") as file:
        assert_array_equal(file["teams/actor/units/var"], [*[0.0] * 96, 0.5])
        assert_array_equal(file["teams/critic/units/var"], [0.0] * 97)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("backprop/cartpole", r"Try a smaller critic\.alpha"), ("cartpole", r"a larger critic\.var")],
)
def test_a_run_that_diverges_names_a_setting_that_its_rule_has(name: str, remedy: str) -> None:
    model = neurosim.load(name, {"critic.alpha": [1e300, 1e300, 1e300]}).spec
    agent = MapProp(model, 4, 2, 0)
    with pytest.raises(RunError, match=remedy):
        run_episode(agent, [(np.ones(4), 1.0)] * 5, terminated=True)


# --- model files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("task", PLAIN)
@pytest.mark.parametrize("rule", RULES)
def test_a_baseline_differs_from_the_plain_model_in_its_rule_and_step_sizes_alone(
    rule: str, task: str
) -> None:
    ours = tomllib.loads(spec.load(f"{rule}/{task}").text)
    plain = tomllib.loads(spec.load(task).text)
    critics = rule if rule == "reparameterised" else "backprop"
    for name, its_rule in (("actor", rule), ("critic", critics)):
        team, of_plain = ours[name], plain[name]
        assert team.pop("rule") == its_rule
        del team["alpha"], of_plain["alpha"]
        for key in ("N", "step_size", "gate_floor"):
            of_plain.pop(key, None)
        if its_rule == "thomas":
            assert 0.0 < team.pop("explore") < 1.0
        hidden_var = of_plain.pop("var")[:2] if its_rule != "backprop" else []
        output_var = plain_output_var(task) if name == "actor" else []
        assert team.pop("var", []) == hidden_var + output_var
        of_plain.pop("var", None)
        assert team == of_plain
    for section in ("task", "learning", "adam"):
        assert ours[section] == plain[section]


def plain_output_var(task: str) -> list[float]:
    """Table 3's variance of the actor's output, where that is Gaussian."""
    return [0.5] if task == "mountaincar" else []


def message_of(name: str, changes: dict[str, Any], mode: spec.Mode | None = None) -> str:
    """What the loader says about a model that is wrong."""
    with pytest.raises(InputError) as raised:
        spec.load(name, changes, mode)
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("reinforce/cartpole", "actor.N", 20),
        ("reinforce/cartpole", "actor.N", 0),
        ("thomas/acrobot", "actor.step_size", 0.5),
        ("reinforce/cartpole", "actor.explore", 0.5),
        ("cartpole", "actor.explore", 1.0),
        ("backprop/cartpole", "actor.var", [0.03, 0.1]),
        ("backprop/cartpole", "actor.var", []),
        ("backprop/cartpole", "critic.var", [0.1]),
        ("backprop/cartpole", "critic.gate_floor", 0.0),
        ("reparameterised/cartpole", "critic.N", 20),
    ],
)
def test_a_key_that_the_rule_has_no_use_for_is_refused(name: str, key: str, value: Any) -> None:
    message = message_of(name, {key: value})
    rule = name.partition("/")[0] if "/" in name else "map_prop"
    assert f"{key}: {value} has no meaning with rule = {rule!r}; remove it." in message


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("cartpole", "actor.N"),
        ("cartpole", "critic.step_size"),
        ("cartpole", "critic.gate_floor"),
        ("cartpole", "critic.var"),
        ("thomas/cartpole", "actor.explore"),
        ("backprop/mountaincar", "actor.var"),
        ("reparameterised/cartpole", "critic.var"),
    ],
)
def test_a_key_that_the_rule_needs_is_missed(name: str, key: str) -> None:
    assert f"{key}: missing" in message_of(name, {key: None})


@pytest.mark.parametrize(
    ("name", "key", "value", "meaning"),
    [
        ("backprop/mountaincar", "actor.var", [0.1, 0.5], "needs 1, one for the output"),
        (
            "reparameterised/cartpole",
            "critic.var",
            [0.1] * 3,
            "needs 2, one for each hidden layer.",
        ),
        ("reinforce/mountaincar", "actor.var", [0.1], "needs 3, one for each hidden layer and one"),
    ],
)
def test_variances_are_those_of_the_layers_that_sample(
    name: str, key: str, value: list[float], meaning: str
) -> None:
    assert f"{key}: {value} has {len(value)} entries; {meaning}" in message_of(name, {key: value})


@pytest.mark.parametrize("rule", RULES)
def test_baselines_are_not_available_asynchronously(rule: str) -> None:
    message = message_of(f"{rule}/cartpole", {}, mode="asynchronous")
    assert f'actor.rule: {rule!r} is synchronous; set it to "map_prop"' in message
    critic = message_of("async/cartpole", {"critic.rule": "backprop"} | no_critic_keys())
    assert "critic.rule: 'backprop' is synchronous" in critic


def no_critic_keys() -> dict[str, Any]:
    """Keys of MAP propagation's critic, removed."""
    return dict.fromkeys(("critic.N", "critic.step_size", "critic.gate_floor", "critic.var"))


@pytest.mark.parametrize("rule", ["reinforce", "thomas"])
def test_reinforce_does_not_train_a_critic(rule: str) -> None:
    message = message_of("reinforce/cartpole", {"critic.rule": rule})
    assert f"critic.rule = {rule!r}: one of 'map_prop', 'backprop', 'reparam" in message


def test_an_unknown_rule_is_refused_with_those_that_there_are() -> None:
    message = message_of("cartpole", {"actor.rule": "hebb"})
    assert "actor.rule = 'hebb': one of 'map_prop', 'reinforce', 'thomas', 'backprop'" in message


def test_a_stale_first_mean_needs_a_team_that_relaxes() -> None:
    stale = {"learning.stale_first_mean": True}
    message = message_of("reinforce/cartpole", stale)
    assert "learning.stale_first_mean: true needs a team that relaxes" in message
    critic = no_critic_keys() | {"critic.rule": "backprop"}
    assert spec.load("cartpole", stale | critic).spec.learning.stale_first_mean


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_the_probability_of_exploring_is_one(value: float) -> None:
    assert f"actor.explore = {value}" in message_of("thomas/cartpole", {"actor.explore": value})


# --- what is analysed, and what is recorded again ------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose actor learns by the rule of Thomas and whose critic by backprop."""
    changes = {"task.episodes": 3, "record": [{"episodes": [2], "steps": [0, 5]}]}
    model = spec.load("thomas/cartpole", changes)
    return experiment.run(model, 0, tmp_path_factory.mktemp("recorded"))


@pytest.mark.parametrize("analyse", [replay, operations])
@pytest.mark.parametrize(("team", "rule"), [("actor", "thomas"), ("critic", "backprop")])
def test_analyses_of_map_propagation_refuse_other_rules(
    analyse: Any, team: str, rule: str, recorded: Path
) -> None:
    with (
        neurosim.open(recorded) as run,
        pytest.raises(InputError, match=rf"{team}.rule = '{rule}': .* MAP propagation; name a run"),
    ):
        list(analyse(run, team))


def test_an_audit_refuses_other_rules_as_they_are_synchronous(recorded: Path) -> None:
    with neurosim.open(recorded) as run, pytest.raises(InputError, match="'synchronous'"):
        audit(run)


def test_windows_are_recorded_after_the_fact_by_any_rule(recorded: Path) -> None:
    neurosim.rerecord(recorded, 3, (0, 4))
    with neurosim.open(recorded) as run:
        assert [(each.episode, each.n_steps) for each in run.windows] == [(2, 5), (3, 4)]
        again = run.windows[1]
        assert_array_equal(again.relaxed("actor"), again.sampled("actor"))
