"""A run of Algorithm 1: the loop over batches, its record and its checkpoints."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from neurosim import record
from neurosim.errors import Interrupted, RunError
from neurosim.learners import MonteCarlo
from neurosim.record import schema

OnBatch = Callable[[int, float], bool | None]  # number from 1, mean reward; True: stop the run


class BatchLog:
    """What a run of Algorithm 1 writes down: a row a batch, the weights before and after.

    Parameters
    ----------
    writer : where the rows go.
    learner : whose weights are recorded.
    """

    def __init__(self, writer: record.SegmentWriter, learner: MonteCarlo) -> None:
        self._writer, self._learner = writer, learner
        self._rewards: list[float] = []
        self._samples: list[int] = []

    def batch(self, reward: float) -> None:
        """A batch has been learned from, whose mean reward was this."""
        self._rewards.append(reward)
        self._samples.append(self._learner.samples)

    def flush(self) -> None:
        """Hand all rows to the writer."""
        self._writer.append(f"{schema.BATCHES}/reward", np.array(self._rewards))
        self._writer.append(f"{schema.BATCHES}/samples", np.array(self._samples, np.int64))
        self._rewards, self._samples = [], []

    def put_weights(self, which: str) -> None:
        """Write the weights as `which`: initial or final."""
        for key, array in self._learner.weights().items():
            self._writer.put(f"{schema.weights('actor', which)}/{key}", array)


def train(
    checkpoint: Path,
    learner: MonteCarlo,
    batches: int,
    attrs: Mapping[str, str | int | bool],
    seconds: float,
    on_batch: OnBatch,
) -> None:
    """Run or go on with a run, to its end or to where it is stopped.

    Parameters
    ----------
    checkpoint : the run's checkpoint, whether it is there yet or not, in the run's folder.
    learner : as it is at the start of a run.
    batches : of the whole run.
    attrs : root attributes of the record.
    seconds : between checkpoints.
    on_batch : called after each batch.

    Raises
    ------
    RunError : the run diverged, was stopped, or could not be written; what was recorded stays.
    """
    folder, closed = checkpoint.parent, 0
    if checkpoint.exists():
        arrays, counts = record.checkpoint.load(checkpoint)
        learner.restore(arrays)
        closed = int(counts["segments"])
    writer = record.SegmentWriter(folder, closed=closed)
    log = BatchLog(writer, learner)
    safe = learner.batches

    def save() -> int:
        log.flush()
        counts = {"segments": writer.close_segment()}
        record.checkpoint.save(checkpoint, learner.state(), counts)
        return learner.batches

    def seal(complete: bool) -> None:
        log.flush()
        writer.close_segment()
        record.seal(folder, {**attrs, "complete": complete})

    try:
        if learner.batches == 0:
            writer.annotate("", attrs)
            log.put_weights("initial")
            save()
        saved, stopped = time.monotonic(), False
        while learner.batches < batches and not stopped:
            reward = learner.step()
            log.batch(reward)
            stopped = bool(on_batch(learner.batches, reward))
            if time.monotonic() - saved > seconds:
                safe, saved = save(), time.monotonic()
        complete = learner.batches == batches
        if complete:
            log.put_weights("final")
        safe = save()
        seal(complete)
    except RunError as error:
        if isinstance(error.__cause__, OSError):  # nothing more can be written
            raise RunError(
                f"{error} Batches 1 to {safe} of the {learner.batches} done are safe in {folder}; "
                f"make room, then `neurosim resume {folder}` goes on."
            ) from error
        seal(complete=False)
        raise RunError(f"{error} Recorded up to there: {folder / schema.SEALED_FILE}") from None
    if not complete:
        raise Interrupted(
            f"Stopped after batch {learner.batches} of {batches}. "
            f"`neurosim resume {folder}` goes on."
        )
    record.drop_segments(folder)
