"""The asynchronous oracle against things outside it: a log by hand, the lock-step limit, facts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bridge import TEAMS, settings_of, small_spec, state_of, timed_spec, values_of, with_packets
from numpy.testing import assert_array_equal
from oracle import Array, Settings, State, new_state
from oracle_async import TICKS, AsyncAgent, Timing, rounded

from neurosim.kernels import rng
from neurosim.kernels.traffic import KINDS
from neurosim.learners import AsynchronousMapProp, MapProp
from neurosim.network import orient, weights
from neurosim.tasks import Environment, environment_seed

SEED = 11
GOAL = {"actor.output": "gaussian", "actor.T": None, "actor.var": [0.3, 0.5, 0.2]}


# --- helpers -------------------------------------------------------------------------------------


def make_agent(
    timing: Timing,
    seed: int = SEED,
    changes: dict[str, Any] | None = None,
    critic: Timing | None = None,
    **options: Any,
) -> AsyncAgent:
    """The small agent with 3 inputs and 2 outcomes; one timing for both teams unless two are given.

    Units of the actor: 5, 4 and 2 outcomes; of the critic: 4, 3 and 1.
    """
    model = small_spec(changes)
    package = MapProp(model, 3, 2, seed)
    return AsyncAgent(
        settings_of(model, "actor", 3, 2),
        settings_of(model, "critic", 3, 1),
        state_of(package.actor),
        state_of(package.critic),
        timing,
        timing if critic is None else critic,
        seed,
        **options,
    )


def play(agent: AsyncAgent, steps: int = 6) -> Iterator[AsyncAgent]:
    """An episode of random observations and rewards, and its last transition."""
    random = np.random.default_rng(5)
    agent.step(random.normal(size=3))
    yield agent
    for _ in range(steps - 1):
        agent.step(random.normal(size=3), float(random.normal()))
        yield agent
    agent.end(random.normal(size=3), 1.0, False)
    yield agent


def arrays(state: State) -> list[Array]:
    """All arrays of a state."""
    keys = ("W", "b", "zW", "zb", "mW", "mb", "vW", "vb")
    return [x for key in keys for x in getattr(state, key)]


def bits(agent: AsyncAgent) -> bytes:
    """All that learning has changed."""
    states = [x for team in agent.teams for x in arrays(team.state())]
    feedback = [
        x for team in agent.teams for x in (*team.feedback_weights(), *team.feedback_traces())
    ]
    values = [x for team in agent.teams for x in team.values()]
    return b"".join(x.tobytes() for x in (*states, *feedback, *values))


def after(timing: Timing, steps: int = 6, **options: Any) -> bytes:
    """All that learning has changed after an episode."""
    agent = make_agent(timing, **options)
    for _ in play(agent, steps):
        pass
    return bits(agent)


BUSY = Timing(
    clock="poisson",
    rate=[1.0, [0.7, 1.3, 1.0, 2.0, 0.0], 1.5],
    rate_spread=0.3,
    delay=[0.2, 0.6],
    error_delay=1.0,
    unit_delay=0.3,
    packet_delay=0.9,
    loss=0.2,
    error_loss=[0.1, 0.3],
    send_on_delta=0.02,
    quantize=9,
    feedback="kolen_pollack",
    feedback_alignment=0.5,
    feedback_decay=1e-3,
    broadcast_delay=[0.0, 0.5, 1.0],
    broadcast_loss=0.1,
)


# --- two units by hand ---------------------------------------------------------------------------


class TestByHand:
    """Observation x -> hidden unit 0 (linear) -> output unit 1, the critic's side of an agent.

    Periodic clocks, rate 1 below and 1/2 above, phase 1, delay 1/4, N = 2. The actor's packets take
    half a period, so that its output samples at 1/2: that is T.
    """

    w0, b0, w1, b1 = 0.5, 0.1, -0.8, 0.2
    var0, var1, c, decay = 0.25, 0.5, 0.5, 0.9 * 0.5
    x, x2, reward = 1.5, -0.5, 0.75
    alpha0, alpha1 = 0.05, 0.02

    def agent(self) -> AsyncAgent:
        """The agent before its first step."""
        settings = Settings(
            sizes=(1, 1, 1),
            activations=("linear",),
            output="gaussian",
            var=(self.var0, self.var1),
            alpha=(self.alpha0, self.alpha1),
            gamma=0.9,
            lambda_=0.5,
            N=2,
            step_size=self.c,
        )
        critic = replace(settings, gated=True, gate_floor=0.01)
        W, b = [[[self.w0]], [[self.w1]]], [[self.b0], [self.b1]]
        timing = Timing(clock="periodic", rate=[1.0, 0.5], phase=1.0, delay=0.25)
        slow = replace(timing, delay=0.5)
        return AsyncAgent(settings, critic, new_state(W, b), new_state(W, b), slow, timing, SEED)

    def noise(self, number: int, unit: int) -> float:
        """The critic's noise: stream 0 of team 1."""
        return rng.normal(rng.mixed_key(SEED), number, unit, np.uint64(256))

    def engine_rows(self) -> list[tuple[Any, ...]]:
        """Rows of the critic in the first step of the package's own agent."""
        sides = {
            "units": [1],
            "activation": ["linear"],
            "var": [self.var0, self.var1],
            "alpha": [self.alpha0, self.alpha1],
            "anneal_to": [1.0, 1.0],
            "lambda": 0.5,
            "N": 2,
            "step_size": self.c,
        }
        changes = {f"{team}.{key}": value for team in TEAMS for key, value in sides.items()}
        timing = {"clock": "periodic", "rate": [1.0, 0.5], "phase": 1.0, "delay": 0.25}
        gaussian = {"actor.output": "gaussian", "actor.T": None}
        model = timed_spec(timing | {"delay": 0.5}, changes | gaussian, timing, 1)
        agent = AsynchronousMapProp(model, 1, 1, SEED)
        for team in (agent.actor, agent.critic):
            for layer, w, b in ((1, self.w0, self.b0), (2, self.w1, self.b1)):
                weights(team, team.w, layer)[0][:] = w
                weights(team, team.w, layer)[1][:] = b
            orient(team)
        agent.write_log(True)
        agent.begin(np.array([self.x]))
        events = with_packets(agent.events())
        rows, names, sent = [], {}, {"value": 0, "error": 0}
        for i in np.flatnonzero(events["team"] == 1):
            time, unit, kind, value, source, packet = (
                events[key][i].item()
                for key in ("time", "unit", "kind", "value", "source", "packet")
            )
            if packet >= 0 and packet not in names:  # its sending comes first
                direction = "value" if KINDS[kind] in ("sample", "value_tick") else "error"
                names[packet] = (direction, unit, sent[direction])
                sent[direction] += 1
            rows.append((time, unit, KINDS[kind], value, source, names.get(packet)))
        return rows

    @pytest.mark.parametrize("side", ["oracle", "engine"])
    def test_the_log_of_the_first_step(self, side: str) -> None:
        agent = self.agent()
        agent.step([self.x])

        # Time 0: unit 0 samples, its packet takes 1/4. Then unit 1 samples.
        mu0 = self.b0 + self.w0 * self.x
        h0 = mu0 + 0.5 * self.noise(0, 0)  # sqrt(var0) = 1/2
        mu1 = self.b1 + self.w1 * h0
        A = mu1 + math.sqrt(0.5) * self.noise(0, 1)
        # T = 1/2: a first step, td_error 0 and no update. Error packet 0 takes 1/4, too.
        g0 = (A - mu1) / self.var1  # the slope is 1
        # T + 1: unit 0 is armed since T + 1/4. It sends h0 at T + 1 and T + 2.
        first = h0 + 0.5 * ((mu0 - h0) + 0.25 * (self.w1 * g0))
        second = first + 0.5 * ((mu0 - first) + 0.25 * (self.w1 * g0))
        # T + 3: unit 1 ticks at T + 2, half its period of 2 later comes its error tick.
        # By then it holds the second value, which landed at T + 2 + 1/4.
        new_mu1 = self.b1 + self.w1 * second
        g1 = (A - new_mu1) / self.var1
        # T + 2 is the window's end. The gate has the mu of T + 3.
        gate = 1.0 / (A - new_mu1)
        assert abs(A - new_mu1) > 0.01 * math.sqrt(0.5)  # above the floor
        trace0 = gate * ((second - mu0) / self.var0)  # layer 1 has sent no error packet
        trace1 = gate * g1  # what it sent last

        up = [("value", 0, n) for n in range(3)]
        down = [("error", 1, n) for n in range(2)]
        quarter = TICKS // 4
        expected = [  # quarters of a period
            (0, 0, "observe", self.x, -1, None),
            (0, 0, "sample", h0, -1, up[0]),
            (1, -1, "deliver_value", h0, 0, up[0]),
            (1, 1, "sample", A, -1, None),
            (2, 0, "broadcast", 0.0, -1, None),
            (2, 1, "broadcast", 0.0, -1, None),
            (2, 1, "arm", g0, -1, down[0]),
            (3, -1, "deliver_error", g0, 1, down[0]),
            (6, 0, "value_tick", first, -1, up[1]),
            (7, -1, "deliver_value", first, 0, up[1]),
            (10, 0, "value_tick", second, -1, up[2]),
            (11, -1, "deliver_value", second, 0, up[2]),
            (14, 1, "error_tick", g1, -1, down[1]),
            (15, -1, "deliver_error", g1, 1, down[1]),
            (None, 1, "gate", gate, -1, None),  # when all has landed
            (None, 0, "trace", trace0, -1, None),
            (None, 1, "trace", trace1, -1, None),
        ]
        rows = [(time, *rest) for time, team, *rest in agent.events if team == "critic"]
        if side == "engine":
            rows = self.engine_rows()
        rows = [
            (None if kind in ("gate", "trace") else time / quarter, unit, kind, *rest)
            for time, unit, kind, *rest in rows
        ]
        assert rows == expected

        # What was sent after T + 7/4 had not arrived at T + 2.
        assert agent.critic.counters == {
            "sent": [[3], [2]],
            "delivered": [[2], [1]],
            "lost": [[0], [0]],
            "discarded": [[0], [0]],
            "in_flight": [[1], [1]],
            "ticks": [2, 1, 0],
        }
        state = agent.critic.state()
        assert state.zW == [[[trace0 * self.x]], [[trace1 * second]]]
        assert state.zb == [[trace0], [trace1]]
        assert state.updates == 0
        assert agent.critic.values() == [[self.x], [second], [A]]
        assert agent.critic.sampled() == [[self.x], [h0], [A]]
        assert agent.value == mu1
        assert agent.steps == 1

    def test_the_second_step(self) -> None:
        agent = self.agent()
        agent.step([self.x])
        before = agent.critic.state()
        mu_before = agent.value
        agent.step([self.x2], self.reward)

        # The wave has the weights as they were.
        h0 = (self.b0 + self.w0 * self.x2) + 0.5 * self.noise(1, 0)
        mu1 = self.b1 + self.w1 * h0
        A = mu1 + math.sqrt(0.5) * self.noise(1, 1)
        td_error = self.reward + 0.9 * mu1 - mu_before
        assert agent.td_error == td_error

        # Adam's first update: m = (1 - beta1) G and v = (1 - beta2) G**2, both corrected.
        def updated(w: float, z: float, alpha: float) -> float:
            G = td_error * z
            m, v = (1.0 - 0.9) * G, (1.0 - 0.999) * (G * G)
            return w + alpha / (1.0 - 0.9) * m / (math.sqrt(v * (1.0 / (1.0 - 0.999))) + 1e-8)

        w0, b0 = (
            updated(w, z, self.alpha0)
            for w, z in ((self.w0, before.zW[0][0, 0]), (self.b0, before.zb[0][0]))
        )
        w1, b1 = (
            updated(w, z, self.alpha1)
            for w, z in ((self.w1, before.zW[1][0, 0]), (self.b1, before.zb[1][0]))
        )
        state = agent.critic.state()
        assert (state.W, state.b) == ([[[w0]], [[w1]]], [[b0], [b1]])
        assert abs(w0 - self.w0) == pytest.approx(self.alpha0, rel=1e-6)  # Adam's first step
        assert agent.critic.feedback_weights() == [[[w1]]]

        # Error packet 0 and all that follows has the new weights.
        g0 = (A - (b1 + w1 * h0)) / self.var1
        mu0 = b0 + w0 * self.x2
        first = h0 + 0.5 * ((mu0 - h0) + 0.25 * (w1 * g0))
        second = first + 0.5 * ((mu0 - first) + 0.25 * (w1 * g0))
        new_mu1 = b1 + w1 * second
        gate = 1.0 / (A - new_mu1)
        z0 = self.decay * before.zW[0][0, 0] + (gate * ((second - mu0) / self.var0)) * self.x2
        z1 = self.decay * before.zW[1][0, 0] + (gate * ((A - new_mu1) / self.var1)) * second
        assert state.zW == [[[z0]], [[z1]]]

    def test_the_last_transition(self) -> None:
        agent = self.agent()
        agent.step([self.x])
        before = agent.critic.state()
        mu = agent.value
        agent.end([self.x2], self.reward, True)
        rows = [row[:5] for row in agent.events]
        td_error = self.reward - mu
        assert rows == [  # by kind, then unit, then team
            (0, "actor", 0, "broadcast", td_error),
            (0, "critic", 0, "broadcast", td_error),
            (0, "actor", 1, "broadcast", td_error),
            (0, "critic", 1, "broadcast", td_error),
        ]
        after = agent.critic.state()
        assert after.zW == before.zW
        assert after.updates == 1
        assert agent.steps == 1


