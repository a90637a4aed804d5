"""The compiled asynchronous mode: the oracle's bits, the synchronous limit, facts about clocks.

Everything here is exact (``array_equal``) but for the statistics of random clocks, and for a window
that is so long that units settle.  A statistic is held within five standard errors, which a draw
that is as it should be leaves once in two million.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
from bridge import TEAMS, AsyncTwins, small_spec, timed_spec, values_of, with_packets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from oracle import ACTIVATIONS, Array

from neurosim import experiment, spec
from neurosim.errors import RunError
from neurosim.kernels import asynchronous, engine
from neurosim.kernels.clock import TICKS
from neurosim.kernels.traffic import KINDS
from neurosim.learners import AsynchronousMapProp, MapProp
from neurosim.memory import Block, Mail, Team, Wiring
from neurosim.network import read_team, weights
from neurosim.spec import Spec
from neurosim.tasks import Environment, environment_seed
from neurosim.teams import AsynchronousTeam
from neurosim.timing import build_log, feedback_weights, grown_mail, unpack

N_IN, N_OUT = 3, 2
SEED = 11
ERRORS = 5.0  # standard errors within which a statistic is held

# --- helpers -------------------------------------------------------------------------------------

GAUSSIAN = {"actor.output": "gaussian", "actor.T": None, "actor.var": [0.3, 0.5, 0.4]}


def layers(
    actor: Sequence[int], critic: Sequence[int], activations: Sequence[str] = ("softplus",)
) -> dict[str, Any]:
    """Keys of a model with these hidden layers, a softmax actor and activations in turn."""
    changes: dict[str, Any] = {}
    for name, units in (("actor", actor), ("critic", critic)):
        hidden = len(units)
        var = [0.1 + 0.1 * l for l in range(hidden + (name == "critic"))]
        own = {
            "units": list(units),
            "activation": [activations[l % len(activations)] for l in range(hidden)],
            "var": var,
            "alpha": [0.05 / (l + 1) for l in range(hidden + 1)],
            "anneal_to": [0.2] * (hidden + 1),
        }
        changes |= {f"{name}.{key}": value for key, value in own.items()}
    return changes


PUBLISHED = {
    "learning.terminal_iteration": True,
    "learning.update_at_reset": True,
    "learning.truncation": "zero",
    "learning.reward_bound": 0.5,
    "learning.anneal_steps": 5.0,
    "adam.bias_correction_until": 4.0,
}
ARCHITECTURES = {
    "softmax": {},
    "gaussian": GAUSSIAN,
    "deep": PUBLISHED | layers([5, 4, 3], [3, 4, 2], ["tanh", "sigmoid", "relu"]),
    "shallow": layers([6], [3], ["linear"]) | {"learning.terminal_iteration": True},
    "different": {"learning.truncation": "zero"} | layers([4, 2, 3], [5], ["relu", "tanh"]),
    "no hidden layers": layers([], []),
}

# What a value of [timing] needs to matter comes with it.  Lists are made to fit, see timed_spec.
POISSON = {"clock": "poisson"}
TIMER = {"sampling": "timer", "sampling_timer": 0.4}
LEARNED = {"feedback": "kolen_pollack"}
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "periodic": {"clock": "periodic"},
    "phase": {"clock": "periodic", "phase": 0.4},
    "jitter": {"clock": "periodic", "jitter": 0.45, "delay": 0.1},
    "poisson": POISSON,
    "rate": POISSON | {"rate": [0.5, [1.5, 0.0, 1.0, 3.0], 2.0]},
    "rate of periodic clocks": {"clock": "periodic", "rate": [[0.3, 1.7, 0.0], 2.5]},
    "many ticks within a delay": POISSON | {"rate": [7.0, 3.0], "delay": 1.0},
    "rate_spread": POISSON | {"rate_spread": 0.8},
    "rate_spread of periodic clocks": {"clock": "periodic", "rate_spread": 0.8, "jitter": 0.2},
    "error_clock": POISSON | {"error_clock": "with_value", "delay": 0.0},
    "error_clock in lock-step": {"error_clock": "with_value"},
    "window": POISSON | {"window": 2.5},
    "no window": POISSON | {"window": 0.0},
    "delay": POISSON | {"delay": [0.7, 0.2]},
    "no delay": {"delay": 0.0},
    "error_delay": POISSON | {"delay": [0.7, 0.2], "error_delay": [1.3, 0.4]},
    "unit_delay": POISSON | {"unit_delay": 0.8},
    "packet_delay": POISSON | {"packet_delay": 2.0},
    "newest": POISSON | {"packet_delay": 2.0, "reorder": "newest"},
    "newest of late clocks": {"packet_delay": 3.0, "unit_delay": 1.0, "reorder": "newest"},
    "synapse_delay": POISSON | {"synapse_delay": 2.0},
    "synapse_delay and unit_delay": {"synapse_delay": 1.0, "unit_delay": 1.0},
    "loss": POISSON | {"loss": [0.3, 0.1]},
    "error_loss": POISSON | {"loss": 0.0, "error_loss": [0.1, 0.4]},
    "all errors lost": {"error_loss": 1.0},
    "loss per synapse": POISSON | {"loss": 0.3, "loss_per": "synapse"},
    "loss and delay per synapse": POISSON
    | {"loss": 0.3, "error_loss": 0.1, "loss_per": "synapse", "synapse_delay": 1.0},
    "timer": POISSON | TIMER | {"loss": 0.3},
    "timer before arrival": TIMER | {"sampling_timer": 0.2, "delay": 0.3, "unit_delay": 0.3},
    "timer per synapse": POISSON | TIMER | {"loss": 0.3, "loss_per": "synapse"},
    "timer and delay per synapse": POISSON | TIMER | {"synapse_delay": 1.0, "loss": 0.2},
    "send_on_delta": POISSON | {"send_on_delta": 0.5},
    "quantize": POISSON | {"quantize": 5},
    "kolen_pollack": POISSON | LEARNED,
    "feedback_alignment": POISSON | LEARNED | {"feedback_alignment": 0.5},
    "feedback_decay": POISSON | LEARNED | {"feedback_decay": 1e-3, "loss": 0.2},
    "kolen_pollack quantized": POISSON | LEARNED | {"quantize": 3, "send_on_delta": 0.1},
    "kolen_pollack per synapse": POISSON | LEARNED | {"loss": 0.3, "loss_per": "synapse"},
    "sign_symmetric": POISSON | {"feedback": "sign_symmetric"},
    "random": POISSON | {"feedback": "random"},
    "broadcast_delay": POISSON | {"broadcast_delay": [1.0, [0.5, 6.0], 2.0]},
    "broadcast_loss": POISSON | {"broadcast_loss": [0.4, [0.0, 1.0], 0.2]},
    "silent": POISSON | {"silent_until_first_tick": True, "delay": 1.0},
    "trace_after": POISSON | {"trace_after": 3},
    "trace_after and kolen_pollack": POISSON | LEARNED | {"trace_after": 2, "loss": 0.2},
    "trace_after before the broadcast": {"window": 1.0, "trace_after": 1, "broadcast_delay": 1.7},
    "trace_after and silent": POISSON | {"trace_after": 1, "silent_until_first_tick": True},
    "all at once": POISSON
    | LEARNED
    | TIMER
    | {
        "rate": [1.0, [0.7, 1.3, 0.0], 1.5],
        "rate_spread": 0.3,
        "delay": [0.2, 0.6],
        "error_delay": 1.0,
        "unit_delay": 0.3,
        "packet_delay": 0.9,
        "reorder": "newest",
        "loss": 0.2,
        "error_loss": [0.1, 0.3],
        "send_on_delta": 0.02,
        "quantize": 9,
        "feedback_alignment": 0.5,
        "feedback_decay": 1e-3,
        "broadcast_delay": [0.0, 0.5, 1.0],
        "broadcast_loss": 0.1,
        "silent_until_first_tick": True,
        "trace_after": 2,
    },
    "all per synapse": {
        "clock": "periodic",
        "rate": [1.0, [0.7, 1.3, 0.0], 1.5],
        "jitter": 0.3,
        "delay": [0.2, 0.6],
        "error_delay": 1.0,
        "unit_delay": 0.3,
        "synapse_delay": 0.9,
        "loss": 0.2,
        "loss_per": "synapse",
        "send_on_delta": 0.1,
        "feedback": "sign_symmetric",
        "broadcast_delay": [0.0, 0.5, 1.0],
        "broadcast_loss": 0.1,
        "trace_after": 1,
    },
}

# Transports that differ in how a packet is looked for, lost or put aside.
TRANSPORTS = (
    "defaults",
    "poisson",
    "newest",
    "packet_delay",
    "synapse_delay",
    "loss and delay per synapse",
    "timer",
    "timer per synapse",
    "all at once",
    "all per synapse",
)

every_option = pytest.mark.parametrize("option", OPTIONS)


def experience(length: int, seed: int = 0) -> list[tuple[Array, float]]:
    """Observations, and the reward that each came with."""
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=N_IN), float(rng.normal())) for _ in range(length)]


def make_agent(
    timing: dict[str, Any], changes: dict[str, Any] | None = None, seed: int = SEED
) -> AsynchronousMapProp:
    """The small agent with units of their own."""
    return AsynchronousMapProp(timed_spec(timing, changes), N_IN, N_OUT, seed)


def episode(agent: MapProp, length: int = 6, seed: int = 0) -> Iterator[MapProp]:
    """An episode of random observations; yields the agent after each step, not after its ending."""
    steps = experience(length + 1, seed)
    agent.begin(steps[0][0])
    yield agent
    for observation, reward in steps[1:-1]:
        agent.step(observation, reward)
        yield agent
    agent.end(*steps[-1], terminated=seed % 2 == 0)


def after(agent: MapProp, episodes: int = 2, length: int = 6) -> dict[str, Array]:
    """What some episodes leave behind."""
    for seed in range(episodes):
        for _ in episode(agent, length, seed):
            pass
    return bits(agent)


def bits(agent: MapProp) -> dict[str, Array]:
    """Copies of values, weights, traces and moments, by name."""
    found = {}
    for name in TEAMS:
        team = getattr(agent, name)
        for key in ("h", "sampled", "w", "z", "m", "v"):
            found[f"{name}.{key}"] = getattr(team, key).copy()
        for l, feedback in enumerate(feedback_weights(team, team.wt), start=1):
            found[f"{name}.B[{l}]"] = feedback.copy()
    return found | {"td_error": np.array(agent.td_error), "value": np.array(agent.value)}


def differences(ours: dict[str, Array], theirs: dict[str, Array]) -> list[str]:
    """Names of what is not the same, bit for bit."""
    assert ours.keys() == theirs.keys()
    return [name for name, array in ours.items() if not np.array_equal(array, theirs[name])]


def layer_of(team: Team, array: Array, l: int) -> Array:
    """View of one layer in a unit array."""
    return array[team.unit[l] : team.unit[l] + team.size[l]]


# --- the oracle ----------------------------------------------------------------------------------


def assert_the_oracles(
    model: Spec, episodes: int = 2, length: int = 4, seed: int = SEED, log: bool = False
) -> None:
    """Every step and every ending has the bits of the oracle's."""
    twins = AsyncTwins(model, N_IN, N_OUT, seed, log)
    for number in range(episodes):
        steps = experience(length + 1, seed + number)
        reward = None
        for observation, next_reward in steps[:-1]:
            twins.step(observation, reward)
            twins.assert_same()
            reward = next_reward
        twins.end(*steps[-1], terminated=number % 2 == 0)
        twins.assert_same()


