"""Time of an asynchronous team's step, beside the same step in C.

    python tests/benchmarks/async_engine.py [--quick] [--json PATH]

async_engine.c is written by hand for what is measured here (Poisson clocks, one delay, learned
feedback weights) and compiled with gcc.  Before anything is timed both play eight steps with
learning; their weights, traces, moments, values and counters must be equal bit for bit.

Both are called step by step from Python as the learner does it, on the same observations and
td_errors.

us a step  a whole time step of one team: sampling wave, broadcast with Adam, window, traces.
ns a tick  the same, divided by the window's ticks (value ticks and error ticks).

Deep: 32 layers of 64 units.  Its ns a tick, divided by those of 4-64-32-2 in the same round, say
what depth costs; multiply-adds a tick are printed beside it, because they differ as well.

Wide: a team whose weights do not fit the caches, without learning.  The time of a window of 8
periods, less that of a window of 0.01 periods, is the ticks' alone.
deliveries/s  packets that arrived times their receivers, by the ticks' time.  A packet is written
              once, into a slot that all its receivers share.
GB/s read     weights and feedback weights that the ticks' sums took, 8 bytes each, by that time;
              beside it what np.dot reads from a matrix of that size and np.copyto copies (read and
              written), on one thread, in the same rounds.

Environment step: both teams, the environment and all that Python does between them, beside the two
teams alone in C.
"""

import ctypes
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import c_async
from benchmarks.async_team import Team, both, timed
from benchmarks.harness import OURS, Line, cpu_seconds, in_turn, lines, main, rounds, spread

import neurosim
from neurosim.learners import AsynchronousMapProp
from neurosim.spec import Spec
from neurosim.tasks import Environment

STEPS = 100  # of a round
SHORT, LONG = 0.01, 8.0  # periods, a window with hardly a tick and one with many
DEEP: dict[str, Any] = {
    "actor.units": [64] * 32,
    "actor.activation": ["softplus"] * 32,
    "actor.var": [0.1] * 32,
    "actor.alpha": [1e-5] * 33,
    "actor.anneal_to": [0.1] * 33,
    "actor.step_size": 0.1,
}
WIDE: dict[str, Any] = {
    "actor.units": [10_000, 1_000],
    "actor.alpha": [1e-6] * 3,
    "actor.var": [1e-3, 1e-1],  # as many inputs as here would move a unit far from its mean
    "actor.step_size": 0.1,
    "timing.delay": 0.5,
}
Found = Mapping[str, Sequence[float]]


def model(overrides: dict[str, Any]) -> Spec:
    return neurosim.load("async/cartpole", overrides).spec


def per(found: Found, amounts: Sequence[float]) -> dict[str, list[float]]:
    """Values of each round divided by an amount of each round."""
    return {
        who: [value / amount for value, amount in zip(values, amounts, strict=True)]
        for who, values in found.items()
    }


def of_ticks(case: str, ours: Team) -> Iterator[Line]:
    """How many there were and what they summed."""
    yield Line(case, "ticks", "a step", spread(ours.ticks))
    yield Line(case, "multiply-adds", "a tick", spread(per({"": ours.sums}, ours.ticks)[""]))


def one_team(
    library: ctypes.CDLL, spec: Spec, name: str, n_out: int, steps: int, quick: bool
) -> tuple[Team, Found]:
    """A team beside C: neurosim's, and seconds a step."""
    ours, theirs = both(library, spec, name, 4, n_out)
    contestants = {OURS: partial(timed, ours, 4, steps), "C": partial(timed, theirs, 4, steps)}
    found = in_turn(contestants, rounds(quick))
    del ours.ticks[0], ours.sums[0]  # the first round warms up
    return ours, found


