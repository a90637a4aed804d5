"""The compiled agent against the paper's algorithm in plain NumPy (``oracle.py``).

How exact is exact? The deviation of an array is its largest difference from the oracle's, divided
by the size of the terms that were added up to make it (``bridge.Twins.deviations``). Adding n terms
rounds by at most ``n 2**-53`` of their size (Higham 2002, eq. 4.4). The widest layer adds 65 terms,
which makes 7e-15, and both agents round; 1e-12 leaves a factor of 70 for the elementary functions
(3 ulp) and for the twenty relaxation steps, each of which takes over part of the rounding of the
one before. In practice roundings cancel each other and 2e-15 is the most that is seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from bridge import CLIMBING, Twins, play, size, small_spec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from oracle import ACTIVATIONS, TRUNCATIONS, Array

from neurosim import spec
from neurosim.learners import MapProp
from neurosim.memory import Team
from neurosim.network import weights
from neurosim.spec import Spec, Task
from neurosim.tasks import Environment
from neurosim.teams import SynchronousTeam

TOLERANCE = 1e-12

PLAIN = ("cartpole", "acrobot", "lunarlander", "mountaincar")
PUBLISHED = tuple(f"published/{name}" for name in PLAIN)

# With this seed three episodes of MountainCar hold both endings, the goal and the step limit.
SEED = 6

# --- whole episodes of the four tasks ------------------------------------------------------------


@pytest.mark.parametrize("name", PLAIN + PUBLISHED)
def test_each_step_of_real_episodes_is_the_oracles_from_the_same_state(name: str) -> None:
    for twins in play(spec.load(name).spec, episodes=3, seed=SEED):
        twins.assert_close(TOLERANCE)


@pytest.mark.parametrize("name", ["cartpole", "mountaincar"])
def test_each_step_of_real_episodes_is_the_oracles_by_hill_climbing(name: str) -> None:
    model = spec.load(name, {**CLIMBING, "task.options": {"max_episode_steps": 60}})
    for twins in play(model.spec, episodes=2, seed=SEED):
        twins.assert_close(TOLERANCE)


# Running freely, what one step rounds is input of the next. The gate multiplies it by its condition
# number |mu| / |A - mu|: below 100 / gate_floor = 1e4 where |mu| is at most 100 standard deviations
# of A, and 1e6 in the unluckiest of 3000 steps where there is no floor. 1e-15 becomes 1e-11 and
# 1e-9, and there is room for a second such step before the first is forgotten. The worst of ten
# seeds: 3e-11 with a floor (Acrobot), 7e-8 without (MountainCar, second moments of the critic).
@pytest.mark.parametrize(
    ("name", "tolerance"), [(name, 1e-9) for name in PLAIN] + [(name, 1e-7) for name in PUBLISHED]
)
def test_over_real_episodes_the_oracle_running_freely_stays_beside(
    name: str, tolerance: float
) -> None:
    for number, twins in enumerate(play(spec.load(name).spec, 3, SEED, aligned=False)):
        if number % 10 == 0:  # a deviation stays, so it need not be looked for at every step
            twins.assert_close(tolerance)
    twins.assert_close(tolerance)


# --- any architecture, any options ---------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A model, what the environment is like, and two episodes."""

    model: Spec
    n_in: int
    n_out: int
    seed: int
    episodes: list[list[tuple[Array, float]]]
    terminated: list[bool]


FRACTIONS = st.one_of(st.just(0.0), st.floats(0.01, 1.0))


