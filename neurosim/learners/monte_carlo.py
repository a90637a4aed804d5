"""Algorithm 1: one team that learns from batches of one-step episodes, by any of four rules."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import RunError
from neurosim.kernels import monte_carlo as kernels
from neurosim.kernels import rng
from neurosim.kernels.team import PASSES, UPDATES
from neurosim.learners.map_prop import named_layers, remedy
from neurosim.memory import Floats
from neurosim.network import build_team, build_together, layer_of, orient, read_team
from neurosim.spec import Learning, MonteCarloSpec
from neurosim.tasks import Environment

_STATE = ("w", "m", "v", "count")

# Of the settings of Algorithm 2 those that have no effect where an episode is one step; the trace
# decays by gamma * lambda = 1, so that it adds up the gradients of a batch.
_LEARNING = Learning(
    gamma=1.0,
    reward_bound=np.inf,
    anneal_steps=np.inf,
    truncation="zero",
    update_at_reset=False,
    terminal_iteration=False,
    stale_first_mean=False,
)


class MonteCarlo:
    """A team that acts on a batch of inputs, then learns from all of it with one Adam step.

    Parameters
    ----------
    spec : the model.
    environment : where its samples come from.
    seed : seed of the run.

    Attributes
    ----------
    actor : the memory of the team; its values are those of the last sample.
    values : (size, units) of the last batch, state included, as sampled.
    """

    def __init__(self, spec: MonteCarloSpec, environment: Environment, seed: int) -> None:
        self._samples = environment.samples
        self._n_in, self._n_out = environment.n_observations, environment.n_actions
        self._discrete = environment.discrete
        self._size = spec.batch.size
        self._answers = spec.batch.signal == "answer"
        self._coin = spec.actor.action == "coin"
        self._block = build_team(
            "actor", spec.actor, _LEARNING, spec.adam, self._n_in, self._n_out, seed
        )
        self.actor = read_team(self._block)
        self._together = build_together(self.actor)
        self._key = rng.mixed_key(seed)
        self.values = np.zeros((self._size, self.actor.h.size))

    @property
    def batches(self) -> int:
        """Batches learned from so far."""
        return int(self.actor.count[UPDATES])

    @property
    def samples(self) -> int:
        """Samples drawn so far; the next one has this number."""
        return int(self.actor.count[PASSES])

    def step(self) -> float:
        """Act on the next batch and learn from it; returns the mean of its rewards."""
        inputs, answers = self._samples.draw(self._key, self.samples, self._size)
        self.values[:, : self._n_in] = inputs
        values = self.values.reshape(-1)
        kernels.act_batch(*self._block, self._key, values, self._coin)
        outputs = self.values[:, -self._n_out :]
        actions = outputs.argmax(axis=1) if self._discrete else outputs[:, 0]
        rewards = self._samples.rewards(actions, answers)
        signal = np.asarray(answers if self._answers else rewards, float)
        self._check(
            kernels.learn_batch(
                *self._block, self._together, self._key, values, signal, self._answers
            )
        )
        return float(rewards.mean())

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that learning has changed, by name: what a checkpoint holds."""
        return {f"actor/{key}": getattr(self.actor, key) for key in _STATE}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over what `state` returned."""
        for key, array in self.state().items():
            array[...] = state[key]
        orient(self.actor)

    def weights(self) -> dict[str, Floats]:
        """Views of the weights and biases: W1, b1, W2, b2 and so on."""
        return named_layers(self.actor, self.actor.w, "")

    def _check(self, bad: tuple[int, int]) -> None:
        """Stop where a unit has diverged, or a gradient has been too large for Adam."""
        sample, unit = bad
        if sample >= 0:
            layer, index = layer_of(self.actor, unit)
            place = self.actor.unit[layer] + index
            raise RunError(
                f"diverged in batch {self.batches + 1}, sample {sample}: in layer {layer}, unit "
                f"{index}, the value is {self.actor.h[place]:.6g} where its mean is "
                f"{self.actor.mu[place]:.6g}. Try {remedy('actor', self.actor)}."
            )
        if not np.isfinite(self.actor.v).all():
            raise RunError(
                f"diverged in batch {self.batches}: the gradient of a weight is not finite when "
                f"squared. Try {remedy('actor', self.actor)}."
            )
