"""The k-bit multiplexer (Section 5.1)."""

from typing import Any, Literal

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from neurosim.kernels import drawing, rng
from neurosim.memory import Floats, Integers
from neurosim.tasks.one_step import OneStep

LARGEST_K = 20  # 2**20 data bits, 8 MB an observation
LOW = {"signed": -1.0, "binary": 0.0}


class Multiplexer(OneStep):
    """
    ## Description

    The multiplexer with k address bits, as a task of one step: k address bits select one of 2**k
    data bits, and the action is to name the bit that is selected.  All k + 2**k bits are drawn
    with equal probability.  This is the single-time-step MDP of Section 5.1 and Appendix D of
    Chung, *MAP Propagation Algorithm* (2021), where k = 5 and the state has 37 components.

    ## Observation space

    `Box(low, 1, (k + 2**k,), float64)`, every component one of two numbers: `low`, which is -1
    for `inputs="signed"` and 0 for `inputs="binary"`, stands for a bit 0, and 1 for a bit 1.

    | component | meaning |
    |---|---|
    | 0 ... k - 1 | the address, most significant bit first |
    | k ... k + 2**k - 1 | the data bits of the addresses 0, 1, ..., 2**k - 1 |

    ## Action space

    `Discrete(2)`

    | action | meaning |
    |---|---|
    | 0 | the selected bit is 0 (the paper's action -1) |
    | 1 | the selected bit is 1 (the paper's action 1) |

    ## Reward

    1 if the action names the selected bit, and -1 if it does not.

    ## Starting state

    All bits are drawn anew.

    ## Episode end

    Every episode is terminated by its first step, whose observation is that of the start.

    ## Arguments

    | argument | default | meaning |
    |---|---|---|
    | `k` | 5 | address bits, 1 to 20 |
    | `inputs` | `"signed"` | `"signed"`: -1 and 1, as published; `"binary"`: 0 and 1 |

    ```python
    import gymnasium

    gymnasium.make("neurosim.tasks:neurosim/Multiplexer-v0", k=2, inputs="binary")
    ```

    ## Version history

    * v0: initial version
    """

    def __init__(self, k: int = 5, inputs: Literal["signed", "binary"] = "signed") -> None:
        if type(k) is not int or not 1 <= k <= LARGEST_K:
            raise ValueError(f"k = {k!r}: the address has 1 to {LARGEST_K} bits.")
        if inputs not in LOW:
            raise ValueError(f"inputs = {inputs!r}: one of {', '.join(map(repr, LOW))} is needed.")
        self._k, self._low = k, LOW[inputs]
        self.observation_space = Box(self._low, 1.0, (k + 2**k,), np.float64)
        self.action_space = Discrete(2)

    def draw(self, key: Integers, first: int, n: int) -> tuple[Floats, NDArray[np.int64]]:
        """Samples of a key, as `OneStep.draw`; answers are the selected bits, 0 or 1."""
        inputs, answers = np.empty((n, self._k + 2**self._k)), np.empty(n, np.int64)
        where = np.uint64(rng.INPUT)
        drawing.multiplexer(key, first, where, self._k, self._low, inputs.reshape(-1), answers)
        return inputs, answers

    def rewards(self, actions: NDArray[Any], answers: NDArray[Any]) -> Floats:
        """1 where the action is the answer, else -1."""
        return np.where(actions == answers, 1.0, -1.0)
