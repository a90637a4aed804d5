"""The baselines of Section 5.3 and eq. 10, in plain slow NumPy, beside ``oracle.py``.

What all learning rules share is taken from there: layers, densities, the td_error, Adam, the order
of the four phases. Here is what each rule does in its own way. Nothing of the package under test
is imported.

reinforce
    The team of MAP propagation without relaxation (Section 3: N = 0).
thomas
    REINFORCE in which a random subset of the hidden units explores at each time step; the others
    output their mean and are not updated.
backprop
    An ordinary network: hidden units output their mean. The gradient is that of
    ``log pi(A | S)``, of a critic that of its output ``mu(S)``.
reparameterised
    Eq. 10: the same gradients, through ``H[l] = mu[l] + sqrt(var[l]) Z[l]`` with Z held.

The phases are in the order of Algorithm 2: gradients are taken with the weights after the update.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import oracle
from oracle import NOTHING, Array, ArrayLike, Forward, State

RULES = ("map_prop", "reinforce", "thomas", "backprop", "reparameterised")
BY_BACKPROP = ("backprop", "reparameterised")


@dataclass(frozen=True, kw_only=True)
class Settings(oracle.Settings):
    """Constants of one team; ``var`` has an entry for every layer, 0 where nothing is sampled.

    Parameters
    ----------
    rule
        One of ``RULES``.
    """

    rule: str

    def __post_init__(self) -> None:
        """Reject rules that there are not."""
        super().__post_init__()
        if self.rule not in RULES:
            raise ValueError(f"rule is {self.rule!r}, not one of {RULES}")


def samples(settings: Settings, layer: int) -> bool:
    """Whether the units of a layer are stochastic."""
    if layer < settings.L:
        return settings.rule != "backprop"
    return not (settings.gated and settings.rule in BY_BACKPROP)


def feed_forward(
    settings: Settings,
    state: State,
    S: ArrayLike,
    noise: Sequence[ArrayLike | float],
    held: Mapping[int, Array] = NOTHING,
) -> Forward:
    """Phase 1, as ``oracle.feed_forward``; a unit whose noise is nan does not explore."""
    H = [np.array(S, dtype=float)]
    p, mu, slope = [], [], []
    for layer in range(1, settings.L + 1):
        p.append(oracle.potential(state, layer, H[-1]))
        mean, derivative = oracle.mean_and_slope(settings, layer, p[-1])
        mu.append(mean)
        slope.append(derivative)
        Z = np.asarray(noise[layer - 1], dtype=float)
        if layer in held:
            H.append(held[layer].copy())
        elif not samples(settings, layer):
            H.append(mean)
        elif layer == settings.L and settings.output == "softmax":
            H.append(oracle.draw_outcome(mean, Z.item()))
        else:
            sampled = mean + math.sqrt(settings.var[layer - 1]) * Z.reshape(mean.shape)
            H.append(np.where(np.isnan(Z), mean, sampled))
    return Forward(H=H, p=p, mu=mu, slope=slope)


def local_gradients(
    settings: Settings,
    state: State,
    H: Sequence[Array],
    noise: Sequence[ArrayLike | float],
    holding: Collection[int],
) -> list[Array]:
    """``d log pi_l / d p[l]`` of each layer, times a critic's gate; 0 of a unit without noise, and
    of layers that hold their values."""
    mu, slope = oracle.means_and_slopes(settings, state, H)
    factor = oracle.gate(settings, state, H) if settings.gated else 1.0
    packets = oracle.error_packets(settings, H, mu, slope)
    for layer in holding:
        packets[layer - 1] = np.zeros_like(packets[layer - 1])
    return [factor * np.where(np.isnan(Z), 0.0, g) for g, Z in zip(packets, noise, strict=True)]


def backprop(settings: Settings, state: State, H: Sequence[Array]) -> list[Array]:
    """``d log pi_L / d p[l]`` of each layer, of a critic ``d mu[L] / d p[l]``, by the chain rule.

    ``d p[l+1] / d p[l] = W[l+1] diag(slope[l])``, whatever noise was added to the means.
    """
    mu, slope = oracle.means_and_slopes(settings, state, H)
    if settings.gated:
        derivative = np.ones(1)
    elif settings.output == "softmax":
        derivative = (H[-1] - mu[-1]) / settings.T
    else:
        derivative = (H[-1] - mu[-1]) / settings.var[-1]
    derivatives = [derivative]
    for layer in range(settings.L - 1, 0, -1):
        jacobian = state.W[layer] * slope[layer - 1]
        derivatives.insert(0, derivatives[0] @ jacobian)
    return derivatives


class Agent(oracle.Agent):
    """Actor and critic of ``oracle.Agent``, each with the rule of its settings."""

    actor: Settings
    critic: Settings

    def end(
        self,
        S_next: ArrayLike,
        reward: float,
        terminated: bool,
        noise_actor: Sequence[ArrayLike | float] | None = None,
        noise_critic: Sequence[ArrayLike | float] | None = None,
    ) -> None:
        """Learn from the last transition, whose next value is that of this critic."""
        bootstraps = not terminated and self.truncation == "bootstrap"
        if self.terminal_iteration or not bootstraps:
            super().end(S_next, reward, terminated, noise_actor, noise_critic)
            return
        if noise_critic is None:
            raise ValueError("bootstrapping from S_next needs noise for the critic")
        self.t += 1
        self._hold()
        next_value = feed_forward(
            self.critic, self.critic_state, S_next, noise_critic, self.critic_held
        ).mu[-1][0]
        self.td_error = self._clip(reward) + self.critic.gamma * float(next_value) - self.value
        self._update()

    def _iterate(
        self,
        S: ArrayLike,
        noise_actor: Sequence[ArrayLike | float],
        noise_critic: Sequence[ArrayLike | float],
        td_error: Callable[[float], float],
        update: bool,
    ) -> Array:
        """One agent iteration, in the phases of Algorithm 2."""
        self._hold()
        held_actor, held_critic = self.actor_held, self.critic_held
        forward_actor = feed_forward(self.actor, self.actor_state, S, noise_actor, held_actor)
        forward_critic = feed_forward(self.critic, self.critic_state, S, noise_critic, held_critic)
        next_value = float(forward_critic.mu[-1][0])
        self.td_error = td_error(next_value)
        self.value = next_value
        if update:
            self._update()
        self.actor_H_sampled, self.critic_H_sampled = forward_actor.H, forward_critic.H
        self.actor_H = settle(self.actor, self.actor_state, forward_actor, noise_actor, held_actor)
        self.critic_H = settle(
            self.critic, self.critic_state, forward_critic, noise_critic, held_critic
        )
        self.steps += 1
        return self.actor_H_sampled[-1]


def settle(
    settings: Settings,
    state: State,
    forward: Forward,
    noise: Sequence[ArrayLike | float],
    holding: Collection[int],
) -> list[Array]:
    """Phases 3 and 4; returns the values at which the gradient was taken."""
    H = forward.H
    if settings.rule == "map_prop":
        H = oracle.relax(settings, state, H, forward, holding)
    if settings.rule in BY_BACKPROP:
        action = H[-1]
        H = feed_forward(settings, state, H[0], noise).H
        if not settings.gated:
            H[-1] = action
        g = backprop(settings, state, H)
    else:
        g = local_gradients(settings, state, H, noise, holding)
    decay = settings.gamma * settings.lambda_
    for i in range(settings.L):
        state.zW[i][...] = decay * state.zW[i] + np.outer(g[i], H[i])
        state.zb[i][...] = decay * state.zb[i] + g[i]
    return H