@st.composite
def teams(draw: st.DrawFn, gaussian: bool) -> dict[str, Any]:
    """Keys of a team.

    A relaxation step multiplies a deviation of the values by at most about
    ``1 - c + c (|W[l]| + |W[l+1]|**2 var[l] / var[l+1])``, slopes being at most 1, and Glorot's
    weights have a norm of about 2. So that eight steps do not turn 1e-15 into more than 1e-12, c
    is at most 1/4 and a layer's variance at most that of the layer above: 2.25**8 = 660. A softmax
    counts as a layer of variance T**2. Step sizes up to 1e-3 leave the norms about where they are.
    """
    hidden = draw(st.integers(0, 4))
    var = sorted(draw(st.lists(st.floats(0.02, 1.0), min_size=hidden + 1, max_size=hidden + 1)))
    alpha = st.one_of(st.just(0.0), st.floats(1e-6, 1e-3))
    climbing = {"relaxation": "hill_climbing", "proposal": draw(st.floats(0.01, 1.0))}
    hold = draw(st.lists(st.sampled_from([1, 1, 2, 3]), min_size=hidden, max_size=hidden))
    descending = {"step_size": draw(st.floats(0.01, 0.25)), "hold": hold}
    relaxing = draw(st.sampled_from([descending, climbing]))
    return {
        "units": draw(st.lists(st.integers(1, 40), min_size=hidden, max_size=hidden)),
        "activation": draw(
            st.lists(st.sampled_from(ACTIVATIONS), min_size=hidden, max_size=hidden)
        ),
        "var": var if gaussian else var[:-1],
        "alpha": draw(st.lists(alpha, min_size=hidden + 1, max_size=hidden + 1)),
        "anneal_to": draw(st.lists(FRACTIONS, min_size=hidden + 1, max_size=hidden + 1)),
        "lambda": draw(FRACTIONS),
        "N": draw(st.integers(0, 8)),
        "step_size": None,
    } | relaxing


@st.composite
def cases(draw: st.DrawFn) -> Case:
    output = draw(st.sampled_from(["softmax", "gaussian"]))
    actor = draw(teams(gaussian=output == "gaussian")) | {"output": output}
    actor["T"] = draw(st.floats(1.0, 8.0)) if output == "softmax" else None
    critic = draw(teams(gaussian=True))
    critic["gate_floor"] = draw(st.sampled_from([0.0, 0.01, 0.5, 3.0]))
    learning = {
        "gamma": draw(FRACTIONS),
        "reward_bound": draw(st.sampled_from([math.inf, 2.0, 0.5])),
        "anneal_steps": draw(st.sampled_from([math.inf, 3.0, 10.0])),
        "truncation": draw(st.sampled_from(TRUNCATIONS)),
        "update_at_reset": draw(st.booleans()),
        "terminal_iteration": draw(st.booleans()),
        "stale_first_mean": draw(st.booleans()) and "proposal" not in actor.keys() | critic.keys(),
    }
    adam = {
        "beta1": draw(st.sampled_from([0.0, 0.5, 0.9])),
        "beta2": draw(st.sampled_from([0.9, 0.999])),
        "epsilon": draw(st.sampled_from([1e-9, 1e-8, 1e-3])),
        "bias_correction_until": draw(st.sampled_from([1.0, 4.0, math.inf])),
    }
    sections = {"actor": actor, "critic": critic, "learning": learning, "adam": adam}
    n_in, n_out = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = draw(st.sampled_from([0.0, 1e-3, 1.0, 30.0]))
    episodes = [
        [(scale * rng.normal(size=n_in), 3.0 * rng.normal()) for _ in range(length)]
        for length in draw(st.lists(st.integers(2, 6), min_size=2, max_size=2))
    ]
    return Case(
        model=small_spec(
            {f"{name}.{key}": v for name, keys in sections.items() for key, v in keys.items()}
        ),
        n_in=n_in,
        n_out=n_out,
        seed=draw(st.integers(0, 2**63 - 1)),
        episodes=episodes,
        terminated=draw(st.lists(st.booleans(), min_size=2, max_size=2)),
    )


