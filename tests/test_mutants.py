"""The script that plants defects, as a test."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_every_planted_defect_turns_its_test_red() -> None:
    script = Path(__file__).parent / "mutants.py"
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
