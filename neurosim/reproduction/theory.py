"""The paper's theorems, shown on neurosim's own teams: Theorems 1 to 3 and Appendix B.6.

Theorem 1 and B.6 take a team so small that expectations over its hidden units can be integrated.
It is given one of four states, two inputs of -1 or 1, and answers how many of them are 1 by one of
three actions; the reward is 1 if that is right and -1 if not.  Theorems 2 and 3 take the teams of
the model cartpole as they are before they have learned.

Everything is a function of SEED.  P parameters are in the order of `memory.Team.w`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from neurosim.analysis.landscape import Network, backprop, layers_of, network_of
from neurosim.learners import MapProp
from neurosim.memory import Floats, Integers, Shared, Team
from neurosim.network import weights
from neurosim.plots import theory as plot
from neurosim.spec import TEAMS, Spec, load
from neurosim.studies.figures import save
from neurosim.studies.tables import markdown, write_csv, write_page
from neurosim.teams import SynchronousTeam

SEED = 0
STATES = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
REWARDS = np.array([[1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])
RELAXATIONS = np.array([0, 1, 2, 5, 10, 20, 50, 100, 200, 400])  # the values of N
COLUMNS = (
    *("demonstration", "team", "layer", "parameter"),
    *("N", "quantity", "value", "standard_error"),
)
QUARTILES = ("lower quartile", "median", "upper quartile")
_TINY = {"actor.units": [2, 2], "actor.var": [0.3, 0.5], "actor.T": 1.0, "actor.N": 0}
_NO_FLOOR = {"critic.gate_floor": 0.0}  # as in eq. (66)


class Integrals(NamedTuple):
    """Integrals over the hidden units of the tiny team, for each state s and action a."""

    probability: Floats  # (S, A) Pr(a | s)
    slope: Floats  # (S, A, P) d Pr(a | s) / dW
    local: Floats  # (S, A, P) Pr(a | s) E[grad_W log pi_l | s, a]
    square: Floats  # (S, A, P) Pr(a | s) E[(grad_W log pi_l)**2 | s, a]


class Unbiased(NamedTuple):
    """Theorem 1: two gradients of the expected reward, entry by entry."""

    parameter: list[str]  # (P,) such as W1[0,1]
    layer: Integers  # (P,) from 1
    exact: Floats  # (P,) E[G grad_W log Pr(A | S)], by quadrature
    integral: Floats  # (P,) E[G grad_W log pi_l], by quadrature
    estimate: Floats  # (P,) E[G grad_W log pi_l], mean of the samples
    standard_error: Floats  # (P,) of the estimate
    chi_square: float  # of estimate - exact under the covariance of the mean
    degrees: int  # of freedom: its rank

    @property
    def z(self) -> Floats:
        """(P,) deviations of the estimates in standard errors."""
        return (self.estimate - self.exact) / self.standard_error


class Gaps(NamedTuple):
    """Theorems 2 and 3: a team's own gradients against backprop's, after N relaxation steps."""

    N: Integers  # (K,)
    gap: Floats  # (K, cases, L) |own - backprop's| / |backprop's|, in a layer
    factor: Floats  # (K, cases, L) <backprop's, own> / <own, own>, times `scale` 1 where equal
    scale: float  # what own gradients are multiplied by: 1, or 2 var[L] of a critic


class Moments(NamedTuple):
    """Of an estimator of the gradient from one sample, layer by layer."""

    variance: Floats  # (L,) trace of the covariance
    variance_error: Floats  # (L,) its standard error; 0 by quadrature
    bias: Floats  # (L,) |mean - exact| / |exact|
    bias_error: Floats  # (L,) root mean square of that for an unbiased estimator; 0 by quadrature


def integrate(nodes: int = 10) -> Integrals:
    """Integrate over the four hidden units of the tiny team by Gauss-Hermite quadrature.

    With h[l] = mu[l](h[l-1]; W) + sqrt(var[l]) z[l], z standard normal (B.2),

        Pr(a | s) = E[pi_L(h[L-1](z; W, s), a)]    and    d Pr(a | s) / dW

    by the chain rule through h, without the local rule (B.5).  The local gradients are those of
    the team itself, put at each of the nodes**4 points.
    """
    team = _tiny()
    network = network_of(team.memory)
    noise, weight = _grid(nodes, 4)
    found = []
    for state in STATES:
        H, probabilities = _reparameterised(network, state, noise)
        for action, probability in zip(np.eye(3), probabilities.T, strict=True):
            values = [*H, np.broadcast_to(action, probabilities.shape)]
            mass = weight * probability  # of the points, and of the action there
            local = _gradients(team, np.concatenate(values, axis=1))
            slope = mass @ _flat(backprop(network, values))
            found.append((mass.sum(), slope, mass @ local, mass @ local**2))
    columns = [np.array(column) for column in zip(*found, strict=True)]
    return Integrals(*(column.reshape(*REWARDS.shape, *column.shape[1:]) for column in columns))


def theorem_1(integrals: Integrals, samples: int = 400_000) -> Unbiased:
    """E[G grad_W log Pr(A | S)] = E[G grad_W log pi_l(H[l-1], H[l])] for each layer (eq. 2).

    The left side is sum_a G(a) d Pr(a | s) / dW, averaged over the states.  The right side is
    integrated, and estimated from feed-forward passes of the team.
    """
    team = _tiny()
    values, G = _samples(team, samples)
    sampled = G[:, None] * _gradients(team, values)
    estimate, covariance = sampled.mean(axis=0), np.cov(sampled.T) / samples
    exact = _expected(integrals.slope)
    size, axes = np.linalg.eigh(covariance)
    free = size > 1e-10 * size[-1]  # the errors of a softmax's outcomes add up to 0
    return Unbiased(
        parameter=_names(team.memory),
        layer=np.searchsorted(team.memory.param[1:], np.arange(exact.size), side="right"),
        exact=exact,
        integral=_expected(integrals.local),
        estimate=estimate,
        standard_error=np.sqrt(np.diag(covariance)),
        chi_square=float((((estimate - exact) @ axes)[free] ** 2 / size[free]).sum()),
        degrees=int(free.sum()),
    )


def theorems_2_and_3(name: str, agents: int = 10, states: int = 20) -> Gaps:
    """Where the energy has no slope, local gradients are backprop's (eqs. 11 and 67).

    Backprop goes through the re-parameterised network, the noise held at the one that gives the
    values H of after the N steps.  Of an actor it is that of log pi_L.  Of a critic it is that of
    -(A* - mu[L])**2 and the team's own that of eq. (66), both over A* - mu[L].

    Parameters
    ----------
    name : "actor" or "critic" of cartpole, its gate_floor 0.
    agents, states : initial weights, and Gaussian observations for each; agents * states cases.
    """
    rng = np.random.default_rng(SEED)
    gaps, factors = [], []
    for seed in range(SEED, SEED + agents):
        agent = _agent(_NO_FLOOR, 4, 2, seed)
        memory: Team = getattr(agent, name)
        scale = 2.0 * float(memory.var[-1]) if memory.gated else 1.0
        for state in rng.normal(size=(states, 4)):
            SynchronousTeam(memory, agent.shared).act(state)
            values, own = _relaxation(memory, agent.shared)
            theirs = _flat(_backprop(network_of(memory), layers_of(memory, values)))
            rest = _by_layer(memory, (scale * own - theirs) ** 2)
            gaps.append(np.sqrt(rest / _by_layer(memory, theirs**2)))
            factors.append(_by_layer(memory, theirs * own) / _by_layer(memory, own**2))
    return Gaps(RELAXATIONS, np.stack(gaps, axis=1), np.stack(factors, axis=1), scale)


def variance_reduction(integrals: Integrals, samples: int = 200_000) -> dict[str, Moments]:
    """Var[G E[grad_W log pi_l | S, A]] <= Var[G grad_W log pi_l] (eq. 60, Appendix B.6).

    Returns, by name: the estimator with the posterior mean of the gradient, integrated; with the
    gradient after 20 relaxation steps, which takes the place of that mean (eq. 6), and with the
    gradient at the sampled values, both of the same samples; and the last one integrated.
    """
    team = _tiny()
    exact = _expected(integrals.slope)
    values, G = _samples(team, samples)
    relaxing = SynchronousTeam(team.memory._replace(N=20), team.shared)
    posterior = integrals.local**2 / integrals.probability[..., None]
    return {
        "posterior mean": _integrated(team.memory, posterior, integrals),
        "N = 20": _sampled(team.memory, G[:, None] * _gradients(relaxing, values), exact),
        "N = 0": _sampled(team.memory, G[:, None] * _gradients(team, values), exact),
        "N = 0, integrated": _integrated(team.memory, integrals.square, integrals),
    }


# --- the page ------------------------------------------------------------------------------------


class _Shown(NamedTuple):
    """All that was measured."""

    samples: int  # of the tiny team
    unbiased: Unbiased
    gaps: dict[str, Gaps]  # by team
    moments: dict[str, Moments]


def write(runs: Path, results: Path, quick: bool, command: str) -> list[Path]:
    """Measure everything; write theory.md, .csv, .png and .pdf.  No runs are needed."""
    nodes, samples, agents, states = (6, 20_000, 2, 5) if quick else (10, 400_000, 10, 20)
    integrals = integrate(nodes)
    shown = _Shown(
        samples,
        theorem_1(integrals, samples),
        {name: theorems_2_and_3(name, agents, states) for name in TEAMS},
        variance_reduction(integrals, samples),
    )
    parts = [f"{part}\n" for part in _page(shown)]
    return [
        write_page(results / "theory.md", "The theorems on neurosim's teams", parts, command),
        write_csv(results / "theory.csv", COLUMNS, list(_rows(shown))),
        *save(plot.draw(_figure(shown)), results / "theory"),
    ]


def _rows(shown: _Shown) -> Iterator[Sequence[Any]]:
    """Rows of the table, under COLUMNS."""
    u = shown.unbiased
    for k, (layer, name) in enumerate(zip(u.layer, u.parameter, strict=True)):
        head = "theorem 1", "tiny", layer, name, 0
        yield *head, "exact", u.exact[k], ""
        yield *head, "integral", u.integral[k], ""
        yield *head, "estimate", u.estimate[k], u.standard_error[k]
        yield *head, "z", u.z[k], ""
    for quantity in ("chi_square", "degrees"):
        yield "theorem 1", "tiny", "", "", 0, quantity, getattr(u, quantity), ""
    for number, (team, gaps) in zip((2, 3), shown.gaps.items(), strict=True):
        for quantity, values in (("gap", gaps.gap), ("factor", gaps.factor)):
            quartiles = np.quantile(values, [0.25, 0.5, 0.75], axis=1)
            for part, of_part in zip(QUARTILES, quartiles, strict=True):
                for (k, layer), value in np.ndenumerate(of_part):
                    place = f"theorem {number}", team, layer + 1, "", gaps.N[k]
                    yield *place, f"{quantity}, {part}", value, ""
    for name, m in shown.moments.items():
        N = {"N = 20": 20, "posterior mean": ""}.get(name, 0)
        for k in range(m.variance.size):
            of_layer = "B.6", "tiny", k + 1, "", N
            yield *of_layer, f"variance, {name}", m.variance[k], m.variance_error[k]
            yield *of_layer, f"relative bias, {name}", m.bias[k], m.bias_error[k]


def _page(shown: _Shown) -> Iterator[str]:
    """Paragraphs of the page."""
    u, m = shown.unbiased, shown.moments
    apart, largest = np.abs(u.integral - u.exact).max(), np.abs(u.exact).max()
    yield (
        "The tiny team (2-2-2-3, softplus) is given two inputs of -1 or 1 and answers how many "
        "are 1; the reward is 1 or -1. Expectations over its hidden units are integrated by "
        "Gauss-Hermite quadrature, or estimated from feed-forward passes. Teams are as they are "
        "before they have learned."
    )
    yield "## Theorem 1: every unit's own REINFORCE follows the gradient of the expected reward"
    yield (
        f"Integrated, E[G ∇ log Pr(A|S)] and E[G ∇ log π_l] differ by at most {apart:.1e}, where "
        f"the largest entry is {largest:.2g}. Estimated from {shown.samples} samples of the team, "
        f"the second is within {np.abs(u.z).max():.2f} standard errors of the first in each of "
        f"{u.z.size} entries; chi-square is {u.chi_square:.1f} for {u.degrees} degrees of freedom."
    )
    yield markdown(
        ["parameter", "E[G ∇ log Pr(A given S)]", "E[G ∇ log π_l]", "standard error", "z"],
        [
            [name, f"{exact:.5f}", f"{estimate:.5f}", f"{error:.5f}", f"{z:.2f}"]
            for name, exact, estimate, error, z in zip(
                u.parameter, u.exact, u.estimate, u.standard_error, u.z, strict=True
            )
        ],
    )
    for number, (team, gaps) in zip((2, 3), shown.gaps.items(), strict=True):
        yield from _page_of_gaps(number, team, gaps)
    yield "## Appendix B.6: conditioning on state and action lowers the variance"
    fewer = m["N = 0, integrated"].variance / m["posterior mean"].variance
    own = m["N = 0, integrated"].variance / m["N = 20"].variance
    yield (
        "The variance of G ∇ log π_l, the trace of its covariance, falls by factors of "
        f"{_listed(fewer, '.3g')} in layers 1, 2 and 3 where the gradient's mean given (S, A) "
        "takes its place, and that stays unbiased. After 20 relaxation steps, MAP propagation's "
        f"estimate of that mean, it falls by {_listed(own, '.3g')}, and the estimate is biased: "
        f"its mean is off by {_listed(100 * m['N = 20'].bias, '.0f')} % of the gradient "
        f"(an unbiased one would be by {_listed(100 * m['N = 20'].bias_error, '.1f')} % with so "
        "many samples)."
    )
    yield markdown(
        ["estimator", "layer", "variance", "standard error", "relative bias", "if unbiased"],
        [
            [name, str(layer), *(f"{x:.2e}" for x in of_layer)]
            for name, moments in m.items()
            for layer, of_layer in enumerate(zip(*moments, strict=True), start=1)
        ],
    )
    yield "![The theorems, measured](theory.png)"


def _page_of_gaps(number: int, team: str, gaps: Gaps) -> Iterator[str]:
    """Paragraphs about Theorem 2 or 3."""
    cases, medians = gaps.gap.shape[1], np.median(gaps.gap, axis=1)
    at_20 = medians[gaps.N.tolist().index(20)]
    factor_off = np.abs(gaps.factor[-1] / gaps.scale - 1.0).max()
    what = (
        "backprop's"
        if number == 2
        else "backprop's descent of (A* - µ)², up to the factor 2 var[L]"
    )
    yield f"## Theorem {number}: a settled {team}'s own gradients are backprop's"
    yield (
        f"Relative distance of cartpole's {team} from {what}, median of {cases} cases, in layers "
        f"1 and 2: {_listed(medians[0, :2], '.3g')} at N = 0, {_listed(at_20[:2], '.2g')} at "
        f"N = 20, {_listed(medians[-1, :2], '.1e')} at N = {gaps.N[-1]}, where it is at most "
        f"{gaps.gap[-1].max():.1e} in any case and layer. The factor between the two is then "
        f"{gaps.scale:g}, as the theorem says, to {factor_off:.1e} of it."
    )
    yield markdown(
        ["N", "layer 1", "layer 2", "output"],
        [
            [str(N), *(f"{x:.1e}" for x in of_layers)]
            for N, of_layers in zip(gaps.N, medians, strict=True)
        ],
    )


def _listed(numbers: Floats, form: str) -> str:
    """Such as "1, 2 and 3"."""
    *first, last = (format(x, form) for x in numbers)
    return f"{', '.join(first)} and {last}"


def _figure(shown: _Shown) -> plot.Shown:
    """What the figure takes of all that."""
    u = shown.unbiased
    of_layers = [u.layer == layer for layer in range(1, u.layer[-1] + 1)]
    names = {
        "N = 0": "sampled values, N = 0",
        "N = 20": "relaxed, N = 20",
        "posterior mean": "mean given (S, A)",
    }
    return plot.Shown(
        gradients=[(u.exact[k], u.estimate[k], u.standard_error[k]) for k in of_layers],
        variances={label: shown.moments[name][:2] for name, label in names.items()},
        N=RELAXATIONS,
        gaps={team: gaps.gap for team, gaps in shown.gaps.items()},
    )


# --- teams and their gradients -------------------------------------------------------------------


def _agent(changes: dict[str, Any], n_in: int, n_out: int, seed: int) -> MapProp:
    """That of cartpole with some changes, its traces the gradients of the last step alone."""
    spec = load("cartpole", {"actor.lambda": 0.0, "critic.lambda": 0.0} | changes).spec
    assert isinstance(spec, Spec)
    return MapProp(spec, n_in, n_out, seed)


def _tiny() -> SynchronousTeam:
    """A team 2-2-2-3 that does not relax, with the initial weights of SEED."""
    agent = _agent(_TINY, STATES.shape[1], REWARDS.shape[1], SEED)
    return SynchronousTeam(agent.actor, agent.shared)


def _samples(team: SynchronousTeam, n: int) -> tuple[Floats, Floats]:
    """Feed-forward passes from random states: values (n, U) of all units, and rewards G (n,)."""
    states = np.random.default_rng(SEED).integers(len(STATES), size=n)
    values = np.empty((n, team.memory.h.size))
    for row, state in zip(values, states, strict=True):
        team.act(STATES[state])
        row[:] = team.memory.h
    return values, REWARDS[states, values[:, -REWARDS.shape[1] :].argmax(axis=1)]


def _gradients(team: SynchronousTeam, values: Floats) -> Floats:
    """The team's own gradients (n, P), relaxed from values (n, U)."""
    found = np.empty((len(values), team.memory.z.size))
    for row, start in zip(found, values, strict=True):
        team.memory.h[:] = start
        team.relax()
        team.accumulate()
        row[:] = team.memory.z
    return found


