"""Fig. 5 from a run file: where the car of MountainCar has been, early and late.

python demos/fig5.py [RUN]          draws fig5.png

RUN is the folder or the run.h5 of any MountainCar run; without it one of 60 episodes is made.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurosim

# 1. A run: the one that is given, or a new one.
if len(sys.argv) > 1:
    path = Path(sys.argv[1])
else:
    model = neurosim.load("mountaincar", {"task.episodes": 60})
    path = neurosim.run(model, seed=0, out="runs/fig5", force=True)

with neurosim.open(path) as run:
    # 2. /episodes says in which rows of /steps each episode lies.
    first, length = run.episodes["first_step"][:], run.episodes["length"][:]
    chosen = np.unique([1, max(1, len(first) // 2), len(first)])
    trajectories = {
        episode: run.steps["observation"][first[episode - 1] : first[episode - 1] + n]
        for episode, n in zip(chosen, length[chosen - 1], strict=True)
    }
    returns = run.episodes["return"][:]
    reached = run.episodes["terminated"][:]

# 3. An episode that ends before its limit has reached the flag.
print(f"the flag was reached in {reached.sum()} of {reached.size} episodes", end="")
print(f", first in episode {reached.argmax() + 1}" if reached.any() else "")
for episode, points in trajectories.items():
    print(f"episode {episode:3d}: {len(points):4d} steps, return {returns[episode - 1]:6.1f}")

# 4. Position and velocity; a circle where an episode begins, a square where it ends.
figure, axes = plt.subplots(figsize=(5, 4), constrained_layout=True)
for episode, points in trajectories.items():
    (line,) = axes.plot(*points.T, lw=0.8, label=f"episode {episode}")
    for point, mark in ((points[0], "o"), (points[-1], "s")):
        axes.plot(*point, mark, ms=6, mec="black", color=line.get_color(), zorder=3)
axes.axvline(0.45, ls="--", color="0.5", label="flag")
axes.set(xlabel="position", ylabel="velocity (a step)")
figure.legend(frameon=False, loc="outside upper center", ncols=4, fontsize=8)
figure.savefig("fig5.png", dpi=150)
