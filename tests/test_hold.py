"""Units that hold their values for some steps (docs/algorithm.md): against the oracles, and facts
that need none.

Tolerances of steps are those of ``test_algorithm.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
import tomlkit
from bridge import TEAMS, Twins, play, settings_of, small_content, state_of, values_of
from numpy.testing import assert_allclose, assert_array_equal
from oracle import Array
from test_algorithm import (
    N_IN,
    TOLERANCE,
    everything,
    experience,
    gaussian_model,
    models,
    outcome_model,
    run_episode,
)
from test_baselines import HABITS, ruled

import neurosim
from neurosim import experiment, spec
from neurosim.analysis import landscape
from neurosim.analysis.alignment import alignment
from neurosim.analysis.operations import operations
from neurosim.analysis.relaxation import relaxation
from neurosim.analysis.replay import Step, replay
from neurosim.analysis.stability import of_model
from neurosim.errors import InputError
from neurosim.kernels.team import first_diverged
from neurosim.learners import LEARNERS, MapProp
from neurosim.memory import Team
from neurosim.plots import alignment as alignment_plot
from neurosim.plots import relaxation as relaxation_plot
from neurosim.record import Window
from neurosim.spec import Spec
from neurosim.tasks import Environment
from neurosim.teams import SynchronousTeam

HOLDS = [([1, 4], [1, 1]), ([3, 1], [1, 2]), ([2, 3], [3, 2]), ([5, 5], [1, 100])]
holds = pytest.mark.parametrize("hold", HOLDS, ids=str)


def holding(hold: tuple[list[int], list[int]]) -> dict[str, Any]:
    """Keys that make actor and critic hold their values."""
    return {"actor.hold": hold[0], "critic.hold": hold[1]}


def follow(twins: Twins, lengths: tuple[int, ...] = (7, 4, 9)) -> None:
    """Episodes of these numbers of steps, each step compared with the oracle's."""
    for episode, length in enumerate(lengths):
        steps = experience(length + 1, seed=episode)
        twins.step(steps[0][0])
        twins.assert_close(TOLERANCE)
        for observation, reward in steps[1:-1]:
            twins.step(observation, reward)
            twins.assert_close(TOLERANCE)
        twins.end(*steps[-1], terminated=episode % 2 == 1)
        twins.assert_close(TOLERANCE)


# --- steps of the oracle -------------------------------------------------------------------------


@pytest.mark.parametrize("aligned", [True, False], ids=["from the same state", "running freely"])
@pytest.mark.parametrize("name", ["cartpole", "published/cartpole", "mountaincar"])
def test_each_step_of_real_episodes_is_the_oracles(name: str, aligned: bool) -> None:
    changes = holding(([2, 4], [1, 3])) | {"task.options": {"max_episode_steps": 50}}
    for twins in play(spec.load(name, changes).spec, 3, seed=6, aligned=aligned):
        twins.assert_close(TOLERANCE if aligned else 1e-9)  # see test_algorithm.py


@holds
@models
@pytest.mark.parametrize("habits", [{}, HABITS | {"learning.stale_first_mean": True}], ids=str)
def test_each_step_of_a_small_agent_is_the_oracles(
    hold: tuple[list[int], list[int]], model: Callable[..., Spec], habits: dict[str, Any]
) -> None:
    follow(Twins(model(holding(hold) | habits), N_IN, 2, seed=1))


@pytest.mark.parametrize("rule", ["reinforce", "thomas"])
@pytest.mark.parametrize("critic", ["map_prop", "backprop"])
@pytest.mark.parametrize("output", ["softmax", "gaussian"])
def test_rules_that_do_not_relax_hold_their_values_as_the_oracle_does(
    rule: str, critic: str, output: str
) -> None:
    changes: dict[str, Any] = {"actor.hold": [2, 3]}
    if critic == "map_prop":
        changes["critic.hold"] = [3, 2]
    follow(Twins(ruled(rule, critic, output, changes), N_IN, 2, seed=1))


# --- facts ---------------------------------------------------------------------------------------


class Before:
    """Copies of what a team had before a step."""

    def __init__(self, team: Team) -> None:
        self.h, self.z = team.h.copy(), team.z.copy()


def parameters(team: Team, layer: int) -> slice:
    """Where the weights and biases of a layer lie."""
    first = int(team.param[layer])
    return slice(first, first + int(team.size[layer]) * (int(team.size[layer - 1]) + 1))