@settings(
    deadline=None,
    derandomize=True,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(cases())
def test_each_step_is_the_oracles_whatever_the_architecture_and_the_options(case: Case) -> None:
    twins = Twins(case.model, case.n_in, case.n_out, case.seed)
    for episode, terminated in zip(case.episodes, case.terminated, strict=True):
        reward = None
        for observation, next_reward in episode[:-1]:
            twins.step(observation, reward)
            twins.assert_close(TOLERANCE)
            reward = next_reward
        twins.end(*episode[-1], terminated)
        twins.assert_close(TOLERANCE)


# --- a small agent -------------------------------------------------------------------------------

N_IN = 3


def outcome_model(changes: dict[str, Any] | None = None) -> Spec:
    """A small model with a softmax actor."""
    return small_spec(changes)


def gaussian_model(changes: dict[str, Any] | None = None) -> Spec:
    """A small model with a Gaussian actor."""
    actor = {"actor.output": "gaussian", "actor.T": None, "actor.var": [0.3, 0.5, 0.4]}
    return small_spec(actor | (changes or {}))


models = pytest.mark.parametrize("model", [outcome_model, gaussian_model])


def experience(length: int, seed: int = 0) -> list[tuple[Array, float]]:
    """Observations, and the reward that each came with."""
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=N_IN), float(rng.normal())) for _ in range(length)]


def run_episode(
    agent: Twins | MapProp, steps: Sequence[tuple[Array, float]], terminated: bool | None = None
) -> None:
    """One episode through the given observations; it goes on, if `terminated` is None."""
    last = len(steps) - (terminated is not None)
    begin = agent.step if isinstance(agent, Twins) else agent.begin
    begin(steps[0][0])
    for observation, reward in steps[1:last]:
        agent.step(observation, reward)
    if terminated is not None:
        agent.end(*steps[-1], terminated)


@models
def test_each_step_of_a_small_agent_is_the_oracles(model: Callable[..., Spec]) -> None:
    twins = Twins(model(), N_IN, 2, seed=1)
    for episode, terminated in ((0, True), (1, False), (2, True)):
        steps = experience(6, seed=episode)
        twins.step(steps[0][0])
        twins.assert_close(TOLERANCE)
        for observation, reward in steps[1:-1]:
            twins.step(observation, reward)
            twins.assert_close(TOLERANCE)
        twins.end(*steps[-1], terminated)
        twins.assert_close(TOLERANCE)


def everything(team: Team) -> dict[str, Array]:
    """What one step leaves to the next, and what it shows of itself."""
    names = ("h", "sampled", "noise", "w", "wt", "z", "m", "v", "count")
    return {name: getattr(team, name) for name in names}


@pytest.mark.parametrize(
    "model",
    [
        outcome_model(),
        gaussian_model(),
        outcome_model({"learning.stale_first_mean": True}),
        outcome_model(CLIMBING),
        outcome_model({"actor.hold": [2, 3], "critic.hold": [1, 4]}),
        outcome_model({"learning.precision": "single"}),
        spec.load("cartpole").spec,
        spec.load("published/mountaincar").spec,
        spec.load("thomas/cartpole").spec,
        spec.load("backprop/mountaincar").spec,
        spec.load("reparameterised/mountaincar").spec,
    ],
    ids=[
        "softmax",
        "gaussian",
        "stale first mean",
        "hill climbing",
        "holding",
        "single",
        "CartPole",
        "MountainCar",
        "Thomas",
        "backprop",
        "reparameterised",
    ],
)
def test_the_four_verbs_one_after_the_other_give_the_bits_of_a_whole_step(model: Spec) -> None:
    whole, parts = (MapProp(model, N_IN, 2, seed=3) for _ in range(2))
    shared = parts.shared
    actor = SynchronousTeam(parts.actor, shared)
    critic = SynchronousTeam(parts.critic, shared)

    def compare() -> None:
        assert whole.td_error == shared.td_error[0]
        assert whole.value == shared.value[0]
        for ours, theirs in ((whole.actor, parts.actor), (whole.critic, parts.critic)):
            for name, array in everything(ours).items():
                assert_array_equal(array, everything(theirs)[name], err_msg=name)

    def iterate(observation: Array, reward: float | None) -> None:
        critic.act(observation)
        actor.act(observation)
        value = float(critic.memory.mu[critic.memory.unit[-1]])
        td_error = 0.0
        if reward is not None:
            td_error = reward + model.learning.gamma * value - shared.value[0]
        shared.td_error[0] = td_error
        shared.value[0] = value
        if reward is not None or model.learning.update_at_reset:
            critic.learn(td_error)
            actor.learn(td_error)
        for team in (critic, actor):
            team.relax()
            team.accumulate()
        shared.steps[0] += 1

    for episode in range(2):
        steps = experience(30, seed=episode)
        actor.begin()
        critic.begin()
        iterate(steps[0][0], None)
        whole.begin(steps[0][0])
        compare()
        for observation, reward in steps[1:]:
            iterate(observation, reward)
            whole.step(observation, reward)
            compare()