def _relaxation(memory: Team, shared: Shared) -> tuple[Floats, Floats]:
    """Values (K, U) of a team, and its own gradients (K, P), after each of RELAXATIONS."""
    values, own = [], []
    for steps in np.diff(RELAXATIONS, prepend=0):
        team = SynchronousTeam(memory._replace(N=int(steps)), shared)
        team.relax()
        team.accumulate()
        values.append(memory.h.copy())
        own.append(memory.z.copy())
    return np.array(values), np.array(own)


def _backprop(network: Network, H: list[Floats]) -> list[Floats]:
    """Backprop's gradient, as `landscape.backprop`: of log pi_L; of a critic that of
    -(A* - mu[L])**2 over A* - mu[L], which is 2 d mu[L] / dW."""
    if not network.gated:
        return backprop(network, H)
    plain = network._replace(var=[*network.var[:-1], np.ones(1)])
    return [2.0 * gradient for gradient in backprop(plain, H)]


def _flat(gradient: list[Floats]) -> Floats:
    """Gradients (..., n(l), n(l-1) + 1) of the layers, in the order of `Team.w`: (..., P)."""
    parts = []
    for layer in gradient:
        lead = layer.shape[:-2]
        parts += [layer[..., :-1].reshape(*lead, -1), layer[..., -1]]
    return np.concatenate(parts, axis=-1)