# --- the lock-step limit -------------------------------------------------------------------------


def lock_step_cases() -> dict[str, dict[str, Any]]:
    """Models whose options change the order of things."""
    published = {
        "learning.truncation": "zero",
        "learning.update_at_reset": True,
        "learning.terminal_iteration": True,
        "learning.anneal_steps": 30,
        "actor.anneal_to": [0.1, 0.2, 0.3],
        "adam.bias_correction_until": 5,
    }
    activations = {
        "actor.activation": ["tanh", "sigmoid"],
        "critic.activation": ["relu", "linear"],
    }
    return {
        "plain": {},
        "published": published,
        "bootstrap": {"learning.terminal_iteration": True},
        "gaussian": GOAL,
        "activations": activations,
        "no relaxation": {"actor.N": 0, "critic.N": 0},
        "different N": {"actor.N": 2, "critic.N": 7},
    }


def assert_same(agent: AsyncAgent, package: MapProp) -> None:
    """Bit for bit."""
    assert agent.td_error == package.td_error
    assert agent.value == package.value
    assert agent.steps == int(package.shared.steps[0])
    for name in TEAMS:
        ours, theirs = getattr(agent, name), getattr(package, name)
        for a, b in zip(arrays(ours.state()), arrays(state_of(theirs)), strict=True):
            assert_array_equal(a, b)
        for a, b in zip(ours.values(), values_of(theirs, theirs.h), strict=True):
            assert_array_equal(a, b)
        for a, b in zip(ours.sampled(), values_of(theirs, theirs.sampled), strict=True):
            assert_array_equal(a, b)
        assert ours.state().updates == int(theirs.count[1])


