"""Settings of the whole suite."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Let Box2D be imported: its SWIG types raise a DeprecationWarning while they are made.

    As an error, like every other warning here, it would crash the interpreter.
    """
    config.addinivalue_line(
        "filterwarnings", "ignore:builtin type .* has no __module__ attribute:DeprecationWarning"
    )
