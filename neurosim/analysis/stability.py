"""Limits of the relaxation: the largest stable step, and the longest delay of packets.

Near a stationary point of the energy E the hidden units' distances x from it, in their standard
deviations, follow the var-scaled Hessian M = D^(1/2) (d2E / dh2) D^(1/2), D = diag(var): a
synchronous relaxation step (eq. 69) is x <- x - c M x.  See docs/analysis-learning.md.
Of a team with `hold` these are the limits of the steps at which all of its units decide, such as
the first one of each episode.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from neurosim.analysis.landscape import Network, mean_and_slope, network_of, slope
from neurosim.analysis.moments import done, of_checkpoints, recorded
from neurosim.errors import InputError
from neurosim.kernels import rng
from neurosim.kernels.activation import SIGMOID, SOFTMAX, SOFTPLUS, TANH
from neurosim.learners import MapProp, MonteCarlo
from neurosim.memory import Floats
from neurosim.record.reader import Run
from neurosim.spec import (
    TEAMS,
    Model,
    MonteCarloSpec,
    Spec,
    TeamSpec,
    TeamTiming,
    timing_of,
)
from neurosim.tasks import Environment, environment_seed

EPISODES, STEPS = 4, 20  # of a random policy, from whose observations a model is judged
STATES = 20  # of a run, for each of its moments
NEAR = 500  # rows of /steps before and after a moment that its observations are taken from


class Limits(NamedTuple):
    """How far the relaxation of a team is from its limits, at some states."""

    lambda_max: Floats  # (states,) largest eigenvalue of the var-scaled Hessian M
    step_size: float  # the model's c
    timing: TeamTiming | None  # None: synchronous
    softmax: bool  # its output

    @property
    def largest_step(self) -> float:
        """2 / lambda_max: from here on units that move together overshoot more and more."""
        return float(2.0 / self.lambda_max.max())

    @property
    def o(self) -> float:
        """Largest eigenvalue of M - 1, of what a unit feels by way of packets."""
        return float(self.lambda_max.max() - 1.0)

    @property
    def clock(self) -> str:
        """Of the units; "synchronous" where they have none."""
        return "synchronous" if self.timing is None else self.timing.clock

    @property
    def critical_delay(self) -> float:
        """Predicted, in periods; see the function of this name."""
        return critical_delay(self.o, self.step_size, self.clock)

    @property
    def delay(self) -> float | None:
        """The model's own mean delay, see `delay_of`; None of a synchronous team."""
        return None if self.timing is None else delay_of(self.timing)

    @property
    def step_too_large(self) -> bool:
        """Whether c is too large: Poisson clocks know no such limit."""
        return self.clock != "poisson" and self.step_size >= self.largest_step

    @property
    def delay_too_long(self) -> bool:
        """Whether the predicted critical delay is exceeded, though c is not too large."""
        if self.delay is None or self.step_too_large:
            return False
        if self.clock == "synchronous" and self.delay <= 0.5:
            return False  # every packet is in time for the next tick
        return self.delay > self.critical_delay

    @property
    def verdict(self) -> str:
        """In words, with the numbers compared."""
        c, step = f"step_size {self.step_size:.3g}", f"{self.largest_step:.3g}"
        delay, critical = f"delay {self.delay or 0.0:.3g}", f"{self.critical_delay:.3g}"
        if self.step_too_large:
            return f"unstable: {c} >= {step}"
        if self.delay_too_long:
            return f"{delay} is beyond the predicted critical delay {critical}"
        if self.delay is None:
            return f"stable: {c} < {step}"
        if self.critical_delay == np.inf:
            return f"stable at any delay: o {self.o:.3g} <= 1"
        return f"stable: {delay} is within the predicted critical delay {critical}"


class Moment(NamedTuple):
    """The limits at one moment of a run."""

    what: str  # "initial", "final", "checkpoint" or "window"
    episode: float  # episodes done; within one, by the part of its steps
    limits: Limits


def hessian(network: Network, H: list[Floats]) -> Floats:
    """Second derivatives of the energy for all hidden values, scaled by their variances.

        M = D^(1/2) (d2E / dh2) D^(1/2),    D = diag(var)

    With V[l+1] = W[l+1] D[l]^(1/2), the blocks of layers l and l + 1 are

        M[l, l]     = 1 + V[l+1]' K[l+1] V[l+1],     K = -dg / dp = f'^2 / var - (h - mu) f'' / var
        M[l + 1, l] = -D[l+1]^(-1/2) f'[l+1] V[l+1] = M[l, l + 1]'

    all others are 0; of a softmax output K = (diag(pi) - pi pi') / T^2.  Where a relu's potential
    is 0, f'' is taken as 0.

    Parameters
    ----------
    network : the weights.
    H : values H[0], ..., H[L], each (..., n(l)).

    Returns
    -------
    (..., n, n), n the number of hidden units, layer by layer.
    """
    ends = np.cumsum([0, *(h.shape[-1] for h in H[1:-1])])
    M = np.zeros((*H[-1].shape[:-1], ends[-1], ends[-1]))
    M[...] = np.eye(ends[-1])
    for k in range(1, len(network.W)):
        mine = slice(ends[k - 1], ends[k])
        V = network.W[k] * np.sqrt(network.var[k - 1])
        mu, f_slope = mean_and_slope(network, H, k)
        if network.activation[k] == SOFTMAX:
            pi = mu / network.T
            VK = (mu / network.T**2)[..., None, :] * V.T - (pi @ V)[..., :, None] * pi[..., None, :]
        else:
            bend = (H[k + 1] - mu) * _second_slope(network.activation[k], mu, f_slope)
            VK = V.T * ((f_slope**2 - bend) / network.var[k])[..., None, :]
        M[..., mine, mine] += VK @ V
        if k < len(network.W) - 1:
            above = slice(ends[k], ends[k + 1])
            up: Floats = -(f_slope / np.sqrt(network.var[k]))[..., :, None] * V
            M[..., above, mine] = up
            M[..., mine, above] = np.swapaxes(up, -1, -2)
    return M


