"""Between the package and the oracles: the same settings, state, noise and values in both forms."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import oracle
import oracle_async
import oracle_baselines
import tomlkit
from oracle import Array, ArrayLike, Settings, State

from neurosim import spec
from neurosim.kernels import rng
from neurosim.kernels.clock import NOW
from neurosim.kernels.traffic import KINDS
from neurosim.learners import AsynchronousMapProp, MapProp
from neurosim.memory import Team
from neurosim.network import weights
from neurosim.spec import Model, Spec
from neurosim.tasks import Environment, environment_seed
from neurosim.timing import feedback_weights

Noise = list[Array | float]
TEAMS = ("actor", "critic")
# Adding up an energy of 100 terms rounds by 1e-14 of their size, and the values that it is of may
# be off by 1e-12 of theirs.
MARGIN = 1e-11

# Keys that make a team climb.
CLIMBING: dict[str, Any] = {
    f"{name}.{key}": value
    for name in TEAMS
    for key, value in (("relaxation", "hill_climbing"), ("step_size", None), ("proposal", 0.3))
}

SMALL: dict[str, Any] = {
    "description": "a small agent",
    "task": {"id": "CartPole-v1", "episodes": 3},
    "learning": {
        "gamma": 0.9,
        "reward_bound": math.inf,
        "anneal_steps": math.inf,
        "truncation": "bootstrap",
        "update_at_reset": False,
        "terminal_iteration": False,
        "stale_first_mean": False,
    },
    "actor": {
        "units": [5, 4],
        "activation": ["softplus", "softplus"],
        "output": "softmax",
        "T": 2.0,
        "var": [0.3, 0.5],
        "alpha": [0.05, 0.02, 0.01],
        "anneal_to": [1.0, 1.0, 1.0],
        "lambda": 0.8,
        "N": 4,
        "step_size": 0.5,
    },
    "critic": {
        "units": [4, 3],
        "activation": ["softplus", "softplus"],
        "var": [0.4, 0.6, 0.5],
        "alpha": [0.04, 0.03, 0.02],
        "anneal_to": [1.0, 1.0, 1.0],
        "lambda": 0.7,
        "N": 4,
        "step_size": 0.5,
        "gate_floor": 0.01,
    },
    "adam": {
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "bias_correction_until": math.inf,
    },
}


def small_content(changes: dict[str, Any] | None) -> dict[str, Any]:
    """The small model with some dotted keys set to other values; the value None removes a key."""
    content = copy.deepcopy(SMALL)
    for path, value in (changes or {}).items():
        section, key = path.split(".")
        if value is None:
            content[section].pop(key, None)
        else:
            content[section][key] = value
    return content


def small_spec(changes: dict[str, Any] | None = None) -> Spec:
    """A small model, two hidden layers in each team, with some dotted keys set to other values.

    The value None removes the key.
    """
    content = small_content(changes)
    return spec.parse(tomlkit.dumps(content), "small").spec


def timed_model(
    timing: dict[str, Any],
    changes: dict[str, Any] | None = None,
    critic: dict[str, Any] | None = None,
    n_out: int = 2,
) -> Model:
    """The small model in asynchronous mode, with one timing for both teams or another critic's.

    A list has any length: a layer, a projection or a unit takes the entry of its number, and after
    the last entry comes the first one again.
    """
    content = small_content(changes)
    sizes = {
        "actor": [*content["actor"]["units"], n_out],
        "critic": [*content["critic"]["units"], 1],
    }
    content["timing"] = {
        name: {key: fitted(key, value, sizes[name]) for key, value in own.items()}
        for name, own in (("actor", timing), ("critic", timing if critic is None else critic))
    }
    return spec.parse(tomlkit.dumps(content), "small")


def timed_spec(
    timing: dict[str, Any],
    changes: dict[str, Any] | None = None,
    critic: dict[str, Any] | None = None,
    n_out: int = 2,
) -> Spec:
    """What `timed_model` says."""
    return timed_model(timing, changes, critic, n_out).spec


def fitted(key: str, value: Any, sizes: list[int]) -> Any:
    """A value of a key of [timing], with lists of the length that a team of such layers needs."""
    if not isinstance(value, list):
        return value
    if key in ("delay", "error_delay", "loss", "error_loss"):
        return cycled(value, len(sizes) - 1)
    return [
        cycled(entry, size) if isinstance(entry, list) else entry
        for entry, size in zip(cycled(value, len(sizes)), sizes, strict=True)
    ]


def cycled(entries: list[Any], length: int) -> list[Any]:
    """So many entries, from the first one again after the last one."""
    return [entries[k % len(entries)] for k in range(length)]


# --- one team in the oracle's form ---------------------------------------------------------------


def settings_of(model: Spec, name: str, n_in: int, n_out: int) -> Settings:
    """The oracle's constants of the actor or the critic of a model."""
    team: spec.Actor | spec.Critic = getattr(model, name)
    kind: Any = Settings
    if (model.actor.rule, model.critic.rule) != ("map_prop", "map_prop"):
        kind = partial(oracle_baselines.Settings, rule=team.rule)
    still = (0.0,) * len(team.units) if team.rule == "backprop" else ()
    output = (0.0,) if name == "critic" and team.rule != "map_prop" else ()
    settings: Settings = kind(
        sizes=(n_in, *team.units, n_out),
        activations=tuple(team.activation),
        output=team.output,
        var=(*still, *team.var, *output),
        alpha=tuple(team.alpha),
        T=1.0 if team.T is None else team.T,
        anneal_to=tuple(team.anneal_to),
        anneal_steps=model.learning.anneal_steps,
        gamma=model.learning.gamma,
        lambda_=team.lambda_,
        N=team.N,
        step_size=team.step_size,
        proposal=team.proposal or 0.0,
        gated=name == "critic",
        gate_floor=team.gate_floor,
        beta1=model.adam.beta1,
        beta2=model.adam.beta2,
        epsilon=model.adam.epsilon,
        bias_correction_until=model.adam.bias_correction_until,
        stale_first_mean=model.learning.stale_first_mean,
        hold=tuple(team.hold),
    )
    return settings