def pair(changes: dict[str, Any], n_in: int, n_out: int) -> tuple[AsyncAgent, MapProp]:
    """An agent of the oracle with the defaults, and the package's."""
    model = small_spec(changes)
    package = MapProp(model, n_in, n_out, SEED)
    agent = AsyncAgent(
        settings_of(model, "actor", n_in, n_out),
        settings_of(model, "critic", n_in, 1),
        state_of(package.actor),
        state_of(package.critic),
        Timing(),
        Timing(),
        SEED,
        reward_bound=model.learning.reward_bound,
        truncation=model.learning.truncation,
        terminal_iteration=model.learning.terminal_iteration,
        update_at_reset=model.learning.update_at_reset,
    )
    return agent, package


@pytest.mark.parametrize("case", list(lock_step_cases()))
def test_the_defaults_are_the_synchronous_mode(case: str) -> None:
    agent, package = pair(lock_step_cases()[case], 3, 2)
    random = np.random.default_rng(7)
    for episode in range(3):
        observation = random.normal(size=3)
        assert_array_equal(agent.step(observation), package.begin(observation))
        assert_same(agent, package)
        for _ in range(4):
            observation, reward = random.normal(size=3), float(random.normal())
            assert_array_equal(agent.step(observation, reward), package.step(observation, reward))
            assert_same(agent, package)
        observation, reward = random.normal(size=3), float(random.normal())
        agent.end(observation, reward, episode == 1)
        package.end(observation, reward, episode == 1)
        assert_same(agent, package)


