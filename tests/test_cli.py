"""The command line as it is typed: what it prints, what it writes, how it ends."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import sysconfig
import time
import xml.etree.ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from matplotlib.image import imread

import neurosim
from neurosim import cli, progress, spec
from neurosim.cli.arguments import all_run_folders
from neurosim.training import Episode

Contents = Callable[[Path], dict[str, Any]]

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "neurosim")
SMALL = ["--set", "actor.units=[8, 4]", "critic.units=[8, 4]"]
LONG = ["--episodes", "100000"]


class Result(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


Neurosim = Callable[..., Result]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def do(capsys: pytest.CaptureFixture[str]) -> Neurosim:
    """Run a command in this process.  Any exception but SystemExit would be a traceback."""

    def command(*arguments: object) -> Result:
        capsys.readouterr()
        status = 0
        try:
            cli.main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        return Result(status, *capsys.readouterr())

    return command


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start a command as a process group of its own, as a terminal does."""
    return subprocess.Popen(
        [PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> Result:
    """Wait for the end of a command; it may take a minute at most."""
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    assert "Traceback" not in out + err
    return Result(process.returncode, out, err)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait, a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_training(*folders: Path) -> None:
    """Wait until runs are in their first episodes: they have written their first checkpoint."""
    wait_until(lambda: all(list(folder.glob("checkpoints/episode-*.h5")) for folder in folders))
    time.sleep(0.2)


def children(process: subprocess.Popen[str]) -> list[str]:
    """Ids of the processes that a process has started (Linux)."""
    lists = Path(f"/proc/{process.pid}/task").glob("*/children")
    return " ".join(path.read_text() for path in lists).split()


def run_folder(seed: int = 0) -> Path:
    return Path(f"runs/cartpole/seed-{seed:04d}")


# --- run and resume ------------------------------------------------------------------------------


def test_run_trains_records_draws_and_summarises(do: Neurosim) -> None:
    done = do("run", "cartpole", "--episodes", 3, *SMALL)
    assert done.status == 0
    with neurosim.open(run_folder()) as run:
        assert run.complete
        assert run.seed == 0
        returns, lengths = run.episodes["return"][:], run.episodes["length"][:]
    assert returns.size == 3
    figures = [str(run_folder()), "3", str(lengths.sum())]
    figures += [f"{x:.2f}" for x in (returns.mean(), returns.mean(), returns.max())]
    assert " ".join(figures) in " ".join(done.out.split())
    assert "3 of 3" in done.err
    picture = Path("runs/cartpole/learning-curve.png")
    assert str(picture) in done.out
    assert_is_figure(picture)


def test_run_is_what_the_python_interface_does(do: Neurosim, contents: Contents) -> None:
    record = ["--record", "episodes=1,3 steps=0:5", "--record", "episodes=2"]
    settings = ["--set", "actor.N=5", "learning.truncation=zero", "actor.units=[8, 4]"]
    assert do("run", "cartpole", "--seed", 7, "--episodes", 3, *settings, *record).status == 0
    model = neurosim.load(
        "cartpole",
        {
            "actor.N": 5,
            "learning.truncation": "zero",
            "actor.units": [8, 4],
            "task.episodes": 3,
            "record": [
                {"episodes": [1, 3], "steps": [0, 5]},
                {"episodes": [2], "steps": "all"},
            ],
        },
    )
    folder = neurosim.run(model, 7, "python")
    assert contents(run_folder(7)) == contents(folder)


def test_out_names_the_folder_of_all_runs(do: Neurosim, tmp_path: Path) -> None:
    done = do("run", "published/cartpole", "--episodes", 1, "--out", tmp_path / "a/b", *SMALL)
    assert done.status == 0
    assert (tmp_path / "a/b/published/cartpole/seed-0000/run.h5").exists()


def test_a_model_file_of_ones_own_is_named_by_its_path(do: Neurosim) -> None:
    Path("mine.toml").write_text(spec.load("cartpole", {"task.episodes": 2}).text)
    assert do("run", "mine.toml").status == 0
    with neurosim.open("runs/mine/seed-0000") as run:
        assert len(run.episodes) == 2


def test_a_run_is_not_overwritten_without_force(do: Neurosim, contents: Contents) -> None:
    command = ["run", "cartpole", "--quiet", *SMALL, "--episodes"]
    assert do(*command, 2).status == 0
    before = contents(run_folder())
    refused = do(*command, 3)
    assert refused.status == 2
    assert f"neurosim resume {run_folder()}" in refused.err
    assert "--force" in refused.err
    assert contents(run_folder()) == before
    assert do(*command, 3, "--force").status == 0
    with neurosim.open(run_folder()) as run:
        assert len(run.episodes) == 3


def test_one_run_in_the_way_keeps_all_seeds_from_starting(do: Neurosim) -> None:
    command = ["run", "cartpole", "--episodes", 1, "--quiet", *SMALL]
    assert do(*command, "--seed", 2).status == 0
    assert do(*command, "--seeds", "0:4").status == 2
    assert not run_folder(0).exists()


@pytest.mark.parametrize("options", [["--workers", 0], ["--scheduler", "nowhere.json"]])
def test_force_replaces_nothing_where_nobody_can_work(do: Neurosim, options: list[str]) -> None:
    do("run", "cartpole", "--episodes", 2, "--quiet", *SMALL)
    done = do("run", "cartpole", "--episodes", 3, "--force", *options)
    assert done.status == 2
    assert options[0] in done.err
    with neurosim.open(run_folder()) as run:
        assert len(run.episodes) == 2


def test_force_does_not_empty_a_folder_that_is_not_a_run(do: Neurosim) -> None:
    thesis = run_folder() / "thesis.tex"
    thesis.parent.mkdir(parents=True)
    thesis.touch()
    for force in ([], ["--force"]):
        assert do("run", "cartpole", "--episodes", 1, *SMALL, *force).status == 2
    assert thesis.exists()


def test_seeds_are_runs_of_their_own_whatever_the_workers(do: Neurosim, contents: Contents) -> None:
    command = ["run", "cartpole", "--episodes", 2, "--seeds", "3:6", *SMALL]
    one = do(*command)
    two = do(*command, "--workers", 2, "--out", "two")
    assert one.status == two.status == 0
    means = []
    for seed in (3, 4, 5):
        assert contents(run_folder(seed)) == contents("two" / run_folder(seed).relative_to("runs"))
        with neurosim.open(run_folder(seed)) as run:
            means.append(run.episodes["return"][:].mean())
    assert not run_folder(0).exists()
    for done in (one, two):
        assert f"mean ± std of 3 runs {np.mean(means):.2f} ± {np.std(means):.2f}" in " ".join(
            done.out.split()
        )


def test_a_run_that_diverges_fails_and_the_other_seeds_are_shown(do: Neurosim) -> None:
    done = do("run", "cartpole", "--episodes", 2, "--set", "actor.step_size=3", "--seeds", "0:2")
    assert done.status == 1
    assert done.err.count("neurosim: diverged at step") == 2
    assert do("show", run_folder()).status == 0
    assert "incomplete" in do("show", run_folder()).out
    assert do("resume", run_folder()).status == 1


def test_resuming_a_complete_run_says_so(do: Neurosim) -> None:
    do("run", "cartpole", "--episodes", 1, "--quiet", *SMALL)
    done = do("resume", run_folder())
    assert done.status == 0
    assert "complete already" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], ["nothing", "neurosim list"]),
        (["cartpol"], ["Did you mean", "cartpole"]),
        (["nothing.toml"], ["nothing.toml"]),
        (["cartpole", "--seed", "-1"], ["seed = -1"]),
        (["cartpole", "--seed", str(2**63)], ["2**63 - 1"]),
        (["cartpole", "--seed", "one"], ["--seed", "one"]),
        (["cartpole", "--seeds", "3:1"], ["--seeds 3:1", "0:10"]),
        (["cartpole", "--seeds", "4"], ["--seeds 4", "0:10"]),
        (["cartpole", "--seeds=-1:2"], ["0:10"]),
        (["cartpole", "--seeds", "a:b"], ["0:10"]),
        (["cartpole", "--workers", "0"], ["--workers 0"]),
        (["cartpole", "--episodes", "0"], ["task.episodes = 0"]),
        (["cartpole", "--episodes", "1.5"], ["--episodes"]),
        (["cartpole", "--set", "actor.N"], ["KEY=VALUE"]),
        (["cartpole", "--set", "=3"], ["KEY=VALUE"]),
        (["cartpole", "--set", "actor.M=3"], ["actor.M: unknown key", "N"]),
        (["cartpole", "--set", "team.N=3"], ["unknown key", "actor, critic"]),
        (["cartpole", "--set", "actor.N=many"], ["actor.N = 'many'", "int"]),
        (["cartpole", "--set", "actor.N=1.5"], ["actor.N = 1.5", "int"]),
        (["cartpole", "--set", "actor.N=-1"], ["actor.N = -1"]),
        (["cartpole", "--set", "actor.units=[64"], ["actor.units = '[64'"]),
        (["cartpole", "--set", "actor.units=[8]"], ["actor.activation", "1"]),
        (["cartpole", "--set", "learning.truncation=no"], ["'bootstrap', 'zero'"]),
        (["cartpole", "--set", "task.id=Nowhere-v0"], ["task.id = 'Nowhere-v0'"]),
        (["cartpole", "--set", "task.id=Cartpole-v1"], ["CartPole-v1"]),
        (["cartpole", "--set", "task.id=Pendulum-v1"], ['actor.output = "gaussian"']),
        (["cartpole", "--set", "task.id=FrozenLake-v1"], ["task.one_hot = true"]),
        (["cartpole", "--set", "task.options={gravity_of=3}"], ["gravity_of"]),
        (["cartpole", "--record", "everything"], ['--record "everything"', "steps=0:5"]),
        (["cartpole", "--record", "episodes=1:5"], ["episodes=1,50,100"]),
        (["cartpole", "--record", "episodes=1 steps=x"], ["steps=0:5"]),
        (["cartpole", "--record", "episodes=0"], ["record[0].episodes[0] = 0"]),
        (["cartpole", "--record", "steps=5"], ["record[0].steps"]),
        (["cartpole", "--record", "steps=5:5"], ["record[0].steps"]),
        (["cartpole", "--record", "episodes=1001"], ["record[0].episodes", "up to 1000"]),
        (["cartpole", "--seed", "3", "--seeds", "0:2"], ["--seed 3 --seeds 0:2"]),
        (["cartpole", "--set", "actor.units=[1000000000000,32]"], ["memory", "units"]),
        (["cartpole", "--set", "actor.N="], ["actor.N: missing"]),
        (["studies/delay"], ["a study", "neurosim compare studies/delay"]),
        (["multiplexer/map_prop", "--mode", "synchronous"], ["Algorithm 1", "--mode"]),
        (
            ["async/cartpole", "--set", "timing.rate_spread=3.0", "timing.window=100000"],
            ["timing.rate_spread = 3.0"],
        ),
        (["cartpole", "--nothing"], ["--nothing"]),
        ([], ["MODEL"]),
    ],
    ids=" ".join,
)
def test_wrong_input_is_named_with_its_remedy_and_nothing_is_written(
    do: Neurosim, arguments: list[str], words: list[str]
) -> None:
    done = do("run", *arguments)
    assert done.status == 2
    message = re.sub(r"[\s│]+", " ", done.err)
    for word in words:
        assert word in message
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("package", "extra", "command"),
    [
        ("optuna", "tune", ["tune", "cartpole", "--trials", "1"]),
        ("distributed", "cluster", ["run", "cartpole", "--scheduler", "tcp://127.0.0.1:1"]),
        ("tensorboardX", "tensorboard", ["run", "cartpole", "--tensorboard", "board"]),
        ("moviepy", "video", ["run", "cartpole", "--video", "films"]),
        ("hdf5plugin", "lz4", ["run", "cartpole", "--set", "storage.compression=lz4"]),
        ("Box2D", "box2d", ["run", "lunarlander"]),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    do: Neurosim, monkeypatch: pytest.MonkeyPatch, package: str, extra: str, command: list[str]
) -> None:
    loaded = [name for name in sys.modules if name.startswith("gymnasium.envs.box2d")]
    for name in (package, *loaded):
        monkeypatch.setitem(sys.modules, name, None)
    for name in loaded:
        monkeypatch.delitem(sys.modules, name)
    done = do(*command, "--quiet")
    assert done.status == 2
    assert f"pip install 'neurosim[{extra}]'" in done.err
    assert done.err.count("\n") == 1


