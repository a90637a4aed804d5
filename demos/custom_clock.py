"""Clocks of one's own: rates from the settings, then a wave that no setting has.

python demos/custom_clock.py          draws custom_clock.png
"""

import matplotlib.pyplot as plt
import numpy as np

import neurosim
from neurosim.kernels.clock import TICKS
from neurosim.kernels.traffic import KINDS
from neurosim.learners import LEARNERS
from neurosim.tasks import Environment, environment_seed

# 1. From the settings: the units of layer 1 tick at rates from slow to fast, layer 2 and the output
#    once a period.  Such a model can be run, recorded and resumed like any other.
rates = [list(np.geomspace(0.2, 2.0, 64)), 1.0, 1.0]
rated = neurosim.load("async/cartpole", {"timing.actor.rate": rates, "task.episodes": 2})
run = neurosim.simulate(rated, seed=0)
print(f"{len(run.steps)} steps with ticks of all kinds, by step:", *run.steps["actor_ticks"][0])

# 2. From Python: the arrays that settings become may be changed before the first step.  Here layer
#    1 ticks in a wave: unit after unit, evenly over the period.
waving = neurosim.load("async/cartpole", {"timing.clock": "periodic"})
agents = {
    name: LEARNERS["asynchronous"](model.spec, 4, 2, 0)
    for name, model in (("rates", rated), ("wave", waving))
}
team = agents["wave"].teams[0]
hidden = slice(team.memory.unit[1], team.memory.unit[2])
team.wiring.phase[hidden] = TICKS * np.arange(1, 65) // 64
team.wiring.lag[hidden] = 0

# 3. One step of each, with a log of all that happens in it.
environment = Environment(waving.spec.task, waving.spec.actor.output)
observation = environment.reset(environment_seed(0, 1))
figure, panels = plt.subplots(1, 2, figsize=(8, 3.5), sharey=True, constrained_layout=True)
for axes, (name, agent) in zip(panels, agents.items(), strict=True):
    agent.write_log(True)
    agent.begin(observation)
    events = agent.events()
    ticks = np.isin(events["kind"], [KINDS.index("value_tick"), KINDS.index("idle_tick")])
    layer_1 = ticks & (events["team"] == 0) & (events["unit"] < 64)
    time = (events["time"][layer_1] - events["time"][0]) / TICKS
    counts = np.bincount(events["unit"][layer_1], minlength=64)
    print(f"{name}: ticks in the window of units 0, 21, 42 and 63:", *counts[[0, 21, 42, 63]])
    axes.plot(time, events["unit"][layer_1], "|", ms=4)
    axes.set(title=name, xlabel="periods since the observation")

# 4. The wave learns, too: an episode by hand.
agent, total = agents["wave"], 0.0
output = agent.begin(observation)
for _ in range(500):
    observation, reward, terminated, truncated = environment.step(environment.action(output))
    total += reward
    if terminated or truncated:
        break
    output = agent.step(observation, reward)
agent.end(observation, reward, terminated)
print(f"an episode of the wave: return {total:.0f}, last td_error {agent.td_error:.2f}")

panels[0].set(ylabel="unit of layer 1")
figure.savefig("custom_clock.png", dpi=150)
