"""Whole runs through the Python interface: their files, their bits, their ends.

The oracles are the Gymnasium environments themselves, replayed from the recorded seeds and actions;
the paper's algorithm in plain NumPy (``oracle.py``), replayed from recorded windows; and, for
everything that stops a run, the same run left alone.
"""

from __future__ import annotations

import json
import math
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import gymnasium
import h5py
import numpy as np
import oracle
import pytest
from bridge import settings_of
from gymnasium.spaces import Box, Discrete
from numpy.testing import assert_allclose, assert_array_equal

import neurosim
from neurosim import experiment
from neurosim.errors import InputError, Interrupted, RunError
from neurosim.spec import Model

Contents = Callable[[Path], dict[str, Any]]

SMALL = {"actor.units": [8, 4], "critic.units": [8, 4]}

# By name: model file and what is set in it.  Windows of all kinds; annealing within the run.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax": (
        "cartpole",
        SMALL
        | {
            "task.episodes": 12,
            "learning.anneal_steps": 100,
            "record": [
                {"episodes": [2, 5, 11], "steps": [3, 8]},
                {"episodes": [7], "steps": "all"},
            ],
        },
    ),
    "gaussian": (
        "mountaincar",
        SMALL
        | {
            "task.episodes": 9,
            "task.options": {"max_episode_steps": 40},
            "record": [{"episodes": "all", "steps": [30, 50]}],
        },
    ),
    "published": (
        "published/cartpole",
        SMALL | {"task.episodes": 12, "record": [{"episodes": [1, 6, 12], "steps": "all"}]},
    ),
}
# Tests that work out a run in double precision are not for these.
SINGLE: dict[str, tuple[str, dict[str, Any]]] = {
    "single": (
        "cartpole",
        SMALL
        | {
            "learning.precision": "single",
            "task.episodes": 6,
            "record": [{"episodes": [2, 6], "steps": [0, 9]}],
        },
    ),
}
SEED = 6


def load(case: str, **overrides: Any) -> Model:
    name, settings = (CASES | SINGLE)[case]
    return neurosim.load(name, settings | overrides)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a case's run that nothing stopped."""
    out = tmp_path_factory.mktemp("undisturbed")
    folders: dict[str, Path] = {}

    def run(case: str) -> Path:
        if case not in folders:
            folders[case] = neurosim.run(load(case), SEED, out / case)
        return folders[case]

    return run


# --- environments of our own ---------------------------------------------------------------------


class Walk(gymnasium.Env[Any, Any]):
    """Random observations whatever is done; episodes of `length` steps.

    The reward of step `bad_step`, counted from 1 over the whole run, is `bad_reward`; every other
    step's is drawn.  All actions of all instances are kept in `received`.
    """

    received: ClassVar[list[Any]] = []

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        length: int = 10,
        bad_step: int = 0,
        bad_reward: float = 0.0,
    ) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.length, self.bad_step, self.bad_reward = length, bad_step, bad_reward
        self.made = self.t = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        Walk.received.append(np.array(action))
        self.t += 1
        self.made += 1
        reward = float(self.np_random.normal())
        if self.made == self.bad_step:
            reward = self.bad_reward
        return self._observation(), reward, self.t == self.length, False, {}

    def _observation(self) -> Any:
        if isinstance(self.observation_space, Discrete):
            start, n = int(self.observation_space.start), int(self.observation_space.n)
            return start + int(self.np_random.integers(n))
        assert isinstance(self.observation_space, Box)
        shape, dtype = self.observation_space.shape, self.observation_space.dtype
        return self.np_random.uniform(-1, 1, shape).astype(dtype)


THREE = Box(-1.0, 1.0, (3,), np.float64)
ARMS = Box(np.array([-1.0, -0.3], np.float32), np.array([1.0, 0.7], np.float32))
for name, spaces in {
    "Plain-v0": (THREE, Discrete(2)),
    "Arms-v0": (Box(-1.0, 1.0, (3,), np.float32), ARMS),
    "Rooms-v0": (Discrete(5), Discrete(2)),
    "FromTwo-v0": (Discrete(5, start=2), Discrete(2)),
    "FromOne-v0": (THREE, Discrete(3, start=1)),
}.items():
    gymnasium.register(
        name, Walk, kwargs=dict(zip(("observation_space", "action_space"), spaces, strict=True))
    )


# --- stopped and resumed -------------------------------------------------------------------------


class Stopped(BaseException):
    """Stands for the end of the process."""


def stop_after(episode: int, with_signals: int = 0) -> Callable[[experiment.Episode], None]:
    """End the process, or interrupt it, when an episode of that number has ended."""

    def on_episode(ended: experiment.Episode) -> None:
        if ended.number == episode:
            for _ in range(with_signals):
                signal.raise_signal(signal.SIGINT)
            if not with_signals:
                raise Stopped

    return on_episode


