"""Statistics over the runs of a condition: never a bare mean."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neurosim.memory import Floats

CONFIDENCE = 0.95
RESAMPLES = 9999


class Sample(NamedTuple):
    """What is said of the scores of n runs."""

    n: int
    mean: float
    std: float  # of the population (ddof = 0), as in Table 1
    iqm: float  # interquartile mean: of the middle half
    low: float  # BCa bootstrap interval of the mean, 95 %; nan where n < 3
    high: float


def describe(scores: Sequence[float]) -> Sample:
    """Mean, spread and uncertainty of the scores (n,) of independent runs.

    The interval is the bias-corrected and accelerated bootstrap's (Efron 1987), from 9999
    resamples with a fixed seed.  Of fewer than three runs, or of equal scores, there is none.
    """
    from scipy import stats

    values = np.asarray(scores, float)
    low, high = _interval(values)
    return Sample(
        n=values.size,
        mean=float(values.mean()),
        std=float(values.std()),
        iqm=float(stats.trim_mean(values, 0.25)),
        low=low,
        high=high,
    )


class Difference(NamedTuple):
    """How a condition differs from the reference, seed by seed."""

    mean: float
    low: float  # BCa bootstrap interval of the mean, 95 %; nan where there are less than 3 pairs
    high: float
    p: float  # two-sided paired permutation test of the mean


def compare(scores: Sequence[float], reference: Sequence[float]) -> Difference:
    """Paired comparison of scores (n,) with those of the same seeds in the reference (n,).

    The test permutes the signs of the differences: all 2**n of them up to n = 13, above that 9999
    drawn with a fixed seed.  Its smallest p is 2 / 2**n, or 1 / 10,000.
    """
    from scipy import stats

    differences = np.asarray(scores, float) - np.asarray(reference, float)
    if differences.size < 2 or not np.any(differences):
        return Difference(float(differences.mean()), float("nan"), float("nan"), 1.0)
    test = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return Difference(float(differences.mean()), *_interval(differences), float(test.pvalue))


def holm(p: Sequence[float]) -> list[float]:
    """p-values (m,) of m tests, corrected for their number (Holm 1979)."""
    adjusted = [1.0] * len(p)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted


def _interval(values: Floats) -> tuple[float, float]:
    """Bounds of the mean; nan where they cannot be told."""
    from scipy import stats

    if values.size < 3 or np.ptp(values) == 0:
        return float("nan"), float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        interval = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(0),
        ).confidence_interval
    return float(interval.low), float(interval.high)
