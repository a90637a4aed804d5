"""Time of a batch of Algorithm 1 (model `multiplexer/map_prop`, 128 samples) beside NumPy and C.

    python tests/benchmarks/batch.py [--quick] [--json PATH]

All are given the same inputs and rewards: a batch is sampled, relaxed and learned from with one
Adam step.  Before they are timed the others must have neurosim's parameters after three batches, to
rounding; NumPy, which draws noise of its own, takes neurosim's samples for that.

with its task  neurosim's batch with inputs that it draws and actions that it rates.
NumPy          numpy_batch.py: products of matrices, everything in place.
C              batch.c by hand, gcc -O3 -march=native: samples side by side in vectors.
"""

import ctypes
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import c_agent
from benchmarks.c_agent import INTEGER, POINTER
from benchmarks.harness import OURS, Line, compiled, cpu_seconds, in_turn, lines, main, rounds
from benchmarks.numpy_batch import NumpyBatch
from numpy.testing import assert_allclose

import neurosim
from neurosim.kernels import rng
from neurosim.learners import MonteCarlo
from neurosim.memory import Team
from neurosim.network import weights
from neurosim.tasks import Environment

MODEL = "multiplexer/map_prop"
C = {"C, float64": ((), 1e-9), "C, float32": (c_agent.SINGLE, 2e-3)}  # flags, tolerance
BATCHES = 10  # of a round
FUNCTIONS = (
    *c_agent.TEAM,
    ("batch_new", POINTER, (POINTER, INTEGER)),
    ("batch_act", None, (POINTER, POINTER)),
    ("batch_learn", INTEGER, (POINTER, POINTER)),
    ("batch_values", None, (POINTER, POINTER)),
    ("batch_free", None, (POINTER,)),
)


class Given:
    """The inputs and rewards of every batch, where a learner looks for its task."""

    def __init__(self, environment: Environment, size: int) -> None:
        self.n_observations, self.n_actions = environment.n_observations, environment.n_actions
        self.discrete = environment.discrete
        self.inputs, self._answers = environment.samples.draw(np.array([1, 2]), 0, size)
        self.signal = np.random.default_rng(0).choice([-1.0, 1.0], size)
        self.samples = SimpleNamespace(
            draw=lambda key, first, n: (self.inputs, self._answers),
            rewards=lambda actions, answers: self.signal,
        )


class CBatch:
    """The C batch with the weights, settings and random numbers that one of neurosim's has now."""

    def __init__(self, library: ctypes.CDLL, team: Team, key: np.ndarray, given: Given) -> None:
        self._library, self._given, self._size = library, given, team.w.size
        self._team = c_agent.new_team(library, team, key)
        self._batch = library.batch_new(self._team, given.signal.size)

    def step(self) -> None:
        """A batch."""
        self._library.batch_act(self._batch, self._given.inputs.ctypes.data)
        if not self._library.batch_learn(self._batch, self._given.signal.ctypes.data):
            raise SystemExit("a unit has diverged: nothing can be measured")

    def parameters(self) -> dict[str, np.ndarray]:
        """w, z, m and v in neurosim's order."""
        return c_agent.parameters(self._library, self._team, self._size)

    def __del__(self) -> None:
        self._library.batch_free(self._batch)


class NumpyGiven(NumpyBatch):
    """NumPy's batch of what is given."""

    def __init__(self, team: Team, given: Given) -> None:
        super().__init__(team, given.signal.size)
        self._given = given

    def step(self) -> None:
        """A batch."""
        self.act(self._given.inputs)
        self.learn(self._given.signal)


def check_numpy(ours: MonteCarlo, theirs: NumpyGiven, given: Given) -> None:
    """The same weights after three batches."""
    for _ in range(3):
        ours.step()
        for H, first, n in zip(theirs.H, ours.actor.unit, ours.actor.size, strict=True):
            H[...] = ours.values[:, first : first + n]
        theirs.learn(given.signal)
    for l, (w, b) in enumerate(zip(theirs.W, theirs.b, strict=True), start=1):
        for mine, theirs_ in zip(weights(ours.actor, ours.actor.w, l), (w, b), strict=True):
            assert_allclose(theirs_, mine, 1e-9, 1e-9)


def check_c(ours: MonteCarlo, theirs: CBatch, tolerance: float) -> None:
    """The same parameters after three batches."""
    for _ in range(3):
        ours.step()
        theirs.step()
    for key, array in theirs.parameters().items():
        expected = getattr(ours.actor, key)
        assert_allclose(array, expected, tolerance, tolerance * np.abs(expected).max(), key)


def repeated(learner: MonteCarlo | NumpyGiven | CBatch) -> float:
    """CPU seconds of a round."""

    def batches() -> None:
        for _ in range(BATCHES):
            learner.step()

    return cpu_seconds(batches)


def learners() -> dict[str, MonteCarlo | NumpyGiven | CBatch]:
    """All, checked; those in C only with a compiler."""
    spec = neurosim.load(MODEL).spec
    environment = Environment(spec.task, spec.actor.output)
    given, key = Given(environment, spec.batch.size), rng.mixed_key(0)

    def ours() -> MonteCarlo:
        return MonteCarlo(spec, given, 0)

    numpys = NumpyGiven(ours().actor, given)
    check_numpy(ours(), numpys, given)
    found: dict[str, MonteCarlo | NumpyGiven | CBatch] = {
        OURS: ours(),
        "neurosim, with its task": MonteCarlo(spec, environment, 0),
        "NumPy": numpys,
    }
    for who, (flags, tolerance) in C.items():
        library = compiled("batch.c", FUNCTIONS, *flags)
        if library is not None:
            found[who] = CBatch(library, ours().actor, key, given)
            check_c(ours(), found[who], tolerance)
    return found


def measure(quick: bool) -> Iterator[Line]:
    """The lines."""
    contestants = {who: partial(repeated, learner) for who, learner in learners().items()}
    yield from lines(MODEL, "us a batch", in_turn(contestants, rounds(quick)), 1e6 / BATCHES)


if __name__ == "__main__":
    main(__file__, measure, __doc__)
