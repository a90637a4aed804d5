"""MAP propagation by units that are agents of their own (docs/asynchronous.md)."""

import numpy as np
from numpy.typing import NDArray

from neurosim.kernels.agent import BOOTSTRAP, bounded
from neurosim.kernels.clock import NOW
from neurosim.kernels.engine import SYMMETRIC
from neurosim.learners.map_prop import MapProp
from neurosim.memory import Floats
from neurosim.network import TEAMS
from neurosim.spec import Spec, timing_of
from neurosim.teams import AsynchronousTeam

# What of the mailboxes outlives a step.
_MAIL = (
    *("updates", "heard", "heard_time", "sent_sum", "slot", "slot_time", "slot_sum", "clock"),
    *("zt", "mt", "vt"),
)


class AsynchronousMapProp(MapProp):
    """An agent like `MapProp`, whose teams are asynchronous.

    Attributes
    ----------
    teams : the two `AsynchronousTeam`, actor and critic.
    """

    def __init__(self, spec: Spec, n_observations: int, n_actions: int, seed: int) -> None:
        super().__init__(spec, n_observations, n_actions, seed)
        *blocks, shared = self._blocks
        actor, critic = (
            AsynchronousTeam(
                name, block, shared, timing_of(spec, name), getattr(spec, name).N, self.shared.key
            )
            for name, block in zip(TEAMS, blocks, strict=True)
        )
        self.teams = (actor, critic)

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

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that learning has changed, by name: what a checkpoint holds."""
        arrays = super().state()
        for name, team in zip(TEAMS, self.teams, strict=True):
            arrays |= {f"{name}/{key}": getattr(team.mail, key) for key in _MAIL}
            if team.wiring.feedback != SYMMETRIC:
                arrays[f"{name}/wt"] = team.memory.wt
        return arrays

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
