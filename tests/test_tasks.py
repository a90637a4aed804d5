"""neurosim's own tasks, as Gymnasium environments and as samples drawn in batches.

The oracles: Gymnasium's own checker, and the tasks written out in plain Python from their
documentation, which sees nothing but the observation.
"""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from oracle import Array

from neurosim.kernels import rng
from neurosim.tasks import OneStep
from neurosim.tasks.multiplexer import Multiplexer
from neurosim.tasks.regression import ScalarRegression

ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("Multiplexer", {}),
    ("Multiplexer", {"k": 1}),
    ("Multiplexer", {"k": 2, "inputs": "binary"}),
    ("Multiplexer", {"k": 7, "inputs": "binary"}),
    ("ScalarRegression", {}),
    ("ScalarRegression", {"target_seed": 2**63 - 1}),
]
SECTIONS = [
    *("Description", "Observation space", "Action space", "Reward", "Starting state"),
    *("Episode end", "Arguments", "Version history"),
]

every_task = pytest.mark.parametrize(("name", "arguments"), ARGUMENTS)


def make(name: str, arguments: dict[str, Any]) -> OneStep:
    env = gymnasium.make(f"neurosim/{name}-v0", **arguments).unwrapped
    assert isinstance(env, OneStep)
    return env


def selected_bit(x: Array, k: int) -> int:
    """The multiplexer's answer: inputs above 0.5 are bits 1, the first one counts most."""
    bits = "".join("1" if each > 0.5 else "0" for each in x)
    return int(bits[k + int(bits[:k], 2)])


def target_weights(seed: int) -> Array:
    """W, then v, of the regression's target network: rows of normal draws numbered by row."""
    key, where = rng.mixed_key(seed), np.uint64(rng.TARGET)
    return np.array([[rng.normal(key, i, j, where) for j in range(8)] for i in range(9)])


def truth(env: OneStep, x: Array, seed: int = 0) -> float:
    """The answer to an observation."""
    if isinstance(env, Multiplexer):
        return selected_bit(x, next(k for k in range(1, 21) if k + 2**k == x.size))
    weights = target_weights(seed)
    return max(0.0, float(weights[8] @ np.maximum(0.0, x @ weights[:8])))


def reward_of(env: OneStep, action: float, answer: float) -> float:
    """The reward that the documentation promises."""
    if isinstance(env, Multiplexer):
        return 1.0 if action == answer else -1.0
    return -((action - answer) ** 2)


# --- Gymnasium -----------------------------------------------------------------------------------


