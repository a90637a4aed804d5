"""Windows lived through again: against a live agent, the oracle's relaxation, and a plain walk
through the events; and what must be refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
import tomlkit
from bridge import (
    CLIMBING,
    MARGIN,
    TEAMS,
    fitted,
    proposals_of,
    settings_of,
    small_content,
    state_of,
)
from numpy.testing import assert_allclose

import neurosim
from neurosim.analysis.relaxation import relaxation
from neurosim.analysis.replay import Step, replay
from neurosim.errors import InputError, RunError
from neurosim.kernels import rng
from neurosim.kernels.clock import TICKS
from neurosim.kernels.traffic import KINDS
from neurosim.learners import LEARNERS, MapProp
from neurosim.record.reader import Run, Window
from neurosim.spec import Model, parse
from neurosim.tasks import Environment, environment_seed

ALL = [{"episodes": "all", "steps": "all"}]
MIDDLE = [{"episodes": [2, 3], "steps": [3, 8]}]
POISSON = {"clock": "poisson", "delay": 0.6}
PUBLISHED = {
    "learning.truncation": "zero",
    "learning.update_at_reset": True,
    "learning.terminal_iteration": True,
    "learning.stale_first_mean": True,
    "learning.anneal_steps": 30.0,
    "actor.anneal_to": [0.1, 0.1, 0.01],
    "adam.bias_correction_until": 20,
}
TIMINGS: dict[str, dict[str, Any]] = {
    "lock-step": {},
    "poisson": POISSON,
    "kolen-pollack": POISSON
    | {"feedback": "kolen_pollack", "feedback_alignment": 0.5, "feedback_decay": 0.01},
    "sign-symmetric": POISSON | {"feedback": "sign_symmetric", "silent_until_first_tick": True},
    "random": {"clock": "periodic", "jitter": 0.3, "feedback": "random", "rate": [1.0, 2.0, 0.5]},
    "lossy": POISSON
    | {"loss": 0.3, "sampling": "timer", "sampling_timer": 0.5, "broadcast_loss": 0.3},
    "synapses": POISSON
    | {"loss": 0.3, "loss_per": "synapse", "synapse_delay": 0.7, "trace_after": 2},
    "late broadcasts": POISSON | {"broadcast_delay": [0.2, 1.5, 3.0], "send_on_delta": 0.1},
    "short window": {"window": 0.5},
}


def small_model(
    changes: dict[str, Any] | None = None,
    timing: dict[str, Any] | None = None,
    windows: list[dict[str, Any]] = ALL,
) -> Model:
    """The small model on CartPole; asynchronous if it has a timing."""
    content = small_content(changes)
    content["record"] = copy.deepcopy(windows)
    if timing is not None:
        sizes = {"actor": [5, 4, 2], "critic": [4, 3, 1]}
        content["timing"] = {
            name: {key: fitted(key, value, size) for key, value in timing.items()}
            for name, size in sizes.items()
        }
    return parse(tomlkit.dumps(content), "small")


def recorded(folder: Path, *args: Any, **kwargs: Any) -> Run:
    """A run of the small model, opened."""
    return neurosim.open(neurosim.run(small_model(*args, **kwargs), 7, folder))


def live(model: Model, name: str) -> list[list[np.ndarray]]:
    """Weights of a team after each step of a run with seed 7, from the agent itself."""
    environment = Environment(model.spec.task, model.spec.actor.output)
    kind = LEARNERS[model.mode]
    agent = kind(model.spec, environment.n_observations, environment.n_actions, 7)
    found = []

    def keep() -> None:
        found.append([w.copy() for w in state_of(getattr(agent, name)).W])

    for episode in range(1, model.spec.task.episodes + 1):
        output = agent.begin(environment.reset(environment_seed(7, episode)))
        keep()
        while True:
            observation, reward, terminated, truncated = environment.step(
                environment.action(output)
            )
            if terminated or truncated:
                break
            output = agent.step(observation, reward)
            keep()
        agent.end(observation, reward, terminated)
    environment.close()
    return found


def check_weights(run: Run, name: str) -> None:
    """All steps of a run can be replayed, with the weights of a live agent."""
    model = parse(run.model, "small")
    expected = live(model, name)
    steps = list(replay(run, name))
    windows = [range(w.first_step, w.first_step + w.n_steps) for w in run.windows]
    assert [step.row for step in steps] == [row for rows in windows for row in rows]
    for step in steps:
        for ours, theirs in zip(step.network.W, expected[step.row], strict=True):
            assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("name", TEAMS)
@pytest.mark.parametrize("windows", [ALL, MIDDLE], ids=["whole", "middle"])
@pytest.mark.parametrize(
    "changes", [None, PUBLISHED, CLIMBING], ids=["plain", "published", "hill climbing"]
)
def test_a_synchronous_window_gives_the_weights_of_each_step(
    tmp_path: Path, name: str, windows: list[dict[str, Any]], changes: dict[str, Any] | None
) -> None:
    with recorded(tmp_path, changes, windows=windows) as run:
        check_weights(run, name)


@pytest.mark.parametrize("name", TEAMS)
@pytest.mark.parametrize("timing", TIMINGS.values(), ids=TIMINGS)
def test_an_asynchronous_window_gives_the_weights_of_each_step(
    tmp_path: Path, name: str, timing: dict[str, Any]
) -> None:
    with recorded(tmp_path, timing=timing, windows=MIDDLE) as run:
        check_weights(run, name)


def by_row(steps: list[Step]) -> dict[int, Step]:
    return {step.row: step for step in steps}


@pytest.mark.parametrize("name", TEAMS)
def test_the_path_is_that_of_the_oracles_relaxation(tmp_path: Path, name: str) -> None:
    with recorded(tmp_path) as run:
        steps = list(replay(run, name))
        sampled = np.concatenate([window.sampled(name) for window in run.windows])
        observation = run.steps["observation"][:]
    settings = settings_of(parse(run.model, "small").spec, name, 4, 2 if name == "actor" else 1)
    assert len(steps) > 20
    for step in steps:
        state = oracle.new_state(step.network.W, step.network.b)
        layers = np.split(sampled[step.row], np.cumsum(settings.sizes[1:-1]))
        H = [observation[step.row], *layers]
        for n in range(settings.N + 1):
            expected = oracle.relax(replace(settings, N=n), state, H)
            for ours, theirs in zip(step.path, expected, strict=True):
                # up to 4 iterations of sums of five terms below 10
                assert_allclose(ours[n], theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", TEAMS)
def test_the_path_of_hill_climbing_is_the_oracles_and_its_energy_never_rises(
    tmp_path: Path, name: str
) -> None:
    with recorded(tmp_path, CLIMBING) as run:
        steps, found = list(replay(run, name)), relaxation(run, name)
        model, seed = parse(run.model, "small").spec, run.seed
    n_out = 2 if name == "actor" else 1
    settings = settings_of(model, name, 4, n_out)
    team = getattr(MapProp(model, 4, 2, seed), name)
    assert np.all(np.diff(found.energy) <= 0.0)
    for number, (step, energies) in enumerate(zip(steps, found.energy, strict=True)):
        state = oracle.new_state(step.network.W, step.network.b)
        # an episode that ends at its step limit makes one more pass of the critic; here none does
        proposals = proposals_of(team, settings, rng.mixed_key(seed), number)
        climbed = oracle.climb(settings, state, [path[0] for path in step.path], proposals)
        assert climbed.margin > MARGIN
        for ours, theirs in zip(step.relaxed, climbed.H, strict=True):
            # as above
            assert_allclose(ours, theirs, rtol=0, atol=1e-13)
        assert_allclose(energies, climbed.energies, rtol=1e-12)


@pytest.mark.parametrize("changes", [{}, CLIMBING], ids=["gradient", "hill climbing"])
def test_the_gradient_is_what_the_oracles_trace_takes_up(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with recorded(tmp_path, changes) as run:
        for name in TEAMS:
            n_out = 2 if name == "actor" else 1
            settings = settings_of(parse(run.model, "small").spec, name, 4, n_out)
            for step in replay(run, name):
                state = oracle.new_state(step.network.W, step.network.b)
                oracle.accumulate(settings, state, step.relaxed)
                for l, found in enumerate(step.gradient):
                    expected = np.column_stack([state.zW[l], state.zb[l]])
                    # the trace it is taken from may be larger, by gates of steps before
                    assert_allclose(found, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("name", TEAMS)
def test_in_lock_step_the_path_has_the_synchronous_bits(tmp_path: Path, name: str) -> None:
    with recorded(tmp_path / "a") as first, recorded(tmp_path / "b", timing={}) as second:
        pairs = list(zip(replay(first, name), replay(second, name), strict=True))
    assert len(pairs) > 20
    for ours, theirs in pairs:
        for a, b in zip(ours.path, theirs.path, strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("name", TEAMS)
def test_the_asynchronous_path_is_a_walk_through_the_events(tmp_path: Path, name: str) -> None:
    with recorded(tmp_path, timing=TIMINGS["random"], windows=MIDDLE) as run:
        steps = by_row(list(replay(run, name)))
        for window in run.windows:
            columns = ("time", "team", "kind", "unit", "value")
            rows = list(zip(*(window.events[c][:].tolist() for c in columns), strict=True))
            for k in range(window.n_steps):
                events = rows[window.first_event[k] : window.first_event[k + 1]]
                begin = max(time for time, _, kind, *_ in events if KINDS[kind] == "sample")
                path = steps[window.first_step + k].path
                assert len(path[1]) == 5  # N = 4 periods
                for period in range(5):
                    now = {}
                    for time, team, kind, unit, value in events:
                        moved = KINDS[kind] == "value_tick" and time <= begin + period * TICKS
                        if TEAMS[team] == name and (KINDS[kind] == "sample" or moved):
                            now[unit] = value
                    found = np.concatenate([layer[period] for layer in path[1:]])
                    assert [now[unit] for unit in sorted(now)] == found.tolist()


Tamper = Callable[[Any], None]


def tampered(monkeypatch: pytest.MonkeyPatch, what: str, change: Tamper) -> None:
    """Let all windows return something else than was recorded."""
    original = getattr(Window, what)

    def altered(self: Window, team: str) -> Any:
        found = original(self, team)
        change(found)
        return found

    monkeypatch.setattr(Window, what, altered)


def last_bit(values: np.ndarray) -> None:
    """The least change of a number in the middle."""
    values[len(values) // 2] = np.nextafter(values[len(values) // 2], np.inf)


@pytest.mark.parametrize("timing", [None, POISSON], ids=["synchronous", "asynchronous"])
@pytest.mark.parametrize(
    ("what", "change", "named"),
    [
        ("sampled", last_bit, "sampled values"),
        ("relaxed", last_bit, "relaxed values"),
        ("before", lambda state: last_bit(state["W2"]), "values"),
        ("after", lambda state: last_bit(state["W2"]), "W2"),
        ("after", lambda state: last_bit(state["zb1"]), "zb1"),
    ],
)
def test_a_record_that_was_changed_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    timing: dict[str, Any] | None,
    what: str,
    change: Tamper,
    named: str,
) -> None:
    with recorded(tmp_path, timing=timing, windows=MIDDLE) as run:
        tampered(monkeypatch, what, change)
        with pytest.raises(RunError, match=rf"the actor's .*{named} in row \d+ of /steps"):
            list(replay(run, "actor"))


def test_a_run_without_windows_and_a_team_that_is_none_are_refused(tmp_path: Path) -> None:
    with recorded(tmp_path, windows=[]) as run:
        with pytest.raises(InputError, match="--record"):
            next(replay(run, "actor"))
        with pytest.raises(InputError, match="'actors': one of 'actor', 'critic'"):
            next(replay(run, "actors"))
