"""One seed, three times: all units together, agents in lock-step, and on clocks of their own.

python demos/two_modes.py [EPISODES]          draws two_modes.png
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import neurosim
from neurosim.analysis.returns import running_average

episodes = int(sys.argv[1]) if len(sys.argv) > 1 else 100

# 1. Three models of CartPole: Algorithm 2; every unit an agent, but all clocks tick together and
#    packets arrive before the next tick; and Poisson clocks, with packets that take a whole period.
names = ("cartpole", "lockstep/cartpole", "async/cartpole")
changes = {"task.episodes": episodes}
runs = {name: neurosim.simulate(neurosim.load(name, changes), seed=0) for name in names}
together, lockstep, alone = runs.values()

# 2. A seed is the same world: environments begin alike, whatever the agent.
first = together.steps["observation"][0]
print("first observation", first.round(4))
assert all((run.steps["observation"][0] == first).all() for run in runs.values())

# 3. In lock-step the agents compute the algorithm itself: every weight has the same bits.
for team in ("actor", "critic"):
    before, after = together.weights(team, "final"), lockstep.weights(team, "final")
    assert all((before[name] == after[name]).all() for name in before)
print(f"after {len(together.steps)} steps the weights of both are the same, bit for bit")

# 4. On clocks of their own they do something else, and learn all the same.
print("\nepisodes      together   alone")
returns = [run.episodes["return"][:] for run in (together, alone)]
for rows in np.array_split(np.arange(episodes), 4):
    scores = "  ".join(f"{each[rows].mean():8.1f}" for each in returns)
    print(f"{rows[0] + 1:3d} to {rows[-1] + 1:3d}    {scores}")

# 5. What it costs them: packets that they sent to one another, and how old those were when used.
sent = alone.steps["actor_sent"][:].sum(axis=(1, 2))
print(f"\nthe actor's units exchange {sent.mean():.0f} packets a step")
ages = alone["teams/actor/totals"]["staleness"][...]  # values and errors, in quarters of a period
middles = (np.arange(ages.shape[1]) + 0.5) / 4
for what, counts in zip(("values", "errors"), ages, strict=True):
    print(f"{what} in a mailbox are {np.average(middles, weights=counts):.1f} periods old")

figure, axes = plt.subplots(figsize=(6, 3.5), constrained_layout=True)
for name, each in zip(("together", "alone"), returns, strict=True):
    (line,) = axes.plot(range(1, episodes + 1), running_average(each, 20), label=name)
    axes.plot(range(1, episodes + 1), each, ".", ms=3, alpha=0.4, color=line.get_color())
axes.set(xlabel="episode", ylabel="return, and average of the last 20")
axes.legend(frameon=False)
figure.savefig("two_modes.png", dpi=150)