@every_option
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_engine_has_the_oracles_bits(architecture: str, option: str) -> None:
    assert_the_oracles(timed_spec(OPTIONS[option], ARCHITECTURES[architecture]))


def test_the_engine_has_the_oracles_bits_with_a_timing_for_each_team() -> None:
    for first, second in (("poisson", "all per synapse"), ("all at once", "defaults")):
        assert_the_oracles(timed_spec(OPTIONS[first], critic=OPTIONS[second]))
        assert_the_oracles(timed_spec(OPTIONS[second], GAUSSIAN, critic=OPTIONS[first]))


@pytest.mark.parametrize("option", ["poisson", "synapse_delay", "trace_after"])
def test_the_engine_has_the_oracles_bits_however_many_ticks_fit_into_a_delay(option: str) -> None:
    busy = {"clock": "poisson", "rate": 9.0, "delay": 1.0, "window": 2.0}
    wide = layers([30, 20], [20, 30], ["tanh", "softplus"])
    assert_the_oracles(timed_spec(OPTIONS[option] | busy, wide), episodes=1, length=2)


@pytest.mark.parametrize("name", ["async/cartpole", "async/mountaincar"])
def test_the_engine_has_the_oracles_bits_in_the_models_that_come_with_it(name: str) -> None:
    assert_the_oracles(spec.load(name).spec, episodes=1, length=2)


@st.composite
def timings(draw: st.DrawFn) -> dict[str, Any]:
    """Any combination of options that is allowed."""
    timing: dict[str, Any] = {
        "clock": draw(st.sampled_from(["synchronous", "periodic", "poisson"])),
        "error_clock": draw(st.sampled_from(["antiphase", "with_value"])),
        "window": draw(st.sampled_from([0.0, 1.0, 3.5, 6.0])),
        "send_on_delta": draw(st.sampled_from([0.0, 0.0, 0.3])),
        "quantize": draw(st.sampled_from([0, 0, 1, 12, 52])),
        "silent_until_first_tick": draw(st.booleans()),
        "trace_after": draw(st.integers(0, 3)),
        "feedback": draw(st.sampled_from(sorted(engine.FEEDBACKS))),
        "unit_delay": draw(st.sampled_from([0.0, 0.7])),
        "loss_per": draw(st.sampled_from(["packet", "synapse"])),
        "synapse_delay": draw(st.sampled_from([0.0, 0.8])),
    }
    durations = st.sampled_from([0.0, 0.2, 0.25, 1.0, 1.7])
    losses = st.sampled_from([0.0, 0.0, 0.2, 1.0])
    for keys, of_one in (
        (("delay", "error_delay", "broadcast_delay"), durations),
        (("loss", "error_loss", "broadcast_loss"), losses),
    ):
        for key in keys:
            of_several = st.lists(of_one, min_size=1, max_size=3)
            timing[key] = draw(of_one | of_several)
    if timing["clock"] != "synchronous":
        rate = st.sampled_from([0.0, 0.4, 1.0, 2.0, 6.0])
        timing["rate"] = draw(rate | st.lists(rate | st.lists(rate, min_size=1, max_size=3)))
        timing["rate"] = timing["rate"] or 1.0
        timing["rate_spread"] = draw(st.sampled_from([0.0, 0.5]))
    if timing["clock"] == "periodic":
        timing["phase"] = draw(st.sampled_from(["random", 0.25, 1.0]))
        timing["jitter"] = draw(st.sampled_from([0.0, 0.3]))
    if timing["loss_per"] == "packet" and timing["synapse_delay"] == 0.0:
        timing["packet_delay"] = draw(st.sampled_from([0.0, 1.5]))
        timing["reorder"] = draw(st.sampled_from(["latest_arrival", "newest"]))
    if draw(st.booleans()):
        timing |= {"sampling": "timer", "sampling_timer": draw(durations)}
    if timing["feedback"] == "kolen_pollack":
        timing["feedback_alignment"] = draw(st.sampled_from([0.0, 0.5, 1.0]))
        timing["feedback_decay"] = draw(st.sampled_from([0.0, 0.01]))
    return timing