def test_the_first_step_of_an_episode_clears_the_traces() -> None:
    clean, littered = (MapProp(outcome_model(), N_IN, 2, seed=0) for _ in range(2))
    littered.actor.z[:] = 7.0
    littered.critic.z[:] = 7.0
    for agent in (clean, littered):
        agent.begin(experience(1)[0][0])
    assert_array_equal(clean.actor.z, littered.actor.z)
    assert_array_equal(clean.critic.z, littered.critic.z)
    assert np.any(clean.actor.z)


def test_noise_of_actor_and_critic_is_unrelated() -> None:
    model = small_spec({"actor.units": [200], "critic.units": [200]} | one_hidden_layer())
    agent = MapProp(model, N_IN, 2, seed=0)
    agent.begin(np.zeros(N_IN))
    noise = [team.noise[team.unit[1] : team.unit[1] + 200] for team in (agent.actor, agent.critic)]
    # The correlation of independent numbers has the standard deviation 1 / sqrt(200).
    assert abs(np.corrcoef(*noise)[0, 1]) < 5.0 / math.sqrt(200.0)


def one_hidden_layer() -> dict[str, Any]:
    """Keys whose lists have the length for one hidden layer."""
    return {
        "actor.activation": ["softplus"],
        "actor.var": [0.3],
        "actor.alpha": [0.05, 0.01],
        "actor.anneal_to": [1.0, 1.0],
        "critic.activation": ["softplus"],
        "critic.var": [0.4, 0.5],
        "critic.alpha": [0.04, 0.02],
        "critic.anneal_to": [1.0, 1.0],
    }


# --- options -------------------------------------------------------------------------------------


def on_and_off(key: str, on: Any, off: Any, **more: Any) -> tuple[Twins, Twins]:
    """Two agents that differ in one key alone, each beside its oracle."""
    first, second = (Twins(outcome_model({key: v} | more), N_IN, 2, seed=1) for v in (on, off))
    return first, second


def all_weights(twins: Twins) -> Array:
    """Copies of the weights and biases of both teams."""
    return np.concatenate([twins.agent.actor.w, twins.agent.critic.w])


def test_truncation_zero_ends_at_a_step_limit_with_td_error_0_and_bootstrap_with_the_value() -> (
    None
):
    steps = experience(5)
    zero, bootstrap = on_and_off("learning.truncation", "zero", "bootstrap")
    for twins in (zero, bootstrap):
        run_episode(twins, steps, terminated=False)
        twins.assert_close(TOLERANCE)
    critic = bootstrap.agent.critic
    next_value = critic.mu[critic.unit[-1]]
    expected = steps[-1][1] + 0.9 * next_value - bootstrap.agent.value
    assert zero.agent.td_error == 0.0
    assert bootstrap.agent.td_error == pytest.approx(expected, rel=1e-14)
    assert abs(expected) > 1e-3


def test_truncation_makes_no_difference_where_an_episode_terminates() -> None:
    steps = experience(5)
    zero, bootstrap = on_and_off("learning.truncation", "zero", "bootstrap")
    for twins in (zero, bootstrap):
        run_episode(twins, steps, terminated=True)
        twins.assert_close(TOLERANCE)
    assert zero.agent.td_error == bootstrap.agent.td_error != 0.0
    assert_array_equal(all_weights(zero), all_weights(bootstrap))