@holds
@models
def test_between_decisions_values_stay_errors_are_0_and_traces_decay(
    hold: tuple[list[int], list[int]], model: Callable[..., Spec]
) -> None:
    agent = MapProp(model(holding(hold)), N_IN, 2, seed=2)
    seen = {True: 0, False: 0}
    for episode, length in enumerate((6, 5, 8)):  # no multiples of what is held for
        for t, (observation, reward) in enumerate(experience(length, seed=episode)):
            before = {name: Before(getattr(agent, name)) for name in TEAMS}
            if t == 0:
                agent.begin(observation)
            else:
                agent.step(observation, reward)
            for name, steps in zip(TEAMS, hold, strict=True):
                team, old = getattr(agent, name), before[name]
                for layer, k in enumerate(steps, start=1):
                    units = slice(int(team.unit[layer]), int(team.unit[layer + 1]))
                    own = parameters(team, layer)
                    holds_now = t % k != 0
                    seen[holds_now] += 1
                    if holds_now:
                        assert_array_equal(team.h[units], old.h[units])
                        assert_array_equal(team.sampled[units], old.h[units])
                        assert_array_equal(team.g[units], 0.0)
                        assert_array_equal(team.z[own], team.trace_decay * old.z[own])
                    else:
                        assert np.all(team.h[units] != old.h[units])
                        assert np.all(team.g[units] != 0.0)
        agent.end(observation, 1.0, terminated=True)
    assert min(seen.values()) > 8


def test_a_unit_is_credited_for_its_decision_while_it_holds() -> None:
    """Adam moves its weights by td_error times the trace that its last decision left."""
    agent = MapProp(outcome_model({"actor.hold": [1, 10]}), N_IN, 2, seed=2)
    steps = experience(4)
    agent.begin(steps[0][0])
    own = parameters(agent.actor, 2)
    for t, (observation, reward) in enumerate(steps[1:]):
        w, m = agent.actor.w[own].copy(), agent.actor.m[own].copy()
        trace = agent.actor.z[own].copy()
        agent.step(observation, reward)
        assert_allclose(agent.actor.m[own], 0.9 * m + 0.1 * agent.td_error * trace, rtol=1e-13)
        assert np.all(agent.actor.w[own] != w), t


@models
def test_holding_for_one_step_has_the_bits_of_not_holding(model: Callable[..., Spec]) -> None:
    agents = [MapProp(model(changes), N_IN, 2, 3) for changes in ({}, holding(([1, 1], [1, 1])))]
    for agent in agents:
        for episode in range(2):
            run_episode(agent, experience(10, seed=episode), terminated=True)
    for name in TEAMS:
        ours, theirs = (everything(getattr(agent, name)) for agent in agents)
        for key, array in ours.items():
            assert_array_equal(array, theirs[key], err_msg=key)
        assert agents[0].state_of(name).keys() == agents[1].state_of(name).keys()


def test_reinforce_that_holds_is_map_propagation_without_relaxation() -> None:
    hold = {"actor.hold": [2, 3]}
    models = [
        ruled("reinforce", "backprop", changes=hold),
        ruled("thomas", "backprop", changes=hold | {"actor.explore": 1.0}),
        ruled("map_prop", "backprop", changes=hold | {"actor.N": 0}),
    ]
    agents = [MapProp(model, N_IN, 2, 3) for model in models]
    for agent in agents:
        run_episode(agent, experience(12), terminated=True)
    for agent in agents[1:]:
        for key, array in everything(agent.actor).items():
            assert_array_equal(array, everything(agents[0].actor)[key], err_msg=key)


def test_a_held_value_far_from_the_mean_it_would_have_now_is_no_divergence() -> None:
    """Units decide at an observation of 1e9, and hold at one of 0."""
    relu = {"actor.activation": ["relu", "linear"], "actor.hold": [50, 50], "actor.N": 0}
    agent = MapProp(outcome_model(relu), N_IN, 2, seed=0)
    team = SynchronousTeam(agent.actor, agent.shared)
    team.begin()
    for observation in (np.full(N_IN, 1e9), np.zeros(N_IN)):
        team.act(observation)
        team.accumulate()
        assert first_diverged(agent.actor) == -1
    settings = settings_of(outcome_model(relu), "actor", N_IN, 2)
    mu, _ = oracle.means_and_slopes(
        settings, state_of(agent.actor), values_of(agent.actor, agent.actor.h)
    )
    assert np.max(np.abs(agent.actor.h[N_IN : N_IN + 5] - mu[0])) > 1e6


# --- the energy of those that decide -------------------------------------------------------------


