"""Operations of a decision, and sparsity, of several runs."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from neurosim.analysis.operations import Operations
from neurosim.plots import style

NAME = 60  # characters of a line of a name


def draw(runs: Mapping[str, Operations]) -> Figure:
    """Draw two bars for each label: multiply-adds made, synaptic operations.

    Parameters
    ----------
    runs : what each counted, by label.
    """
    style.apply()
    names = [style.wrapped(label, NAME) for label in runs]
    longest = max(len(line) for name in names for line in name.split("\n"))
    figure = style.Figure(figsize=(8.2 + longest / style.CHARACTERS, 1.5 + 0.5 * len(runs)))
    made, synaptic, numbers = figure.subplots(1, 3, sharey=True, width_ratios=[3, 3, 2.6])
    y = np.arange(len(runs))[::-1]
    left = np.zeros(len(runs))
    for k, phase in enumerate(("forward", "feedback", "learning")):
        width = np.array([each.multiply_adds[k] for each in runs.values()]) / 1000
        made.barh(y, width, 0.7, left, color=style.COLOURS[k], label=phase)
        left += width
    dense = np.array([each.dense for each in runs.values()]) / 1000
    macs = np.array([each.effective_macs for each in runs.values()]) / 1000
    acs = np.array([each.effective_acs for each in runs.values()]) / 1000
    synaptic.barh(y, dense, 0.7, color="0.8", label="dense")
    synaptic.barh(y, macs, 0.4, color=style.COLOURS[3], label="effective MACs")
    if acs.any():
        synaptic.barh(y, acs, 0.4, macs, color=style.COLOURS[4], label="effective ACs")
    made.set_yticks(y, names)
    made.set_xlabel("multiply-adds a step (thousands)")
    synaptic.set_xlabel("synaptic operations a step (thousands)")
    for axes in (made, synaptic):
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=7, columnspacing=1)
    numbers.set_axis_off()
    for column, heading in enumerate(("activation\nsparsity", "connection\nsparsity", "footprint")):
        where = 0.18 + 0.36 * column
        numbers.text(
            where, 1.02, heading, transform=numbers.transAxes, ha="center", va="bottom", fontsize=7
        )
        for height, each in zip(y, runs.values(), strict=True):
            text = (
                f"{each.activation_sparsity:z.1%}",
                f"{each.connection_sparsity:z.1%}",
                f"{each.footprint / 1000:.0f} kB",
            )[column]
            numbers.text(
                where,
                height,
                text,
                transform=numbers.get_yaxis_transform(),
                ha="center",
                va="center",
                fontsize=8,
            )
    return figure


def save(runs: Mapping[str, Operations], path: Path) -> None:
    """Draw into a .png, .pdf or .svg file."""
    style.save_figure(draw(runs), path)
