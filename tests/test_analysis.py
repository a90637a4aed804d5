"""Analyses of recorded runs, against logs made by hand and brute force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch
from PIL import Image

import neurosim
from neurosim.analysis import (
    actions,
    activity,
    causality,
    coverage,
    energy,
    flow,
    operations,
    packets,
    traffic,
)
from neurosim.analysis.observations import find_component, observed
from neurosim.analysis.operations import Operations
from neurosim.analysis.trajectories import episode_rows, trajectory
from neurosim.analysis.windows import Units, units_of, window_of
from neurosim.errors import InputError
from neurosim.kernels.clock import TICKS
from neurosim.kernels.traffic import KINDS
from neurosim.plots import flow as flow_figure
from neurosim.plots import packets as packets_figure
from neurosim.spec import TEAMS

TINY = {"actor.units": [4, 3], "critic.units": [3, 2], "actor.N": 3, "critic.N": 3}
WINDOWS = {"record": [{"episodes": "all", "steps": "all"}]}
TIMINGS: dict[str, dict[str, Any]] = {
    "fully local": {},
    "losing, overtaking": {"loss": 0.2, "packet_delay": 2.0, "reorder": "newest"},
    "per synapse": {"synapse_delay": 1.0, "loss": 0.1, "loss_per": "synapse"},
    "quiet": {"send_on_delta": 0.5},
    "symmetric": {"feedback": "symmetric"},
}


def recorded(folder: Path, model: str, more: dict[str, Any]) -> neurosim.Run:
    loaded = neurosim.load(model, TINY | {"task.episodes": 3} | WINDOWS | more)
    return neurosim.open(neurosim.run(loaded, out=folder))


@pytest.fixture(scope="module", params=TIMINGS)
def agents(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An asynchronous run of which everything was recorded."""
    timing = {f"timing.{key}": value for key, value in TIMINGS[request.param].items()}
    with recorded(tmp_path_factory.mktemp("agents"), "async/cartpole", timing) as run:
        yield run


