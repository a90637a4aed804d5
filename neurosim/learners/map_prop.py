"""Actor and critic, each with a learning rule (Algorithm 2, Appendix C, Section 5.3)."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import RunError
from neurosim.kernels import agent as kernels
from neurosim.kernels.team import PASSES, UPDATES
from neurosim.memory import Block, Floats, Integers, Team
from neurosim.network import (
    build_shared,
    build_team,
    layer_of,
    orient,
    read_shared,
    read_team,
    weights,
)
from neurosim.spec import TEAMS, Actor, Critic, Spec

_STATE = ("w", "z", "m", "v", "count")


class MapProp:
    """An agent: one call a time step, in which both teams go through the four phases.

    MAP propagation is the rule of the teams unless the model says otherwise.

    Parameters
    ----------
    spec : the model.
    n_observations : components of an observation.
    n_actions : outcomes of a softmax actor, or components of a Gaussian one.
    seed : seed of the run.

    Attributes
    ----------
    actor, critic : the memory of the two teams.
    shared : the counters and scalars they share.
    """

    def __init__(self, spec: Spec, n_observations: int, n_actions: int, seed: int) -> None:

        def build(name: str, team: Actor | Critic, n_out: int) -> Block:
            return build_team(name, team, spec.learning, spec.adam, n_observations, n_out, seed)

        actor = build("actor", spec.actor, n_actions)
        critic = build("critic", spec.critic, 1)
        shared = build_shared(spec.learning, seed)
        self._blocks = (actor, critic, shared)
        self.actor, self.critic = read_team(actor), read_team(critic)
        self.shared = read_shared(shared)
        self._at_limit = {"bootstrap": kernels.BOOTSTRAP, "zero": kernels.ZERO}[
            spec.learning.truncation
        ]
        self._action = self.actor.h[self.actor.unit[-1] :]

    @property
    def td_error(self) -> float:
        """The td_error broadcast last."""
        return float(self.shared.td_error[0])

    @property
    def value(self) -> float:
        """The critic's estimate mu(S) of the last state, from its feed-forward pass."""
        return float(self.shared.value[0])

    def begin(self, observation: Floats) -> Floats:
        """First step of an episode.  Returns the actor's output (n_actions,), a view."""
        self._check(kernels.agent_step(*self._blocks, observation, 0.0, kernels.BEGIN))
        return self._action

    def step(self, observation: Floats, reward: float) -> Floats:
        """A later step: learn from the transition that led here, then act.  Returns as `begin`."""
        self._check(kernels.agent_step(*self._blocks, observation, reward, kernels.STEP))
        return self._action

    def end(self, observation: Floats, reward: float, terminated: bool) -> None:
        """Learn from the last transition of an episode."""
        ending = kernels.TERMINATED if terminated else self._at_limit
        self._check(kernels.agent_step(*self._blocks, observation, reward, ending))
        self._check_parameters()

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that learning has changed, by name: what a checkpoint holds."""
        arrays = {
            f"{name}/{key}": getattr(team, key)
            for name, team in zip(TEAMS, (self.actor, self.critic), strict=True)
            for key in _STATE
        }
        return arrays | {f"shared/{k}": getattr(self.shared, k) for k in ("steps", "value")}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over what `state` returned."""
        for key, array in self.state().items():
            array[...] = state[key]
        orient(self.actor)
        orient(self.critic)

    def begin_with(self, weights: Mapping[str, Mapping[str, Floats]]) -> None:
        """Take these weights and biases W1, b1, ... of each team in the place of the drawn ones."""
        for name, team in zip(TEAMS, (self.actor, self.critic), strict=True):
            for key, view in named_layers(team, team.w, "").items():
                view[...] = weights[name][key]
            orient(team)

    def weights(self, name: str) -> dict[str, Floats]:
        """Views of a team's weights and biases: W1, b1, W2, b2 and so on."""
        return named_layers(getattr(self, name), getattr(self, name).w, "")

    def state_of(self, name: str) -> dict[str, NDArray[np.generic]]:
        """Views of all that a team has learned: `weights`, the traces zW1, zb1, ..., Adam's moments
        mW1, ..., vW1, ... and its number of updates, adam_count; then how many feed-forward passes
        it and how many iterations the agent has made; and `holding`."""
        team = getattr(self, name)
        arrays: dict[str, NDArray[np.generic]] = {**self.weights(name)}
        for prefix in "zmv":
            arrays |= named_layers(team, getattr(team, prefix), prefix)
        counts = {"passes": team.count[PASSES], "iterations": self.shared.steps[0]}
        return arrays | {"adam_count": team.count[UPDATES]} | counts | holding(team)

    def counts(self) -> dict[str, Integers]:
        """What the latest step counted, by column of /steps: of units that are agents."""
        return {}

    def totals(self) -> dict[str, Integers]:
        """The same of all steps so far, by team and name."""
        return {}

    def write_log(self, wanted: bool) -> None:
        """Keep the events of each step from the next one on, or stop doing so."""

    def events(self) -> dict[str, NDArray[np.generic]]:
        """Columns of what happened in the latest step; none where units have no clocks."""
        return {}

    def _check_parameters(self) -> None:
        """Stop where a parameter learns no more: nan and inf all end in Adam's second moments."""
        for name, team in zip(TEAMS, (self.actor, self.critic), strict=True):
            if np.isfinite(team.v).all():
                continue
            place = int(np.flatnonzero(~np.isfinite(team.v))[0])
            layer = int(np.searchsorted(team.param[1:], place, side="right"))
            raise RunError(
                f"diverged at step {int(self.shared.steps[0]) - 1}, the last of an episode: in the "
                f"{name}, layer {layer}, unit {self._unit_of(team, layer, place)}, the gradient of "
                f"a weight was {team.v[place]} when squared, with td_error {self.td_error:.6g}. "
                f"Try {remedy(name, team)} or learning.reward_bound."
            )

    @staticmethod
    def _unit_of(team: Team, layer: int, place: int) -> int:
        """Index of the unit within its layer that the parameter at a place belongs to."""
        n_out, n_in = int(team.size[layer]), int(team.size[layer - 1])
        offset = place - int(team.param[layer])
        return offset // n_in if offset < n_out * n_in else offset - n_out * n_in

    def _check(self, bad: tuple[int, int]) -> None:
        """Stop where a unit has diverged."""
        if bad == (-1, -1):
            return
        for name, team, unit in zip(TEAMS, (self.actor, self.critic), bad, strict=True):
            if unit >= 0:
                layer, index = layer_of(team, unit)
                place = team.unit[layer] + index
                raise RunError(
                    f"diverged at step {int(self.shared.steps[0]) - 1}: in the {name}, layer "
                    f"{layer}, unit {index}, the value is {team.h[place]:.6g} where its mean is "
                    f"{team.mu[place]:.6g}. Try {remedy(name, team)}."
                )


def holding(team: Team) -> dict[str, NDArray[np.generic]]:
    """Views of what a team's units may hold from one step to the next: their values h, and of each
    layer the steps since it decided, held.  Nothing of a team that decides at every step."""
    if np.all(team.hold == 1):
        return {}
    return {"h": team.h[int(team.size[0]) :], "held": team.held[1:]}


def remedy(name: str, team: Team) -> str:
    """The settings of a team that diverged, and which way to change them."""
    settings = [f"a smaller {name}.alpha"]
    if team.N > 0 and team.proposal == 0.0:  # hill climbing never raises the energy
        settings.append(f"a smaller {name}.step_size")
    if not team.backprop:
        settings.append(f"a larger {name}.var")
    return " or ".join(settings)


def named_layers(team: Team, parameters: Floats, prefix: str) -> dict[str, Floats]:
    """Views of a team's w, z, m or v: <prefix>W1, <prefix>b1, <prefix>W2 and so on."""
    found: dict[str, Floats] = {}
    for layer in range(1, team.size.size):
        w, b = weights(team, parameters, layer)
        found |= {f"{prefix}W{layer}": w, f"{prefix}b{layer}": b}
    return found