def test_a_cartpole_episode_in_lock_step() -> None:
    model = small_spec()
    environment = Environment(model.task, model.actor.output)
    agent, package = pair({}, environment.n_observations, environment.n_actions)
    observation = environment.reset(environment_seed(SEED, 1))
    agent.step(observation)
    output = package.begin(observation)
    for _ in range(30):
        observation, reward, terminated, truncated = environment.step(environment.action(output))
        if terminated or truncated:
            break
        output = package.step(observation, reward)
        assert_array_equal(agent.step(observation, reward), output)
        assert_same(agent, package)
    package.end(observation, reward, terminated)
    agent.end(observation, reward, terminated)
    assert_same(agent, package)
    environment.close()


# --- facts ---------------------------------------------------------------------------------------

TIMINGS = {
    "defaults": Timing(),
    "busy": BUSY,
    "newest": replace(BUSY, reorder="newest", trace_after=2, silent_until_first_tick=True),
    "per synapse": replace(
        BUSY, packet_delay=0.0, synapse_delay=0.7, loss_per="synapse", feedback="sign_symmetric"
    ),
    "jitter": Timing(clock="periodic", rate_spread=0.2, jitter=0.4, error_clock="with_value"),
    "timer": replace(BUSY, sampling="timer", sampling_timer=0.5, feedback="random", window=3.3),
    "no ticks": replace(BUSY, rate=0.0, trace_after=1),
}


