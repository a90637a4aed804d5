"""The demonstrations of the theorems: what they measure is what the theorems say."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from numpy.testing import assert_allclose

from neurosim.analysis.landscape import network_of
from neurosim.reproduction import theory
from neurosim.reproduction.theory import Gaps, Integrals, Moments, Unbiased

FALSE_ALARM = 1e-6  # probability that a sound estimate is refused; seeds are fixed, so it is once
QUADRATURE = 1e-8


def bound(entries: int) -> float:
    """Standard errors that none of so many normal deviations exceeds, but with FALSE_ALARM."""
    return NormalDist().inv_cdf(1.0 - FALSE_ALARM / (2 * entries))


def chi_square_tail(x: float, degrees: int) -> float:
    """Probability that chi-square exceeds x; for an even number of degrees it is this sum."""
    assert degrees % 2 == 0
    half = x / 2.0
    return sum(math.exp(-half) * half**k / math.factorial(k) for k in range(degrees // 2))


@pytest.fixture(scope="module")
def integrals() -> Integrals:
    return theory.integrate()


@pytest.fixture(scope="module")
def unbiased(integrals: Integrals) -> Unbiased:
    return theory.theorem_1(integrals, samples=20_000)


@pytest.fixture(scope="module")
def moments(integrals: Integrals) -> dict[str, Moments]:
    return theory.variance_reduction(integrals, samples=40_000)


@pytest.fixture(scope="module", params=["actor", "critic"])
def gaps(request: pytest.FixtureRequest) -> Gaps:
    return theory.theorems_2_and_3(request.param, agents=2, states=5)


# --- the quadrature ------------------------------------------------------------------------------


def test_twice_the_nodes_give_the_same_integrals(
    integrals: Integrals, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the local gradients: the team would take a minute at so many points.  That theirs
    # agree with these at 10 nodes is what Theorem 1 says.
    monkeypatch.setattr(theory, "_gradients", lambda team, values: np.zeros((len(values), 21)))
    twice = theory.integrate(nodes=20)
    assert_allclose(integrals.probability, twice.probability, rtol=0, atol=QUADRATURE)
    assert_allclose(integrals.slope, twice.slope, rtol=0, atol=QUADRATURE)


def test_the_exact_gradient_is_the_derivative_of_the_integrated_probabilities() -> None:
    # Both by the same quadrature, so that it need not have converged.  Differences of step h are
    # off by h**2 |f'''| / 6 < 1e-9 and by rounding, 2**-53 / h = 1e-12.
    nodes, h = 4, 1e-4
    expected = theory.integrate(nodes).slope
    network = network_of(theory._tiny().memory)
    noise, weight = theory._grid(nodes, 4)

    def probabilities() -> np.ndarray:
        return np.array(
            [weight @ theory._reparameterised(network, s, noise)[1] for s in theory.STATES]
        )

    found = []
    for pair in zip(network.W, network.b, strict=True):
        for x in pair:
            for index in np.ndindex(x.shape):
                old = x[index]
                x[index] = old + h
                above = probabilities()
                x[index] = old - h
                below = probabilities()
                x[index] = old
                found.append((above - below) / (2.0 * h))
    assert_allclose(np.moveaxis(found, 0, -1), expected, rtol=0, atol=1e-8)


# --- theorem 1 -----------------------------------------------------------------------------------


def test_theorem_1_the_local_rule_integrates_to_the_gradient_of_the_expected_reward(
    unbiased: Unbiased,
) -> None:
    assert np.abs(unbiased.exact).min() > 1e-4
    assert_allclose(unbiased.integral, unbiased.exact, rtol=0, atol=QUADRATURE)


def test_theorem_1_estimates_from_samples_are_off_by_their_standard_errors(
    unbiased: Unbiased,
) -> None:
    assert np.abs(unbiased.z).max() < bound(unbiased.z.size)
    # The errors of the three outcomes add up to 0: one of them has nothing of its own.
    assert unbiased.degrees == unbiased.z.size - 3
    tail = chi_square_tail(unbiased.chi_square, unbiased.degrees)
    assert FALSE_ALARM < tail < 1.0 - FALSE_ALARM


# --- theorems 2 and 3 ----------------------------------------------------------------------------


def test_theorems_2_and_3_the_gap_to_backprop_closes_as_the_team_relaxes(gaps: Gaps) -> None:
    assert np.array_equal(gaps.N, theory.RELAXATIONS)
    hidden = gaps.gap[..., :-1]
    assert hidden[0].min() > 1.0  # no backprop without relaxation
    assert hidden[-1].max() < 1e-6
    medians = np.median(hidden, axis=1)
    falling = medians[1:] < medians[:-1]
    assert falling[medians[:-1] > 1e-12].all()


def test_theorems_2_and_3_of_the_output_both_gradients_are_the_same_at_any_time(
    gaps: Gaps,
) -> None:
    assert gaps.gap[..., -1].max() < 1e-12


def test_theorems_2_and_3_gradients_are_equal_and_not_only_parallel(gaps: Gaps) -> None:
    assert_allclose(gaps.factor[-1], gaps.scale, rtol=1e-6)


def test_theorem_3_has_the_factor_of_two_variances_of_the_output() -> None:
    # 0.1 is the output's variance in Table 3
    assert theory.theorems_2_and_3("critic", agents=1, states=1).scale == 2.0 * 0.1


# --- appendix B.6 --------------------------------------------------------------------------------


def test_b6_the_posterior_mean_varies_less_than_the_sampled_gradient(
    moments: dict[str, Moments],
) -> None:
    assert (moments["posterior mean"].variance < moments["N = 0, integrated"].variance).all()
    assert moments["posterior mean"].bias.max() < QUADRATURE


def test_b6_samples_of_the_team_have_the_integrated_variance(moments: dict[str, Moments]) -> None:
    sampled, integrated = moments["N = 0"], moments["N = 0, integrated"]
    z = (sampled.variance - integrated.variance) / sampled.variance_error
    assert np.abs(z).max() < bound(z.size)
    # Of unbiased estimates |mean - exact| / bias_error has a mean square of 1.
    assert (sampled.bias < bound(z.size) * sampled.bias_error).all()


def test_b6_relaxed_gradients_vary_less_than_sampled_ones_and_are_biased(
    moments: dict[str, Moments],
) -> None:
    relaxed, sampled = moments["N = 20"], moments["N = 0"]
    error = np.hypot(relaxed.variance_error, sampled.variance_error)
    assert (sampled.variance - relaxed.variance > bound(3) * error).all()
    assert relaxed.bias[-1] > bound(1) * relaxed.bias_error[-1]


# --- the page ------------------------------------------------------------------------------------


def test_the_page_the_table_and_the_figures_are_written_and_the_same_each_time(
    tmp_path: Path,
) -> None:
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        made.append(theory.write(tmp_path, tmp_path / name, True, "neurosim reproduce theory"))
    paths, again = made
    assert [p.name for p in paths] == [f"theory.{kind}" for kind in ("md", "csv", "png", "pdf")]
    page, table, png, pdf = paths
    for one, other in zip(paths, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert png.read_bytes().startswith(b"\x89PNG")
    assert pdf.read_bytes().startswith(b"%PDF")
    _check_page(page.read_text(encoding="utf-8"))
    _check_table(table)


def _check_page(text: str) -> None:
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert [title.split(":")[0][3:] for title in titles] == [
        *("Theorem 1", "Theorem 2", "Theorem 3", "Appendix B.6")
    ]
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert [len(block.splitlines()) - 2 for block in tables] == [21, 10, 10, 12]
    for block in tables:
        assert len({line.count("|") for line in block.splitlines()}) == 1


def _check_table(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(math.isfinite(float(row["value"])) for row in rows)
    keys = ("demonstration", "team", "layer", "parameter", "N", "quantity")
    found = {tuple(row[key] for key in keys): row for row in rows}
    assert len(found) == len(rows)
    head = "theorem 1", "tiny", "2", "W2[0,1]", "0"
    exact, estimate, z = (found[*head, name] for name in ("exact", "estimate", "z"))
    off = float(estimate["value"]) - float(exact["value"])
    assert float(z["value"]) == off / float(estimate["standard_error"])
    for number, team in (("2", "actor"), ("3", "critic")):
        gap = found[f"theorem {number}", team, "1", "", "400", "gap, median"]
        assert float(gap["value"]) < 1e-6