@st.composite
def models(draw: st.DrawFn) -> Spec:
    """A small model with any options; its units move so slowly that none of them diverges."""
    units = st.lists(st.integers(1, 5), max_size=3)
    activations = draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=1, max_size=3))
    changes = layers(draw(units), draw(units), activations)
    if draw(st.booleans()):
        var = [0.3, 0.2, 0.4, 0.5][: len(changes["actor.units"]) + 1]
        changes |= {"actor.output": "gaussian", "actor.T": None, "actor.var": var}
    changes |= {
        "actor.step_size": 0.1,
        "critic.step_size": 0.1,
        "learning.truncation": draw(st.sampled_from(["bootstrap", "zero"])),
        "learning.update_at_reset": draw(st.booleans()),
        "learning.terminal_iteration": draw(st.booleans()),
    }
    return timed_spec(draw(timings()), changes, critic=draw(st.none() | timings()))


@settings(
    deadline=None,
    derandomize=True,
    max_examples=400,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(models(), st.integers(0, 2**63 - 1))
def test_the_engine_has_the_oracles_bits_and_log_with_any_options(model: Spec, seed: int) -> None:
    assert_the_oracles(model, length=3, seed=seed, log=True)


# --- the log -------------------------------------------------------------------------------------


@every_option
def test_the_log_is_the_oracles(option: str) -> None:
    twins = AsyncTwins(timed_spec(OPTIONS[option]), N_IN, N_OUT, SEED, log=True)
    for observation, reward in experience(4):
        twins.step(observation, reward)
        twins.assert_same()
        for name in TEAMS:
            ours, theirs = twins.rows(name)
            # Packets that land at one time do so in any order; all else has the oracle's.
            assert sorted(ours, key=repr) == sorted(theirs, key=repr)
            assert [row for row in ours if own(row)] == [row for row in theirs if own(row)]
            assert {kind for _, kind, *_ in ours} >= {"observe", "sample", "trace"}


def own(row: tuple[Any, ...]) -> bool:
    """Whether a row of a log tells what a unit did, not what became of a packet."""
    return not row[1].startswith(("deliver", "discard", "lost"))


@pytest.mark.parametrize("option", TRANSPORTS)
def test_keeping_a_log_changes_no_bits(option: str) -> None:
    silent, telling = make_agent(OPTIONS[option]), make_agent(OPTIONS[option])
    telling.write_log(True)
    assert not differences(after(silent), after(telling))


class Packet(NamedTuple):
    """One packet in a log, or one receiver's copy of it."""

    kind: str
    sent: int
    landed: int


def packets(agent: AsynchronousMapProp, name: str) -> list[Packet]:
    """Packets of the latest step that were not lost."""
    events = with_packets(agent.events())
    mine = events["team"] == TEAMS.index(name)
    columns = [events[key][mine].tolist() for key in ("time", "kind", "packet")]
    rows = [(time, KINDS[kind], packet) for time, kind, packet in zip(*columns, strict=True)]
    sent = {
        packet: time
        for time, kind, packet in rows
        if packet >= 0 and kind in ("sample", "value_tick", "arm", "error_tick")
    }
    return [
        Packet(kind.rpartition("_")[2], sent[packet], time)
        for time, kind, packet in rows
        if kind.startswith(("deliver", "discard"))
    ]


@pytest.mark.parametrize(
    ("extra", "least", "most"),
    [
        ({}, 0.0, 0.0),
        ({"unit_delay": 0.5}, 0.0, 0.5),
        ({"packet_delay": 2.0}, 0.0, 2.0),
        ({"packet_delay": 2.0, "reorder": "newest"}, 0.0, 2.0),
        ({"synapse_delay": 1.0}, 0.0, 1.0),
        ({"unit_delay": 0.5, "packet_delay": 2.0}, 0.0, 2.5),
        ({"unit_delay": 0.5, "synapse_delay": 1.0, "loss_per": "synapse"}, 0.0, 1.5),
    ],
    ids=["delay", "unit", "packet", "newest", "synapse", "unit and packet", "unit and synapse"],
)
def test_a_packet_lands_when_its_delays_are_over(
    extra: dict[str, Any], least: float, most: float
) -> None:
    timing = POISSON | {"delay": 0.75, "error_delay": 0.5, "window": 5.0}
    agent = make_agent(timing | extra, layers([30, 30], [30, 30]))
    agent.write_log(True)
    agent.begin(experience(1)[0][0])
    for name in TEAMS:
        found = packets(agent, name)
        for kind, delay in (("value", 0.75), ("error", 0.5)):
            journeys = [(p.landed - p.sent) / TICKS for p in found if p.kind == kind]
            assert len(journeys) > 100
            assert delay + least <= min(journeys)
            assert max(journeys) <= delay + most
            if most > 0.0:  # and they are spread over the range
                assert max(journeys) - min(journeys) > 0.5 * most


# --- the synchronous limit -----------------------------------------------------------------------

# Values are sent at the value ticks and errors half a period later, so that a packet that takes
# less than that is there when it is needed and not before.  Jitter j takes 2 j off both ends.
HALF = TICKS // 2
AT_ONE = {"clock": "periodic", "phase": 1.0}
LOCK_STEP: dict[str, dict[str, Any]] = {
    "a quarter": {},
    "hardly any": {"delay": 1 / TICKS},
    "up to a half": {"delay": (HALF - 1) / TICKS},
    "errors on their own": {"delay": 0.1, "error_delay": 0.4},
    "each projection": {"delay": [0.1, 0.45], "error_delay": [0.3, 0.2]},
    "each unit": {"delay": 0.1, "unit_delay": 0.39},
    "each packet": {"delay": 0.1, "packet_delay": 0.39},
    "each packet, newest": {"delay": 0.1, "packet_delay": 0.39, "reorder": "newest"},
    "each synapse": {"delay": 0.1, "synapse_delay": 0.39},
    "all of them": {"delay": 0.1, "unit_delay": 0.15, "packet_delay": 0.2},
    "slots of synapses": {"loss_per": "synapse"},
    "periodic clocks": AT_ONE,
    "an early phase": AT_ONE | {"phase": 0.3, "delay": 0.2},
    "jitter": AT_ONE | {"jitter": 0.12, "delay": 0.25},
    "jitter and delays": AT_ONE | {"jitter": 0.05, "delay": 0.15, "packet_delay": 0.2},
    "a slow broadcast": {"broadcast_delay": [0.1, 0.6, 0.3]},
    "a patient timer": {"sampling": "timer", "sampling_timer": 0.3},
    "learned feedback": {"feedback": "kolen_pollack"},
    "learned feedback per synapse": {"feedback": "kolen_pollack", "synapse_delay": 0.2},
    "traces of the last error tick": {"trace_after": "N"},
    "traces of an error tick that never comes": {"trace_after": "N + 1"},
}
lock_step = pytest.mark.parametrize("option", LOCK_STEP)


def in_lock_step(option: str, N: int) -> dict[str, Any]:
    """A timing in the limit, for a window of N periods."""
    timing = dict(LOCK_STEP[option])
    if "trace_after" in timing:
        timing["trace_after"] = {"N": N, "N + 1": N + 1}[timing["trace_after"]]
    return timing


@lock_step
@pytest.mark.parametrize("architecture", ["softmax", "gaussian", "deep", "no hidden layers"])
def test_packets_that_are_in_time_and_clocks_together_are_the_synchronous_mode(
    architecture: str, option: str
) -> None:
    changes = ARCHITECTURES[architecture]
    ours = make_agent(in_lock_step(option, N=4), changes)
    theirs = MapProp(small_spec(changes), N_IN, N_OUT, SEED)
    for seed in range(2):
        for _ in zip(episode(ours, 6, seed), episode(theirs, 6, seed), strict=True):
            assert not differences(bits(ours), bits(theirs))
        assert not differences(bits(ours), bits(theirs))


@pytest.mark.parametrize("timing", [{"delay": 0.0}, {"delay": 0.55}, {"error_clock": "with_value"}])
def test_packets_that_are_not_in_time_make_another_algorithm(timing: dict[str, Any]) -> None:
    ours, theirs = make_agent(timing), MapProp(small_spec(), N_IN, N_OUT, SEED)
    first = experience(1)[0][0]
    ours.begin(first)
    theirs.begin(first)
    assert {"actor.h", "actor.z", "critic.h"} <= set(differences(bits(ours), bits(theirs)))


def returns(
    model: Spec, agents: Sequence[MapProp], episodes: int, most: int, seed: int = SEED
) -> list[float]:
    """Let agents with the same bits live in an environment; at most so many steps an episode."""
    environment = Environment(model.task, model.actor.output)
    found = []
    for number in range(1, episodes + 1):
        observation = environment.reset(environment_seed(seed, number))
        outputs = [agent.begin(observation) for agent in agents]
        total, reward = 0.0, 0.0
        for _ in range(most):
            assert not differences(bits(agents[0]), bits(agents[1]))
            observation, reward, terminated, truncated = environment.step(
                environment.action(outputs[0])
            )
            total += reward
            if terminated or truncated:
                break
            outputs = [agent.step(observation, reward) for agent in agents]
        for agent in agents:
            agent.end(observation, reward, terminated)
        assert not differences(bits(agents[0]), bits(agents[1]))
        found.append(total)
    environment.close()
    return found


def two_modes(name: str, timing: dict[str, Any]) -> tuple[Spec, list[MapProp]]:
    """A model's agent in asynchronous and in synchronous mode, as its environment needs them."""
    overrides = {f"timing.{key}": value for key, value in timing.items()}
    ours = spec.load(name, overrides, mode="asynchronous").spec
    theirs = spec.load(name, mode="synchronous").spec
    environment = Environment(ours.task, ours.actor.output)
    sizes = environment.n_observations, environment.n_actions
    environment.close()
    return theirs, [AsynchronousMapProp(ours, *sizes, SEED), MapProp(theirs, *sizes, SEED)]


@lock_step
@pytest.mark.parametrize("name", ["cartpole", "mountaincar"])
def test_in_lock_step_an_episode_of_a_task_is_the_synchronous_modes(name: str, option: str) -> None:
    model, agents = two_modes(name, in_lock_step(option, N=20))
    assert returns(model, agents, episodes=1, most=12)


@pytest.mark.slow
@lock_step
@pytest.mark.parametrize(("name", "episodes"), [("cartpole", 30), ("mountaincar", 3)])
def test_in_lock_step_learning_a_task_is_the_synchronous_modes(
    name: str, episodes: int, option: str
) -> None:
    model, agents = two_modes(name, in_lock_step(option, N=20))
    start = bits(agents[0])
    assert len(returns(model, agents, episodes, most=1000)) == episodes
    assert {"actor.w", "critic.w"} <= set(differences(bits(agents[0]), start))


def run_bits(model: spec.Model, folder: Path) -> dict[str, Array]:
    """Returns of the episodes, and the weights at the end, of a run."""
    with h5py.File(experiment.run(model, seed=3, out=folder) / "run.h5") as file:
        found = {"return": file["episodes/return"][:]}

        def visit(team: str, name: str, node: Any) -> None:
            found[f"{team}.{name}"] = node[()]

        for name in TEAMS:
            file[f"teams/{name}/weights/final"].visititems(partial(visit, name))
    return found


def test_runs_in_both_modes_are_the_same(tmp_path: Path) -> None:
    few = {"task.episodes": 12}
    theirs = run_bits(spec.load("cartpole", few), tmp_path / "synchronous")
    assert len(theirs) > 12
    for name, mode in (("cartpole", "asynchronous"), ("lockstep/cartpole", None)):
        ours = run_bits(spec.load(name, few, mode=mode), tmp_path / name)
        assert not differences(ours, theirs)


def test_shared_feedback_weights_learn_as_transposed_ones_in_lock_step() -> None:
    learned, transposed = make_agent({"feedback": "kolen_pollack"}), make_agent({})
    assert not differences(after(learned, 4), after(transposed, 4))


# --- what timing does not touch ------------------------------------------------------------------


SAMPLES = ("actor.sampled", "critic.sampled", "td_error", "value")


@pytest.mark.parametrize(
    "option",
    [
        name
        for name, timing in OPTIONS.items()
        if "sampling" not in timing and timing.get("quantize", 0) == 0
    ],
)
def test_as_long_as_weights_are_equal_samples_actions_and_td_errors_are(option: str) -> None:
    still = {f"{name}.alpha": [0.0, 0.0, 0.0] for name in TEAMS}
    timing = {key: x for key, x in OPTIONS[option].items() if key != "feedback_decay"}
    ours = make_agent(timing, still)
    theirs = MapProp(small_spec(still), N_IN, N_OUT, SEED)
    for seed in range(2):
        for _ in zip(episode(ours, 6, seed), episode(theirs, 6, seed), strict=True):
            first, second = bits(ours), bits(theirs)
            for name in SAMPLES:
                assert_array_equal(first[name], second[name])
            assert_array_equal(layer_of(ours.actor, ours.actor.h, -1), theirs.actor.h[-N_OUT:])


@pytest.mark.parametrize(
    "option",
    [
        name
        for name, timing in OPTIONS.items()
        if not {"sampling", "quantize", "feedback_decay", "broadcast_loss"} & timing.keys()
        and not timing.get("silent_until_first_tick", False)
        and timing.get("feedback", "symmetric") == "symmetric"
    ],
)
def test_without_a_window_there_is_reinforce_whatever_the_clocks(option: str) -> None:
    ours = make_agent(OPTIONS[option] | {"window": 0.0})
    theirs = MapProp(small_spec({"actor.N": 0, "critic.N": 0}), N_IN, N_OUT, SEED)
    assert not differences(after(ours, 3), after(theirs, 3))


@pytest.mark.parametrize(
    "extra",
    [
        {"send_on_delta": 0.0},
        {"loss": 0.0, "error_loss": 0.0},
        {"loss": 0.0, "loss_per": "synapse"},
        {"broadcast_loss": 0.0, "broadcast_delay": 0.0},
        {"rate_spread": 0.0, "rate": 1.0},
        {"quantize": 0},
        {"reorder": "newest"},
        {"trace_after": 10**6},
        {"sampling": "timer", "sampling_timer": 1.5},
        {"feedback": "kolen_pollack", "feedback_alignment": 1.0, "feedback_decay": 0.0},
    ],
    ids=lambda extra: " ".join(extra),
)
def test_options_that_say_nothing_change_nothing(extra: dict[str, Any]) -> None:
    plain = POISSON | {"delay": 1.0, "window": 6.0}
    assert not differences(after(make_agent(plain | extra)), after(make_agent(plain)))


@pytest.mark.parametrize("feedback", ["kolen_pollack", "symmetric"])
@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"unit_delay": 0.8},
        {"synapse_delay": 0.8},
        {"quantize": 6},
        {"send_on_delta": 0.2},
        {"packet_delay": 2.0, "reorder": "newest"},
        {"feedback_decay": 1e-3},
        {"broadcast_delay": [0.0, 1.5, 0.5]},
        {"silent_until_first_tick": True},
        {"trace_after": 0, "rate_spread": 0.5},
    ],
    ids=lambda extra: " ".join(extra) or "plain",
)
def test_feedback_weights_that_start_as_the_weights_stay_the_weights(
    feedback: str, extra: dict[str, Any]
) -> None:
    if feedback == "symmetric" and "feedback_decay" in extra:
        extra = {}
    agent = make_agent(POISSON | {"delay": 1.0, "feedback": feedback} | extra)
    start = bits(agent)
    for seed in range(4):
        for _ in episode(agent, 10, seed):
            for name in TEAMS:
                team = getattr(agent, name)
                for l, feedback_of_layer in enumerate(feedback_weights(team, team.wt), start=2):
                    assert_array_equal(feedback_of_layer, weights(team, team.w, l)[0].T)
    assert {"actor.B[1]", "actor.B[2]", "critic.B[1]"} <= set(differences(bits(agent), start))


