"""One look for all figures: colour-blind safe, units on the axes, PNG and PDF."""

from pathlib import Path

import matplotlib
from cycler import cycler

from neurosim.errors import InputError

# Okabe and Ito's palette
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]


def apply() -> None:
    """Set the style of figures drawn from now on."""
    matplotlib.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "font.size": 9,
            "legend.frameon": False,
            "savefig.dpi": 200,
        }
    )


def check_figure_path(path: Path) -> None:
    """Raise InputError unless `path` can hold a figure."""
    if path.suffix not in (".png", ".pdf", ".svg"):
        raise InputError(f"-o {path}: a figure is a .png, .pdf or .svg file.")