def held_network(
    held: tuple[int, ...], model: Callable[..., Spec] = gaussian_model
) -> tuple[landscape.Network, oracle.Settings, oracle.State, list[Array]]:
    """A network whose layers `held` hold, the same for the oracle, and some values."""
    agent = MapProp(model(), N_IN, 2, seed=4)
    team = agent.actor
    rng = np.random.default_rng(4)
    team.w[:] = rng.normal(size=team.w.size)
    network = landscape.network_of(team)
    network.held[[layer - 1 for layer in held]] = True
    state = oracle.new_state(network.W, network.b)
    H = [rng.normal(size=n) for n in (N_IN, 5, 4, 2)]
    if model is outcome_model:
        H[-1] = np.array([0.0, 1.0])
    return network, settings_of(model(), "actor", N_IN, 2), state, H


@models
@pytest.mark.parametrize("held", [(), (1,), (2,), (1, 2)], ids=str)
def test_energy_slope_and_residual_are_of_the_layers_that_decide(
    held: tuple[int, ...], model: Callable[..., Spec]
) -> None:
    network, settings, state, H = held_network(held, model)
    assert_allclose(landscape.energy(network, H), oracle.energy(settings, state, H, held))
    squares = []
    for layer, found in enumerate(landscape.slope(network, H), start=1):
        for i in range(found.size):
            if layer in held:
                assert found[i] == 0.0
                continue
            ends = []
            for step in (1e-5, -1e-5):
                moved = [h.copy() for h in H]
                moved[layer][i] += step
                ends.append(oracle.energy(settings, state, moved, held))
            assert found[i] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-6)
            squares.append(settings.var[layer - 1] * found[i] ** 2)
    expected = np.sqrt(np.mean(squares)) if squares else np.nan
    assert_allclose(landscape.residual(network, H), expected)


@pytest.mark.parametrize("held", [(1,), (2,)], ids=str)
def test_backprop_does_not_go_through_values_that_are_held(held: tuple[int, ...]) -> None:
    """The derivative of log pi_L through H = mu + sqrt(var) Z with the held values constant."""
    network, settings, state, H = held_network(held)
    mu, _ = oracle.means_and_slopes(settings, state, H)
    Z = [h - m for h, m in zip(H[1:], mu, strict=True)]  # times sqrt(var)

    def log_density() -> float:
        values = [H[0]]
        for layer in range(1, settings.L):
            potential = oracle.potential(state, layer, values[-1])
            mean, _ = oracle.mean_and_slope(settings, layer, potential)
            values.append(H[layer] if layer in held else mean + Z[layer - 1])
        return oracle.log_density(settings, state, [*values, H[-1]])[-1]

    for layer, found in enumerate(landscape.backprop(network, H)):
        for index in np.ndindex(*state.W[layer].shape):
            w = state.W[layer][index]
            ends = []
            for step in (1e-5, -1e-5):
                state.W[layer][index] = w + step
                ends.append(log_density())
            state.W[layer][index] = w
            assert found[index] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-6)


# --- runs ----------------------------------------------------------------------------------------

RUN = {"task.episodes": 8, "task.options": {"max_episode_steps": 30}} | holding(([1, 4], [3, 2]))
WINDOWS = [
    {"episodes": [2, 5], "steps": "all"},
    {"episodes": [4, 7], "steps": [3, 9]},  # begins in the middle of what is held
]


def hold_model(changes: dict[str, Any] | None = None) -> neurosim.Model:
    """The small model on CartPole with `RUN`, and with `WINDOWS`."""
    content = small_content(None)
    content["record"] = WINDOWS
    return spec.parse(tomlkit.dumps(content), "small", RUN | (changes or {}))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[neurosim.Run]:
    """A run with windows."""
    with neurosim.open(neurosim.run(hold_model(), 7, tmp_path)) as run:
        yield run


class Stopped(Exception):
    """A run is stopped on purpose."""


