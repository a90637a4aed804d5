"""One run: an agent in an environment, from a model and a seed."""

import datetime
import importlib.metadata
import json
import operator
import platform
import shutil
import signal
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from neurosim import record
from neurosim.errors import InputError, Interrupted, RunError
from neurosim.learners import Learner, MapProp
from neurosim.memory import Floats
from neurosim.spec import TEAMS, Model, parse, predecessor
from neurosim.tasks import Environment, Filmed
from neurosim.training import Episode, training

try:
    import fcntl
except ImportError:  # Windows: nobody is kept out
    fcntl = None  # type: ignore[assignment]

PROVENANCE = "provenance.json"
MODEL = "model.toml"
CHECKPOINT_SECONDS = 5.0
OWN_FILES = {
    PROVENANCE,
    MODEL,
    record.checkpoint.FOLDER,
    record.schema.SEALED_FILE,
    record.schema.SEGMENTS_FOLDER,
}
PACKAGES = ("neurosim", "numba", "numpy", "gymnasium", "h5py")

Weights = Mapping[str, Mapping[str, Floats]]  # W1, b1, ... by team
OnEpisode = Callable[[Episode], bool | None]  # True: stop the run, it can be resumed


def run(
    model: Model,
    seed: int = 0,
    out: str | Path = "runs",
    *,
    force: bool = False,
    on_episode: OnEpisode | None = None,
    film: Path | None = None,
) -> Path:
    """Train a model and record it.

    Parameters
    ----------
    model : what `neurosim.load` returned.
    seed : seed of everything random in the run, in [0, 2**63).
    out : folder of all runs; this one goes to ``out/<model>/seed-<seed>``.
    force : replace a run that is there already.  A run of the model that it takes its first weights
        from is made too, where it is not there.
    on_episode : called after each episode or batch; where it returns True the run stops, as by
        Ctrl-C.
    film : folder for films of some episodes, see `tasks.Filmed`; they do not change the run.

    Returns
    -------
    The run's folder.

    Raises
    ------
    InputError : the run is there already, or its environment cannot be made.
    RunError : it diverged, or could not be written; what was recorded stays.
    """
    seed = _integer(seed)
    environment = check_before_run(model, seed, out, force=force, film=film)
    folder = run_folder(model, seed, out)
    first = check_predecessor(model, environment)
    weights = None if first is None else _final_weights(record.open_run(make(first, seed, out)))
    clear(folder)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}. Try another --out.") from None
    provenance = _provenance(model, seed)
    record.write_atomically(folder / MODEL, model.text.encode())
    record.write_atomically(folder / PROVENANCE, json.dumps(provenance, indent=1).encode() + b"\n")
    with sole_writer(folder), closing(environment):
        _train(folder, model, seed, environment, on_episode, weights)
    return folder


def simulate(model: Model, seed: int = 0, *, on_episode: OnEpisode | None = None) -> record.Run:
    """Train a model and record it in memory; nothing is written to disk.

    Parameters
    ----------
    model, seed, on_episode : as `run`.

    Returns
    -------
    The run, as `neurosim.open` gives one; `complete` is False if `on_episode` stopped it.

    Raises
    ------
    InputError : its environment cannot be made.
    RunError : it diverged.
    """
    seed = _integer(seed)
    environment = check_model(model, seed)
    first = check_predecessor(model, environment)
    store = record.MemoryStore()
    compression = model.spec.storage.compression
    with closing(environment), record.Recorder(store, compression) as recorder:
        course = training(model, environment, seed)
        if first is not None and isinstance(course.learner, MapProp):
            course.learner.begin_with(_final_weights(simulate(first, seed)))
        log = course.record_to(recorder, {})
        recorder.annotate("", _root_attributes(model, _provenance(model, seed)))
        log.begin()
        complete = True
        for number in range(1, model.length + 1):
            episode = course.advance(number)
            if on_episode and on_episode(episode):
                complete = number == model.length
                break
        log.end()
        log.put_totals()
        log.flush()
        recorder.annotate("", {"complete": complete})
        recorder.commit()
    return record.Run(Path(f"{model.name} seed {seed}"), record.Contents(store.sources))


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
    with sole_writer(folder):
        if is_complete(folder):
            record.drop_segments(folder)  # where the run was killed when it had just ended
            return folder
        if model.spec.initial is not None and not _has_begun(folder):
            raise InputError(
                f"{folder} was stopped before it had its first weights. Give its `neurosim run` "
                "again with --force."
            )
        with closing(check_model(model, seed)) as environment:
            _train(folder, model, seed, environment, on_episode)
    return folder


