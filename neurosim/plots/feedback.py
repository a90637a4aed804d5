"""Feedback weights: the angle between them and the transposed weights in the course of runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from neurosim.analysis.feedback import FeedbackAngles
from neurosim.plots import style


def draw(runs: Mapping[str, Sequence[Mapping[str, FeedbackAngles]]]) -> Figure:
    """Draw one line for each run, in a panel for each team and layer.

    Parameters
    ----------
    runs : for each label, what `analysis.feedback.feedback_angles` found in each of its runs, one
        a seed, of each team by its name.

    Returns
    -------
    The figure: a column for each team, a row for each layer that has feedback weights.
    """
    style.apply()
    first = next(iter(runs.values()))[0]
    rows = max(found.layer.shape[1] for found in first.values())
    figure = Figure(figsize=(3.4 * len(first), 2.2 * rows + 0.6))
    panels = figure.subplots(rows, len(first), sharex=True, sharey=True, squeeze=False)
    for k, (label, seeds) in enumerate(runs.items()):
        colour = style.COLOURS[k % len(style.COLOURS)]
        dashes = ("-", "--", ":", "-.")[k % 4]  # lines may lie on one another
        for seed in seeds:
            for column, team in zip(panels.T, first, strict=True):
                for axes, angles in zip(column, seed[team].layer.T, strict=False):
                    axes.plot(seed[team].episode, angles, dashes, color=colour, label=label)
    for column, team in zip(panels.T, first, strict=True):
        for l, axes in enumerate(column, start=2):
            axes.axhline(90.0, color="0.7", lw=0.8, ls=":", zorder=0)
            axes.set_title(f"{team}, from layer {l} down to {l - 1}", fontsize="medium")
            axes.set_yticks([0, 30, 60, 90])
            axes.set_ylim(-4, max(100, axes.get_ylim()[1]))
        column[-1].set_xlabel("episode")
    figure.supylabel("angle between B and the transposed W (degrees)", fontsize="medium")
    style.add_legend(figure, panels[0, 0])
    return figure


def save(runs: Mapping[str, Sequence[Mapping[str, FeedbackAngles]]], path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(runs), path)
