"""The energy of a team's values, how far they are from settled, and backprop's gradient there.

A network's values are a list H[0], ..., H[L]: the state, the hidden layers and the action, each
(..., n(l)); the leading dimensions, such as the ticks of a relaxation, are the same for all.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurosim.kernels.activation import SOFTMAX, activate
from neurosim.memory import Floats, Integers, Team
from neurosim.network import weights


class Network(NamedTuple):
    """A team's weights at one moment, and what its densities pi_l need besides (Section 2).

    Of each list, layer l stands at index l - 1.
    """

    W: list[Floats]  # (n(l), n(l-1))
    b: list[Floats]  # (n(l),)
    var: list[Floats]  # (n(l),) variances; 1 for the outcomes of a softmax
    activation: Integers  # (L,) codes of kernels.activation
    T: float  # temperature of a softmax output
    gated: bool  # a critic: its gradients are multiplied by 1 / (A - mu)
    held: NDArray[np.bool_]  # (L,) layers that hold their values, and have no density, at this step


def network_of(team: Team) -> Network:
    """A copy of a team's weights as they are now."""
    pairs = [weights(team, team.w.copy(), layer) for layer in range(1, team.size.size)]
    return Network(
        W=[w for w, _ in pairs],
        b=[b for _, b in pairs],
        var=layers_of(team, team.var)[1:],
        activation=team.activation[1:],
        T=team.T,
        gated=team.gated,
        held=team.held[1:] > 0,
    )


def layers_of(team: Team, units: Floats) -> list[Floats]:
    """The `units` (..., U) of a team, state included, as a list H[0], ..., H[L] of its layers."""
    return np.split(units, team.unit[1:], axis=-1)


def energy(network: Network, H: list[Floats]) -> Floats:
    """Energy E(h; s, a) = -sum_l log pi_l(h[l-1], h[l]) (Section 2), over layers that decide.

    That is -log Pr(H = h, A = a | S = s), every normalising constant included.  The paper's energy
    is -log Pr(H = h | S = s, A = a), which is less by -log Pr(A = a | S = s): a constant, as far as
    h is concerned.  Of continuous units these are densities, so that E may be negative.

    Parameters
    ----------
    network : the weights.
    H : values H[0], ..., H[L], each (..., n(l)); a softmax output one-hot.

    Returns
    -------
    (...,), in nats.
    """
    total = np.zeros(H[-1].shape[:-1])
    for k, var in enumerate(network.var):
        if network.held[k]:
            continue
        if network.activation[k] == SOFTMAX:
            x = _potential(network, H, k) / network.T
            x -= x.max(axis=-1, keepdims=True)
            log_pi = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
            total -= (H[k + 1] * log_pi).sum(axis=-1)
        else:
            mu, _ = mean_and_slope(network, H, k)
            squares = (H[k + 1] - mu) ** 2 / var + np.log(2.0 * np.pi * var)
            total += 0.5 * squares.sum(axis=-1)
    return total


def slope(network: Network, H: list[Floats]) -> list[Floats]:
    """Gradient of the energy, dE / dh[l] = (h[l] - mu[l]) / var[l] - W[l+1]' g[l+1] (eq. 8).

    Takes what `energy` takes.  Returns one array (..., n(l)) for each hidden layer l = 1, ..., L-1;
    the relaxation moves h against it, by c var.  Layers that hold their values do not move, and
    have 0.
    """
    packets = _packets(network, H)
    gradient = []
    for k in range(len(network.W) - 1):
        mu, _ = mean_and_slope(network, H, k)
        pull = (H[k + 1] - mu) / network.var[k] - packets[k + 1] @ network.W[k + 1]
        gradient.append(np.zeros_like(pull) if network.held[k] else pull)
    return gradient


def residual(network: Network, H: list[Floats]) -> Floats:
    """How far hidden units are from settled: the root mean square of sqrt(var) dE / dh over those
    that decide.

    A unit with the pull dE / dh would move by var dE / dh in a full step (c = 1): the residual is
    that move in standard deviations of the unit.  It is 0 at the stationary points of E, to which
    Theorems 2 and 3 refer, and nowhere else.

    Takes what `energy` takes.  Returns (...,), a pure number; nan if no hidden unit decides.
    """
    layers = zip(network.held, network.var, slope(network, H), strict=False)
    pulls = [np.sqrt(var) * pull for held, var, pull in layers if not held]
    if not pulls:
        return np.full(H[-1].shape[:-1], np.nan)
    root: Floats = np.sqrt((np.concatenate(pulls, axis=-1) ** 2).mean(axis=-1))
    return root


def backprop(network: Network, H: list[Floats]) -> list[Floats]:
    """Backprop's gradient through the re-parameterised network (Theorems 2 and 3).

    Hidden layers are written as h[l] = mu[l](h[l-1]; W) + sqrt(var[l]) z[l], with the noise z held
    at the one that puts them at the values H, z = h^-1(H; W, s).  Then of an actor

        d log pi_L(h[L-1](z; W, s), a; W[L]) / d W[l]

    and of a critic d mu[L] / d W[l] / var[L], which is the descent of the squared error
    (A* - mu[L])**2 over 2 var[L] (A* - mu[L]): what eq. (68) has beside the td_error.

    Values that are held at this step do not depend on the weights, so nothing comes down from them.

    Takes what `energy` takes.

    Returns
    -------
    For each layer (..., n(l), n(l-1) + 1): of the weights, then in the last column of the biases.
    """
    g = 1.0 / np.broadcast_to(network.var[-1], H[-1].shape)
    if not network.gated:
        g = _packets(network, H)[-1]
    gradients: list[Floats] = []
    for k in reversed(range(len(network.W))):
        if network.held[k]:
            g = np.zeros_like(g)
        inputs = np.concatenate([H[k], np.ones((*H[k].shape[:-1], 1))], axis=-1)
        gradients.insert(0, g[..., :, None] * inputs[..., None, :])
        if k > 0:
            g = mean_and_slope(network, H, k - 1)[1] * (g @ network.W[k])
    return gradients


def _potential(network: Network, H: list[Floats], k: int) -> Floats:
    """p[k + 1] = W[k + 1] h[k] + b[k + 1]."""
    p: Floats = H[k] @ network.W[k].T + network.b[k]
    return p


def mean_and_slope(network: Network, H: list[Floats], k: int) -> tuple[Floats, Floats]:
    """Mean f(p) and slope f'(p) of layer k + 1; of a softmax the probabilities, and slopes 1.

    Takes what `energy` takes.  Returns two arrays (..., n(k+1)).
    """
    p = _potential(network, H, k)
    if network.activation[k] == SOFTMAX:
        e = np.exp((p - p.max(axis=-1, keepdims=True)) / network.T)
        return e / e.sum(axis=-1, keepdims=True), np.ones_like(p)
    mu, f_slope = np.empty_like(p), np.empty_like(p)
    activate(network.activation[k], p.reshape(-1), mu.reshape(-1), f_slope.reshape(-1))
    return mu, f_slope


def _packets(network: Network, H: list[Floats]) -> list[Floats]:
    """Error packets g[l] = d log pi_l / d p[l] of all layers, each (..., n(l)); 0 if it holds."""
    packets = []
    for k, var in enumerate(network.var):
        mu, f_slope = mean_and_slope(network, H, k)
        scale = network.T if network.activation[k] == SOFTMAX else var
        g = (H[k + 1] - mu) * f_slope / scale
        packets.append(np.zeros_like(g) if network.held[k] else g)
    return packets
