"""Baseline for speed ratios: Algorithm 1 for a whole batch in vectorised NumPy, double precision.

What a careful NumPy user would write: a row for each sample, so that every product is one of two
matrices; arrays are allocated once and filled in place, and the mean of the first hidden layer is
computed once, since the state does not move.
"""

from __future__ import annotations

import math

import numpy as np

from neurosim.memory import Team
from neurosim.network import weights

Array = np.ndarray


class NumpyBatch:
    """A team with softplus hidden layers and a softmax output, with the weights of one of
    neurosim's.

    Parameters
    ----------
    team
        Its settings and weights.
    size
        Samples in a batch.
    """

    def __init__(self, team: Team, size: int) -> None:
        sizes = team.size.tolist()
        self.team, self.hidden, self.updates = team, len(sizes) - 2, 0
        self.var = team.var[team.unit[1:-1]].tolist()
        self.alpha = team.alpha[1:].tolist()
        self.W, self.b = ([np.array(w[k]) for w in self._weights(team)] for k in (0, 1))
        self.m, self.v = ([np.zeros_like(x) for x in (*self.W, *self.b)] for _ in range(2))
        self.H = [np.empty((size, n)) for n in sizes]
        self.mu, self.slope, self.g, self.p = (
            [np.empty((size, n)) for n in sizes[1:]] for _ in range(4)
        )
        self.feedback = [np.empty((size, n)) for n in sizes[1:-1]]
        self.rng = np.random.default_rng(0)

    @staticmethod
    def _weights(team: Team) -> list[tuple[Array, Array]]:
        return [weights(team, team.w, l) for l in range(1, team.size.size)]

    def act(self, states: Array) -> Array:
        """Sample all layers for states (size, n); returns the outcomes (size,)."""
        self.H[0][...] = states
        for i in range(self.hidden):
            self._mean(i)
            self.rng.standard_normal(out=self.H[i + 1])
            self.H[i + 1] *= math.sqrt(self.var[i])
            self.H[i + 1] += self.mu[i]
        self._mean(self.hidden)
        cumulative = np.cumsum(self.mu[-1][:, :-1], axis=1)
        actions = (self.rng.random((len(states), 1)) >= cumulative).sum(axis=1)
        self.H[-1].fill(0.0)
        self.H[-1][np.arange(len(states)), actions] = 1.0
        return actions

    def learn(self, rewards: Array) -> None:
        """Relax, then one Adam step with the mean of the gradients times the rewards."""
        self._mean(0)
        for _ in range(self.team.N):
            for i in range(1, self.hidden + 1):
                self._mean(i)
                self._packets(i)
            for i in range(self.hidden):
                h, mu, feedback = self.H[i + 1], self.mu[i], self.feedback[i]
                np.dot(self.g[i + 1], self.W[i + 1], out=feedback)
                feedback *= self.team.c * self.var[i]
                np.subtract(mu, h, out=self.p[i])
                self.p[i] *= self.team.c
                h += self.p[i]
                h += feedback
        gradients = []
        for i in range(self.hidden + 1):
            if i > 0:
                self._mean(i)
            self._packets(i)
            self.g[i] *= rewards[:, None] / len(rewards)
            gradients.append(np.dot(self.g[i].T, self.H[i]))
        self._adam([*gradients, *(g.sum(axis=0) for g in self.g)])

    def _mean(self, i: int) -> None:
        p, mu, slope = self.p[i], self.mu[i], self.slope[i]
        np.dot(self.H[i], self.W[i].T, out=p)
        p += self.b[i]
        if i == self.hidden:
            p /= self.team.T
            p -= p.max(axis=1, keepdims=True)
            np.exp(p, out=mu)
            mu /= mu.sum(axis=1, keepdims=True)
            return
        np.abs(p, out=slope)  # softplus(p) = max(p, 0) + log(1 + exp(-|p|)), by fast functions
        np.negative(slope, out=slope)
        np.exp(slope, out=slope)
        slope += 1.0
        np.log(slope, out=mu)
        np.maximum(p, 0.0, out=slope)
        mu += slope
        np.subtract(p, mu, out=slope)
        np.exp(slope, out=slope)

    def _packets(self, i: int) -> None:
        g = self.g[i]
        np.subtract(self.H[i + 1], self.mu[i], out=g)
        if i == self.hidden:
            g /= self.team.T
        else:
            g *= self.slope[i]
            g *= 1.0 / self.var[i]

    def _adam(self, gradients: list[Array]) -> None:
        team = self.team
        self.updates += 1
        correction1 = 1.0 - team.beta1**self.updates
        correction2 = 1.0 - team.beta2**self.updates
        for x, gradient, m, v, alpha in zip(
            [*self.W, *self.b], gradients, self.m, self.v, 2 * self.alpha, strict=True
        ):
            m *= team.beta1
            m += (1.0 - team.beta1) * gradient
            v *= team.beta2
            v += (1.0 - team.beta2) * gradient**2
            x += alpha / correction1 * m / (np.sqrt(v / correction2) + team.epsilon)