def largest_eigenvalue(network: Network, H: list[Floats]) -> Floats:
    """lambda_max of `hessian`, (...,): a step c is stable there if and only if c < 2 / it.

    Takes what `hessian` takes.
    """
    return np.asarray(np.linalg.eigvalsh(hessian(network, H))[..., -1], np.float64)


def critical_delay(o: float, c: float, clock: str = "periodic") -> float:
    """The longest delay d of packets with which dx/dt = -c (x(t) + o x(t - D)) is stable.

    What a unit does comes back to it over two packets, one up and one down, and a wait for the
    other unit's tick, one period on average: D = 2 d + 1.  At the limit x = exp(i w t), and

        w = c sqrt(o^2 - 1),      w D = arccos(-1 / o)

    Of Poisson clocks the wait is exponential, a factor 1 / (1 + i w) beside the delay 2 d:

        (c^2 + w^2) (1 + w^2) = c^2 o^2,      2 w d = pi - arctan(w / c) - arctan(w)

    Parameters
    ----------
    o : largest eigenvalue of M - 1.
    c : relaxation step.
    clock : "poisson", or any other.

    Returns
    -------
    Periods; inf: any delay is stable (o <= 1); 0: none is.
    """
    if o <= 1.0:
        return np.inf
    if clock == "poisson":
        a = 0.5 * (1.0 + c * c)
        w = np.sqrt(np.sqrt(a * a + c * c * (o * o - 1.0)) - a)
        return float((np.pi - np.arctan(w / c) - np.arctan(w)) / (2.0 * w))
    D = np.arccos(-1.0 / o) / (c * np.sqrt(o * o - 1.0))
    return max(0.0, float(0.5 * (D - 1.0)))


def delay_of(timing: TeamTiming) -> float:
    """Mean delay of a packet, over the way up and down again, where it is longest; in periods."""
    errors = timing.delay if timing.error_delay is None else timing.error_delay
    own = timing.unit_delay + timing.packet_delay + timing.synapse_delay  # at most; half on average
    return float(np.max(0.5 * (np.add(timing.delay, errors) + own)))


def of_model(
    model: Model,
    environment: Environment,
    seed: int = 0,
    episodes: int = EPISODES,
    steps: int = STEPS,
) -> dict[str, Limits]:
    """The limits of a model's teams before they have learned anything.

    Weights are those of a run with the seed, observations those of the first steps of its first
    episodes under a random policy, or of its first samples; see `limits` for the states.

    Returns
    -------
    By name of the team; only those that relax, by MAP propagation with hidden layers.

    Raises
    ------
    InputError : the model takes its first weights from a run.
    """
    if model.spec.initial is not None:
        raise InputError(
            f"{model.name}: its first weights are those of a run of {model.spec.initial.model}. "
            "Give the run: neurosim stability RUN."
        )
    if isinstance(model.spec, MonteCarloSpec):
        networks = {"actor": network_of(MonteCarlo(model.spec, environment, seed).actor)}
        observations, _ = environment.samples.draw(rng.mixed_key(seed), 0, episodes * steps)
    else:
        networks = _fresh(model.spec, environment.n_observations, environment.n_actions, seed)
        observations = _observations(environment, seed, episodes, steps)
    return {
        name: limits(model.spec, name, networks[name], np.asarray(observations, float), seed)
        for name in relaxing(model.spec)
    }


def warnings(teams: Mapping[str, Limits]) -> list[str]:
    """A line for each team whose relaxation is beyond a limit: key, value, limit and remedy."""
    found = []
    for name, team in teams.items():
        softer = f"raise {name}.T" if team.softmax else f"raise {name}.var[-1]"
        if team.step_too_large:
            found.append(
                f"{name}.step_size = {team.step_size:.3g}: from {team.largest_step:.3g} on "
                f"(2 / lambda_max of its fresh weights) the {name}'s relaxation diverges; lower "
                f"it, or {softer}."
            )
        elif team.delay_too_long:
            found.append(
                f"timing.delay = {team.delay:.3g} of the {name}: from {team.critical_delay:.3g} "
                f"periods on (predicted for its fresh weights) the {name}'s relaxation diverges; "
                f"lower it or {name}.step_size, or {softer}."
            )
    return found


