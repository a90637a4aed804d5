"""The energy, its slope and backprop against the oracle, differences and complex steps."""

from __future__ import annotations

import numpy as np
import pytest
from bridge import state_of
from numpy.testing import assert_allclose
from oracle import ACTIVATIONS, Array, Settings, energy
from test_theory import (
    DIFFERENCES,
    backprop,
    backprop_of_log_pi,
    derivative,
    make_team,
    reparameterised,
    values,
)

from neurosim.analysis import landscape
from neurosim.analysis.landscape import layers_of, network_of
from neurosim.teams import SynchronousTeam

TEAMS = [("actor", "softmax"), ("actor", "gaussian"), ("critic", "gaussian")]
all_teams = pytest.mark.parametrize(("name", "output"), TEAMS)
all_activations = pytest.mark.parametrize("activation", ACTIVATIONS)
EXACT = 1e-12  # sums of ten terms of size ten


@all_teams
@all_activations
def test_the_energy_is_minus_the_log_of_all_densities(
    name: str, output: str, activation: str
) -> None:
    team, settings = make_team(name, output, activation, N=0)
    H = values(team.memory)
    found = landscape.energy(network_of(team.memory), H)
    assert found.shape == ()
    assert_allclose(found, energy(settings, state_of(team.memory), H), rtol=EXACT)


@all_teams
@all_activations
def test_the_slope_is_the_energys_derivative(name: str, output: str, activation: str) -> None:
    team, settings = make_team(name, output, activation, N=0)
    state, H = state_of(team.memory), values(team.memory)
    found = landscape.slope(network_of(team.memory), H)
    expected = [derivative(lambda: energy(settings, state, H), H[l]) for l in (1, 2)]
    for ours, theirs in zip(found, expected, strict=True):
        assert np.max(np.abs(theirs)) > 1e-2
        assert_allclose(ours, theirs, rtol=0, atol=DIFFERENCES)
    moves = [np.sqrt(settings.var[l]) * expected[l] for l in (0, 1)]
    rms = np.sqrt(np.mean(np.concatenate(moves) ** 2))
    assert_allclose(landscape.residual(network_of(team.memory), H), rms, atol=DIFFERENCES)


def complex_steps(
    team: SynchronousTeam, settings: Settings, name: str, H: list[Array]
) -> list[Array]:
    """Backprop's gradient of each layer (n(l), n(l-1) + 1), by complex steps of the paper's
    re-parameterised network: of log Pr(A | S, z), or of mu[L] / var[L]."""
    state = state_of(team.memory)
    if name == "actor":
        found = backprop_of_log_pi(settings, state, H)
    else:
        last_potential = reparameterised(settings, state, H)
        found = backprop(lambda W, b: complex(last_potential(W, b)[0]) / settings.var[-1], state)
    return [np.column_stack(pair) for pair in zip(found.W, found.b, strict=True)]


@all_teams
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "relu"])
def test_backprop_is_the_derivative_through_the_reparameterised_network(
    name: str, output: str, activation: str
) -> None:
    team, settings = make_team(name, output, activation, N=0)
    H = values(team.memory)
    found = landscape.backprop(network_of(team.memory), H)
    for ours, theirs in zip(found, complex_steps(team, settings, name, H), strict=True):
        assert np.max(np.abs(theirs)) > 1e-4
        assert_allclose(ours, theirs, rtol=0, atol=EXACT * max(1.0, np.max(np.abs(theirs))))


@all_teams
def test_many_states_are_taken_at_once(name: str, output: str) -> None:
    team, _ = make_team(name, output, "softplus", N=1)
    network, memory = network_of(team.memory), team.memory
    states = [memory.h.copy()]
    for _ in range(5):
        team.relax()
        states.append(memory.h.copy())
    together = layers_of(memory, np.array(states).reshape(2, 3, -1))
    alone = [layers_of(memory, state) for state in states]
    for function in (landscape.energy, landscape.residual):
        expected = np.reshape([function(network, H) for H in alone], (2, 3))
        assert_allclose(function(network, together), expected, rtol=EXACT)
    for l, found in enumerate(landscape.backprop(network, together)):
        expected = np.array([landscape.backprop(network, H)[l] for H in alone])
        assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=EXACT)


@all_teams
def test_settled_units_have_no_residual(name: str, output: str) -> None:
    team, _ = make_team(name, output, "softplus", N=3000, step_size=0.1)
    network = network_of(team.memory)
    assert landscape.residual(network, values(team.memory)) > 0.1
    team.relax()
    # values round to 1e-16 of their size, below 10; pulls divide that by deviations above 0.5
    assert landscape.residual(network, values(team.memory)) < 1e-13


def test_a_network_does_not_change_with_its_team() -> None:
    team, _ = make_team("actor", "softmax", "softplus", N=0)
    network = network_of(team.memory)
    before = [w.copy() for w in network.W]
    team.memory.w[:] = 0.0
    for now, then in zip(network.W, before, strict=True):
        assert np.array_equal(now, then)
