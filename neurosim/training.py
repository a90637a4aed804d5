"""What a run does again and again: an episode of Algorithm 2, or a batch of Algorithm 1."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from neurosim.learners import LEARNERS, Learner, MapProp, MonteCarlo
from neurosim.record.log import BatchLog, Log, RunLog, Writer
from neurosim.spec import Model, MonteCarloSpec, Record, Spec
from neurosim.tasks import Environment, environment_seed


class Episode(NamedTuple):
    """An episode that has ended, or a batch of Algorithm 1."""

    number: int  # from 1
    total: float  # return, the plain sum of its rewards; of a batch their mean
    length: int  # steps, or samples


class Training(Protocol):
    """A run of either algorithm, as the loop around it sees it.

    Attributes
    ----------
    unit : what it does again and again, "episode" or "batch".
    """

    unit: str

    @property
    def learner(self) -> Learner:
        """What checkpoints keep the state of."""

    def record_to(self, writer: Writer, counts: dict[str, int]) -> Log:
        """Write down what follows; `counts` are the rows recorded already, as `Log.counts`."""

    def advance(self, number: int) -> Episode:
        """Carry out episode or batch `number`, from 1."""


def training(model: Model, environment: Environment, seed: int) -> Training:
    """The run of a model with a seed, before its first episode or batch."""
    if isinstance(model.spec, MonteCarloSpec):
        return Batches(model.spec, environment, seed)
    return Episodes(model.spec, environment, seed)


class Episodes:
    """A run of Algorithm 2."""

    unit = "episode"

    def __init__(self, spec: Spec, environment: Environment, seed: int) -> None:
        mode = "synchronous" if spec.timing is None else "asynchronous"
        self.learner = LEARNERS[mode](spec, environment.n_observations, environment.n_actions, seed)
        self._spec, self._environment, self._seed = spec, environment, seed

    def record_to(
        self, writer: Writer, counts: dict[str, int], records: Sequence[Record] | None = None
    ) -> RunLog:
        """Write down what follows, with the windows `records` instead of the model's own."""
        asked = self._spec.record if records is None else records
        self._log = RunLog(writer, self.learner, asked, self._spec.storage, counts)
        return self._log

    def advance(self, number: int) -> Episode:
        """Carry out episode `number`, from 1."""
        return run_episode(number, self.learner, self._environment, self._log, self._seed)


class Batches:
    """A run of Algorithm 1."""

    unit = "batch"

    def __init__(self, spec: MonteCarloSpec, environment: Environment, seed: int) -> None:
        self.learner = MonteCarlo(spec, environment, seed)
        self._size = spec.batch.size

    def record_to(self, writer: Writer, counts: dict[str, int]) -> BatchLog:
        """Write down what follows."""
        self._log = BatchLog(writer, self.learner)
        return self._log

    def advance(self, number: int) -> Episode:
        """Carry out batch `number`, from 1."""
        reward = self.learner.step()
        self._log.batch(reward)
        return Episode(number, reward, self._size)


def run_episode(
    number: int, agent: MapProp, environment: Environment, log: RunLog, seed: int
) -> Episode:
    """One episode of Algorithm 2."""
    reset_seed = environment_seed(seed, number)
    observation = environment.reset(reset_seed)
    log.begin_episode(number)
    output = agent.begin(observation)
    total, length = 0.0, 0
    while True:
        action = environment.action(output)
        log.step(observation, action)
        observation, reward, terminated, truncated = environment.step(action)
        total += reward
        length += 1
        if terminated or truncated:
            break
        log.before_step()
        output = agent.step(observation, reward)
        log.outcome(reward)
    log.end_steps()
    agent.end(observation, reward, terminated)
    log.outcome(reward)
    log.end_episode(total, terminated, truncated, reset_seed)
    return Episode(number, total, length)
