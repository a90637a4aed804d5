"""Kernels compute no index that is negative or too large: numba does not ask, but it can."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ONE_INDEX = """
import numpy as np
from neurosim.jit import kernel

@kernel
def taken(array, i):
    return array[i] + array[-1]

print(taken(np.arange(3.0), 1))
print(taken(np.arange(3.0), -1))
"""
EVERY_KERNEL = [
    f"test_{name}.py"
    for name in (
        *("algorithm", "asynchronous", "audit", "baselines", "elementary", "hold", "monte_carlo"),
        *("oracle_async", "replay", "rng", "tasks", "tile"),
    )
]


def checked(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python, with numba asking at each access, and with kernels of its own."""
    asks = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=os.environ | asks, capture_output=True, text=True)


def test_a_computed_index_counts_from_the_front(tmp_path: Path) -> None:
    script = tmp_path / "one_index.py"
    script.write_text(ONE_INDEX)
    found = checked(tmp_path, str(script))
    assert found.stdout == "3.0\n"
    assert "IndexError" in found.stderr


@pytest.mark.slow
def test_no_kernel_computes_an_index_outside_its_array(tmp_path: Path) -> None:
    tests = [str(HERE / name) for name in EVERY_KERNEL]
    found = checked(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert found.returncode == 0, found.stdout