def _by_layer(memory: Team, x: Floats) -> Floats:
    """Sums of x (..., P) over the parameters of each layer: (..., L)."""
    sums: Floats = np.add.reduceat(x, memory.param[1:], axis=-1)
    return sums


def _names(memory: Team) -> list[str]:
    """The parameters: W1[0,0], W1[0,1], ..., b1[0], ..."""
    names = []
    for layer in range(1, memory.size.size):
        w, b = weights(memory, memory.w, layer)
        names += [f"W{layer}[{i},{j}]" for i, j in np.ndindex(w.shape)]
        names += [f"b{layer}[{i}]" for i in range(b.size)]
    return names


# --- expectations --------------------------------------------------------------------------------


def _grid(nodes: int, n: int) -> tuple[Floats, Floats]:
    """Points (nodes**n, n) and weights (nodes**n,) of the mean over n standard normal numbers."""
    x, weight = np.polynomial.hermite_e.hermegauss(nodes)
    points = np.stack(np.meshgrid(*[x] * n), axis=-1).reshape(-1, n)
    products = np.stack(np.meshgrid(*[weight] * n), axis=-1).reshape(-1, n).prod(axis=1)
    return points, products / products.sum()


def _reparameterised(network: Network, state: Floats, noise: Floats) -> tuple[list[Floats], Floats]:
    """H[0], ..., H[L-1] of the tiny team, each (n, 2), from a state and the noise (n, 4) of its
    hidden units; then pi_L (n, 3) of its actions."""
    H = [np.broadcast_to(state, (len(noise), state.size))]
    for W, b, var, z in zip(network.W, network.b, network.var, np.split(noise, 2, 1), strict=False):
        H.append(np.logaddexp(0.0, H[-1] @ W.T + b) + np.sqrt(var) * z)
    e = np.exp((H[-1] @ network.W[-1].T + network.b[-1]) / network.T)
    return H, e / e.sum(axis=1, keepdims=True)