def test_a_team_may_have_fewer_units_than_an_observation_has_components(tmp_path: Path) -> None:
    """Rows of `observe` name components, of which CartPole has four; this critic has two units."""
    smallest = {
        "critic.units": [1],
        "critic.activation": ["softplus"],
        "critic.var": [0.03, 0.5],
        "critic.alpha": [2e-2, 2e-6],
        "critic.anneal_to": [0.1, 0.1],
    }
    with recorded(tmp_path, "async/cartpole", smallest) as run:
        window, units = run.windows[0], units_of(run, "critic")
        of_all = [
            flow.flow(window, step, "critic", units, np.arange(2)) for step in range(window.n_steps)
        ]
        rate = activity.statistics(window, "critic", units).rate
        counted = np.sum([each.ticks for each in of_all], axis=0)
        assert rate == pytest.approx(counted / (window.n_steps * units.window))
        assert counted.min() > 0
        assert {each.observed for each in of_all} == {4}


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A synchronous run of which everything was recorded."""
    with recorded(tmp_path_factory.mktemp("layers"), "cartpole", {}) as run:
        yield run


class Rows(dict[str, Any]):
    """Columns in memory, with the length of a table."""

    def __len__(self) -> int:
        return len(next(iter(self.values())))


def by_hand(rows: Sequence[tuple[float, str, int, float, int, int]], steps: Sequence[int]) -> Any:
    """A window of the actor from (periods, kind, unit, value, source, cause)."""
    time, kind, unit, value, source, cause = zip(*rows, strict=True)
    events = Rows(
        time=(np.array(time) * TICKS).astype(np.int64),
        kind=np.array([KINDS.index(each) for each in kind], np.uint8),
        team=np.zeros(len(rows), np.uint8),
        unit=np.array(unit),
        value=np.array(value, float),
        source=np.array(source),
        cause=np.array(cause),
    )
    first = np.array([*steps, len(rows)])
    return SimpleNamespace(number=0, n_steps=len(steps), events=events, first_event=first)


# --- actions -------------------------------------------------------------------------------------


def taking(taken: Sequence[Any], lengths: Sequence[int]) -> Any:
    """A run with these actions, in episodes of these lengths."""
    steps, episodes = Rows(action=np.array(taken)), Rows(length=np.array(lengths))
    return SimpleNamespace(path="run", steps=steps, episodes=episodes)


def test_shares_are_counted_block_by_block_of_episodes() -> None:
    run = taking([0, 0, 2, 1, 1, 1, 2, 2, 2, 2], [1, 3, 2, 4])
    assert actions.count_actions([run]) == 3
    found = actions.shares(run, 4, blocks=2)
    assert found.last.tolist() == [2, 4]
    assert found.share.tolist() == [[0.5, 0.25, 0.25, 0.0], [0.0, 2 / 6, 4 / 6, 0.0]]
    each = actions.shares(run, 3, blocks=25)
    assert each.last.tolist() == [1, 2, 3, 4]
    assert each.share[1].tolist() == [1 / 3, 1 / 3, 1 / 3]


def test_steps_of_an_unfinished_episode_are_not_counted() -> None:
    run = taking([0, 1, 1, 1], [1, 1])
    assert actions.shares(run, 2, blocks=1).share.tolist() == [[0.5, 0.5]]


def test_shares_need_discrete_actions_and_an_episode() -> None:
    for taken, lengths in (([[0.5]], [1]), ([0.5], [1]), ([-1, 1], [2]), ([], [])):
        with pytest.raises(InputError):
            actions.shares(taking(taken, lengths), actions.count_actions([taking(taken, lengths)]))


# --- trajectories and coverage -------------------------------------------------------------------


def test_a_trajectory_is_what_the_episode_observed(layers: neurosim.Run) -> None:
    everything, numbers = layers.steps["observation"][:], layers.steps["episode"][:]
    for episode in (1, 2, 3):
        assert np.array_equal(
            trajectory(layers, episode, (2, 0)), everything[numbers == episode][:, [2, 0]]
        )
    assert episode_rows(layers, 3).stop == len(everything)


@pytest.mark.parametrize("episode", [0, 4, -1])
def test_an_episode_that_is_not_there_is_named_with_those_that_are(
    layers: neurosim.Run, episode: int
) -> None:
    with pytest.raises(InputError, match=rf"episode {episode}: .* episodes 1 to 3"):
        trajectory(layers, episode, (0, 1))


def test_components_have_names_and_numbers(layers: neurosim.Run) -> None:
    assert find_component(layers, "pole angle") == find_component(layers, "2") == 2
    for wrong in ("speed", "4", "-1", ""):
        with pytest.raises(InputError, match=r"2 \(pole angle\)"):
            find_component(layers, wrong)


def test_components_of_an_unknown_task_are_called_by_their_numbers() -> None:
    model = neurosim.load("cartpole", {"task.id": "Nothing-v0"}).spec
    steps = Rows(observation=np.zeros((5, 1)))
    known = observed(SimpleNamespace(spec=model, path="run", steps=steps))  # type: ignore[arg-type]
    assert [component.name for component in known.components] == ["component 0"]
    assert known.usual == (0, 0)


def walk(points: Sequence[tuple[float, float]], episodes: Sequence[int]) -> Any:
    return SimpleNamespace(
        path="run",
        spec=neurosim.load("cartpole").spec,
        episodes=range(max(episodes)),
        steps=Rows(observation=np.array(points), episode=np.array(episodes)),
    )


def test_coverage_counts_each_cell_once() -> None:
    """Four cells; (1, 1) and (0.5, 0.5) lie in the last one, (3, 0) in none."""
    points = [(0.1, 0.1), (0.2, 0.3), (1.0, 1.0), (0.1, 0.1), (0.6, 0.1), (3.0, 0.0), (0.5, 0.5)]
    found = coverage.coverage(walk(points, [1, 1, 1, 2, 2, 2, 3]), (0, 1), ((0, 1), (0, 1)), 2)
    assert np.array_equal(found.fraction, [0.5, 0.75, 0.75])
    assert np.array_equal(found.visits, [[3, 0], [1, 2]])


def test_coverage_in_blocks_is_that_of_sets(
    layers: neurosim.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "ROWS", 7)
    bounds = coverage.bounds_of([layers], (0, 2))
    points = layers.steps["observation"][:][:, [0, 2]]
    assert bounds == tuple(zip(points.min(axis=0), points.max(axis=0), strict=True))
    found = coverage.coverage(layers, (0, 2), bounds, 5)
    seen: set[tuple[int, ...]] = set()
    fractions = []
    for episode in (1, 2, 3):
        for point in points[layers.steps["episode"][:] == episode]:
            place = [
                min(4, int((x - low) / (high - low) * 5))
                for x, (low, high) in zip(point, bounds, strict=True)
            ]
            seen.add(tuple(place))
        fractions.append(len(seen) / 25)
    assert np.array_equal(found.fraction, fractions)
    assert found.visits.sum() == len(points)


def test_coverage_of_a_component_that_never_changes() -> None:
    run = walk([(0, 7), (1, 7)], [1, 1])
    found = coverage.coverage(run, (0, 1), coverage.bounds_of([run], (0, 1)), 2)
    assert np.array_equal(found.fraction, [0.5])


# --- activity ------------------------------------------------------------------------------------

PAIR = Units(np.array([1, 2]), window=4.0)
HELD = [  # unit 0 holds 1 for two periods, then 3 for three; unit 1 holds 0 from 1 on
    (10.0, "observe", 0, 9.0, -1, -1),
    (10.0, "sample", 0, 1.0, -1, 0),
    (11.0, "deliver_value", -1, 1.0, 0, 1),
    (11.0, "sample", 1, 0.0, -1, -1),
    (11.5, "idle_tick", 0, 1.0, -1, -1),
    (12.0, "value_tick", 0, 3.0, -1, 0),
    (14.5, "error_tick", 1, 5.0, -1, 0),
    (15.0, "trace", 0, 7.0, -1, -1),
    (15.0, "trace", 1, 7.0, -1, -1),
]


def test_statistics_are_over_the_time_for_which_values_are_held() -> None:
    found = activity.statistics(by_hand(HELD, [0]), "actor", PAIR)
    assert np.allclose(found.mean, [(2 * 1 + 3 * 3) / 5, 0])
    assert np.allclose(found.std, [np.sqrt((2 * 1.2**2 + 3 * 0.8**2) / 5), 0])
    assert np.array_equal(found.near_zero, [0, 1])
    assert np.array_equal(found.rate, [2 / 4, 1 / 4])
    assert np.array_equal(found.idle, [1 / 2, 0])


def test_a_raster_shows_what_is_held_at_the_middle_of_each_column() -> None:
    found = activity.raster(by_hand(HELD, [0]), "actor", PAIR, columns=5)
    assert np.array_equal(found.edges, range(6))
    assert np.array_equal(found.values, [[1, 1, 3, 3, 3], [np.nan, 0, 0, 0, 0]], equal_nan=True)


def test_steps_of_a_window_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    later = [(time + 5, *rest) for time, *rest in HELD]
    window = by_hand([*HELD, *later], [0, len(HELD)])  # type: ignore[list-item]
    for block in (1, 1000):
        monkeypatch.setattr(activity, "EVENTS", block)
        twice = activity.statistics(window, "actor", PAIR)
        once = activity.statistics(by_hand(HELD, [0]), "actor", PAIR)
        for one, two in zip(once, twice, strict=True):
            assert np.allclose(one, two)


@pytest.mark.parametrize("team", TEAMS)
def test_statistics_of_a_recorded_window_are_those_of_brute_force(
    agents: neurosim.Run, team: str
) -> None:
    window, units = agents.windows[1], units_of(agents, team)
    found = activity.statistics(window, team, units, near=0.3)
    events = {name: column[:] for name, column in window.events.items()}
    bounds = window.first_event
    for unit in range(units.layer.size):
        pieces: list[tuple[float, float]] = []
        for start, stop in pairwise(bounds):
            value, since = 0.0, None
            for row in range(start, stop):
                kind = KINDS[events["kind"][row]]
                mine = events["team"][row] == TEAMS.index(team) and events["unit"][row] == unit
                if mine and kind in ("sample", "value_tick", "trace"):
                    if since is not None:
                        pieces.append((events["time"][row] - since, value))
                    value, since = events["value"][row], events["time"][row]
        weight, values = np.array(pieces).T
        mean = np.average(values, weights=weight)
        assert found.mean[unit] == pytest.approx(mean)
        std = np.sqrt(np.average((values - mean) ** 2, weights=weight))
        assert found.std[unit] == pytest.approx(std, abs=1e-9)
        close = np.average(np.abs(values) <= 0.3, weights=weight)
        assert found.near_zero[unit] == pytest.approx(close)


def test_poisson_clocks_tick_once_a_period_on_average(tmp_path: Path) -> None:
    with recorded(tmp_path, "async/cartpole", {"actor.N": 200, "task.episodes": 1}) as run:
        window, units = run.windows[0], units_of(run, "actor")
        rate = activity.statistics(window, "actor", units).rate
        spread = 1 / np.sqrt(window.n_steps * units.window)
        assert np.all(np.abs(rate - 1) < 5 * spread)


def test_synchronous_statistics_are_over_steps(layers: neurosim.Run) -> None:
    window, units = layers.windows[0], units_of(layers, "critic")
    for which in ("relaxed", "sampled"):
        values = getattr(window, which)("critic")
        found = activity.statistics(window, "critic", units, 0.2, which)
        assert np.array_equal(found.mean, values.mean(axis=0))
        assert np.array_equal(found.std, values.std(axis=0))
        assert np.array_equal(found.near_zero, (np.abs(values) <= 0.2).mean(axis=0))
    assert np.array_equal(found.rate, np.ones(6))
    assert np.array_equal(
        activity.raster(window, "critic", units).values, window.relaxed("critic").T
    )


@pytest.mark.parametrize("number", [-1, 3])
def test_a_window_that_is_not_there_is_named_with_those_that_are(
    layers: neurosim.Run, number: int
) -> None:
    with pytest.raises(InputError, match=rf"window = {number}: .* 0 \(episode 1\)"):
        window_of(layers, number)


# --- traffic -------------------------------------------------------------------------------------


@pytest.mark.parametrize("team", TEAMS)
def test_no_packet_gets_lost_from_the_counts(
    agents: neurosim.Run, team: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "ROWS", 5)
    series, total = traffic.series(agents, team), traffic.totals(agents, team)
    kept = sum(series[name] for name in ("delivered", "lost", "discarded", "in_flight"))
    assert np.array_equal(series["sent"], kept)
    for name in traffic.Traffic._fields[:-1]:
        assert series[name].shape == (len(agents.steps),)
        assert series[name].sum() == getattr(total, name)
    assert total.sent > 0


def test_the_mean_age_takes_the_middle_of_each_bin() -> None:
    uses = np.zeros((2, 32), np.int64)
    uses[0, [0, 3, 31]] = [2, 1, 1]
    expected = (2 * 0.125 + 0.875 + 31 * 0.25) / 4
    assert np.array_equal(traffic.mean_age(uses), [expected, np.nan], equal_nan=True)


@pytest.mark.parametrize("team", TEAMS)
def test_the_histogram_of_ages_is_the_sum_over_steps(agents: neurosim.Run, team: str) -> None:
    edges, uses = traffic.staleness(agents, team)
    assert np.array_equal(edges, np.arange(32) / 4)
    assert np.array_equal(uses, agents.steps[f"{team}_staleness"][:].sum(axis=0))


@pytest.mark.parametrize("analysis", [traffic.totals, traffic.series, traffic.staleness])
def test_a_synchronous_run_has_no_traffic(layers: neurosim.Run, analysis: Any) -> None:
    with pytest.raises(InputError, match="--mode asynchronous"):
        analysis(layers, "actor")


# --- causes --------------------------------------------------------------------------------------

TRIO = Units(np.array([1, 1, 2]), window=4.0)
LOG = [
    (0.0, "observe", 0, 0.5, -1, -1),
    (0.0, "sample", 0, 1.0, -1, 0),  # 1
    (0.0, "sample", 1, 2.0, -1, 0),  # 2
    (1.0, "deliver_value", -1, 1.0, 0, 2),  # 3, sent by 1
    (1.0, "deliver_value", -1, 2.0, 1, 2),  # 4, sent by 2
    (1.0, "sample", 2, 0.1, -1, -1),  # 5
    (1.0, "arm", 2, 0.2, -1, 0),  # 6
    (2.0, "value_tick", 0, 1.5, -1, 0),  # 7: armed by nothing in this log
    (2.5, "deliver_error", -1, 0.2, 2, 2),  # 8, sent by 6
    (2.6, "discard_value", -1, 1.0, 0, 8),  # 9: never reached the mailbox
    (3.0, "deliver_value", -1, 1.5, 0, 3),  # 10, sent by 7
    (3.5, "error_tick", 2, 0.3, -1, 0),  # 11
    (4.0, "deliver_error", -1, 0.3, 2, 1),  # 12, sent by 11
    (5.0, "value_tick", 1, 2.5, -1, 0),  # 13
    (6.0, "trace", 1, 0.0, -1, -1),
]


def test_the_causes_of_a_tick_are_the_last_packets_from_each_source() -> None:
    """13 used the error 12, which 11 sent; 11 used the values 10 and 4, which 7 and 2 sent; 7 came
    before any error and 2 is a sample of the first layer, so that they used none."""
    window = by_hand(LOG, [0])
    graph = causality.ancestry(window, 13, TRIO, depth=1)
    assert np.array_equal(graph.rows, [11, 13])
    graph = causality.ancestry(window, 13, TRIO, depth=9)
    assert np.array_equal(graph.rows, [2, 7, 11, 13])
    assert np.array_equal(graph.depth, [2, 2, 1, 0])
    edges = set(zip(graph.effect, graph.delivery, graph.cause, strict=True))
    assert edges == {(13, 12, 11), (11, 4, 2), (11, 10, 7)}
    assert np.array_equal(causality.ancestry(window, 13, TRIO, depth=0).rows, [13])
    places = causality.places(window, graph)
    assert sorted(zip(places.sent, places.arrived, places.used, places.hop, strict=True)) == [
        (0.0, 1.0, 3.5, 2),
        (2.0, 3.0, 3.5, 2),
        (3.5, 4.0, 5.0, 1),
    ]
    assert np.array_equal(places.unit, [1, 0, 2, 1])


def test_a_later_step_knows_nothing_of_the_earlier_one() -> None:
    both = [*LOG, *((time + 10, *rest) for time, *rest in LOG)]
    window = by_hand(both, [0, len(LOG)])  # type: ignore[arg-type]
    first = causality.ancestry(window, 13, TRIO, depth=9)
    second = causality.ancestry(window, 13 + len(LOG), TRIO, depth=9)
    for one, two in (("rows", "rows"), ("effect", "effect"), ("cause", "cause")):
        assert np.array_equal(getattr(first, one) + len(LOG), getattr(second, two))


def test_a_tick_is_found_by_its_number() -> None:
    window = by_hand(LOG, [0])
    assert causality.tick_row(window, 0, "actor", 0, TRIO) == 7
    assert causality.tick_row(window, 0, "actor", 2, TRIO, 0) == 11  # an output's error tick


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((1, "actor", 0, TRIO), "step = 1: window 0 holds steps 0 to 0"),
        ((0, "actor", 3, TRIO), "unit = 3: the actor has units 0 to 2"),
        ((0, "actor", 0, TRIO, 1), "tick = 1: unit 0 of the actor ticks 1 times"),
        ((0, "critic", 0, TRIO), "unit = 0: that unit of the critic never ticks"),
    ],
    ids=["step", "unit", "tick", "never"],
)
def test_a_tick_that_is_not_there_is_named_with_the_remedy(arguments: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        causality.tick_row(by_hand(LOG, [0]), *arguments)


def test_a_row_without_packets_or_that_is_not_there_is_refused() -> None:
    window = by_hand(LOG, [0])
    for row, depth, words in ((0, 1, "'observe'"), (99, 1, "15 events"), (13, -1, "depth = -1")):
        with pytest.raises(InputError, match=words):
            causality.ancestry(window, row, TRIO, depth)


def brute_force(
    events: Mapping[str, Any], row: int, begin: int, layer: Any
) -> set[tuple[int, int]]:
    """(delivery, cause) of what a row used, looking back row by row."""
    found = {}
    unit, team = events["unit"][row], events["team"][row]
    sides = {"deliver_value": -1}
    if KINDS[events["kind"][row]] == "value_tick":
        sides["deliver_error"] = 1
    for back in range(row - 1, begin - 1, -1):
        kind = KINDS[events["kind"][back]]
        if events["team"][back] != team or kind not in sides:
            continue
        source = events["source"][back]
        if events["unit"][back] not in (-1, unit) or layer[source] != layer[unit] + sides[kind]:
            continue
        found.setdefault((kind, source), (back, back - events["cause"][back]))
    return set(found.values())


@pytest.mark.parametrize("team", TEAMS)
def test_causes_in_a_recorded_window_are_those_of_brute_force(
    agents: neurosim.Run, team: str
) -> None:
    window, units = agents.windows[2], units_of(agents, team)
    events = {name: column[:] for name, column in window.events.items()}
    begin = int(window.first_event[-2])
    used = 0
    late = np.arange(begin, len(events["kind"]))
    ticks = np.isin(events["kind"][late], [KINDS.index("value_tick"), KINDS.index("error_tick")])
    for row in late[ticks & (events["team"][late] == TEAMS.index(team))][-10:]:
        graph = causality.ancestry(window, int(row), units, depth=3)
        assert graph.rows[-1] == row
        for effect in set(graph.effect):
            mine = graph.effect == effect
            edges = set(zip(graph.delivery[mine], graph.cause[mine], strict=True))
            assert edges == brute_force(events, effect, begin, units.layer)
            used += len(edges)
        places = causality.places(window, graph)
        assert np.array_equal(places.sender, events["source"][graph.delivery])
        assert np.all(places.arrived - places.sent >= 1)  # the delay of the model
        assert np.all(places.used >= places.arrived)
    assert used > 50


# --- packets -------------------------------------------------------------------------------------


def test_the_transits_of_a_step_are_those_of_its_log() -> None:
    more = [(4.0, "broadcast", 1, 0.7, -1, -1)]
    window = by_hand([*LOG, *LOG, *more], [0, len(LOG)])  # type: ignore[list-item]
    found = packets.transits(window, 1, "actor")
    arrivals = [(row, k) for k, row in enumerate(LOG) if row[1].startswith("deliver")]
    assert found.arrived.tolist() == [row[0] - LOG[0][0] for row, _ in arrivals]
    assert found.sent.tolist() == [LOG[k - row[5]][0] - LOG[0][0] for row, k in arrivals]
    assert found.sender.tolist() == [row[4] for row, _ in arrivals]
    assert found.up.tolist() == [row[1] == "deliver_value" for row, _ in arrivals]
    reached = packets.broadcasts(window, 1, "actor")
    assert (reached.unit.tolist(), reached.value.tolist()) == ([1], [0.7])
    took = [row for row in LOG if row[1] in ("sample", "value_tick")]
    course = packets.values(window, 1, "actor")
    assert course.value.tolist() == [row[3] for row in took]
    assert not packets.transits(window, 1, "critic").arrived.size
    with pytest.raises(InputError, match="step = 2"):
        packets.transits(window, 2, "actor")


@pytest.mark.parametrize("team", TEAMS)
def test_packets_take_their_delay_and_units_end_at_their_relaxed_values(
    agents: neurosim.Run, team: str
) -> None:
    window, units = agents.windows[0], units_of(agents, team)
    found = packets.transits(window, 1, team)
    assert found.arrived.size > 10
    assert np.all(found.arrived - found.sent >= 1.0 - 1e-9)  # the delay of the model
    course = packets.values(window, 1, team)
    for unit in np.flatnonzero(units.layer < units.layer[-1]):
        last = course.value[course.unit == unit][-1]
        assert last == window.relaxed(team)[1][unit]


def test_an_animation_shows_each_packet_between_its_units_while_it_is_on_its_way(
    agents: neurosim.Run,
) -> None:
    window, units = agents.windows[0], units_of(agents, "actor")
    every = np.arange(units.layer.size)
    moving = packets.transits(window, 1, "actor")
    course, reached = (each(window, 1, "actor") for each in (packets.values, packets.broadcasts))
    film = packets_figure.draw(units, every, moving, course, reached, "title")
    axes = film.figure.axes[0]
    size = np.bincount(units.layer)
    for frame in (7, 20, 33):
        film.update(frame)
        now = frame / packets_figure.FRAMES
        on_the_way = (moving.sent <= now) & (now < moving.arrived)
        towards = units.layer[moving.sender] + np.where(moving.up, 1, -1)
        copies = np.where(moving.receiver == -1, size[towards], 1)
        dots = axes.collections[0].get_offsets()
        assert len(dots) == copies[on_the_way].sum()
        assert np.all((dots[:, 1] > 1 - 1e-9) & (dots[:, 1] < units.layer[-1] + 1e-9))


def test_an_animation_is_a_gif_or_a_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    window = by_hand(LOG, [0])
    parts = [
        each(window, 0, "actor") for each in (packets.transits, packets.values, packets.broadcasts)
    ]
    film = packets_figure.draw(TRIO, np.arange(3), *parts, "title")  # type: ignore[arg-type]
    packets_figure.save(film, tmp_path / "packets.gif")
    with Image.open(tmp_path / "packets.gif") as picture:
        frames = picture.n_frames  # type: ignore[attr-defined]
    assert frames > 20  # of 30, and equal ones at the end are one
    monkeypatch.setattr(packets_figure.FFMpegWriter, "isAvailable", lambda: False)
    with pytest.raises(InputError, match="need ffmpeg"):
        packets_figure.check_writer(tmp_path / "a.mp4")


# --- flow ----------------------------------------------------------------------------------------


def test_a_few_units_of_each_layer_are_spread_over_it() -> None:
    units = Units(np.repeat([1, 2, 3], [64, 3, 1]), window=1.0)
    assert np.array_equal(flow.spread(units), [0, 21, 42, 63, 64, 65, 66, 67])
    assert np.array_equal(flow.spread(units, 2), [0, 63, 64, 66, 67])


def test_the_flow_of_a_step_is_that_of_its_log() -> None:
    """Once more with a broadcast and a gate; the discarded packet was sent, but did not arrive."""
    more = [(4.0, "broadcast", 1, 0.7, -1, -1), (6.0, "gate", 2, 3.0, -1, -1)]
    window = by_hand([*LOG, *LOG, *more], [0, len(LOG)])  # type: ignore[list-item]
    found = flow.flow(window, 1, "actor", TRIO, np.arange(3))
    assert (found.observed, found.td_error, found.gates) == (1, 0.7, 1)
    assert np.array_equal(found.sent, [[2, 2, 0], [0, 0, 2]])
    assert np.array_equal(found.arrived[0], [[0, 0, 2], [0, 0, 1], [0, 0, 0]])
    assert np.array_equal(found.arrived[1], [[0, 0, 0], [0, 0, 0], [2, 2, 0]])
    assert np.array_equal(found.ticks, [1, 1, 1])
    assert np.array_equal(found.reached, [0, 1, 0])
    first = flow.flow(window, 0, "actor", TRIO, np.arange(3))
    assert np.isnan(first.td_error)
    with pytest.raises(InputError, match="step = 2: window 0 holds steps 0 to 1"):
        flow.flow(window, 2, "actor", TRIO, np.arange(3))


@pytest.mark.parametrize("team", TEAMS)
def test_the_flow_of_a_recorded_step_is_that_of_brute_force(
    agents: neurosim.Run, team: str
) -> None:
    window, units, step = agents.windows[1], units_of(agents, team), 2
    layer, chosen = units.layer, flow.spread(units, 2)
    found = flow.flow(window, step, team, units, chosen)
    sent = np.zeros((2, layer.size), int)
    arrived = np.zeros((2, layer.size, layer.size), int)
    ticks, reached = np.zeros((2, layer.size), int)
    names = ("team", "kind", "unit", "source", "cause")
    begin, end = window.first_event[step : step + 2]
    for side, kind, unit, source, cause in zip(
        *(window.events[name][begin:end] for name in names), strict=True
    ):
        if side != TEAMS.index(team):
            continue
        name = KINDS[kind]
        last = unit >= 0 and layer[unit] == layer[-1]
        if name in ("sample", "value_tick") and cause == 0:
            sent[0, unit] += 1
        if name in ("arm", "error_tick") and cause == 0:
            sent[1, unit] += 1
        if name in ("value_tick", "idle_tick") or (name == "error_tick" and last):
            ticks[unit] += 1
        if name == "broadcast":
            reached[unit] += 1
        if name.startswith("deliver"):
            up = name == "deliver_value"
            there = np.flatnonzero(layer == layer[source] + (1 if up else -1))
            for receiver in there if unit == -1 else [unit]:
                arrived[0 if up else 1, source, receiver] += 1
    assert np.array_equal(found.sent, sent)
    assert np.array_equal(found.ticks, ticks)
    assert np.array_equal(found.reached, reached)
    assert np.array_equal(found.arrived, arrived[:, chosen][:, :, chosen])
    assert min(found.arrived.sum(), sent[0].sum(), sent[1].sum(), ticks.sum()) > 0
    # and what the step's own counters say
    row = int(window.first_step) + step
    assert found.td_error == agents.steps["td_error"][row - 1]
    assert found.observed == agents.steps["observation"][:].shape[1]
    size = np.bincount(layer)
    per_synapse = agents.spec.timing is not None and agents.spec.timing.loss_per == "synapse"
    for direction, counted in enumerate(agents.steps[f"{team}_sent"][row]):
        for below, number in enumerate(counted, start=1):
            sender, receiver = (below, below + 1) if direction == 0 else (below + 1, below)
            copies = size[receiver] if per_synapse else 1
            assert found.sent[direction][layer == sender].sum() * copies == number


def test_the_figure_of_a_flow_has_an_arrow_where_packets_have_arrived_and_says_how_many(
    agents: neurosim.Run,
) -> None:
    window, teams = agents.windows[0], {}
    for team in TEAMS:
        units = units_of(agents, team)
        few = flow.spread(units, 3)
        counted = flow.flow(window, 1, team, units, few)
        counted.arrived[0, 0] = 0  # as if nothing had come from there
        teams[team] = flow_figure.Team(units, few, counted, team == "actor")
    axes = flow_figure.draw(teams, "").axes[0]
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    expected, numbers = 2, []  # of the gate: two hidden layers
    for units, few, counted, _ in teams.values():
        expected += np.count_nonzero(counted.arrived) + 4 * np.sum(units.layer[few] == 1)
        expected += len(np.unique(units.layer[counted.reached > 0]))
        for l in (1, 2):
            up, down = (counted.sent[d][units.layer == l + d].sum() for d in (0, 1))
            numbers += [f"{up:,} values ↑", f"{down:,} errors ↓"]
        numbers += [str(counted.ticks[unit]) for unit in few]
    assert len(arrows) == expected
    texts = [text.get_text() for text in axes.texts]
    for number in numbers:
        assert number in texts


# --- operations and energy -----------------------------------------------------------------------


def synchronous_counts(sizes: list[int], N: int, stale: bool, learns: bool) -> tuple[int, int, int]:
    """Multiply-adds of a step of Algorithm 2, counted one layer at a time."""
    made = {"forward": 0, "feedback": 0, "learning": 0}

    def mean(layer: int) -> None:
        made["forward"] += sizes[layer] * sizes[layer - 1]

    layers = range(1, len(sizes))
    for layer in layers:
        mean(layer)
    if learns:
        made["learning"] += 3 * sum(sizes[l] * (sizes[l - 1] + 1) for l in layers)
    first_stands = False
    for n in range(N):
        if n > 0 or not stale:
            for layer in layers:
                if layer > 1 or not first_stands:
                    mean(layer)
            first_stands = True
        for layer in layers[:-1]:
            made["feedback"] += sizes[layer] * sizes[layer + 1]
    for layer in layers:
        mean(layer)
        made["learning"] += sizes[layer] * (sizes[layer - 1] + 1)
    return made["forward"], made["feedback"], made["learning"]


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize("N", [0, 1, 2, 5])
def test_synchronous_operations_are_those_of_the_algorithm(N: int, stale: bool) -> None:
    sizes = [4, 5, 3, 2]
    w = [np.ones(shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    spec = neurosim.load("cartpole", {"actor.N": N, "learning.stale_first_mean": stale}).spec
    for learns in (False, True):
        found = operations.synchronous(w, spec.actor, spec.learning, learned=float(learns))
        assert found == synchronous_counts(sizes, N, stale, learns)


def test_operations_of_a_synchronous_run(layers: neurosim.Run) -> None:
    """actor 4-4-3-2: W has 16, 12 and 6 entries; N = 3; no update at an episode's first step."""
    found, steps = operations.operations(layers, "actor"), len(layers.steps)
    parameters = 16 + 12 + 6 + 4 + 3 + 2
    learning = parameters * (1 + 3 * (steps - 3) / steps)
    assert found.multiply_adds == pytest.approx((34 + (34 + 2 * 18) + 34, 3 * 18, learning))
    assert found.dense == 16 + (1 + 3) * 18 + 3 * 18
    assert found.effective_macs == found.dense
    assert (found.effective_acs, found.activation_sparsity, found.connection_sparsity) == (0, 0, 0)
    assert found.footprint == 8 * (4 * parameters + 2 * (4 + 3 + 2))


