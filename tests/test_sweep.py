"""Many runs: the same bits wherever they are made; what is killed goes on, or is named."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import neurosim
from neurosim import experiment, sweep, tuning
from neurosim.errors import InputError, Interrupted, RunError
from neurosim.spec import Model

SMALL = {"actor.units": [8, 4], "critic.units": [8, 4], "task.episodes": 6}

Ways = Callable[[Mapping[str, Any]], sweep.Outcome]


def model(**more: Any) -> Model:
    return neurosim.load("cartpole", SMALL | more)


def jobs_of(out: Path, seeds: int = 3) -> dict[str, partial[Path]]:
    return {f"seed {seed}": partial(experiment.make, model(), seed, out) for seed in range(seeds)}


def carry_out(jobs: Mapping[str, Any], **where: Any) -> sweep.Outcome:
    return sweep.run_all(jobs, lambda *_: None, ["synchronous"], **where)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a real Dask scheduler with two worker processes of one thread."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(params=["alone", "processes", "cluster"])
def where(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "cluster":
        return {"scheduler": request.getfixturevalue("scheduler")}
    return {"workers": 1 if request.param == "alone" else 2}


@pytest.fixture(params=["processes", "cluster"])
def elsewhere(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Where a job may be killed."""
    if request.param == "cluster":
        return {"scheduler": request.getfixturevalue("scheduler")}
    return {"workers": 2}


def test_the_bits_of_runs_do_not_depend_on_where_they_are_made(
    where: dict[str, Any], tmp_path: Path, contents: Any
) -> None:
    heard: list[tuple[str, int]] = []
    outcome = sweep.run_all(
        jobs_of(tmp_path / "many"),
        lambda name, episode: heard.append((name, episode.number)),
        ["synchronous"],
        **where,
    )
    assert outcome.errors == []
    assert outcome.folders == [tmp_path / f"many/cartpole/seed-000{seed}" for seed in range(3)]
    for seed, folder in enumerate(outcome.folders):
        alone = neurosim.run(model(), seed, tmp_path / "alone")
        assert contents(folder) == contents(alone)
    if "scheduler" not in where:  # from a cluster, episodes are reported now and then
        for seed in range(3):
            assert [n for name, n in heard if name == f"seed {seed}"] == [1, 2, 3, 4, 5, 6]


def test_a_run_that_fails_does_not_stop_the_others(where: dict[str, Any], tmp_path: Path) -> None:
    changes = ({"actor.step_size": 3.0}, {}, {"task.id": "Nowhere-v0"})
    models = [model(**more) for more in changes]
    jobs = {str(i): partial(experiment.make, each, i, tmp_path) for i, each in enumerate(models)}
    diverged, good, missing = carry_out(jobs, **where)
    assert isinstance(diverged, RunError)
    assert "diverged" in str(diverged)
    assert good == experiment.run_folder(models[1], 1, tmp_path)
    assert isinstance(missing, InputError)


def die(*, on_episode: Any = None) -> Path:
    """A job whose process is killed, as for want of memory."""
    time.sleep(0.2)  # long enough that its beginning is heard of
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def killed_once(mark: Path, out: Path, *, on_episode: Any = None) -> Path:
    """A run whose process is killed in the middle of it, the first time."""

    def kill_after_the_third(episode: Any) -> None:
        if episode.number == 3 and not mark.exists():
            mark.touch()
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)

    return experiment.make(model(), 0, out, on_episode=kill_after_the_third)


def test_runs_of_a_worker_that_is_killed_are_finished_all_of_them_once(
    elsewhere: dict[str, Any], tmp_path: Path, contents: Any
) -> None:
    jobs: dict[str, Any] = jobs_of(tmp_path / "many", 5)
    mark = tmp_path / "killed"
    jobs["seed 0"] = partial(killed_once, mark, tmp_path / "many")
    outcome = carry_out(jobs, **elsewhere)
    assert mark.exists()
    assert outcome.errors == []
    assert outcome.folders == [tmp_path / f"many/cartpole/seed-000{seed}" for seed in range(5)]
    for seed, folder in enumerate(outcome.folders):
        with neurosim.open(folder) as run:
            assert run.complete
            assert len(run.episodes) == SMALL["task.episodes"]
        alone = neurosim.run(model(), seed, tmp_path / "alone")
        assert contents(folder) == contents(alone)


def test_a_run_that_kills_its_workers_fails_alone_and_is_named(tmp_path: Path) -> None:
    jobs: dict[str, Any] = {"the poison": die, **jobs_of(tmp_path, 4)}
    poison, *others = carry_out(jobs, workers=2)
    assert isinstance(poison, RunError)
    assert str(poison).startswith("the poison: ")
    assert others == [tmp_path / f"cartpole/seed-000{seed}" for seed in range(4)]


def test_on_a_cluster_a_run_that_kills_its_workers_fails_alone_and_is_named(
    tmp_path: Path,
) -> None:
    distributed = pytest.importorskip("distributed")
    jobs: dict[str, Any] = {"the poison": die, **jobs_of(tmp_path, 4)}
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        poison, *others = carry_out(jobs, scheduler=cluster.scheduler_address)
    assert isinstance(poison, RunError)
    assert str(poison).startswith("the poison: ")
    assert others == [tmp_path / f"cartpole/seed-000{seed}" for seed in range(4)]


def chatter(*, on_episode: Any = None) -> Path:
    """A job whose episodes come one after the other without a pause."""
    for number in range(1, 101):
        on_episode(experiment.Episode(number, 0.0, 1))
        time.sleep(0.02)
    return Path()


def test_an_interrupt_is_heeded_while_episodes_come_in() -> None:
    """It reaches this process alone, so the jobs that have begun are carried out."""
    interrupted = []

    def on_episode(*_: object) -> None:
        if not interrupted:
            interrupted.append(True)
            signal.raise_signal(signal.SIGINT)

    jobs = {str(k): chatter for k in range(5)}
    outcome = sweep.run_all(jobs, on_episode, ["synchronous"], 2)
    assert [type(each) for each in outcome[2:]] == [Interrupted] * 3


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "no-such-file.json"])
def test_a_scheduler_that_is_not_there_is_an_error(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("neurosim.sweep.cluster.SECONDS_TO_CONNECT", 1.0)
    with pytest.raises(InputError, match=address):
        carry_out(jobs_of(tmp_path), scheduler=address)


def test_a_scheduler_is_found_by_its_file(scheduler: str, tmp_path: Path) -> None:
    from distributed import Client

    file = tmp_path / "scheduler.json"
    with Client(scheduler) as client:
        client.write_scheduler_file(str(file))
    assert carry_out(jobs_of(tmp_path, 1), scheduler=str(file)).errors == []


def test_a_search_finds_the_same_on_a_cluster(scheduler: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    space = [tuning.Range("actor.alpha", 0, 1e-4, 1e-1)]
    found = [
        tuning.tune(model(), space, [0], 2, tmp_path / str(k), scheduler=which)
        for k, which in enumerate((None, scheduler))
    ]
    assert found[0] == found[1]
