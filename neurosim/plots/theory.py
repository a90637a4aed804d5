"""The theorems, measured: Theorem 1, Appendix B.6, and Theorems 2 and 3, a panel each."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from neurosim.memory import Floats, Integers
from neurosim.plots import style

ROUNDING = 2.0**-53  # relative, of one operation


class Shown(NamedTuple):
    """What is drawn; L layers."""

    gradients: Sequence[tuple[Floats, Floats, Floats]]  # of each layer: exact, estimate, its error
    variances: Mapping[str, tuple[Floats, Floats]]  # of each estimator: (L,) and standard error
    N: Integers  # (K,) relaxation steps
    gaps: Mapping[str, Floats]  # of each team (K, cases, L), relative


def draw(shown: Shown) -> Figure:
    """Draw a figure of four panels.

    Returns
    -------
    The figure: estimates of a gradient against its exact entries, with one standard error; the
    variance of three estimators in each layer; and for actor and critic how far local gradients are
    from backprop's, medians and quartiles over the cases.
    """
    style.apply()
    figure = style.Figure(figsize=(7.2, 6.0))
    (first, second), below = figure.subplots(2, 2)
    _draw_gradients(first, shown.gradients)
    _draw_variances(second, shown.variances)
    below[1].sharey(below[0])
    for axes, (team, gap), number in zip(below, shown.gaps.items(), (2, 3), strict=True):
        _draw_gaps(axes, shown.N, gap)
        axes.set_title(f"Theorem {number}: {team} of cartpole")
    return figure


def _draw_gradients(axes: Axes, gradients: Sequence[tuple[Floats, Floats, Floats]]) -> None:
    """Estimates, and inset how many standard errors each is off."""
    inset = axes.inset_axes((0.62, 0.12, 0.38, 0.34))
    for layer, (exact, estimate, error) in enumerate(gradients, start=1):
        colour = style.COLOURS[layer - 1]
        axes.errorbar(exact, estimate, error, fmt="o", ms=3.5, lw=1.0, color=colour, label=layer)
        inset.plot(exact, (estimate - exact) / error, "o", ms=2.5, color=colour)
    inset.set_yticks([-2, 0, 2])
    inset.set_ylim(-4.0, 4.0)
    inset.set_xticks([])
    inset.axhline(0.0, color="0.7", lw=0.8, zorder=0)
    inset.set_title("off, in standard errors", fontsize="small")
    axes.axline((0.0, 0.0), slope=1.0, color="0.7", lw=0.8, zorder=0)
    axes.set_xlabel("$E[G\\,\\nabla \\log Pr(A|S)]$, integrated")
    axes.set_ylabel("$E[G\\,\\nabla \\log \\pi_l]$, samples of the team")
    axes.set_title("Theorem 1: entries of the gradient")
    axes.legend(title="layer", loc="upper left")


def _draw_variances(axes: Axes, variances: Mapping[str, tuple[Floats, Floats]]) -> None:
    for k, (label, (variance, error)) in enumerate(variances.items()):
        x = np.arange(1, variance.size + 1) + 0.15 * (k - (len(variances) - 1) / 2)
        axes.errorbar(x, variance, error, fmt="os^"[k], ms=5, color=style.COLOURS[k], label=label)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(range(1, variance.size + 1))))
    axes.set_xlim(0.5, variance.size + 0.5)
    axes.set_xlabel("layer, the last one the output")
    axes.set_ylabel("trace of the covariance (reward²)")
    axes.set_title("B.6: variance of a sample's gradient")
    axes.legend(loc="center right", bbox_to_anchor=(1.0, 0.44))


def _draw_gaps(axes: Axes, N: Integers, gap: Floats) -> None:
    """Gaps below ROUNDING are drawn there."""
    low, median, high = np.maximum(np.quantile(gap, [0.25, 0.5, 0.75], axis=1), ROUNDING)
    layers = gap.shape[-1]
    for layer in range(layers):
        colour = style.COLOURS[layer]
        label = f"layer {layer + 1}" if layer + 1 < layers else "output"
        axes.fill_between(N, low[:, layer], high[:, layer], alpha=0.2, color=colour, lw=0)
        axes.plot(N, median[:, layer], "o-", ms=3, lw=1.2, color=colour, label=label)
    axes.set_yscale("log")
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlim(-0.1, 1.2 * N[-1])
    axes.xaxis.set_major_locator(FixedLocator([0, 1, 10, 100]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("relaxation steps N")
    axes.set_ylabel("relative gap to backprop's gradient")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 0.06))