def test_an_out_that_cannot_be_made_is_reported(do: Neurosim) -> None:
    Path("file").touch()
    done = do("run", "cartpole", "--episodes", 1, "--quiet", "--out", "file/runs", *SMALL)
    assert done.status in (1, 2)
    assert "file/runs" in done.err


# --- list, show, plot ----------------------------------------------------------------------------


def test_list_names_the_models_and_the_runs(do: Neurosim) -> None:
    done = do("list")
    assert done.status == 0
    for name in ("acrobot", "cartpole", "lunarlander", "mountaincar"):
        for model in (name, f"published/{name}"):
            assert re.search(rf"^ *{model} +{spec.load(model).spec.description}", done.out, re.M)
    assert "seed-" not in done.out
    do("run", "cartpole", "--episodes", 2, "--quiet", *SMALL)
    do("run", "cartpole", "--seed", 1, "--set", "actor.step_size=3", "--quiet")
    damaged = run_folder(2)
    damaged.mkdir()
    (damaged / "provenance.json").write_text("{}")
    done = do("list")
    assert done.status == 0
    assert re.search(rf"{run_folder(0)} +2 +complete", done.out)
    assert re.search(rf"{run_folder(1)} +0 +can be resumed", done.out)
    assert re.search(rf"{run_folder(2)} ", done.out)
    assert "seed-" not in do("list", "--runs", "elsewhere").out


