"""Trajectories of some episodes, several runs side by side (the form of Fig. 5)."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurosim.analysis.observations import Component
from neurosim.memory import Floats
from neurosim.plots import style

COLUMNS = 3
TITLE = 36  # characters of a line of a panel's title


def draw(
    runs: Mapping[str, Mapping[int, Floats]], components: tuple[Component, Component]
) -> Figure:
    """Draw one panel for each run.

    Parameters
    ----------
    runs : for each label, by episode, its points (length, 2).
    components : what the two are.
    """
    style.apply()
    columns = min(len(runs), COLUMNS)
    rows = -(-len(runs) // COLUMNS)
    figure = style.Figure(figsize=(1.2 + 2.9 * columns, 0.9 + 2.7 * rows))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(runs) :]:
        axes.set_visible(False)
    for axes in grid.flat[len(runs) - columns : len(runs)]:
        axes.tick_params(labelbottom=True)  # where the row below is not full, too
    handles = {}
    for axes, (label, episodes) in zip(grid.flat, runs.items(), strict=False):
        axes.set_title(style.wrapped(label, TITLE), fontsize=9)
        axes.locator_params(axis="x", nbins=5)
        for line, component in zip((axes.axvline, axes.axhline), components, strict=True):
            if component.goal is not None:
                handles["goal"] = line(component.goal, ls="--", lw=1, color="0.4", zorder=1)
        for index, (episode, points) in enumerate(episodes.items()):
            colour = style.COLOURS[index % len(style.COLOURS)]
            (handles[f"episode {episode}"],) = axes.plot(*points.T, lw=0.8, color=colour, alpha=0.8)
            edge = {"mec": "black", "mew": 0.6, "ls": "none", "zorder": 3, "clip_on": False}
            axes.plot(*points[0], "o", ms=5, mfc=colour, **edge)
            axes.plot(*points[-1], "s", ms=5, mfc=colour, **edge)
    for label, marker in (("start", "o"), ("end", "s")):
        handles[label] = Line2D([], [], marker=marker, ms=5, mec="black", mfc="white", ls="none")
    figure.supxlabel(components[0].label, fontsize=9)
    figure.supylabel(components[1].label, fontsize=9)
    style.add_handles(figure, handles)
    return figure


def save(
    runs: Mapping[str, Mapping[int, Floats]],
    components: tuple[Component, Component],
    path: Path,
) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(runs, components), path)
