"""The paper's algorithm again, in plain slow NumPy, as the reference of the test suite.

Every function is one line (or one block of lines) of Algorithm 2 and Appendix C, written for
reading and not for speed. Nothing of the package under test is imported here.

Two passages of the printed paper are corrected, as everywhere in this project: the softmax divides
by the temperature, and the learning rule keeps the slope that eq. 70 drops.

Symbols
-------
L                   number of layers above the input; layer ``l`` runs from 1 to L
H[l]                values of layer l; ``H[0]`` is the state S, ``H[L]`` the action A
p[l]                potential, ``W[l] H[l-1] + b[l]``
mu[l], slope[l]     mean ``f(p[l])`` and derivative ``f'(p[l])``
e[l], g[l]          error ``H[l] - mu[l]`` and error packet ``d log pi_l / d p[l]``
z[l]                eligibility trace of the layer's weights and biases

Lists of values (``H``) have L + 1 entries. Lists of anything that belongs to a layer's own units
(``W``, ``mu``, ``g`` ...) have L entries, so layer ``l`` sits at index ``l - 1``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
ArrayLike = npt.ArrayLike

ACTIVATIONS = ("softplus", "relu", "tanh", "sigmoid", "linear")
OUTPUTS = ("softmax", "gaussian")
TRUNCATIONS = ("bootstrap", "zero")
NOTHING: Mapping[int, Array] = {}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All constants of one team (Section 2, Appendices C and D).

    Parameters
    ----------
    sizes
        Units per layer, ``n(0)`` inputs first, then ``n(1) ... n(L)``.
    activations
        f of the hidden layers 1 ... L-1, each one of ``ACTIVATIONS``.
    output
        ``"softmax"``: one agent with n(L) outcomes. ``"gaussian"``: n(L) units with linear mean.
    var
        Variance per hidden layer, and of the output layer as well when it is Gaussian.
    alpha
        Step size of the weights per layer 1 ... L.
    T
        Temperature of the softmax; the potentials are divided by it.
    anneal_to
        Fraction of ``alpha`` reached after ``anneal_steps``, per layer. Empty means 1 everywhere.
    anneal_steps
        Agent iterations until ``anneal_to`` is reached.
    gamma, lambda_
        Discount rate and trace decay rate.
    N
        Relaxation steps per agent iteration; 0 is plain REINFORCE.
    step_size
        c in ``alpha_h = c * var``.
    proposal
        Standard deviation of a hill-climbing proposal, in standard deviations of the unit; 0 is
        relaxation down the gradient.
    gated
        Whether the gradient enters the trace times ``1 / (A - mu)``, the critic's rule (eq. 68).
    gate_floor
        ``|A - mu|`` counts as at least ``gate_floor`` standard deviations of the output unit.
    beta1, beta2, epsilon
        Adam's constants.
    bias_correction_until
        Adam's bias correction is applied at update t = 1, 2, ... only while t is below this.
    stale_first_mean
        Whether the first relaxation step keeps the means, slopes and probabilities of the
        feed-forward pass, although the feedback weights are already the updated ones.
    hold
        Steps between two decisions of a hidden layer's units, per layer. Empty means 1 everywhere.
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    output: str
    var: tuple[float, ...]
    alpha: tuple[float, ...]
    T: float = 1.0
    anneal_to: tuple[float, ...] = ()
    anneal_steps: float = math.inf
    gamma: float
    lambda_: float
    N: int = 20
    step_size: float = 0.5
    proposal: float = 0.0
    gated: bool = False
    gate_floor: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    bias_correction_until: float = math.inf
    stale_first_mean: bool = False
    hold: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Reject settings that no line of the algorithm could use."""
        if self.L < 1 or min(self.sizes) < 1:
            raise ValueError(f"sizes need an input and a layer, all at least 1: {self.sizes}")
        if self.output not in OUTPUTS:
            raise ValueError(f"output is {self.output!r}, not one of {OUTPUTS}")
        if any(name not in ACTIVATIONS for name in self.activations):
            raise ValueError(f"activations {self.activations} are not all among {ACTIVATIONS}")
        if len(self.activations) != self.L - 1:
            raise ValueError(f"{self.L - 1} hidden layers, but activations {self.activations}")
        if len(self.var) != (self.L if self.output == "gaussian" else self.L - 1):
            raise ValueError(f"var {self.var} does not fit sizes {self.sizes}, {self.output}")
        if len(self.alpha) != self.L or len(self.anneal_to) not in (0, self.L):
            raise ValueError(f"alpha and anneal_to need one entry per layer 1 ... {self.L}")
        if len(self.hold) not in (0, self.L - 1) or min(self.hold, default=1) < 1:
            raise ValueError(f"hold needs one number of steps per hidden layer: {self.hold}")
        if self.gated and (self.output != "gaussian" or self.sizes[-1] != 1):
            raise ValueError("only a team with a single Gaussian output can be gated")

    @property
    def L(self) -> int:
        """Number of layers above the input."""
        return len(self.sizes) - 1


