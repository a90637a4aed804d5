"""Time of an asynchronous team's step, as a ratio to the same step in C.

    python tests/benchmarks/async_engine.py [--quick]

async_engine.c is written by hand for what is measured here (Poisson clocks, one delay, learned
feedback weights) and compiled with gcc.  Before anything is timed both play eight steps with
learning; their weights, traces, moments, values and counters must be equal bit for bit.

Each round times the two in turn, in this one process, called step by step from Python as the
learner does it, on the same observations and td_errors; ratios are taken round by round.  Times
are the process's CPU time, which other jobs on the machine disturb least.

us a step  a whole time step of one team: sampling wave, broadcast with Adam, window, traces.
ns a tick  the same, divided by the window's ticks (value ticks and error ticks).
x C        neurosim's time divided by C's: median of the rounds, lowest and highest.

Deep: 32 layers of 64 units.  Its ns a tick, divided by those of 4-64-32-2 in the same round, say
what depth costs; multiply-adds a tick are printed beside it, because they differ as well.

Wide: a team whose weights do not fit the caches, without learning.  The time of a window of 8
periods, less that of a window of 0.01 periods, is the ticks' alone.
deliveries/s  packets that arrived times their receivers, by the ticks' time.  A packet is written
              once, into a slot that all its receivers share.
GB/s read     weights and feedback weights that the ticks' sums took, 8 bytes each, by that time;
              beside it what np.dot reads from a matrix of that size and np.copyto copies (read and
              written), on one thread, in the same rounds.
"""

import argparse
import ctypes
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import numpy as np

import neurosim
from neurosim.kernels import traffic
from neurosim.kernels.clock import NOW
from neurosim.kernels.engine import KOLEN_POLLACK, SYMMETRIC
from neurosim.network import build_shared, build_team, read_shared
from neurosim.spec import Spec, timing_of
from neurosim.teams import AsynchronousTeam

SOURCE = Path(__file__).with_suffix(".c")
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
# The last two let gcc vectorise loops with square roots and comparisons; they change no bits.
STEPS = 100  # of each timed round
TICKS = [traffic.MOVES, traffic.IDLE, traffic.REPORTS]
SUMS = [traffic.FORWARD, traffic.FEEDBACK]
ARRIVED = [traffic.DELIVERED, traffic.IN_FLIGHT]
SHORT = 0.01  # periods, a window with hardly a tick
Observations = np.ndarray[Any, np.dtype[np.float64]]


class Settings(ctypes.Structure):
    """Mirror of Settings in async_engine.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("layers", "where", "gated", "learned_feedback")),
        *((name, ctypes.c_int64) for name in ("silent", "window")),
        ("key", ctypes.c_int64 * 2),
        *((name, ctypes.c_double) for name in ("T", "c", "trace_decay", "gate_floor", "keep")),
        *((name, ctypes.c_double) for name in ("beta1", "beta2", "epsilon")),
        *((name, ctypes.c_double) for name in ("correction_until", "anneal_steps")),
    )


def compiled(folder: str) -> ctypes.CDLL:
    """The C team as a shared library."""
    path = Path(folder) / "async_engine.so"
    subprocess.run(["gcc", *FLAGS, "-shared", "-fPIC", "-o", path, SOURCE, "-lm"], check=True)
    library = ctypes.CDLL(str(path))
    pointer, integer, double = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
    for name, result, arguments in (
        ("new", pointer, [pointer] * 11),
        ("act", integer, [pointer, integer, pointer]),
        ("settle", integer, [pointer, integer, double, integer, integer]),
        ("parameters", pointer, [pointer, integer]),
        ("values", None, [pointer, pointer]),
        ("counts", None, [pointer, pointer]),
        ("free", None, [pointer]),
    ):
        function = getattr(library, f"team_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class Ours:
    """neurosim's team, called as the learner calls it."""

    def __init__(self, spec: Spec, name: str, n_out: int) -> None:
        shared = build_shared(spec.learning, 0)
        settings = getattr(spec, name)
        block = build_team(name, settings, spec.learning, spec.adam, 4, n_out, 0)
        self.shared = read_shared(shared)
        self.team = AsynchronousTeam(
            name, block, shared, timing_of(spec, name), settings.N, self.shared.key
        )

    def step(self, observation: Observations, td_error: float, learning: bool) -> None:
        team = self.team
        team.act(observation)
        if team.settle(td_error, team.ready, learning) >= 0:
            raise SystemExit("a unit has diverged: nothing can be measured")
        self.shared.steps[0] += 1
        team.mail.clock[NOW] = team.ready + team.wiring.duration

    @property
    def counts(self) -> np.ndarray:
        return self.team.mail.counts

    @property
    def values(self) -> np.ndarray:
        memory = self.team.memory
        return memory.h[memory.size[0] :]

    def parameters(self) -> dict[str, np.ndarray]:
        memory, mail = self.team.memory, self.team.mail
        found = {name: getattr(memory, name) for name in ("w", "z", "m", "v", "wt")}
        return found | {name: getattr(mail, name) for name in ("zt", "mt", "vt")}


