"""Shares of the actions as runs learn: an action that vanishes is not found again."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from neurosim.analysis.actions import Shares
from neurosim.plots import style


class Line(NamedTuple):
    """A run."""

    shares: Shares
    average_return: float  # over all its episodes


def draw(lines: Sequence[Line], title: str) -> Figure:
    """Draw a panel for each action and a line for each run, coloured by its average return."""
    style.apply()
    actions = lines[0].shares.share.shape[1]
    figure = Figure(figsize=(1.6 + 2.1 * actions, 2.8))
    panels = figure.subplots(1, actions, sharex=True, sharey=True, squeeze=False)[0]
    scores = np.array([line.average_return for line in lines])
    scale = ScalarMappable(Normalize(scores.min(), scores.max()), "cividis")
    for action, panel in enumerate(panels):
        panel.set_title(f"action {action}", fontsize=9)
        for line, colour in zip(lines, scale.to_rgba(scores), strict=True):
            shares = line.shares
            panel.plot(shares.last, shares.share[:, action], color=colour, lw=1, alpha=0.9)
    panels[0].set_ylabel("share of the steps")
    panels[0].set_ylim(bottom=0)
    figure.supxlabel("episode", fontsize=9)
    figure.suptitle(title, fontsize=9)
    figure.colorbar(scale, ax=list(panels), label="average return of the run", pad=0.02)
    return figure


def save(lines: Sequence[Line], title: str, path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(lines, title), path)
