"""Break the feedback, and see by what angle errors come down wrong.

python demos/broken_feedback.py [EPISODES]          draws broken_feedback.png

Errors come down to a hidden unit weighed by feedback weights B.  Backprop, and MAP propagation as
published, takes the transposed weights W' of the layer above, which a unit cannot know.
"""

import sys

import matplotlib.pyplot as plt

import neurosim
from neurosim.analysis.feedback import feedback_angles
from neurosim.plots import style

episodes = int(sys.argv[1]) if len(sys.argv) > 1 else 60

# 1. The same asynchronous CartPole with five kinds of B.  Larger step sizes in the upper layers, so
#    that their weights change enough in so few episodes for the angle to move.
common = {
    "task.episodes": episodes,
    "actor.alpha": [1e-2, 1e-3, 1e-4],
    "critic.alpha": [2e-2, 2e-3, 2e-4],
    "record": [{"episodes": list(range(1, episodes + 1, 5)), "steps": [0, 1]}],
}
apart = {"timing.feedback": "kolen_pollack", "timing.feedback_alignment": 0.0}
kinds = {
    "shared at first": {"timing.feedback": "kolen_pollack"},  # then each learns its own copy
    "apart at first": apart,  # both learn by the same products, and keep their distance
    "apart, with decay": apart | {"timing.feedback_decay": 5e-3},  # which wears the distance off
    "signs of W'": {"timing.feedback": "sign_symmetric"},
    "random": {"timing.feedback": "random"},
}

# 2. Run each with the same seed; the angle of layer 2's weights is recorded every fifth episode.
style.apply()  # colours that the colour-blind can tell apart
figure, axes = plt.subplots(figsize=(6, 3.8), constrained_layout=True)
print(f"{'feedback':20s}{'angle at first':>15s}{'at last':>10s}{'mean return':>13s}")
for name, changes in kinds.items():
    model = neurosim.load("async/cartpole", common | changes)
    with neurosim.simulate(model, seed=0) as run:
        angles = feedback_angles(run, "actor")
        score = run.episodes["return"][:].mean()
    first, last = angles.layer[0, 0], angles.layer[-1, 0]
    print(f"{name:20s}{first:14.1f}°{last:9.1f}°{score:13.1f}")
    axes.plot(angles.episode, angles.layer[:, 0], label=name)

# 3. 0 degrees: errors come down as backprop has them.  90: B knows nothing of W.
axes.axhline(90, ls=":", color="0.6")
axes.set(xlabel="episode", ylabel="angle between B and W' of layer 2 (degrees)", ylim=(-3, 100))
axes.legend(frameon=False, fontsize=8, loc=(0.66, 0.55))
figure.savefig("broken_feedback.png", dpi=150)
