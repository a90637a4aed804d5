"""Environments whose episodes are one step long, drawn one by one or in batches."""

from abc import abstractmethod
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from neurosim.kernels import rng
from neurosim.memory import Floats, Integers

Answers = NDArray[Any]


class OneStep(gymnasium.Env[Floats, Any]):
    """A task of inputs and answers: see the inputs, act, be rewarded for the answer.

    A subclass sets the two spaces and says how samples are drawn and actions rewarded; an action is
    one number, of Discrete(n) or Box(shape=(1,)).  Algorithm 1 learns any such task in batches; an
    episode of the environment is sample 0 of a key of its own.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  # as Gymnasium declares it
    _answers: Answers | None = None

    @abstractmethod
    def draw(self, key: Integers, first: int, n: int) -> tuple[Floats, Answers]:
        """Samples number first, ..., first + n - 1 of a key.

        Parameters
        ----------
        key : (2,) Philox key, from `rng.mixed_key`.
        first, n : a sample depends on the key and its number alone.

        Returns
        -------
        inputs (n, components of an observation), answers (n,)
        """

    @abstractmethod
    def rewards(self, actions: NDArray[Any], answers: Answers) -> Floats:
        """Rewards (n,) of actions (n,) where the answers are (n,)."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Draw a sample; returns its inputs and no information."""
        super().reset(seed=seed)
        key = rng.mixed_key(int(self.np_random.integers(2**63)))
        inputs, self._answers = self.draw(key, 0, 1)
        self._observation = inputs[0]
        return self._observation.copy(), {}

    def step(self, action: Any) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Act; the episode ends.  The observation stays what it was."""
        if self._answers is None:
            raise gymnasium.error.ResetNeeded("The episode is over: call reset before step.")
        if not self.action_space.contains(action):
            raise gymnasium.error.InvalidAction(f"{action!r} is not in {self.action_space}.")
        reward = float(self.rewards(np.asarray(action).reshape(1), self._answers)[0])
        self._answers = None
        return self._observation.copy(), reward, True, False, {}
