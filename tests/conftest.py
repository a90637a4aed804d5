"""Settings of the whole suite."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Let Box2D be imported: its SWIG types raise a DeprecationWarning while they are made.

    As an error, like every other warning here, it would crash the interpreter.
    """
    config.addinivalue_line(
        "filterwarnings", "ignore:builtin type .* has no __module__ attribute:DeprecationWarning"
    )


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, Any]]:
    """Everything in the run.h5 of a run's folder but its date and how it was written.

    By path: dtype, shape and bytes of a dataset; by path and name: an attribute. Names of
    dimensions are left out: they are how other tools see a dataset.
    """
    of_dimensions = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"}

    def read(folder: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def visit(path: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset):
                if node.is_scale:
                    return
                value = node[()]
                found[path] = (node.dtype, node.shape, value.tobytes())
            for name in node.attrs.keys() - of_dimensions:
                found[f"{path}@{name}"] = str(node.attrs[name])

        with h5py.File(folder / "run.h5") as file:
            visit("", file)
            file.visititems(visit)
        del found["@created"], found["@segments"]
        return found

    return read
