"""Algorithm 1 with its baselines again, in plain slow NumPy, as the reference of the test suite.

A batch of one-step episodes is gone through sample by sample; `oracle` has the lines that
Algorithms 1 and 2 share. Nothing of the package under test is imported here.

A sample is (S, noise, G): the state, the noise of the feed-forward pass as `oracle.feed_forward`
takes it, and what the gradient is weighed by, the reward G or the answer A*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from oracle import (
    Array,
    Forward,
    Settings,
    State,
    adam,
    climb,
    error_packets,
    feed_forward,
    gate,
    gradients,
    means_and_slopes,
    potential,
    relax,
)

RULES = ("map_prop", "reinforce", "thomas", "backprop")
SIGNALS = ("reward", "answer")

Sample = tuple[Array, list[Array | float], float]
Proposals = Sequence[Sequence[Array]]


@dataclass(frozen=True)
class Gradient:
    """What one sample asks of the parameters, layer by layer, and the size of its rounding.

    terms[l - 1] : bound of the terms that the entries of layer l were made from.
    margin : of the decisions of hill climbing, see ``oracle.Climb``.
    """

    W: list[Array]
    b: list[Array]
    terms: list[float]
    margin: float = np.inf


def weighed(settings: Settings, state: State, H: Sequence[Array], signal: str, G: float) -> float:
    """Line 12: the factor of the gradient, G or (A* - mu[L]) / (A - mu[L]) (eq. 66)."""
    if signal == "reward":
        return G
    mu, _ = means_and_slopes(settings, state, H)
    return (G - float(mu[-1][0])) * gate(settings, state, H)


def local_gradient(
    settings: Settings,
    state: State,
    H: list[Array],
    signal: str,
    G: float,
    proposals: Proposals = (),
) -> Gradient:
    """Lines 9-12 of Algorithm 1 for one sample: relax N steps, then the gradient of each layer.

    proposals : as ``oracle.climb`` takes them, of a team that climbs.
    """
    if settings.proposal == 0.0:
        H, margin = relax(settings, state, H), np.inf
    else:
        climbed = climb(settings, state, H, proposals)
        H, margin = climbed.H, climbed.margin
    factor = weighed(settings, state, H, signal, G)
    dW, db = gradients(settings, state, H)
    mu, slope = means_and_slopes(settings, state, H)
    # e = H - mu is as exact as H and mu are; so is A - mu in the factor.
    sizes = [np.abs(h) + np.abs(m) for h, m in zip(H[1:], mu, strict=True)]
    packets = error_packets(settings, [H[0], *sizes], [0.0 * m for m in mu], slope)
    condition = 1.0
    if signal == "answer":
        condition += float(sizes[-1][0] / abs(H[-1][0] - mu[-1][0]))
    terms = [
        abs(factor) * condition * float(np.max(g) * max(1.0, np.max(np.abs(below))))
        for g, below in zip(packets, H, strict=False)
    ]
    return Gradient([factor * x for x in dW], [factor * x for x in db], terms, margin)


def backprop_gradient(
    settings: Settings, state: State, H: list[Array], signal: str, G: float
) -> Gradient:
    """The chain rule through the layers of an ordinary network, whose H[l] = mu[l].

    reward: of G log softmax(p[L] / T) at the action taken (Section 5.1). answer: of
    -(A* - p[L])**2 (Section 5.2).
    """
    mu, slope = means_and_slopes(settings, state, H)
    if signal == "reward":
        g = G * (H[-1] - mu[-1]) / settings.T
        size = np.full_like(g, abs(G) / settings.T)
    else:
        p = potential(state, settings.L, H[-2])
        g = 2.0 * (G - p)
        size = 2.0 * (abs(G) + np.abs(p))
    dW, db, terms = [], [], []
    for layer in range(settings.L, 0, -1):
        below = H[layer - 1]
        dW.insert(0, np.outer(g, below))
        db.insert(0, g)
        terms.insert(0, float(np.max(size) * max(1.0, np.max(np.abs(below)))))
        if layer > 1:
            W = state.W[layer - 1]
            g = slope[layer - 2] * (W.T @ g)
            size = np.abs(slope[layer - 2]) * (np.abs(W).T @ size)
    return Gradient(dW, db, terms)


def sample_forward(
    settings: Settings,
    state: State,
    sample: Sample,
    rule: str,
    explores: Array | None = None,
    action: str = "sampled",
) -> Forward:
    """Line 6 for one sample. By backprop only a softmax output is random.

    explores : 1 for each hidden unit that explores at this sample, in order, and 0 for the others,
        which output their mean (Thomas 2011); None: all explore.
    action : "sampled"; or "coin", H[l] = mu[l] in the hidden layers and A = mu[L] +- sqrt(var[L]),
        + where the noise of the output is positive.
    """
    S, noise, _ = sample
    noise = list(noise)
    if rule == "backprop":
        noise[:-1] = [0.0 * np.asarray(x) for x in noise[:-1]]
        if settings.output == "gaussian":
            noise[-1] = 0.0 * np.asarray(noise[-1])
    if explores is not None:
        first = 0
        for i in range(settings.L - 1):
            last = first + settings.sizes[i + 1]
            noise[i] = np.asarray(noise[i]) * explores[first:last]
            first = last
    if action == "coin":
        means = feed_forward(settings, state, S, [0.0 * np.asarray(x) for x in noise])
        side = 1.0 if np.asarray(noise[-1]).item() > 0.0 else -1.0
        A = means.H[-1] + side * np.sqrt(settings.var[-1])
        return replace(means, H=[*means.H[:-1], A])
    return feed_forward(settings, state, S, noise)


def learn_batch(
    settings: Settings,
    state: State,
    forwards: Sequence[Forward],
    signals: Sequence[float],
    rule: str,
    signal: str,
    proposals: Sequence[Proposals] | None = None,
) -> tuple[list[Array], list[Array], list[float], float]:
    """Average the gradients of the samples, then one Adam step, in place (Appendix D).

    Returns
    -------
    The average for W and for b, and the largest of the samples' `terms`, layer by layer; and the
    smallest of their margins.
    """
    found = []
    for k, (forward, G) in enumerate(zip(forwards, signals, strict=True)):
        if rule == "backprop":
            found.append(backprop_gradient(settings, state, forward.H, signal, G))
        else:
            own = proposals[k] if proposals is not None else ()
            found.append(local_gradient(settings, state, forward.H, signal, G, own))
    state.updates += 1
    W, b, terms = [], [], []
    for i in range(settings.L):
        W.append(np.mean([gradient.W[i] for gradient in found], axis=0))
        b.append(np.mean([gradient.b[i] for gradient in found], axis=0))
        terms.append(max(gradient.terms[i] for gradient in found))
        alpha = settings.alpha[i]
        adam(settings, state.W[i], state.mW[i], state.vW[i], W[i], alpha, state)
        adam(settings, state.b[i], state.mb[i], state.vb[i], b[i], alpha, state)
    return W, b, terms, min(gradient.margin for gradient in found)