@dataclass
class State:
    """What one team learns and remembers; layer l sits at index l - 1 of each list.

    W, b : weights (n(l), n(l-1)) and biases (n(l),)
    zW, zb : eligibility traces, shaped as W and b
    mW, mb, vW, vb : Adam's first and second moments, shaped as W and b
    updates : Adam updates made so far
    """

    W: list[Array]
    b: list[Array]
    zW: list[Array]
    zb: list[Array]
    mW: list[Array]
    mb: list[Array]
    vW: list[Array]
    vb: list[Array]
    updates: int = 0


@dataclass(frozen=True)
class Forward:
    """One feed-forward pass: values H[0..L]; p, mu and slope of layer l at index l - 1.

    For a softmax output ``mu[-1]`` holds the probabilities and ``slope[-1]`` ones, which nothing
    reads: the packet of that agent is ``(H[L] - mu[L]) / T``.
    """

    H: list[Array]
    p: list[Array]
    mu: list[Array]
    slope: list[Array]


def new_state(W: Sequence[ArrayLike], b: Sequence[ArrayLike]) -> State:
    """Build a state from weights and biases (copied), with zero traces and moments."""
    weights = [np.array(w, dtype=float) for w in W]
    biases = [np.array(x, dtype=float) for x in b]

    def zeros(like: list[Array]) -> list[Array]:
        return [np.zeros_like(x) for x in like]

    return State(
        W=weights,
        b=biases,
        zW=zeros(weights),
        zb=zeros(biases),
        mW=zeros(weights),
        mb=zeros(biases),
        vW=zeros(weights),
        vb=zeros(biases),
    )


# --- one layer -----------------------------------------------------------------------------------


def softplus(p: Array) -> Array:
    """``log(1 + exp(p))`` (Section 5)."""
    return np.logaddexp(0.0, p)


def sigmoid(p: Array) -> Array:
    """``1 / (1 + exp(-p))``, with an exponential that cannot overflow."""
    t = np.exp(-np.abs(p))
    return np.where(p >= 0.0, 1.0 / (1.0 + t), t / (1.0 + t))


def activate(name: str, p: Array) -> tuple[Array, Array]:
    """Mean f(p) and slope f'(p) of a layer's units; relu has slope 0 at p = 0."""
    if name == "softplus":
        return softplus(p), sigmoid(p)
    if name == "relu":
        return np.maximum(p, 0.0), (p > 0.0).astype(float)
    if name == "tanh":
        return np.tanh(p), 1.0 - np.tanh(p) ** 2
    if name == "sigmoid":
        return sigmoid(p), sigmoid(p) * (1.0 - sigmoid(p))
    if name == "linear":
        return p.copy(), np.ones_like(p)
    raise ValueError(f"unknown activation {name!r}")


def log_softmax(x: Array) -> Array:
    """``x - log(sum(exp(x)))``, shifted by the largest entry."""
    shifted: Array = x - np.max(x)
    result: Array = shifted - np.log(np.sum(np.exp(shifted)))
    return result


def potential(state: State, layer: int, below: Array) -> Array:
    """``p[l] = W[l] H[l-1] + b[l]`` (Section 2)."""
    return state.W[layer - 1] @ below + state.b[layer - 1]


def mean_and_slope(settings: Settings, layer: int, p: Array) -> tuple[Array, Array]:
    """``mu[l]`` and ``slope[l]`` of a layer with potentials p (Section 2)."""
    if layer < settings.L:
        return activate(settings.activations[layer - 1], p)
    if settings.output == "gaussian":
        return activate("linear", p)
    return np.exp(log_softmax(p / settings.T)), np.ones_like(p)