@every_task
def test_gymnasiums_checker_has_no_complaint(name: str, arguments: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        # What it says of any unbounded space; the paper's inputs and outputs are normal.
        for message in ("infinity", "minimum value is -infinity", "symmetric and normalized"):
            warnings.filterwarnings("ignore", f".*{message}", UserWarning)
        check_env(make(name, arguments))


@pytest.mark.parametrize("task", [Multiplexer, ScalarRegression])
def test_the_docstring_is_the_documentation_in_gymnasiums_sections(task: type[OneStep]) -> None:
    assert task.__doc__ is not None
    assert re.findall(r"^ *## (.*)$", task.__doc__, re.MULTILINE) == SECTIONS


def test_an_environment_can_be_made_by_those_who_have_not_imported_neurosim() -> None:
    env = gymnasium.make("neurosim.tasks:neurosim/Multiplexer-v0", k=3)
    assert env.observation_space.shape == (11,)


@every_task
def test_an_episode_is_one_step_with_the_reward_of_the_truth(
    name: str, arguments: dict[str, Any]
) -> None:
    env, seed = make(name, arguments), arguments.get("target_seed", 0)
    env.action_space.seed(0)
    rewards = set()
    for reset_seed in range(50):
        x, info = env.reset(seed=reset_seed)
        assert x in env.observation_space
        assert not info
        action = env.action_space.sample()
        after, reward, terminated, truncated, _ = env.step(action)
        answer = truth(env, x, seed)
        expected = reward_of(env, float(np.ravel(action)[0]), answer)
        # eight products of normal numbers, twice
        assert reward == pytest.approx(expected, rel=1e-12, abs=1e-12)
        assert (terminated, truncated) == (True, False)
        assert np.array_equal(after, x)
        rewards.add(reward)
    assert len(rewards) >= 2


def test_what_comes_out_of_a_multiplexer_of_one_bit_worked_by_hand() -> None:
    env = make("Multiplexer", {"k": 1, "inputs": "binary"})
    # address, data at 0, data at 1 -> bit
    table = {
        (0, 0, 0): 0,
        (0, 0, 1): 0,
        (0, 1, 0): 1,
        (0, 1, 1): 1,
        (1, 0, 0): 0,
        (1, 0, 1): 1,
        (1, 1, 0): 0,
        (1, 1, 1): 1,
    }
    inputs, answers = env.draw(rng.mixed_key(0), 0, 200)
    found = {tuple(int(v) for v in x): int(a) for x, a in zip(inputs, answers, strict=True)}
    assert found == table


def test_the_most_significant_bit_of_an_address_comes_first() -> None:
    env = make("Multiplexer", {"k": 2})
    inputs, answers = env.draw(rng.mixed_key(0), 0, 400)
    at_one = (inputs[:, 0] == -1.0) & (inputs[:, 1] == 1.0)  # binary 01
    assert at_one.sum() > 50
    assert np.array_equal(answers[at_one] == 1, inputs[at_one, 2 + 1] == 1.0)


# --- the same task, one by one and in batches ----------------------------------------------------


@every_task
def test_samples_drawn_in_batches_have_the_answers_and_rewards_of_the_truth(
    name: str, arguments: dict[str, Any]
) -> None:
    env, seed = make(name, arguments), arguments.get("target_seed", 0)
    inputs, answers = env.draw(rng.mixed_key(9), 1000, 64)
    expected = [truth(env, x, seed) for x in inputs]
    np.testing.assert_allclose(answers, expected, rtol=1e-12, atol=1e-12)
    env.action_space.seed(0)
    actions = np.array([np.ravel(env.action_space.sample())[0] for _ in inputs])
    rewards = [reward_of(env, a, b) for a, b in zip(actions, answers, strict=True)]
    np.testing.assert_allclose(env.rewards(actions, answers), rewards, rtol=1e-15)


@every_task
def test_a_sample_depends_on_its_key_and_number_alone(name: str, arguments: dict[str, Any]) -> None:
    env, key = make(name, arguments), rng.mixed_key(4)
    inputs, answers = env.draw(key, 5, 12)
    for first, n in ((5, 1), (8, 3), (10, 7)):
        part, some = make(name, arguments).draw(key, first, n)
        assert np.array_equal(part, inputs[first - 5 : first - 5 + n])
        assert np.array_equal(some, answers[first - 5 : first - 5 + n])
    assert not np.array_equal(env.draw(rng.mixed_key(5), 5, 12)[0], inputs)


@every_task
def test_an_episode_is_the_first_sample_of_a_key_drawn_from_the_environments_generator(
    name: str, arguments: dict[str, Any]
) -> None:
    env = make(name, arguments)
    generator, _ = gymnasium.utils.seeding.np_random(17)
    x, _ = env.reset(seed=17)
    for _ in range(3):
        inputs, _ = env.draw(rng.mixed_key(int(generator.integers(2**63))), 0, 1)
        assert np.array_equal(x, inputs[0])
        x, _ = env.reset()


@pytest.mark.parametrize("batch", [True, False])
def test_all_inputs_of_the_multiplexer_are_equally_likely(batch: bool) -> None:
    env, n = make("Multiplexer", {"k": 1}), 4000
    if batch:
        inputs, _ = env.draw(rng.mixed_key(0), 0, n)
    else:
        inputs = np.array([env.reset(seed=0 if i == 0 else None)[0] for i in range(n)])
    codes = ((inputs > 0.0) @ [4, 2, 1]).astype(int)
    counts = np.bincount(codes, minlength=8)
    # five standard deviations of a binomial count
    assert np.all(np.abs(counts - n / 8) < 5.0 * math.sqrt(n * 7 / 64))


def test_every_bit_of_a_wide_multiplexer_is_fair_and_none_repeats_another() -> None:
    env, n = make("Multiplexer", {"k": 8}), 2000  # 264 bits, three draws of 128
    inputs, _ = env.draw(rng.mixed_key(0), 0, n)
    assert set(np.unique(inputs)) == {-1.0, 1.0}
    products = inputs.T @ inputs / n
    others = products[np.triu_indices(264, 1)]
    # 5.5 standard errors: one of 35,000 pairs exceeds 5 with probability 0.02, 5.5 with 0.001
    assert np.max(np.abs(others)) < 5.5 / math.sqrt(n)
    assert np.max(np.abs(inputs.mean(axis=0))) < 5.0 / math.sqrt(n)


def test_the_inputs_of_the_regression_are_standard_normal_and_uncorrelated() -> None:
    n = 20_000
    inputs, _ = make("ScalarRegression", {}).draw(rng.mixed_key(0), 0, n)
    error = 5.0 / math.sqrt(n)
    assert np.all(np.abs(inputs.mean(axis=0)) < error)
    # the variance of a product of two normal numbers is 1, of a square 2
    assert np.all(np.abs(inputs.T @ inputs / n - np.eye(8)) < error * math.sqrt(2.0))


def test_another_target_seed_is_another_target_and_the_same_inputs() -> None:
    one, two = (make("ScalarRegression", {"target_seed": seed}) for seed in (0, 1))
    x, a = one.draw(rng.mixed_key(0), 0, 100)
    y, b = two.draw(rng.mixed_key(0), 0, 100)
    assert np.array_equal(x, y)
    assert np.mean(a != b) > 0.5


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Multiplexer", {"k": 0}, "k = 0: .*1 to 20"),
        ("Multiplexer", {"k": 21}, "k = 21: .*1 to 20"),
        ("Multiplexer", {"k": 2.0}, "k = 2.0: .*1 to 20"),
        ("Multiplexer", {"k": True}, "k = True: .*1 to 20"),
        ("Multiplexer", {"inputs": "zero"}, "inputs = 'zero': .*'signed', 'binary'"),
        ("ScalarRegression", {"target_seed": -1}, "target_seed = -1: .*from 0"),
        ("ScalarRegression", {"target_seed": 2**63}, "target_seed = .*from 0"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(name, arguments)


@every_task
def test_a_step_after_the_end_or_with_another_action_is_refused(
    name: str, arguments: dict[str, Any]
) -> None:
    env = make(name, arguments)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(env.action_space.sample())
    env.reset(seed=0)
    with pytest.raises(gymnasium.error.InvalidAction):
        env.step(np.array([2, 2]))
    env.step(env.action_space.sample())
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(env.action_space.sample())