def state_of(team: Team) -> State:
    """Copies of what a team has learned and remembers."""
    lists: dict[str, list[Array]] = {}
    for key, prefix in (("w", ""), ("z", "z"), ("m", "m"), ("v", "v")):
        pairs = [weights(team, getattr(team, key), l) for l in range(1, team.size.size)]
        lists[f"{prefix}W"] = [W.astype(float) for W, _ in pairs]
        lists[f"{prefix}b"] = [b.astype(float) for _, b in pairs]
    return State(**lists, updates=int(team.count[1]))


def values_of(team: Team, units: Array) -> list[Array]:
    """Copies of one of the unit arrays, layer by layer from the state up."""
    return [
        units[first : first + size].copy() for first, size in zip(team.unit, team.size, strict=True)
    ]


def noise_of(team: Team, settings: Settings, explores: Array | None = None) -> Noise:
    """Noise of the team's last feed-forward pass, as the oracle wants it.

    ``explores`` says so of each hidden unit; nan is the noise of one that does not.
    """
    units = team.noise.copy()
    if explores is not None:
        units[int(team.size[0]) : int(team.unit[-1])][~explores] = math.nan
    noise: Noise = [*values_of(team, units)[1:]]
    if settings.output == "softmax":
        noise[-1] = float(team.noise[team.unit[-1]])
    return noise


def explorers(team: Team, key: Array, probability: float) -> Array:
    """Which hidden units of the actor explored in its last feed-forward pass (docs/asynchronous.md:
    stream EXPLORE)."""
    hidden = range(int(team.unit[-1] - team.size[0]))
    event, where = int(team.count[0]) - 1, np.uint64(13)
    return np.array([rng.uniform(key, event, unit, where) < probability for unit in hidden], bool)


def proposals_of(team: Team, settings: Settings, key: Array, number: int) -> list[list[Array]]:
    """What the hidden units propose in the relaxation after a feed-forward pass, step by step: xi
    of each hidden layer (docs/asynchronous.md: stream PROPOSAL)."""
    where = np.uint64(int(team.where) + 16)
    hidden = settings.sizes[1:-1]
    return [
        np.split(
            np.array([rng.normal(key, number << 20 | n, i, where) for i in range(sum(hidden))]),
            np.cumsum(hidden)[:-1],
        )
        for n in range(settings.N if settings.proposal > 0.0 else 0)
    ]