class Theirs:
    """The C team, with the weights that one of neurosim's has now; called in the same way."""

    def __init__(self, library: ctypes.CDLL, ours: Ours) -> None:
        team, wiring, shared = ours.team.memory, ours.team.wiring, ours.shared
        inputs, layers = int(team.size[0]), team.size.size
        assert wiring.poisson
        assert wiring.in_order
        assert not wiring.per_synapse
        assert wiring.feedback in (KOLEN_POLLACK, SYMMETRIC)
        settings = Settings(
            layers=layers,
            where=int(team.where),
            gated=int(team.gated),
            learned_feedback=int(wiring.feedback == KOLEN_POLLACK),
            silent=int(wiring.silent),
            window=int(wiring.window),
            key=(ctypes.c_int64 * 2)(*map(int, shared.key)),
            anneal_steps=shared.anneal_steps,
            correction_until=team.bias_correction_until,
            keep=wiring.keep,
            **{k: getattr(team, k) for k in ("T", "c", "trace_decay", "gate_floor")},
            **{k: getattr(team, k) for k in ("beta1", "beta2", "epsilon")},
        )
        delay = wiring.delay.reshape(2, -1)[:, team.unit]  # of each layer's first unit
        arrays = (
            *(team.size, team.activation, team.alpha, team.anneal_to, team.var[inputs:]),
            *(wiring.interval[inputs:], wiring.lag[inputs:], delay, team.w, team.wt),
        )
        arrays = tuple(np.ascontiguousarray(array) for array in arrays)
        self._library, self._ours = library, ours
        self._act, self._settle = library.team_act, library.team_settle
        self._team = library.team_new(ctypes.byref(settings), *(a.ctypes.data for a in arrays))
        self._duration = wiring.duration
        self._now = self._steps = 0

    def step(self, observation: Observations, td_error: float, learning: bool) -> None:
        ready = self._act(self._team, self._now, observation.ctypes.data)
        if self._settle(self._team, ready, td_error, learning, self._steps) >= 0:
            raise SystemExit("a unit has diverged: nothing can be measured")
        self._steps += 1
        self._now = ready + self._duration

    @property
    def counts(self) -> np.ndarray:
        counts = np.zeros_like(self._ours.counts)
        self._library.team_counts(self._team, counts.ctypes.data)
        return counts

    @property
    def values(self) -> np.ndarray:
        h = np.zeros_like(self._ours.values)
        self._library.team_values(self._team, h.ctypes.data)
        return h

    def parameters(self) -> dict[str, np.ndarray]:
        found = {}
        for which, (name, mine) in enumerate(self._ours.parameters().items()):
            address = self._library.team_parameters(self._team, which)
            found[name] = np.ctypeslib.as_array((ctypes.c_double * mine.size).from_address(address))
        return found

    def close(self) -> None:
        self._library.team_free(self._team)


def inputs(steps: int) -> tuple[Observations, list[float]]:
    """Observations (steps, 4) and td_errors."""
    random = np.random.default_rng(1)
    return random.normal(scale=0.5, size=(steps, 4)), random.normal(size=steps).tolist()


