"""Progress of runs on the terminal: running return and time left."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from neurosim.training import Episode

WINDOW = 100  # episodes of the running return, as in Fig. 2
MANY = 20


@contextmanager
def display(
    labels: Sequence[str], totals: Sequence[int], quiet: bool
) -> Iterator[Callable[[int, Episode], None]]:
    """Show a bar for each run that has begun; gives the callback that moves the bars.

    Of more runs than `MANY` those that have ended are counted on a bar of their own instead.

    Parameters
    ----------
    labels, totals : name and number of episodes, or batches, of each run.
    quiet : show nothing.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[running]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    recent: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
    bars = {}
    many = len(labels) > MANY
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        if many:
            ended = progress.add_task("runs that have ended", total=len(labels), running="")

        def on_episode(index: int, episode: Episode) -> None:
            if index not in bars:
                bars[index] = progress.add_task(labels[index], total=totals[index], running="")
            recent[index].append(episode.total)
            running = sum(recent[index]) / len(recent[index])
            digits = 4 if abs(running) < 2 else 1  # rewards of a batch are small
            text = f"return {running:.{digits}f}"
            progress.update(bars[index], completed=episode.number, running=text)
            if many and episode.number == totals[index]:
                progress.update(bars[index], visible=False)
                progress.advance(ended)

        yield on_episode


@contextmanager
def trials(label: str, total: int, quiet: bool) -> Iterator[Callable[[int, float], None]]:
    """Show a bar for a search; gives the callback that moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("best {task.fields[best]:.4g}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        bar = progress.add_task(label, total=total, best=float("nan"))

        def on_trial(ended: int, best: float) -> None:
            progress.update(bar, completed=ended, best=best)

        yield on_trial