@pytest.mark.parametrize("name", list(TIMINGS))
@pytest.mark.parametrize("terminal_iteration", [False, True])
def test_packets_are_accounted_for(name: str, terminal_iteration: bool) -> None:
    agent = make_agent(TIMINGS[name], terminal_iteration=terminal_iteration)
    kinds = set()
    for _ in play(agent):
        kinds |= {row[3] for row in agent.events}
        for team in agent.teams:
            count = team.counters
            parts = [np.array(count[k]) for k in ("delivered", "lost", "discarded", "in_flight")]
            assert_array_equal(np.array(count["sent"]), sum(parts))
            assert np.isfinite(np.concatenate([x.ravel() for x in arrays(team.state())])).all()
    assert ("value_tick" in kinds) == (name != "no ticks")
    assert ("discard_value" in kinds) == (name == "newest")
    assert ("lost_value" in kinds) == (name not in ("defaults", "jitter", "no ticks"))


@pytest.mark.parametrize("name", list(TIMINGS))
def test_a_run_is_reproducible(name: str) -> None:
    assert after(TIMINGS[name]) == after(TIMINGS[name])
    assert after(TIMINGS[name]) != after(TIMINGS[name], seed=SEED + 1)


def test_sampling_does_not_depend_on_delays() -> None:
    """Of the first pass, the weights being the same; later ones have learned something else."""
    agents = [
        make_agent(timing)
        for timing in (
            Timing(),
            Timing(delay=[1.7, 0.1], unit_delay=3.0, packet_delay=2.0),
            Timing(synapse_delay=5.0),
        )
    ]
    actions = [agent.step([0.3, -1.0, 0.5]) for agent in agents]
    assert actions[0] == actions[1] == actions[2]
    assert len({agent.T for agent in agents}) == 3
    for name in TEAMS:
        sampled = [getattr(agent, name).sampled() for agent in agents]
        for layers in zip(*sampled, strict=True):
            assert_array_equal(layers[0], layers[1])
            assert_array_equal(layers[0], layers[2])


def test_kolen_pollack_keeps_shared_weights_shared() -> None:
    timing = Timing(clock="poisson", rate_spread=0.5, delay=1.0, feedback="kolen_pollack")
    for options in ({}, {"trace_after": 0, "feedback_decay": 1e-3}):
        agent = make_agent(replace(timing, **options))
        begin = agent.actor.state().W
        for _ in play(agent):
            for team in agent.teams:
                W, z = team.state().W[1:], team.state().zW[1:]
                for B, w in zip(team.feedback_weights(), W, strict=True):
                    assert_array_equal(B, w.T)
                for zB, zw in zip(team.feedback_traces(), z, strict=True):
                    assert_array_equal(zB, zw.T)
        assert not np.array_equal(begin[1], agent.actor.state().W[1])


