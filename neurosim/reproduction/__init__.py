"""The paper's tables and figures, made from scratch and set beside the published values."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from neurosim.reproduction import curves, mountaincar, table1, theory
from neurosim.studies.conditions import Condition


class Item(NamedTuple):
    """A table or figure."""

    conditions: Callable[[bool], list[Condition]]  # quick: the runs that it needs
    write: Callable[[Path, Path, bool, str], list[Path]]  # runs, results, quick, command: files


ITEMS = {
    "table1": Item(table1.conditions, table1.write),
    "fig1": Item(curves.fig1_conditions, curves.write_fig1),
    "fig2": Item(curves.fig2_conditions, curves.write_fig2),
    "fig4": Item(mountaincar.conditions, mountaincar.write_fig4),
    "fig5": Item(mountaincar.conditions, mountaincar.write_fig5),
    "theory": Item(lambda quick: [], theory.write),
}
