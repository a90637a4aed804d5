"""Compiling what a run calls, before it is needed."""

import numpy as np

from neurosim.jit import is_cached
from neurosim.learners import LEARNERS
from neurosim.spec import Mode, load

_LONGEST = {"synchronous": "agent.agent_step", "asynchronous": "asynchronous.settle"}


def is_compiled(mode: Mode) -> bool:
    """Whether the kernels of a mode have been compiled before."""
    return is_cached(_LONGEST[mode])


def compile_kernels(mode: Mode) -> None:
    """Compile the kernels of a mode, or load them from the cache."""
    agent = LEARNERS[mode](load("cartpole", mode=mode).spec, 1, 1, 0)
    nothing = np.zeros(1)
    agent.begin(nothing)
    agent.step(nothing, 0.0)
    agent.end(nothing, 0.0, True)