def test_show_prints_a_model_file_as_it_is_or_a_run(do: Neurosim) -> None:
    assert do("show", "published/acrobot").out == spec.load("published/acrobot").text
    do("run", "cartpole", "--episodes", 2, "--quiet", "--seeds", "0:2", *SMALL)
    for what in (run_folder(), run_folder() / "run.h5"):
        done = do("show", what)
        assert done.status == 0
        assert str(what) in done.out
    everything = do("show", "runs").out
    assert str(run_folder(0)) in everything
    assert str(run_folder(1)) in everything
    assert "mean ± std of 2 runs" in everything


def test_a_run_that_is_named_twice_counts_once(do: Neurosim) -> None:
    do("run", "cartpole", "--episodes", 2, "--quiet", "--seeds", "0:2", *SMALL)
    again = [run_folder(1), Path("runs"), run_folder(0)]
    assert all_run_folders(again) == [run_folder(1), run_folder(0)]


def test_show_prints_the_file_of_a_study(do: Neurosim) -> None:
    file = spec.shipped() / "studies" / "delay.toml"
    assert do("show", "studies/delay").out == do("show", file).out == file.read_text("utf-8")


def test_show_has_a_table_for_each_model(do: Neurosim) -> None:
    do("run", "cartpole", "--episodes", 2, "--quiet", *SMALL)
    do("run", "multiplexer/map_prop", "--quiet", "--set", "batch.samples=256")
    everything = do("show", "runs").out
    assert "mean return" in everything
    assert "mean reward" in everything
    assert "mean ± std" not in everything


