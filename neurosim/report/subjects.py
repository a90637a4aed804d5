"""The runs that a page is about."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, TypeVar

from neurosim import record
from neurosim.analysis.naming import named, tell_apart
from neurosim.errors import InputError, NeurosimError
from neurosim.plots import style
from neurosim.record.reader import Run
from neurosim.spec import MonteCarloSpec, Spec, parse

RUNS = 6  # told apart by their colours; of more, each model has one

Found = TypeVar("Found")


class Subject(NamedTuple):
    """One run, and how it looks in the page."""

    path: Path
    run: Run
    model: str  # its name, told apart from those of the other runs
    spec: Spec | MonteCarloSpec
    label: str
    colour: str

    @property
    def batches(self) -> bool:
        """Whether it is a run of Algorithm 1."""
        return isinstance(self.spec, MonteCarloSpec)

    @property
    def asynchronous(self) -> bool:
        """Whether its units are agents that exchange packets."""
        return self.spec.timing is not None

    @property
    def teams(self) -> tuple[str, ...]:
        """Names of its teams."""
        return ("actor",) if self.batches else ("actor", "critic")

    @property
    def done(self) -> int:
        """Episodes, or batches, that it has finished."""
        return len(self.run.batches) if self.batches else len(self.run.episodes)

    @property
    def folder(self) -> str:
        """Its folder as a shell takes it."""
        return shlex.quote(str(self.path if self.path.is_dir() else self.path.parent))

    def check_windows(self) -> None:
        """Raise InputError, with the command that records one, unless steps are held in detail."""
        if any(window.n_steps for window in self.run.windows):
            return
        if not self.run.complete:
            raise InputError(
                "no step is recorded in full detail. "
                f"`neurosim resume {self.folder}` ends the run, `neurosim rerecord` can do it then."
            )
        episode = max(1, self.done // 2)
        raise InputError(
            "no step is recorded in full detail. "
            f"`neurosim rerecord {self.folder} --episode {episode} --steps 0:20` does that now."
        )


def open_subjects(stack: ExitStack, paths: Sequence[Path]) -> list[Subject]:
    """Open runs, to be closed with the stack.

    Raises
    ------
    InputError : one of them is not a run.
    """
    runs = [stack.enter_context(record.open_run(path)) for path in paths]
    models = tell_apart([named(run) for run in runs])
    labels = [f"{model} seed {run.seed}" for model, run in zip(models, runs, strict=True)]
    numbers = {model: k for k, model in enumerate(dict.fromkeys(models))}
    found = []
    for k, (path, run, model, label) in enumerate(zip(paths, runs, models, labels, strict=True)):
        number = k if len(runs) <= RUNS else numbers[model]
        spec = parse(run.model, model).spec
        unique = label if labels.count(label) == 1 else f"{label} ({path})"
        colour = style.COLOURS[number % len(style.COLOURS)]
        found.append(Subject(path, run, model, spec, unique, colour))
    return found


def in_detail(subjects: Sequence[Subject]) -> list[Subject]:
    """The runs that panels of single runs show: all, or if there are many one of each model."""
    if len(subjects) <= RUNS:
        return list(subjects)
    first: dict[str, Subject] = {}
    for subject in subjects:
        first.setdefault(subject.model, subject)
    return list(first.values())[:RUNS]


def units_of_time(subjects: Sequence[Subject]) -> str:
    """What the runs are counted in: "episodes", "batches", or both."""
    units = ("batches" if subject.batches else "episodes" for subject in subjects)
    return " or ".join(dict.fromkeys(units))


def gather(
    subjects: Sequence[Subject], analyse: Callable[[Subject], Found]
) -> tuple[list[tuple[Subject, Found]], str]:
    """What an analysis finds of each run; and of the others a line, with the first one's reason."""
    found, reasons = [], {}
    for subject in subjects:
        try:
            found.append((subject, analyse(subject)))
        except NeurosimError as error:
            reasons[subject.label] = str(error)
    if not reasons:
        return found, ""
    first, *others = reasons
    too = f" Nor is there anything of {', '.join(others)}." if others else ""
    return found, f"{first}: {reasons[first]}{too}"