@pytest.mark.parametrize("case", [*CASES, *SINGLE])
@pytest.mark.parametrize("checkpoint_seconds", [0.0, math.inf])
def test_stopped_after_any_episode_a_run_resumes_to_the_same_bits(
    case: str,
    checkpoint_seconds: float,
    tmp_path: Path,
    undisturbed: Callable[[str], Path],
    contents: Contents,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", checkpoint_seconds)
    model = load(case)
    folder = experiment.run_folder(model, SEED, tmp_path)
    with pytest.raises(Stopped):
        neurosim.run(model, SEED, tmp_path, on_episode=stop_after(1))
    for episode in range(2, model.spec.task.episodes + 1):
        with pytest.raises(Stopped):
            neurosim.resume(folder, on_episode=stop_after(episode))
    assert neurosim.resume(folder) == folder
    assert contents(folder) == contents(undisturbed(case))


@pytest.mark.parametrize("when", ["before", "after"])
def test_stopped_at_any_renaming_of_a_file_a_run_resumes_to_the_same_bits(
    when: str, tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is there from its renaming on: between two renamings nothing on disk changes."""
    window = {"episodes": [2], "steps": [3, 8]}
    model = load("softmax", **{"task.episodes": 3, "record": [window]})
    alone = contents(neurosim.run(model, SEED, tmp_path / "alone"))
    rename = Path.replace
    renamed = stop_at = 0

    def replace(path: Path, target: Path) -> Path:
        nonlocal renamed
        renamed += 1
        if renamed == stop_at and when == "before":
            raise Stopped
        result = rename(path, target)
        if renamed == stop_at:
            raise Stopped
        return result

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", 0.0)
    first = 3 if when == "before" else 2  # the first two are model.toml and provenance.json
    for stop_at in range(first, 100):
        renamed = 0
        out = tmp_path / str(stop_at)
        try:
            neurosim.run(model, SEED, out)
        except Stopped:
            folder = neurosim.resume(experiment.run_folder(model, SEED, out))
            assert contents(folder) == alone, stop_at
        else:
            break
    # a segment and a checkpoint at the start, after each episode and at the end; the sealed file
    assert stop_at > 2 + 2 * (1 + model.spec.task.episodes) + 1


CHILD = """
import json, sys
from pathlib import Path
import neurosim
from neurosim import experiment
from neurosim.learners.compiling import compile_kernels

experiment.CHECKPOINT_SECONDS = 0.0
compile_kernels(neurosim.experiment.read_run_model(Path(sys.argv[1]))[0].mode)
print("ready", flush=True)
try:
    neurosim.resume(sys.argv[1])
except neurosim.NeurosimError as error:
    sys.exit(error.exit_status)
except KeyboardInterrupt:
    sys.exit(130)
"""


def stop_at_random_moments(case: str, number: int, times: int, out: Path) -> tuple[Path, int]:
    """Folder of a run whose process got a signal again and again, and how many processes ended
    by it; the run may not be complete."""
    model = load(case, **{"task.episodes": 25})
    folder = experiment.run_folder(model, SEED, out)
    with pytest.raises(Stopped):
        neurosim.run(model, SEED, out, on_episode=stop_after(1))
    dice, stopped = random.Random(), 0
    for _ in range(times):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        try:
            child.wait(timeout=dice.uniform(0.0, 0.4))
        except subprocess.TimeoutExpired:
            child.send_signal(number)
        _, err = child.communicate(timeout=60)
        assert child.returncode in (0, 130, -signal.SIGINT, -signal.SIGKILL), err
        stopped += child.returncode != 0
        if child.returncode == 0:
            break
    return folder, stopped


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "interrupt"])
@pytest.mark.parametrize("case", ["softmax", "gaussian"])
def test_a_process_stopped_at_random_moments_resumes_to_the_same_bits(
    case: str, number: int, tmp_path: Path, contents: Contents
) -> None:
    folder, _ = stop_at_random_moments(case, number, 2, tmp_path / "stopped")
    alone = neurosim.run(load(case, **{"task.episodes": 25}), SEED, tmp_path / "alone")
    assert contents(neurosim.resume(folder)) == contents(alone)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_processes_killed_a_hundred_times_resume_to_the_same_bits(
    case: str, tmp_path: Path, contents: Contents
) -> None:
    alone = neurosim.run(load(case, **{"task.episodes": 25}), SEED, tmp_path / "alone")
    killed = 0
    for attempt in range(100):
        folder, times = stop_at_random_moments(case, signal.SIGKILL, 10, tmp_path / str(attempt))
        assert contents(neurosim.resume(folder)) == contents(alone)
        killed += times
        if killed >= 100:
            break
    assert killed >= 100


def test_an_interrupted_run_is_sealed_after_the_episode_and_says_how_to_go_on(
    tmp_path: Path, undisturbed: Callable[[str], Path], contents: Contents
) -> None:
    model = load("softmax")
    folder = experiment.run_folder(model, SEED, tmp_path)
    with pytest.raises(Interrupted, match=f"after episode 5 of 12.*neurosim resume {folder}"):
        neurosim.run(model, SEED, tmp_path, on_episode=stop_after(5, with_signals=1))
    with h5py.File(folder / "run.h5") as half, h5py.File(undisturbed("softmax") / "run.h5") as all_:
        assert not half.attrs["complete"]
        assert half["episodes/return"].shape == (5,)
        rows = int(all_["episodes/first_step"][5])
        for name, column in half["steps"].items():
            assert_array_equal(column[:], all_["steps"][name][:rows])
    assert contents(neurosim.resume(folder)) == contents(undisturbed("softmax"))
    assert not (folder / "segments").exists()


def test_a_second_interrupt_ends_a_run_at_once_and_it_still_resumes(
    tmp_path: Path, undisturbed: Callable[[str], Path], contents: Contents
) -> None:
    model = load("gaussian")
    with pytest.raises(KeyboardInterrupt):
        neurosim.run(model, SEED, tmp_path, on_episode=stop_after(5, with_signals=2))
    folder = neurosim.resume(experiment.run_folder(model, SEED, tmp_path))
    assert contents(folder) == contents(undisturbed("gaussian"))


def test_the_handler_of_interrupts_is_given_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted):
        neurosim.run(load("softmax"), 0, tmp_path, on_episode=stop_after(1, with_signals=1))
    assert signal.getsignal(signal.SIGINT) is before


def test_resuming_a_complete_run_changes_nothing(undisturbed: Callable[[str], Path]) -> None:
    folder = undisturbed("softmax")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert neurosim.resume(folder) == folder
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_seed_may_be_numpys_number_and_is_an_integer(tmp_path: Path) -> None:
    model = neurosim.load("cartpole", SMALL | {"task.episodes": 1})
    folder = neurosim.run(model, np.int64(3), tmp_path)  # type: ignore[arg-type]
    assert folder == experiment.run_folder(model, 3, tmp_path)
    for seed in (3.0, "3", None):
        with pytest.raises(InputError, match="a seed is an integer"):
            neurosim.simulate(model, seed)  # type: ignore[arg-type]


def test_a_run_is_replaced_only_by_force_and_only_if_it_is_one(tmp_path: Path) -> None:
    model = neurosim.load("cartpole", SMALL | {"task.episodes": 1})
    folder = neurosim.run(model, 0, tmp_path)
    before = (folder / "run.h5").read_bytes()
    with pytest.raises(InputError, match="--force"):
        neurosim.run(model, 0, tmp_path)
    assert (folder / "run.h5").read_bytes() == before
    (folder / "old").touch()
    neurosim.run(model, 0, tmp_path, force=True)
    assert not (folder / "old").exists()
    thesis = experiment.run_folder(model, 1, tmp_path) / "thesis.tex"
    thesis.parent.mkdir()
    thesis.touch()
    for force in (False, True):
        with pytest.raises(InputError):
            neurosim.run(model, 1, tmp_path, force=force)
    assert thesis.exists()


@pytest.mark.parametrize(
    "killed_at",
    [
        "model.toml",
        pytest.param(
            "provenance.json",
        ),
    ],
)
def test_a_run_killed_before_it_had_a_provenance_can_be_started_anew(
    killed_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = neurosim.load("cartpole", SMALL | {"task.episodes": 1})
    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if Path(target).name == killed_at:
            raise Stopped
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(Stopped):
            neurosim.run(model, 0, tmp_path)
    neurosim.run(model, 0, tmp_path, force=True)


# --- the same bits -------------------------------------------------------------------------------


def test_what_is_recorded_does_not_change_the_bits(
    tmp_path: Path, undisturbed: Callable[[str], Path], contents: Contents
) -> None:
    for case in CASES:
        recorded = contents(undisturbed(case))
        assert any(path.startswith("windows/") for path in recorded)
        plain = contents(neurosim.run(load(case, record=[]), SEED, tmp_path / case))
        without = {path: all_ for path, all_ in recorded.items() if not path.startswith("windows")}
        del without["@model"], plain["@model"]
        assert plain == without


def test_another_seed_is_another_run_from_the_first_weight_on(tmp_path: Path) -> None:
    model = load("softmax")
    seeds = (0, 1, 2**32, 2**62, 2**63 - 1)
    runs = [neurosim.open(neurosim.run(model, seed, tmp_path)) for seed in seeds]
    for k, one in enumerate(runs):
        for other in runs[:k]:
            for team in ("actor", "critic"):
                for layer in ("W1", "W2", "W3"):
                    a = one.weights(team, "initial")[layer]
                    assert not np.isin(a, other.weights(team, "initial")[layer]).any()
            assert not np.isin(one.episodes["seed"][:], other.episodes["seed"][:]).any()
            rows = [{row.tobytes() for row in run.steps["observation"]} for run in (one, other)]
            assert rows[0].isdisjoint(rows[1])


# --- the file ------------------------------------------------------------------------------------


class Sizes(NamedTuple):
    """What the shapes in a file depend on."""

    steps: int
    episodes: int
    observations: int
    outputs: int
    action: tuple[Any, ...]  # dtype, then the shape of one
    windows: list[int]  # steps of each


def expected_datasets(sizes: Sizes) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """The schema: dtype and shape of every dataset of a synchronous run of SMALL teams."""
    found: dict[str, tuple[Any, tuple[int, ...]]] = {}
    for name, dtype in {
        "return": "f8",
        "length": "i4",
        "terminated": "?",
        "truncated": "?",
        "first_step": "i8",
        "seed": "i8",
    }.items():
        found[f"episodes/{name}"] = (dtype, (sizes.episodes,))
    for name in ("reward", "td_error", "value"):
        found[f"steps/{name}"] = ("f8", (sizes.steps,))
    found["steps/episode"] = ("i4", (sizes.steps,))
    found["steps/observation"] = ("f8", (sizes.steps, sizes.observations))
    found["steps/action"] = (sizes.action[0], (sizes.steps, *sizes.action[1:]))
    windows = len(sizes.windows)
    for team, outputs in (("actor", sizes.outputs), ("critic", 1)):
        layers = [sizes.observations, 8, 4, outputs]
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in (1, 2, 3):
            shapes[f"W{layer}"] = (layers[layer], layers[layer - 1])
            shapes[f"b{layer}"] = (layers[layer],)
        units = sum(layers[1:])
        for name, dtype in {"layer": "i2", "index": "i4", "var": "f8"}.items():
            found[f"teams/{team}/units/{name}"] = (dtype, (units,))
        for which in ("initial", "final"):
            for key, shape in shapes.items():
                found[f"teams/{team}/weights/{which}/{key}"] = ("f8", shape)
        for values in ("sampled", "relaxed"):
            found[f"windows/steps/{team}_{values}"] = ("f8", (sum(sizes.windows), units))
        for when in ("before", "after"):
            group = f"windows/{team}/{when}"
            found[f"{group}/adam_count"] = ("i8", (windows,))
            for prefix in ("", "z", "m", "v"):
                for key, shape in shapes.items():
                    found[f"{group}/{prefix}{key}"] = ("f8", (windows, *shape))
    for name, dtype in {
        "first_step": "i8",
        "n_steps": "i4",
        "episode": "i4",
        "first_row": "i8",
        "complete": "?",
    }.items():
        found[f"windows/{name}"] = (dtype, (windows,))
    found["windows/steps/step"] = ("i8", (sum(sizes.windows),))
    return {path: (np.dtype(dtype), shape) for path, (dtype, shape) in found.items()}


@pytest.mark.parametrize("case", CASES)
def test_a_run_file_holds_what_the_schema_says_and_nothing_else(
    case: str, undisturbed: Callable[[str], Path]
) -> None:
    model = load(case)
    gaussian = case == "gaussian"
    with h5py.File(undisturbed(case) / "run.h5") as file:
        length = file["episodes/length"][:]
        windows = {
            "softmax": [*np.clip(length[[1, 4]] - 3, 0, 5), length[6], min(length[-2] - 3, 5)],
            "gaussian": np.clip(length - 30, 0, 20),
            "published": length[[0, 5, -1]],
        }[case]
        assert min(windows) > 0
        sizes = Sizes(
            steps=int(length.sum()),
            episodes=model.spec.task.episodes,
            observations=2 if gaussian else 4,
            outputs=1 if gaussian else 2,
            action=("f8", 1) if gaussian else ("i4",),
            windows=[int(steps) for steps in windows],
        )
        found: dict[str, Any] = {}

        def visit(path: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset) and not node.is_scale:
                found[path] = (node.dtype, node.shape)

        file.visititems(visit)
        counts = {
            found.pop(f"windows/{team}/{when}/{count}", None)
            for team in ("actor", "critic")
            for when in ("before", "after")
            for count in ("passes", "iterations")
        }
        assert counts <= {None, (np.dtype("i8"), (len(windows),))}
        assert found == expected_datasets(sizes)

        attrs = {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in file.attrs.items()
        }
        assert attrs["format"] == "neurosim-run"
        assert attrs["format_version"] == 2
        assert attrs["model"] == model.text == (undisturbed(case) / "model.toml").read_text()
        assert attrs["model_name"] == model.name
        assert attrs["seed"] == SEED
        assert attrs["mode"] == "synchronous"
        assert attrs["complete"] is np.True_
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", attrs["created"])
        assert json.loads(attrs["versions"]).keys() >= {"neurosim", "numba", "numpy", "gymnasium"}

        for team in ("actor", "critic"):
            spec, units = getattr(model.spec, team), file[f"teams/{team}/units"]
            outputs = sizes.outputs if team == "actor" else 1
            assert_array_equal(units["layer"], [1] * 8 + [2] * 4 + [3] * outputs)
            assert_array_equal(units["index"], [*range(8), *range(4), *range(outputs)])
            assert_array_equal(units["var"][:12], [spec.var[0]] * 8 + [spec.var[1]] * 4)
            if spec.output == "gaussian":
                assert_array_equal(units["var"][12:], spec.var[2])


@pytest.mark.parametrize("case", CASES)
def test_the_tables_of_a_run_agree_with_each_other(
    case: str, undisturbed: Callable[[str], Path]
) -> None:
    with neurosim.open(undisturbed(case)) as run:
        episodes = {name: column[:] for name, column in run.episodes.items()}
        steps = {name: column[:] for name, column in run.steps.items()}
    stop = np.cumsum(episodes["length"])
    assert_array_equal(episodes["first_step"], stop - episodes["length"])
    assert_array_equal(steps["episode"], np.repeat(np.arange(len(stop)) + 1, episodes["length"]))
    for k, (first, last) in enumerate(zip(episodes["first_step"], stop, strict=True)):
        assert episodes["return"][k] == math.fsum(steps["reward"][first:last]) or np.isclose(
            episodes["return"][k], math.fsum(steps["reward"][first:last]), rtol=1e-14
        )
    assert (episodes["terminated"] | episodes["truncated"]).all()
    assert np.unique(episodes["seed"]).size == len(stop)
    assert (episodes["seed"] >= 0).all()


REPLAYED: dict[str, tuple[str, dict[str, Any]]] = {
    "cartpole": ("cartpole", {"task.episodes": 30}),
    "acrobot": ("acrobot", {"task.episodes": 3, "task.options": {"max_episode_steps": 200}}),
    "mountaincar": ("mountaincar", {"task.episodes": 3}),
    "lunarlander": ("lunarlander", {"task.episodes": 8}),
    "pendulum": (
        "mountaincar",
        {"task.id": "Pendulum-v1", "task.episodes": 2, "task.action_map": [2.0, 0.5]},
    ),
}


@pytest.fixture(scope="module", params=REPLAYED)
def replayed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Model, Path]:
    """Model and folder of a run of a real environment."""
    name, settings = REPLAYED[request.param]
    model = neurosim.load(name, settings)
    return model, neurosim.run(model, SEED, tmp_path_factory.mktemp(request.param))


def test_the_environment_replayed_from_seeds_and_actions_gives_the_recorded_rows(
    replayed: tuple[Model, Path],
) -> None:
    model, folder = replayed
    task = model.spec.task
    env = gymnasium.make(task.id, disable_env_checker=True, **task.options)
    with neurosim.open(folder) as run:
        steps = {name: column[:] for name, column in run.steps.items()}
        episodes = {name: column[:] for name, column in run.episodes.items()}
    row = 0
    for k in range(task.episodes):
        observation, _ = env.reset(seed=int(episodes["seed"][k]))
        over = False
        while not over:
            assert_array_equal(steps["observation"][row], observation)
            action = steps["action"][row]
            if isinstance(env.action_space, Box):
                action = action.astype(env.action_space.dtype)
            observation, reward, terminated, truncated, _ = env.step(action)
            assert steps["reward"][row] == reward
            row += 1
            over = terminated or truncated
        assert episodes["terminated"][k] == terminated
        assert episodes["truncated"][k] == truncated
    assert row == len(steps["reward"])
    env.close()


def test_the_td_error_of_a_row_follows_from_its_reward_and_two_values(
    replayed: tuple[Model, Path],
) -> None:
    """Bit for bit, with rewards held within the bound for learning alone."""
    model, folder = replayed
    gamma, bound = model.spec.learning.gamma, model.spec.learning.reward_bound
    with neurosim.open(folder) as run:
        reward, value = run.steps["reward"][:], run.steps["value"][:]
        td_error = run.steps["td_error"][:]
        last = run.episodes["first_step"][:] + run.episodes["length"][:] - 1
        terminated = run.episodes["terminated"][:]
    if model.name == "mountaincar":
        assert np.abs(reward).max() > bound
    bounded = np.minimum(np.maximum(reward, -bound), bound)
    inner = np.setdiff1d(np.arange(reward.size), last)
    assert_array_equal(td_error[inner], bounded[inner] + gamma * value[inner + 1] - value[inner])
    assert_array_equal(td_error[last[terminated]], (bounded - value)[last[terminated]])
    assert (td_error[last[~terminated]] != (bounded - value)[last[~terminated]]).all()


@pytest.mark.parametrize("truncation", ["bootstrap", "zero"])
def test_at_a_step_limit_the_td_error_is_bootstrapped_or_zero(
    truncation: str, tmp_path: Path
) -> None:
    """With a critic that does not learn and hardly fluctuates, mu(S') can be computed by hand."""
    settings = {
        "task.episodes": 4,
        "task.options": {"max_episode_steps": 5},
        "learning.truncation": truncation,
        "critic.var": [1e-16] * 3,
        "critic.alpha": [0.0] * 3,
    }
    model = neurosim.load("cartpole", SMALL | settings)
    with neurosim.open(neurosim.run(model, SEED, tmp_path)) as run:
        weights = run.weights("critic", "initial")
        steps = {name: column[:] for name, column in run.steps.items()}
        seeds = run.episodes["seed"][:]
        assert run.episodes["truncated"][:].all()

    def value(observation: Any) -> float:
        h = observation
        for layer in (1, 2):
            h = np.logaddexp(0.0, weights[f"W{layer}"] @ h + weights[f"b{layer}"])
        return float(weights["W3"][0] @ h + weights["b3"][0])

    assert_allclose(steps["value"], [value(s) for s in steps["observation"]], rtol=1e-6)
    env = gymnasium.make("CartPole-v1")
    for k, seed in enumerate(seeds):
        env.reset(seed=int(seed))
        for t in range(5):
            observation, *_ = env.step(steps["action"][5 * k + t])
        row = 5 * k + 4
        if truncation == "zero":
            assert steps["td_error"][row] == 0.0
        else:
            expected = 1.0 + 0.98 * value(observation) - steps["value"][row]
            assert_allclose(steps["td_error"][row], expected, rtol=1e-6)


# --- windows -------------------------------------------------------------------------------------


def oracle_state(state: Any) -> oracle.State:
    """The recorded state of a team as the oracle's."""
    lists = {
        f"{prefix}{kind}": [state[f"{prefix}{kind}{layer}"].copy() for layer in (1, 2, 3)]
        for prefix in ("", "z", "m", "v")
        for kind in ("W", "b")
    }
    return oracle.State(**lists, updates=int(state["adam_count"]))


def assert_close(found: Any, expected: Any) -> None:
    """Equal to rounding, which grows over the steps of a window."""
    scale = max(1e-300, float(np.abs(expected).max()))
    assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("team", ["actor", "critic"])
def test_the_algorithm_replayed_from_a_windows_start_gives_all_that_it_holds(
    case: str, team: str, undisturbed: Callable[[str], Path]
) -> None:
    """From `before` and the sampled values, by the oracle: values, relaxed values, `after`.

    The samples themselves hang on noise that is not recorded; they must look like it.
    """
    model = load(case)
    learning = model.spec.learning
    with neurosim.open(undisturbed(case)) as run:
        n_in = run.steps["observation"].shape[1]
        n_out = run.weights(team, "initial")["b3"].size
        settings = settings_of(model.spec, team, n_in, n_out)
        first_step = run.episodes["first_step"][:]
        noise = []
        for window in run.windows:
            first, n_steps, episode = window.first_step, window.n_steps, window.episode
            sampled, relaxed = window.sampled(team), window.relaxed(team)
            assert len(sampled) == len(relaxed) == n_steps
            state = oracle_state(window.before(team))
            for t in range(n_steps):
                row = first + t
                extra = episode - 1 if learning.terminal_iteration else 0
                starts = row == first_step[episode - 1]
                if starts:
                    oracle.clear_traces(state)
                S = run.steps["observation"][row]
                H = [S, sampled[t, :8], sampled[t, 8:12], sampled[t, 12:]]
                mu, slope = oracle.means_and_slopes(settings, state, H)
                forward = oracle.Forward(H=H, p=[], mu=mu, slope=slope)
                for layer, var in enumerate(settings.var, 1):
                    noise.append((H[layer] - mu[layer - 1]) / math.sqrt(var))
                if team == "critic":
                    assert_close(run.steps["value"][row], mu[-1][0])
                if not starts:
                    oracle.reinforce(settings, state, run.steps["td_error"][row - 1], row + extra)
                elif learning.update_at_reset:
                    oracle.reinforce(settings, state, 0.0, row + extra)
                H = oracle.relax(settings, state, H, forward)
                assert_close(relaxed[t], np.concatenate(H[1:]))
                oracle.accumulate(settings, state, H)
            after = oracle_state(window.after(team))
            assert after.updates == state.updates
            for name in ("W", "b", "zW", "zb", "mW", "mb", "vW", "vb"):
                for found, expected in zip(getattr(after, name), getattr(state, name), strict=True):
                    assert_close(found, expected)
    z = np.concatenate(noise)
    assert np.abs(z).max() < 6.0
    assert abs(z.mean()) < 5.0 / math.sqrt(z.size)
    assert abs((z**2).mean() - 1.0) < 5.0 * math.sqrt(2.0 / z.size)


@pytest.mark.parametrize("case", CASES)
def test_the_output_units_of_a_window_are_the_action(
    case: str, undisturbed: Callable[[str], Path]
) -> None:
    model = load(case)
    with neurosim.open(undisturbed(case)) as run:
        assert run.windows
        for window in run.windows:
            action = window.steps["action"][:]
            sampled, relaxed = window.sampled("actor"), window.relaxed("actor")
            assert len(action) == len(sampled) == window.n_steps
            outputs = sampled[:, 12:]
            assert_array_equal(relaxed[:, 12:], outputs)
            assert (relaxed[:, :12] != sampled[:, :12]).all()
            if model.spec.actor.output == "softmax":
                assert_array_equal(outputs, np.eye(2)[action])
            else:
                assert_allclose(action, np.clip(2.0 * outputs + 1.0, -1.0, 1.0), rtol=1e-7)


def test_a_window_ends_in_the_state_in_which_the_next_one_begins(tmp_path: Path) -> None:
    def window(first: int, last: int) -> Any:
        record = [{"episodes": [3], "steps": [first, last]}]
        model = load("gaussian", record=record)
        folder = neurosim.run(model, SEED, tmp_path / f"{first} to {last}")
        (only,) = neurosim.open(folder).windows
        assert only.n_steps == last - first
        assert only.first_step == 80 + first
        return only

    earlier, later, both = window(0, 5), window(5, 9), window(0, 9)
    for team in ("actor", "critic"):
        assert set(earlier.after(team)) == set(later.before(team))
        for name, array in earlier.after(team).items():
            assert_array_equal(array, later.before(team)[name])
            assert_array_equal(both.before(team)[name], earlier.before(team)[name])
            assert_array_equal(both.after(team)[name], later.after(team)[name])
        sampled = [part.sampled(team) for part in (earlier, later)]
        assert_array_equal(np.concatenate(sampled), both.sampled(team))
        relaxed = [part.relaxed(team) for part in (earlier, later)]
        assert_array_equal(np.concatenate(relaxed), both.relaxed(team))


def test_a_window_ends_with_its_episode_and_one_beyond_it_is_not_there(tmp_path: Path) -> None:
    """Episodes have 10 steps."""

    def windows(steps: Any, episodes: Any = "all") -> list[tuple[int, int, int]]:
        settings = {"task.id": "Plain-v0", "task.episodes": 3}
        record = [{"episodes": episodes, "steps": steps}]
        model = neurosim.load("cartpole", SMALL | settings | {"record": record})
        with neurosim.open(neurosim.run(model, 0, tmp_path, force=True)) as run:
            return [(each.episode, each.first_step, each.n_steps) for each in run.windows]

    assert windows("all") == [(1, 0, 10), (2, 10, 10), (3, 20, 10)]
    assert windows([8, 50]) == [(1, 8, 2), (2, 18, 2), (3, 28, 2)]
    assert windows([9, 10]) == [(1, 9, 1), (2, 19, 1), (3, 29, 1)]
    assert windows([0, 10]) == [(1, 0, 10), (2, 10, 10), (3, 20, 10)]
    assert windows([10, 12]) == []
    assert windows("all", [2, 7]) == [(2, 10, 10)]


# --- divergence ----------------------------------------------------------------------------------


def test_a_team_that_diverges_stops_the_run_and_is_named(tmp_path: Path) -> None:
    for team in ("actor", "critic"):
        model = neurosim.load("cartpole", {f"{team}.step_size": 3.0, "task.episodes": 2})
        folder = experiment.run_folder(model, 0, tmp_path / team)
        with pytest.raises(
            RunError, match=rf"diverged at step \d+: in the {team}, layer [12]"
        ) as e:
            neurosim.run(model, 0, tmp_path / team)
        for word in ("unit", f"{team}.step_size", str(folder / "run.h5")):
            assert word in str(e.value)
        with neurosim.open(folder) as run:
            assert not run.complete
            assert len(run.episodes) == 0
            assert run.weights(team, "initial")["W1"].shape == (64, 4)
        with pytest.raises(RunError, match=f"in the {team}"):
            neurosim.resume(folder)


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_what_came_before_a_divergence_is_there_and_right(reward: float, tmp_path: Path) -> None:
    """The reward of step 24, counted from 0 over the run, is not a number: the third episode's."""
    settings = SMALL | {"task.id": "Plain-v0", "task.episodes": 4}
    settings["record"] = [{"episodes": [2], "steps": "all"}]
    good = neurosim.open(neurosim.run(neurosim.load("cartpole", settings), 0, tmp_path / "good"))
    bad = neurosim.load(
        "cartpole", settings | {"task.options": {"bad_step": 25, "bad_reward": reward}}
    )
    with pytest.raises(RunError, match=r"diverged at step 2[45]: in the (actor|critic)"):
        neurosim.run(bad, 0, tmp_path / "bad")
    with neurosim.open(experiment.run_folder(bad, 0, tmp_path / "bad")) as run:
        assert not run.complete
        assert len(run.episodes) == 2
        assert len(run.steps) >= 24
        for name, column in run.episodes.items():
            assert_array_equal(column[:], good.episodes[name][:2])
        for name, column in run.steps.items():
            assert_array_equal(column[:24], good.steps[name][:24])
        found, expected = run.windows[0], good.windows[0]
        assert found.complete
        assert_array_equal(found.sampled("actor"), expected.sampled("actor"))
        assert_array_equal(found.relaxed("critic"), expected.relaxed("critic"))
        assert_array_equal(found.after("actor")["W1"], expected.after("actor")["W1"])
        assert_array_equal(found.before("critic")["zW2"], expected.before("critic")["zW2"])


def test_a_divergence_in_the_last_transition_of_a_run_is_reported(tmp_path: Path) -> None:
    settings = {"task.id": "Plain-v0", "task.episodes": 2}
    settings |= {"task.options": {"bad_step": 20, "bad_reward": math.nan}}
    with pytest.raises(RunError, match="diverged"):
        neurosim.run(neurosim.load("cartpole", SMALL | settings), 0, tmp_path)


def test_a_reward_whose_square_overflows_is_reported(tmp_path: Path) -> None:
    settings = {"task.id": "Plain-v0", "task.episodes": 2}
    settings |= {"task.options": {"bad_step": 5, "bad_reward": 1e200}}
    with pytest.raises(RunError, match="diverged"):
        neurosim.run(neurosim.load("cartpole", SMALL | settings), 0, tmp_path)


def test_every_window_of_a_run_that_diverged_says_which_steps_it_holds(tmp_path: Path) -> None:
    settings = {"task.id": "Plain-v0", "task.episodes": 2}
    settings |= {"task.options": {"bad_step": 15, "bad_reward": math.nan}}
    settings |= {"record": [{"episodes": "all", "steps": "all"}]}
    model = neurosim.load("cartpole", SMALL | settings)
    with pytest.raises(RunError, match="diverged"):
        neurosim.run(model, 0, tmp_path)
    with neurosim.open(experiment.run_folder(model, 0, tmp_path)) as run:
        first, second = run.windows
        assert [first.complete, second.complete] == [True, False]
        assert (first.first_step, first.n_steps, second.first_step) == (0, 10, 10)
        assert second.n_steps in (4, 5)
        for window in run.windows:
            assert len(window.sampled("actor")) == len(window.relaxed("critic")) == window.n_steps
        for name, array in second.after("actor").items():
            lost = np.isnan(array) if array.dtype.kind == "f" else array == -1
            assert lost.all(), name
        for name, array in first.after("actor").items():
            assert np.isfinite(array).all(), name


# --- full disks ----------------------------------------------------------------------------------


class Disk:
    """A small file system in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mount("size=16M")

    def mount(self, options: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "neurosim-test", self.path],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")

    def resize(self, kilobytes: int) -> None:
        self.mount(f"remount,size={kilobytes}k")

    def clear(self) -> None:
        subprocess.run(["find", self.path, "-mindepth", "1", "-delete"], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    try:
        small = Disk(path)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    yield small
    subprocess.run(["umount", path], check=True)


def test_a_run_that_filled_the_disk_goes_on_to_the_same_bits_when_there_is_room(
    disk: Disk,
    undisturbed: Callable[[str], Path],
    contents: Contents,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On disks from too small for the first segment to large enough for all."""
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", 0.0)
    model = load("gaussian")
    safe_episodes, finished = [], False
    for kilobytes in range(12, 4000, 100):
        disk.resize(kilobytes)
        try:
            neurosim.run(model, SEED, disk.path)
            finished = True
            break
        except RunError as error:
            message = str(error)
        assert "the disk is full" in message
        disk.resize(16_000)
        folder = experiment.run_folder(model, SEED, disk.path)
        resumed: list[int] = []
        neurosim.resume(
            folder, on_episode=lambda episode, seen=resumed: seen.append(episode.number)
        )
        if match := re.search(r"Episodes 1 to (\d+) of the (\d+) done are safe", message):
            safe, done = map(int, match.groups())
            assert resumed == list(range(safe + 1, model.spec.task.episodes + 1))
            assert safe <= done
            safe_episodes.append(safe)
        assert contents(folder) == contents(undisturbed("gaussian"))
        disk.clear()
    assert finished
    assert safe_episodes == sorted(safe_episodes)
    assert {2, model.spec.task.episodes} <= set(safe_episodes)


def test_a_run_whose_folder_did_not_fit_on_the_disk_can_be_started_anew(disk: Disk) -> None:
    """On one page of memory model.toml fits and provenance.json does not."""
    disk.resize(4)
    model = load("gaussian")
    with pytest.raises(RunError, match=r"provenance.json could not be written: the disk is full"):
        neurosim.run(model, SEED, disk.path)
    disk.resize(16_000)
    neurosim.run(model, SEED, disk.path, force=True)


# --- environments by id --------------------------------------------------------------------------


def received(folder: Path) -> tuple[Any, Any]:
    """What Walk was given, and what the run says that it was given."""
    with neurosim.open(folder) as run:
        return np.array(Walk.received), run.steps["action"][:]


@pytest.fixture
def nothing_received() -> None:
    Walk.received.clear()


@pytest.mark.usefixtures("nothing_received")
def test_a_box_of_actions_receives_what_the_output_units_say(tmp_path: Path) -> None:
    settings = {"task.id": "Arms-v0", "task.episodes": 5, "task.action_map": [1.5, 0.25]}
    settings |= {"record": [{"episodes": "all", "steps": "all"}]}
    folder = neurosim.run(neurosim.load("mountaincar", SMALL | settings), 0, tmp_path)
    given, recorded = received(folder)
    with neurosim.open(folder) as run:
        outputs = [window.sampled("actor")[:, 12:] for window in run.windows]
    expected = np.clip(1.5 * np.concatenate(outputs) + 0.25, ARMS.low, ARMS.high)
    assert given.dtype == np.float32
    assert given.shape == recorded.shape == (50, 2)
    assert_array_equal(given, expected.astype(np.float32))
    inside = (given > ARMS.low) & (given < ARMS.high)
    assert (given == ARMS.low).any()
    assert (given == ARMS.high).any()
    assert inside.any()
    assert_array_equal(recorded.astype(np.float32), given)


@pytest.mark.usefixtures("nothing_received")
def test_the_recorded_action_of_a_box_is_exactly_what_the_environment_was_given(
    tmp_path: Path,
) -> None:
    settings = {"task.id": "Arms-v0", "task.episodes": 2, "task.action_map": [0.3, 0.0]}
    given, recorded = received(
        neurosim.run(neurosim.load("mountaincar", SMALL | settings), 0, tmp_path)
    )
    assert_array_equal(recorded, given)


@pytest.mark.usefixtures("nothing_received")
def test_actions_that_are_counted_from_one_are_given_so(tmp_path: Path) -> None:
    settings = {"task.id": "FromOne-v0", "task.episodes": 5}
    settings |= {"record": [{"episodes": "all", "steps": "all"}]}
    folder = neurosim.run(neurosim.load("cartpole", SMALL | settings), 0, tmp_path)
    given, recorded = received(folder)
    with neurosim.open(folder) as run:
        outputs = [window.sampled("actor")[:, 12:] for window in run.windows]
    assert set(given) == {1, 2, 3}
    assert_array_equal(given, 1 + np.concatenate(outputs).argmax(axis=1))
    assert_array_equal(recorded, given)


@pytest.mark.parametrize(("id_", "start"), [("Rooms-v0", 0), ("FromTwo-v0", 2)])
def test_discrete_observations_are_one_hot(id_: str, start: int, tmp_path: Path) -> None:
    settings = {"task.id": id_, "task.episodes": 3, "task.one_hot": True}
    with neurosim.open(
        neurosim.run(neurosim.load("cartpole", SMALL | settings), 0, tmp_path)
    ) as run:
        rows, actions = run.steps["observation"][:], run.steps["action"][:]
        seeds = run.episodes["seed"][:]
    env = gymnasium.make(id_, disable_env_checker=True)
    expected = []
    for k, seed in enumerate(seeds):
        observation, _ = env.reset(seed=int(seed))
        for action in actions[10 * k : 10 * k + 10]:
            expected.append(np.eye(5)[observation - start])
            observation, *_ = env.step(int(action))
    assert_array_equal(rows, expected)
    assert np.unique(rows.argmax(axis=1)).size == 5


def test_an_environment_can_be_named_by_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "my_tasks.py"
    module.write_text(
        "import gymnasium\n"
        "gymnasium.register('Mine-v0', 'gymnasium.envs.classic_control:CartPoleEnv',\n"
        "                   max_episode_steps=7)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"task.id": "my_tasks:Mine-v0", "task.episodes": 3}
    folder = neurosim.run(neurosim.load("cartpole", SMALL | settings), 0, tmp_path)
    with neurosim.open(folder) as run:
        assert_array_equal(run.episodes["length"][:], 7)


# --- memory --------------------------------------------------------------------------------------

# VmHWM, because getrusage counts the memory of the process that started this one, too.
PEAK = """
import json, re, sys
from pathlib import Path
import neurosim

model = neurosim.load(sys.argv[1], json.loads(sys.argv[2]))
folder = neurosim.run(model, 0, sys.argv[3])
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
with neurosim.open(folder) as run:
    print(len(run.steps), len(run.windows))
"""


def peak_megabytes(model: str, overrides: dict[str, Any], out: Path) -> tuple[int, int, int]:
    """Peak memory of a process that runs a model, and the steps and windows it recorded."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, model, json.dumps(overrides), out],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    peak, steps, windows = map(int, done.stdout.split())
    return peak, steps, windows


EVERYTHING = [{"episodes": "all", "steps": "all"}]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_recording_everything_needs_little_memory(tmp_path: Path) -> None:
    """15 episodes of about 1000 steps: 50 MB of values, more than a segment."""
    overrides = {"task.episodes": 15, "record": EVERYTHING}
    peak, steps, windows = peak_megabytes("mountaincar", overrides, tmp_path)
    assert steps > 10_000
    assert windows == 15
    assert peak < 500


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_recording_150_000_steps_in_400_windows_needs_little_memory(tmp_path: Path) -> None:
    overrides = {"task.episodes": 400, "record": EVERYTHING}
    peak, steps, windows = peak_megabytes("cartpole", overrides, tmp_path)
    assert steps > 150_000
    assert windows == 400
    assert peak < 500
