"""Feedback weights: the angle between them and the transposed weights in the course of runs."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from neurosim.analysis.feedback import FeedbackAngles
from neurosim.plots import style


def draw(runs: Mapping[str, Mapping[str, FeedbackAngles]]) -> Figure:
    """Draw one line for each run, in a panel for each team and layer.

    Parameters
    ----------
    runs : for each label, what `analysis.feedback.feedback_angles` found of each team, by its name.

    Returns
    -------
    The figure: a column for each team, a row for each layer that has feedback weights.  Lines that
    lie on one another are told apart by their dashes and widths.
    """
    style.apply()
    teams = next(iter(runs.values()))
    rows = max(found.layer.shape[1] for found in teams.values())
    figure = style.Figure(figsize=(3.4 * len(teams), 2.2 * rows + 0.6))
    panels = figure.subplots(rows, len(teams), sharex=True, sharey=True, squeeze=False)
    for column, team in zip(panels.T, teams, strict=True):
        for l, axes in enumerate(column, start=2):
            for k, (label, found) in enumerate(runs.items()):
                dashes, width = ("-", "--", "-.", ":")[k % 4], 3.0 - 2.0 * k / len(runs)
                colour = style.COLOURS[k % len(style.COLOURS)]
                angles = found[team].layer[:, l - 2]
                axes.plot(found[team].episode, angles, dashes, lw=width, color=colour, label=label)
            axes.axhline(90.0, color="0.7", lw=0.8, ls=":", zorder=0)
            axes.set_title(f"{team}, from layer {l} down to {l - 1}", fontsize="medium")
            axes.set_yticks([0, 30, 60, 90])
            axes.set_ylim(-4, max(100, axes.get_ylim()[1]))
        style.count_along(column[-1], "episode")
    figure.supylabel("angle between B and the transposed W (degrees)", fontsize="medium")
    style.add_legend(figure, panels[0, 0])
    return figure


def save(runs: Mapping[str, Mapping[str, FeedbackAngles]], path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(runs), path)