# --- traffic -------------------------------------------------------------------------------------


@every_option
def test_every_packet_is_delivered_lost_discarded_or_in_flight(option: str) -> None:
    agent = make_agent(OPTIONS[option])
    for _ in episode(agent, 5):
        counts = agent.counts()
        for name in TEAMS:
            sent, *fates = (
                counts[f"{name}_{what}"]
                for what in ("sent", "delivered", "lost", "discarded", "in_flight")
            )
            assert_array_equal(sent, np.sum(fates, axis=0))
            assert sent.sum() > 0


def test_each_receiver_loses_a_packet_on_its_own() -> None:
    agent = make_agent(POISSON | {"loss": 0.5, "loss_per": "synapse", "window": 30.0})
    agent.write_log(True)
    agent.begin(experience(1)[0][0])
    events = with_packets(agent.events())
    senders = events["source"]
    for kind, receivers, first, last in (("value", 4, 0, 5), ("error", 5, 5, 9)):
        mine = (events["team"] == 0) & (events["kind"] == KINDS.index(f"deliver_{kind}"))
        arrived = events["packet"][mine & (senders >= first) & (senders < last)]
        copies = np.unique(arrived, return_counts=True)[1]
        assert set(copies) == set(range(1, receivers + 1))


def test_as_many_packets_are_lost_as_their_probability_says() -> None:
    timing = {"loss": [0.1, 0.3], "error_loss": [0.6, 0.2], "window": 200.0}
    for more in (POISSON, {"loss_per": "synapse"}):
        agent = make_agent(timing | more)
        agent.begin(experience(1)[0][0])
        counts = agent.counts()
        for name in TEAMS:
            sent, lost = counts[f"{name}_sent"], counts[f"{name}_lost"]
            p = np.array([[0.1, 0.3], [0.6, 0.2]])
            assert np.all(sent > 100)
            # The first values of a pass are never lost: at most as many as there are receivers.
            assert np.all(np.abs(lost - p * sent) < ERRORS * np.sqrt(p * (1 - p) * sent) + 20 * p)