def _has_begun(folder: Path) -> bool:
    """Whether the run in a folder has come as far as its first checkpoint."""
    sealed = (folder / record.schema.SEALED_FILE).exists()
    segments = record.numbered_segments(folder)
    return sealed or bool(record.checkpoint.kept(folder)) or len(segments) > 1


def make(
    model: Model,
    seed: int,
    out: str | Path,
    *,
    on_episode: OnEpisode | None = None,
    film: Path | None = None,
) -> Path:
    """Make sure that a run is there and complete: begin it, or go on with it.

    Parameters
    ----------
    model, seed, out, on_episode, film : as `run`; of a run that goes on nothing more is filmed.

    Raises
    ------
    InputError : the run that is there is of another model, or as `resume`.
    RunError : as `run`.
    """
    folder = run_folder(model, seed, out)
    if (folder / PROVENANCE).exists():
        _check_same_model(folder, model)
        if _has_begun(folder):
            return resume(folder, on_episode=on_episode)
    return run(model, seed, out, force=True, on_episode=on_episode, film=film)


def is_made(model: Model, seed: int, out: str | Path) -> bool:
    """Whether `make` has nothing left to do.

    Raises
    ------
    InputError : the run that is there is of another model, or damaged.
    """
    folder = run_folder(model, seed, out)
    if not (folder / PROVENANCE).exists():
        return False
    _check_same_model(folder, model)
    return is_complete(folder)


def _check_same_model(folder: Path, model: Model) -> None:
    """Raise InputError where the run in a folder is of a model that differs in a value."""
    there, _ = read_run_model(folder)
    if replace(there.spec, description="") != replace(model.spec, description=""):
        raise InputError(
            f"{folder} holds a run of {model.name} with other values, see its {MODEL}. Move it "
            "away, or choose another folder of runs."
        )


def run_folder(model: Model, seed: int, out: str | Path) -> Path:
    """Where the run of a model with a seed is kept."""
    return Path(out) / model.name / f"seed-{seed:04d}"


def read_run_model(folder: Path) -> tuple[Model, int]:
    """Model and seed of the run in a folder.  Raises InputError."""
    try:
        provenance = json.loads((folder / PROVENANCE).read_bytes())
        text = (folder / MODEL).read_text("utf-8")
        _ = provenance["created"], provenance["versions"]
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


def check_before_run(
    model: Model, seed: int, out: str | Path, *, force: bool, film: Path | None = None
) -> Environment:
    """Make sure that a run can begin.

    Returns
    -------
    The run's environment.

    Raises
    ------
    InputError : as `run`.
    """
    folder = run_folder(model, seed, out)
    if folder.is_dir() and any(folder.iterdir()):
        if not force:
            goes_on = f"`neurosim resume {folder}` goes on with it, "
            raise InputError(
                f"{folder} holds a run already: {goes_on if (folder / PROVENANCE).exists() else ''}"
                "--force replaces it, --out puts the new one elsewhere."
            )
        if not (folder / PROVENANCE).exists() and not _holds_own_files_only(folder):
            raise InputError(f"{folder} is not the folder of a run; --force will not empty it.")
    environment = check_model(model, seed, film)
    check_predecessor(model, environment)
    return environment


