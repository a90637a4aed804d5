"""Deliveries per second of asynchronous packets, beside Brian2.

    pip install brian2 "numpy<2.4"      # Brian2 2.9 cannot be imported with a later numpy
    python tests/benchmarks/peers.py

Each round times neurosim and one kind of Brian2 run in turn, on one thread; ratios are taken round
by round.  Times are the process's CPU time, which other jobs on the machine disturb least.

What is compared: 64 sources, each of which sends a value at Poisson times, on average once a
period, to 32 targets; each of the 2048 synapses has a delay of its own, uniform between 1/2 and 3/2
of a period, and a slot that holds what arrived last; each target reads its slots at Poisson times
of its own, on average once a period, and sums them with its weights.  A *delivery* is one value
that reaches one synapse's slot.

neurosim  an asynchronous team 4-64-32-1 with the per-synapse transport (synapse_delay), in a window
          of 200 periods, without learning; act and settle are timed.  It does more than what is
          compared: error packets go down over the same synapses, units move by them, and all keep
          traces.  So there are two numbers, from the team's own counters (what was delivered
          in the window, and what was in flight at its end and landed): `values` counts deliveries
          from layer 1 to layer 2 alone, those that Brian2's model has, with all other work in
          the time; `all` counts every projection, up and down.  Times are exact to 2**-20 periods.
Brian2    sources and targets are NeuronGroups with Poisson threshold events; Synapses have
          `slot = x_pre` on a source's event, after the synapse's delay, and
          `total_post += w * slot` on a target's: between events nothing is computed.  x_pre is read
          at the arrival, not when it was sent, which spares Brian2 a queue of values.  Time
          goes in steps of dt, with at most one event of a unit in each: 1/10 and 1/100 of a period.
          Deliveries are the sources' events times 32.
          C++: a program of its own (cpp_standalone, gcc), main loop alone, by its own wall clock.
          Cython: run from Python; the time of a run of one step is subtracted.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness import spread

import neurosim
from neurosim.kernels import traffic
from neurosim.kernels.clock import NOW
from neurosim.network import build_shared, build_team, read_shared
from neurosim.spec import timing_of
from neurosim.teams import AsynchronousTeam

try:
    import brian2
except ImportError:
    sys.exit("This benchmark needs Brian2, which neurosim itself does not: pip install brian2")

ROUNDS = 7
SOURCES, TARGETS = 64, 32
PERIODS = 200  # of neurosim's window
STEPS = (10, 100)  # time steps of Brian2 in a period
PROGRAM_PERIODS = 5000.0
CYTHON_PERIODS = {10: 4000.0, 100: 400.0}
Deliveries = dict[str, float]  # per second, by what is counted


def neurosim_team() -> Callable[[], Deliveries]:
    """One window of the team 4-64-32-1."""
    changes = {"timing.window": float(PERIODS), "timing.delay": 0.5, "timing.synapse_delay": 1.0}
    spec = neurosim.load("async/cartpole", changes).spec
    shared = build_shared(spec.learning, 0)
    block = build_team("critic", spec.critic, spec.learning, spec.adam, 4, 1, 0)
    key = read_shared(shared).key
    team = AsynchronousTeam("critic", block, shared, timing_of(spec, "critic"), spec.critic.N, key)
    assert team.memory.size.tolist() == [4, SOURCES, TARGETS, 1]
    assert team.wiring.per_synapse
    lanes, observation = 2 * team.memory.size.size, np.full(4, 0.1)

    def run() -> Deliveries:
        start = time.process_time()
        team.act(observation)
        diverged = team.settle(0.0, team.ready, False)
        seconds = time.process_time() - start
        assert diverged < 0
        team.mail.clock[NOW] = team.ready + team.wiring.duration
        counts = team.mail.counts[: 5 * lanes].reshape(5, lanes)
        landed = counts[traffic.DELIVERED] + counts[traffic.IN_FLIGHT]
        return {"values": float(landed[1]) / seconds, "all": float(landed.sum()) / seconds}

    return run


def brian_network(steps: int) -> tuple[brian2.Network, brian2.NeuronGroup]:
    """Sources, targets and synapses with `steps` time steps in a period, which is a second here."""
    brian2.defaultclock.dt = 1.0 / steps * brian2.second
    sources = brian2.NeuronGroup(
        SOURCES,
        "x : 1\nsent : integer",
        threshold="rand() < dt / second",
        reset="x = randn(); sent += 1",
    )
    targets = brian2.NeuronGroup(
        TARGETS,
        "total : 1\ny : 1",
        threshold="rand() < dt / second",
        reset="y = log1p(exp(total)); total = 0",
    )
    synapses = brian2.Synapses(
        sources,
        targets,
        "w : 1\nslot : 1",
        on_pre="slot = x_pre",
        on_post="total_post += w * slot",
    )
    synapses.connect()
    synapses.w = "(2 * rand() - 1) * 0.25"
    synapses.pre.delay = "(0.5 + rand()) * second"
    return brian2.Network(sources, targets, synapses), sources


def brian_cython(steps: int, _: str) -> Callable[[], Deliveries]:
    """Brian2 with compiled Cython code, run from Python."""
    brian2.device.reinit()
    brian2.set_device("runtime")
    brian2.prefs.codegen.target = "cython"
    network, sources = brian_network(steps)
    network.run(10 * brian2.second)  # compiles

    def run() -> Deliveries:
        times, sent = [], []
        for periods in (1.0 / steps, CYTHON_PERIODS[steps]):
            before = int(np.sum(sources.sent))
            start = time.process_time()
            network.run(periods * brian2.second)
            times.append(time.process_time() - start)
            sent.append(int(np.sum(sources.sent)) - before)
        return {"values": TARGETS * (sent[1] - sent[0]) / (times[1] - times[0])}

    return run


def brian_program(steps: int, folder: str) -> Callable[[], Deliveries]:
    """Brian2's C++ program."""
    brian2.device.reinit()
    brian2.set_device("cpp_standalone", build_on_run=False, directory=folder)
    network, sources = brian_network(steps)
    network.run(PROGRAM_PERIODS * brian2.second)
    device = brian2.device
    device.build(directory=folder, run=False)

    def run() -> Deliveries:
        device.run(directory=folder, with_output=False, run_args=[])
        return {"values": TARGETS * int(np.sum(sources.sent[:])) / device._last_run_time}

    return run


def main() -> None:
    """Time neurosim in turn with each kind of Brian2 run; print medians and ratios."""
    ours = neurosim_team()
    ours()  # warms up, as does the first run of each Brian2
    kinds = {"C++": brian_program, "Cython": brian_cython}
    print("million deliveries a second, and neurosim's as multiples of Brian2's")
    for steps in STEPS:
        for kind, build in kinds.items():
            with tempfile.TemporaryDirectory() as folder:
                theirs = build(steps, folder)
                theirs()
                rounds = [(ours(), theirs()["values"]) for _ in range(ROUNDS)]
            print(f"Brian2 {kind}, dt = 1/{steps}: {spread(1e-6 * b for _, b in rounds).text(3)}")
            for count in ("values", "all"):
                rates, ratios = zip(*((a[count], a[count] / b) for a, b in rounds), strict=True)
                ours_rate = spread(1e-6 * rate for rate in rates).text(3)
                print(f"  neurosim, {count:6}  {ours_rate}   {spread(ratios).text(3)} x")


if __name__ == "__main__":
    main()
