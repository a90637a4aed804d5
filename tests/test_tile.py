"""Products of a layer, whose instructions are written by hand, against loops in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from oracle import Array

from neurosim.kernels.layer import accumulate_map


def in_order(rows: Array, x: Array, out: Array) -> Array:
    """out[i] + sum_j rows[j, i] x[j], one rounded product and one rounded sum after another."""
    totals = out.copy()
    for j, value in enumerate(x):
        totals += rows[j] * value  # each in a call of its own, so nothing is contracted
    return totals


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("units", [1, 2, 7, 8, 9, 31, 32, 33, 40, 41, 64, 71, 200])
def test_sums_have_the_bits_of_sums_taken_one_by_one(units: int, kind: type) -> None:
    rng = np.random.default_rng(units)
    for inputs in (0, 1, 2, 3, 4, 5, 8, 33):
        rows = rng.normal(size=(inputs, units)).astype(kind)
        x, out = rng.normal(size=inputs).astype(kind), rng.normal(size=units).astype(kind)
        around = np.full(units + 2, 7, kind)  # nothing beside `out` is touched
        around[1:-1] = out
        accumulate_map(rows.reshape(-1), x, around[1:-1])
        assert_array_equal(around[1:-1], in_order(rows, x, out))
        assert around[0] == around[-1] == 7
