"""The scalar regression (Section 5.2)."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from neurosim.kernels import drawing, rng
from neurosim.memory import Floats, Integers
from neurosim.tasks.one_step import OneStep

SIZE = 8  # inputs, and hidden units of the target network


class ScalarRegression(OneStep):
    """
    ## Description

    Predict what a fixed, randomly chosen network with one hidden layer makes of the inputs, as a
    task of one step.  The target is `A* = relu(v . relu(W x))`, with W (8, 8) and v (8,) drawn
    once from the standard normal distribution.  This is the scalar regression of Section 5.2 of
    Chung, *MAP Propagation Algorithm* (2021); the rectified output, the eight hidden units and
    the absence of biases are not in its text, the published experiments had them.

    ## Observation space

    `Box(-inf, inf, (8,), float64)`: the inputs x, independent and standard normal.

    ## Action space

    `Box(-inf, inf, (1,), float64)`: the prediction A.

    ## Reward

    `-(A - A*)**2`

    ## Starting state

    The inputs are drawn anew; the target network stays.

    ## Episode end

    Every episode is terminated by its first step, whose observation is that of the start.

    ## Arguments

    | argument | default | meaning |
    |---|---|---|
    | `target_seed` | 0 | seed of the target network, 0 to 2**63 - 1; not of the inputs |

    ```python
    import gymnasium

    gymnasium.make("neurosim.tasks:neurosim/ScalarRegression-v0", target_seed=3)
    ```

    ## Version history

    * v0: initial version
    """

    def __init__(self, target_seed: int = 0) -> None:
        if type(target_seed) is not int or not 0 <= target_seed < 2**63:
            raise ValueError(
                f"target_seed = {target_seed!r}: a seed is an integer from 0 to 2**63 - 1."
            )
        weights = np.empty((SIZE + 1, SIZE))
        for event, row in enumerate(weights):
            rng.normals(rng.mixed_key(target_seed), event, np.uint64(rng.TARGET), row)
        self._target = weights[:SIZE].reshape(-1), weights[SIZE]
        self.observation_space = Box(-np.inf, np.inf, (SIZE,), np.float64)
        self.action_space = Box(-np.inf, np.inf, (1,), np.float64)

    def draw(self, key: Integers, first: int, n: int) -> tuple[Floats, Floats]:
        """Samples of a key, as `OneStep.draw`; answers are the targets A*."""
        inputs, answers = np.empty((n, SIZE)), np.empty(n)
        where, hidden = np.uint64(rng.INPUT), np.empty(SIZE)
        drawing.regression(key, first, where, self._target, hidden, inputs.reshape(-1), answers)
        return inputs, answers

    def rewards(self, actions: NDArray[Any], answers: NDArray[Any]) -> Floats:
        """Squared errors, negative."""
        errors: Floats = -((actions - answers) ** 2)
        return errors