def test_shared_feedback_weights_learn_as_symmetric_ones() -> None:
    agents = [make_agent(Timing(feedback=kind)) for kind in ("symmetric", "kolen_pollack")]
    for symmetric, learned in zip(*(play(agent) for agent in agents), strict=True):
        for a, b in zip(symmetric.teams, learned.teams, strict=True):
            for x, y in zip(arrays(a.state()), arrays(b.state()), strict=True):
                assert_array_equal(x, y)


def test_kolen_pollack_weights_come_together() -> None:
    """Without losses both sides get the same updates, so that only decay brings them together."""

    def distance(decay: float) -> float:
        timing = Timing(feedback="kolen_pollack", feedback_alignment=0.0, feedback_decay=decay)
        agent = make_agent(timing)
        for _ in play(agent, 20):
            pass
        B, W = agent.actor.feedback_weights()[0], agent.actor.state().W[1]
        return float(np.max(np.abs(B - W.T)))

    start = make_agent(Timing(feedback="kolen_pollack", feedback_alignment=0.0)).actor
    first = float(np.max(np.abs(start.feedback_weights()[0] - start.state().W[1].T)))
    assert distance(0.0) == pytest.approx(first, rel=1e-12)
    assert distance(0.05) == pytest.approx(first * 0.95**20, rel=1e-12)


def test_feedback_weights_at_the_start() -> None:
    team = {
        (kind, a): make_agent(Timing(feedback=kind, feedback_alignment=a)).actor
        for kind, a in (
            ("symmetric", 1.0),
            ("sign_symmetric", 1.0),
            ("random", 1.0),
            ("kolen_pollack", 0.6),
            ("kolen_pollack", 1.0),
        )
    }
    for l in (0, 1):
        B = {name: t.feedback_weights()[l] for name, t in team.items()}
        W = team["symmetric", 1.0].state().W[l + 1].T
        independent = B["random", 1.0]
        assert_array_equal(B["symmetric", 1.0], W)
        assert_array_equal(B["kolen_pollack", 1.0], W)
        assert_array_equal(B["sign_symmetric", 1.0], np.copysign(independent, W))
        assert_array_equal(
            B["kolen_pollack", 0.6], 0.6 * W + math.sqrt(1.0 - 0.6 * 0.6) * independent
        )
        bound = math.sqrt(6.0 / sum(W.shape))
        assert 0.5 * bound < np.max(np.abs(independent)) < bound


def test_signs_follow_the_weights_and_sizes_stay() -> None:
    agent = make_agent(Timing(feedback="sign_symmetric"), changes={"actor.alpha": [0.5, 0.5, 0.5]})
    begin = agent.actor.feedback_weights()
    for _ in play(agent):
        for old, B, W in zip(
            begin, agent.actor.feedback_weights(), agent.actor.state().W[1:], strict=True
        ):
            assert_array_equal(np.abs(B), np.abs(old))
            assert_array_equal(np.sign(B), np.sign(W.T))
    assert not np.array_equal(begin[0], agent.actor.feedback_weights()[0])


def test_what_changes_nothing() -> None:
    timing = replace(BUSY, loss=0.0, error_loss=None, send_on_delta=0.0, broadcast_loss=0.0)
    plain = replace(timing, packet_delay=0.0)
    assert after(timing) == after(replace(timing, error_loss=0.0))
    assert after(plain) == after(replace(plain, loss_per="synapse"))
    assert after(plain) == after(replace(plain, window=4))
    assert after(timing) == after(replace(timing, jitter=0.4, phase=0.3))  # of periodic clocks
    assert after(Timing()) == after(Timing(clock="periodic", phase=1.0))
    assert after(Timing()) == after(Timing(reorder="newest"))
    assert after(Timing()) == after(Timing(trace_after=9))
    assert after(Timing()) == after(Timing(sampling="timer", sampling_timer=9.0))
    assert after(Timing()) == after(Timing(delay=[0.4, 0.4], error_delay=0.1))
    assert after(Timing(trace_after=4)) != after(Timing(trace_after=3))


