"""Jobs and what they come to."""

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Protocol

from neurosim.errors import Interrupted, NeurosimError
from neurosim.experiment import OnEpisode
from neurosim.training import Episode

NOT_BEGUN = "Stopped before all runs had begun."

OnEpisodeOf = Callable[[str, Episode], None]  # name of the job, episode


class Job(Protocol):
    """A run or a resume, such as ``partial(experiment.make, model, seed, out)``."""

    def __call__(self, *, on_episode: OnEpisode | None = None) -> Path: ...


class Outcome(list[Path | NeurosimError]):
    """For each job that was begun its folder, or what went wrong."""

    @property
    def folders(self) -> list[Path]:
        """Folders of the runs that ended well."""
        return [each for each in self if isinstance(each, Path)]

    @property
    def errors(self) -> list[NeurosimError]:
        """What went wrong."""
        return [each for each in self if isinstance(each, NeurosimError)]


def attempt(job: Job, on_episode: OnEpisode) -> Path | NeurosimError:
    """A job's folder, or what went wrong."""
    try:
        return job(on_episode=on_episode)
    except NeurosimError as error:
        return error


def result_of(future: Future[Path | NeurosimError]) -> Path | NeurosimError:
    """What a job came to, if it was not stopped before it began."""
    try:
        return future.result()
    except CancelledError:
        return Interrupted(NOT_BEGUN)