def check_model(model: Model, seed: int, film: Path | None = None) -> Environment:
    """Make sure that a model can be run with a seed.

    Returns
    -------
    Its environment, filmed where there is a folder for the films.

    Raises
    ------
    InputError : as `simulate`.
    """
    _integer(seed)
    record.filters(model.spec.storage.compression)
    task, output = model.spec.task, model.spec.actor.output
    environment = Environment(task, output) if film is None else Filmed(task, output, film)
    try:
        training(model, environment, seed)  # what depends on the task or on what the seed draws
    except MemoryError:
        raise InputError(
            f"{model.name}: there is no memory for teams of this size; lower units."
        ) from None
    return environment


def _integer(seed: int) -> int:
    """A seed, whatever kind of integer it is.  Raises InputError."""
    if not hasattr(seed, "__index__") or not 0 <= seed < 2**63:
        raise InputError(f"seed = {seed!r}: a seed is an integer from 0 to 2**63 - 1.")
    return operator.index(seed)


def check_predecessor(model: Model, environment: Environment) -> Model | None:
    """The model from whose runs those of a model take their first weights, see `predecessor`.

    Raises
    ------
    InputError : as `predecessor`, or its task has other observations or actions.
    """
    first = predecessor(model)
    if first is not None:
        with closing(Environment(first.spec.task, first.spec.actor.output)) as other:
            sizes = [(each.n_observations, each.n_actions) for each in (environment, other)]
        if sizes[0] != sizes[1]:
            raise InputError(
                f"{model.name}: initial.model = {first.name!r}: (observations, actions) of its "
                f"task are {sizes[1]}, not {sizes[0]}; take a model of the same task."
            )
    return first


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a run's folder; a killed one keeps nobody.

    Raises
    ------
    InputError : another process writes to it.
    """
    if fcntl is None:
        yield
        return
    with (folder / PROVENANCE).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"Another process is writing to {folder}. Wait until it has ended, or stop it."
            ) from None
        yield


def _holds_own_files_only(folder: Path) -> bool:
    """Whether a folder can be what a run left that was killed as it began."""
    return all(each.name.removesuffix(".part") in OWN_FILES for each in folder.iterdir())


def clear(folder: Path) -> None:
    """Delete the run in a folder, if there is one.

    Raises
    ------
    InputError : another process writes to it, or it cannot be deleted.
    """
    try:
        if (folder / PROVENANCE).exists():
            with sole_writer(folder):
                shutil.rmtree(folder)
        elif folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be deleted: {error.strerror}.") from None


def _final_weights(finished: record.Run) -> Weights:
    """What a run has learned, by team."""
    with finished:
        return {name: dict(finished.weights(name, "final")) for name in TEAMS}


def _train(
    folder: Path,
    model: Model,
    seed: int,
    environment: Environment,
    on_episode: OnEpisode | None,
    weights: Weights | None = None,
) -> None:
    """Run or go on with the run in a folder, to its end or to where it is stopped."""
    compression = model.spec.storage.compression
    course = training(model, environment, seed)
    done, counts = restore(folder, course.learner, model, seed)
    if weights is not None and isinstance(course.learner, MapProp):
        course.learner.begin_with(weights)
    store = record.FolderStore(folder, counts.pop("segments", 0))
    attrs = _root_attributes(model, json.loads((folder / PROVENANCE).read_bytes()))
    with record.Recorder(store, compression) as recorder:
        log = course.record_to(recorder, counts)

        def checkpoint() -> None:
            log.flush()
            log.put_totals()
            counts = {"episode": done, **log.counts, "segments": recorder.commit()}
            counts |= _identity(model, seed)
            record.checkpoint.keep(folder, done, course.learner.state(), counts)

        def seal(complete: bool) -> None:
            log.flush()
            recorder.commit()
            record.seal(folder, attrs | {"complete": complete}, compression)

        if done == 0:
            recorder.annotate("", attrs)
            log.begin()
            checkpoint()
        saved = time.monotonic()
        with stop_on_interrupt() as stopped:
            try:
                while done < model.length and not stopped:
                    episode = course.advance(done + 1)
                    done += 1
                    if on_episode and on_episode(episode):
                        stopped.append(signal.SIGINT)
                    if time.monotonic() - saved > CHECKPOINT_SECONDS:
                        checkpoint()
                        saved = time.monotonic()
            except RunError as error:
                if isinstance(error.__cause__, OSError):  # nothing more can be written
                    raise _with_what_is_safe(error, folder, done, course.unit) from error
                try:
                    log.abandon()
                    seal(complete=False)
                except RunError as failure:
                    error = RunError(f"{error} {failure}")
                    raise _with_what_is_safe(error, folder, done, course.unit) from None
                raise RunError(f"{error} Recorded up to there: {folder / 'run.h5'}") from None
        complete = done == model.length
        try:
            if complete:
                log.end()
            checkpoint()
            seal(complete)
        except RunError as error:
            raise _with_what_is_safe(error, folder, done, course.unit) from error
    if not complete:
        raise Interrupted(
            f"Stopped after {course.unit} {done} of {model.length}. "
            f"`neurosim resume {folder}` goes on."
        )
    record.drop_segments(folder)


def restore(
    folder: Path, learner: Learner, model: Model, seed: int, before: int | None = None
) -> tuple[int, dict[str, int]]:
    """Bring a learner to the latest checkpoint in a run's folder, or the latest before an episode.

    Returns
    -------
    Episodes or batches done and rows written then; 0 and none where there is no such checkpoint.

    Raises
    ------
    InputError : the checkpoint is damaged, or of another model or seed; or there is none though
        the run has come further than its first one.
    """
    files = record.checkpoint.kept(folder)
    usable = [done for done in files if before is None or done < before]
    if not usable:
        if before is None and len(record.numbered_segments(folder)) > 1:
            raise InputError(
                f"{folder} has lost its checkpoints. Restore {record.checkpoint.FOLDER}/ from a "
                "copy, or replace the run with --force."
            )
        return 0, {}
    path = files[max(usable)]
    arrays, attrs = record.checkpoint.load(path)
    if any(attrs.pop(name, None) != value for name, value in _identity(model, seed).items()):
        raise InputError(
            f"{path} is of another model or seed than {folder / MODEL} and "
            f"{folder / PROVENANCE} say. Restore these files from a copy."
        )
    learner.restore(arrays)
    counts = {name: int(value) for name, value in attrs.items()}
    return counts.pop("episode"), counts


def _identity(model: Model, seed: int) -> dict[str, int]:
    """What a checkpoint must have in common with the run that goes on from it."""
    return {"seed": seed, "model": zlib.crc32(model.text.encode())}


def _provenance(model: Model, seed: int) -> dict[str, Any]:
    return {
        "model": model.name,
        "seed": seed,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": installed_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def installed_versions() -> dict[str, str]:
    """Versions of the packages that bits may depend on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def _root_attributes(model: Model, provenance: dict[str, Any]) -> dict[str, str | int | bool]:
    return {
        "format": record.schema.FORMAT,
        "format_version": record.schema.FORMAT_VERSION,
        "model": model.text,
        "model_name": model.name,
        "seed": provenance["seed"],
        "mode": model.mode,
        "created": provenance["created"],
        "versions": json.dumps(provenance["versions"]),
    }


def _with_what_is_safe(error: RunError, folder: Path, done: int, unit: str) -> RunError:
    units = {"episode": "Episodes", "batch": "Batches"}[unit]
    safe = max(record.checkpoint.kept(folder), default=0)
    return RunError(
        f"{error} {units} 1 to {safe} of the {done} done are safe in {folder}; "
        f"make room, then `neurosim resume {folder}` goes on."
    )


@contextmanager
def stop_on_interrupt() -> Iterator[list[int]]:
    """Collect the first Ctrl-C, so that what is going on is finished; a second one interrupts."""
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