def means_and_slopes(
    settings: Settings, state: State, H: Sequence[Array]
) -> tuple[list[Array], list[Array]]:
    """``mu[l]`` and ``slope[l]`` of every layer, given the values of the layer below."""
    pairs = [
        mean_and_slope(settings, layer, potential(state, layer, H[layer - 1]))
        for layer in range(1, settings.L + 1)
    ]
    return [mu for mu, _ in pairs], [slope for _, slope in pairs]


def error_packets(
    settings: Settings, H: Sequence[Array], mu: Sequence[Array], slope: Sequence[Array]
) -> list[Array]:
    """``g[l] = d log pi_l / d p[l]`` of every layer, what it reports to the layer below.

    Gaussian: ``(H - mu) * slope / var`` with the layer's own var. Softmax: ``(onehot - mu) / T``.
    """
    g = []
    for layer in range(1, settings.L + 1):
        e = H[layer] - mu[layer - 1]
        if layer == settings.L and settings.output == "softmax":
            g.append(e / settings.T)
        else:
            g.append(e * slope[layer - 1] / settings.var[layer - 1])
    return g


def held_values(settings: Settings, t: int, H: Sequence[Array]) -> dict[int, Array]:
    """Values of the layers that do not decide at step t of an episode, counted from 0.

    A layer with ``hold = k`` decides at the steps with ``t mod k = 0``; at the others its values
    are those in H, which are the ones after the relaxation of the step before. What the team does
    then is that of the joint density of the layers that decide.
    """
    return {layer: H[layer].copy() for layer, k in enumerate(settings.hold, start=1) if t % k != 0}


# --- Algorithm 2 ---------------------------------------------------------------------------------


def feed_forward(
    settings: Settings,
    state: State,
    S: ArrayLike,
    noise: Sequence[ArrayLike | float],
    held: Mapping[int, Array] = NOTHING,
) -> Forward:
    """Sample every layer from the one below (Algorithm 2, lines 9-11).

    Parameters
    ----------
    S
        State, (n(0),).
    noise
        One entry per layer: standard normals (n(l),) for a Gaussian layer. For a softmax output the
        last entry is one uniform number u; the outcome is the first k whose cumulative probability
        exceeds u (the last k, should rounding keep the sum of all at or below u).
    held
        Values of the layers that do not decide, by layer; their noise is not used.
    """
    H = [np.array(S, dtype=float)]
    p, mu, slope = [], [], []
    for layer in range(1, settings.L + 1):
        p.append(potential(state, layer, H[layer - 1]))
        mean, derivative = mean_and_slope(settings, layer, p[-1])
        mu.append(mean)
        slope.append(derivative)
        if layer in held:
            H.append(held[layer].copy())
        elif layer == settings.L and settings.output == "softmax":
            H.append(draw_outcome(mean, np.asarray(noise[layer - 1], dtype=float).item()))
        else:
            normals = np.asarray(noise[layer - 1], dtype=float).reshape(mean.shape)
            H.append(mean + math.sqrt(settings.var[layer - 1]) * normals)
    return Forward(H=H, p=p, mu=mu, slope=slope)


def draw_outcome(probabilities: Array, u: float) -> Array:
    """One-hot vector of the first k with ``u < probabilities[0] + ... + probabilities[k]``."""
    onehot = np.zeros_like(probabilities)
    cumulative = 0.0
    for k, probability in enumerate(probabilities):
        cumulative += probability
        if u < cumulative:
            onehot[k] = 1.0
            return onehot
    onehot[-1] = 1.0
    return onehot


def annealed_alpha(settings: Settings, layer: int, steps: float) -> float:
    """Step size of a layer after ``steps`` agent iterations (linear annealing, Appendix D)."""
    alpha = settings.alpha[layer - 1]
    if not settings.anneal_to:
        return alpha
    progress = min(steps / settings.anneal_steps, 1.0)
    return alpha * (1.0 - (1.0 - settings.anneal_to[layer - 1]) * progress)