def test_the_terminal_transition_is_learned_with_reward_minus_value() -> None:
    steps = experience(5)
    twins = Twins(outcome_model(), N_IN, 2, seed=1)
    run_episode(twins, steps[:-1])
    before, value = all_weights(twins), twins.agent.value
    twins.end(*steps[-1], True)
    twins.assert_close(TOLERANCE)
    assert twins.agent.td_error == steps[-1][1] - value
    assert np.all(all_weights(twins) != before)


def test_an_update_at_reset_moves_the_weights_by_momentum() -> None:
    on, off = on_and_off("learning.update_at_reset", True, False)
    for twins, updates in ((on, 1), (off, 0)):
        run_episode(twins, experience(5), terminated=True)
        before, count = all_weights(twins), twins.agent.actor.count[1]
        twins.step(experience(1, seed=1)[0][0])
        twins.assert_close(TOLERANCE)
        assert twins.agent.td_error == 0.0
        assert twins.agent.actor.count[1] - count == updates
        moved = all_weights(twins) != before
        assert np.all(moved) if updates else not np.any(moved)


def test_the_very_first_update_at_reset_moves_nothing_for_there_is_no_momentum_yet() -> None:
    on, off = on_and_off("learning.update_at_reset", True, False)
    for twins in (on, off):
        twins.step(experience(1)[0][0])
        twins.assert_close(TOLERANCE)
    assert_array_equal(all_weights(on), all_weights(off))
    assert on.agent.actor.count[1] == 1


def test_a_terminal_iteration_relaxes_on_the_last_state_and_counts_for_annealing() -> None:
    steps = experience(5)
    on, off = on_and_off("learning.terminal_iteration", True, False)
    for twins, iterations in ((on, 5), (off, 4)):
        run_episode(twins, steps, terminated=True)
        twins.assert_close(TOLERANCE)
        assert twins.agent.shared.steps[0] == iterations
        seen = twins.agent.actor.h[:N_IN]
        assert_array_equal(seen, steps[-1 if iterations == 5 else -2][0])
    # the update itself is the same, for its td_error is
    assert on.agent.td_error == off.agent.td_error
    assert_array_equal(all_weights(on), all_weights(off))


def test_annealing_counts_terminal_iterations_too() -> None:
    anneal = {
        "learning.anneal_steps": 20.0,
        "actor.anneal_to": [0.1, 0.1, 0.1],
    }
    on, off = on_and_off("learning.terminal_iteration", True, False, **anneal)
    for twins in (on, off):
        run_episode(twins, experience(5), terminated=True)
    assert_array_equal(on.agent.actor.w, off.agent.actor.w)
    moves = []
    for twins in (on, off):
        actor = twins.agent.actor
        actor.z[:], actor.m[:], actor.v[:], actor.w[:] = 1.0, 0.0, 0.0, 0.0
        SynchronousTeam(actor, twins.agent.shared).learn(1.0)
        moves.append(actor.w[0])
    # alpha after k of 20 iterations is 1 - 0.9 k / 20 of itself; a few roundings
    assert moves[0] / moves[1] == pytest.approx((1 - 0.9 * 5 / 20) / (1 - 0.9 * 4 / 20), rel=1e-14)


def test_a_stale_first_mean_changes_the_relaxation_only_where_the_weights_have_moved() -> None:
    one = {"actor.N": 1, "critic.N": 1}
    on, off = on_and_off("learning.stale_first_mean", True, False, **one)
    steps = experience(2)
    for twins in (on, off):
        twins.step(steps[0][0])
        twins.assert_close(TOLERANCE)
    assert_array_equal(on.agent.actor.h, off.agent.actor.h)
    for twins in (on, off):
        twins.step(*steps[1])
        twins.assert_close(TOLERANCE)
    hidden = slice(N_IN, N_IN + 5)
    assert_array_equal(on.agent.actor.sampled, off.agent.actor.sampled)
    # alpha is 0.05 and Adam's first update moves each weight by that: so does the mean
    assert size(on.agent.actor.h[hidden] - off.agent.actor.h[hidden]) > 1e-3


