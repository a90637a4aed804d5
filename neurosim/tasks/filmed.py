"""Films of episodes, on a double of the environment, so that the run does not notice."""

import importlib.util
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium

from neurosim.errors import InputError
from neurosim.memory import Floats
from neurosim.spec import MonteCarloTask, Task
from neurosim.tasks.environment import Environment, make
from neurosim.tasks.one_step import OneStep


class Filmed(Environment):
    """An environment with a double that is reset and acted on alike, and filmed.

    The episodes filmed are those of Gymnasium's schedule: 1, 8, 27, ..., 729, then each thousandth.

    Parameters
    ----------
    task, output : as of `Environment`.
    folder : made for the films, CartPole-v1-episode-1.mp4 and so on.

    Raises
    ------
    InputError : as `Environment` and `check_film`.
    """

    def __init__(self, task: Task | MonteCarloTask, output: str, folder: Path) -> None:
        from gymnasium.wrappers import RecordVideo

        super().__init__(task, output)
        check_film(task)
        name = task.id.rpartition(":")[2].replace("/", "-")
        double = make(task, render_mode="rgb_array")
        self._double: Any = RecordVideo(double, str(folder), name_prefix=name)
        self._double.episode_id = 0  # the first one is 1, as in a run

    def reset(self, seed: int) -> Floats:
        """Begin an episode; returns the first observation (n_observations,)."""
        self._double.reset(seed=seed)
        return super().reset(seed)

    def step(self, action: Any) -> tuple[Floats, float, bool, bool]:
        """Act; returns observation (n_observations,), reward, terminated, truncated."""
        self._double.step(action)
        return super().step(action)

    def close(self) -> None:
        """Close the environment, and end a film that is being made."""
        self._double.close()
        super().close()


def check_film(task: Task | MonteCarloTask) -> None:
    """Make sure that episodes of a task can be filmed.

    Raises
    ------
    InputError : its episodes have one step, its environment has no pictures, or a package that
        draws or writes them is missing.
    """
    with closing(make(task)) as env:
        if isinstance(env.unwrapped, OneStep):
            raise InputError(
                f"--video: the episodes of {task.id} have one step, there is nothing to film."
            )
        if "rgb_array" not in env.metadata.get("render_modes", ()):
            raise InputError(
                f'--video: {task.id} draws no pictures (it has no render mode "rgb_array").'
            )
    if importlib.util.find_spec("moviepy") is None:
        raise InputError("--video needs moviepy: pip install 'neurosim[video]'.")
    with closing(make(task, render_mode="rgb_array")) as env:
        env.reset(seed=0)
        try:
            env.render()
        except gymnasium.error.DependencyNotInstalled as error:
            raise InputError(f"--video: {error} (pip install 'neurosim[video]')") from None
