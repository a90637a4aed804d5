"""Cost of a step and of a tick by size, beside the law that each should follow.

    python tests/benchmarks/scaling.py [--quick] [--json PATH] [--figure PATH]

One team, two hidden layers of equal width, or hidden layers of 64 units; CPU time.

synchronous   a whole step (forward, Adam, N = 20 relaxation steps, traces) should cost in
              proportion to synapses x N.
asynchronous  a tick should cost in proportion to what it sums, the unit's fan-in and, at a value
              tick, its fan-out.  A window of 4 periods less one with hardly a tick, no learning.
batch         a sample of Algorithm 1 (`multiplexer/map_prop`) should cost the same in any batch.

The worst deviation from a law is that of the sizes from 64 to 1024 units a layer, or from 2 layers
of 64, when the law's constant is chosen such that it is smallest: 0 % would be exact proportion.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.async_team import Team, timed
from benchmarks.harness import Line, arguments, cpu_seconds, in_turn, rounds, run
from benchmarks.law import Law, draw

import neurosim
from neurosim.learners import MonteCarlo
from neurosim.network import build_shared, build_team, read_shared, read_team
from neurosim.tasks import Environment
from neurosim.teams import SynchronousTeam

WIDTHS = (64, 128, 256, 512, 1024, 2048, 4096)
DEPTHS = (1, 2, 4, 8, 16, 32, 64)
BATCHES = (16, 32, 64, 128, 256, 512, 1024, 2048)
QUICK_WIDTHS, QUICK_DEPTHS, QUICK_BATCHES = (64, 128), (1, 4), (16, 128)
SHORT, LONG = 0.01, 4.0  # periods
WORK = 4_000_000  # synapses of a round


def layers(units: list[int]) -> dict[str, Any]:
    """Overrides of an actor with these hidden layers; as many inputs as a wide layer has would move
    a unit far from its mean at the model's own variances."""
    wide = max(units) > 64
    return {
        "actor.units": units,
        "actor.activation": ["softplus"] * len(units),
        "actor.var": [1e-3 if wide else 0.1] * (len(units) - 1) + [0.1],
        "actor.alpha": [1e-9] * (len(units) + 1),
        "actor.anneal_to": [0.1] * (len(units) + 1),
        "actor.step_size": 0.1,
    }


def synapses(units: list[int]) -> int:
    """Weights of an actor with these hidden layers."""
    sizes = [4, *units, 2]
    return sum(a * b for a, b in zip(sizes[1:], sizes[:-1], strict=True))


def synchronous(case: str, size: str, shapes: Mapping[int, list[int]], quick: bool) -> Law:
    """Whole steps of a synchronous actor."""

    def step(units: list[int]) -> Callable[[], float]:
        spec = neurosim.load("cartpole", layers(units)).spec
        shared = read_shared(build_shared(spec.learning, 0))
        block = build_team("actor", spec.actor, spec.learning, spec.adam, 4, 2, 0)
        team, observation = SynchronousTeam(read_team(block), shared), np.full(4, 0.1)
        steps = max(1, WORK // (20 * synapses(units)))

        def go() -> None:
            for _ in range(steps):
                team.act(observation)
                team.learn(0.1)
                team.relax()
                team.accumulate()

        team.begin()
        return lambda: cpu_seconds(go) / steps

    found = in_turn({n: step(units) for n, units in shapes.items()}, rounds(quick))
    amounts = {n: 20.0 * synapses(units) for n, units in shapes.items()}
    return Law(case, size, "a step", "synapses x N", amounts, found)


def asynchronous(case: str, size: str, shapes: Mapping[int, list[int]], quick: bool) -> Law:
    """Ticks of an asynchronous actor."""
    teams = {}
    for n, units in shapes.items():
        specs = (
            neurosim.load(
                "async/cartpole", layers(units) | {"timing.window": w, "timing.delay": 0.5}
            ).spec
            for w in (LONG, SHORT)
        )
        teams[n] = [Team(spec, "actor", 4, 2) for spec in specs]

    def ticks(n: int) -> float:
        steps = max(1, WORK // (4 * synapses(shapes[n])))
        long, short = (timed(team, 4, steps, learning=False) for team in teams[n])
        return (long - short) / (teams[n][0].ticks[-1] - teams[n][1].ticks[-1])

    found = in_turn({n: partial(ticks, n) for n in shapes}, rounds(quick))
    amounts = {}
    for n, (long, short) in teams.items():
        sums, made = (sum(getattr(long, k)) - sum(getattr(short, k)) for k in ("sums", "ticks"))
        amounts[n] = sums / made
    return Law(case, size, "a tick", "fan-in + fan-out", amounts, found)


def batches(sizes: Sequence[int], quick: bool) -> Law:
    """Samples of Algorithm 1."""

    def sample(size: int) -> Callable[[], float]:
        spec = neurosim.load("multiplexer/map_prop", {"batch.size": size}).spec
        learner = MonteCarlo(spec, Environment(spec.task, "softmax"), 0)
        count = max(1, 2048 // size)

        def go() -> None:
            for _ in range(count):
                learner.step()

        return lambda: cpu_seconds(go) / (count * size)

    found = in_turn({size: sample(size) for size in sizes}, rounds(quick))
    return Law("batch", "samples", "a sample", "samples", dict.fromkeys(sizes, 1.0), found)


def laws(quick: bool) -> Iterator[Law]:
    """All of them."""
    widths = {n: [n, n] for n in (QUICK_WIDTHS if quick else WIDTHS)}
    depths = {n: [64] * n for n in (QUICK_DEPTHS if quick else DEPTHS)}
    yield synchronous("width, synchronous", "units", widths, quick)
    yield asynchronous("width, asynchronous", "units", widths, quick)
    yield synchronous("depth, synchronous", "layers", depths, quick)
    yield asynchronous("depth, asynchronous", "layers", depths, quick)
    yield batches(QUICK_BATCHES if quick else BATCHES, quick)


def measure(quick: bool, figure: Path | None = None) -> Iterator[Line]:
    """The lines; and the figure, if it is asked for."""
    found = []
    for law in laws(quick):
        found.append(law)
        yield from law.lines()
    if figure is not None:
        draw(found[:4], figure)


def main() -> None:
    """The benchmark as a script."""
    parser = arguments(__doc__)
    parser.add_argument("--figure", type=Path, metavar="PATH", help="draw cost against size there")
    options = parser.parse_args()
    run("scaling", lambda quick: measure(quick, options.figure), options)


if __name__ == "__main__":
    main()
