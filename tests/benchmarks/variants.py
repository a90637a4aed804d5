"""Time of a tick by kind of delay, loss and clock, of the actor of `async/cartpole` (4-64-32-2).

    python tests/benchmarks/variants.py [--quick] [--json PATH]

A whole time step of the team with learning, divided by its value and error ticks.  Ratios are to
the model itself: Poisson clocks, one delay.
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.async_team import Team, timed
from benchmarks.harness import Line, in_turn, lines, main, rounds

import neurosim

STEPS = 50  # of a round
MODEL: dict[str, Any] = {}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "delays": {
        "one for all": MODEL,
        "each projection its own": {"delay": [1.0, 0.5]},
        "each unit its own": {"unit_delay": 1.0},
        "each packet its own": {"packet_delay": 1.0},
        "each packet, newest kept": {"packet_delay": 1.0, "reorder": "newest"},
        "each synapse its own": {"synapse_delay": 1.0},
        "none": {"delay": 0.0},
    },
    "losses": {
        "none": MODEL,
        "of packets": {"loss": 0.1},
        "at each synapse": {"loss": 0.1, "loss_per": "synapse"},
        "small changes not sent": {"send_on_delta": 0.1},
    },
    "clocks": {
        "poisson": MODEL,
        "poisson, rates of their own": {"rate_spread": 0.5},
        "periodic": {"clock": "periodic"},
        "periodic with jitter": {"clock": "periodic", "jitter": 0.2},
        "synchronous": {"clock": "synchronous"},
    },
    "feedback": {
        "kolen_pollack": MODEL,
        "symmetric": {"feedback": "symmetric"},
        "random": {"feedback": "random"},
    },
}


def measure(quick: bool) -> Iterator[Line]:
    """The lines."""
    for case, variants in VARIANTS.items():
        contestants, teams = {}, {}
        for name, timing in variants.items():
            changes = {f"timing.{key}": value for key, value in timing.items()}
            team = teams[name] = Team(neurosim.load("async/cartpole", changes).spec, "actor", 4, 2)
            contestants[name] = partial(timed, team, 4, STEPS)
        found = {
            name: [s / ticks for s, ticks in zip(values, teams[name].ticks[1:], strict=True)]
            for name, values in in_turn(contestants, rounds(quick)).items()
        }
        yield from lines(case, "ns a tick", found, 1e9)


if __name__ == "__main__":
    main(__file__, measure, __doc__)
