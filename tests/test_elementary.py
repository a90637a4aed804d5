"""Elementary and activation functions against 80-bit arithmetic: the errors that they claim.

An error in ulp is the distance from the exact value in units of the last place of that value.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from oracle import Array

from neurosim.kernels import activation, elementary

Long = np.longdouble

pytestmark = pytest.mark.skipif(
    np.finfo(Long).eps > 2.0**-60, reason="long double has no more digits than double here"
)

SMALLEST, LARGEST = elementary.SMALLEST_EXPONENT, elementary.LARGEST_EXPONENT
TINY = float(np.finfo(float).tiny)


def apply(function: Callable[[float], float], x: Array) -> Array:
    """The compiled function of each entry."""
    return np.array([function(value) for value in x])


def first(function: Callable[[float], tuple[float, float]]) -> Callable[[float], float]:
    """Value of an activation function, without its slope."""
    return lambda p: function(p)[0]


def second(function: Callable[[float], tuple[float, float]]) -> Callable[[float], float]:
    """Slope of an activation function."""
    return lambda p: function(p)[1]


def ulps(found: Array, exact: Array) -> float:
    """Largest error in units of the last place."""
    return float(
        np.max(np.abs(found.astype(Long) - exact) / np.spacing(np.abs(exact).astype(float)))
    )


def numbers(low: float, high: float, n: int = 100_000) -> Array:
    """Numbers spread over an interval, with its ends and the neighbours of whole numbers."""
    rng = np.random.default_rng(0)
    spread = np.concatenate([np.linspace(low, high, n // 2), rng.uniform(low, high, n // 2)])
    whole = np.arange(math.ceil(low), math.floor(high) + 1, dtype=float)
    near = np.concatenate([np.nextafter(whole, -np.inf), whole, np.nextafter(whole, np.inf)])
    return np.concatenate([spread, near[(near >= low) & (near <= high)]])


def magnitudes(low: float, high: float, n: int = 50_000) -> Array:
    """Positive numbers of all orders of magnitude in an interval."""
    rng = np.random.default_rng(1)
    return np.clip(np.exp(rng.uniform(math.log(low), math.log(high), n)), low, high)


# --- elementary functions ------------------------------------------------------------------------


def test_exp_is_exact_to_2_ulp_where_it_does_not_clip() -> None:
    x = np.concatenate([numbers(SMALLEST, LARGEST), numbers(-1.0, 1.0), [0.0, -0.0, TINY, 5e-324]])
    assert ulps(apply(elementary.exp, x), np.exp(x.astype(Long))) <= 2.0


def test_exp_of_zero_is_one() -> None:
    assert elementary.exp(0.0) == 1.0


def test_exp_holds_its_argument_within_its_bounds_and_never_overflows_nor_reaches_zero() -> None:
    least, most = elementary.exp(SMALLEST), elementary.exp(LARGEST)
    assert 0.0 < least < 1e-90
    assert 1e300 < most < math.inf
    for x in (np.nextafter(SMALLEST, -np.inf), 2.0 * SMALLEST, -1e300, -math.inf):
        assert elementary.exp(x) == least
    for x in (np.nextafter(LARGEST, np.inf), 2.0 * LARGEST, 1e300, math.inf):
        assert elementary.exp(x) == most


def test_exp_of_nan_is_nan() -> None:
    assert math.isnan(elementary.exp(math.nan))


def test_log1p_is_exact_to_3_ulp_from_0_to_1() -> None:
    t = np.concatenate([numbers(0.0, 1.0), magnitudes(1e-300, 1.0)])
    t = t[t > 0.0]
    assert ulps(apply(elementary.log1p, t), np.log1p(t.astype(Long))) <= 3.0
    assert elementary.log1p(0.0) == 0.0
    assert math.isnan(elementary.log1p(math.nan))


def test_log_is_exact_to_3_ulp_for_all_normal_numbers() -> None:
    near_one = 1.0 + np.concatenate([-magnitudes(1e-16, 0.5), magnitudes(2.3e-16, 1.0)])
    powers = 2.0 ** np.arange(-1022, 1024)
    switch = np.array(
        [math.sqrt(0.5), math.sqrt(2.0)]
    )  # where the exponent that is split off jumps
    x = np.concatenate(
        [
            numbers(0.01, 10.0),
            magnitudes(TINY, 1.79e308),
            near_one,
            powers,
            np.nextafter(switch, 0.0),
            switch,
            np.nextafter(switch, 2.0),
            [TINY, float(np.finfo(float).max), 2.0**-53, 1.0 - 2.0**-53],
        ]
    )
    x = x[x != 1.0]
    assert ulps(apply(elementary.log, x), np.log(x.astype(Long))) <= 3.0
    assert elementary.log(1.0) == 0.0


def test_cos_2pi_is_exact_to_1e_15_over_the_whole_turn() -> None:
    x = np.concatenate([numbers(0.0, 1.0), magnitudes(1e-300, 1.0), 1.0 - magnitudes(1e-16, 0.5)])
    quarters = np.array([0.25, 0.5, 0.75])
    x = np.concatenate([x, quarters, np.nextafter(quarters, 0.0), np.nextafter(quarters, 1.0)])
    exact = np.cos(2.0 * Long("3.14159265358979323846264338327950288") * x.astype(Long))
    found = apply(elementary.cos_2pi, x)
    assert np.max(np.abs(found.astype(Long) - exact)) <= 1e-15
    assert abs(elementary.cos_2pi(0.25)) <= 1e-15
    assert elementary.cos_2pi(0.5) == pytest.approx(-1.0, abs=1e-15)


# --- activation functions ------------------------------------------------------------------------

WIDE = np.concatenate([numbers(-40.0, 40.0), numbers(SMALLEST, -SMALLEST, 20_000)])
SMALL = np.concatenate([magnitudes(1e-300, 1.0), -magnitudes(1e-300, 1.0), [0.0, -0.0]])
# Half of the lowest argument of exp: tanh takes the exponential of twice its argument.
TANH = np.concatenate([numbers(-20.0, 20.0), numbers(SMALLEST / 2, -SMALLEST / 2, 20_000), SMALL])
LOGISTIC = np.concatenate([WIDE, SMALL])


def exact_sigmoid(p: Array) -> Array:
    """``1 / (1 + e**-p)`` in long doubles, without cancellation."""
    t = np.exp(-np.abs(p.astype(Long)))
    return np.where(p >= 0.0, 1 / (1 + t), t / (1 + t))


# softplus is p + log1p(t) above zero and log1p(t) below: 3 ulp of log1p and 2 of t = e**-|p|.
def test_softplus_is_exact_to_5_ulp() -> None:
    exact = np.maximum(LOGISTIC, 0.0) + np.log1p(np.exp(-np.abs(LOGISTIC.astype(Long))))
    assert ulps(apply(first(activation.softplus), LOGISTIC), exact) <= 5.0


def test_the_slope_of_softplus_and_the_sigmoid_are_exact_to_5_ulp() -> None:
    # 2 ulp of the exponential, half an ulp of 1 + t and of the division; an ulp halves where the
    # mantissa crosses a power of two, and the error in ulp doubles
    exact = exact_sigmoid(LOGISTIC)
    assert ulps(apply(second(activation.softplus), LOGISTIC), exact) <= 5.0
    assert ulps(apply(first(activation.sigmoid), LOGISTIC), exact) <= 5.0


def test_the_slope_of_the_sigmoid_is_exact_to_6_ulp() -> None:
    t = np.exp(-np.abs(LOGISTIC.astype(Long)))
    exact = t / (1 + t) ** 2
    assert ulps(apply(second(activation.sigmoid), LOGISTIC), exact) <= 6.0


# Of tanh's two roundings the last is half an ulp of a number below 1, 6e-17; the rest comes through
# t = e**-2p and 1 / (1 + t), whose errors of 2 and 1.5 ulp change the value by about as much each.
def test_tanh_is_exact_to_3e_16_and_its_slope_to_6_ulp() -> None:
    p = TANH.astype(Long)
    found, slope = apply(first(activation.tanh), TANH), apply(second(activation.tanh), TANH)
    assert np.max(np.abs(found.astype(Long) - np.tanh(p))) <= 3e-16
    t = np.exp(-2 * np.abs(p))
    assert ulps(slope, 4 * t / (1 + t) ** 2) <= 6.0


@pytest.mark.parametrize("name", ["softplus", "sigmoid", "tanh"])
def test_activation_functions_stay_finite_and_monotone_in_the_extremes(name: str) -> None:
    f = getattr(activation, name)
    p = np.array([-math.inf, -1e308, -1e3, -50.0, 0.0, 50.0, 1e3, 1e308])
    values, slopes = apply(first(f), p), apply(second(f), p)
    assert np.all(np.isfinite(values))
    assert np.all(np.diff(values) >= 0.0)
    assert np.all((slopes >= 0.0) & (slopes <= 1.0))
    limits = {"softplus": (0.0, 1e308), "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}[name]
    assert values[0] == pytest.approx(limits[0], abs=1e-90)  # e**SMALLEST, which exp stops at
    assert values[-1] == limits[1]
    assert slopes[-1] == pytest.approx(1.0 if name == "softplus" else 0.0, abs=1e-90)
    assert slopes[0] == pytest.approx(0.0, abs=1e-90)


@pytest.mark.parametrize("name", activation.CODES)
def test_a_layers_means_and_slopes_are_those_of_its_function_and_nan_stays_nan(name: str) -> None:
    p = np.array([-3.0, -0.0, 0.0, 0.5, 100.0])
    mu, slope = np.empty_like(p), np.empty_like(p)
    activation.activate(activation.CODES[name], p, mu, slope)
    exact = {
        "softplus": (np.logaddexp(0.0, p), 1.0 / (1.0 + np.exp(-p))),
        "sigmoid": (1.0 / (1.0 + np.exp(-p)), np.exp(-p) / (1.0 + np.exp(-p)) ** 2),
        "tanh": (np.tanh(p), 1.0 / np.cosh(p) ** 2),
        "relu": (np.maximum(p, 0.0), np.where(p > 0.0, 1.0, 0.0)),
        "linear": (p, np.ones_like(p)),
    }[name]
    # the sum of the bounds above and of NumPy's own few ulp
    np.testing.assert_allclose(mu, exact[0], rtol=4e-15)
    np.testing.assert_allclose(slope, exact[1], rtol=4e-15)
    activation.activate(activation.CODES[name], np.array([math.nan]), mu[:1], slope[:1])
    assert math.isnan(mu[0])
