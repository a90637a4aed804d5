"""Measures: what a study says of its runs beside what they scored, one number for each run."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np

from neurosim.analysis.alignment import Alignment, alignment_of
from neurosim.analysis.coverage import bounds_of, coverage
from neurosim.analysis.feedback import feedback_angles
from neurosim.analysis.observations import KNOWN, Component, Observed, observed
from neurosim.analysis.relaxation import Relaxation, relaxation_of
from neurosim.analysis.replay import Step, replay
from neurosim.analysis.stability import of_run, relaxing
from neurosim.analysis.traffic import totals
from neurosim.errors import InputError
from neurosim.record.reader import Run
from neurosim.spec import TEAMS, Model, MonteCarloSpec

EXPLORING = 100  # episodes, in which exploration is measured


class Subject:
    """A run that is measured.  Its windows are lived through again once, for all measures."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @cached_property
    def relaxations(self) -> dict[str, Relaxation]:
        """Of the recorded steps, by team."""
        return {team: relaxation_of(steps) for team, steps in self._steps.items()}

    @cached_property
    def alignments(self) -> list[Alignment]:
        """Of the recorded steps, team by team."""
        return [alignment_of(steps) for steps in self._steps.values()]

    @cached_property
    def _steps(self) -> dict[str, list[Step]]:
        return {team: list(replay(self.run, team)) for team in TEAMS}


class Measure(NamedTuple):
    """A number that a run file tells."""

    label: str  # of an axis, with its unit
    of: Callable[[Subject], float]
    lacks: Callable[[Model], str]  # what a model would have to be given first; "": nothing
    log: bool = False  # drawn on a logarithmic axis


def check(names: tuple[str, ...], model: Model) -> None:
    """Make sure that runs of a model will have some measures.

    Raises
    ------
    InputError : there is no such measure, or the model's runs do not have it.
    """
    for name in names:
        if name not in MEASURES:
            raise InputError(f"measure {name!r}: there is none; give one of {', '.join(MEASURES)}.")
        if not isinstance(model.spec, MonteCarloSpec):
            lacking = MEASURES[name].lacks(model)
        else:
            lacking = "is of runs with episodes"
        if lacking:
            raise InputError(f"{model.name}: measure {name!r} {lacking}.")


def packets(subject: Subject) -> float:
    """Packets that both teams send for a decision, a step of the environment."""
    run = subject.run
    return sum(totals(run, team).sent for team in TEAMS) / len(run.steps)


def feedback_angle(subject: Subject) -> float:
    """Angle between feedback weights and transposed weights at the end, mean over all layers."""
    return float(np.mean([feedback_angles(subject.run, team).layer[-1] for team in TEAMS]))


def residual(subject: Subject) -> float:
    """How far units are from settled after their relaxation: median over steps and teams."""
    return float(np.median([each.residual[:, -1] for each in subject.relaxations.values()]))


def cosine(subject: Subject) -> float:
    """Cosine of hidden layers' gradients with backprop's: median over steps, layers and teams."""
    return float(np.nanmedian([each.cosine[:, :-1] for each in subject.alignments]))


def explored(subject: Subject) -> float:
    """Share of the cells of the usual two components that the first episodes have visited."""
    run = subject.run
    usual = observed(run).usual
    return float(coverage(run, usual, bounds_of([run], usual)).fraction[:EXPLORING][-1])


def critical_delay(subject: Subject) -> float:
    """Predicted for the weights at the end, of the team where it is shortest; periods."""
    return min(moments[-1].limits.critical_delay for moments in of_run(subject.run).values())


def _nothing(model: Model) -> str:
    return ""


def _teams_that_relax(model: Model) -> str:
    return "" if relaxing(model.spec) else 'is of teams with rule = "map_prop" and N > 0; take one'


def _windows(model: Model) -> str:
    if any(getattr(model.spec, team).rule != "map_prop" for team in TEAMS):
        return 'is of teams with rule = "map_prop", both of them; take a model such as cartpole'
    steps = '"record" = [{ episodes = [300], steps = [0, 20] }]'
    return "" if model.spec.record else f"is of recorded steps; set some, such as {steps}"


def _units_with_clocks(model: Model) -> str:
    return "" if model.spec.timing else "is of asynchronous units; take an async/ model"


def _bounds(model: Model) -> str:
    task = KNOWN.get(model.spec.task.id, Observed((Component(""),), usual=(0, 0)))
    bounded = all(task.components[k].low is not None for k in task.usual)
    return "" if bounded else "is of environments whose observations are bounded, as MountainCar's"


MEASURES: Mapping[str, Measure] = {
    "packets": Measure("packets a decision", packets, _units_with_clocks),
    "feedback_angle": Measure("angle of feedback at the end (degrees)", feedback_angle, _nothing),
    "residual": Measure("residual (standard deviations)", residual, _windows, log=True),
    "cosine": Measure("cosine with backprop's gradient", cosine, _windows),
    "explored": Measure(f"states visited in {EXPLORING} episodes (share)", explored, _bounds),
    "critical_delay": Measure(
        "critical delay, predicted (periods)", critical_delay, _teams_that_relax
    ),
}