@pytest.mark.parametrize("episode", [1, 4, 6])
def test_stopped_after_any_episode_a_run_resumes_to_the_same_bits(
    episode: int,
    run: neurosim.Run,
    tmp_path: Path,
    contents: Callable[[Path], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", 0.0)

    def stop(ended: neurosim.training.Episode) -> None:
        if ended.number == episode:
            raise Stopped

    with pytest.raises(Stopped):
        neurosim.run(hold_model(), 7, tmp_path / "stopped", on_episode=stop)
    folder = experiment.run_folder(hold_model(), 7, tmp_path / "stopped")
    assert contents(neurosim.resume(folder)) == contents(run.path)


def test_a_window_holds_the_values_that_are_held_as_it_begins(run: neurosim.Run) -> None:
    for window in run.windows:
        t = window.first_step - run.episodes["first_step"][window.episode - 1]
        for name in TEAMS:
            before, after = window.before(name), window.after(name)
            last = t + window.n_steps - 1
            k = np.array([*getattr(run.spec, name).hold, 1])
            assert_array_equal(after["held"], last % k)
            assert_array_equal(after["h"], window.relaxed(name)[-1])
            if t == 0:
                continue
            assert_array_equal(before["held"], (t - 1) % k)
            first = np.cumsum([0, *getattr(run.spec, name).units])
            for layer, steps in enumerate(k[:-1]):
                units = slice(first[layer], first[layer + 1])
                same = np.array_equal(window.sampled(name)[0][units], before["h"][units])
                assert same == (t % steps != 0)
    column = run["windows/actor/before"]["h"]
    assert column.dimensions == ("window", "unit")
    assert run["windows/actor/before"]["held"].dimensions == ("window", "layer")


def test_a_run_that_does_not_hold_has_no_such_columns(tmp_path: Path) -> None:
    none = {"actor.hold": None, "critic.hold": None}
    with neurosim.open(neurosim.run(hold_model(none), 7, tmp_path)) as run:
        assert not {"h", "held"} & set(run["windows/actor/before"])


def everything_in(window: Window) -> dict[str, Any]:
    """All that a window holds of the teams, as bytes."""
    found = {}
    for team in TEAMS:
        found |= {f"{team} {k}": getattr(window, k)(team).tobytes() for k in ("sampled", "relaxed")}
        for when in ("before", "after"):
            state = getattr(window, when)(team)
            found |= {f"{team} {when} {key}": array.tobytes() for key, array in state.items()}
    return found


def test_a_window_recorded_afterwards_has_the_bits_of_one_recorded_meanwhile(
    run: neurosim.Run, tmp_path: Path
) -> None:
    folder = neurosim.run(hold_model({"record": None}), 7, tmp_path / "without")
    for episode, first, last in ((4, 3, 9), (5, 0, 1000)):
        neurosim.rerecord(folder, episode, (first, last))
    meanwhile = {window.episode: window for window in run.windows}
    with neurosim.open(folder) as again:
        for window in again.windows:
            assert everything_in(window) == everything_in(meanwhile[window.episode])
        for name in TEAMS:
            assert list(replay(again, name))


def holds_at(step: Step, run: neurosim.Run, name: str) -> list[bool]:
    """Whether each layer holds its values at a recorded step."""
    episode = run.steps["episode"][step.row] - 1
    t = step.row - run.episodes["first_step"][episode]
    return [bool(t % k != 0) for k in (*getattr(run.spec, name).hold, 1)]


@pytest.mark.parametrize("name", TEAMS)
def test_a_replay_knows_what_is_held_wherever_its_window_begins(
    run: neurosim.Run, name: str
) -> None:
    steps = list(replay(run, name))
    settings = settings_of(run.spec, name, 4, 2 if name == "actor" else 1)
    assert len(steps) == sum(window.n_steps for window in run.windows)
    for step in steps:
        held = holds_at(step, run, name)
        assert step.network.held.tolist() == held
        state = oracle.new_state(step.network.W, step.network.b)
        holding = [layer for layer, holds in enumerate(held, start=1) if holds]
        H = oracle.relax(settings, state, [path[0] for path in step.path], None, holding)
        oracle.accumulate(settings, state, H, holding)
        for layer, (ours, theirs) in enumerate(zip(step.relaxed, H, strict=True)):
            assert_allclose(ours, theirs, rtol=0, atol=1e-13)
            assert np.all((step.path[layer] == step.path[layer][0]) | (layer not in holding))
        for layer, found in enumerate(step.gradient):
            expected = np.column_stack([state.zW[layer], state.zb[layer]])
            assert_allclose(found, expected, rtol=1e-8, atol=1e-11)
            assert not held[layer] or not found.any()


def test_the_energy_of_those_that_decide_falls_and_their_gradients_become_backprops(
    tmp_path: Path,
) -> None:
    changes = {f"{name}.{key}": v for name in TEAMS for key, v in (("N", 400), ("step_size", 0.2))}
    changes |= {"critic.gate_floor": 0.0, "actor.hold": [4, 3]}
    with neurosim.open(neurosim.run(hold_model(changes), 7, tmp_path)) as run:
        for name in TEAMS:
            steps, fall, found = (
                list(replay(run, name)),
                relaxation(run, name),
                alignment(run, name),
            )
            held = np.array([holds_at(step, run, name) for step in steps])
            nothing = held[:, :-1].all(axis=1)
            assert 0 < nothing.sum() < len(steps)
            assert_array_equal(np.isnan(fall.residual).all(axis=1), nothing)
            assert np.all(fall.residual[~nothing, -1] < 1e-9)
            assert np.all(fall.energy[~nothing, -1] < fall.energy[~nothing, 0])
            assert_array_equal(fall.energy[nothing, -1], fall.energy[nothing, 0])
            # nothing comes down through a layer that holds
            reached = ~np.logical_or.accumulate(held[:, ::-1], axis=1)[:, ::-1]
            assert_array_equal(np.isnan(found.cosine), ~reached)
            assert np.all(found.cosine[reached] > 1.0 - 1e-6)
            assert_allclose(found.ratio[reached], 1.0, atol=1e-6)
            relaxation_plot.draw({"run": {name: fall}})
            alignment_plot.draw({"run": {name: found}})


def test_figures_of_steps_at_which_no_unit_decides_are_empty_without_complaint(
    tmp_path: Path,
) -> None:
    model = hold_model({"actor.hold": [50, 50], "record": [{"episodes": [2], "steps": [1, 5]}]})
    with neurosim.open(neurosim.run(model, 7, tmp_path)) as run:
        fall, found = relaxation(run, "actor"), alignment(run, "actor")
    assert np.isnan(fall.residual).all()
    assert np.isnan(found.cosine[:, :2]).all()
    relaxation_plot.draw({"run": {"actor": fall}})
    alignment_plot.draw({"run": {"actor": found}})


def test_operations_of_a_team_that_holds_are_refused(run: neurosim.Run) -> None:
    with pytest.raises(InputError, match=r"actor.hold = \[1, 4\]: operations are counted of units"):
        operations(run, "actor")


def test_limits_of_stability_are_those_of_steps_at_which_all_decide() -> None:
    plain, holds = hold_model({"actor.hold": None, "critic.hold": None}), hold_model()
    environment = Environment(plain.spec.task, "softmax")
    for name, limits in of_model(holds, environment).items():
        assert_array_equal(limits.lambda_max, of_model(plain, environment)[name].lambda_max)


# --- model files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEAMS)
@pytest.mark.parametrize(
    ("model", "changes", "problem"),
    [
        ("cartpole", {"hold": [2]}, r"\[2\] has 1 entries; needs 2, one for each hidden layer"),
        ("cartpole", {"hold": [2, 0]}, r"\[1\] = 0: expected int >= 1"),
        ("cartpole", {"hold": [1.5, 1]}, r"\[0\] = 1.5: expected int, got float"),
        ("cartpole", {"hold": 2}, " = 2: expected list, got int"),
        ("backprop/cartpole", {"hold": [1, 2]}, r": \[1, 2\] cannot be had with rule = 'backprop'"),
        ("reparameterised/cartpole", {"hold": [2, 1]}, ".*with rule = 'reparameterised', as units"),
        ("hill_climbing/cartpole", {"hold": [1, 2]}, ".*with relaxation = 'hill_climbing'; leave"),
        ("async/cartpole", {"hold": [1, 2]}, r".*with \[timing\], as its steps are those of all"),
    ],
)
def test_what_units_cannot_hold_is_refused(
    name: str, model: str, changes: dict[str, Any], problem: str
) -> None:
    overrides = {f"{name}.{key}": value for key, value in changes.items()}
    with pytest.raises(InputError, match=rf"^{model}: {name}\.hold:? ?{problem}"):
        spec.load(model, overrides)


def test_units_of_algorithm_1_have_no_steps_to_hold_their_values_for() -> None:
    problem = r"actor\.hold = \[1, 2\]: belongs to Algorithm 2"
    with pytest.raises(InputError, match=problem):
        spec.load("multiplexer/map_prop", {"actor.hold": [1, 2]})


@pytest.mark.parametrize("model", ["async/cartpole", "backprop/cartpole", "hill_climbing/cartpole"])
def test_holding_for_one_step_can_be_said_of_any_model(model: str) -> None:
    agents = [
        LEARNERS[loaded.mode](loaded.spec, 4, 2, 0)
        for loaded in (spec.load(model), spec.load(model, {"actor.hold": [1, 1]}))
        if not isinstance(loaded.spec, spec.MonteCarloSpec)
    ]
    first, second = (agent.begin(np.ones(4)).copy() for agent in agents)
    assert_array_equal(first, second)
