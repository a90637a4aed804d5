"""Time of one agent step (actor and critic), synchronous, beside NumPy, C and PyTorch.

    python tests/benchmarks/agent_step.py [--quick] [--json PATH]

For each model a round is a number of steps on observations of real episodes under random actions.
neurosim and NumPy are called from Python step by step, as runs do it.  C makes all steps of a round
by itself; "neurosim, alone" does so, too.  The C agent must first have neurosim's values and
parameters after eight steps, to rounding.

NumPy, tuned  numpy_agent.py: flat vectors, everything in place, nothing computed twice.
NumPy, plain  the transcription of the algorithm in tests/oracle.py: vectorised by layer, written to
              be read, a new array for each expression.
C             agent_step.c by hand, gcc -O3 -march=native: fused products, vectors of 64 bytes.
PyTorch       torch_agent.py: the step of the baseline `backprop/cartpole`, eager, one thread; it
              must first have the weights of neurosim's step of that model.
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import oracle
from benchmarks import c_agent
from benchmarks.harness import OURS, Line, cpu_seconds, in_turn, lines, main, rounds
from benchmarks.numpy_agent import NumpyAgent
from bridge import settings_of, state_of

import neurosim
from neurosim.errors import InputError
from neurosim.jit import kernel
from neurosim.kernels.agent import STEP, agent_step
from neurosim.learners import MapProp
from neurosim.spec import Spec
from neurosim.tasks import Environment

SIZES = {"cartpole": (4, 2), "acrobot": (6, 3), "mountaincar": (2, 1), "lunarlander": (8, 4)}
C = {"C, float64": ((), 1e-9), "C, float32": (c_agent.SINGLE, 2e-3)}  # flags, tolerance
EPISODE = 200  # steps of a round
SCALE = 1e6 / (EPISODE - 1)


def observations(spec: Spec, n: int) -> np.ndarray:
    """Observations (EPISODE, n) of the task under random actions; random ones without it."""
    rng = np.random.default_rng(0)
    try:
        environment = Environment(spec.task, spec.actor.output)
    except InputError:
        return rng.normal(scale=0.1, size=(EPISODE, n))
    seen = [environment.reset(0)]
    while len(seen) < EPISODE:
        action = environment.action(rng.normal(size=environment.n_actions))
        observation, _, terminated, _ = environment.step(action)
        seen.append(environment.reset(len(seen)) if terminated else observation)
    return np.array(seen)


def tuned(spec: Spec, sizes: tuple[int, int]) -> NumpyAgent:
    """The NumPy agent with the settings of a model."""
    actor, critic = spec.actor, spec.critic
    return NumpyAgent(
        sizes[0],
        actor.units,
        sizes[1],
        output=actor.output,
        actor_alpha=actor.alpha,
        actor_var=actor.var,
        critic_alpha=critic.alpha,
        critic_var=critic.var,
        temperature=1.0 if actor.T is None else actor.T,
        lambda_=actor.lambda_,
        anneal_to=actor.anneal_to[0],
        anneal_steps=spec.learning.anneal_steps,
    )


class Plain:
    """The oracle with the weights of seed 0, and noise of its own."""

    def __init__(self, spec: Spec, sizes: tuple[int, int]) -> None:
        ours = MapProp(spec, *sizes, 0)
        settings = settings_of(spec, "actor", *sizes), settings_of(spec, "critic", sizes[0], 1)
        states = state_of(ours.actor), state_of(ours.critic)
        self._agent = oracle.Agent(*settings, *states, reward_bound=spec.learning.reward_bound)
        self._softmax, self._outputs = spec.actor.output == "softmax", sizes[1]
        self._units, self._rng = spec.actor.units, np.random.default_rng(0)

    def begin(self, observation: np.ndarray) -> None:
        self.step(observation, None)

    def step(self, observation: np.ndarray, reward: float | None) -> None:
        rng = self._rng
        action = rng.random() if self._softmax else rng.standard_normal(self._outputs)
        hidden = [[rng.standard_normal(n) for n in self._units] for _ in range(2)]
        actor, critic = [*hidden[0], action], [*hidden[1], rng.standard_normal(1)]
        self._agent.step(observation, actor, critic, reward)


def by_steps(agent: Any, seen: np.ndarray) -> float:
    """CPU seconds of all later steps, called one by one."""

    def steps() -> None:
        for observation in seen[1:]:
            agent.step(observation, 1.0)

    agent.begin(seen[0])
    return cpu_seconds(steps)


@kernel
def all_steps(actor, critic, shared, seen, reward):
    """A step for each row of `seen`, without Python between them."""
    for n in range(seen.shape[0]):
        agent_step(actor, critic, shared, seen[n], reward, STEP)


def alone(agent: MapProp, seen: np.ndarray) -> float:
    """The same of neurosim's kernel, in one call."""
    agent.begin(seen[0])
    return cpu_seconds(lambda: all_steps(*agent._blocks, seen[1:], 1.0))


