"""Limits of the relaxation, against differences, relaxations, delay equations and the engine."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit
from bridge import small_content, small_spec
from numpy.testing import assert_allclose
from oracle import ACTIVATIONS, Array
from test_cli import Neurosim, do  # noqa: F401  # a fixture
from test_theory import make_team, values

import neurosim
from neurosim import experiment
from neurosim.analysis import landscape, stability
from neurosim.analysis.landscape import Network, layers_of, network_of
from neurosim.analysis.stability import Limits, critical_delay, hessian, largest_eigenvalue
from neurosim.kernels.clock import NOW
from neurosim.learners import MapProp
from neurosim.memory import Team
from neurosim.network import build_shared, build_team, orient, read_shared, read_team
from neurosim.plots import stability as figure
from neurosim.spec import TeamTiming, parse
from neurosim.teams import AsynchronousTeam, SynchronousTeam

KINDS = [("actor", "softmax"), ("actor", "gaussian"), ("critic", "gaussian")]
LINEAR = {f"{team}.activation": ["linear", "linear"] for team in ("actor", "critic")}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def of_linear(network: Network) -> Array:
    """M of a linear network with a Gaussian output: R'R, with R the derivatives of the errors of
    all layers, (h[l] - mu[l]) / sqrt(var[l]), for the hidden values, times sqrt(var) of these."""
    sizes = [w.shape[0] for w in network.W]
    ends = np.cumsum([0, *sizes])
    R = np.eye(ends[-1])
    for l in range(1, len(sizes)):
        scale = np.sqrt(network.var[l - 1][None, :] / network.var[l][:, None])
        R[ends[l] : ends[l + 1], ends[l - 1] : ends[l]] = -network.W[l] * scale
    R = R[:, : ends[-2]]
    return R.T @ R


# --- the Hessian ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "output"), KINDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_hessian_is_the_slopes_derivative(name: str, output: str, activation: str) -> None:
    team, _ = make_team(name, output, activation, N=0)
    network, H = network_of(team.memory), values(team.memory)
    deviations = np.sqrt(np.concatenate(network.var[:-1]))

    def slope() -> Array:
        return np.concatenate(landscape.slope(network, H))

    columns = []
    for h in H[1:-1]:
        for j in range(h.size):
            old, found = h[j], {}
            for k in (-2, -1, 1, 2):
                h[j] = old + k * 1e-3
                found[k] = slope()
            h[j] = old
            near, far = (found[1] - found[-1]) / 2e-3, (found[2] - found[-2]) / 4e-3
            columns.append((4.0 * near - far) / 3.0)
    expected = deviations[:, None] * np.column_stack(columns) * deviations
    found_M = hessian(network, H)
    assert np.max(np.abs(expected - np.diag(np.diag(expected)))) > 0.02
    assert_allclose(found_M, expected, rtol=0, atol=1e-8)  # as in test_theory
    assert_allclose(largest_eigenvalue(network, H), np.linalg.eigvalsh(expected)[-1], atol=1e-8)


@pytest.mark.parametrize(("name", "output"), KINDS)
def test_many_states_are_taken_at_once(name: str, output: str) -> None:
    team, _ = make_team(name, output, "tanh", N=1)
    network, states = network_of(team.memory), []
    for _ in range(6):
        states.append(team.memory.h.copy())
        team.relax()
    together = hessian(network, layers_of(team.memory, np.reshape(states, (2, 3, -1))))
    alone = [hessian(network, layers_of(team.memory, state)) for state in states]
    assert_allclose(together.reshape(np.shape(alone)), alone, rtol=0, atol=1e-13)
    assert np.max(np.abs(alone[0] - alone[5])) > 1e-3


# --- the largest step ----------------------------------------------------------------------------


def relaxed(memory: Team, team: SynchronousTeam, c: float, N: int) -> None:
    SynchronousTeam(memory._replace(c=c, N=N), team.shared).relax()


@pytest.mark.parametrize(("name", "output"), KINDS[1:])
def test_a_linear_team_settles_below_the_largest_step_and_not_above(name: str, output: str) -> None:
    for factor, settles in ((0.98, True), (1.02, False)):
        team, _ = make_team(name, output, "linear", N=0)
        network = network_of(team.memory)
        found = largest_eigenvalue(network, values(team.memory))
        assert_allclose(found, np.linalg.eigvalsh(of_linear(network))[-1], rtol=1e-12)
        before = landscape.residual(network, values(team.memory))
        relaxed(team.memory, team, factor * 2.0 / float(found), 500)
        after = landscape.residual(network, values(team.memory))
        # 0.96**500 = 1e-9 and 1.04**500 = 3e8 of the fastest direction
        assert (after < 1e-6 * before) if settles else (after > 1e4 * before)


@pytest.mark.parametrize(("name", "output"), KINDS)
@pytest.mark.parametrize("activation", ["softplus", "tanh", "sigmoid"])
def test_a_team_comes_back_to_where_it_had_settled_only_below_the_largest_step(
    name: str, output: str, activation: str
) -> None:
    team, _ = make_team(name, output, activation, N=0)
    relaxed(team.memory, team, 0.1, 3000)
    settled, network = team.memory.h.copy(), network_of(team.memory)
    limit = 2.0 / float(largest_eigenvalue(network, values(team.memory)))
    hidden = slice(int(team.memory.unit[1]), int(team.memory.unit[-1]))
    off = np.zeros_like(settled)
    off[hidden] = 1e-7 * np.random.default_rng(1).normal(size=off[hidden].size)
    for factor, comes_back in ((0.97, True), (1.03, False)):
        team.memory.h[:] = settled + off
        relaxed(team.memory, team, factor * limit, 100)
        distance = np.linalg.norm(team.memory.h - settled) / np.linalg.norm(off)
        assert (distance < 0.1) if comes_back else (distance > 10.0)


# --- the critical delay --------------------------------------------------------------------------


def growth(o: float, c: float, d: float, clock: str) -> float:
    """Growth of the delay equation's solutions, by Euler's steps: log of the largest |x| of a
    tenth of the time, at the end and in the middle."""
    dt, time = 0.005, 60.0 * (2.0 * d + 1.0) / min(c, 1.0)
    n = round((2.0 * d if clock == "poisson" else 2.0 * d + 1.0) / dt)
    steps = round(time / dt)
    x, y = np.ones(steps + n + 1), np.ones(steps + n + 1)
    for k in range(n, steps + n):
        heard = y[k - n] if clock == "poisson" else x[k - n]
        y[k + 1] = y[k] + dt * (x[k] - y[k])  # the last packet's age is exponential, mean 1
        x[k + 1] = x[k] - dt * c * (x[k] + o * heard)
    tenth = steps // 10
    end, middle = np.abs(x[-tenth:]).max(), np.abs(x[n + 4 * tenth : n + 5 * tenth]).max()
    return float(np.log(end / middle))


@pytest.mark.parametrize(
    ("o", "c", "clock"),
    [
        (1.2, 0.5, "periodic"),
        (2.0, 0.5, "periodic"),
        (2.0, 0.3, "periodic"),
        (1.2, 1.0, "poisson"),
        (2.0, 0.5, "poisson"),
        (5.0, 1.0, "poisson"),
    ],
)
def test_the_delay_equation_settles_below_the_critical_delay_and_not_above(
    o: float, c: float, clock: str
) -> None:
    d = critical_delay(o, c, clock)
    assert 0.05 < d < 10.0
    assert growth(o, c, 0.93 * d, clock) < -0.05
    assert growth(o, c, 1.07 * d, clock) > 0.05


@pytest.mark.parametrize("clock", ["periodic", "poisson"])
def test_where_others_weigh_less_than_oneself_any_delay_is_stable(clock: str) -> None:
    assert critical_delay(1.0, 0.5, clock) == critical_delay(0.3, 1.0, clock) == math.inf
    assert 1e3 < critical_delay(1.0 + 1e-9, 0.5, clock) < math.inf
    assert growth(0.9, 0.5, 10.0, clock) < -0.05
    assert critical_delay(2.0, 0.5, "periodic") == pytest.approx(
        (math.acos(-0.5) / (0.5 * math.sqrt(3.0)) - 1.0) / 2.0
    )
    assert critical_delay(20.0, 1.0, "periodic") == 0.0


def agents(o: float, c: float, d: float, clock: str, window: float) -> AsynchronousTeam:
    """A linear critic of one hidden layer whose M has the largest eigenvalue 1 + o."""
    changes = {
        "critic.units": [32],
        "critic.activation": ["linear"],
        "critic.var": [0.4, 0.5],
        "critic.alpha": [0.1, 0.1],
        "critic.anneal_to": [1.0, 1.0],
        "critic.step_size": c,
    }
    spec = small_spec(changes)
    block = build_team("critic", spec.critic, spec.learning, spec.adam, 3, 1, 0)
    shared = build_shared(spec.learning, 0)
    memory = read_team(block)
    output = slice(int(memory.param[2]), int(memory.param[2]) + 32)
    memory.w[output] *= math.sqrt(o * 0.5 / 0.4 / np.sum(memory.w[output] ** 2))
    orient(memory)
    timing = TeamTiming(clock=clock, delay=d, window=window)  # type: ignore[arg-type]
    return AsynchronousTeam("critic", block, shared, timing, 20, read_shared(shared).key)


def rate(o: float, c: float, d: float, clock: str) -> float:
    """Growth of the distance from the stationary point per period, a median of five passes."""
    team, rates, periods = agents(o, c, d, clock, 200.0), [], 200.0
    memory, noise = team.memory, np.random.default_rng(0)
    network = network_of(memory)
    assert largest_eigenvalue(network, layers_of(memory, memory.h)) == pytest.approx(1.0 + o)
    for _ in range(5):
        team.act(noise.normal(size=3))
        before = landscape.residual(network, layers_of(memory, memory.h))
        team.settle(0.0, team.ready, False)
        after = landscape.residual(network, layers_of(memory, memory.h))
        rates.append(float(np.log(max(after, 1e-12) / before)) / periods)
        team.mail.clock[NOW] = team.ready + team.wiring.duration
    return float(np.median(rates))


@pytest.mark.parametrize(
    ("o", "c", "clock"),
    [(1.5, 0.5, "poisson"), (1.3, 1.0, "poisson"), (2.0, 0.5, "poisson"), (2.0, 0.5, "periodic")],
)
def test_agents_settle_up_to_the_critical_delay_within_a_factor_of_one_and_a_half(
    o: float, c: float, clock: str
) -> None:
    d = critical_delay(o, c, clock)
    assert rate(o, c, d / 1.5, clock) < -0.003
    assert rate(o, c, d * 1.5, clock) > 0.003


def test_agents_of_poisson_clocks_bear_a_step_that_periodic_ones_do_not() -> None:
    o, c = 1.3, 1.0
    for d in (0.05, 0.5):
        assert rate(o, c, d, "periodic") > 0.003
        assert rate(o, c, d, "poisson") < -0.003
    assert rate(o, 0.95 * 2.0 / (1.0 + o), 0.02, "periodic") < -0.003


@pytest.mark.parametrize("o", [2.5, 4.5])
def test_one_output_with_a_poisson_clock_adds_a_limit_of_its_own(o: float) -> None:
    # Between ticks of the output U of x is left, x <- ((1 + o) U - o) x where c = 1 and without
    # delay; the mean of log |(1 + o) U - o| is o log(o) / (1 + o) - 1, of many units: 0 at 3.59.
    diverges = o * math.log(o) > 1.0 + o
    found = rate(o, 1.0, 0.005, "poisson")
    assert (found > 0.003) if diverges else (found < -0.003)


# --- verdicts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lambda_max", "c", "timing", "verdict", "key"),
    [
        (3.0, 0.5, None, "stable: step_size 0.5 < 0.667", None),
        (3.0, 0.7, None, "unstable: step_size 0.7 >= 0.667", "critic.step_size = 0.7"),
        (3.0, 0.5, {}, "stable: delay 0.25 is within the predicted critical delay 0.709", None),
        (3.9, 0.5, {"delay": 0.5}, "stable: delay 0.5 is within", None),  # in time for the next
        (
            *(3.0, 0.5, {"clock": "periodic", "delay": 1.0}),
            *("delay 1 is beyond the predicted critical delay 0.709", "timing.delay = 1"),
        ),
        (3.0, 0.5, {"clock": "poisson", "delay": 1.0}, "stable: delay 1 is within", None),
        (
            *(3.0, 1.0, {"clock": "poisson", "delay": 0.5, "error_delay": 1.5}),
            *("delay 1 is beyond the predicted critical delay 0.785", "timing.delay = 1"),
        ),
        (3.0, 1.0, {"clock": "periodic"}, "unstable: step_size 1 >= 0.667", "critic.step_size = 1"),
        (1.9, 1.0, {"clock": "poisson", "delay": 9.0}, "stable at any delay: o 0.9 <= 1", None),
    ],
)
def test_verdicts_and_warnings(
    lambda_max: float, c: float, timing: dict[str, Any] | None, verdict: str, key: str | None
) -> None:
    of_team = None if timing is None else TeamTiming(**timing)
    limits = Limits(np.array([1.5, lambda_max]), c, of_team, False)
    assert verdict in limits.verdict
    warnings = stability.warnings({"critic": limits})
    assert len(warnings) == (key is not None)
    if key:
        assert warnings[0].startswith(key)
        assert "raise critic.var[-1]" in warnings[0]
        assert "raise actor.T" in stability.warnings({"actor": limits._replace(softmax=True)})[0]


def test_the_delay_is_that_of_the_longest_way_up_and_down() -> None:
    assert stability.delay_of(TeamTiming(delay=[0.5, 2.0], error_delay=[1.0, 3.0])) == 2.5
    assert stability.delay_of(TeamTiming(delay=1.0, unit_delay=0.5, packet_delay=0.25)) == 1.375


# --- models, runs, the command line --------------------------------------------------------------


def cells(out: str, team: str, when: str) -> list[str]:
    """The numbers in a row of the printed table."""
    (line,) = (line for line in out.splitlines() if line.split()[:1] == [team] and when in line)
    return line.split(when)[1].split()


def test_the_command_tells_the_limits_of_a_model(do: Neurosim) -> None:  # noqa: F811
    settings = ["critic.activation=['linear', 'linear']", "critic.units=[8, 4]"]
    done = do("stability", "async/cartpole", "--seed", 3, "--set", *settings)
    assert done.status == 0
    spec = neurosim.load(
        "async/cartpole",
        {"critic.activation": ["linear", "linear"], "critic.units": [8, 4]},
    ).spec
    network = network_of(MapProp(spec, 4, 2, 3).critic)
    largest = np.linalg.eigvalsh(of_linear(network))[-1]
    o = largest - 1.0
    assert o > 1.0
    # (1 + w^2)^2 = o^2 and w d = pi / 2 - arctan(w) where c = 1
    w = math.sqrt(o - 1.0)
    critical = (math.pi / 2.0 - math.atan(w)) / w
    numbers = [largest, largest, 2.0 / largest, 1.0, o, critical, 1.0]
    found = cells(done.out, "critic", "fresh weights")
    assert found[1:] == [f"{number:.3g}" for number in numbers]
    assert f"predicted critical delay {critical:.3g}" in done.out


def test_the_command_says_where_no_team_relaxes(do: Neurosim) -> None:  # noqa: F811
    done = do("stability", "backprop/cartpole")
    assert done.status == 0
    assert "No team relaxes" in done.out


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of linear teams that learn fast, with a checkpoint after each episode."""
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", 0.0)
    content = small_content(LINEAR)
    content["record"] = [{"episodes": [3], "steps": [0, 2]}]
    return neurosim.run(parse(tomlkit.dumps(content), "small"), 7, tmp_path)


