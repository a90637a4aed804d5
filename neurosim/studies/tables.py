"""Tables as Markdown and CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path

from neurosim import experiment

Row = Sequence[str | int | float]


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Row]) -> Path:
    """Write a table for programs; numbers in full."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return path


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for readers."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_page(path: Path, title: str, parts: Sequence[str], command: str) -> Path:
    """Write a Markdown page, which ends with what made it."""
    versions = ", ".join(f"{k} {v}" for k, v in experiment.installed_versions().items())
    made = f"Made by `{command}` with {versions}.\n"
    path.write_text("\n".join([f"# {title}\n", *parts, made]), "utf-8")
    return path


def spread(mean: float, std: float, digits: int = 2) -> str:
    """Mean ± standard deviation."""
    return f"{mean:.{digits}f} ± {std:.{digits}f}"


def interval(low: float, high: float, digits: int = 2) -> str:
    """An interval, or a dash where there is none."""
    return f"{low:.{digits}f} … {high:.{digits}f}" if low == low else "–"
