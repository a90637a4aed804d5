"""Statistics over the runs of a condition: never a bare mean."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

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
    low = high = float("nan")
    if values.size >= 3 and np.ptp(values) > 0:
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
        low, high = float(interval.low), float(interval.high)
    return Sample(
        n=values.size,
        mean=float(values.mean()),
        std=float(values.std()),
        iqm=float(stats.trim_mean(values, 0.25)),
        low=low,
        high=high,
    )