def at_once(agent: c_agent.CAgent, seen: np.ndarray) -> float:
    """The same of the C agent, in one call."""
    agent.begin(seen[0])
    return cpu_seconds(lambda: agent.steps(seen[1:], 1.0))


def in_c(spec: Spec, sizes: tuple[int, int]) -> dict[str, c_agent.CAgent]:
    """The C agents, checked; none without a compiler."""
    found = {}
    for who, (flags, tolerance) in C.items():
        library = c_agent.build(*flags)
        if library is not None:
            c_agent.check(library, spec, sizes, tolerance)
            found[who] = c_agent.CAgent(library, MapProp(spec, *sizes, 0))
    return found


def model(name: str, quick: bool) -> Iterator[Line]:
    """Lines of one model."""
    spec, sizes = neurosim.load(name).spec, SIZES[name]
    seen = observations(spec, sizes[0])
    agents = {
        OURS: MapProp(spec, *sizes, 0),
        "NumPy, tuned": tuned(spec, sizes),
        "NumPy, plain": Plain(spec, sizes),
    }
    contestants = {who: partial(by_steps, agent, seen) for who, agent in agents.items()}
    contestants["neurosim, alone"] = partial(alone, MapProp(spec, *sizes, 0), seen)
    contestants |= {who: partial(at_once, agent, seen) for who, agent in in_c(spec, sizes).items()}
    yield from lines(name, "us a step", in_turn(contestants, rounds(quick)), SCALE)


def single(quick: bool) -> Iterator[Line]:
    """`cartpole` in single precision, beside C in the same."""
    spec, sizes = neurosim.load("cartpole").spec, SIZES["cartpole"]
    own = neurosim.load("cartpole", {"learning.precision": "single"}).spec
    seen = observations(spec, sizes[0])
    contestants = {OURS: partial(by_steps, MapProp(own, *sizes, 0), seen)}
    contestants |= {
        who: partial(at_once, agent, seen)
        for who, agent in in_c(spec, sizes).items()
        if who == "C, float32"
    }
    times = in_turn(contestants, rounds(quick))
    yield from lines("cartpole, single precision", "us a step", times, SCALE)


def backprop(quick: bool) -> Iterator[Line]:
    """The baseline by backprop, beside PyTorch and beside neurosim's own rule."""
    try:
        from benchmarks.torch_agent import TorchAgent, check
    except ImportError:
        print("  PyTorch is not installed: it is left out")
        return
    name, sizes = "backprop/cartpole", SIZES["cartpole"]
    spec = neurosim.load(name).spec
    check(spec, sizes)
    seen = observations(spec, sizes[0])
    agents = {
        OURS: MapProp(spec, *sizes, 0),
        "neurosim, MAP propagation": MapProp(neurosim.load("cartpole").spec, *sizes, 0),
        "PyTorch": TorchAgent(MapProp(spec, *sizes, 0)),
    }
    contestants = {who: partial(by_steps, agent, seen) for who, agent in agents.items()}
    yield from lines(name, "us a step", in_turn(contestants, rounds(quick)), SCALE)


def measure(quick: bool) -> Iterator[Line]:
    """All models; quick: `cartpole`, and its baseline."""
    for name in list(SIZES)[: 1 if quick else None]:
        yield from model(name, quick)
    yield from single(quick)
    yield from backprop(quick)


if __name__ == "__main__":
    main(__file__, measure, __doc__)