def _expected(integral: Floats) -> Floats:
    """E[G x] (P,) from integrals (S, A, P) of x, the states equally likely."""
    mean: Floats = np.tensordot(REWARDS, integral) / len(STATES)
    return mean


def _integrated(memory: Team, square: Floats, integrals: Integrals) -> Moments:
    """Moments of G x, where square (S, A, P) is Pr(a | s) x**2 and the mean of x that of the local
    gradient."""
    mean, exact = _expected(integrals.local), _expected(integrals.slope)
    second = np.tensordot(REWARDS**2, square) / len(STATES)
    bias = np.sqrt(_by_layer(memory, (mean - exact) ** 2) / _by_layer(memory, exact**2))
    none = np.zeros_like(bias)
    return Moments(_by_layer(memory, second - mean**2), none, bias, none)


def _sampled(memory: Team, x: Floats, exact: Floats) -> Moments:
    """Moments of the estimates x (n, P)."""
    squares = _by_layer(memory, (x - x.mean(axis=0)) ** 2)  # (n, L)
    n, variance = len(x), squares.mean(axis=0)
    size = _by_layer(memory, exact**2)
    return Moments(
        variance=variance,
        variance_error=squares.std(axis=0) / np.sqrt(n),
        bias=np.sqrt(_by_layer(memory, (x.mean(axis=0) - exact) ** 2) / size),
        bias_error=np.sqrt(variance / n / size),
    )