def test_a_run_is_shown_on_one_screen(do: Neurosim) -> None:
    window = ["--record", "episodes=1,3 steps=0:2"]
    do("run", "cartpole", "--episodes", 3, "--quiet", *window, *SMALL, "actor.N=7")
    lines = dict(
        line.split(maxsplit=1)
        for line in do("show", run_folder()).out.partition("\n\n")[0].splitlines()
    )
    assert lines["run"] == "cartpole, seed 0: complete"
    assert lines["what"] == spec.load("cartpole").spec.description
    assert lines["task"] == "CartPole-v1, 3 episodes, synchronous"
    assert re.fullmatch(
        r"[\d-]+ softplus, softmax output, map_prop, N = 7, c = 0.5", lines["actor"]
    )
    assert lines["windows"] == "of episodes (steps) 1 (2), 3 (2)"
    assert "numba" in lines["made"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "nothing"],
        ["show", "nothing.h5"],
        ["resume", "nothing"],
        ["resume", "."],
        ["plot", "learning-curve", "nothing", "-o", "a.png"],
        ["plot", "learning-curve", "-o", "a.png"],
        ["plot", "a-thing", ".", "-o", "a.png"],
        ["plot", "learning-curve", "."],
        ["swim"],
        [],
    ],
    ids=" ".join,
)
def test_what_is_not_there_is_wrong_input(do: Neurosim, arguments: list[str]) -> None:
    done = do(*arguments)
    assert done.status == 2
    assert done.err.strip()
    assert not list(Path().iterdir())


