"""Products of a layer, whose instructions are written by hand, against loops in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from oracle import Array

from neurosim.kernels.layer import accumulate_map, accumulate_map_together, transpose
from neurosim.kernels.tile import TOGETHER


def in_order(rows: Array, x: Array, out: Array) -> Array:
    """out[i] + sum_j rows[j, i] x[j], one rounded product and one rounded sum after another."""
    totals = out.copy()
    for j, value in enumerate(x):
        totals += rows[j] * value  # each in a call of its own, so nothing is contracted
    return totals


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("units", [1, 2, 7, 8, 9, 31, 32, 33, 40, 41, 64, 71, 128, 329])
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


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("units", [1, 2, 7, 8, 9, 16, 31])
def test_samples_side_by_side_have_the_bits_of_each_by_itself(units: int, kind: type) -> None:
    rng = np.random.default_rng(units)
    for inputs in (0, 1, 2, 3, 8, 33):
        rows = rng.normal(size=(units, inputs)).astype(kind)
        x = rng.normal(size=(inputs, TOGETHER)).astype(kind)
        out = rng.normal(size=(units, TOGETHER)).astype(kind)
        around = np.full(out.size + 2, 7, kind)
        around[1:-1] = out.reshape(-1)
        accumulate_map_together(rows.reshape(-1), x.reshape(-1), around[1:-1])
        found = around[1:-1].reshape(out.shape)
        for s in range(TOGETHER):
            assert_array_equal(found[:, s], in_order(rows.T, x[:, s], out[:, s]))
        assert around[0] == around[-1] == 7


@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 5), (64, 4), (9, 127), (5, 128), (8, 130), (21, 300)]
)
def test_weights_are_transposed(shape: tuple[int, int]) -> None:
    w = np.random.default_rng(0).normal(size=shape)
    around = np.full(w.size + 2, 7.0)
    transpose(w.reshape(-1), *shape, around[1:-1])
    assert_array_equal(around[1:-1].reshape(shape[::-1]), w.T)
    assert around[0] == around[-1] == 7
