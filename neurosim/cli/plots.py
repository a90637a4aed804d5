"""`neurosim plot`: one command for each figure."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg
from tyro.extras import SubcommandApp

from neurosim.cli.arguments import Output, Runs, all_run_folders, check_output
from neurosim.errors import InputError

if TYPE_CHECKING:
    from neurosim.record import Run

app = SubcommandApp()
TeamName = Literal["actor", "critic"]
ComponentName = Annotated[str | None, arg(metavar="COMPONENT")]


@app.command
def learning_curve(runs: Runs, output: Output) -> None:
    """Draw the running average of the return over the episodes, or of the reward over the samples.

    Args:
        runs: Folders of runs, or folders of several seeds, or run.h5 files.
        output: The .png, .pdf or .svg file to write.
    """
    from neurosim.plots import learning_curve

    _check_figure(output)
    learning_curve.save(*curves_of(all_run_folders(runs)), output)
    print(output)


@app.command
def trajectories(
    runs: Runs,
    output: Output,
    episodes: Annotated[str, arg(metavar="N,N,...")] = "1,50,100",
    x: ComponentName = None,
    y: ComponentName = None,
) -> None:
    """Draw the states of some episodes, runs side by side.

    Args:
        runs: Folders of runs, or folders of several seeds, or run.h5 files.
        output: The .png, .pdf or .svg file to write.
        episodes: Episodes to draw, counted from 1.
        x: Component of the observation, by name or number from 0; each task has its usual one.
        y: The other component.
    """
    from neurosim.analysis.trajectories import trajectory
    from neurosim.plots import trajectories

    _check_figure(output)
    numbers = _episodes(episodes)
    with _opened(runs) as opened:
        chosen = _components(opened, x, y)
        panels = {
            label: {episode: trajectory(run, episode, chosen) for episode in numbers}
            for label, run in opened.items()
        }
        trajectories.save(panels, _described(opened, chosen), output)
    print(output)


@app.command
def coverage(
    runs: Runs,
    output: Output,
    x: ComponentName = None,
    y: ComponentName = None,
    bins: int = 20,
) -> None:
    """Draw how much of the state space runs have visited, episode by episode.

    Args:
        runs: Folders of runs, or folders of several seeds, or run.h5 files.
        output: The .png, .pdf or .svg file to write.
        x: Component of the observation, by name or number from 0; each task has its usual one.
        y: The other component.
        bins: Cells of the grid along each component.
    """
    from neurosim.analysis import coverage as analysis
    from neurosim.plots import coverage

    _check_figure(output)
    with _opened(runs) as opened:
        chosen = _components(opened, x, y)
        bounds = analysis.bounds_of(list(opened.values()), chosen)
        fractions: dict[str, list[Any]] = {}
        for name, run in zip(_names(opened), opened.values(), strict=True):
            visited = analysis.coverage(run, chosen, bounds, bins).fraction
            fractions.setdefault(name, []).append(visited)
        coverage.save(fractions, _described(opened, chosen), bins, output)
    print(output)


@app.command
def actions(runs: Runs, output: Output) -> None:
    """Draw how often each action is taken as runs learn, and what the runs scored.

    Args:
        runs: Folders of runs, or folders of several seeds, or run.h5 files; of one task.
        output: The .png, .pdf or .svg file to write.
    """
    from neurosim.analysis import actions as analysis
    from neurosim.plots import actions

    _check_figure(output)
    with _opened(runs) as opened:
        count = analysis.count_actions(list(opened.values()))
        lines = [
            actions.Line(analysis.shares(run, count), float(run.episodes["return"][:].mean()))
            for run in opened.values()
        ]
        actions.save(lines, "; ".join(dict.fromkeys(_names(opened))), output)
    print(output)


@app.command
def activity(
    runs: Runs,
    output: Output,
    team: TeamName = "actor",
    window: int = 0,
    near: float = 0.1,
) -> None:
    """Draw the values of a team's units in a window, and statistics of each unit.

    Args:
        runs: A run's folder or run.h5.
        output: The .png, .pdf or .svg file to write.
        team: Whose units.
        window: Number of the window, from 0.
        near: Largest absolute value that counts as near zero.
    """
    from neurosim.analysis import activity as analysis
    from neurosim.analysis.windows import units_of, window_of
    from neurosim.plots import activity

    _check_figure(output)
    with _one_opened(runs) as (label, run):
        chosen, units = window_of(run, window), units_of(run, team)
        raster = analysis.raster(chosen, team, units)
        numbers = analysis.statistics(chosen, team, units, near)
        axis = (
            "time in the window (mean tick periods; white: not sampled yet)"
            if analysis.is_asynchronous(chosen)
            else "step of the window (relaxed values)"
        )
        title = f"{label}, {team}, {_where(chosen)}"
        activity.save(raster, numbers, units, near, axis, title, output)
    print(output)


@app.command
def traffic(runs: Runs, output: Output) -> None:
    """Draw packets, their losses and the age of mailboxes, step by step.

    Args:
        runs: Folders of asynchronous runs, or folders of several seeds, or run.h5 files.
        output: The .png, .pdf or .svg file to write.
    """
    from neurosim.analysis.traffic import series
    from neurosim.plots import traffic

    _check_figure(output)
    with _opened(runs) as opened:
        traffic.save(_by_team(opened, series), output)
    print(output)


@app.command
def staleness(runs: Runs, output: Output) -> None:
    """Draw how old mailboxes were when units computed from them.

    Args:
        runs: Folders of asynchronous runs, or folders of several seeds, or run.h5 files.
        output: The .png, .pdf or .svg file to write.
    """
    from neurosim.analysis import traffic
    from neurosim.plots import staleness

    _check_figure(output)
    with _opened(runs) as opened:
        staleness.save(_by_team(opened, traffic.staleness), output)
    print(output)


@app.command
def causes(
    runs: Runs,
    output: Output,
    team: TeamName = "actor",
    window: int = 0,
    step: int = 0,
    unit: int = 0,
    tick: int = -1,
    depth: int = 2,
) -> None:
    """Draw the packets that led to one tick of a unit, in time and across layers.

    Args:
        runs: An asynchronous run's folder or run.h5.
        output: The .png, .pdf or .svg file to write.
        team: Whose unit.
        window: Number of the window, from 0.
        step: Step of the window, from 0.
        unit: Unit of the team, from the first hidden one.
        tick: Its value tick (an output's error tick) in that step, from 0; -1 is the last.
        depth: How many packets to follow back, one behind the other.
    """
    from neurosim.analysis.causality import ancestry, places, tick_row
    from neurosim.analysis.traffic import check_asynchronous
    from neurosim.analysis.windows import units_of, window_of
    from neurosim.plots import causes

    _check_figure(output)
    with _one_opened(runs) as (label, run):
        check_asynchronous(run)
        chosen, units = window_of(run, window), units_of(run, team)
        row = tick_row(chosen, step, team, unit, units, tick)
        graph = ancestry(chosen, row, units, depth)
        title = f"{label}, {team}, {_where(chosen)}, step {step}: what led to a tick of unit {unit}"
        causes.save(places(chosen, graph), units, title, output)
    print(output)


@app.command
def flow(runs: Runs, output: Output, window: int = 0, step: int = 0) -> None:
    """Draw what went from unit to unit in one step: values, error packets and broadcasts.

    Args:
        runs: An asynchronous run's folder or run.h5.
        output: The .png, .pdf or .svg file to write.
        window: Number of the window, from 0.
        step: Step of the window, from 0.
    """
    from neurosim.analysis import flow as analysis
    from neurosim.analysis.traffic import check_asynchronous
    from neurosim.analysis.windows import units_of, window_of
    from neurosim.plots import flow
    from neurosim.spec import TEAMS

    _check_figure(output)
    with _one_opened(runs) as (label, run):
        check_asynchronous(run)
        chosen, teams = window_of(run, window), {}
        for team in TEAMS:
            units = units_of(run, team)
            few = analysis.spread(units)
            counted = analysis.flow(chosen, step, team, units, few)
            softmax = getattr(run.spec, team).output == "softmax"
            teams[team] = flow.Team(units, few, counted, softmax)
        title = f"{label}, {_where(chosen)}, step {step}: packets sent, ticks and broadcasts"
        flow.save(teams, title, output)
    print(output)


@app.command
def packets(
    runs: Runs,
    output: Output,
    team: TeamName = "actor",
    window: int = 0,
    step: int = 0,
    most: int = 8,
) -> None:
    """Animate one step: packets on their way from unit to unit, and what the units hold.

    Args:
        runs: An asynchronous run's folder or run.h5.
        output: The .gif or .mp4 file to write.
        team: The team to draw.
        window: Number of the window, from 0.
        step: Step of the window, from 0.
        most: Units that are drawn of a layer, evenly spread over it.
    """
    from neurosim.analysis import packets as analysis
    from neurosim.analysis.flow import spread
    from neurosim.analysis.traffic import check_asynchronous
    from neurosim.analysis.windows import units_of, window_of
    from neurosim.plots import packets

    check_output(output, "an animation", ".gif", ".mp4")
    packets.check_writer(output)
    if most < 1:
        raise InputError(f"--most {most}: draw one unit of each layer at least.")
    with _one_opened(runs) as (label, run):
        check_asynchronous(run)
        chosen, units = window_of(run, window), units_of(run, team)
        film = packets.draw(
            units,
            spread(units, most),
            analysis.transits(chosen, step, team),
            analysis.values(chosen, step, team),
            analysis.broadcasts(chosen, step, team),
            f"{label}, {team}, {_where(chosen)}, step {step}",
        )
        packets.save(film, output)
    print(output)


@app.command
def operations(runs: Runs, output: Output) -> None:
    """Draw the operations that a step takes, and sparsity, under NeuroBench's names.

    Args:
        runs: Folders of runs, or folders of several seeds, or run.h5 files.
        output: The .png, .pdf or .svg file to write.
    """
    from neurosim.analysis.operations import operations as count
    from neurosim.plots import operations

    _check_figure(output)
    with _opened(runs) as opened:
        operations.save(_by_team(opened, count), output)
    print(output)


@app.command
def energy(runs: Runs, output: Output) -> None:
    """Draw an estimate of the energy of a step on several kinds of hardware.

    Args:
        runs: Folders of runs, or folders of several seeds, or run.h5 files.
        output: The .png, .pdf or .svg file to write.
    """
    from neurosim.analysis import energy as analysis
    from neurosim.analysis.operations import operations
    from neurosim.plots import energy
    from neurosim.spec import TEAMS

    _check_figure(output)
    with _opened(runs) as opened:
        ranges = {
            label: analysis.together(analysis.energy(operations(run, team)) for team in TEAMS)
            for label, run in opened.items()
        }
        energy.save(ranges, output)
    print(output)


@app.command
def relaxation(runs: Runs, output: Output) -> None:
    """Draw how the energy falls while the units relax, in the recorded steps.

    Args:
        runs: Runs that were recorded with --record, or folders of several seeds, or run.h5 files.
        output: The .png, .pdf or .svg file to write.
    """
    from neurosim.analysis import relaxation as analysis
    from neurosim.plots import relaxation

    _check_figure(output)
    with _opened(runs) as opened:
        relaxation.save(_of_teams(opened, analysis.relaxation), output)
    print(output)


@app.command
def alignment(runs: Runs, output: Output) -> None:
    """Draw how the units' gradients compare with backprop's, in the recorded steps.

    Args:
        runs: Runs that were recorded with --record, or folders of several seeds, or run.h5 files.
        output: The .png, .pdf or .svg file to write.
    """
    from neurosim.analysis import alignment as analysis
    from neurosim.plots import alignment

    _check_figure(output)
    with _opened(runs) as opened:
        alignment.save(_of_teams(opened, analysis.alignment), output)
    print(output)


@app.command
def feedback(runs: Runs, output: Output) -> None:
    """Draw the angle between feedback weights and transposed weights over the episodes.

    Args:
        runs: Folders of runs, or folders of several seeds, or run.h5 files.
        output: The .png, .pdf or .svg file to write.
    """
    from neurosim.analysis.feedback import feedback_angles
    from neurosim.plots import feedback

    _check_figure(output)
    with _opened(runs) as opened:
        feedback.save(_of_teams(opened, feedback_angles), output)
    print(output)


@app.command
def stability(runs: Runs, output: Output) -> None:
    """Draw how near the relaxation comes to its limits in the course of a run.

    Args:
        runs: A run's folder or run.h5.
        output: The .png, .pdf or .svg file to write.
    """
    from neurosim.analysis.stability import of_run
    from neurosim.plots import stability

    _check_figure(output)
    with _one_opened(runs) as (label, run):
        moments = of_run(run)
        if not moments:
            raise InputError(f"{run.path}: no team of it relaxes; name a run of MAP propagation.")
        stability.save(moments, label, output)
    print(output)


def curves_of(folders: Sequence[Path]) -> tuple[dict[str, list[Any]], int | None]:
    """Returns of each model's runs, None; or rewards of their batches and the size of a batch."""
    from neurosim import record
    from neurosim.analysis.naming import named, tell_apart

    models, found = [], []
    sizes: set[int | None] = set()
    for folder in folders:
        with record.open_run(folder) as opened:
            if len(opened.batches):
                values = opened.batches["reward"][:]
                sizes.add(int(opened.batches["samples"][0]))
            elif len(opened.episodes):
                values = opened.episodes["return"][:]
                sizes.add(None)
            else:
                raise InputError(
                    f"{folder} has no finished episode or batch, there is nothing to draw."
                )
            models.append(named(opened))
            found.append(values)
    if len(sizes) > 1:
        raise InputError(
            "These runs do not fit one figure: they are of episodes and of batches, or of batches "
            "of different size. Draw them apart."
        )
    curves: dict[str, list[Any]] = {}
    for name, values in zip(tell_apart(models), found, strict=True):
        curves.setdefault(name, []).append(values)
    return curves, sizes.pop()


def _check_figure(path: Path) -> None:
    """Raise InputError unless a figure can be written to `path`."""
    check_output(path, "a figure", ".png", ".pdf", ".svg")


@contextmanager
def _opened(runs: Sequence[Path]) -> Iterator[dict[str, "Run"]]:
    """The runs of episodes that paths name, by a label of each."""
    from contextlib import ExitStack

    from neurosim import record

    with ExitStack() as stack:
        found: dict[str, Run] = {}
        for folder in all_run_folders(runs):
            run = stack.enter_context(record.open_run(folder))
            if run.attribute("mode") == "monte_carlo":
                raise InputError(
                    f"{folder} is a run of batches, and the figure is of episodes; "
                    "`neurosim plot learning-curve` draws it."
                )
            found[str(folder)] = run
        opened: dict[str, Run] = {}
        for name, (path, run) in zip(_names(found), found.items(), strict=True):
            label = f"{name} seed {run.seed}"
            opened[f"{label} ({path})" if label in opened else label] = run
        yield opened


def _names(runs: dict[str, "Run"]) -> list[str]:
    """What the model of each run is called beside those of the others."""
    from neurosim.analysis.naming import named, tell_apart

    return tell_apart([named(run) for run in runs.values()])


@contextmanager
def _one_opened(runs: Sequence[Path]) -> Iterator[tuple[str, "Run"]]:
    """The only run that paths name, and its label."""
    with _opened(runs) as opened:
        if len(opened) > 1:
            raise InputError(
                f"{' '.join(map(str, runs))}: these are {len(opened)} runs, and the figure is of "
                "one; name that one, such as runs/cartpole/seed-0000."
            )
        yield next(iter(opened.items()))


def _by_team(runs: dict[str, "Run"], analyse: Any) -> dict[str, Any]:
    """What an analysis says of both teams of runs, by label."""
    from neurosim.spec import TEAMS

    return {
        f"{label}, {team}" if len(runs) > 1 else team: analyse(run, team)
        for label, run in runs.items()
        for team in TEAMS
    }


def _of_teams(runs: dict[str, "Run"], analyse: Any) -> dict[str, dict[str, Any]]:
    """What an analysis finds of each team of each run."""
    from neurosim.spec import TEAMS

    return {label: {team: analyse(run, team) for team in TEAMS} for label, run in runs.items()}


def _episodes(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise InputError(f"--episodes {text}: write numbers from 1 on, such as 1,50,100.") from None


def _components(runs: dict[str, "Run"], x: str | None, y: str | None) -> tuple[int, int]:
    """Numbers of the two components to draw, which must be those of all runs."""
    from neurosim.analysis.observations import find_component, observed

    first, *others = runs.values()
    for run in others:
        if observed(run) != observed(first):
            raise InputError(
                f"{run.path} and {first.path} observe different things; draw them apart."
            )
    usual = observed(first).usual
    return (
        usual[0] if x is None else find_component(first, x),
        usual[1] if y is None else find_component(first, y),
    )


def _described(runs: dict[str, "Run"], chosen: tuple[int, int]) -> Any:
    from neurosim.analysis.observations import observed

    components = observed(next(iter(runs.values()))).components
    return components[chosen[0]], components[chosen[1]]


def _where(window: Any) -> str:
    return f"window {window.number} (episode {window.episode})"