def reinforce(settings: Settings, state: State, td_error: float, steps: float) -> None:
    """Algorithm 2, line 14, through Adam (Appendix D): move W and b up ``td_error * z``, in place.

    ``steps`` is the number of agent iterations made so far in the run; only annealing reads it.
    """
    state.updates += 1
    for layer in range(1, settings.L + 1):
        i = layer - 1
        alpha = annealed_alpha(settings, layer, steps)
        adam(settings, state.W[i], state.mW[i], state.vW[i], td_error * state.zW[i], alpha, state)
        adam(settings, state.b[i], state.mb[i], state.vb[i], td_error * state.zb[i], alpha, state)


def adam(
    settings: Settings, w: Array, m: Array, v: Array, gradient: Array, alpha: float, state: State
) -> None:
    """One Adam step of gradient ascent on one array, update number ``t = state.updates``.

    ``m = beta1 m + (1 - beta1) G``, ``v = beta2 v + (1 - beta2) G^2``,
    ``w += alpha m_hat / (sqrt(v_hat) + epsilon)`` with ``m_hat = m / (1 - beta1^t)`` and
    ``v_hat = v / (1 - beta2^t)`` while the bias correction is applied, else m and v themselves.
    """
    t = state.updates
    m[...] = settings.beta1 * m + (1.0 - settings.beta1) * gradient
    v[...] = settings.beta2 * v + (1.0 - settings.beta2) * gradient**2
    m_hat, v_hat = m, v
    if t < settings.bias_correction_until:
        m_hat = m / (1.0 - settings.beta1**t)
        v_hat = v / (1.0 - settings.beta2**t)
    w += alpha * m_hat / (np.sqrt(v_hat) + settings.epsilon)


def relax(
    settings: Settings,
    state: State,
    H: Sequence[Array],
    forward: Forward | None = None,
    holding: Collection[int] = (),
) -> list[Array]:
    """Move the hidden layers down the energy, N times (eq. 8, Algorithm 2, lines 16-18).

    ``H[l] += alpha_h * (-(H[l] - mu[l]) / var[l] + W[l+1]^T g[l+1])``, ``alpha_h = c * var[l]``,
    every layer from the values before the step. State and action stay.

    Parameters
    ----------
    H
        Values of all layers; not changed.
    forward
        The feed-forward pass, read only with ``stale_first_mean``: its means and slopes, computed
        with the weights before the update, then stand in for those of the first step.
    holding
        Layers that do not decide: their density is not in the energy, and they stay.

    Returns
    -------
    list of arrays
        The relaxed values of all layers.
    """
    if settings.stale_first_mean and forward is None:
        raise ValueError("stale_first_mean needs the feed-forward pass")
    if settings.proposal != 0.0:
        raise ValueError("a team that proposes climbs")
    H = [h.copy() for h in H]
    for n in range(settings.N):
        if n == 0 and settings.stale_first_mean and forward is not None:
            mu, slope = forward.mu, forward.slope
        else:
            mu, slope = means_and_slopes(settings, state, H)
        g = error_packets(settings, H, mu, slope)
        new_H = [h.copy() for h in H]
        for layer in range(1, settings.L):
            if layer in holding:
                continue
            var = settings.var[layer - 1]
            alpha_h = settings.step_size * var
            own = -(H[layer] - mu[layer - 1]) / var
            # Index of layer l + 1 in the lists of layers is l.
            from_above = state.W[layer].T @ g[layer]
            if layer + 1 in holding:
                from_above = np.zeros_like(own)
            new_H[layer] = H[layer] + alpha_h * (own + from_above)
        H = new_H
    return H


@dataclass(frozen=True)
class Climb:
    """What hill climbing did: values of all layers after it, and how each step was decided.

    energies[n] : E before step n, last after all steps
    accepted[n] : whether the units kept what they proposed in step n
    margin : smallest |E' - E| of any step, over the terms that were added up to E; inf without
        hidden units, where there is nothing to decide
    """

    H: list[Array]
    energies: list[float]
    accepted: list[bool]
    margin: float


