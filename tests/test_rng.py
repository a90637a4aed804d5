"""The random numbers against published test vectors, and against the distributions they claim.

Every draw is a function of its counter, so nothing here can fail by chance on one machine and pass
on another. The thresholds are those of a fair test of true random numbers that errs once in a
million times, shared among the comparisons of a test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from bridge import small_spec
from oracle import Array

from neurosim.kernels import rng
from neurosim.learners import MapProp
from neurosim.network import weights
from neurosim.tasks import environment_seed

ERROR = 1e-6
MAX = 0xFFFFFFFF
ACTOR, CRITIC = 0, 1


def standard_errors(comparisons: int = 1) -> float:
    """Size of the largest of so many standard normal numbers that is exceeded once in a million."""
    return NormalDist().inv_cdf(1.0 - ERROR / (2.0 * comparisons))


def where(team: int, stream: int) -> np.uint64:
    """Last word of the counter, as documented: 256 * team + stream."""
    return np.uint64(256 * team + stream)


def normals(seed: int, event: int, n: int, team: int = ACTOR, stream: int = rng.NOISE) -> Array:
    """Normal numbers of the units 0 ... n - 1."""
    out = np.empty(n)
    rng.normals(rng.mixed_key(seed), event, where(team, stream), out)
    return out


def uniforms(seed: int, unit: int, n: int, team: int = ACTOR, stream: int = rng.NOISE) -> Array:
    """Uniform numbers of the events 0 ... n - 1."""
    out = np.empty(n)
    rng.uniforms(rng.mixed_key(seed), n, unit, where(team, stream), out)
    return out


def largest_gap(sample: Array, distribution: Callable[[float], float]) -> float:
    """Kolmogorov-Smirnov statistic: largest distance of the empirical distribution function."""
    expected = np.array([distribution(x) for x in np.sort(sample)])
    n = sample.size
    above = np.arange(1, n + 1) / n - expected
    below = expected - np.arange(n) / n
    return float(max(above.max(), below.max()))


def allowed_gap(n: int) -> float:
    """Bound of Dvoretzky, Kiefer and Wolfowitz, with Massart's constant (1990)."""
    return math.sqrt(math.log(2.0 / ERROR) / (2.0 * n))


