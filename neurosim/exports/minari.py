"""The steps of a run as a dataset of Minari, for offline reinforcement learning."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from neurosim.errors import InputError, RunError
from neurosim.exports.output import package
from neurosim.memory import Floats
from neurosim.record.reader import Run, Table
from neurosim.tasks import Environment


def check_name(path: Path) -> None:
    """Raise InputError unless a folder can hold a dataset, which Minari calls by its name."""
    if not re.fullmatch(r"[-\w]+-v\d+", path.name):
        raise InputError(f"-o {path}: a dataset of Minari has a name such as {path.stem}-v0.")


def save(run: Run, folder: Path) -> None:
    """Write the finished episodes of a run, observations and actions as the environment had them.

    The observation after an episode's last action is in no row of a run: the environment plays each
    episode once more, with its seed and its actions, and every step has to come out as recorded.

    Parameters
    ----------
    run : of episodes.
    folder : made for the dataset; its name is the dataset's.

    Raises
    ------
    InputError : a run of batches, no such environment, or Minari is missing.
    RunError : an episode does not come out as it was recorded.
    """
    minari = package("minari")
    storage_class = package("minari.dataset.minari_storage").MinariStorage
    spec = run.spec
    with closing(Environment(spec.task, spec.actor.output)) as environment:
        folder.mkdir()
        storage = storage_class.new(
            folder / "data",
            environment.observation_space,
            environment.action_space,
            environment.registered,
        )
        name = run.attribute("model_name")
        storage.update_metadata(
            {
                "dataset_id": folder.name,
                "minari_version": minari.__version__,
                "algorithm_name": f"neurosim, model {name}",
                "description": f"All that model {name} did as it learned, seed {run.seed}.",
            }
        )
        storage.update_episodes(_episodes(run, environment))


def _episodes(run: Run, environment: Environment) -> Iterator[Any]:
    """The episodes of a run as Minari takes them, one after the other."""
    episode_class = package("minari.data_collector").EpisodeBuffer
    ended = {name: run.episodes[name][:] for name in run.episodes}
    actions = environment.action_space
    for k, (first, length) in enumerate(zip(ended["first_step"], ended["length"], strict=True)):
        steps = run.steps.rows(int(first), int(first + length))
        last = np.arange(length) == length - 1
        seed = int(ended["seed"][k])
        final = _final_observation(steps, environment, k + 1, seed)
        yield episode_class(
            seed=seed,
            observations=_as_given(environment, np.vstack([steps["observation"][:], final])),
            actions=steps["action"][:].astype(actions.dtype),
            rewards=steps["reward"][:],
            terminations=last & ended["terminated"][k],
            truncations=last & ended["truncated"][k],
        )


def _final_observation(steps: Table, environment: Environment, number: int, seed: int) -> Floats:
    """The observation after the last action of an episode, found by playing it again."""
    observations, actions, rewards = (
        steps[name][:] for name in ("observation", "action", "reward")
    )
    kind = int if environment.discrete else environment.action_space.dtype.type
    seen = environment.reset(seed)
    for t, action in enumerate(actions):
        same = seen.tobytes() == observations[t].tobytes()
        seen, reward, _, _ = environment.step(kind(action))
        if not same or reward != rewards[t]:
            raise RunError(
                f"Episode {number} differs from step {t} on when its actions are given to the "
                "environment again, so its last observation, which no run holds, cannot be found. "
                "Export the run with the versions in its provenance.json."
            )
    return seen


def _as_given(environment: Environment, vectors: Floats) -> NDArray[Any]:
    """Observations as the environment gave them, from those that the agent received (n, obs)."""
    space = environment.observation_space
    one_hot = isinstance(space, Discrete)
    given: NDArray[Any] = vectors.argmax(axis=1) + space.start if one_hot else vectors
    return given.astype(space.dtype)
