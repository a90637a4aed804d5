"""Learning rules: agents that act in an environment and learn from it."""

from neurosim.learners.asynchronous import AsynchronousMapProp
from neurosim.learners.map_prop import MapProp

__all__ = ["AsynchronousMapProp", "MapProp"]
