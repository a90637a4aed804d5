"""A team of the baseline in numpy_agent.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
TINY = float(np.finfo(float).tiny)


class Noise(Protocol):
    """The two methods of ``numpy.random.Generator`` that acting needs."""

    def standard_normal(self, size: int) -> Array:
        """Return independent standard normal numbers, (size,)."""

    def random(self) -> float:
        """Return one number, uniform on [0, 1)."""


class Team:
    """A team of stochastic units with Gaussian softplus hidden layers (Section 2).

    ``theta`` holds all weights and biases, layer after layer; ``W`` and ``b`` are views of it, and
    so are ``zW`` and ``zb`` of the trace vector ``z``. Subclasses define the output layer. Lists
    start with layer 1.

    Parameters
    ----------
    sizes
        Units per layer, inputs first.
    var, alpha
        Variances of the hidden layers; step sizes of all layers.
    step_size
        c in ``alpha_h = c * var``.
    decay
        ``gamma * lambda``.
    anneal_to, anneal_steps
        Fraction of ``alpha`` reached, linearly, after that many agent iterations.
    rng
        Draws the Glorot-uniform weights.
    temperature
        T of a softmax output.
    """

    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def __init__(
        self,
        sizes: Sequence[int],
        var: Sequence[float],
        alpha: Sequence[float],
        *,
        N: int,
        step_size: float,
        decay: float,
        anneal_to: float,
        anneal_steps: float,
        rng: np.random.Generator,
        temperature: float = 1.0,
    ) -> None:
        self.inverse_temperature = 1.0 / temperature
        self.N, self.step_size, self.decay = N, step_size, decay
        self.anneal_to, self.anneal_steps = anneal_to, anneal_steps
        self.hidden = len(sizes) - 2
        self.sd = [math.sqrt(v) for v in var]
        self.alpha_h = [step_size * v for v in var[: self.hidden]]
        self.precision = [1.0 / v for v in var]

        shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
        counts = [n_out * (n_in + 1) for n_out, n_in in shapes]
        self.theta, self.z, self.m, self.v = (np.zeros(sum(counts)) for _ in range(4))
        self.gradient, self.scratch = np.empty(sum(counts)), np.empty(sum(counts))
        self.alpha = np.repeat(np.array(alpha, dtype=float), counts)
        self.W, self.b = self._views(self.theta, shapes)
        self.zW, self.zb = self._views(self.z, shapes)
        self.dW, self.db = self._views(self.gradient, shapes)
        self.updates = 0

        for W, (n_out, n_in) in zip(self.W, shapes, strict=True):
            bound = math.sqrt(6.0 / (n_in + n_out))
            W[...] = rng.uniform(-bound, bound, (n_out, n_in))

        self.S = np.empty(sizes[0])
        self.H, self.mu, self.slope, self.e, self.g = (
            [np.empty(n) for n in sizes[1:]] for _ in range(5)
        )
        self.p = [np.empty(n) for n in sizes[1:]]
        self.feedback = [np.empty(n) for n in sizes[1:-1]]

    @staticmethod
    def _views(flat: Array, shapes: Sequence[tuple[int, int]]) -> tuple[list[Array], list[Array]]:
        """Weight matrices and bias vectors as views of one flat vector."""
        W, b, start = [], [], 0
        for n_out, n_in in shapes:
            W.append(flat[start : start + n_out * n_in].reshape(n_out, n_in))
            start += n_out * n_in
            b.append(flat[start : start + n_out])
            start += n_out
        return W, b

    def _potential(self, i: int, below: Array) -> Array:
        p = self.p[i]
        np.dot(self.W[i], below, out=p)
        p += self.b[i]
        return p

    def _softplus(self, i: int, below: Array) -> None:
        """Mean and slope of a hidden layer; sigmoid(p) = exp(p - softplus(p)) saves a division."""
        p, mu, slope = self._potential(i, below), self.mu[i], self.slope[i]
        np.logaddexp(0.0, p, out=mu)
        np.subtract(p, mu, out=slope)
        np.exp(slope, out=slope)

    def _output_mean(self, below: Array) -> None:
        """Fill the mean of the output layer."""
        raise NotImplementedError

    def _sample_output(self, noise: Noise) -> None:
        """Draw the values of the output layer from its mean."""
        raise NotImplementedError

    def _output_packet(self) -> None:
        """Fill the error packet of the output layer from its error."""
        raise NotImplementedError

    def _gate(self) -> float:
        """Factor of the gradients in the trace."""
        return 1.0

    def feed_forward(self, observation: npt.ArrayLike, noise: Noise) -> None:
        """Sample all layers (Algorithm 2, lines 9-11)."""
        self.S[...] = observation
        below = self.S
        for i in range(self.hidden):
            self._softplus(i, below)
            np.multiply(noise.standard_normal(self.mu[i].size), self.sd[i], out=self.H[i])
            self.H[i] += self.mu[i]
            below = self.H[i]
        self._output_mean(below)
        self._sample_output(noise)

    def reinforce(self, td_error: float, steps: int) -> None:
        """Adam's ascent step on ``td_error * z`` (Algorithm 2, line 14)."""
        self.updates += 1
        m, v, G, change = self.m, self.v, self.gradient, self.scratch
        np.multiply(self.z, td_error, out=G)
        np.multiply(G, 1.0 - self.beta1, out=change)
        m *= self.beta1
        m += change
        np.multiply(G, G, out=change)
        change *= 1.0 - self.beta2
        v *= self.beta2
        v += change
        progress = min(steps / self.anneal_steps, 1.0)
        factor = 1.0 - (1.0 - self.anneal_to) * progress
        np.sqrt(v, out=change)
        change *= 1.0 / math.sqrt(1.0 - self.beta2**self.updates)
        change += self.epsilon
        np.divide(m, change, out=change)
        change *= self.alpha
        change *= factor / (1.0 - self.beta1**self.updates)
        self.theta += change

    def _errors_and_packets(self) -> None:
        """Errors of all layers and packets of the layers above the first, from current values."""
        H, mu, e = self.H, self.mu, self.e
        np.subtract(H[0], mu[0], out=e[0])
        for i in range(1, self.hidden):
            self._softplus(i, H[i - 1])
            np.subtract(H[i], mu[i], out=e[i])
            np.multiply(e[i], self.slope[i], out=self.g[i])
            self.g[i] *= self.precision[i]
        self._output_mean(H[self.hidden - 1])
        np.subtract(H[-1], mu[-1], out=e[-1])
        self._output_packet()

    def relax(self) -> None:
        """N Jacobi steps down the energy (Algorithm 2, lines 16-18), then the final packets."""
        self._softplus(0, self.S)
        for _ in range(self.N):
            self._errors_and_packets()
            for i in range(self.hidden):
                e, feedback = self.e[i], self.feedback[i]
                np.dot(self.g[i + 1], self.W[i + 1], out=feedback)
                feedback *= self.alpha_h[i]
                e *= self.step_size
                self.H[i] -= e
                self.H[i] += feedback
        self._errors_and_packets()
        np.multiply(self.e[0], self.slope[0], out=self.g[0])
        self.g[0] *= self.precision[0]

    def accumulate(self) -> None:
        """Decay the traces and add the gradient (Algorithm 2, line 19)."""
        below = self.S
        for i, g in enumerate(self.g):
            np.multiply(g[:, None], below, out=self.dW[i])
            self.db[i][...] = g
            below = self.H[i]
        gate = self._gate()
        if gate != 1.0:
            self.gradient *= gate
        self.z *= self.decay
        self.z += self.gradient