def test_the_limits_of_a_run_are_those_of_its_weights(
    run_folder: Path,
    do: Neurosim,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with neurosim.open(run_folder) as run:
        found = stability.of_run(run)["critic"]
        fresh = network_of(MapProp(run.spec, 4, 2, 7).critic)
        window = run.windows[0]
        first = run.episodes["first_step"][2]
        held = {
            ("initial", 0.0): run.weights("critic", "initial"),
            ("checkpoint", 2.0): window.before("critic"),  # where episode 3 begins
            ("window", 2.0): window.before("critic"),
            ("window", 2.0 + 2.0 / (len(run.steps) - first)): window.after("critic"),
            ("final", 3.0): run.weights("critic", "final"),
        }
    moments = {(moment.what, moment.episode): moment.limits for moment in found}
    assert {*moments} == {*held, ("checkpoint", 1.0)}
    assert [moment.episode for moment in found] == sorted(moment.episode for moment in found)
    largest = {}
    for key, w in held.items():
        network = fresh._replace(W=[w["W1"], w["W2"], w["W3"]], b=[w["b1"], w["b2"], w["b3"]])
        largest[key] = np.linalg.eigvalsh(of_linear(network))[-1]
        assert_allclose(moments[key].lambda_max, largest[key], rtol=1e-10)
    assert len({f"{x:.6g}" for x in largest.values()}) == 4  # they differ, but for two of one state
    done = do("stability", run_folder)
    assert done.status == 0
    final = largest["final", 3.0]
    row = cells(done.out, "critic", "final 3")
    assert row[1:4] == [f"{x:.3g}" for x in (final, final, 2.0 / final)]
    assert "critic: stable: step_size 0.5 < " in done.out
    assert do("stability", run_folder, "--seed", 1).status == 2
    monkeypatch.setenv("COLUMNS", "80")
    with neurosim.open(run_folder) as run:
        rows = sum(len(each) for each in stability.of_run(run).values())
    narrow = do("stability", run_folder).out.splitlines()
    assert len(narrow) == 1 + 2 + rows + 2  # the run, headings, a line each, verdicts


def test_the_figure_has_the_limits_and_the_line_of_the_model(
    run_folder: Path,
    tmp_path: Path,
    do: Neurosim,  # noqa: F811
) -> None:
    with neurosim.open(run_folder) as run:
        teams = stability.of_run(run)
    drawn = figure.draw(teams, "a run")
    panels = [axes for axes in drawn.axes if axes.get_title().startswith(("actor", "critic"))]
    for axes, moments in zip(panels, teams.values(), strict=True):
        course, line = axes.get_lines()
        assert_allclose(course.get_xdata(), [moment.episode for moment in moments])
        medians = [np.median(moment.limits.lambda_max) for moment in moments]
        assert_allclose(course.get_ydata(), medians)
        assert_allclose(line.get_ydata(), 4.0)  # 2 / c
    with_agents = {
        name: [
            moment._replace(limits=moment.limits._replace(timing=TeamTiming(clock="poisson")))
            for moment in moments
        ]
        for name, moments in teams.items()
    }
    *_, line = figure.draw(with_agents, "a run").axes[0].get_lines()
    o = float(np.asarray(line.get_ydata())[0]) - 1.0
    assert critical_delay(o, 0.5, "poisson") == pytest.approx(0.25)
    assert do("plot", "stability", run_folder, "-o", tmp_path / "s.svg").status == 0
    assert (tmp_path / "s.svg").stat().st_size > 1000


SMALL = ["--episodes", 1, "--quiet", "--set", "actor.units=[8, 4]", "critic.units=[8, 4]"]


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        ("cartpole", [], None),
        ("backprop/cartpole", [], None),
        ("cartpole", ["critic.step_size=3"], "critic.step_size = 3: from "),
        ("cartpole", ["actor.step_size=3"], "actor.step_size = 3: from "),
        ("async/cartpole", [], None),
        ("async/cartpole", ["critic.var=[0.03, 0.1, 0.01]"], "timing.delay = 1 of the critic: "),
    ],
)
def test_a_run_warns_on_stderr_before_it_starts(
    do: Neurosim,  # noqa: F811
    model: str,
    settings: list[str],
    expected: str | None,
) -> None:
    done = do("run", model, *SMALL, *settings)
    warnings = [line for line in done.err.splitlines() if "warning" in line]
    assert len(warnings) == (expected is not None)
    if expected:
        assert warnings[0].startswith(f"neurosim: warning: {expected}")
    assert done.status == 0 or settings