# --- both agents, side by side -------------------------------------------------------------------


class Twins:
    """An agent of the package and one of the oracle, on the same observations, rewards and noise.

    The package's agent goes first, and the oracle's uses the noise that it has drawn.

    Parameters
    ----------
    model, n_in, n_out, seed
        As of ``MapProp``.
    aligned
        Whether the oracle starts every step from a copy of the package's state; it runs freely
        otherwise.
    """

    def __init__(self, model: Spec, n_in: int, n_out: int, seed: int, aligned: bool = True) -> None:
        self.aligned = aligned
        self.terminal_iteration = model.learning.terminal_iteration
        self.agent = MapProp(model, n_in, n_out, seed)
        self.explore = model.actor.explore if model.actor.rule == "thomas" else None
        actor = settings_of(model, "actor", n_in, n_out)
        plain = type(actor) is Settings
        self.oracle: oracle.Agent = (oracle.Agent if plain else oracle_baselines.Agent)(
            actor,
            settings_of(model, "critic", n_in, 1),
            state_of(self.agent.actor),
            state_of(self.agent.critic),
            reward_bound=model.learning.reward_bound,
            truncation=model.learning.truncation,
            terminal_iteration=model.learning.terminal_iteration,
            update_at_reset=model.learning.update_at_reset,
        )

    def step(self, observation: Array, reward: float | None = None) -> Array:
        """One step, the first of an episode without a reward; returns a copy of the action."""
        before = self._before()
        if reward is None:
            action = self.agent.begin(observation).copy()
        else:
            action = self.agent.step(observation, reward).copy()
        noise = self._noise()
        self._propose()
        self.oracle.step(observation, *noise, reward)
        self._latest = _Step(self, before, observation, noise[1], reward, True, True)
        return action

    def end(self, observation: Array, reward: float, terminated: bool) -> None:
        """Last transition of an episode."""
        before = self._before()
        self.agent.end(observation, reward, terminated)
        noise = self._noise()
        self._propose()
        self.oracle.end(observation, reward, terminated, *noise)
        iterated = self.terminal_iteration
        self._latest = _Step(self, before, observation, noise[1], reward, iterated, False)

    def deviations(self) -> dict[str, float]:
        """How far the two were apart after the latest step.

        Of each array its largest deviation, divided by the size of the terms that were added to
        make it. Where nothing cancels that is the array's largest entry; a difference such as
        ``A - mu`` is only as exact as ``A`` and ``mu`` are.
        """
        worst: dict[str, float] = {}
        for name, ours, theirs, terms in self._latest.pairs():
            deviation = size(np.asarray(ours) - np.asarray(theirs))
            ratio = 0.0 if deviation == 0.0 else deviation / terms if terms > 0.0 else math.inf
            worst[name] = max(worst.get(name, 0.0), math.inf if math.isnan(ratio) else ratio)
        return worst

    def assert_close(self, tolerance: float) -> None:
        """Every deviation after the latest step is within the tolerance.

        Where a team climbs, no decision so far may have been so narrow that rounding could turn it:
        then the oracle could not tell which of the two is right.
        """
        assert self.oracle.margin > MARGIN
        too_far = {name: d for name, d in self.deviations().items() if d > tolerance}
        assert not too_far

    def _before(self) -> _Before:
        if self.aligned:
            self.oracle.actor_state = state_of(self.agent.actor)
            self.oracle.critic_state = state_of(self.agent.critic)
            self.oracle.actor_H = values_of(self.agent.actor, self.agent.actor.h)
            self.oracle.critic_H = values_of(self.agent.critic, self.agent.critic.h)
            self.oracle.value = float(self.agent.shared.value[0])
            self.oracle.steps = int(self.agent.shared.steps[0])
        it = self.oracle
        states = {name: copy.deepcopy(getattr(it, f"{name}_state")) for name in TEAMS}
        return _Before(states, it.value, it.steps)

    def _propose(self) -> None:
        """Give the oracle what hidden units proposed in the agent's latest iteration."""
        for name in TEAMS:
            team, settings = getattr(self.agent, name), getattr(self.oracle, name)
            number = int(team.count[0]) - 1
            proposals = proposals_of(team, settings, self.agent.shared.key, number)
            setattr(self.oracle, f"{name}_proposals", proposals)

    def _noise(self) -> tuple[Noise, Noise]:
        explores = None
        if self.explore is not None:
            explores = explorers(self.agent.actor, self.agent.shared.key, self.explore)
        return (
            noise_of(self.agent.actor, self.oracle.actor, explores),
            noise_of(self.agent.critic, self.oracle.critic),
        )