def small_and_deep(library: ctypes.CDLL, quick: bool) -> Iterator[Line]:
    """4-64-32-2, 4-64-32-1 and 32 layers of 64."""
    a_tick = {}
    for case, overrides, name, n_out, steps in (
        ("4-64-32-2", {}, "actor", 2, STEPS),
        ("4-64-32-1", {}, "critic", 1, STEPS),
        ("4-(32 x 64)-2", DEEP, "actor", 2, STEPS // 20),
    ):
        ours, found = one_team(library, model(overrides), name, n_out, steps, quick)
        a_tick[case] = per(found, ours.ticks)
        yield from lines(case, "us a step", found, 1e6)
        yield from lines(case, "ns a tick", a_tick[case], 1e9)
        yield from of_ticks(case, ours)
    for who, values in a_tick["4-(32 x 64)-2"].items():
        ratio = spread(per({"": values}, a_tick["4-64-32-2"][who])[""])
        yield Line("4-(32 x 64)-2", who, "x that of 4-64-32-2", ratio)


def wide(library: ctypes.CDLL, quick: bool) -> Iterator[Line]:
    """4-10000-1000-2: 80 MB of weights and as much of feedback weights."""
    case = "4-10000-1000-2"
    short, long = (
        both(library, model(WIDE | {"timing.window": window}), "actor", 4, 2)
        for window in (SHORT, LONG)
    )

    def ticks_alone(which: int) -> float:
        more, less = (timed(teams[which], 4, 1, learning=False) for teams in (long, short))
        return more - less

    matrix = np.ones((1_000, 10_000))
    copied, vector = np.zeros_like(matrix), np.ones(10_000)
    gigabytes = 1e-9 * matrix.nbytes
    contestants = {
        OURS: partial(ticks_alone, 0),
        "C": partial(ticks_alone, 1),
        "np.dot": lambda: cpu_seconds(lambda: np.dot(matrix, vector)) / gigabytes,
        "np.copyto": lambda: cpu_seconds(lambda: np.copyto(copied, matrix)) / (2 * gigabytes),
    }
    found = in_turn(contestants, rounds(quick))
    teams = {who: found[who] for who in (OURS, "C")}
    sums, arrivals = (
        [a - b for a, b in zip(getattr(long[0], k)[1:], getattr(short[0], k)[1:], strict=True)]
        for k in ("sums", "arrivals")
    )
    yield from lines(case, "ms, ticks alone", teams, 1e3)
    for amounts, unit, scale in ((arrivals, "deliveries/s", 1.0), (sums, "GB/s read", 8e-9)):
        rates = {who: [1.0 / x for x in values] for who, values in per(teams, amounts).items()}
        yield from lines(case, unit, rates, scale)
    for who, unit in (("np.dot", "GB/s read"), ("np.copyto", "GB/s copied")):
        yield Line(case, who, unit, spread(1.0 / x for x in found[who]))


def environment_step(library: ctypes.CDLL, quick: bool) -> Iterator[Line]:
    """An environment step of `async/cartpole`."""
    spec = model({})
    environment = Environment(spec.task, "softmax")
    agent = AsynchronousMapProp(spec, 4, 2, 0)
    teams = [both(library, spec, name, 4, n)[1] for name, n in (("actor", 2), ("critic", 1))]

    def steps() -> None:
        action = environment.action(agent.begin(environment.reset(0)))
        for _ in range(STEPS):
            observation, reward, terminated, _ = environment.step(action)
            if terminated:
                agent.end(observation, reward, True)
                action = environment.action(agent.begin(environment.reset(0)))
            else:
                action = environment.action(agent.step(observation, reward))

    contestants = {
        OURS: lambda: cpu_seconds(steps) / STEPS,
        "C, its two teams alone": lambda: sum(timed(team, 4, STEPS) for team in teams),
    }
    found = in_turn(contestants, rounds(quick))
    yield from lines("async/cartpole, an environment step", "us a step", found, 1e6)


def measure(quick: bool) -> Iterator[Line]:
    """The lines; quick: no wide team."""
    library = c_async.build()
    if library is None:
        return
    for name, n_out in (("actor", 2), ("critic", 1)):  # nothing is timed with it
        both(library, model({"timing.feedback": "symmetric"}), name, 4, n_out)
    yield from small_and_deep(library, quick)
    yield from environment_step(library, quick)
    if not quick:
        yield from wide(library, quick)


if __name__ == "__main__":
    main(__file__, measure, __doc__)
