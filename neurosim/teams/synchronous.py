"""The readable form of a synchronous team: Algorithm 2, a verb for each phase."""

from dataclasses import dataclass

from neurosim.kernels import team as kernels
from neurosim.memory import Floats, Shared, Team


@dataclass(frozen=True)
class SynchronousTeam:
    """A team whose layers move together.

    Parameters
    ----------
    memory : the team's memory; the verbs write it in place.
    shared : what it shares with the other team of the agent.
    """

    memory: Team
    shared: Shared

    def begin(self) -> None:
        """An episode begins: traces are 0 (line 7), and all units decide at its first step."""
        kernels.begin_episode(self.memory)

    def act(self, observation: Floats) -> Floats:
        """1. Feed forward (lines 9-11).  Takes the state (n_in,); returns A = H[L] (n_out,)."""
        kernels.feed_forward(self.memory, observation, self.shared.key)
        return self.memory.h[self.memory.unit[-1] :]

    def learn(self, td_error: float) -> None:
        """2. REINFORCE: W[l] += alpha[l] td_error z[l], through Adam (line 14)."""
        kernels.learn(self.memory, td_error, self.shared.steps[0], self.shared.anneal_steps)

    def relax(self, first: int = 0) -> None:
        """3. Minimise the energy: N steps of all hidden layers at once (lines 16-18), or none.

        first : steps made before, where a relaxation goes on: proposals of hill climbing have
        numbers.
        """
        number = self.memory.count[kernels.PASSES] - 1
        kernels.relax(self.memory, self.shared.key, number, first)

    def accumulate(self) -> None:
        """4. Accumulate the trace: z = gamma lambda z + the rule's gradient (line 19)."""
        kernels.accumulate(self.memory)
