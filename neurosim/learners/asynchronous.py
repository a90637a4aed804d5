"""MAP propagation by units that are agents of their own (docs/asynchronous.md)."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from neurosim.kernels.agent import BOOTSTRAP, bounded
from neurosim.kernels.clock import DIGIT, NOW
from neurosim.kernels.engine import KOLEN_POLLACK, SYMMETRIC
from neurosim.kernels.merge import merge
from neurosim.kernels.traffic import BINS, FORWARD, IDLE, LEARNING, MOVES, STALENESS
from neurosim.learners.map_prop import MapProp
from neurosim.memory import Events, Floats, Integers, Team
from neurosim.spec import TEAMS, Spec, timing_of
from neurosim.teams import AsynchronousTeam
from neurosim.timing import feedback_weights, start_feedback

# What of the mailboxes outlives a step.
_MAIL = (
    *("updates", "heard", "heard_time", "sent_sum", "slot", "slot_time", "slot_sum", "clock"),
    *("zt", "mt", "vt", "totals"),
)


class AsynchronousMapProp(MapProp):
    """An agent like `MapProp`, whose teams are asynchronous.

    Attributes
    ----------
    teams : the two `AsynchronousTeam`, actor and critic.
    """

    def __init__(self, spec: Spec, n_observations: int, n_actions: int, seed: int) -> None:
        super().__init__(spec, n_observations, n_actions, seed)
        self._spec = spec
        *blocks, shared = self._blocks
        actor, critic = (
            AsynchronousTeam(
                name, block, shared, timing_of(spec, name), getattr(spec, name).N, self.shared.key
            )
            for name, block in zip(TEAMS, blocks, strict=True)
        )
        self.teams = (actor, critic)
        self._hold_events(0)

    def begin(self, observation: Floats) -> Floats:
        """First step of an episode.  Returns the actor's output (n_actions,), a view."""
        for team in self.teams:
            team.clear_traces()
        self._act(observation)
        self.shared.td_error[0] = 0.0
        self.shared.value[0] = self.critic.mu[-1]
        self._settle(self.shared.update_at_reset)
        return self._action

    def step(self, observation: Floats, reward: float) -> Floats:
        """A later step: learn from the transition that led here, then act.  Returns as `begin`."""
        self._act(observation)
        self._value(reward, self.critic.mu[-1])
        self.shared.value[0] = self.critic.mu[-1]
        self._settle(True)
        return self._action

    def end(self, observation: Floats, reward: float, terminated: bool) -> None:
        """Learn from the last transition of an episode."""
        bootstrap = not terminated and self._at_limit == BOOTSTRAP
        if self.shared.terminal_iteration:
            self._act(observation)
        elif bootstrap:
            self.teams[1].act(observation)
        if terminated or bootstrap:
            self._value(reward, self.critic.mu[-1] if bootstrap else 0.0)
        else:
            self.shared.td_error[0] = 0.0
        if self.shared.terminal_iteration:
            self._settle(True)
        else:
            for team in self.teams:
                team.learn_last(self.td_error)
            if bootstrap:
                self._wait_until(self.teams[1].ready + self.teams[1].wiring.duration)
        self._check_parameters()

    def write_log(self, wanted: bool) -> None:
        """Keep a log of each step from the next one on, or stop doing so."""
        for team in self.teams:
            team.write_log(wanted)

    def begin_with(self, weights: Mapping[str, Mapping[str, Floats]]) -> None:
        """As `MapProp.begin_with`; feedback weights begin as they would beside drawn weights."""
        super().begin_with(weights)
        for name, team in zip(TEAMS, self.teams, strict=True):
            start_feedback(team.memory, timing_of(self._spec, name), self.shared.key)

    def weights(self, name: str) -> dict[str, Floats]:
        """As `MapProp.weights`, and the feedback weights B2, B3, ... where units have their own:
        row j of B2 is what unit j of layer 1 holds for layer 2; W2 transposed if they agree."""
        team, found = self._team(name), super().weights(name)
        if team.wiring.feedback != SYMMETRIC:
            found |= _named_feedback(team.memory, team.memory.wt, "")
        return found

    def state_of(self, name: str) -> dict[str, NDArray[np.generic]]:
        """As `MapProp.state_of`, with feedback weights that are learned and what mailboxes hold;
        adam_count is per unit."""
        team, found = self._team(name), super().state_of(name)
        if team.wiring.feedback == KOLEN_POLLACK:
            for prefix in "zmv":
                found |= _named_feedback(team.memory, getattr(team.mail, f"{prefix}t"), prefix)
        held = "slot" if team.wiring.per_synapse else "heard"
        found[held] = getattr(team.mail, held)
        return found | {"adam_count": team.mail.updates[int(team.memory.size[0]) :]}

    def counts(self) -> dict[str, Integers]:
        """What the latest step counted, by column of /steps."""
        return {
            f"{name}_{what}": counts
            for name, team in zip(TEAMS, self.teams, strict=True)
            for what, counts in named_counts(team.memory, team.mail.counts).items()
        }

    def totals(self) -> dict[str, Integers]:
        """The same of all steps so far, by team and name."""
        return {
            f"{name}/totals/{what}": counts
            for name, team in zip(TEAMS, self.teams, strict=True)
            for what, counts in named_counts(team.memory, team.mail.totals).items()
        }

    def events(self) -> dict[str, NDArray[np.generic]]:
        """Columns of what happened in the latest step, in its order; views, until the next one."""
        logs = [team.log_block for team in self.teams]
        rows = sum(int(team.log.count[0]) for team in self.teams)
        if rows > self._events.time.size:
            self._hold_events(2 * rows)
        merge(*logs, self._work, self._events)
        return {name: column[:rows] for name, column in self._events._asdict().items()}

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that learning has changed, by name: what a checkpoint holds."""
        arrays = super().state()
        for name, team in zip(TEAMS, self.teams, strict=True):
            arrays |= {f"{name}/{key}": getattr(team.mail, key) for key in _MAIL}
            if team.wiring.feedback != SYMMETRIC:
                arrays[f"{name}/wt"] = team.memory.wt
        return arrays

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over what `state` returned."""
        super().restore(state)
        for name, team in zip(TEAMS, self.teams, strict=True):
            if team.wiring.feedback != SYMMETRIC:  # not the transposed weights
                team.memory.wt[:] = state[f"{name}/wt"]

    def _hold_events(self, rows: int) -> None:
        """Make room to list so many events."""
        self._work = (*np.zeros((3, rows), np.int64), np.zeros(2**DIGIT, np.int64))
        self._events = Events(
            time=np.zeros(rows, np.int64),
            team=np.zeros(rows, np.uint8),
            unit=np.zeros(rows, np.int32),
            kind=np.zeros(rows, np.uint8),
            value=np.zeros(rows),
            source=np.zeros(rows, np.int32),
            cause=np.zeros(rows, np.int32),
        )

    def _team(self, name: str) -> AsynchronousTeam:
        return self.teams[TEAMS.index(name)]

    def _act(self, observation: Floats) -> None:
        for team in self.teams:
            team.act(observation)

    def _value(self, reward: float, next_value: float) -> None:
        """The td_error of a transition (line 13, Appendix C)."""
        shared = self.shared
        reward = bounded(reward, shared.reward_bound)
        shared.td_error[0] = reward + shared.gamma * next_value - shared.value[0]

    def _settle(self, learning: bool) -> None:
        """Broadcast the td_error once both teams have sampled, and wait for the window's end."""
        begin = max(team.ready for team in self.teams)
        actor, critic = (team.settle(self.td_error, begin, learning) for team in self.teams)
        self.shared.steps[0] += 1
        self._wait_until(max(begin + team.wiring.duration for team in self.teams))
        self._check((actor, critic))

    def _wait_until(self, time: int) -> None:
        for team in self.teams:
            team.mail.clock[NOW] = time