def test_after_the_first_step_of_the_relaxation_a_stale_mean_is_fresh() -> None:
    two = {"actor.N": 2, "critic.N": 2}
    on, off = on_and_off("learning.stale_first_mean", True, False, **two)
    for twins in (on, off):
        for observation, reward in experience(6):
            twins.step(observation, reward)
            twins.assert_close(TOLERANCE)


def constant_updates(changes: dict[str, Any], updates: int, iterations_each: int = 0) -> Array:
    """Change of the first weight of each layer in updates whose gradient is always 1, (n, 3)."""
    agent = MapProp(outcome_model(changes), N_IN, 2, seed=0)
    team = SynchronousTeam(agent.actor, agent.shared)
    first = agent.actor.param[1:]
    moves = np.empty((updates, 3))
    for row in moves:
        agent.actor.w[:] = 0.0
        agent.actor.z[:] = 1.0
        team.learn(1.0)
        row[:] = agent.actor.w[first]
        agent.shared.steps[0] += iterations_each
    return moves


def test_without_bias_correction_from_the_1000th_update_on_the_step_grows_by_a_quarter() -> None:
    # With a constant gradient 1 the moments are 1 - beta**t: corrected, the step is alpha; not
    # corrected, alpha (1 - 0.9**t) / sqrt(1 - 0.999**t). The sums of 1000 rounded terms are exact
    # to 1000 * 2**-53 = 1e-13, and epsilon = 1e-9 shortens both steps by about 1e-9.
    on = constant_updates({"adam.bias_correction_until": 1000.0, "adam.epsilon": 1e-9}, 1001)
    off = constant_updates({"adam.epsilon": 1e-9}, 1001)
    assert_allclose(off, np.tile([0.05, 0.02, 0.01], (1001, 1)), rtol=2e-9)
    assert_array_equal(on[:999], off[:999])
    growth = 1.0 / math.sqrt(1.0 - 0.999**1000)
    assert growth == pytest.approx(1.25, abs=0.01)
    assert_allclose(on[999] / on[998], growth, rtol=2e-9)
    assert_allclose(on[1000] / on[999], math.sqrt((1 - 0.999**1000) / (1 - 0.999**1001)), rtol=2e-9)


def test_adams_epsilon_shortens_the_step_to_alpha_over_one_plus_epsilon() -> None:
    moves = constant_updates({"adam.epsilon": 1.0}, 1)
    assert_allclose(moves[0], np.array([0.05, 0.02, 0.01]) / 2.0, rtol=1e-14)  # a few roundings


def test_one_layer_can_be_annealed_to_a_hundredth_while_the_others_keep_their_step() -> None:
    changes = {"actor.anneal_to": [1.0, 0.1, 0.01], "learning.anneal_steps": 4.0}
    moves = constant_updates(changes, 7, iterations_each=1)
    progress = np.minimum(np.arange(7) / 4.0, 1.0)[:, None]
    alpha = np.array([0.05, 0.02, 0.01]) * (1.0 - (1.0 - np.array([1.0, 0.1, 0.01])) * progress)
    assert_allclose(moves, alpha, rtol=2e-8)  # Adam's epsilon is 1e-8


def test_the_gate_floor_holds_the_critics_gate_at_its_reciprocal() -> None:
    floors = {}
    for floor in (0.0, 3.0):
        twins = Twins(outcome_model({"critic.gate_floor": floor}), N_IN, 2, seed=1)
        twins.step(experience(1)[0][0])
        twins.assert_close(TOLERANCE)
        critic = twins.agent.critic
        _, bias_trace = weights(critic, critic.z, 3)
        output = critic.unit[-1]
        floors[floor] = bias_trace[0], critic.h[output] - critic.mu[output]
    var = 0.5
    (free, difference), (held, _) = floors.values()
    assert abs(difference) < 3.0 * math.sqrt(var)
    # (A - mu) / var times the gate: 1 / var where it is free; a few roundings
    assert free == pytest.approx(1.0 / var, rel=1e-14)
    assert held == pytest.approx(abs(difference) / (3.0 * math.sqrt(var)) / var, rel=1e-14)


