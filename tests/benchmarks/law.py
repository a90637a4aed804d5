"""A law that cost should follow: its lines in a table, and its panel in a figure."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmarks.harness import Line, lines, spread
from matplotlib.figure import Figure

from neurosim.plots import style

JUDGED = {"units": (64, 1024), "layers": (2, 64), "samples": (1, 2**20)}  # sizes, ends included
LABELS = {"units": "units a layer", "layers": "hidden layers of 64 units"}


class Law(NamedTuple):
    """What sizes cost, round by round, and the amounts that they should cost in proportion to."""

    case: str
    size: str  # what differs, a key of JUDGED
    of: str  # what is timed
    amount: str  # what it should be in proportion to
    amounts: dict[int, float]  # by size
    seconds: dict[int, list[float]]

    def lines(self) -> Iterator[Line]:
        """Cost by size, cost by size and amount, and how far that is from a constant."""
        named = {
            f"{n} {self.size if n > 1 else self.size[:-1]}": values
            for n, values in self.seconds.items()
        }
        unit, scale = ("ns", 1e9) if self.of == "a tick" else ("us", 1e6)
        yield from lines(self.case, f"{unit} {self.of}", named, scale)
        if self.size != "samples":  # one amount for all
            each = {
                who: [s / amount for s in values]
                for (who, values), amount in zip(named.items(), self.amounts.values(), strict=True)
            }
            yield from lines(self.case, f"ns by {self.amount}", each, 1e9)
        worst = spread(
            self.deviation(dict(zip(self.seconds, seconds, strict=True)))
            for seconds in zip(*self.seconds.values(), strict=True)
        )
        yield Line(self.case, "worst deviation from the law", "%", worst)

    def constant(self, seconds: Mapping[int, float]) -> float:
        """Seconds an amount, halfway between the largest and the smallest of the sizes judged."""
        costs = self._costs(seconds)
        return math.sqrt(min(costs) * max(costs))

    def deviation(self, seconds: Mapping[int, float]) -> float:
        """The largest one of the sizes judged, in percent."""
        costs = self._costs(seconds)
        return 100.0 * (math.sqrt(max(costs) / min(costs)) - 1.0)

    def _costs(self, seconds: Mapping[int, float]) -> list[float]:
        low, high = JUDGED[self.size]
        return [s / self.amounts[n] for n, s in seconds.items() if low <= n <= high]


def draw(laws: list[Law], path: Path) -> None:
    """A panel for each law: medians with the range of the rounds, and exact proportion."""
    style.apply()
    figure = Figure(figsize=(7.5, 5.6))
    for axes, law in zip(figure.subplots(2, 2).flat, laws, strict=True):
        sizes, amounts = np.array(list(law.amounts)), np.array(list(law.amounts.values()))
        seconds = np.array(list(law.seconds.values()))
        median = np.median(seconds, axis=1)
        spread_ = np.abs(np.stack([seconds.min(axis=1), seconds.max(axis=1)]) - median)
        axes.errorbar(sizes, 1e6 * median, 1e6 * spread_, fmt="o", ms=4, label="measured")
        constant = law.constant(dict(zip(law.seconds, median.tolist(), strict=True)))
        axes.plot(sizes, 1e6 * constant * amounts, "--", label=f"∝ {law.amount}")
        axes.set(xscale="log", yscale="log", title=law.case)
        axes.set(xlabel=LABELS[law.size], ylabel=f"time of {law.of} (µs)")
        axes.set_xticks(sizes, map(str, sizes))
        axes.minorticks_off()
        axes.set_ylim(bottom=0.5e6 * median.min())
        axes.legend(loc="upper left")
    style.save_figure(figure, path)
