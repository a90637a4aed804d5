"""Settings of the whole suite."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recording import contents_of


def pytest_configure(config: pytest.Config) -> None:
    """Let Box2D be imported: its SWIG types raise a DeprecationWarning while they are made.

    As an error, like every other warning here, it would crash the interpreter.
    """
    config.addinivalue_line(
        "filterwarnings", "ignore:builtin type .* has no __module__ attribute:DeprecationWarning"
    )


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, Any]]:
    """As `recording.contents_of`."""
    return contents_of
