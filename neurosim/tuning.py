"""Tuning: values of a model's keys that make its runs score best, searched by Optuna.

A trial is a set of values; it is run with one seed after another, and dropped after a seed where
its average so far is below the median of the other trials' (Optuna's median pruner).  The journal
on disk is written trial by trial, so that a search which was stopped goes on where it was.
"""

import csv
import re
import tomllib
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from neurosim import experiment
from neurosim.errors import InputError, RunError
from neurosim.spec import Model, parse
from neurosim.sweep import open_executor

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

JOURNAL = "journal.log"
TRIALS = "trials.csv"
STARTUP_TRIALS = 10  # drawn at random, and never dropped
FIRST_LAYER, OTHER_LAYERS = (1e-4, 1e-1), (1e-7, 1e-2)  # default ranges of step sizes
EXPLORE = (0.05, 0.95)


class Range(NamedTuple):
    """A number of a model that is searched, log-uniformly where its range excludes 0."""

    key: str  # dotted, such as "actor.alpha"
    entry: int | None  # of a list, from 0
    low: float
    high: float

    @property
    def name(self) -> str:
        """As `parse_range` reads it."""
        return self.key if self.entry is None else f"{self.key}[{self.entry}]"


class Tuned(NamedTuple):
    """What a search has found so far."""

    trials: int  # that have ended, dropped ones included
    dropped: int
    score: float  # mean over the seeds of the average return (reward) over all of a run
    values: dict[str, float]  # of the best trial, by the names of the ranges
    overrides: dict[str, Any]  # the same as keys of a model
    initial: float  # score of the model's own values


OnTrial = Callable[[int, float], None]  # trials that have ended, best score


def parse_range(text: str) -> Range:
    """A range from text such as "actor.alpha[0]=1e-4:1e-1".  Raises InputError."""
    match = re.fullmatch(r"([\w.]+)(?:\[(\d+)\])?=([^:]+):([^:]+)", text.strip())
    try:
        if match is None:
            raise ValueError
        key, entry, low, high = match.groups()
        result = Range(key, None if entry is None else int(entry), float(low), float(high))
        if not 0 <= result.low < result.high < float("inf"):
            raise ValueError
    except ValueError:
        raise InputError(
            f"--over {text}: write KEY=LOW:HIGH or KEY[ENTRY]=LOW:HIGH with 0 <= LOW < HIGH, such "
            "as actor.alpha[0]=1e-4:1e-1; entries of lists are counted from 0."
        ) from None
    return result


def default_space(model: Model) -> list[Range]:
    """Every step size, layer by layer, of every team; `explore`, where the rule has it."""
    content = tomllib.loads(model.text)
    space = []
    for team in ("actor", "critic"):
        for entry in range(len(content.get(team, {}).get("alpha", []))):
            space.append(Range(f"{team}.alpha", entry, *(OTHER_LAYERS if entry else FIRST_LAYER)))
    if "explore" in content["actor"]:
        space.append(Range("actor.explore", None, *EXPLORE))
    return space


def tune(
    model: Model,
    space: Sequence[Range],
    seeds: Sequence[int],
    trials: int,
    out: str | Path = "runs",
    *,
    workers: int = 1,
    scheduler: str | None = None,
    on_trial: OnTrial | None = None,
) -> Tuned:
    """Search for the values with which a model scores best; go on with a search begun before.

    Parameters
    ----------
    model : what `neurosim.load` returned; its own values are the first trial.
    space : what is searched, and where.
    seeds : seeds of the runs of each trial, in their order.
    trials : after how many to end, those of earlier calls included.
    out : folder of all runs; the search is kept in ``out/<model>/tuning``.
    workers : runs at a time.  With several, the order in which they end decides what is tried
        next, so that only a search with one worker is reproducible.
    scheduler : Dask scheduler whose workers make the runs; None: processes of this machine.
    on_trial : called after each trial.

    Raises
    ------
    InputError : a range that does not fit the model, Optuna is missing, or the folder holds
        another search.
    """
    if not seeds or trials < 1 or workers < 1:
        raise InputError(
            f"{len(seeds)} seeds, trials = {trials}, workers = {workers}: a search needs at least "
            "one of each."
        )
    _check_space(model, space)
    folder = Path(out) / model.name / "tuning"
    study = _open_study(folder, model, space, seeds)
    try:
        with open_executor(workers, scheduler) as executor:
            _search(study, model, space, seeds, trials, workers, executor, on_trial)
    except BrokenExecutor:
        raise RunError(
            "A worker process was killed, perhaps for want of memory. The same command given "
            "again goes on with the search."
        ) from None
    _write_trials(study, space, folder / TRIALS)
    return _tuned(study, model, space)


def score_run(model: Model, seed: int) -> float:
    """Average return (reward) over all episodes (batches) of a run; -inf where it diverges."""
    totals: list[float] = []
    try:
        experiment.simulate(model, seed, on_episode=lambda episode: totals.append(episode.total))
    except RunError:
        return float("-inf")
    return sum(totals) / len(totals)