@pytest.mark.parametrize("loss_per", ["packet", "synapse"])
def test_where_all_errors_are_lost_nobody_is_armed_and_learning_goes_on(loss_per: str) -> None:
    agent = make_agent(POISSON | {"error_loss": 1.0, "loss_per": loss_per})
    start = bits(agent)
    for _ in episode(agent, 5):
        for name in TEAMS:
            team = getattr(agent, name)
            assert_array_equal(team.h, team.sampled)
            moves, reports, idle = agent.counts()[f"{name}_ticks"]
            assert moves == 0
            assert idle > 0
            assert reports > 0
    assert {"actor.w", "critic.w"} <= set(differences(bits(agent), start))


def test_a_window_counts_the_ages_of_what_it_uses() -> None:
    # By hand, for the critic in lock-step: layers of 4, 3 and 1 units.  The wave takes a quarter of
    # a period to layer 2 and another to the output, which makes T half a period.
    N, n1, n2, n3 = 4, 4, 3, 1
    agent = make_agent({})
    agent.begin(experience(1)[0][0])
    values = np.zeros(32, int)  # by age in quarters of a period
    values[2] += n2  # broadcast: layer 2 has values of time 0
    values[1] += n3  # the output those of time 1/4
    values[6] += n2  # first value tick, at T + 1
    values[4] += (N - 1) * n2  # later ones: a period after the one before
    values[2] += N * (n2 + n3)  # error ticks: half a period after the value ticks
    errors = np.zeros(32, int)
    errors[4] += n1 + n2  # first value tick: errors of the broadcast
    errors[2] += (N - 1) * (n1 + n2)
    assert_array_equal(agent.counts()["critic_staleness"], [values, errors])


def test_a_window_counts_the_multiplications_of_the_synchronous_mode() -> None:
    N, n0, n1, n2, n3 = 4, 3, 4, 3, 1
    up, down = n2 * n1 + n3 * n2, n1 * n2 + n2 * n3
    parameters = n1 * (n0 + 1) + n2 * (n1 + 1) + n3 * (n2 + 1)
    agent = make_agent({})
    first, second = (x for x, _ in experience(2))
    agent.begin(first)
    wave = n1 * n0 + up
    expected = [wave + N * up, N * down, parameters]
    assert_array_equal(agent.counts()["critic_multiply_adds"], expected)
    agent.step(second, 1.0)  # with an update, after which all means are new
    expected = [2 * wave + N * up, N * down, 4 * parameters]
    assert_array_equal(agent.counts()["critic_multiply_adds"], expected)
    assert_array_equal(
        agent.totals()["critic/totals/ticks"], [2 * N * (n1 + n2), 2 * N * (n2 + n3), 0]
    )


# --- clocks --------------------------------------------------------------------------------------

WIDE = layers([150, 50], [120, 80])
HIDDEN = 200  # units that make value ticks in each team
IDLE = {"error_loss": 1.0, "delay": 0.25}  # nobody moves, which is quicker


def idle_ticks(timing: dict[str, Any], steps: int = 1) -> list[list[Array]]:
    """Times of the value ticks after T, in units of time, of each step and unit of the actor."""
    agent = make_agent(timing | IDLE, WIDE)
    agent.write_log(True)
    found = []
    for number in range(steps):
        if number == 0:
            agent.begin(experience(1)[0][0])
        else:
            agent.step(*experience(steps)[number])
        events = agent.events()
        team = events["team"] == 0
        begin = events["time"][team & (events["kind"] == KINDS.index("broadcast"))][0]
        ticks = team & (events["kind"] == KINDS.index("idle_tick"))
        found.append([events["time"][ticks & (events["unit"] == u)] - begin for u in range(HIDDEN)])
    return found