# --- published vectors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        (
            (0, 0, 0, 0),
            (0, 0),
            (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
        ),
        (
            (MAX, MAX, MAX, MAX),
            (MAX, MAX),
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_philox_4x32_10_gives_the_known_answers_of_random123(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    words = [np.uint64(word) for word in (*counter, *key)]
    assert tuple(int(word) for word in rng.philox(*words)) == expected


# The first outputs of splitmix64 as published with it (Vigna 2015) and in test suites since.
@pytest.mark.parametrize(
    ("seed", "expected"), [(0, 0xE220A8397B1DCDAF), (1234567, 6457827717110365317)]
)
def test_a_runs_key_is_the_first_output_of_splitmix64(seed: int, expected: int) -> None:
    low, high = rng.mixed_key(seed)
    assert int(low) | int(high) << 32 == expected


# --- seeds ---------------------------------------------------------------------------------------


def key_of(seed: int) -> int:
    """The key of a seed as one 64-bit number."""
    low, high = rng.mixed_key(seed)
    assert 0 <= low <= MAX
    assert 0 <= high <= MAX
    return int(low) | int(high) << 32


def test_neighbouring_seeds_never_share_a_key() -> None:
    seeds = [*range(20_000), *range(2**32 - 10_000, 2**32 + 10_000), *range(2**63 - 20_000, 2**63)]
    assert len({key_of(seed) for seed in seeds}) == len(seeds)


def test_keys_of_neighbouring_seeds_differ_in_half_of_their_bits() -> None:
    n = 10_000
    flips = np.array(
        [[(key_of(s) ^ key_of(s + 1)) >> bit & 1 for bit in range(64)] for s in range(n)]
    )
    # each bit flips with probability 1/2: standard deviation 1/2
    limit = standard_errors(64) * 0.5 / math.sqrt(n)
    assert np.max(np.abs(flips.mean(axis=0) - 0.5)) < limit


def test_noise_of_neighbouring_seeds_is_uncorrelated() -> None:
    n = 20_000
    samples = np.array([normals(seed, 0, n) for seed in range(10)])
    assert largest_correlation(samples) < standard_errors(45) / math.sqrt(n)


def largest_correlation(samples: Array) -> float:
    """Largest correlation of two different rows."""
    matrix = np.corrcoef(samples)
    return float(np.max(np.abs(matrix - np.diag(np.diag(matrix)))))


def test_environment_seeds_differ_between_episodes_and_between_runs() -> None:
    seeds = [environment_seed(seed, episode) for seed in range(50) for episode in range(1, 1001)]
    # 50,000 of 2**63 numbers: a coincidence has the chance 1e-10
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 0
    assert max(seeds) < 2**63
    # their top bit is a fair coin, so none is left unused
    top = np.array([seed >> 62 for seed in seeds])
    assert abs(top.mean() - 0.5) < standard_errors() * 0.5 / math.sqrt(top.size)


# --- distributions -------------------------------------------------------------------------------


@pytest.mark.parametrize("along", ["units", "events"])
def test_normals_have_the_moments_and_the_distribution_of_the_standard_normal(along: str) -> None:
    n = 100_000
    key = rng.mixed_key(3)
    if along == "units":
        x = normals(3, 0, n)
    else:
        x = np.array([rng.normal(key, event, 0, where(ACTOR, rng.NOISE)) for event in range(n)])
    # standard deviations of the first four sample moments of n normal numbers
    limits = standard_errors(4) * np.sqrt(np.array([1.0, 2.0, 15.0, 96.0]) / n)
    moments = [np.mean(x**k) for k in (1, 2, 3, 4)]
    assert np.all(np.abs(np.array(moments) - [0.0, 1.0, 0.0, 3.0]) < limits)
    assert largest_gap(x, NormalDist().cdf) < allowed_gap(n)


def test_the_tails_of_the_normals_are_there() -> None:
    n = 1_000_000
    x = normals(4, 0, n)
    for bound in (3.0, 4.0):
        for tail in (x > bound, x < -bound):
            expected = n * NormalDist().cdf(-bound)  # Poisson: its variance is its mean
            assert abs(tail.sum() - expected) < standard_errors(4) * math.sqrt(expected)


@pytest.mark.parametrize("along", ["units", "events"])
def test_uniforms_are_uniform(along: str) -> None:
    n = 100_000
    key = rng.mixed_key(5)
    if along == "events":
        x = uniforms(5, 0, n)
    else:
        x = np.array([rng.uniform(key, 0, unit, where(ACTOR, rng.NOISE)) for unit in range(n)])
    assert largest_gap(x, lambda u: u) < allowed_gap(n)


def test_uniforms_lie_strictly_inside_the_unit_interval_whatever_the_words() -> None:
    words = [np.uint64(w) for w in (0, 1, 0xFFF, 0x1000, 0x7FFFFFFF, 0x80000000, MAX - 1, MAX)]
    values = [[rng.unit_interval(high, low) for low in words] for high in words]
    assert np.min(values) == 2.0**-53
    assert np.max(values) == 1.0 - 2.0**-53
    # larger words, larger numbers; the lowest 12 bits are not used
    assert np.all(np.diff(values, axis=0) > 0.0)
    assert np.all(np.diff(values, axis=1) >= 0.0)


def test_even_the_smallest_uniform_makes_a_finite_normal() -> None:
    # Box-Muller's radius at u = 2**-53 is the largest there can be: sqrt(2 * 53 ln 2) = 8.57.
    assert np.max(np.abs(normals(6, 0, 1_000_000))) < math.sqrt(2.0 * 53.0 * math.log(2.0))


# --- independence --------------------------------------------------------------------------------


def test_units_events_teams_and_streams_have_unrelated_noise() -> None:
    n = 20_000
    key = rng.mixed_key(7)

    def of_unit(unit: int, team: int, stream: int) -> Array:
        place = where(team, stream)
        return np.array([rng.normal(key, event, unit, place) for event in range(n)])

    rows = [of_unit(unit, t, s) for unit in (0, 1, 2, 255, 256) for t in (0, 1) for s in (0, 1)]
    pairs = len(rows) * (len(rows) - 1) // 2
    assert largest_correlation(np.array(rows)) < standard_errors(pairs) / math.sqrt(n)
    # also with each other's next event
    shifted = np.array([row[1:] for row in rows])
    earlier = np.array([row[:-1] for row in rows])
    matrix = np.corrcoef(shifted, earlier)[: len(rows), len(rows) :]
    assert np.max(np.abs(matrix)) < standard_errors(len(rows) ** 2) / math.sqrt(n - 1)


def test_no_two_draws_share_a_counter() -> None:
    key = rng.mixed_key(8)
    events = (0, 1, 2, 255, 2**32 - 1, 2**32, 2**32 + 1, 2**40)
    places = [where(team, stream) for team in (0, 1) for stream in (0, 1, 2)]
    draws = [rng.integer(key, e, u, w) for e in events for u in range(300) for w in places]
    # 14,400 numbers of 2**63: a coincidence has the chance 1e-11
    assert len(set(draws)) == len(draws)


def test_the_noise_of_a_unit_does_not_depend_on_the_units_after_it() -> None:
    assert np.array_equal(normals(9, 4, 1000)[:7], normals(9, 4, 7))
    observation = np.zeros(3)
    noise = {}
    for width in (5, 9):
        agent = MapProp(small_spec({"actor.units": [width, 4]}), 3, 2, seed=9)
        agent.begin(observation)
        noise[width] = agent.actor.noise[3 : 3 + 5].copy()
    assert np.array_equal(noise[5], noise[9])


def test_the_noise_of_a_pass_is_named_by_seed_pass_unit_and_team_alone() -> None:
    agent = MapProp(small_spec(), 3, 2, seed=10)
    observation = np.ones(3)
    agent.begin(observation)
    for event in range(1, 5):
        agent.step(observation, reward=float(event))
        for number, team in ((ACTOR, agent.actor), (CRITIC, agent.critic)):
            first, last = team.unit[1], team.unit[-1]
            expected = normals(10, event, int(last - first), team=number)
            assert np.array_equal(team.noise[first:last], expected)
        u = rng.uniform(rng.mixed_key(10), event, 9, where(ACTOR, rng.NOISE))
        assert agent.actor.noise[agent.actor.unit[-1]] == u


def test_weights_start_glorot_uniform_and_biases_at_zero() -> None:
    model = small_spec({"actor.units": [300, 4], "actor.N": 0})
    agent = MapProp(model, 100, 2, seed=11)
    for layer, (n_in, n_out) in enumerate([(100, 300), (300, 4), (4, 2)], start=1):
        W, b = weights(agent.actor, agent.actor.w, layer)
        bound = math.sqrt(6.0 / (n_in + n_out))
        assert W.shape == (n_out, n_in)
        assert not np.any(b)
        assert np.max(np.abs(W)) < bound
        gap = largest_gap(W.ravel(), lambda w, a=bound: (w + a) / (2.0 * a))
        assert gap < allowed_gap(W.size)


def test_initial_weights_of_the_two_teams_and_of_two_seeds_are_unrelated() -> None:
    model = small_spec({"actor.units": [100, 4], "critic.units": [100, 4]})
    first, second = (MapProp(model, 100, 2, seed) for seed in (0, 1))
    rows = [weights(t, t.w, 1)[0].ravel() for t in (first.actor, first.critic, second.actor)]
    assert largest_correlation(np.array(rows)) < standard_errors(3) / math.sqrt(rows[0].size)