class SoftmaxTeam(Team):
    """A team whose output is one agent with as many outcomes as potentials, ``softmax(p / T)``."""

    action = 0

    def _output_mean(self, below: Array) -> None:
        p, mu = self._potential(self.hidden, below), self.mu[-1]
        p *= self.inverse_temperature
        p -= np.maximum.reduce(p)
        np.exp(p, out=mu)
        mu /= np.add.reduce(mu)

    def _sample_output(self, noise: Noise) -> None:
        cumulative = self.mu[-1].cumsum()
        self.action = min(
            int(cumulative.searchsorted(noise.random(), "right")), cumulative.size - 1
        )
        self.H[-1].fill(0.0)
        self.H[-1][self.action] = 1.0

    def _output_packet(self) -> None:
        np.multiply(self.e[-1], self.inverse_temperature, out=self.g[-1])


class GaussianTeam(Team):
    """A team with linear Gaussian outputs."""

    @property
    def action(self) -> Array:
        """The values of the outputs."""
        return self.H[-1]

    def _output_mean(self, below: Array) -> None:
        self.mu[-1][...] = self._potential(self.hidden, below)

    def _sample_output(self, noise: Noise) -> None:
        np.multiply(noise.standard_normal(self.mu[-1].size), self.sd[-1], out=self.H[-1])
        self.H[-1] += self.mu[-1]

    def _output_packet(self) -> None:
        np.multiply(self.e[-1], self.precision[-1], out=self.g[-1])


class ValueTeam(GaussianTeam):
    """A team with one linear Gaussian output, whose traces are gated by ``1 / (A - mu)``."""

    def _gate(self) -> float:
        error = float(self.e[-1][0])
        return 1.0 / math.copysign(max(abs(error), TINY), error)