def climb(
    settings: Settings, state: State, H: Sequence[Array], proposals: Sequence[Sequence[ArrayLike]]
) -> Climb:
    """Move the hidden layers down the energy without feedback (Appendix F), N times.

    ``H'[l] = H[l] + proposal sqrt(var[l]) xi[l]`` in every hidden layer; if E(H') < E(H) all units
    keep H', otherwise none does. State and action stay.

    Parameters
    ----------
    H
        Values of all layers; not changed.
    proposals
        One entry per step: xi of each hidden layer, standard normals (n(l),).
    """
    H = [h.copy() for h in H]
    energies, accepted, margin = [energy(settings, state, H)], [], math.inf
    for n in range(settings.N):
        proposed = [h.copy() for h in H]
        for layer in range(1, settings.L):
            deviation = settings.proposal * math.sqrt(settings.var[layer - 1])
            xi = np.asarray(proposals[n][layer - 1], dtype=float)
            proposed[layer] = H[layer] + deviation * xi
        new, held = energy(settings, state, proposed), energies[-1]
        accepted.append(new < held)
        if settings.L > 1:
            terms = sum(abs(x) for x in log_density(settings, state, proposed))
            margin = min(margin, abs(new - held) / terms)
        if accepted[-1]:
            H = proposed
        energies.append(new if accepted[-1] else held)
    return Climb(H, energies, accepted, margin)


def gradients(
    settings: Settings, state: State, H: Sequence[Array], holding: Collection[int] = ()
) -> tuple[list[Array], list[Array]]:
    """Gradient of ``log pi_l(H[l-1], H[l])`` for W[l] and b[l] of every layer (eqs. 3 and 9).

    ``outer(g[l], H[l-1])`` for the weights, ``g[l]`` for the biases. No gate. Layers that hold
    their values have decided nothing that has a probability: 0.
    """
    mu, slope = means_and_slopes(settings, state, H)
    g = error_packets(settings, H, mu, slope)
    for layer in holding:
        g[layer - 1] = np.zeros_like(g[layer - 1])
    dW = [np.outer(g[layer - 1], H[layer - 1]) for layer in range(1, settings.L + 1)]
    return dW, g


def gate(settings: Settings, state: State, H: Sequence[Array]) -> float:
    """``1 / (A - mu)`` of the critic's output unit (Appendix C), kept away from division by zero.

    ``|A - mu|`` counts as at least ``max(gate_floor * sqrt(var[L]), tiny)``, tiny being the
    smallest normal double. The sign is kept; that of zero is +1.
    """
    mu, _ = means_and_slopes(settings, state, H)
    difference = float(H[-1][0] - mu[-1][0])
    floor = max(settings.gate_floor * math.sqrt(settings.var[-1]), float(np.finfo(float).tiny))
    sign = -1.0 if difference < 0.0 else 1.0
    return 1.0 / (sign * max(abs(difference), floor))


def accumulate(
    settings: Settings, state: State, H: Sequence[Array], holding: Collection[int] = ()
) -> None:
    """``z = gamma lambda z + grad log pi_l`` (Algorithm 2, line 19), in place.

    In a gated team the gradient of every layer is multiplied by the same gate (Appendix C).
    """
    dW, db = gradients(settings, state, H, holding)
    factor = gate(settings, state, H) if settings.gated else 1.0
    decay = settings.gamma * settings.lambda_
    for i in range(settings.L):
        state.zW[i][...] = decay * state.zW[i] + factor * dW[i]
        state.zb[i][...] = decay * state.zb[i] + factor * db[i]


def clear_traces(state: State) -> None:
    """Set all traces to zero (Algorithm 2, line 7), in place."""
    for z in (*state.zW, *state.zb):
        z[...] = 0.0


def log_density(settings: Settings, state: State, H: Sequence[Array]) -> list[float]:
    """``log pi_l(H[l-1], H[l])`` of every layer, with all normalising constants (Section 2)."""
    densities = []
    for layer in range(1, settings.L + 1):
        p = potential(state, layer, H[layer - 1])
        if layer == settings.L and settings.output == "softmax":
            densities.append(float(np.sum(H[layer] * log_softmax(p / settings.T))))
        else:
            mu, _ = mean_and_slope(settings, layer, p)
            var = settings.var[layer - 1]
            exponent = -((H[layer] - mu) ** 2) / (2.0 * var)
            densities.append(float(np.sum(exponent - 0.5 * math.log(2.0 * math.pi * var))))
    return densities


