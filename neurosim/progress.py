"""Progress of runs on the terminal: running return and time left."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from neurosim.training import Episode

WINDOW = 100  # episodes of the running return, as in Fig. 2
MANY = 20


@contextmanager
def display(totals: Mapping[str, int], quiet: bool) -> Iterator[Callable[[str, Episode], None]]:
    """Show a bar for each run that has begun; gives the callback that moves the bars.

    Of more runs than `MANY` those that have ended are counted on a bar of their own instead.

    Parameters
    ----------
    totals : number of episodes, or batches, of each run by its name.
    quiet : show nothing.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[running]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    recent: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
    bars = {}
    many = len(totals) > MANY
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        if many:
            ended = progress.add_task("runs that have ended", total=len(totals), running="")

        def on_episode(name: str, episode: Episode) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name, total=totals[name], running="")
            recent[name].append(episode.total)
            running = sum(recent[name]) / len(recent[name])
            digits = 4 if abs(running) < 2 else 1  # rewards of a batch are small
            text = f"return {running:.{digits}f}"
            progress.update(bars[name], completed=episode.number, running=text)
            if many and episode.number == totals[name]:
                progress.update(bars[name], visible=False)
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