def play(model: Spec, episodes: int, seed: int, aligned: bool = True) -> Iterator[Twins]:
    """Whole episodes of the model's task; yields the twins after each step and each ending."""
    environment = Environment(model.task, model.actor.output)
    twins = Twins(model, environment.n_observations, environment.n_actions, seed, aligned)
    for episode in range(1, episodes + 1):
        output = twins.step(environment.reset(environment_seed(seed, episode)))
        yield twins
        while True:
            action = environment.action(output)
            observation, reward, terminated, truncated = environment.step(action)
            if terminated or truncated:
                break
            output = twins.step(observation, reward)
            yield twins
        twins.end(observation, reward, terminated)
        yield twins
    environment.close()


# --- both agents in asynchronous mode ------------------------------------------------------------

SENDING = {"sample": "value", "value_tick": "value", "arm": "error", "error_tick": "error"}
Row = tuple[Any, ...]


class AsyncTwins:
    """An agent of the package whose units are agents, and one of the oracle, side by side.

    Parameters
    ----------
    model, n_in, n_out, seed
        As of ``AsynchronousMapProp``.
    log
        Whether the package's agent keeps a log; it is then compared, too.
    """

    def __init__(self, model: Spec, n_in: int, n_out: int, seed: int, log: bool = False) -> None:
        self.agent = AsynchronousMapProp(model, n_in, n_out, seed)
        start = MapProp(model, n_in, n_out, seed)
        self.oracle = oracle_async.AsyncAgent(
            settings_of(model, "actor", n_in, n_out),
            settings_of(model, "critic", n_in, 1),
            state_of(start.actor),
            state_of(start.critic),
            oracles_timing(model, "actor"),
            oracles_timing(model, "critic"),
            seed,
            reward_bound=model.learning.reward_bound,
            truncation=model.learning.truncation,
            terminal_iteration=model.learning.terminal_iteration,
            update_at_reset=model.learning.update_at_reset,
        )
        self.agent.write_log(log)
        self._log = log
        self._whole_step = False  # whether the latest call was a time step with a window

    def step(self, observation: Array, reward: float | None = None) -> Array:
        """One step, the first of an episode without a reward; returns a copy of the action."""
        self._began, self._whole_step = self._now(), True
        if reward is None:
            action = self.agent.begin(observation).copy()
        else:
            action = self.agent.step(observation, reward).copy()
        theirs = self.oracle.step(observation.tolist(), reward)
        self._actions = (action, np.array(theirs))
        return action

    def end(self, observation: Array, reward: float, terminated: bool) -> None:
        """Last transition of an episode."""
        self._began, self._whole_step = self._now(), self.oracle.terminal_iteration
        self.agent.end(observation, reward, terminated)
        self.oracle.end(observation.tolist(), reward, terminated)

    def differences(self) -> list[str]:
        """Names of all that is not the same in both after the latest call, bit for bit."""
        return [name for name, ours, theirs in self._pairs() if not np.array_equal(ours, theirs)]

    def assert_same(self) -> None:
        """The two agree in every bit."""
        differences = self.differences()
        assert not differences, differences

    def rows(self, name: str) -> tuple[list[Row], list[Row]]:
        """The logs of a team's latest step, ours and the oracle's: rows (time, kind, unit, source,
        value, packet), a packet being (direction, sender, number)."""
        events = with_packets(self.agent.events())
        mine = events["team"] == TEAMS.index(name)
        ours = oracles_rows({key: column[mine] for key, column in events.items()})
        theirs = [
            (time, kind, unit, source, value, packet)
            for time, team, unit, kind, value, source, packet in self.oracle.events
            if team == name
        ]
        return (
            [timed(time - self._began, *rest) for time, *rest in ours],
            [timed(*row) for row in theirs],
        )

    def _now(self) -> int:
        return int(self.agent.teams[0].mail.clock[NOW])

    def _pairs(self) -> Iterator[tuple[str, Any, Any]]:
        """Name, ours, the oracle's."""
        yield "td_error", self.agent.td_error, self.oracle.td_error
        yield "steps", self.agent.shared.steps[0], self.oracle.steps
        if self._whole_step:
            yield "value", self.agent.value, self.oracle.value
            yield "action", *self._actions
        for name in TEAMS:
            for key, ours, theirs in self._learned(name):
                for layer, (a, b) in enumerate(zip(ours, theirs, strict=True)):
                    yield f"{name}.{key}[{layer}]", a, b
            if self._whole_step:
                yield from self._passing(name)

    def _learned(self, name: str) -> Iterator[tuple[str, Any, Any]]:
        """What a team has learned: name, then ours and the oracle's layer by layer."""
        team, theirs = self.agent.teams[TEAMS.index(name)], getattr(self.oracle, name)
        ours, state = state_of(team.memory), theirs.state()
        for key in ("W", "b", "zW", "zb", "mW", "mb", "vW", "vb"):
            yield key, getattr(ours, key), getattr(state, key)
        yield "B", feedback_weights(team.memory, team.memory.wt), theirs.feedback_weights()
        if theirs.timing.feedback == "kolen_pollack":
            for key in "zmv":
                of_units = [
                    np.array([getattr(unit.B, key) for unit in layer])
                    for layer in theirs.layers[:-1]
                ]
                yield (
                    f"{key}B",
                    feedback_weights(team.memory, getattr(team.mail, f"{key}t")),
                    of_units,
                )
        updates = [unit.updates for unit in theirs.units]
        yield "updates", team.mail.updates[int(team.memory.size[0]) :], updates

    def _passing(self, name: str) -> Iterator[tuple[str, Any, Any]]:
        """What belongs to one step alone."""
        memory, theirs = getattr(self.agent, name), getattr(self.oracle, name)
        for key, units in (("values", memory.h), ("sampled", memory.sampled)):
            pairs = zip(values_of(memory, units), getattr(theirs, key)(), strict=True)
            for layer, (a, b) in enumerate(pairs):
                yield f"{name}.{key}[{layer}]", a, b
        counts = self.agent.counts()
        for key, expected in theirs.counters.items():
            ours = counts[f"{name}_{key}"]
            yield f"{name}.{key}", ours, np.reshape(expected, ours.shape)
        if self._log:
            first, second = self.rows(name)
            yield f"{name}.log", sorted(first, key=repr) == sorted(second, key=repr), True


