"""How old mailboxes were when they were used."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from neurosim.memory import Floats, Integers
from neurosim.plots import style


def draw(teams: Mapping[str, tuple[Floats, Integers]]) -> Figure:
    """Draw one colour for each label; values beside errors.

    Parameters
    ----------
    teams : for each label, what `analysis.traffic.staleness` returns.
    """
    style.apply()
    figure = style.Figure(figsize=(6.4, 2.9))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for d, (axes, what) in enumerate(zip(panels, ("values", "errors"), strict=True)):
        for index, (label, (edges, uses)) in enumerate(teams.items()):
            colour = style.COLOURS[index % len(style.COLOURS)]
            share = 100 * uses[d] / max(1, uses[d].sum())
            ends = np.append(edges, edges[-1] + edges[1])
            dashes = "--" if index % 2 else "-"  # teams often agree: let both be seen
            axes.stairs(share, ends, color=colour, ls=dashes, lw=1.2, label=label)
        axes.set_title(f"mailboxes of {what}", fontsize=9)
        axes.margins(x=0)
    last = max(np.flatnonzero(uses.sum(axis=0)).max(initial=0) for _, uses in teams.values())
    edges = next(iter(teams.values()))[0]
    panels[0].set_xlim(0, edges[last] + 2 * edges[1])
    panels[0].set_ylabel("% of uses")
    style.add_legend(figure, panels[0])
    text = f"mean tick periods; the last bin is {edges[-1]:g} or more"
    figure.supxlabel(f"age of what a unit computes from ({text})", fontsize=9)
    return figure


def save(teams: Mapping[str, tuple[Floats, Integers]], path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(teams), path)
