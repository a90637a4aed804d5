"""Time of an environment step in a whole run of `cartpole`, beside its parts and NumPy's agent.

    python tests/benchmarks/whole_run.py [--quick] [--json PATH]

Wall-clock times of one thread, but for the recorder's own.

neurosim run       `neurosim run cartpole` with its environment, the record of each step, its
                   checkpoints, the sealed file and progress on a terminal; without start-up.
agent              the agent's step alone, called from Python on observations of a run.
environment        Gymnasium's step alone, episodes under random actions with their resets.
agent and environment   the sum of the two, round by round.
NumPy's agent      numpy_agent.py in the same environment, in a loop that records nothing.
"""

import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness import Line, in_turn, lines, main, rounds
from benchmarks.numpy_agent import NumpyAgent

import neurosim
from neurosim.learners import MapProp
from neurosim.progress import display
from neurosim.training import Episode

EPISODES, QUICK_EPISODES = 150, 40
STEPS = 2000  # of a round of anything but a run


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock time of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def whole_run(episodes: int) -> float:
    """Seconds a step of a run."""
    model, steps = neurosim.load("cartpole", {"task.episodes": episodes}), 0
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stderr(io.StringIO()),
        display({model.name: episodes}, quiet=False) as show,
    ):

        def on_episode(episode: Episode) -> None:
            nonlocal steps
            steps += episode.length
            show(model.name, episode)

        taken = seconds(lambda: neurosim.run(model, 0, folder, on_episode=on_episode))
    return taken / steps


def agent_alone() -> Callable[[], float]:
    """A round of the agent's steps."""
    agent = MapProp(neurosim.load("cartpole").spec, 4, 2, 0)
    observations = np.random.default_rng(0).normal(scale=0.1, size=(STEPS, 4))

    def steps() -> None:
        for observation in observations:
            agent.step(observation, 1.0)

    agent.begin(observations[0])
    return lambda: seconds(steps) / STEPS


def environment_alone() -> Callable[[], float]:
    """A round of the environment's steps."""
    environment = gymnasium.make("CartPole-v1", disable_env_checker=True)
    actions = np.random.default_rng(0).integers(2, size=STEPS).tolist()

    def steps() -> None:
        environment.reset(seed=0)
        for action in actions:
            _, _, terminated, truncated, _ = environment.step(action)
            if terminated or truncated:
                environment.reset(seed=0)

    return lambda: seconds(steps) / STEPS


def numpy_agent() -> Callable[[], float]:
    """A round of NumPy's agent in the environment."""
    environment = gymnasium.make("CartPole-v1", disable_env_checker=True)
    agent = NumpyAgent()

    def steps() -> None:
        action = agent.begin(environment.reset(seed=0)[0])
        for _ in range(STEPS):
            observation, reward, terminated, truncated, _ = environment.step(action)
            if terminated or truncated:
                agent.end(observation, float(reward), terminated)
                action = agent.begin(environment.reset(seed=0)[0])
            else:
                action = agent.step(observation, float(reward))

    return lambda: seconds(steps) / STEPS


def measure(quick: bool) -> Iterator[Line]:
    """The lines."""
    os.environ["FORCE_COLOR"] = "1"  # progress takes its bars for seen
    episodes = QUICK_EPISODES if quick else EPISODES
    contestants = {
        "neurosim run": lambda: whole_run(episodes),
        "agent": agent_alone(),
        "environment": environment_alone(),
        "NumPy's agent and environment": numpy_agent(),
    }
    found = in_turn(contestants, rounds(quick))
    both = zip(found["agent"], found["environment"], strict=True)
    found["agent and environment"] = [sum(pair) for pair in both]
    yield from lines(f"cartpole, {episodes} episodes", "us a step", found, 1e6)


if __name__ == "__main__":
    main(__file__, measure, __doc__)