@pytest.mark.parametrize(
    "change",
    [
        {"clock": "periodic"},
        {"rate_spread": 0.0},
        {"error_clock": "with_value"},
        {"window": 2.5},
        {"delay": 0.7},
        {"error_delay": 0.2},
        {"unit_delay": 0.0},
        {"packet_delay": 0.0},
        {"packet_delay": 0.0, "synapse_delay": 0.5},
        {"reorder": "newest"},
        {"loss": 0.3},
        {"error_loss": 0.3},
        {"packet_delay": 0.0, "loss_per": "synapse"},
        {"sampling": "timer", "sampling_timer": 0.5},
        {"send_on_delta": 0.3},
        {"quantize": 4},
        {"feedback": "random"},
        {"feedback_alignment": 0.7},
        {"feedback_decay": 0.1},
        {"broadcast_delay": 0.1},
        {"broadcast_loss": 0.4},
        {"silent_until_first_tick": True},
        {"trace_after": 2},
    ],
    ids=lambda change: "-".join(change),
)
def test_what_changes_something(change: dict[str, Any]) -> None:
    """No option is ignored."""
    assert after(BUSY, 3) != after(replace(BUSY, **change), 3)


def test_newest_differs_where_packets_overtake() -> None:
    timing = Timing(packet_delay=4.0)
    assert after(timing) != after(replace(timing, reorder="newest"))
    agent = make_agent(replace(timing, reorder="newest"))
    agent.step([0.1, 0.2, 0.3])
    last: dict[tuple[str, str, int], int] = {}  # by team, direction and sender
    discarded = 0
    for _, team, _, kind, _, source, packet in agent.events:
        if packet is None or not kind.startswith(("deliver", "discard")):
            continue
        seen = last.get((team, packet[0], source), -1)
        assert (packet[2] < seen) == kind.startswith("discard")
        discarded += packet[2] < seen
        last[team, packet[0], source] = max(seen, packet[2])
    assert discarded > 0


def test_with_a_delay_of_each_synapse_a_packet_is_lost_to_all_receivers_or_to_none() -> None:
    agent = make_agent(Timing(clock="poisson", loss=0.4, synapse_delay=0.5))
    lost = arrived = 0
    for _ in play(agent):
        copies: dict[Any, int] = {}
        for _, team, _, kind, _, source, packet in agent.events:
            if team == "actor" and kind == "deliver_value" and source < 5:
                copies[packet] = copies.get(packet, 0) + 1
        assert set(copies.values()) <= {4}  # the units of layer 2
        arrived += len(copies)
        lost += agent.actor.counters["lost"][0][0]
    assert arrived > 0
    assert lost > 0
    assert lost % 4 == 0


def test_a_sampling_timer_is_rounded_once_for_all_layers() -> None:
    agent = make_agent(Timing(delay=5.0, sampling="timer", sampling_timer=0.4))
    next(play(agent))
    times = {(team, unit): time for time, team, unit, kind, *_ in agent.events if kind == "sample"}
    timer = round(0.4 * TICKS)
    assert 2 * timer != round(2 * 0.4 * TICKS)
    assert [times["actor", unit] for unit in (0, 5, 9)] == [0, timer, 2 * timer]


def test_the_gate_has_the_mean_of_the_windows_end_where_the_output_has_told_nobody() -> None:
    # The output is layer 1, which sends no packets. The trace keeps g of the error tick at 3/2, the
    # update comes at 17/10, and after it the output computes its mean once more.
    shallow = {f"critic.{key}": [] for key in ("units", "activation")}
    changes = shallow | {"critic.var": [0.5], "critic.alpha": [0.1], "critic.anneal_to": [1.0]}
    timing = Timing(window=1.0, trace_after=1, broadcast_delay=1.7)
    agent = make_agent(timing, changes=changes)
    steps = play(agent, 2)
    next(steps)
    before = agent.critic.state()
    next(steps)
    after, x, A = agent.critic.state(), agent.critic.values()[0], agent.critic.values()[-1][0]

    def gate_of(state: State) -> float:
        return 1.0 / (A - (state.W[0] @ x + state.b[0])[0])

    (gate,) = (value for _, _, _, kind, value, *_ in agent.events if kind == "gate")
    assert gate == pytest.approx(gate_of(after), rel=1e-9)
    assert gate != pytest.approx(gate_of(before), rel=1e-3)