def of_run(run: Run, states: int = STATES) -> dict[str, list[Moment]]:
    """The limits of a run's teams in the course of it, by name of the team; as `of_model`.

    The moments are those of which weights are held: the beginning, the checkpoints in the run's
    folder, the beginning and end of each window, and the end of a run that is complete.
    Observations are recorded ones, evenly spaced among the rows of /steps within 500 of a moment.

    Raises
    ------
    InputError : it is a run of batches, or has no steps.
    """
    spec, total = run.spec, len(run.steps)
    if not total:
        raise InputError(f"{run.path} has no steps yet, whose observations are needed; wait.")
    n_in = run.steps["observation"].shape[1]
    found = {}
    for name in relaxing(spec):
        moments = []
        for what, step, held in (*recorded(run, name), *of_checkpoints(run, name)):
            first, last = max(0, step - NEAR), min(total, step + NEAR)
            rows = np.unique(np.linspace(first, last - 1, states).astype(int))
            near = run.steps["observation"][first:last][rows - first]
            n_out = held[f"b{len(getattr(spec, name).units) + 1}"].size
            network = _fresh(spec, n_in, n_out, run.seed)[name]
            layers = range(1, len(network.W) + 1)
            network = network._replace(
                W=[held[f"W{l}"] for l in layers], b=[held[f"b{l}"] for l in layers]
            )
            episode = float(done(run, [step])[0])
            moments.append(Moment(what, episode, limits(spec, name, network, near, run.seed)))
        found[name] = sorted(moments, key=lambda moment: moment.episode)
    return found


def limits(
    spec: Spec | MonteCarloSpec, name: str, network: Network, observations: Floats, seed: int
) -> Limits:
    """The limits of a team with some weights, at states that begin with observations (n, n_in).

    All units sample, the action included, then the hidden ones relax by N steps of `step_size`, or
    of 1 / lambda_max of the sampled state where that is less, so that they settle in any case.
    """
    team: TeamSpec = getattr(spec, name)
    H = sampled(network, observations, np.random.default_rng(seed))
    step = np.minimum(team.step_size, 1.0 / largest_eigenvalue(network, H))[:, None]
    for _ in range(team.N):
        for h, var, pull in zip(H[1:-1], network.var, slope(network, H), strict=False):
            h -= step * var * pull
    timing = None if spec.timing is None else timing_of(spec, name)
    softmax = bool(network.activation[-1] == SOFTMAX)
    return Limits(largest_eigenvalue(network, H), team.step_size, timing, softmax)


def relaxing(spec: Spec | MonteCarloSpec) -> list[str]:
    """Names of the teams that relax."""
    teams = {name: getattr(spec, name, None) for name in TEAMS}
    return [
        name
        for name, team in teams.items()
        if team is not None and team.rule == "map_prop" and team.N and team.units
    ]


def sampled(network: Network, observations: Floats, noise: np.random.Generator) -> list[Floats]:
    """Values H[0], ..., H[L] of a feed-forward pass, for each of observations (n, n_in)."""
    H = [observations]
    for k, var in enumerate(network.var):
        H.append(np.zeros((len(observations), var.size)))
        mu, _ = mean_and_slope(network, H, k)
        if network.activation[k] == SOFTMAX:
            below = np.cumsum(mu, axis=1)[:, :-1] < noise.random(len(mu))[:, None]
            H[-1][np.arange(len(mu)), below.sum(axis=1)] = 1.0
        else:
            H[-1] += mu + np.sqrt(var) * noise.normal(size=mu.shape)
    return H


def _second_slope(activation: Any, mu: Floats, f_slope: Floats) -> Floats:
    """f''(p), from the mean f(p) and the slope f'(p)."""
    if activation == SOFTPLUS:
        return f_slope * (1.0 - f_slope)
    if activation == SIGMOID:
        return f_slope * (1.0 - 2.0 * mu)
    if activation == TANH:
        return -2.0 * mu * f_slope
    return np.zeros_like(mu)


def _fresh(spec: Spec, n_in: int, n_out: int, seed: int) -> dict[str, Network]:
    """The teams of a run of episodes as they begin."""
    agent = MapProp(spec, n_in, n_out, seed)
    return {name: network_of(getattr(agent, name)) for name in TEAMS}


def _observations(environment: Environment, seed: int, episodes: int, steps: int) -> Floats:
    """What a random policy observes in the first steps of some episodes, (n, n_in)."""
    found, noise = [], np.random.default_rng(seed)
    for episode in range(1, episodes + 1):
        observation, ended = environment.reset(environment_seed(seed, episode)), False
        for _ in range(steps):
            if ended:
                break
            found.append(observation)
            action = environment.action(noise.normal(size=environment.n_actions))
            observation, _, terminated, truncated = environment.step(action)
            ended = terminated or truncated
    return np.array(found)
