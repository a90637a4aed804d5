"""Coverage of the state space over the episodes, of several runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from neurosim.analysis.observations import Component
from neurosim.memory import Floats
from neurosim.plots import style


def draw(
    fractions: Mapping[str, Sequence[Floats]], components: tuple[Component, Component], bins: int
) -> Figure:
    """Draw one line for each run, in one colour for each label.

    Parameters
    ----------
    fractions : for each label, the fractions (episodes,) of its runs.
    components : what the grid is over.
    bins : its cells along each of them.
    """
    style.apply()
    figure = style.Figure(figsize=(5.2, 3.4))
    axes = figure.subplots()
    for index, (label, runs) in enumerate(fractions.items()):
        count = f"{len(runs)} runs" if len(runs) > 1 else "1 run"
        for number, run in enumerate(runs):
            text = "" if number else f"{label}, {count}"
            episodes = np.arange(1, run.size + 1)
            alone = "o" if run.size == 1 else ""
            axes.plot(episodes, 100 * run, marker=alone, lw=1.2, label=text, **style.look(index))
    style.count_along(axes, "episode")
    axes.set_ylabel(f"cells visited so far (% of {bins} × {bins})")
    axes.set_title(f"{components[0].name} and {components[1].name}", fontsize=9)
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    style.add_legend(figure, axes)
    return figure


def save(
    fractions: Mapping[str, Sequence[Floats]],
    components: tuple[Component, Component],
    bins: int,
    path: Path,
) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(fractions, components, bins), path)