def test_a_lost_broadcast_leaves_a_unit_as_it_was() -> None:
    agent = make_agent(Timing(), critic=Timing(broadcast_loss=[0.0, [1.0, 0.0, 1.0], 0.0]))
    before = agent.critic.state()
    for _ in play(agent):
        assert not any(
            row[1] == "critic" and row[2] in (4, 6) and row[3] in ("broadcast", "arm")
            for row in agent.events
        )
    now = agent.critic.state()
    assert_array_equal(before.W[1][[0, 2]], now.W[1][[0, 2]])
    assert not np.array_equal(before.W[1][1], now.W[1][1])


def test_units_that_are_not_armed_stay_where_they_are() -> None:
    agent = make_agent(Timing(error_loss=[1.0, 0.0]))
    agent.step([0.1, 0.2, 0.3])
    for team in agent.teams:
        values, sampled = team.values(), team.sampled()
        assert_array_equal(values[1], sampled[1])
        assert not np.any(values[2] == sampled[2])
        n = team.settings.N
        assert team.counters["ticks"][2] == n * values[1].size
        assert team.counters["ticks"][0] == n * values[2].size


def test_silent_units_send_nothing_but_zeros_before_their_first_tick() -> None:
    agent = make_agent(Timing(clock="periodic", phase=1.0, rate=0.3, silent_until_first_tick=True))
    agent.step([0.1, 0.2, 0.3])
    rows = [row for row in agent.events if row[1] == "actor" and row[3] in ("arm", "trace")]
    hidden = [row[4] for row in rows if 5 <= row[2] < 9 and row[3] == "arm"]
    assert hidden == [0.0] * 4
    assert all(row[4] != 0.0 for row in rows if row[2] >= 9)
    never = make_agent(Timing(rate=0.0, clock="poisson", silent_until_first_tick=True))
    never.step([0.1, 0.2, 0.3])
    assert [x.any() for x in never.actor.state().zb] == [False, False, True]


def test_send_on_delta_sends_less() -> None:
    def sent(delta: float) -> int:
        agent = make_agent(Timing(send_on_delta=delta))
        agent.step([0.1, 0.2, 0.3])
        return int(np.sum(agent.actor.counters["sent"]))

    # N = 4: 5 values of each hidden unit, 5 errors of each unit above layer 1.
    assert sent(0.0) == 5 * (5 + 4) + 5 * (4 + 2)
    assert sent(0.0) > sent(0.2) > sent(1e9) == (5 + 4) + (4 + 2)


@pytest.mark.parametrize("n", [1, 3, 11, 24, 52])
def test_rounding_to_significant_bits(n: int) -> None:
    random = np.random.default_rng(0)
    for x in random.normal(size=200) * 10.0 ** random.integers(-8, 8, size=200):
        mantissa, exponent = math.frexp(x)
        nearest = math.ldexp(round(math.ldexp(mantissa, n)), exponent - n)
        assert rounded(float(x), n) == nearest
    assert rounded(0.1, 0) == 0.1


def test_ticks_are_within_the_window() -> None:
    agent = make_agent(Timing(clock="poisson", rate=3.0, window=2.5))
    agent.step([0.1, 0.2, 0.3])
    ticks = [row[0] for row in agent.events if row[3] in ("value_tick", "idle_tick")]
    assert len(ticks) > 20
    assert min(ticks) > agent.T
    assert max(ticks) <= agent.T + 2.5 * TICKS
    late = [row[0] for row in agent.events if row[3] == "error_tick"]
    assert max(late) <= agent.T + 2.5 * TICKS + TICKS / 6


def test_events_are_in_order() -> None:
    kinds = {"broadcast": 1, "arm": 1, "error_tick": 2, "value_tick": 3, "idle_tick": 3}
    for timing in TIMINGS.values():
        agent = make_agent(timing)
        for _ in play(agent):
            rows = [row for row in agent.events if row[3] not in ("gate", "trace")]
            keys = [(row[0], kinds.get(row[3], 0)) for row in rows if not row[3].startswith("lost")]
            assert keys == sorted(keys)