def test_a_damaged_run_file_is_wrong_input(do: Neurosim) -> None:
    do("run", "cartpole", "--episodes", 1, "--quiet", *SMALL)
    file = run_folder() / "run.h5"
    file.write_bytes(file.read_bytes()[:1000])
    for command in (["show", file], ["plot", "learning-curve", file, "-o", "a.png"]):
        done = do(*command)
        assert done.status == 2
        assert "damaged" in done.err
    (run_folder() / "provenance.json").write_text("{")
    assert do("resume", run_folder()).status == 2


def assert_is_figure(path: Path) -> None:
    """A picture that has something drawn in it, or a whole document."""
    data = path.read_bytes()
    if path.suffix == ".png":
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        pixels = imread(path)
        assert min(pixels.shape[:2]) > 200
        assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 10
    elif path.suffix == ".pdf":
        assert data.startswith(b"%PDF-")
        assert data.rstrip().endswith(b"%%EOF")
    else:
        assert xml.etree.ElementTree.fromstring(data).tag.endswith("svg")


def test_plot_draws_runs_of_several_models_into_any_kind_of_file(do: Neurosim) -> None:
    do("run", "cartpole", "--episodes", 2, "--quiet", "--seeds", "0:2", *SMALL)
    do("run", "published/cartpole", "--episodes", 3, "--quiet", *SMALL)
    runs = ["runs/cartpole", "runs/published/cartpole/seed-0000"]
    for name in ("curve.png", "curve.pdf", "curve.svg"):
        done = do("plot", "learning-curve", *runs, "-o", name)
        assert done == (0, f"{name}\n", "")
        assert_is_figure(Path(name))


@pytest.mark.parametrize("name", ["curve.gif", "curve", "png"])
def test_a_figure_of_another_kind_is_refused(do: Neurosim, name: str) -> None:
    do("run", "cartpole", "--episodes", 1, "--quiet", *SMALL)
    done = do("plot", "learning-curve", "runs", "-o", name)
    assert done.status == 2
    assert ".png, .pdf or .svg" in done.err
    assert not Path(name).exists()


def test_a_figure_that_cannot_be_written_is_reported(do: Neurosim) -> None:
    do("run", "cartpole", "--episodes", 1, "--quiet", *SMALL)
    done = do("plot", "learning-curve", "runs", "-o", "missing/curve.png")
    assert done.status in (1, 2)
    assert "missing/curve.png" in done.err


def test_a_run_without_an_episode_is_not_drawn(do: Neurosim) -> None:
    do("run", "cartpole", "--episodes", 1, "--set", "actor.step_size=3", "--quiet")
    done = do("plot", "learning-curve", "runs", "-o", "curve.png")
    assert done.status == 2
    assert str(run_folder()) in done.err


# --- figures -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small runs to draw: synchronous and asynchronous, with windows, and one without."""
    folder = tmp_path_factory.mktemp("drawn")
    small = {"actor.units": [4, 3], "critic.units": [4, 3], "task.episodes": 3}
    windows = {"record": [{"episodes": [1, 2], "steps": [0, 3]}]}
    return {
        "layers": neurosim.run(neurosim.load("cartpole", small | windows), out=folder),
        "more": neurosim.run(neurosim.load("cartpole", small | windows), 1, out=folder),
        "agents": neurosim.run(neurosim.load("async/cartpole", small | windows), out=folder),
        "plain": neurosim.run(neurosim.load("published/cartpole", small), out=folder),
    }


@pytest.mark.parametrize("kind", ["png", "pdf"])
@pytest.mark.parametrize(
    ("figure", "runs", "options"),
    [
        ("trajectories", ["layers", "more", "agents", "plain"], ["--episodes", "1,3"]),
        ("trajectories", ["plain"], ["--episodes", "2", "--x", "pole angle", "--y", "3"]),
        ("actions", ["layers", "more"], []),
        ("coverage", ["layers", "more", "agents"], ["--bins", "7"]),
        ("activity", ["layers"], ["--window", "1", "--team", "critic"]),
        ("activity", ["agents"], ["--near", "0.5"]),
        ("traffic", ["agents"], []),
        ("staleness", ["agents"], []),
        ("causes", ["agents"], ["--unit", "5", "--step", "1", "--depth", "3"]),
        ("causes", ["agents"], ["--team", "critic", "--unit", "7", "--depth", "0"]),
        ("flow", ["agents"], ["--window", "1", "--step", "2"]),
        ("operations", ["layers", "agents"], []),
        ("energy", ["layers", "agents"], []),
        ("relaxation", ["layers", "more", "agents"], []),
        ("alignment", ["layers", "more", "agents"], []),
        ("feedback", ["layers", "agents", "plain"], []),
    ],
)
def test_every_figure_is_drawn(
    do: Neurosim,
    drawn: dict[str, Path],
    figure: str,
    runs: list[str],
    options: list[str],
    kind: str,
) -> None:
    file = f"{figure}.{kind}"
    done = do("plot", figure, *(drawn[run] for run in runs), "-o", file, *options)
    assert done == (0, f"{file}\n", "")
    assert_is_figure(Path(file))
    assert Path(file).stat().st_size < 500_000