def energy(
    settings: Settings, state: State, H: Sequence[Array], holding: Collection[int] = ()
) -> float:
    """``E = -sum_l log pi_l(H[l-1], H[l])``, the negative log of ``Pr(H, A | S)``.

    The sum is over the layers that decide, which are all that are not in ``holding``.

    The paper conditions on A as well; the difference, ``log Pr(A | S)``, does not depend on H.
    """
    densities = enumerate(log_density(settings, state, H), start=1)
    return -sum(density for layer, density in densities if layer not in holding)


# --- actor and critic together -------------------------------------------------------------------


class Agent:
    """Actor and critic in an episodic task (Algorithm 2 and Appendix C).

    An agent iteration is: feed forward, td_error, update, relax, accumulate; for both teams.

    Parameters
    ----------
    actor, critic
        Settings of the two teams. The critic has one Gaussian output unit.
    actor_state, critic_state
        Their states, changed in place.
    reward_bound
        Rewards are clipped to plus and minus this.
    truncation
        td_error of a last transition that only the step limit ended: ``"bootstrap"`` is
        ``R + gamma mu(S') - mu(S)``, ``"zero"`` is 0.
    terminal_iteration
        Whether a whole agent iteration runs on the last state of an episode.
    update_at_reset
        Whether an episode's first iteration makes an update with td_error 0.

    Attributes
    ----------
    value
        Mean of the critic's output in the latest agent iteration's feed-forward pass.
    td_error
        Latest td_error; 0 in an episode's first iteration.
    steps
        Agent iterations made so far, over the whole run.
    t
        Step of the episode that the latest feed-forward pass belongs to, from 0.
    actor_held, critic_held
        Values that layers held in the latest feed-forward pass, by layer.
    actor_H_sampled, critic_H_sampled
        Values of all layers as sampled in the latest iteration.
    actor_H, critic_H
        Those values after the relaxation.
    actor_proposals, critic_proposals
        What hidden units propose in the next iteration, as ``climb`` takes it; set before it where
        a team climbs.
    margin
        Smallest margin of all decisions so far, see ``Climb``.
    """

    def __init__(
        self,
        actor: Settings,
        critic: Settings,
        actor_state: State,
        critic_state: State,
        *,
        reward_bound: float = math.inf,
        truncation: str = "bootstrap",
        terminal_iteration: bool = False,
        update_at_reset: bool = False,
    ) -> None:
        if truncation not in TRUNCATIONS:
            raise ValueError(f"truncation is {truncation!r}, not one of {TRUNCATIONS}")
        if critic.output != "gaussian" or critic.sizes[-1] != 1:
            raise ValueError("the critic needs a single Gaussian output")
        if actor.gamma != critic.gamma:
            raise ValueError("actor and critic need the same gamma")
        self.actor, self.critic = actor, critic
        self.actor_state, self.critic_state = actor_state, critic_state
        self.reward_bound = reward_bound
        self.truncation = truncation
        self.terminal_iteration = terminal_iteration
        self.update_at_reset = update_at_reset
        self.value = 0.0
        self.td_error = 0.0
        self.steps = 0
        self.t = 0
        self.actor_held: Mapping[int, Array] = {}
        self.critic_held: Mapping[int, Array] = {}
        self.actor_H_sampled: list[Array] = []
        self.actor_H: list[Array] = []
        self.critic_H_sampled: list[Array] = []
        self.critic_H: list[Array] = []
        self.actor_proposals: Sequence[Sequence[ArrayLike]] = []
        self.critic_proposals: Sequence[Sequence[ArrayLike]] = []
        self.margin = math.inf

    def step(
        self,
        S: ArrayLike,
        noise_actor: Sequence[ArrayLike | float],
        noise_critic: Sequence[ArrayLike | float],
        reward: float | None = None,
    ) -> Array:
        """One pass through the loop of Algorithm 2 (lines 9-19); the action is returned.

        ``reward`` is what the previous action earned; None marks the first step of an episode,
        before which the traces are zeroed (line 7).
        """
        self.t = 0 if reward is None else self.t + 1
        if reward is None:
            clear_traces(self.actor_state)
            clear_traces(self.critic_state)
            update = self.update_at_reset

            def td_error(next_value: float) -> float:
                return 0.0
        else:
            update = True
            clipped = self._clip(reward)

            def td_error(next_value: float) -> float:
                return clipped + self.critic.gamma * next_value - self.value

        return self._iterate(S, noise_actor, noise_critic, td_error, update)

    def end(
        self,
        S_next: ArrayLike,
        reward: float,
        terminated: bool,
        noise_actor: Sequence[ArrayLike | float] | None = None,
        noise_critic: Sequence[ArrayLike | float] | None = None,
    ) -> None:
        """Learn from the last transition of an episode.

        Terminated: ``td_error = R - mu(S)``. Only truncated: see ``truncation``. The update is made
        with the traces as they stand, also when td_error is 0, for Adam's momentum moves. A pass on
        ``S_next`` is one of the step that would come next: layers that hold then do. Without
        ``terminal_iteration`` it is no agent iteration: ``steps``, ``value`` and the values of the
        layers stay. Noise is read where a feed-forward pass on ``S_next`` is made.
        """
        clipped = self._clip(reward)
        self.t += 1

        def td_error(next_value: float) -> float:
            if terminated:
                return clipped - self.value
            if self.truncation == "zero":
                return 0.0
            return clipped + self.critic.gamma * next_value - self.value

        if self.terminal_iteration:
            if noise_actor is None or noise_critic is None:
                raise ValueError("terminal_iteration needs noise for both teams")
            self._iterate(S_next, noise_actor, noise_critic, td_error, update=True)
            return
        next_value = math.nan
        if not terminated and self.truncation == "bootstrap":
            if noise_critic is None:
                raise ValueError("bootstrapping from S_next needs noise for the critic")
            self._hold()
            forward = feed_forward(
                self.critic, self.critic_state, S_next, noise_critic, self.critic_held
            )
            next_value = float(forward.mu[-1][0])
        self.td_error = td_error(next_value)
        self._update()

    def _hold(self) -> None:
        """Note what layers hold at step t, from the values that the step before ended with."""
        self.actor_held = held_values(self.actor, self.t, self.actor_H)
        self.critic_held = held_values(self.critic, self.t, self.critic_H)

    def _clip(self, reward: float) -> float:
        return max(-self.reward_bound, min(self.reward_bound, reward))

    def _update(self) -> None:
        """Both teams take line 14 with the same td_error."""
        reinforce(self.actor, self.actor_state, self.td_error, self.steps)
        reinforce(self.critic, self.critic_state, self.td_error, self.steps)

    def _relax(
        self,
        settings: Settings,
        state: State,
        forward: Forward,
        proposals: Sequence[Sequence[ArrayLike]],
        holding: Collection[int],
    ) -> list[Array]:
        """Lines 16-18, down the gradient or by hill climbing."""
        if settings.proposal == 0.0:
            return relax(settings, state, forward.H, forward, holding)
        climbed = climb(settings, state, forward.H, proposals)
        self.margin = min(self.margin, climbed.margin)
        return climbed.H

    def _iterate(
        self,
        S: ArrayLike,
        noise_actor: Sequence[ArrayLike | float],
        noise_critic: Sequence[ArrayLike | float],
        td_error: Callable[[float], float],
        update: bool,
    ) -> Array:
        """One agent iteration; ``td_error`` turns mu(S') into the error of the transition."""
        # 1. Feed forward, with the weights before the update.
        self._hold()
        held_actor, held_critic = self.actor_held, self.critic_held
        forward_actor = feed_forward(self.actor, self.actor_state, S, noise_actor, held_actor)
        forward_critic = feed_forward(self.critic, self.critic_state, S, noise_critic, held_critic)
        next_value = float(forward_critic.mu[-1][0])
        # 2. Reinforce; the critic reports td_error to both teams.
        self.td_error = td_error(next_value)
        self.value = next_value
        if update:
            self._update()
        # 3. Relax, with the weights after the update.
        self.actor_H_sampled = forward_actor.H
        self.critic_H_sampled = forward_critic.H
        self.actor_H = self._relax(
            self.actor, self.actor_state, forward_actor, self.actor_proposals, held_actor
        )
        self.critic_H = self._relax(
            self.critic, self.critic_state, forward_critic, self.critic_proposals, held_critic
        )
        # 4. Accumulate.
        accumulate(self.actor, self.actor_state, self.actor_H, held_actor)
        accumulate(self.critic, self.critic_state, self.critic_H, held_critic)
        self.steps += 1
        return self.actor_H_sampled[-1]
