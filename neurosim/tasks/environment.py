"""Any Gymnasium environment with flat Box or Discrete observations and Discrete or Box actions."""

import difflib
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete

from neurosim.errors import InputError
from neurosim.kernels import rng
from neurosim.memory import Floats
from neurosim.spec import MonteCarloTask, Task
from neurosim.tasks.one_step import OneStep


def environment_seed(seed: int, episode: int) -> int:
    """Seed of the environment in one episode of a run, in [0, 2**63).

    It depends on nothing else, so a run can go on from any episode.
    """
    return int(rng.integer(rng.mixed_key(seed), episode, 0, np.uint64(rng.ENVIRONMENT)))


class Environment:
    """A Gymnasium environment as an agent sees it: float64 vectors in, action arrays out.

    Parameters
    ----------
    task : the [task] section of a model; that of Algorithm 1 needs an environment of one step.
    output : "softmax" or "gaussian", the actor's kind of output.

    Attributes
    ----------
    n_observations : components of an observation.
    n_actions : outcomes of a Discrete action, or components of a Box action.
    discrete : whether the action is one of n_actions outcomes.

    Raises
    ------
    InputError : no such environment, spaces that are not supported, or that do not fit the actor.
    """

    def __init__(self, task: Task | MonteCarloTask, output: str) -> None:
        self._env = make(task)
        self._one_hot = task.one_hot
        if isinstance(task, MonteCarloTask):
            _check_one_step(self._env, task)
        self.n_observations = _count_observations(self._env.observation_space, task)
        space = self._env.action_space
        self.discrete = isinstance(space, Discrete)
        if isinstance(space, Discrete):
            if output != "softmax":
                raise InputError(
                    f"actor.output = {output!r}: {task.id} has {space.n} discrete actions; "
                    'set actor.output = "softmax".'
                )
            if task.action_map is not None:
                raise InputError(
                    f"task.action_map = {list(task.action_map)}: the actions of {task.id} are "
                    "discrete and cannot be mapped; remove the key."
                )
            self.n_actions = int(space.n)
            self._first_action = int(space.start)
        elif isinstance(space, Box) and len(space.shape) == 1:
            if output != "gaussian":
                raise InputError(
                    f"actor.output = {output!r}: {task.id} has continuous actions; "
                    'set actor.output = "gaussian".'
                )
            self.n_actions = int(space.shape[0])
            self._scale, self._offset = task.action_map or (1.0, 0.0)
            self._low, self._high = space.low.astype(float), space.high.astype(float)
            self._dtype = space.dtype
        else:
            raise InputError(
                f"task.id = {task.id!r}: its action space is {space}; "
                "Discrete and one-dimensional Box actions are supported."
            )

    def reset(self, seed: int) -> Floats:
        """Begin an episode; returns the first observation (n_observations,)."""
        observation, _ = self._env.reset(seed=seed)
        return self._vector(observation)

    def action(self, output: Floats) -> Any:
        """The action that the environment is given for the actor's output (n_actions,).

        Discrete: the index of the one-hot outcome.  Box: clip(scale * A + offset, low, high).
        """
        if self.discrete:
            # argmax would let go of the interpreter's lock, for which the recorder's thread waits
            values = output.tolist()
            return self._first_action + int(values.index(max(values)))
        mapped = np.clip(self._scale * output + self._offset, self._low, self._high)
        return mapped.astype(self._dtype)

    def step(self, action: Any) -> tuple[Floats, float, bool, bool]:
        """Act; returns observation (n_observations,), reward, terminated, truncated."""
        observation, reward, terminated, truncated, _ = self._env.step(action)
        return self._vector(observation), float(reward), bool(terminated), bool(truncated)

    @property
    def observation_space(self) -> Any:
        """What the environment observes, before it is made a vector."""
        return self._env.observation_space

    @property
    def action_space(self) -> Any:
        """What the environment can be given."""
        return self._env.action_space

    @property
    def registered(self) -> EnvSpec | None:
        """How Gymnasium makes the environment again."""
        return self._env.spec

    @property
    def samples(self) -> OneStep:
        """The environment itself where its samples can be drawn in batches."""
        env = self._env.unwrapped
        assert isinstance(env, OneStep)
        return env

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _vector(self, observation: Any) -> Floats:
        if self._one_hot:
            vector = np.zeros(self.n_observations)
            vector[int(observation) - self._first_observation] = 1.0
            return vector
        return np.asarray(observation, dtype=np.float64)

    @property
    def _first_observation(self) -> int:
        return int(self._env.observation_space.start)  # type: ignore[attr-defined]


def make(task: Task | MonteCarloTask, **more: Any) -> gymnasium.Env[Any, Any]:
    """Gymnasium's environment of a task, with more options than the task's own.

    Raises
    ------
    InputError : there is none, or it cannot be made so.
    """
    try:
        return gymnasium.make(task.id, disable_env_checker=True, **{**task.options, **more})
    except gymnasium.error.DependencyNotInstalled as error:
        box2d = "box2d" in str(error).lower()  # Gymnasium's own advice leaves neurosim out
        advice = "it needs Box2D: pip install 'neurosim[box2d]'." if box2d else error
        raise InputError(f"task.id = {task.id!r}: {advice}") from None
    except (gymnasium.error.UnregisteredEnv, ModuleNotFoundError) as error:
        close = difflib.get_close_matches(task.id, list(gymnasium.registry), 2)
        hint = f"Did you mean {' or '.join(close)}? " if close else ""
        raise InputError(
            f"task.id = {task.id!r}: there is no such Gymnasium environment ({error}). {hint}"
            "`gymnasium.pprint_registry()` lists them; one of your own is named by its module "
            "and id, as in my_module:MyEnvironment-v0."
        ) from None
    except (gymnasium.error.Error, TypeError, ValueError, AssertionError) as error:
        raise InputError(f"task.id = {task.id!r}: Gymnasium cannot make it: {error}") from None


def _check_one_step(env: gymnasium.Env[Any, Any], task: MonteCarloTask) -> None:
    if not isinstance(env.unwrapped, OneStep):
        raise InputError(
            f"task.id = {task.id!r}: a model with [batch] needs an environment that draws "
            "batches, such as neurosim/Multiplexer-v0 or your own neurosim.tasks.OneStep; "
            "choose one, or remove [batch]."
        )
    if isinstance(env.action_space, Box) and env.action_space.shape != (1,):
        raise InputError(
            f"task.id = {task.id!r}: its action space is {env.action_space}; in a model with "
            "[batch] an action is one number."
        )


def _count_observations(space: Any, task: Task | MonteCarloTask) -> int:
    if task.one_hot:
        if not isinstance(space, Discrete):
            raise InputError(
                f"task.one_hot = true: the observations of {task.id} are {space}, "
                "not Discrete; set it to false."
            )
        return int(space.n)
    if isinstance(space, Box) and len(space.shape) == 1:
        return int(space.shape[0])
    remedy = (
        "set task.one_hot = true."
        if isinstance(space, Discrete)
        else "use a one-dimensional Box (gymnasium.wrappers.FlattenObservation helps) or Discrete."
    )
    raise InputError(f"task.id = {task.id!r}: its observation space is {space}; {remedy}")