def check(ours: Ours, theirs: Theirs, steps: int = 8) -> None:
    """Both must have the same bits after some steps, the first of them without learning."""
    observations, td_errors = inputs(steps)
    for n, (observation, td_error) in enumerate(zip(observations, td_errors, strict=True)):
        for team in (ours, theirs):
            team.step(observation, td_error, n > 0)
        np.testing.assert_array_equal(theirs.counts, ours.counts, f"counts, step {n}")
        np.testing.assert_array_equal(theirs.values, ours.values, f"h, step {n}")
    for name, array in theirs.parameters().items():
        np.testing.assert_array_equal(array, ours.parameters()[name], name)
    assert all(np.any(array) for array in ours.parameters().values() if array.size)


def deep() -> dict[str, Any]:
    """Overrides for an actor with 32 layers of 64 units."""
    return {
        "actor.units": [64] * 32,
        "actor.activation": ["softplus"] * 32,
        "actor.var": [0.1] * 32,
        "actor.alpha": [1e-5] * 33,
        "actor.anneal_to": [0.1] * 33,
        "actor.step_size": 0.1,
    }


def model(overrides: dict[str, Any]) -> Spec:
    return neurosim.load("async/cartpole", overrides).spec


class Pair:
    """A team twice, checked; and what has been measured of it."""

    def __init__(self, library: ctypes.CDLL, spec: Spec, name: str, n_out: int) -> None:
        ours = Ours(spec, name, n_out)
        self.teams = {"neurosim": ours, "C": Theirs(library, ours)}
        check(*self.teams.values())
        self.forget()

    def time(self, steps: int, learning: bool = True) -> None:
        """A round of both: seconds a step, and what happened in a step."""
        observations, td_errors = inputs(steps)
        for name, team in self.teams.items():
            seconds = 0.0
            for observation, td_error in zip(observations, td_errors, strict=True):
                start = time.process_time()
                team.step(observation, td_error, learning)
                seconds += time.process_time() - start
                if name == "neurosim":
                    self.tally(steps)
            self.seconds[name].append(seconds / steps)

    def tally(self, steps: int) -> None:
        """Add what has been counted in this step."""
        ours = self.teams["neurosim"]
        size = ours.team.memory.size
        totals = ours.counts[10 * size.size :]
        self.ticks += int(totals[TICKS].sum()) / steps
        self.sums += int(totals[SUMS].sum()) / steps
        arrived = ours.counts[: 10 * size.size].reshape(5, -1)[ARRIVED].sum(axis=0)
        receivers = np.concatenate([size[1:], [0], size[:-1], [0]])  # of each lane
        self.arrivals += int(arrived @ receivers) / steps

    def forget(self) -> None:
        """Begin to measure."""
        self.seconds = {name: [] for name in self.teams}
        self.ticks = self.sums = self.arrivals = 0.0

    def per_round(self, name: str) -> np.ndarray:
        return np.array(self.seconds[name])

    @property
    def rounds(self) -> int:
        return len(self.seconds["C"])

    def close(self) -> None:
        self.teams["C"].close()