def named_counts(team: Team, counts: Integers) -> dict[str, Integers]:
    """Views of a team's counts.

    sent, delivered, lost, discarded and in_flight are (2, L-1): values up and errors down, by
    projection from the first hidden layer up.  ticks: value ticks, error ticks, value ticks of
    units that were not armed.  multiply_adds: of the forward and the feedback products and of
    learning (a trace counts one for each parameter, an Adam update three).  staleness (2, 32):
    mean age of the mailbox at each use, of values and of errors, in bins of a quarter of a period,
    the last one open.
    """
    layers = team.size.size
    lanes = counts[: 10 * layers].reshape(5, 2, layers)
    names = ("sent", "delivered", "lost", "discarded", "in_flight")
    found = {name: lanes[k, :, 1 : layers - 1] for k, name in enumerate(names)}
    rest = counts[10 * layers :]
    found["ticks"] = rest[MOVES : IDLE + 1]
    found["multiply_adds"] = rest[FORWARD : LEARNING + 1]
    found["staleness"] = rest[STALENESS:].reshape(2, BINS)
    return found


def _named_feedback(team: Team, parameters: Floats, prefix: str) -> dict[str, Floats]:
    views = feedback_weights(team, parameters)
    return {f"{prefix}B{layer}": view for layer, view in enumerate(views, start=2)}