def _search(
    study: "Study",
    model: Model,
    space: Sequence[Range],
    seeds: Sequence[int],
    trials: int,
    workers: int,
    executor: Executor,
    on_trial: OnTrial | None,
) -> None:
    """Ask for trials and run them until `trials` have ended."""
    from optuna.trial import TrialState

    running: dict[Future[float], _Begun] = {}
    left = []
    for each in study.get_trials(states=[TrialState.RUNNING]):
        begun = _resumed(study, each)
        if begun.runs == len(seeds):
            study.tell(begun.trial, begun.mean)
        else:
            left.append(begun)

    def submit(begun: _Begun) -> None:
        values = {
            each.name: begun.trial.suggest_float(each.name, each.low, each.high, log=each.low > 0)
            for each in space
        }
        variant = parse(model.text, model.name, overrides(model, space, values))
        running[executor.submit(score_run, variant, seeds[begun.runs])] = begun

    while True:
        ended = _ended(study)
        while len(running) < workers and len(ended) + len(running) < trials:
            submit(left.pop() if left else _Begun(study.ask(), 0, 0.0))
        if not running:
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            trial, runs, mean = running.pop(future)
            score = future.result()
            if score == float("-inf"):
                study.tell(trial, state=TrialState.PRUNED)
            else:
                begun = _Begun(trial, runs + 1, (runs * mean + score) / (runs + 1))
                trial.report(begun.mean, begun.runs)
                if begun.runs == len(seeds):
                    study.tell(trial, begun.mean)
                elif trial.should_prune():
                    study.tell(trial, state=TrialState.PRUNED)
                else:
                    submit(begun)
                    continue
            if on_trial:
                on_trial(len(_ended(study)), study.best_value if _whole(study) else float("nan"))


class _Begun(NamedTuple):
    """A trial that has not ended."""

    trial: "Trial"
    runs: int  # that it has had
    mean: float  # of their scores


def _resumed(study: "Study", found: "FrozenTrial") -> _Begun:
    """A trial that was begun by an earlier call."""
    from optuna import Trial

    runs = found.last_step or 0
    return _Begun(Trial(study, found._trial_id), runs, found.intermediate_values.get(runs, 0.0))


def overrides(model: Model, space: Sequence[Range], values: Mapping[str, float]) -> dict[str, Any]:
    """Values by the names of ranges as values by key of a model, whole lists for lists."""
    content = tomllib.loads(model.text)
    result: dict[str, Any] = {}
    for each in space:
        if each.entry is None:
            result[each.key] = values[each.name]
        else:
            result.setdefault(each.key, list(_value(content, each.key)))
            result[each.key][each.entry] = values[each.name]
    return result


def _value(content: Mapping[str, Any], key: str) -> Any:
    value: Any = content
    for part in key.split("."):
        value = value[part]
    return value


def _initial(model: Model, space: Sequence[Range]) -> dict[str, float]:
    """The model's own values, moved into their ranges."""
    content = tomllib.loads(model.text)
    values = {}
    for each in space:
        value = _value(content, each.key)
        value = float(value if each.entry is None else value[each.entry])
        values[each.name] = min(max(value, each.low), each.high)
    return values


def _check_space(model: Model, space: Sequence[Range]) -> None:
    """Raise InputError where a range does not fit the model."""
    content = tomllib.loads(model.text)
    for each in space:
        try:
            value = _value(content, each.key)
            number = value if each.entry is None else value[each.entry]
        except (KeyError, IndexError, TypeError):
            number = None
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise InputError(
                f"{model.name}: --over {each.name}: not a number in the model; "
                "`neurosim show MODEL` shows its keys. An entry of a list is named KEY[0]."
            )
    for end in ("low", "high"):
        values = {each.name: getattr(each, end) for each in space}
        parse(model.text, model.name, overrides(model, space, values))


def _open_study(
    folder: Path, model: Model, space: Sequence[Range], seeds: Sequence[int]
) -> "Study":
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise InputError("Tuning needs Optuna: pip install 'neurosim[tune]'.") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS),
        study_name=model.name,
        direction="maximize",
        load_if_exists=True,
    )
    identity = {
        "model": zlib.crc32(model.text.encode()),
        "space": [list(each) for each in space],
        "seeds": list(seeds),
    }
    if study.user_attrs.setdefault("identity", identity) != identity:
        raise InputError(
            f"{folder} holds a search of another model, space or seeds; give the same ones to go "
            "on with it, or another --out."
        )
    if "identity" not in study.user_attrs:
        study.set_user_attr("identity", identity)
        study.enqueue_trial(_initial(model, space))
    study.sampler = optuna.samplers.TPESampler(
        n_startup_trials=STARTUP_TRIALS, seed=len(study.get_trials(deepcopy=False))
    )
    return study


def _ended(study: "Study") -> "list[FrozenTrial]":
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def _whole(study: "Study") -> "list[FrozenTrial]":
    """Trials that were run with every seed."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])


def _tuned(study: "Study", model: Model, space: Sequence[Range]) -> Tuned:
    ended, whole = _ended(study), _whole(study)
    if not whole:
        raise RunError(f"Every trial of {model.name} diverged; search smaller step sizes.")
    best = study.best_trial
    return Tuned(
        trials=len(ended),
        dropped=len(ended) - len(whole),
        score=study.best_value,
        values=dict(best.params),
        overrides=overrides(model, space, best.params),
        initial=whole[0].values[0] if whole[0].number == 0 else float("nan"),
    )


def _write_trials(study: "Study", space: Sequence[Range], path: Path) -> None:
    """A row for each trial: its number, state, values, and average score after each seed."""
    seeds = study.user_attrs["identity"]["seeds"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = [each.name for each in space]
        writer.writerow(["trial", "state", *names, *(f"after_seed_{seed}" for seed in seeds)])
        for trial in _ended(study):
            means = [trial.intermediate_values.get(step + 1, "") for step in range(len(seeds))]
            values = [trial.params[name] for name in names]
            writer.writerow([trial.number, trial.state.name.lower(), *values, *means])