def test_rewards_are_held_within_the_bound_for_learning() -> None:
    steps = experience(3)
    for reward, held in ((7.0, 5.0), (-7.0, -5.0), (4.0, 4.0)):
        bounded = Twins(outcome_model({"learning.reward_bound": 5.0}), N_IN, 2, seed=1)
        unbounded = Twins(outcome_model(), N_IN, 2, seed=1)
        for twins, given_reward in ((bounded, reward), (unbounded, held)):
            run_episode(twins, steps[:2])
            twins.step(steps[2][0], given_reward)
            twins.assert_close(TOLERANCE)
            twins.end(steps[0][0], given_reward, True)
            twins.assert_close(TOLERANCE)
        assert_array_equal(all_weights(bounded), all_weights(unbounded))


def test_with_mountaincars_action_map_a_zero_output_pushes_full_right() -> None:
    environment = Environment(spec.load("mountaincar").spec.task, "gaussian")
    outputs = np.array([0.0, 1.0, -0.25, -0.5, -0.75, -1.0, -5.0])
    actions = [environment.action(np.array([output]))[0] for output in outputs]
    # clip(2 A + 1, -1, 1), by hand
    assert actions == [1.0, 1.0, 0.5, 0.0, -0.5, -1.0, -1.0]


def test_without_an_action_map_the_output_is_the_action_held_within_the_space() -> None:
    task = Task(id="MountainCarContinuous-v0", episodes=1)
    environment = Environment(task, "gaussian")
    assert [environment.action(np.array([a]))[0] for a in (0.0, 0.3, 2.0)] == [0.0, 0.3, 1.0]


def test_without_relaxation_the_sampled_values_are_learned_from() -> None:
    twins = Twins(outcome_model({"actor.N": 0, "critic.N": 0}), N_IN, 2, seed=1)
    for observation, reward in experience(4):
        twins.step(observation, reward)
        twins.assert_close(TOLERANCE)
        assert_array_equal(twins.agent.actor.h, twins.agent.actor.sampled)


# --- hill climbing (Appendix F) ------------------------------------------------------------------


@models
def test_each_step_of_a_small_agent_that_climbs_is_the_oracles(model: Callable[..., Spec]) -> None:
    twins = Twins(model(CLIMBING | {"actor.N": 12, "critic.proposal": 0.1}), N_IN, 2, seed=1)
    for episode in range(2):
        for number, (observation, reward) in enumerate(experience(6, seed=episode)):
            twins.step(observation, reward if number else None)
            twins.assert_close(TOLERANCE)


def test_of_two_teams_one_can_climb() -> None:
    one = {key: value for key, value in CLIMBING.items() if key.startswith("critic")}
    twins = Twins(outcome_model(one), N_IN, 2, seed=1)
    for observation, reward in experience(6):
        twins.step(observation, reward)
        twins.assert_close(TOLERANCE)


def test_without_proposals_climbing_is_reinforce_to_the_bit() -> None:
    none = {"actor.N": 0, "critic.N": 0}
    climbing, relaxing = (MapProp(outcome_model(x | none), N_IN, 2, 3) for x in (CLIMBING, {}))
    for agent in (climbing, relaxing):
        run_episode(agent, experience(10), terminated=True)
    for name, array in everything(climbing.actor).items():
        assert_array_equal(array, everything(relaxing.actor)[name], err_msg=name)


def test_state_and_action_stay_where_the_hidden_units_climb() -> None:
    agent = MapProp(outcome_model(CLIMBING | {"actor.N": 200}), N_IN, 2, seed=3)
    agent.begin(experience(1)[0][0])
    team = agent.actor
    moved = team.h != team.sampled
    hidden = np.zeros(moved.size, bool)
    hidden[N_IN : team.unit[-1]] = True
    assert_array_equal(moved, hidden)
