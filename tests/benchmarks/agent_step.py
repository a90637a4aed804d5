"""Time of one agent step (actor and critic) of CartPole's model, as ratios to NumPy.

    python tests/benchmarks/agent_step.py

Each round times neurosim and both references in turn, in this one process, on observations of real
episodes; the ratios are taken round by round, so that they hold where the machine's speed drifts.

plain  the transcription of the algorithm in tests/oracle.py: vectorised by layer, written to be
       read, a new array for each expression.
tuned  tests/benchmarks/numpy_agent.py: flat vectors, everything in place, nothing computed twice.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import oracle
from benchmarks.numpy_agent import NumpyAgent
from bridge import settings_of, state_of

import neurosim
from neurosim.learners import MapProp
from neurosim.tasks import Environment

ROUNDS = 15
EPISODE = 200  # steps of each timed episode


def observations() -> np.ndarray:
    """Observations (EPISODE, 4) of CartPole under random pushes."""
    spec = neurosim.load("cartpole").spec
    environment, rng = Environment(spec.task, "softmax"), np.random.default_rng(0)
    seen = [environment.reset(0)]
    while len(seen) < EPISODE:
        observation, _, terminated, _ = environment.step(int(rng.integers(2)))
        seen.append(environment.reset(len(seen)) if terminated else observation)
    return np.array(seen)


def plain_agent() -> tuple[Callable[[np.ndarray], object], Callable[[np.ndarray], object]]:
    """First and later step of the oracle with the weights of seed 0, and noise of its own."""
    spec = neurosim.load("cartpole").spec
    ours, rng = MapProp(spec, 4, 2, 0), np.random.default_rng(0)
    actor, critic = settings_of(spec, "actor", 4, 2), settings_of(spec, "critic", 4, 1)
    agent = oracle.Agent(actor, critic, state_of(ours.actor), state_of(ours.critic))

    def noise(output: float | np.ndarray) -> list[float | np.ndarray]:
        return [rng.standard_normal(64), rng.standard_normal(32), output]

    def step(observation: np.ndarray, reward: float | None = 1.0) -> None:
        draws = noise(rng.random()), noise(rng.standard_normal(1))
        agent.step(observation, *draws, reward)

    return lambda observation: step(observation, None), step


def main() -> None:
    """Time the three in turn and print the medians and ratios."""
    ours, tuned = MapProp(neurosim.load("cartpole").spec, 4, 2, 0), NumpyAgent()
    contestants = {
        "neurosim": (ours.begin, lambda observation: ours.step(observation, 1.0)),
        "plain": plain_agent(),
        "tuned": (tuned.begin, lambda observation: tuned.step(observation, 1.0)),
    }
    seen = observations()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(ROUNDS + 1):
        for name, (begin, step) in contestants.items():
            begin(seen[0])
            start = time.perf_counter()
            for observation in seen[1:]:
                step(observation)
            if round_ > 0:  # the first one warms up
                times[name].append((time.perf_counter() - start) / (EPISODE - 1))
    for name, values in times.items():
        ratios = sorted(v / own for v, own in zip(values, times["neurosim"], strict=True))
        print(
            f"{name:9} {1e6 * statistics.median(values):8.1f} us a step   "
            f"{statistics.median(ratios):6.1f} x neurosim ({ratios[0]:.1f} to {ratios[-1]:.1f})"
        )


if __name__ == "__main__":
    main()
