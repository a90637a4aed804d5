"""One team settles: its energy falls while the hidden units move to their most probable values.

python demos/settle.py          draws settle.png
"""

import matplotlib.pyplot as plt
import numpy as np

import neurosim
from neurosim.analysis.landscape import energy, layers_of, network_of, residual
from neurosim.learners import MapProp
from neurosim.teams import SynchronousTeam

# 1. The actor of CartPole before it has learned: 4 inputs, 64 and 32 hidden units, 2 actions.
spec = neurosim.load("cartpole").spec
agent = MapProp(spec, 4, 2, seed=0)
network = network_of(agent.actor)

# 2. It sees a state and acts.  Every hidden unit has drawn a value near its mean.
state = np.array([0.02, -0.4, 0.03, 0.6])
team = SynchronousTeam(agent.actor, agent.shared)
outcome = team.act(state)
print(f"action {outcome.argmax()}, with the probabilities {agent.actor.mu[-2:].round(3)}")

# 3. One relaxation step at a time: each unit moves towards the mean that the layer below gives it,
#    and towards what makes the layer above more probable, with its own values held.
one_step = SynchronousTeam(agent.actor._replace(N=1), agent.shared)
path = [agent.actor.h.copy()]
for _ in range(20):
    one_step.relax()
    path.append(agent.actor.h.copy())

# 4. The energy is minus the log probability of all values together; the residual is how far units
#    still are from where they settle, in their own standard deviations.
H = layers_of(agent.actor, np.array(path))
E, r = energy(network, H), residual(network, H)
for n in (0, 1, 2, 5, 10, 20):
    print(f"after {n:2d} steps: energy {E[n]:8.3f}, residual {r[n]:.6f}")

# 5. A few units of layer 1 on their way, in standard deviations from where they end.
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), constrained_layout=True)
left.plot(E, "o-", ms=3)
left.set(xlabel="relaxation steps", ylabel="energy (nats)")
moved = (H[1] - H[1][-1]) / np.sqrt(spec.actor.var[0])
right.plot(moved[:, ::8])
right.set(xlabel="relaxation steps", ylabel="value, from where it settles (sd)")
for axes in (left, right):
    axes.set_xticks(range(0, 21, 5))
figure.savefig("settle.png", dpi=150)
