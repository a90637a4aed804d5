"""Baseline for speed ratios: the actor-critic agent in vectorised NumPy, double precision.

What a careful NumPy user would write. The parameters of a team lie in one flat vector with a view
per layer, so that Adam and the traces are a few operations each. Whatever does not change is
computed once: the mean of the first hidden layer does not move during the relaxation, since the
state does not. Arrays are allocated once and filled in place.

The defaults are the paper's CartPole settings (Table 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from benchmarks.numpy_team import Array, GaussianTeam, Noise, SoftmaxTeam, ValueTeam


class NumpyAgent:
    """Actor and critic teams with eligibility traces (Algorithm 2, Appendix C).

    Parameters
    ----------
    n_inputs, hidden, n_actions
        Sizes of the networks; the critic has the actor's, but one output.
    output
        The actor's, ``"softmax"`` or ``"gaussian"``.
    actor_alpha, actor_var, critic_alpha, critic_var
        Step size of every layer and variance of every Gaussian layer.
    temperature, gamma, lambda_, N, step_size, anneal_to, anneal_steps
        T, discount and trace decay rates, relaxation steps, c in ``alpha_h = c * var``, and the
        fraction of the step sizes reached after that many agent iterations.
    noise
        Source of all random numbers of the run; by default a generator seeded by ``seed``.
    seed
        Seeds the Glorot-uniform weights (and ``noise``).
    """

    def __init__(
        self,
        n_inputs: int = 4,
        hidden: Sequence[int] = (64, 32),
        n_actions: int = 2,
        *,
        output: str = "softmax",
        actor_alpha: Sequence[float] = (1e-2, 1e-5, 1e-6),
        actor_var: Sequence[float] = (0.03, 0.1),
        critic_alpha: Sequence[float] = (2e-2, 2e-5, 2e-6),
        critic_var: Sequence[float] = (0.03, 0.1, 0.1),
        temperature: float = 2.0,
        gamma: float = 0.98,
        lambda_: float = 0.95,
        N: int = 20,
        step_size: float = 0.5,
        anneal_to: float = 0.1,
        anneal_steps: float = 50_000,
        seed: int = 0,
        noise: Noise | None = None,
    ) -> None:
        common: dict[str, Any] = {
            "N": N,
            "step_size": step_size,
            "decay": gamma * lambda_,
            "anneal_to": anneal_to,
            "anneal_steps": anneal_steps,
        }
        self.gamma = gamma
        actor_rng, critic_rng, acting_rng = np.random.default_rng(seed).spawn(3)
        self.noise: Noise = acting_rng if noise is None else noise
        self.actor = (SoftmaxTeam if output == "softmax" else GaussianTeam)(
            (n_inputs, *hidden, n_actions),
            actor_var,
            actor_alpha,
            temperature=temperature,
            rng=actor_rng,
            **common,
        )
        self.critic = ValueTeam(
            (n_inputs, *hidden, 1), critic_var, critic_alpha, rng=critic_rng, **common
        )
        self.value = 0.0
        self.steps = 0

    def begin(self, observation: npt.ArrayLike) -> int | Array:
        """Start an episode and return its first action."""
        self.actor.z.fill(0.0)
        self.critic.z.fill(0.0)
        self._feed_forward(observation)
        self.value = float(self.critic.mu[-1][0])
        return self._relax_and_accumulate()

    def step(self, observation: npt.ArrayLike, reward: float) -> int | Array:
        """Learn from the reward of the last action and return the next action."""
        self._feed_forward(observation)
        next_value = float(self.critic.mu[-1][0])
        self._reinforce(reward + self.gamma * next_value - self.value)
        self.value = next_value
        return self._relax_and_accumulate()

    def end(self, observation: npt.ArrayLike, reward: float, terminated: bool) -> None:
        """Learn from the last transition; an episode that was cut short is bootstrapped."""
        next_value = 0.0
        if not terminated:
            self.critic.feed_forward(observation, self.noise)
            next_value = float(self.critic.mu[-1][0])
        self._reinforce(reward + self.gamma * next_value - self.value)

    def _feed_forward(self, observation: npt.ArrayLike) -> None:
        self.actor.feed_forward(observation, self.noise)
        self.critic.feed_forward(observation, self.noise)

    def _reinforce(self, td_error: float) -> None:
        self.actor.reinforce(td_error, self.steps)
        self.critic.reinforce(td_error, self.steps)

    def _relax_and_accumulate(self) -> int | Array:
        for team in (self.actor, self.critic):
            team.relax()
            team.accumulate()
        self.steps += 1
        return self.actor.action
