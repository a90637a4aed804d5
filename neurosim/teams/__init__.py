"""Teams of units: the four phases of Algorithm 2 over one memory."""

from neurosim.teams.asynchronous import AsynchronousTeam
from neurosim.teams.synchronous import SynchronousTeam

__all__ = ["AsynchronousTeam", "SynchronousTeam"]
