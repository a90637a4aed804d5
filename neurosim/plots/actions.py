"""Shares of the actions as runs learn: an action that vanishes is not found again."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from neurosim.analysis.actions import Shares
from neurosim.plots import style

SHADES = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.85, 256)))  # none too light


class Line(NamedTuple):
    """A run."""

    shares: Shares
    average_return: float  # over all its episodes


def draw(lines: Sequence[Line], title: str) -> Figure:
    """Draw a panel for each action and a line for each run, coloured by its average return.

    Parameters
    ----------
    lines : one for each run.
    title : of the figure; the number of runs is added.
    """
    style.apply()
    actions = lines[0].shares.share.shape[1]
    figure = style.Figure(figsize=(1.6 + 2.1 * actions, 2.8))
    panels = figure.subplots(1, actions, sharex=True, sharey=True, squeeze=False)[0]
    scores = np.array([line.average_return for line in lines])
    scale = ScalarMappable(Normalize(scores.min(), scores.max()), SHADES)
    for action, panel in enumerate(panels):
        panel.set_title(f"action {action}", fontsize=9)
        for line, colour in zip(lines, scale.to_rgba(scores), strict=True):
            shares = line.shares
            alone = "o" if shares.last.size == 1 else ""
            share = shares.share[:, action]
            panel.plot(shares.last, share, marker=alone, color=colour, lw=1, alpha=0.9)
        style.count_along(panel, "episode")
    panels[0].set_ylabel("share of the steps")
    largest = max(line.shares.share.max() for line in lines)
    panels[0].set_ylim(0, 1.05 * largest)
    if len(lines) > 1:
        style.add_title(figure, f"{title}: {len(lines)} runs")
        figure.colorbar(scale, ax=list(panels), label="average return of the run", pad=0.02)
    else:
        style.add_title(figure, f"{title}: 1 run, average return {scores[0]:.4g}")
    return figure


def save(lines: Sequence[Line], title: str, path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(lines, title), path)
