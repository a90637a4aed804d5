"""neurosim: teams of stochastic units that learn by MAP propagation, without backprop.

>>> import neurosim
>>> model = neurosim.load("cartpole", {"task.episodes": 200})
>>> folder = neurosim.run(model, seed=0)
>>> run = neurosim.open(folder)
>>> run.episodes["return"][:].mean()
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurosim.errors import InputError, NeurosimError, RunError
    from neurosim.experiment import resume, run, simulate
    from neurosim.record import Run
    from neurosim.record import open_run as open
    from neurosim.rerecording import rerecord
    from neurosim.spec import Model, load

__all__ = [
    "InputError",
    "Model",
    "NeurosimError",
    "Run",
    "RunError",
    "load",
    "open",
    "rerecord",
    "resume",
    "run",
    "simulate",
]

# Each is imported when it is first asked for, so that `import neurosim` costs next to nothing.
_HOMES = {
    "InputError": "neurosim.errors",
    "NeurosimError": "neurosim.errors",
    "RunError": "neurosim.errors",
    "Model": "neurosim.spec",
    "load": "neurosim.spec",
    "Run": "neurosim.record",
    "open": "neurosim.record",
    "run": "neurosim.experiment",
    "resume": "neurosim.experiment",
    "simulate": "neurosim.experiment",
    "rerecord": "neurosim.rerecording",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'neurosim' has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    return getattr(home, "open_run" if name == "open" else name)


def __dir__() -> list[str]:
    return __all__
