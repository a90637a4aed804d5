"""What the models of runs are called beside each other."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from neurosim.record.reader import Run
from neurosim.spec import as_settings

LONGEST = 60  # characters of settings in a name
ASIDE = ("description", "record")  # of a model file: what changes no bit of a run


class Named(NamedTuple):
    """What a run says of its model."""

    name: str
    text: str  # the resolved model file
    folder: Path  # of all seeds


def named(run: Run) -> Named:
    """The model of a run."""
    folder = run.path if run.path.is_dir() else run.path.parent
    return Named(str(run.attribute("model_name")), run.model, folder.parent)


def tell_apart(models: Sequence[Named]) -> list[str]:
    """A name for the model of each run; the same one for runs that differ in their seeds alone.

    Models of one name whose settings differ are named with those, "cartpole+actor.N=40", as
    `spec.variant` does; where that would be long, with the folder, "cartpole (other/cartpole)".
    """
    distinct: dict[str, dict[str, dict[str, Any]]] = {}  # settings by name and text
    for name, text, _ in models:
        of_name = distinct.setdefault(name, {})
        if text not in of_name:
            of_name[text] = _settings(text)
    found = []
    for name, text, folder in models:
        own, others = distinct[name][text], distinct[name].values()
        differing = {
            key: value
            for key, value in own.items()
            if any(key not in other or other[key] != value for other in others)
        }
        full = "+".join([name, *as_settings(differing)])
        short = len(full) <= len(name) + LONGEST
        found.append(full if short else f"{name} ({folder})")
    return found


def _settings(text: str) -> dict[str, Any]:
    """Settings of a model file by dotted key."""
    found: dict[str, Any] = {}
    for section, value in tomllib.loads(text).items():
        if isinstance(value, dict):
            found |= {f"{section}.{key}": each for key, each in value.items()}
        elif section not in ASIDE:
            found[section] = value
    return found
