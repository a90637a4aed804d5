"""Rebuild every unit of a recorded asynchronous run from its inbox alone (docs/audit.md)."""

from collections.abc import Iterator

from neurosim import spec
from neurosim.audit import between
from neurosim.audit.agents import WEIGHTS_ABOVE, check_agent
from neurosim.audit.alone import agents_of
from neurosim.audit.case import Case
from neurosim.audit.report import Report
from neurosim.audit.window import read_window
from neurosim.errors import InputError
from neurosim.learners import AsynchronousMapProp
from neurosim.memory import Replayed
from neurosim.record import Run
from neurosim.spec import TEAMS, Spec
from neurosim.teams import AsynchronousTeam


def audit(run: Run, team: str | None = None, unit: int | None = None) -> Report:
    """Rebuild the units of a run, each from its inbox alone, and compare them with the log.

    Parameters
    ----------
    run : what `neurosim.open` returned: an asynchronous run with windows.
    team : "actor" or "critic"; None: both.
    unit : a unit, counted from the team's first hidden one; None: all.  Where feedback weights
        follow the weights above, all units of the layers above it are audited, too.

    Raises
    ------
    InputError : the run is synchronous, has no windows, was recorded in float32, or lacks the state
        before or after a window; or there is no such team or unit.
    """
    _check_run(run)
    if team is not None and team not in TEAMS:
        raise InputError(f"team = {team!r}: one of {', '.join(map(repr, TEAMS))}, or None.")
    model = run.spec
    learner = _learner_of(run, model)
    teams = {
        name: each for name, each in zip(TEAMS, learner.teams, strict=True) if team in (None, name)
    }
    report = Report()
    for name, each in teams.items():
        report.units += sum(last - first for _, first, last in _chosen(name, each, unit))
        _remark(report, model, name)
    for number in range(len(run.windows)):
        window = read_window(run, number, learner)
        report.windows += 1
        report.steps += window.n_steps
        rewards = run.steps["reward"][window.first_step : window.first_step + window.n_steps]
        between.check_td_errors(report, window, learner.shared, rewards)
        for name, each in teams.items():
            _check_team(Case(report, window, name, each, learner.shared, window.log), unit)
    return report


def _check_run(run: Run) -> None:
    if run.attribute("mode") != "asynchronous":
        mode = run.attribute("mode")
        raise InputError(
            f"mode = {mode!r}: only the units of an asynchronous run have inboxes. "
            "`neurosim run MODEL --mode asynchronous --record ...` makes one."
        )
    if len(run.windows) == 0:
        raise InputError(
            "The run has no windows, and so no events to audit. `neurosim rerecord RUN --episode 1 "
            "--steps 0:30` adds one."
        )


def _learner_of(run: Run, model: Spec) -> AsynchronousMapProp:
    """An agent with the settings of the run's; of its numbers none is used."""
    n_in = run.steps["observation"].shape[1]
    n_out = run.windows[0].sampled("actor").shape[1] - sum(model.actor.units)
    return AsynchronousMapProp(model, n_in, n_out, run.seed)


def _chosen(name: str, team: AsynchronousTeam, unit: int | None) -> list[tuple[int, int, int]]:
    """The agents to rebuild, from the output down."""
    agents = list(agents_of(team.memory))
    if unit is None:
        return agents
    layers = [layer for layer, first, last in agents if first <= unit < last]
    if not layers:
        last = team.memory.h.size - int(team.memory.size[0]) - 1
        raise InputError(f"unit = {unit}: the {name} has the units 0 to {last}.")
    follows = team.wiring.feedback in WEIGHTS_ABOVE
    return [
        (layer, first, last)
        for layer, first, last in agents
        if first <= unit < last or (follows and layer > layers[0])
    ]


def _remark(report: Report, model: Spec, name: str) -> None:
    timing = spec.timing_of(model, name)
    if timing.feedback == "kolen_pollack" and timing.feedback_alignment > 0.0:
        report.remarks.append(
            f"The {name}'s feedback weights began as the transposed weights of the layer above "
            f"(feedback_alignment = {timing.feedback_alignment:g})."
        )


def _check_team(case: Case, unit: int | None) -> None:
    """What lies between a team's units, then each agent, those of the layer above first."""
    case = case._replace(log=between.rows_of(case))
    between.check_order(case)
    between.check_observations(case)
    between.check_wires(case)
    between.check_counters(case)
    above: list[Replayed] = []
    for agents in _by_layer(_chosen(case.name, case.team, unit)):
        above = [check_agent(case, which, above) for which in agents]


def _by_layer(agents: list[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
    for layer in sorted({layer for layer, _, _ in agents}, reverse=True):
        yield [which for which in agents if which[0] == layer]
