"""Figures as PNG and PDF."""

from pathlib import Path

from matplotlib.figure import Figure

from neurosim.plots import style


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure in both forms; gives their paths."""
    paths = [stem.with_suffix(suffix) for suffix in (".png", ".pdf")]
    for path in paths:
        style.save_figure(figure, path)
    return paths
