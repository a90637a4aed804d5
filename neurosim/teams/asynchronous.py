"""An asynchronous team, a verb for each phase: its units are agents of their own."""

from neurosim.kernels import asynchronous as kernels
from neurosim.memory import Block, Floats, Integers, Log, Mail, Wiring
from neurosim.network import read_team
from neurosim.spec import TeamTiming
from neurosim.timing import build_log, build_mail, build_wiring, grown_mail, unpack


class AsynchronousTeam:
    """A team whose units each have a clock, a mailbox and a row of weights.

    Parameters
    ----------
    name : "actor" or "critic".
    block : the team's memory.
    shared : what it shares with the other team of the agent.
    timing : clocks, delays and so on.
    N : length of the relaxation window in periods, where the timing gives none.
    key : (2,) Philox key of the run.

    Attributes
    ----------
    memory : values, weights, traces.
    wiring : clocks, delays, losses; its arrays may be changed before the first step.
    mail : mailboxes and counters.
    log : what happened in the latest step, if it was asked for.
    log_block : the same as kernels take it.
    ready : time at which the output has sampled; times are integers, TICKS = 2**20 to a period.

    Raises
    ------
    InputError : the timing does not fit the team.
    """

    def __init__(
        self,
        name: str,
        block: Block,
        shared: Block,
        timing: TeamTiming,
        N: int,
        key: Integers,
    ) -> None:
        self.memory = read_team(block)
        self._team, self._shared = block, shared
        self._wiring = build_wiring(name, self.memory, timing, N, key)
        self.wiring = unpack(Wiring, self._wiring)
        self.ready = 0
        self.log_block = build_log(0)
        self._hold_mail(build_mail(self.memory, self.wiring))

    def act(self, observation: Floats) -> Floats:
        """1. Sampling wave.  Takes the state (n_in,); returns A = H[L] (n_out,), a view."""
        while True:
            self.ready, events, rows = kernels.act(self._blocks, self._shared, observation)
            if events > 0:
                self._hold_mail(grown_mail(self.memory, self.wiring, self._mail, 2 * events))
            elif rows > 0:
                self._hold_log(build_log(2 * rows))
            else:
                return self.memory.h[self.memory.unit[-1] :]

    def settle(self, td_error: float, begin: int, learning: bool) -> int:
        """2, 3 and 4. The td_error is broadcast at the time `begin`, units learn from it (if
        `learning`), relax and accumulate their traces.  Returns the first unit that has diverged,
        or -1."""
        return int(kernels.settle(self._blocks, self._shared, begin, td_error, learning))

    def learn_last(self, td_error: float) -> None:
        """The td_error of an episode's last transition is broadcast."""
        kernels.learn_last(self._blocks, self._shared, td_error)

    def clear_traces(self) -> None:
        """z = 0, at the start of an episode."""
        kernels.clear_traces(self._blocks)

    def write_log(self, wanted: bool) -> None:
        """Keep a log of each step from the next one on, or stop doing so."""
        if wanted != bool(self.log.time.size):
            self._hold_log(build_log(4096 if wanted else 0))

    def _hold_mail(self, mail: Block) -> None:
        self._mail = mail
        self.mail = unpack(Mail, mail)
        self._hold_log(self.log_block)

    def _hold_log(self, log: Block) -> None:
        self.log_block = log
        self.log = unpack(Log, log)
        self._blocks = (self._team, self._wiring, self._mail, log)
