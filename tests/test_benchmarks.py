"""The references that speed is measured against compute what neurosim computes.

C needs gcc, and PyTorch is no dependency: tests of what is missing are skipped.  No times
are asserted.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from benchmarks import agent_step, async_engine, async_team, batch, c_async, harness
from benchmarks.harness import Line, Spread
from benchmarks.law import Law, draw

import neurosim

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


@needs_gcc
@pytest.mark.parametrize("name", agent_step.SIZES)
def test_the_c_agent_takes_the_same_steps_in_both_precisions(name: str) -> None:
    agents = agent_step.in_c(neurosim.load(name).spec, agent_step.SIZES[name])
    assert list(agents) == ["C, float64", "C, float32"]


@needs_gcc
@pytest.mark.parametrize("feedback", ["kolen_pollack", "symmetric"])
@pytest.mark.parametrize(("name", "n_out"), [("actor", 2), ("critic", 1)])
def test_the_asynchronous_c_team_has_the_same_bits(name: str, n_out: int, feedback: str) -> None:
    library = c_async.build()
    assert library is not None
    spec = async_engine.model({"timing.feedback": feedback})
    ours, theirs = async_team.both(library, spec, name, 4, n_out)
    assert ours.values.tolist() == theirs.values.tolist()


def test_batches_in_numpy_and_c_learn_the_same() -> None:
    assert {harness.OURS, "NumPy"} <= batch.learners().keys()


def test_pytorch_learns_the_same_by_backprop() -> None:
    pytest.importorskip("torch")
    from benchmarks.torch_agent import check

    check(neurosim.load("backprop/cartpole").spec, (4, 2))


def test_rounds_are_in_turn_and_ratios_are_taken_round_by_round(tmp_path: Path) -> None:
    called: list[str] = []

    def contestant(name: str, factor: float) -> float:
        called.append(name)
        return factor * len(called)

    found = harness.in_turn(
        {name: lambda n=name, f=f: contestant(n, f) for name, f in (("a", 1.0), ("b", 2.0))}, 2
    )
    assert called == ["a", "b"] * 3  # the first round warms up
    assert found == {"a": [3.0, 5.0], "b": [8.0, 12.0]}
    first, second = harness.lines("case", "us", found, 10.0)
    assert first == Line("case", "a", "us", Spread(40.0, 30.0, 50.0))
    assert second == Line(
        "case", "b", "us", Spread(100.0, 80.0, 120.0), Spread(2.5333333333333332, 2.4, 8 / 3)
    )

    path = tmp_path / "figures.json"
    harness.keep(path, "one", [first])
    harness.keep(path, "two", [first, second])
    harness.keep(path, "one", [second])
    kept = json.loads(path.read_text())
    assert list(kept) == ["one", "two"]
    assert [line["who"] for line in kept["one"]["lines"]] == ["b"]
    assert kept["one"]["lines"][0]["ratio"] == {"median": 2.533, "low": 2.4, "high": 2.667}
    assert kept["two"]["machine"]["neurosim"] == kept["one"]["machine"]["neurosim"]


def test_the_deviation_from_a_law_is_that_of_the_sizes_it_is_judged_by(tmp_path: Path) -> None:
    # in the first round 64 units cost twice, and 1024 half of what a constant of 2 ns says
    amounts = {64: 10.0, 1024: 100.0, 4096: 1000.0}
    seconds = {64: [40e-9, 10e-9], 1024: [100e-9, 100e-9], 4096: [1.0, 1.0]}
    law = Law("width", "units", "a tick", "fan-in + fan-out", amounts, seconds)
    assert law.constant({n: values[0] for n, values in seconds.items()}) == pytest.approx(2e-9)
    *_, worst = law.lines()
    assert worst.value == pytest.approx((50.0, 0.0, 100.0))
    draw([law] * 4, tmp_path / "law.png")
    assert (tmp_path / "law.png").stat().st_size > 10_000
