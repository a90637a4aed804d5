"""Relaxation without feedback: how near hill climbing comes to where gradient relaxation ends.

python demos/hill_climbing.py [MOST STEPS]

Teams are cartpole's before they have learned. The residual is how far hidden units are from
settled, in their standard deviations (analysis.landscape.residual); the cosine is that of a hidden
layer's own gradient with backprop's through the re-parameterised network (Theorems 2 and 3).
Medians over 3 initial weights and 10 states for each.
"""

import sys

import numpy as np

import neurosim
from neurosim.analysis.landscape import backprop, layers_of, network_of, residual
from neurosim.learners import MapProp
from neurosim.network import weights
from neurosim.teams import SynchronousTeam

most = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
STEPS = [steps for steps in (0, 20, 100, 500, 2000, 10_000) if steps <= most]
WAYS = [("gradient", {"relaxation": "gradient", "step_size": 0.5})]
for size in (0.003, 0.005, 0.01, 0.03, 0.1, 0.3):
    climbing = {"relaxation": "hill_climbing", "step_size": None, "proposal": size}
    WAYS.append((f"proposal {size}", climbing))


def own_gradient(team):
    """The team's own gradient by layer, (n(l), n(l-1) + 1): what an empty trace takes up."""
    team.memory.z[:] = 0.0
    team.accumulate()
    layers = range(1, team.memory.size.size)
    return [np.column_stack(weights(team.memory, team.memory.z, layer)) for layer in layers]


def cosine(a, b):
    return np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))


def settling(team, observation):
    """Residual and cosines of the hidden layers after each number of STEPS."""
    team.act(observation)
    rows, done = [], 0
    for steps in STEPS:
        memory = team.memory._replace(N=steps - done)
        SynchronousTeam(memory, team.shared).relax(first=done)
        done = steps
        own, network, H = own_gradient(team), network_of(memory), layers_of(memory, memory.h.copy())
        theirs = backprop(network, H)
        cosines = [cosine(a, b) for a, b in zip(own[:-1], theirs[:-1], strict=True)]
        rows.append([residual(network, H), *cosines])
    return rows


for name in ("actor", "critic"):
    print(f"\n{name}: residual, cosine in layer 1, in layer 2")
    print("| N |", " | ".join(way for way, _ in WAYS), "|")
    columns = []
    for _, settings in WAYS:
        changes = {f"{team}.{k}": v for team in ("actor", "critic") for k, v in settings.items()}
        spec, found = neurosim.load("cartpole", changes | {"critic.gate_floor": 0.0}).spec, []
        for seed in range(3):
            agent = MapProp(spec, 4, 2, seed)
            team = SynchronousTeam(getattr(agent, name), agent.shared)
            states = np.random.default_rng(seed).normal(size=(10, 4))
            found += [settling(team, state) for state in states]
        columns.append(np.median(found, axis=0))
    for steps, row in zip(STEPS, zip(*columns, strict=True), strict=True):
        print(f"| {steps} |", " | ".join(f"{r:.2g} {a:.3f} {b:.3f}" for r, a, b in row), "|")