@pytest.mark.parametrize(
    ("command", "run", "words"),
    [
        ("trajectories", "layers", ["episode 50", "holds episodes 1 to 3"]),
        ("trajectories --episodes 0", "layers", ["episode 0", "holds episodes 1 to 3"]),
        ("trajectories --episodes one", "layers", ["--episodes one", "1,50,100"]),
        ("trajectories --x speed", "layers", ["component 'speed'", "1 (cart velocity)"]),
        ("coverage --y 4", "layers", ["component '4'", "3 (pole angular velocity)"]),
        ("coverage --bins 0", "layers", ["bins = 0"]),
        ("activity", "plain", ["no windows", "--record"]),
        ("activity --window 2", "layers", ["window = 2", "1 (episode 2)"]),
        ("activity --team nobody", "layers", ["nobody", "critic"]),
        ("causes", "layers", ["is a synchronous run", "--mode asynchronous"]),
        ("causes --step 3", "agents", ["step = 3", "steps 0 to 2"]),
        ("causes --unit 9", "agents", ["unit = 9", "units 0 to 8"]),
        ("causes --tick 1000", "agents", ["tick = 1000", "ticks"]),
        ("causes --depth -1", "agents", ["depth = -1"]),
        ("flow", "layers", ["is a synchronous run", "--mode asynchronous"]),
        ("flow --step 3", "agents", ["step = 3", "steps 0 to 2"]),
        ("traffic", "layers", ["is a synchronous run"]),
        ("staleness", "layers", ["is a synchronous run"]),
        ("relaxation", "plain", ["no step in full detail", "--record"]),
        ("alignment", "plain", ["no step in full detail", "--record"]),
    ],
)
def test_a_wrong_option_of_a_figure_is_named_with_its_remedy(
    do: Neurosim, drawn: dict[str, Path], command: str, run: str, words: list[str]
) -> None:
    figure, *options = command.split()
    done = do("plot", figure, drawn[run], "-o", "a.png", *options)
    assert done.status == 2
    message = re.sub(r"[\s│]+", " ", done.err)
    for word in words:
        assert word in message
    assert not Path("a.png").exists()


@pytest.mark.parametrize("figure", ["activity", "causes", "flow"])
def test_a_figure_of_one_run_is_not_drawn_of_several(
    do: Neurosim, drawn: dict[str, Path], figure: str
) -> None:
    done = do("plot", figure, drawn["layers"], drawn["more"], "-o", "a.png")
    assert done.status == 2
    assert "2 runs" in done.err


def test_runs_that_observe_different_things_are_not_drawn_together(
    do: Neurosim, drawn: dict[str, Path]
) -> None:
    do("run", "acrobot", "--episodes", 1, "--quiet", "--set", "task.options.max_episode_steps=20")
    other = "runs/acrobot/seed-0000"
    for figure in ("trajectories", "coverage"):
        done = do("plot", figure, drawn["layers"], other, "-o", "a.png")
        assert done.status == 2
        assert "observe different things" in done.err


# --- Ctrl-C --------------------------------------------------------------------------------------


def test_ctrl_c_ends_a_run_with_130_and_it_resumes_to_the_same_bits(
    do: Neurosim, contents: Contents
) -> None:
    process = start("run", "cartpole", "--episodes", "150")
    wait_until_training(run_folder())
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.status == 130
    assert f"neurosim resume {run_folder()}" in done.err
    with neurosim.open(run_folder()) as run:
        assert not run.complete
        assert 0 < len(run.episodes) < 150
    assert do("resume", run_folder()).status == 0
    assert do("run", "cartpole", "--episodes", "150", "--out", "alone").status == 0
    assert contents(run_folder()) == contents(Path("alone/cartpole/seed-0000"))


