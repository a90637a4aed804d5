"""Progress of runs on the terminal: running return and time left."""

import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from neurosim.training import Episode

WINDOW = 100  # episodes of the running return, as in Fig. 2
MANY = 20  # runs
LINES = 10  # of a run, where there is no terminal


@contextmanager
def display(
    totals: Mapping[str, int], quiet: bool = False
) -> Iterator[Callable[[str, Episode], None]]:
    """Show a bar for each run that has begun; gives the callback that moves the bars.

    Of more runs than `MANY` those that have ended are counted on a bar of their own instead.  Where
    there is no terminal, as in a pipe or a notebook, a line is written for each tenth of a run, of
    many runs one for each that has ended.

    Parameters
    ----------
    totals : number of episodes, or batches, of each run by its name.
    quiet : show nothing.
    """
    console = Console(stderr=True)
    many = len(totals) > MANY
    if not (quiet or console.is_terminal):
        yield _lines(totals, 1 if many else LINES)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[running]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    running = _Running()
    bars = {}
    with Progress(*columns, console=console, disable=quiet) as progress:
        if many:
            ended = progress.add_task("runs that have ended", total=len(totals), running="")

        def on_episode(name: str, episode: Episode) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name, total=totals[name], running="")
            progress.update(
                bars[name], completed=episode.number, running=running.text(name, episode)
            )
            if many and episode.number == totals[name]:
                progress.update(bars[name], visible=False)
                progress.advance(ended)

        yield on_episode


class _Running:
    """The running return of each run."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))

    def text(self, name: str, episode: Episode) -> str:
        """The run's running return, this episode included."""
        recent = self._recent[name]
        recent.append(episode.total)
        mean = sum(recent) / len(recent)
        digits = 4 if abs(mean) < 2 else 1  # rewards of a batch are small
        return f"return {mean:.{digits}f}"


def _lines(totals: Mapping[str, int], parts: int) -> Callable[[str, Episode], None]:
    """A callback that writes a line to stderr for each of some parts of a run."""
    running = _Running()

    def on_episode(name: str, episode: Episode) -> None:
        text, total = running.text(name, episode), totals[name]
        if episode.number * parts // total > (episode.number - 1) * parts // total:
            print(f"{name}: {episode.number} of {total}, {text}", file=sys.stderr, flush=True)

    return on_episode


@contextmanager
def trials(label: str, total: int, quiet: bool) -> Iterator[Callable[[int, float], None]]:
    """Show a bar for a search, or a line for each trial; gives the callback that moves it."""
    console = Console(stderr=True)
    if not (quiet or console.is_terminal):

        def write(ended: int, best: float) -> None:
            print(f"{label}: {ended} of {total}, best {best:.4g}", file=sys.stderr, flush=True)

        yield write
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("best {task.fields[best]:.4g}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, disable=quiet) as progress:
        bar = progress.add_task(label, total=total, best=float("nan"))

        def on_trial(ended: int, best: float) -> None:
            progress.update(bar, completed=ended, best=best)

        yield on_trial
