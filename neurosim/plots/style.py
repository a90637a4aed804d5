"""One look for all figures: colour-blind safe, units on the axes, PNG and PDF."""

from pathlib import Path

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurosim.errors import InputError, RunError
from neurosim.memory import Floats

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


def spread(values: Floats) -> Floats:
    """10th, 50th and 90th percentile (3, n) of values (steps, n), over the steps that have one.

    nan is a step without a value; a column of nothing else has the percentiles nan.
    """
    found = np.full((3, values.shape[1]), np.nan)
    known = ~np.isnan(values).all(axis=0)
    found[:, known] = np.nanquantile(values[:, known], [0.1, 0.5, 0.9], axis=0)
    return found


def add_legend(figure: Figure, axes: Axes, title: str | None = None) -> None:
    """One legend above all panels, of the labels in one of them."""
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, min(len(labels), 96 // (8 + max(map(len, labels)))))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, title=title)


def check_figure_path(path: Path) -> None:
    """Raise InputError unless `path` can hold a figure."""
    if path.suffix not in (".png", ".pdf", ".svg"):
        raise InputError(f"-o {path}: a figure is a .png, .pdf or .svg file.")
    if not path.parent.is_dir():
        raise InputError(f"-o {path}: there is no folder {path.parent}; make it first.")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure.  Raises RunError where that fails."""
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}  # the same bits each time
    try:
        figure.savefig(path, metadata=dates.get(path.suffix))
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror}.") from error