def test_operations_of_hill_climbing(tmp_path: Path) -> None:
    """No error is sent and no feedback computed; the first layer's means are computed for the
    sample, the energy of the values held and the trace, the others for each proposal besides."""
    with recorded(tmp_path, "hill_climbing/cartpole", {}) as run:
        found, steps = operations.operations(run, "actor"), len(run.steps)
        prices = energy.energy(found)
    parameters = 16 + 12 + 6 + 4 + 3 + 2
    learning = parameters * (1 + 3 * (steps - 3) / steps)
    assert found.multiply_adds == pytest.approx((3 * 34 + 3 * 18, 0, learning))
    assert found.dense == found.effective_macs == 16 + (1 + 3) * 18
    assert found.footprint == 8 * (4 * parameters + 2 * (4 + 3 + 2))
    made = 3 * 34 + 3 * 18 + learning
    assert prices["digital, 45 nm"].low == pytest.approx(made * (0.9e-12 + 3.7e-12))
    assert prices["TrueNorth"].high == pytest.approx(found.dense * 26e-12)


def test_the_lock_step_limit_computes_what_the_synchronous_mode_does(tmp_path: Path) -> None:
    """But for the first layer's mean before the trace, which stands still, and, at a step without
    an update, the means after it, which the sampling wave has computed already."""
    with recorded(tmp_path, "lockstep/cartpole", {}) as run:
        for team, sizes in (("actor", [4, 4, 3, 2]), ("critic", [4, 3, 2, 1])):
            made = run.steps[f"{team}_multiply_adds"][:]
            first = np.isin(np.arange(len(made)), run.episodes["first_step"][:])
            forward, feedback, learning = synchronous_counts(sizes, 3, False, True)
            assert np.all(made[~first] == [forward - sizes[0] * sizes[1], feedback, learning])