@pytest.mark.parametrize(
    "timing",
    [
        {},
        {"clock": "periodic"},
        {"clock": "periodic", "jitter": 0.4},
        AT_ONE,
        AT_ONE | {"phase": 0.1},
    ],
    ids=["synchronous", "periodic", "jitter", "phase 1", "phase 0.1"],
)
def test_a_periodic_clock_ticks_once_a_period(timing: dict[str, Any]) -> None:
    N = 7
    for error_loss in (0.0, 1.0):
        agent = make_agent(timing | {"error_loss": error_loss, "window": float(N)})
        agent.begin(experience(1)[0][0])
        for name, hidden, above in (("actor", 9, 4 + 1), ("critic", 7, 3 + 1)):
            moves, reports, idle = agent.counts()[f"{name}_ticks"]
            assert moves + idle == N * hidden
            assert reports == N * above
            assert (idle == N * hidden) == (error_loss == 1.0)


def test_a_unit_that_is_twice_as_fast_ticks_twice_as_often() -> None:
    timing = {"clock": "periodic", "rate": [2.0, 0.5], "window": 8.0}
    times = idle_ticks(timing)[0]
    assert {len(t) for t in times[:150]} == {16}
    assert {len(t) for t in times[150:]} == {4}
    for t in times[:150]:
        assert_array_equal(np.diff(t), TICKS // 2)


def test_phases_are_uniform_over_the_period() -> None:
    phases = np.array([t[0] for t in idle_ticks({"clock": "periodic", "window": 2.0})[0]])
    assert phases.min() >= 1
    assert phases.max() <= TICKS
    assert_is_distributed(phases / TICKS, lambda x: x)


def test_jitter_moves_each_tick_by_itself() -> None:
    jitter, N = 0.3, 50
    times = idle_ticks(AT_ONE | {"jitter": jitter, "window": float(N)})[0]
    moved = np.array(times) / TICKS - np.arange(1, N + 1)
    assert_is_distributed(moved.ravel(), lambda x: np.clip((x + jitter) / (2 * jitter), 0.0, 1.0))
    # It does not add up, and neighbours know nothing of each other.
    assert abs(np.corrcoef(moved[:, 1:].ravel(), moved[:, :-1].ravel())[0, 1]) < ERRORS / 99.0


def test_a_poisson_clock_ticks_on_average_as_often_as_its_rate_says() -> None:
    rates, window, steps = (0.5, 2.0), 30.0, 4
    counts = np.array(
        [
            [len(t) for t in step]
            for step in idle_ticks(POISSON | {"rate": list(rates), "window": window}, steps)
        ]
    )
    for rate, ticks in ((rates[0], counts[:, :150]), (rates[1], counts[:, 150:])):
        expected = rate * window * ticks.size
        assert abs(ticks.sum() - expected) < ERRORS * math.sqrt(expected)
        # The variance of a count is its mean, with an error of sqrt(2 / n) of it or so.
        assert abs(ticks.var() / ticks.mean() - 1.0) < ERRORS * math.sqrt(2.5 / ticks.size)


def test_intervals_of_poisson_clocks_are_exponential_and_never_used_twice() -> None:
    # Twelve of them last longer than 60 periods once in 1e20 times.
    times = [t for step in idle_ticks(POISSON | {"window": 60.0}, steps=2) for t in step]
    intervals = np.array([np.diff(t[:12], prepend=0) for t in times])
    assert_is_distributed(intervals.ravel() / TICKS, lambda x: 1.0 - np.exp(-x))
    correlation = np.corrcoef(intervals[:, 1:].ravel(), intervals[:, :-1].ravel())[0, 1]
    assert abs(correlation) < ERRORS / math.sqrt(intervals[:, 1:].size)
    all_of_them = np.concatenate([np.diff(t, prepend=0) for t in times])
    rows = [
        tuple(row)
        for t in times
        for row in np.diff(t).reshape(-1)[: len(t) // 3 * 3 - 3].reshape(-1, 3)
    ]
    assert all_of_them.size > 20_000
    assert len(set(rows)) == len(rows)  # three at a time, as one may be twice there by chance


def assert_is_distributed(x: Array, cumulative: Any) -> None:
    """Kolmogorov and Smirnov: the largest distance to a cumulative distribution.

    It is above 2.7 / sqrt(n) once in a million samples, 2 exp(-2 2.7**2).
    """
    x = np.sort(x)
    expected = cumulative(x)
    above = np.arange(1, x.size + 1) / x.size - expected
    below = expected - np.arange(x.size) / x.size
    assert max(above.max(), below.max()) < 2.7 / math.sqrt(x.size)


def test_spread_rates_have_the_mean_that_is_given_and_are_log_normal() -> None:
    s = 0.5
    rates = []
    for seed in range(8):
        agent = make_agent(POISSON | {"rate": 1.5, "rate_spread": s}, WIDE, seed)
        for team in agent.teams:
            rates.append(TICKS / team.wiring.interval[team.memory.unit[1] :])
    factors = np.concatenate(rates) / 1.5
    factors = factors[np.isfinite(factors)]
    error = math.sqrt((math.exp(s * s) - 1.0) / factors.size)
    assert abs(factors.mean() - 1.0) < ERRORS * error
    normal = (np.log(factors) + s * s / 2) / s
    phi = np.vectorize(lambda x: 0.5 * (1.0 + math.erf(x / math.sqrt(2.0))))
    assert_is_distributed(normal, phi)


def test_a_unit_of_rate_0_never_moves_and_its_neighbours_do() -> None:
    for clock in ("poisson", "periodic"):
        agent = make_agent({"clock": clock, "rate": [1.0, [1.0, 0.0]], "window": 20.0})
        start = bits(agent)
        for _ in episode(agent, 4):
            for name in TEAMS:
                team = getattr(agent, name)
                moved = layer_of(team, team.h, 2) != layer_of(team, team.sampled, 2)
                assert_array_equal(moved, [True, False, True, False][: moved.size])
                assert np.all(layer_of(team, team.h, 1) != layer_of(team, team.sampled, 1))
        for name in TEAMS:  # it learns all the same
            W = weights(getattr(agent, name), start[f"{name}.w"], 2)[0]
            assert np.all(weights(getattr(agent, name), getattr(agent, name).w, 2)[0][1] != W[1])


# --- settling ------------------------------------------------------------------------------------

# Where a unit's pull is gone, rounding of a few 1e-16 is left, over c and the stiffness: 1e-13 or
# so, as in test_theory.py.
SETTLED = 1e-10


@pytest.mark.parametrize(
    "timing",
    [
        {},
        {"delay": 1.0},
        {"delay": 0.0, "error_clock": "with_value"},
        {"clock": "periodic", "delay": 1.0},
        {"clock": "periodic", "jitter": 0.4, "delay": 0.5},
        POISSON | {"delay": 0.5},
        POISSON | {"delay": 1.0, "rate_spread": 0.5},
        POISSON | {"packet_delay": 1.0, "reorder": "newest"},
        POISSON | {"synapse_delay": 1.0},
        POISSON | {"feedback": "kolen_pollack"},
    ],
    ids=lambda timing: " ".join(f"{k} {v}" for k, v in timing.items()) or "defaults",
)
@pytest.mark.parametrize("architecture", ["softmax", "gaussian"])
def test_a_long_window_ends_where_the_synchronous_mode_settles(
    architecture: str, timing: dict[str, Any]
) -> None:
    slow = {f"{name}.step_size": 0.1 for name in TEAMS}
    changes = ARCHITECTURES[architecture] | slow
    long = {f"{name}.N": 3000 for name in TEAMS}
    ours = make_agent(timing | {"window": 2000.0}, changes)
    theirs = MapProp(small_spec(changes | long), N_IN, N_OUT, SEED)
    first = experience(1)[0][0]
    ours.begin(first)
    theirs.begin(first)
    for name in TEAMS:
        team, settled = getattr(ours, name), getattr(theirs, name)
        assert np.max(np.abs(settled.h - settled.sampled)) > 0.1
        assert_allclose(team.h, settled.h, rtol=0, atol=SETTLED)
        assert_allclose(team.z, settled.z, rtol=0, atol=SETTLED * 100.0)  # the gate of the critic
        if name == "actor":  # a settled unit is not pulled: mu - h + var W'g = 0
            check_pull(team)


def check_pull(team: Team) -> None:
    """No hidden unit is pulled anywhere: ``mu - h + var W' g`` is 0 with means and errors anew."""
    H = values_of(team, team.h)
    W, b = zip(*[weights(team, team.w, l) for l in range(1, team.size.size)], strict=True)
    p = [w @ h + x for w, h, x in zip(W, H, b, strict=False)]
    mu = [np.logaddexp(0.0, x) for x in p[:-1]]
    slope = [1.0 / (1.0 + np.exp(-x)) for x in p[:-1]]
    var = [layer_of(team, team.var, l) for l in range(1, team.size.size)]
    g = [(h - m) * s / v for h, m, s, v in zip(H[1:-1], mu, slope, var, strict=False)]
    if team.T > 0.0 and np.all(np.isin(H[-1], (0.0, 1.0))):
        probability = np.exp(p[-1] / team.T) / np.sum(np.exp(p[-1] / team.T))
        g.append((H[-1] - probability) / team.T)
    else:
        g.append((H[-1] - p[-1]) / var[-1])
    for i in range(len(mu)):
        pull = mu[i] - H[i + 1] + var[i] * (W[i + 1].T @ g[i + 1])
        assert_allclose(pull, 0.0, atol=SETTLED)


@pytest.mark.parametrize(
    "timing",
    [{}, POISSON | {"delay": 1.0}, POISSON | {"synapse_delay": 1.0}, AT_ONE | {"jitter": 0.2}],
    ids=["synchronous", "poisson", "per synapse", "jitter"],
)
@pytest.mark.parametrize("name", TEAMS)
def test_a_unit_that_diverges_is_reported_with_step_team_layer_and_unit(
    name: str, timing: dict[str, Any]
) -> None:
    agent = make_agent(timing | {"window": 400.0}, {f"{name}.step_size": 9.0})
    place = rf"diverged at step 0: in the {name}, layer [123], unit \d+, the value is "
    with pytest.raises(RunError, match=place):
        agent.begin(experience(1)[0][0])


def live_on(agent: MapProp) -> None:
    """A long episode; whatever is to be seen on the way is a number."""
    for _ in episode(agent, 1000):
        assert all(np.all(np.isfinite(array)) for array in bits(agent).values())


@pytest.mark.parametrize(
    "timing",
    [POISSON | {"delay": 1.0}, POISSON | LEARNED, {"synapse_delay": 1.0}],
    ids=["poisson", "kolen_pollack", "per synapse"],
)
def test_learning_that_diverges_is_reported_before_there_is_nan(timing: dict[str, Any]) -> None:
    agent = make_agent(timing, {f"{name}.alpha": [30.0, 30.0, 30.0] for name in TEAMS})
    with pytest.raises(RunError, match=r"diverged at step [1-9]"):
        live_on(agent)


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", TRANSPORTS)
def test_the_room_that_buffers_have_changes_no_bits(option: str) -> None:
    def lives(room: int | None) -> list[dict[str, Array]]:
        """Three episodes, each begun with room for so many events; None: as it comes."""
        agent, steps = make_agent(OPTIONS[option] | {"window": 9.0}), []
        for seed in range(3):
            for team in agent.teams if room else ():
                team._hold_mail(grown_mail(team.memory, team.wiring, team._mail, events=room))
            steps += [bits(agent) for _ in episode(agent, 6, seed)]
            grown = min(team.mail.ticks.size for team in agent.teams) > (room or 1024)
            assert grown == (room is not None and room < 100)
        return steps

    expected = lives(None)
    for room in (1, 17, 5000):
        for ours, theirs in zip(lives(room), expected, strict=True):
            assert not differences(ours, theirs)


@pytest.mark.parametrize("option", TRANSPORTS)
def test_a_log_that_is_too_small_grows_and_says_the_same(option: str) -> None:
    found = []
    for rows in (1, 4096):
        agent = make_agent(OPTIONS[option])
        for team in agent.teams:
            team._hold_log(build_log(rows))
        for _ in episode(agent, 3):
            found.append({key: column.copy() for key, column in agent.events().items()})
        assert all(team.log.time.size > int(team.log.count[0]) > 1 for team in agent.teams)
    for first, second in zip(found[:3], found[3:], strict=True):
        assert not differences(first, second)


@every_option
def test_an_agent_that_is_restored_between_episodes_goes_on_with_the_same_bits(option: str) -> None:
    for changes in ({}, PUBLISHED):
        agent, other = (make_agent(OPTIONS[option], changes) for _ in range(2))
        after(agent, 2, length=3)
        other.restore({key: array.copy() for key, array in agent.state().items()})
        for seed in range(2, 4):
            for _ in zip(episode(agent, 3, seed), episode(other, 3, seed), strict=True):
                assert not differences(bits(agent), bits(other))
                counts = agent.counts(), other.counts()
                assert not differences(counts[0], counts[1])
        assert not differences(bits(agent), bits(other))


# --- locality ------------------------------------------------------------------------------------

Blocks = tuple[Block, Block, Block, Block]


def copy_of(blocks: Blocks) -> Blocks:
    """A copy of all that a team is."""
    first, *rest = ((integers.copy(), floats.copy()) for integers, floats in blocks)
    return (first, *rest)  # type: ignore[return-value]


def numbers(blocks: Blocks) -> dict[str, Array]:
    """The arrays of numbers that units compute, by name."""
    memories = {"team": read_team(blocks[0]), "mail": unpack(Mail, blocks[2])}
    given = ("team.alpha", "team.anneal_to", "mail.intervals")
    return {
        f"{kind}.{name}": array
        for kind, memory in memories.items()
        for name, array in memory._asdict().items()
        if isinstance(array, np.ndarray) and array.dtype == np.float64
        if f"{kind}.{name}" not in given
    }


def reach_of(unit: AsynchronousTeam, u: int) -> dict[str, Array]:
    """What an agent may read: its state, its row of everything, its mailbox and what is on its way.

    Masks of the arrays of `numbers`, True where it is the agent's.
    """
    team, wiring, mail = unit.memory, unit.wiring, unit.mail
    units, top = team.h.size, team.size.size - 1
    layer = int(wiring.layer[u])
    softmax = team.size[top] > 1 and not wiring.agent[units - 1]
    own = range(u, units if layer == top and softmax else u + 1)
    reach = {name: np.zeros(x.size, bool) for name, x in numbers(unit._blocks).items()}

    def allow(kind: str, names: str, first: int, n: int = 1) -> None:
        for name in names.split():
            reach[f"{kind}.{name}"][first : first + n] = True

    n_in, n_out = int(team.size[layer - 1]), int(team.size[layer])
    for k in own:
        allow("team", "h sampled p mu slope g f var noise", k)
        allow("mail", "tagged_g tagged_h last", k)
        allow("mail", "last", units + k)
        i = int(k - team.unit[layer])
        row, bias = int(team.param[layer]) + i * n_in, int(team.param[layer]) + n_in * n_out + i
        allow("team", "w z m v", row, n_in)
        allow("team", "w z m v", bias)
        allow("mail", "tagged_x slot", row, n_in)
        if layer < top:
            above = int(team.size[layer + 1])
            row = int(team.param[layer + 1]) + i * above
            allow("team", "wt", row, above)
            allow("mail", "zt mt vt tagged_g_above", row, above)
            allow("mail", "slot", team.w.size + row, above)
    ends = np.append(mail.start, mail.payloads.size)
    for d, sender in ((0, layer - 1), (1, layer + 1)):
        if sender <= top:
            first, n = d * units + int(team.unit[sender]), int(team.size[sender])
            if not wiring.per_synapse or sender == 0:
                allow("mail", "heard", first, n)
            allow("mail", "payloads", ends[first], ends[first + n] - ends[first])
    return reach


def poisoned(blocks: Blocks, reach: dict[str, Array]) -> Blocks:
    """A copy in which nan stands wherever an agent may not look."""
    copy = copy_of(blocks)
    for name, array in numbers(copy).items():
        array[~reach[name]] = np.nan
    return copy


def assert_same_within(reach: dict[str, Array], ours: Blocks, theirs: Blocks) -> None:
    """What an agent may read and write is the same in both, and so are counts and times."""
    other = numbers(theirs)
    for name, array in numbers(ours).items():
        assert_array_equal(array[reach[name]], other[name][reach[name]], err_msg=name)
    for first, second in zip(ours, theirs, strict=True):
        assert_array_equal(first[0], second[0])


LOCAL = {
    "shared slots": {"clock": "periodic", "phase": 0.5},
    "heaps": {"clock": "periodic", "packet_delay": 1.0, "reorder": "newest"},
    "slots of synapses": {"clock": "periodic", "synapse_delay": 0.5},
    "learned feedback": {"clock": "periodic"} | LEARNED | {"feedback_decay": 1e-3},
    "learned feedback per synapse": {"clock": "periodic", "loss_per": "synapse"} | LEARNED,
    "random feedback": {"clock": "periodic", "feedback": "random", "silent_until_first_tick": True},
    "traces of an error tick": {"clock": "periodic", "trace_after": 2} | LEARNED,
}


@pytest.mark.parametrize("option", LOCAL)
@pytest.mark.parametrize(
    "changes",
    [{}, GAUSSIAN, layers([5, 4, 3], [3, 4, 2], ["tanh", "sigmoid", "softplus"])],
    ids=["softmax", "gaussian", "deep"],
)
def test_a_unit_needs_its_own_row_its_own_state_and_its_mailbox_alone(
    changes: dict[str, Any], option: str
) -> None:
    agent = make_agent(LOCAL[option] | {"window": 3.0}, changes)
    steps = experience(3)
    agent.begin(steps[0][0])
    agent.step(*steps[1])
    for unit in agent.teams:
        for u in np.flatnonzero(unit.wiring.agent):
            alone = copy_of(unit._blocks)
            begin = wake_only(unit, alone, int(u), steps[2][0])
            before = copy_of(alone)
            reach = reach_of(unit, int(u))
            # The critic's output broadcasts the gate, and needs what is its own for that.
            needed = reach
            if unit.memory.gated:
                gate = reach_of(unit, unit.memory.h.size - 1)
                needed = {name: mask | gate[name] for name, mask in reach.items()}
            among_nan = poisoned(alone, needed)
            for each in (alone, among_nan):
                with np.errstate(invalid="ignore"):  # all others have traces, those are nan now
                    asynchronous.settle(each, unit._shared, begin, 0.3, True)
            assert_same_within(reach, alone, among_nan)
            assert_lively(unit, before, alone, int(u))


def wake_only(unit: AsynchronousTeam, blocks: Blocks, u: int, observation: Array) -> int:
    """A sampling wave, after which an agent is armed; no other will tick or learn.

    Returns the time at which the output has sampled.
    """
    team, wiring, mail = read_team(blocks[0]), unpack(Wiring, blocks[1]), unpack(Mail, blocks[2])
    others = np.arange(team.h.size) != u
    wiring.interval[others] = np.inf
    wiring.broadcast_loss[others] = 1.0
    ready, *lacking = asynchronous.act(blocks, unit._shared, observation)
    assert lacking == [0, 0]
    layer = int(wiring.layer[u])
    if layer < team.size.size - 1:
        above = int(team.size[layer + 1])
        errors = np.linspace(-0.5, 0.7, above)
        first = team.h.size + int(team.unit[layer + 1])
        mail.heard[first : first + above] = errors
        mail.fresh[team.size.size + layer] = above
        if wiring.per_synapse:
            row = int(team.param[layer + 1]) + int(u - team.unit[layer]) * above
            mail.slot[team.w.size + row : team.w.size + row + above] = errors
            mail.slot_fresh[team.h.size + u] = above
    return int(ready)


def assert_lively(unit: AsynchronousTeam, before: Blocks, after: Blocks, u: int) -> None:
    """The agent did all that agents do, and no other did anything but add to its traces."""
    mail, layer = unpack(Mail, after[2]), int(unit.wiring.layer[u])
    team, old = read_team(after[0]), read_team(before[0])
    top = team.size.size - 1
    changed = np.flatnonzero(team.h != old.h)
    assert_array_equal(changed, [u] if layer < top else [])
    assert mail.moves[u] == (3 if layer < top else 0)
    assert mail.error_ticks[u] == (3 if layer >= unit.wiring.errors_from else 0)
    assert mail.updates[u] == unit.mail.updates[u] + 1
    rows = [weights(team, team.w - old.w, l)[0] for l in range(1, top + 1)]
    learned = [(l, i) for l, W in enumerate(rows, start=1) for i in np.flatnonzero(np.any(W, 1))]
    assert {l for l, _ in learned} == {layer}
    assert (layer, u - team.unit[layer]) in learned
    assert np.all(np.isfinite(team.h))


@pytest.mark.parametrize("option", ["poisson", "all per synapse", "kolen_pollack", "newest"])
def test_a_pass_knows_nothing_of_the_pass_before(option: str) -> None:
    # But weights, traces and the payloads in mailboxes, with which it goes on.
    clean, littered = make_agent(OPTIONS[option]), make_agent(OPTIONS[option])
    steps = experience(3)
    for agent in (clean, littered):
        agent.begin(steps[0][0])
        agent.step(*steps[1])
    for team in littered.teams:
        for name in ("h", "sampled", "p", "mu", "slope", "g", "f", "noise"):
            getattr(team.memory, name)[:] = np.nan
        for name in ("last", "payloads", "tagged_g", "tagged_h", "tagged_x", "intervals"):
            getattr(team.mail, name)[:] = np.nan
        if not team.wiring.per_synapse:
            team.mail.heard[:] = np.nan  # new values and errors come before they are used
    for agent in (clean, littered):
        agent.step(*steps[2])
    assert not differences(bits(clean), bits(littered))
