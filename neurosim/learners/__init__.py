"""Learning rules: agents that act in an environment and learn from it."""

from neurosim.learners.asynchronous import AsynchronousMapProp
from neurosim.learners.map_prop import MapProp
from neurosim.learners.monte_carlo import MonteCarlo

LEARNERS: dict[str, type[MapProp]] = {  # of Algorithm 2, by mode
    "synchronous": MapProp,
    "asynchronous": AsynchronousMapProp,
}

__all__ = ["LEARNERS", "AsynchronousMapProp", "MapProp", "MonteCarlo"]