def oracles_timing(model: Spec, name: str) -> oracle_async.Timing:
    """The oracle's timing of the actor or the critic of a model."""
    timing = spec.timing_of(model, name)
    keys = {field.name: getattr(timing, field.name) for field in fields(oracle_async.Timing)}
    return oracle_async.Timing(**keys | {"phase": timing.phase or "random"})


def timed(time: int, kind: str, unit: int, source: int, *rest: Any) -> Row:
    """A row with the time 0 where it tells nothing.

    That is where all happens at the window's end, and of the copy of a packet that one receiver
    loses, which has a source: it counts as lost when it was sent, or when it would have arrived.
    """
    timeless = kind in ("gate", "trace") or (kind.startswith("lost") and source >= 0)
    return (0 if timeless else time, kind, unit, source, *rest)


def with_packets(events: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of events and one more, `packet`: the row that sent the packet; -1: none."""
    cause = np.asarray(events["cause"])
    return {**events, "packet": np.where(cause < 0, -1, np.arange(cause.size) - cause)}


def oracles_rows(events: dict[str, Any]) -> list[Row]:
    """Events of one team, `with_packets`, as rows (time, kind, unit, source, value, packet).

    A packet is called after the row that tells of its sending: (direction, sender, number). A
    sender's packets are numbered in the order of these rows.
    """
    columns = ("time", "kind", "unit", "source", "value", "packet")
    rows = [
        (time, KINDS[kind], *rest)
        for time, kind, *rest in zip(*(events[c].tolist() for c in columns), strict=True)
    ]
    numbers: dict[tuple[str, int], int] = {}
    names: dict[int, tuple[str, int, int] | None] = {-1: None}
    sent = [(row[5], SENDING[row[1]], row[2]) for row in rows if row[1] in SENDING]
    for packet, *sender in sorted(sent):
        if packet >= 0:
            number = numbers.get((sender[0], sender[1]), 0)
            names[packet] = (sender[0], sender[1], number)
            numbers[sender[0], sender[1]] = number + 1
    return [(*row[:5], names[row[5]]) for row in rows]


# --- how large the terms were --------------------------------------------------------------------


def size(x: ArrayLike) -> float:
    """Largest absolute entry; nan if there is one."""
    return float(np.max(np.abs(x)))


@dataclass
class _Before:
    """The oracle before a step."""

    states: dict[str, State]
    value: float
    steps: int


@dataclass
class _Step:
    """One step of both agents, and how large the terms were that the oracle added up in it."""

    twins: Twins
    before: _Before
    observation: Array
    critic_noise: Noise
    reward: float | None  # None: the first step of an episode
    iterated: bool  # whether it was an agent iteration
    valued: bool  # whether the critic's mean is that of a later td_error

    def pairs(self) -> Iterator[tuple[str, ArrayLike, ArrayLike, float]]:
        """Name, ours, the oracle's, size of the terms."""
        agent, it = self.twins.agent, self.twins.oracle
        next_value = self._terms_of_next_value()
        td_error = 0.0  # a td_error that is set to 0 is exact
        if self.reward is not None and it.td_error != 0.0:
            reward = min(abs(self.reward), it.reward_bound)
            td_error = reward + abs(self.before.value) + it.critic.gamma * next_value
        yield "td_error", agent.td_error, it.td_error, td_error
        if self.valued:
            yield "value", agent.value, it.value, next_value
        for name in TEAMS:
            if self.iterated:
                yield from self._values(name)
            yield from self._parameters(name, td_error)

    def _values(self, name: str) -> Iterator[tuple[str, ArrayLike, ArrayLike, float]]:
        team, it = getattr(self.twins.agent, name), self.twins.oracle
        settings, after = getattr(it, name), getattr(it, f"{name}_state")
        for kind, units, H, state in (
            ("sampled", team.sampled, getattr(it, f"{name}_H_sampled"), self.before.states[name]),
            ("relaxed", team.h, getattr(it, f"{name}_H"), after),
        ):
            ours = values_of(team, units)
            for layer, terms in enumerate(terms_of_values(settings, state, H), start=1):
                yield f"{name}.{kind}", ours[layer], H[layer], terms

    def _parameters(
        self, name: str, td_error_terms: float
    ) -> Iterator[tuple[str, ArrayLike, ArrayLike, float]]:
        it = self.twins.oracle
        settings: Settings = getattr(it, name)
        old, after = self.before.states[name], getattr(it, f"{name}_state")
        ours = state_of(getattr(self.twins.agent, name))
        gradients = [0.0] * settings.L
        if self.iterated:
            gradients = terms_of_gradients(settings, after, getattr(it, f"{name}_H"))
        # An error of td_error goes into m and v with the trace, and by m_hat / sqrt(v_hat) into W.
        # Its entry in sqrt(v) is at least sqrt(1 - beta2) |td_error z|, in m (1 - beta1) times the
        # error times z: their ratio does not depend on z.
        in_m, in_v = 1.0 - settings.beta1, 1.0 - settings.beta2
        in_w = 0.0
        if td_error_terms > 0.0:
            in_w = in_m / math.sqrt(in_v) * td_error_terms / abs(it.td_error)
        for i in range(settings.L):
            alpha = oracle.annealed_alpha(settings, i + 1, self.before.steps)
            for x in "Wb":
                z = size(getattr(old, f"z{x}")[i])
                more = {
                    x: alpha * (1.0 + in_w),
                    f"z{x}": gradients[i],
                    f"m{x}": in_m * td_error_terms * z,
                    f"v{x}": in_v * td_error_terms * abs(it.td_error) * z**2,
                }
                for key, terms in more.items():
                    a, b, c = (getattr(s, key)[i] for s in (ours, after, old))
                    yield f"{name}.{key}", a, b, max(size(b), size(c)) + terms

    def _terms_of_next_value(self) -> float:
        """Size of the terms of the critic's mean in this step's feed-forward pass, if any."""
        it = self.twins.oracle
        plain = type(it.critic) is Settings
        feed_forward: Any = oracle.feed_forward if plain else oracle_baselines.feed_forward
        forward = feed_forward(
            it.critic,
            self.before.states["critic"],
            self.observation,
            self.critic_noise,
            it.critic_held,
        )
        return terms_of_values(it.critic, self.before.states["critic"], forward.H)[-1]


def terms_of_values(settings: Settings, state: State, H: list[Array]) -> list[float]:
    """Size of what is added up to a value of each layer: ``|W| |H below| + |b|``, and H itself."""
    terms = []
    for W, b, below, own in zip(state.W, state.b, H[:-1], H[1:], strict=True):
        terms.append(size(np.abs(W) @ np.abs(below) + np.abs(b)) + size(own))
    return terms


def terms_of_gradients(settings: Settings, state: State, H: list[Array]) -> list[float]:
    """Size of what is added up to an entry of each layer's gradients.

    A packet ``(H - mu) slope / var`` is as exact as H and mu are, and as the slope is: no slope nor
    its derivative is above 1. A softmax agent's ``(onehot - mu) / T`` is as exact as ``p / T``.
    The gate ``1 / (A - mu)`` has the condition number ``(|A| + |mu|) / |A - mu|``, with mu counted
    by the terms that make it.
    """
    by_backprop = oracle_baselines.BY_BACKPROP
    if isinstance(settings, oracle_baselines.Settings) and settings.rule in by_backprop:
        return terms_of_backprop(settings, state, H)
    mu, slope = oracle.means_and_slopes(settings, state, H)
    g = oracle.error_packets(settings, H, mu, slope)
    values = terms_of_values(settings, state, H)
    gate = oracle.gate(settings, state, H) if settings.gated else 1.0
    condition = values[-1] * abs(gate) if settings.gated else 0.0
    terms = []
    for i in range(settings.L):
        if i == settings.L - 1 and settings.output == "softmax":
            packet = values[i] / settings.T * max(1.0, 1.0 / settings.T)
        else:
            packet = values[i] / settings.var[i] * max(1.0, size(H[i + 1] - mu[i]))
        below = max(1.0, size(H[i]))  # 1: the input of the bias
        terms.append(abs(gate) * (packet + condition * size(g[i])) * below)
    return terms


def terms_of_backprop(
    settings: oracle_baselines.Settings, state: State, H: list[Array]
) -> list[float]:
    """The same of gradients that come down from the output by the chain rule.

    The output's packet is as exact as in a local rule, a critic's is 1. A packet below is the sum
    ``W' g`` of the packets above times its slope, which is as exact as its potential.
    """
    _, slope = oracle.means_and_slopes(settings, state, H)
    g = oracle_baselines.backprop(settings, state, H)
    values = terms_of_values(settings, state, H)
    packet = np.zeros_like(g[-1])
    if not settings.gated:
        scale = settings.T * min(1.0, settings.T)
        packet += values[-1] / (scale if settings.output == "softmax" else settings.var[-1])
    packets = [packet]
    for i in range(settings.L - 2, -1, -1):
        from_above = np.abs(state.W[i + 1]).T @ (packets[0] + np.abs(g[i + 1]))
        packets.insert(0, slope[i] * from_above + from_above * values[i])
    below = [size(H[0]), *values[:-1]]  # how exact the values are, which are the other factor
    return [
        size(packet) * max(1.0, size(H[i])) + size(g[i]) * below[i]
        for i, packet in enumerate(packets)
    ]
