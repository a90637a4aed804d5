"""One run: an agent in an environment, from a model and a seed."""

import datetime
import importlib.metadata
import json
import platform
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neurosim import batches, record
from neurosim.errors import InputError, Interrupted, RunError
from neurosim.learners import LEARNERS, MapProp, MonteCarlo
from neurosim.record.log import RunLog
from neurosim.spec import Model, MonteCarloSpec, parse, timing_of
from neurosim.tasks import Environment, environment_seed
from neurosim.timing import check_lists

CHECKPOINT = "checkpoint.h5"
PROVENANCE = "provenance.json"
MODEL = "model.toml"
CHECKPOINT_SECONDS = 5.0
OWN_FILES = {
    CHECKPOINT,
    PROVENANCE,
    MODEL,
    record.schema.SEALED_FILE,
    record.schema.SEGMENTS_FOLDER,
}
PACKAGES = ("neurosim", "numba", "numpy", "gymnasium", "h5py")


class Episode(NamedTuple):
    """An episode that has ended, or a batch of Algorithm 1."""

    number: int  # from 1
    total: float  # return, the plain sum of its rewards; of a batch their mean
    length: int  # steps, or samples


OnEpisode = Callable[[Episode], bool | None]  # True: stop the run, it can be resumed


def run(
    model: Model,
    seed: int = 0,
    out: str | Path = "runs",
    *,
    force: bool = False,
    on_episode: OnEpisode | None = None,
) -> Path:
    """Train a model and record it.

    Parameters
    ----------
    model : what `neurosim.load` returned.
    seed : seed of everything random in the run, in [0, 2**63).
    out : folder of all runs; this one goes to ``out/<model>/seed-<seed>``.
    force : replace a run that is there already.
    on_episode : called after each episode; where it returns True the run stops, as by Ctrl-C.

    Returns
    -------
    The run's folder.

    Raises
    ------
    InputError : the run is there already, or its environment cannot be made.
    RunError : it diverged, or could not be written; what was recorded stays.
    """
    environment = check_before_run(model, seed, out, force=force)
    folder = run_folder(model, seed, out)
    _make_way(folder)
    provenance = {
        "model": model.name,
        "seed": seed,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    record.write_atomically(folder / MODEL, model.text.encode())
    record.write_atomically(folder / PROVENANCE, json.dumps(provenance, indent=1).encode() + b"\n")
    _train(folder, model, seed, environment, on_episode)
    return folder


def resume(folder: str | Path, *, on_episode: OnEpisode | None = None) -> Path:
    """Go on with a run that was interrupted, from its last checkpoint.

    The result has the bits of a run that was never interrupted.  A run that is complete is left
    alone.

    Raises
    ------
    InputError : not a run's folder, or one that was damaged.
    RunError : as `run`.
    """
    folder = Path(folder)
    model, seed = read_run_model(folder)
    if is_complete(folder):
        return folder
    environment = Environment(model.spec.task, model.spec.actor.output)
    _train(folder, model, seed, environment, on_episode)
    return folder


def run_folder(model: Model, seed: int, out: str | Path) -> Path:
    """Where the run of a model with a seed is kept."""
    return Path(out) / model.name / f"seed-{seed:04d}"


def read_run_model(folder: Path) -> tuple[Model, int]:
    """Model and seed of the run in a folder.  Raises InputError."""
    try:
        provenance = json.loads((folder / PROVENANCE).read_bytes())
        text = (folder / MODEL).read_text("utf-8")
        return parse(text, provenance["model"]), int(provenance["seed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} is not the folder of a run, or its model.toml or provenance.json is "
            f"damaged ({error}). A run's folder looks like runs/cartpole/seed-0000."
        ) from None


def is_complete(folder: Path) -> bool:
    """Whether the run in a folder has reached its end."""
    if not (folder / record.schema.SEALED_FILE).exists():
        return False
    with record.open_run(folder) as finished:
        return finished.complete


def check_before_run(model: Model, seed: int, out: str | Path, *, force: bool) -> Environment:
    """Make sure that a run can begin.

    Returns
    -------
    The run's environment.

    Raises
    ------
    InputError : as `run`.
    """
    if not 0 <= seed < 2**63:
        raise InputError(f"seed = {seed}: a seed is an integer from 0 to 2**63 - 1.")
    folder = run_folder(model, seed, out)
    if folder.is_dir() and any(folder.iterdir()):
        if not force:
            raise InputError(
                f"{folder} holds a run already: `neurosim resume {folder}` goes on with it, "
                "--force replaces it, --out puts the new one elsewhere."
            )
        if not (folder / PROVENANCE).exists() and not _holds_own_files_only(folder):
            raise InputError(f"{folder} is not the folder of a run; --force will not empty it.")
    environment = Environment(model.spec.task, model.spec.actor.output)
    if model.spec.timing is not None:
        size = np.array([0, *model.spec.actor.units, environment.n_actions])
        check_lists("actor", timing_of(model.spec, "actor"), size)
    return environment


def _holds_own_files_only(folder: Path) -> bool:
    """Whether a folder can be what a run left that was killed as it began."""
    return all(each.name.removesuffix(".part") in OWN_FILES for each in folder.iterdir())


def _make_way(folder: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}. Try another --out.") from None


def _train(
    folder: Path, model: Model, seed: int, environment: Environment, on_episode: OnEpisode | None
) -> None:
    """Run or go on with the run in a folder, to its end or to where it is stopped."""
    spec, attrs = model.spec, _root_attributes(folder, model, seed)
    if isinstance(spec, MonteCarloSpec):
        _train_batches(folder, spec, seed, environment, on_episode, attrs)
        return
    agent = LEARNERS[model.mode](spec, environment.n_observations, environment.n_actions, seed)
    done, counts = _restore(folder, agent)
    writer = record.SegmentWriter(folder, closed=counts["segments"])
    log = RunLog(writer, agent, spec.record, counts["steps"], counts["windows"])

    def checkpoint() -> None:
        log.flush()
        log.put_totals()
        counts = {"episode": done, "steps": log.steps, "windows": log.windows}
        counts["segments"] = writer.close_segment()
        record.checkpoint.save(folder / CHECKPOINT, agent.state(), counts)

    def seal(complete: bool) -> None:
        log.flush()
        writer.close_segment()
        record.seal(folder, attrs | {"complete": complete})

    if done == 0:
        writer.annotate("", attrs)
        log.put_units()
        log.put_weights("initial")
        checkpoint()
    saved = time.monotonic()
    with stop_on_interrupt() as stopped:
        try:
            while done < spec.task.episodes and not stopped:
                episode = _run_episode(done + 1, agent, environment, log, seed)
                done += 1
                if on_episode and on_episode(episode):
                    stopped.append(signal.SIGINT)
                if time.monotonic() - saved > CHECKPOINT_SECONDS or stopped:
                    checkpoint()
                    saved = time.monotonic()
        except RunError as error:
            if isinstance(error.__cause__, OSError):  # nothing more can be written
                raise _with_what_is_safe(error, folder, done) from error
            log.abandon_window()
            seal(complete=False)
            raise RunError(f"{error} Recorded up to there: {folder / 'run.h5'}") from None
        finally:
            environment.close()
    complete = done == spec.task.episodes
    try:
        if complete:
            log.put_weights("final")
        checkpoint()
        seal(complete)
    except RunError as error:
        raise _with_what_is_safe(error, folder, done) from error
    if not complete:
        raise Interrupted(
            f"Stopped after episode {done} of {spec.task.episodes}. "
            f"`neurosim resume {folder}` goes on."
        )
    record.drop_segments(folder)


def _train_batches(
    folder: Path,
    spec: MonteCarloSpec,
    seed: int,
    environment: Environment,
    on_episode: OnEpisode | None,
    attrs: dict[str, str | int | bool],
) -> None:
    """The same for a run of Algorithm 1, whose episodes go by batches."""
    learner = MonteCarlo(spec, environment, seed)
    with stop_on_interrupt() as stopped:

        def on_batch(number: int, reward: float) -> bool:
            batch = Episode(number, reward, spec.batch.size)
            return bool(on_episode and on_episode(batch)) or bool(stopped)

        path, total = folder / CHECKPOINT, spec.batch.count
        try:
            batches.train(path, learner, total, attrs, CHECKPOINT_SECONDS, on_batch)
        finally:
            environment.close()


def _run_episode(
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


def _restore(folder: Path, agent: MapProp) -> tuple[int, dict[str, int]]:
    """Episodes done and rows written, from the folder's checkpoint; zeros where there is none."""
    if not (folder / CHECKPOINT).exists():
        return 0, {"steps": 0, "windows": 0, "segments": 0}
    arrays, attrs = record.checkpoint.load(folder / CHECKPOINT)
    agent.restore(arrays)
    counts = {name: int(attrs[name]) for name in ("steps", "windows", "segments")}
    return int(attrs["episode"]), counts


def _root_attributes(folder: Path, model: Model, seed: int) -> dict[str, str | int | bool]:
    provenance = json.loads((folder / PROVENANCE).read_bytes())
    return {
        "format": record.schema.FORMAT,
        "format_version": record.schema.FORMAT_VERSION,
        "model": model.text,
        "model_name": model.name,
        "seed": seed,
        "mode": model.mode,
        "created": provenance["created"],
        "versions": json.dumps(provenance["versions"]),
    }


def _with_what_is_safe(error: RunError, folder: Path, done: int) -> RunError:
    safe = 0
    if (folder / CHECKPOINT).exists():
        safe = int(record.checkpoint.load(folder / CHECKPOINT)[1]["episode"])
    return RunError(
        f"{error} Episodes 1 to {safe} of the {done} done are safe in {folder}; "
        f"make room, then `neurosim resume {folder}` goes on."
    )


@contextmanager
def stop_on_interrupt() -> Iterator[list[int]]:
    """Collect the first Ctrl-C, so that the episode is finished; a second one interrupts."""
    stopped: list[int] = []

    def stop(number: int, _: object) -> None:
        stopped.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = signal.signal(signal.SIGINT, stop)
    except ValueError:  # not the main thread: whoever runs us decides
        yield stopped
        return
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
