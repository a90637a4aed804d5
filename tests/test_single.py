"""Single precision: against the oracle in double, and what becomes of a run.

The oracle is that of ``test_algorithm.py``, started in each step from the same state, in double
precision. The tolerance is the same number of roundings, each 2**29 times as large.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bridge import TEAMS, play, small_spec
from test_algorithm import N_IN, TOLERANCE, experience, run_episode

import neurosim
from neurosim import spec
from neurosim.analysis.replay import replay
from neurosim.errors import InputError
from neurosim.learners import MapProp
from neurosim.teams import SynchronousTeam

SINGLE: dict[str, Any] = {"learning.precision": "single"}
SHORT: dict[str, Any] = {"task.options": {"max_episode_steps": 60}}


@pytest.mark.parametrize("name", ["cartpole", "mountaincar", "thomas/cartpole", "backprop/acrobot"])
def test_each_step_of_real_episodes_is_the_oracles(name: str) -> None:
    for twins in play(spec.load(name, SINGLE | SHORT).spec, episodes=2, seed=6):
        twins.assert_close(TOLERANCE * 2**29)


def test_all_that_a_team_is_and_learns_has_single_precision() -> None:
    agent = MapProp(small_spec(SINGLE), N_IN, 2, seed=0)
    run_episode(agent, experience(5), terminated=True)
    for name in TEAMS:
        arrays = agent.state_of(name)
        for key in ("W1", "b1", "zW2", "mW2", "vb3"):
            assert arrays[key].dtype == np.float32
            assert np.any(arrays[key])
        assert getattr(agent, name).h.dtype == np.float32


def test_the_weights_begin_as_those_in_double_precision_rounded() -> None:
    single, double = (MapProp(small_spec(changes), N_IN, 2, seed=3) for changes in (SINGLE, None))
    for name in TEAMS:
        ours, theirs = single.weights(name), double.weights(name)
        for key, weights in theirs.items():
            # drawn in (0, 1), then scaled and shifted: three roundings of numbers up to 2
            np.testing.assert_allclose(ours[key], weights, rtol=0, atol=3 * 2.0**-23)


def test_an_action_that_is_its_mean_leaves_finite_traces() -> None:
    agent = MapProp(small_spec(SINGLE), N_IN, 2, seed=0)
    run_episode(agent, experience(5))
    critic = SynchronousTeam(agent.critic, agent.shared)
    before = agent.critic.z.copy()
    agent.critic.h[-1] = agent.critic.mu[-1]
    critic.accumulate()
    assert agent.critic.h[-1] == agent.critic.mu[-1]  # it moves only when the layer below does
    assert np.isfinite(agent.critic.z).all()
    assert not np.array_equal(agent.critic.z, before)


def test_recorded_steps_are_lived_through_again_to_the_same_bits() -> None:
    window = {"record": [{"episodes": [3], "steps": "all"}], "task.episodes": 3}
    with neurosim.simulate(neurosim.load("cartpole", SINGLE | window)) as run:
        for name in TEAMS:  # each step is held against what was recorded, bit for bit
            assert len(list(replay(run, name))) == run.episodes["length"][2]


def test_what_needs_double_precision_is_refused() -> None:
    with pytest.raises(InputError, match=r"critic\.gate_floor: 0\.0 lets the gate"):
        neurosim.load("cartpole", SINGLE | {"critic.gate_floor": 0.0})
    with pytest.raises(InputError, match=r"learning\.precision: 'single' is synchronous"):
        neurosim.load("async/cartpole", SINGLE)
    with pytest.raises(InputError, match=r"learning\.precision = 'half'"):
        neurosim.load("cartpole", {"learning.precision": "half"})
