"""Learning rules: agents that act in an environment and learn from it."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neurosim.learners.asynchronous import AsynchronousMapProp
from neurosim.learners.map_prop import MapProp
from neurosim.learners.monte_carlo import MonteCarlo


class Learner(Protocol):
    """What a checkpoint keeps of a run's learner."""

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that learning has changed, by name."""

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over what `state` returned."""


LEARNERS: dict[str, type[MapProp]] = {  # of Algorithm 2, by mode
    "synchronous": MapProp,
    "asynchronous": AsynchronousMapProp,
}

__all__ = ["LEARNERS", "AsynchronousMapProp", "Learner", "MapProp", "MonteCarlo"]
