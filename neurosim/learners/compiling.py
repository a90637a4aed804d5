"""Compiling what a run calls, before it is needed."""

import numpy as np

from neurosim.jit import is_cached
from neurosim.learners import LEARNERS, MonteCarlo
from neurosim.spec import MonteCarloSpec, RunMode, load
from neurosim.tasks import Environment

_LONGEST = {
    "synchronous": "agent.agent_step",
    "asynchronous": "asynchronous.settle",
    "monte_carlo": "monte_carlo.learn_batch",
}


def is_compiled(mode: RunMode) -> bool:
    """Whether the kernels of a mode have been compiled before."""
    return is_cached(_LONGEST[mode])


def compile_kernels(mode: RunMode) -> None:
    """Compile the kernels of a mode, or load them from the cache."""
    if mode == "monte_carlo":
        for name in ("multiplexer/map_prop", "regression/map_prop_sl"):
            spec = load(name, {"batch.size": 1}).spec
            assert isinstance(spec, MonteCarloSpec)
            MonteCarlo(spec, Environment(spec.task, spec.actor.output), 0).step()
        return
    model = load("cartpole", mode=mode)
    assert not isinstance(model.spec, MonteCarloSpec)
    agent = LEARNERS[mode](model.spec, 1, 1, 0)
    nothing = np.zeros(1)
    agent.begin(nothing)
    agent.step(nothing, 0.0)
    agent.end(nothing, 0.0, True)