@pytest.mark.parametrize("team", TEAMS)
def test_synaptic_operations_are_arrivals_at_receivers(agents: neurosim.Run, team: str) -> None:
    """Counted row by row: a delivery to all is one operation at each unit that can receive it."""
    found, units = operations.operations(agents, team), units_of(agents, team)
    size = np.bincount(units.layer)
    arrived = sent = changes = updates = 0
    for window in agents.windows:
        names = ("time", "team", "kind", "unit", "source", "cause")
        close = 0  # T + window of the step; a td_error is broadcast at T
        for time, side, kind, unit, source, cause in zip(
            *(window.events[name][:] for name in names), strict=True
        ):
            if KINDS[kind] == "broadcast":
                close = time + 3 * TICKS
            elif KINDS[kind] == "observe":
                close = np.iinfo(np.int64).max
            if side != TEAMS.index(team):
                continue
            name = KINDS[kind]
            direction = 1 if name.endswith("_value") else -1
            if name.startswith("deliver"):
                receivers = size[units.layer[source] + direction] if unit == -1 else 1
                arrived += receivers if time <= close else 0
                sent += receivers
            elif name.startswith(("discard", "lost")):
                one = name.startswith("lost") and source >= 0  # on its synapse
                sender = unit if name.startswith("lost") and not one else source
                sent += 1 if one else size[units.layer[sender] + direction]
            elif name in ("sample", "value_tick") and units.layer[unit] < units.layer[-1]:
                updates += 1
                changes += cause == 0
    steps = len(agents.steps)
    observed = 4 * size[1]
    assert found.dense * steps == pytest.approx(sent + observed * steps)
    zeros = np.count_nonzero(agents.steps["observation"][:] == 0)
    assert found.effective_macs * steps == pytest.approx(
        arrived + observed * steps - size[1] * zeros
    )
    assert found.activation_sparsity == pytest.approx(1 - changes / updates)
    assert found.effective_macs <= found.dense


