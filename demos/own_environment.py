"""Your own Gymnasium environment, and a team whose four phases you call yourself.

python demos/own_environment.py
"""

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

import neurosim
from neurosim.network import build_shared, build_team, read_shared, read_team
from neurosim.teams import SynchronousTeam


class LeftOrRight(gymnasium.Env):
    """Go to the side that the sign of the observation names; an episode is twenty such choices."""

    observation_space = Box(-1.0, 1.0, (1,))
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 20
        self.state = self.np_random.uniform(-1, 1, 1)
        return self.state, {}

    def step(self, action):
        reward = 1.0 if (self.state[0] > 0) == (action == 1) else 0.0
        self.left -= 1
        self.state = self.np_random.uniform(-1, 1, 1)
        return self.state, reward, self.left == 0, False, {}


# 1. Any registered environment is named by its id; everything else is CartPole's model.
gymnasium.register("LeftOrRight-v0", LeftOrRight)
model = neurosim.load("cartpole", {"task.id": "LeftOrRight-v0", "task.episodes": 300})
folder = neurosim.run(model, seed=0, out="runs/demo", force=True)
with neurosim.open(folder) as run:
    returns = run.episodes["return"][:]
print(f"first 20 episodes {returns[:20].mean():.1f}, last 20 {returns[-20:].mean():.1f} of 20")

# 2. One team by hand, through the four phases of Algorithm 2.
spec = model.spec
shared = read_shared(build_shared(spec.learning, seed=0))
memory = read_team(build_team("actor", spec.actor, spec.learning, spec.adam, 1, 2, seed=0))
team = SynchronousTeam(memory, shared)
print("outcome ", team.act(np.array([0.3])))  # 1 feed forward
team.learn(td_error=0.0)  # 2 W += alpha * td_error * z
sampled = memory.h.copy()
team.relax()  # 3 minimise the energy
print("moved by", np.abs(memory.h - sampled).max())
team.accumulate()  # 4 z = gamma * lambda * z + grad log pi
print("trace   ", np.abs(memory.z).max())
