"""Components of observations: their names, units, bounds and goals where a task is known."""

from collections.abc import Mapping
from typing import NamedTuple

from neurosim.errors import InputError
from neurosim.record.reader import Run


class Component(NamedTuple):
    """One component of an observation."""

    name: str
    unit: str = ""  # as on an axis; "" for a pure number
    low: float | None = None  # bounds that the environment keeps, None: none
    high: float | None = None
    goal: float | None = None  # value that the task asks for, None: none

    @property
    def label(self) -> str:
        """Label of an axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


class Observed(NamedTuple):
    """What a task shows an agent, and the two components that are drawn unless others are named."""

    components: tuple[Component, ...]
    usual: tuple[int, int] = (0, 1)


# From the documentation of Gymnasium's environments.
KNOWN: Mapping[str, Observed] = {
    "CartPole-v1": Observed(
        (
            Component("cart position", "m"),
            Component("cart velocity", "m/s"),
            Component("pole angle", "rad"),
            Component("pole angular velocity", "rad/s"),
        ),
        usual=(0, 2),
    ),
    "MountainCar-v0": Observed(
        (Component("position", "", -1.2, 0.6, 0.5), Component("velocity", "", -0.07, 0.07))
    ),
    "MountainCarContinuous-v0": Observed(
        (Component("position", "", -1.2, 0.6, 0.45), Component("velocity", "", -0.07, 0.07))
    ),
    "Acrobot-v1": Observed(
        (
            *(
                Component(f"{f} of angle {k}", "", -1, 1)
                for k in (1, 2)
                for f in ("cosine", "sine")
            ),
            Component("angular velocity 1", "rad/s"),
            Component("angular velocity 2", "rad/s"),
        ),
        usual=(4, 5),
    ),
    "Pendulum-v1": Observed(
        (
            Component("cosine of angle", "", -1, 1, 1),
            Component("sine of angle", "", -1, 1),
            Component("angular velocity", "rad/s", -8, 8),
        ),
        usual=(1, 2),
    ),
    "LunarLander-v3": Observed(
        (
            Component("horizontal position", "", goal=0),
            Component("vertical position", "", goal=0),
            Component("horizontal velocity"),
            Component("vertical velocity"),
            Component("angle", "rad"),
            Component("angular velocity"),
            Component("left leg on the ground"),
            Component("right leg on the ground"),
        )
    ),
}


def observed(run: Run) -> Observed:
    """Components of a run's observations; of an unknown task they are called by their numbers.

    Raises
    ------
    InputError : the run has no steps yet, so that it is not known how many there are.
    """
    if not len(run.steps):
        raise InputError(f"{run.path} has no finished step, there is nothing to draw.")
    count = run.steps["observation"].shape[1]
    task = run.spec.task.id.rpartition(":")[2]
    known = KNOWN.get(task)
    if known is not None and len(known.components) == count:
        return known
    components = tuple(Component(f"component {k}") for k in range(count))
    return Observed(components, usual=(0, min(1, count - 1)))


def find_component(run: Run, wanted: str) -> int:
    """Number of the component of a run's observations that is named, or numbered from 0.

    Raises
    ------
    InputError : there is none.
    """
    components = observed(run).components
    names = [component.name for component in components]
    if wanted in names:
        return names.index(wanted)
    if wanted.isdecimal() and int(wanted) < len(names):
        return int(wanted)
    choices = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
    raise InputError(
        f"component {wanted!r}: the observations of {run.path} have no such component; "
        f"give the number or the name of one of {choices}."
    )
