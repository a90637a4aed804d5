"""The actor-critic with eligibility traces by backprop (model `backprop/cartpole`) in PyTorch.

What a PyTorch user would write: two networks of `torch.nn`, gradients by autograd, `torch.optim`.
As in Algorithm 2 the traces take gradients with the weights of after the update, so that each
network is evaluated twice a step.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_allclose
from torch import nn

from neurosim.learners import MapProp
from neurosim.memory import Team
from neurosim.spec import Spec

torch.set_num_threads(1)


class Network:
    """A network with softplus hidden layers, its traces and its optimiser."""

    def __init__(self, ours: MapProp, name: str) -> None:
        team: Team = getattr(ours, name)
        self.decay, self.anneal_steps = team.trace_decay, ours.shared.anneal_steps
        weights, layers = ours.weights(name), []
        for l in range(1, team.size.size):
            w, b = (torch.tensor(np.array(weights[f"{key}{l}"])) for key in "Wb")
            layer = nn.Linear(*w.T.shape, dtype=w.dtype)
            layer.weight, layer.bias = nn.Parameter(w), nn.Parameter(b)
            layers += [layer, nn.Softplus()]
        self.net = nn.Sequential(*layers[:-1])
        self.parameters = list(self.net.parameters())
        self.traces = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.alpha = list(zip(team.alpha[1:].tolist(), team.anneal_to[1:].tolist(), strict=True))
        groups = [
            {"params": list(layer.parameters()), "lr": alpha}
            for layer, (alpha, _) in zip(layers[::2], self.alpha, strict=True)
        ]
        betas = team.beta1, team.beta2
        self.optimiser = torch.optim.Adam(groups, betas=betas, eps=team.epsilon)

    def learn(self, td_error: float, steps: int) -> None:
        """Ascend on td_error * z."""
        part = min(steps / self.anneal_steps, 1.0)
        for group, (alpha, anneal_to) in zip(self.optimiser.param_groups, self.alpha, strict=True):
            group["lr"] = alpha * (1.0 - (1.0 - anneal_to) * part)
        for parameter, z in zip(self.parameters, self.traces, strict=True):
            parameter.grad = -td_error * z
        self.optimiser.step()

    def accumulate(self, objective: torch.Tensor) -> None:
        """Decay the traces and add the gradient of the objective."""
        for z, gradient in zip(
            self.traces, torch.autograd.grad(objective, self.parameters), strict=True
        ):
            z.mul_(self.decay).add_(gradient)


class TorchAgent:
    """Actor and critic with the weights that one of neurosim's agents has now."""

    def __init__(self, ours: MapProp) -> None:
        self.actor, self.critic = Network(ours, "actor"), Network(ours, "critic")
        self.T, self.gamma = ours.actor.T, ours.shared.gamma
        self.value, self.steps = 0.0, 0

    def begin(self, observation: np.ndarray, action: int | None = None) -> int:
        """First step of an episode.  Returns the action, which is drawn if none is given."""
        for network in (self.actor, self.critic):
            for z in network.traces:
                z.zero_()
        action, self.value = self._act(observation, action)
        return self._accumulate(observation, action)

    def step(self, observation: np.ndarray, reward: float, action: int | None = None) -> int:
        """A later step."""
        action, value = self._act(observation, action)
        td_error = reward + self.gamma * value - self.value
        self.value = value
        self.critic.learn(td_error, self.steps)
        self.actor.learn(td_error, self.steps)
        return self._accumulate(observation, action)

    @torch.no_grad()
    def _act(self, observation: np.ndarray, action: int | None) -> tuple[int, float]:
        seen = torch.from_numpy(observation)
        value = self.critic.net(seen).item()
        if action is None:
            probabilities = torch.softmax(self.actor.net(seen) / self.T, 0)
            action = int(torch.multinomial(probabilities, 1).item())
        return action, value

    def _accumulate(self, observation: np.ndarray, action: int) -> int:
        seen = torch.from_numpy(observation)
        self.critic.accumulate(self.critic.net(seen)[0])
        self.actor.accumulate(torch.log_softmax(self.actor.net(seen) / self.T, 0)[action])
        self.steps += 1
        return action

    def weights(self) -> dict[str, np.ndarray]:
        """Parameters by name, W1, b1, W2, ... of actor and critic."""
        return {
            f"{name}.{'Wb'[n % 2]}{n // 2 + 1}": parameter.detach().numpy()
            for name in ("actor", "critic")
            for n, parameter in enumerate(getattr(self, name).parameters)
        }


def check(spec: Spec, sizes: tuple[int, int]) -> None:
    """Both must have the same weights after eight steps with the same actions, but for rounding."""
    ours = MapProp(spec, *sizes, 0)
    theirs = TorchAgent(ours)
    observations = np.random.default_rng(0).normal(scale=0.1, size=(9, sizes[0]))
    theirs.begin(observations[0], int(ours.begin(observations[0]).argmax()))
    for observation in observations[1:]:
        theirs.step(observation, 1.0, int(ours.step(observation, 1.0).argmax()))
    for key, array in theirs.weights().items():
        team, weight = key.split(".")
        assert_allclose(array, ours.weights(team)[weight], 1e-9, 1e-9, key)