def test_ctrl_c_reaches_both_workers_and_their_runs_can_be_resumed() -> None:
    process = start("run", "cartpole", "--seeds", "0:2", "--workers", "2", *LONG)
    wait_until_training(run_folder(0), run_folder(1))
    os.killpg(process.pid, signal.SIGINT)
    done = finish(process)
    assert done.status == 130
    for seed in (0, 1):
        assert f"neurosim resume {run_folder(seed)}" in done.err
        with neurosim.open(run_folder(seed)) as run:
            assert not run.complete
            assert len(run.episodes) > 0


def test_all_runs_below_a_folder_are_resumed_together(do: Neurosim, tmp_path: Path) -> None:
    model = neurosim.load("cartpole", {"task.episodes": 4})
    for seed in (0, 1):
        with pytest.raises(neurosim.RunError):
            neurosim.run(model, seed, on_episode=lambda episode: episode.number == 2)
    neurosim.run(model, 2)
    done = do("resume", "runs/cartpole", "--quiet")
    assert done.status == 0
    assert str(run_folder(0)) in done.out
    assert str(run_folder(2)) not in done.out  # it was complete
    for seed in (0, 1, 2):
        with neurosim.open(run_folder(seed)) as run:
            assert run.complete
    assert "complete already" in do("resume", "runs/cartpole").out


def test_runs_of_one_model_and_seed_in_two_folders_are_both_resumed(do: Neurosim) -> None:
    model = neurosim.load("cartpole", {"task.episodes": 3})
    for out in ("runs/one", "runs/other"):
        with pytest.raises(neurosim.RunError):
            neurosim.run(model, 0, out, on_episode=lambda episode: episode.number == 2)
    assert do("resume", "runs", "--quiet").status == 0
    for out in ("one", "other"):
        with neurosim.open(Path("runs", out, "cartpole", "seed-0000")) as run:
            assert run.complete


@pytest.mark.skipif(not list(Path("/proc/self/task").glob("*/children")), reason="needs /proc")
def test_ctrl_c_while_the_workers_start_ends_without_a_traceback() -> None:
    process = start("run", "cartpole", "--seeds", "0:2", "--workers", "2", *LONG)
    wait_until(lambda: len(children(process)) >= 4)  # two workers and the two that serve them
    os.killpg(process.pid, signal.SIGINT)
    assert finish(process).status == 130


@pytest.mark.parametrize("send", [os.killpg, os.kill], ids=["all processes", "main process"])
def test_an_interrupt_keeps_the_other_seeds_from_starting(send: Callable[[int, int], None]) -> None:
    """Whether the workers got it, too, as from a keyboard, or not."""
    process = start("run", "cartpole", "--seeds", "0:5", "--workers", "2", "--episodes", "300")
    wait_until_training(run_folder(0), run_folder(1))
    send(process.pid, signal.SIGINT)
    assert finish(process).status == 130
    assert sorted(Path("runs/cartpole").glob("seed-*")) == [run_folder(0), run_folder(1)]