def test_zero_weights_and_binary_observations_are_not_effective(tmp_path: Path) -> None:
    more = {
        "task.id": "FrozenLake-v1",
        "task.one_hot": True,
        "task.episodes": 1,
        "actor.alpha": [0, 0, 0],
    }
    with recorded(tmp_path, "cartpole", more | {"record": []}) as run:
        found = operations.operations(run, "actor")
    assert found.effective_acs == 4  # one of 16 components at each unit of layer 1
    assert found.effective_macs == found.dense - 16 * 4


def test_footprints_hold_the_feedback_weights_that_units_have_of_their_own() -> None:
    assert operations.feedback_numbers("symmetric", [12, 6]) == (0, 0)
    assert operations.feedback_numbers("kolen_pollack", [12, 6]) == (18, 18)
    assert operations.feedback_numbers("random", [12, 6]) == (18, 0)
    assert operations.feedback_numbers("sign_symmetric", [12, 6]) == (18, 0)


def test_energy_is_priced_operation_by_operation() -> None:
    counted = Operations((300.0, 100.0, 400.0), 1000.0, 500.0, 100.0, 0.0, 0.0, 0)
    found = energy.energy(counted)
    assert found["digital, 45 nm"] == pytest.approx((800 * 4.6e-12, 800 * 104.6e-12))
    assert found["Loihi"] == pytest.approx((600 * 23.6e-12, 1000 * 23.6e-12 + 100 * 120e-12))
    assert found["TrueNorth"] == pytest.approx((600 * 26e-12, 1000 * 26e-12))
    twice = energy.together([found, found])
    for name, (low, high) in found.items():
        assert twice[name] == (2 * low, 2 * high)
    assert all(cost.source for cost in energy.COSTS.values())