def spread(values: Any, form: str = ".2f") -> str:
    """Median, lowest and highest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def report(label: str, pair: Pair) -> None:
    """Lines of one team."""
    ticks = pair.ticks / pair.rounds
    print(
        f"{label}: {ticks:.0f} ticks and {pair.sums / pair.rounds / ticks:.1f} multiply-adds each"
    )
    for name in pair.teams:
        seconds = pair.per_round(name)
        print(
            f"  {name:9} {spread(1e6 * seconds, '.1f')} us a step   "
            f"{spread(1e9 * seconds / ticks, '.1f')} ns a tick"
        )
    print(f"  ratio     {spread(pair.per_round('neurosim') / pair.per_round('C'))} x C")


def small_and_deep(library: ctypes.CDLL, rounds: int) -> None:
    """4-64-32-2, 4-64-32-1 and 32 layers of 64."""
    pairs = {
        "actor 4-64-32-2": (Pair(library, model({}), "actor", 2), STEPS),
        "critic 4-64-32-1": (Pair(library, model({}), "critic", 1), STEPS),
        "deep 4-(32 x 64)-2": (Pair(library, model(deep()), "actor", 2), STEPS // 20),
    }
    for round_ in range(rounds + 1):
        for pair, steps in pairs.values():
            pair.time(steps)
        if round_ == 0:  # the first one warms up
            for pair, _ in pairs.values():
                pair.forget()
    for label, (pair, _) in pairs.items():
        report(label, pair)
    (actor, _), _, (tall, _) = pairs.values()
    for name in actor.teams:
        ratio = (tall.per_round(name) / tall.ticks) / (actor.per_round(name) / actor.ticks)
        print(f"  {name:9} {spread(ratio)} x the ns a tick of 4-64-32-2")
    for pair, _ in pairs.values():
        pair.close()


def bandwidth(matrix: np.ndarray) -> tuple[Callable[[], None], Callable[[], None], np.ndarray]:
    """np.dot and np.copyto of a matrix, as calls."""
    copied, vector = np.zeros_like(matrix), np.ones(matrix.shape[1])
    return lambda: np.dot(matrix, vector), lambda: np.copyto(copied, matrix), copied


def wide(library: ctypes.CDLL, rounds: int) -> None:
    """4-10000-1000-2: 80 MB of weights and as much of feedback weights."""
    sizes = {"actor.units": [10_000, 1_000], "actor.alpha": [1e-6] * 3, "timing.delay": 0.5}
    # as many inputs as here would move a unit far from its mean
    sizes |= {"actor.var": [1e-3, 1e-1], "actor.step_size": 0.1}
    short, long = (
        Pair(library, model(sizes | {"timing.window": window}), "actor", 2)
        for window in (SHORT, 8.0)
    )
    matrix = np.ones((1_000, 10_000))
    dot, copy, _ = bandwidth(matrix)
    memory: dict[str, list[float]] = {"np.dot reads": [], "np.copyto copies": []}
    for round_ in range(rounds + 1):
        for pair in (short, long):
            pair.time(1, learning=False)
        for (label, found), call in zip(memory.items(), (dot, copy), strict=True):
            start = time.process_time()
            call()
            factor = 1 if label == "np.dot reads" else 2
            found.append(1e-9 * factor * matrix.nbytes / (time.process_time() - start))
        if round_ == 0:
            for pair in (short, long):
                pair.forget()
            memory = {label: [] for label in memory}
    ticks, sums, arrivals = (
        (getattr(long, what) - getattr(short, what)) / rounds
        for what in ("ticks", "sums", "arrivals")
    )
    print(f"wide 4-10000-1000-2: {ticks:.0f} ticks, {sums / ticks:.0f} multiply-adds each")
    both = {}
    for name in long.teams:
        both[name] = seconds = long.per_round(name) - short.per_round(name)
        print(
            f"  {name:9} {spread(1e3 * seconds, '.1f')} ms the ticks   "
            f"{spread(arrivals / seconds, '.3g')} deliveries/s   "
            f"{spread(8e-9 * sums / seconds)} GB/s read"
        )
    print(f"  ratio     {spread(both['neurosim'] / both['C'])} x C")
    for label, found in memory.items():
        print(f"  {label} {spread(found)} GB/s")
    for pair in (short, long):
        pair.close()


def main() -> None:
    """Compile, compare and time."""
    parser = argparse.ArgumentParser(description="An asynchronous team's step against C.")
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 15")
    rounds = 3 if parser.parse_args().quick else 15
    with tempfile.TemporaryDirectory() as folder:
        library = compiled(folder)
        check_symmetric(library)
        small_and_deep(library, rounds)
        wide(library, rounds)


def check_symmetric(library: ctypes.CDLL) -> None:
    """The bits with symmetric feedback too, which nothing is timed with."""
    for name, n_out in (("actor", 2), ("critic", 1)):
        Pair(library, model({"timing.feedback": "symmetric"}), name, n_out).close()


if __name__ == "__main__":
    main()