def test_ctrl_c_twice_ends_a_run_within_its_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    """An episode that never ends."""
    Path("endless.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import PendulumEnv\n"
        "gymnasium.register('Endless-v0', PendulumEnv)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()), prepend=os.pathsep)
    process = start("run", "mountaincar", "--set", "task.id=endless:Endless-v0")
    wait_until_training(Path("runs/mountaincar/seed-0000"))
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.status == 130
    assert "neurosim resume" in done.err


# --- the terminal --------------------------------------------------------------------------------


def on_a_terminal(*arguments: str) -> tuple[int, str]:
    """Exit status of a command, and what it wrote to its terminal."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        [PROGRAM, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # how Linux reports the end of a terminal
            break
        if not data:
            break
        written += data
    os.close(ours)
    return process.wait(timeout=60), re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())


def test_a_terminal_shows_the_running_return_and_the_time_left() -> None:
    status, text = on_a_terminal("run", "cartpole", "--episodes", "60")
    assert status == 0
    shown = re.findall(
        r"cartpole seed 0 .*? (\d+)/60 +return (-?\d+\.\d) +(\d:\d\d:\d\d|-:--:--)", text
    )
    assert shown
    assert any(int(episode) < 60 for episode, _, _ in shown)
    with neurosim.open(run_folder()) as run:
        returns = run.episodes["return"][:]
    for episode, running, _ in shown:
        if int(episode):
            assert float(running) == pytest.approx(returns[: int(episode)].mean(), abs=0.051)
    assert "Traceback" not in text


def test_the_help_of_a_command_has_examples_and_that_of_all_commands_a_line_each(
    do: Neurosim,
) -> None:
    for name in cli.COMMANDS:
        if name != "list":
            assert f"| neurosim {name} " in do(name, "--help").out
    everything = do("--help").out
    assert "| neurosim" not in everything
    assert all(f"• {name} " in everything for name in [*cli.COMMANDS, "plot"])


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_complete_commands(shell: str, do: Neurosim) -> None:
    done = do("--tyro-print-completion", shell)
    assert done.status == 0
    assert all(name in done.out for name in ("rerecord", "trajectories", "--seeds"))


def test_numerical_libraries_get_one_thread_unless_the_user_wants_more() -> None:
    script = (
        "import os; from neurosim import cli; cli.main(['list', '--runs', 'none']); "
        "import sys; sys.stderr.write(os.environ['OMP_NUM_THREADS'])"
    )
    for more, threads in (({}, "1"), ({"OMP_NUM_THREADS": "3"}, "3")):
        environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | more
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True
        )
        assert done.stderr == threads


def test_a_pipe_gets_a_line_for_each_tenth_of_a_run(do: Neurosim) -> None:
    done = do("run", "cartpole", "--episodes", 20, *SMALL)
    with neurosim.open(run_folder()) as run:
        returns = run.episodes["return"][:]
    assert [line for line in done.err.splitlines() if " of 20" in line] == [
        f"cartpole seed 0: {k} of 20, return {returns[:k].mean():.1f}" for k in range(2, 21, 2)
    ]
    assert "\x1b" not in done.err


def test_a_notebook_gets_the_lines_of_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bar would be a widget, of which the saved notebook keeps nothing."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    with progress.display({"mine": 2}) as on_episode:
        for number in (1, 2):
            on_episode("mine", Episode(number, 1.5, 3))
    assert capsys.readouterr().err.splitlines() == [
        "mine: 1 of 2, return 1.5000",
        "mine: 2 of 2, return 1.5000",
    ]


def test_of_many_runs_a_pipe_gets_a_line_for_each(do: Neurosim) -> None:
    done = do("run", "cartpole", "--episodes", 2, "--seeds", "0:21", *SMALL)
    ended = re.findall(r"cartpole seed (\d+): 2 of 2, return", done.err)
    assert ended == [str(seed) for seed in range(21)]


def test_quiet_shows_no_progress(do: Neurosim) -> None:
    status, text = on_a_terminal("run", "cartpole", "--episodes", "5", "--quiet", *SMALL)
    assert status == 0
    assert "/5" not in text
    assert "━" not in text
    assert do("run", "cartpole", "--episodes", 5, "--force", "--quiet", *SMALL).err == ""


def test_a_reader_that_leaves_is_no_error() -> None:
    process = start("show", "cartpole")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.wait(timeout=60)
    process.stderr.close()
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


# --- help ----------------------------------------------------------------------------------------


def test_every_command_has_a_help(do: Neurosim) -> None:
    done = do("--help")
    assert done.status == 0
    for command in ("run", "resume", "list", "show", "plot"):
        assert re.search(rf"\b{command}\b", done.out)
        own = do(command, "--help")
        assert own.status == 0
        assert f"neurosim {command}" in own.out
    for option in ("--seed", "--seeds", "--set", "--record", "--workers", "--force", "--quiet"):
        assert option in do("run", "--help").out


HEAVY = "{'numba', 'gymnasium', 'h5py', 'matplotlib', 'numpy'}"


@pytest.mark.parametrize(
    "code",
    [
        "import neurosim",
        "from neurosim.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from neurosim.cli import main\ntry: main(['run', '--help'])\nexcept SystemExit: pass",
        "from neurosim.cli import main\ntry: main(['plot', '-h'])\nexcept SystemExit: pass",
    ],
    ids=["import", "help", "run help", "figure help"],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    code = f"import sys\n{code}\nprint(sorted({HEAVY} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "[]\n"
