"""Scalars and films of runs that go on, which do not change a bit of them."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from recording import contents_of

import neurosim
from neurosim import cli, experiment

SMALL = [
    *("--quiet", "--set", "actor.units=[4, 3]", "critic.units=[5, 3]", "actor.N=4", "critic.N=4"),
    "task.options={max_episode_steps = 15}",
]


def run(model: str, out: Path, *more: str, episodes: int = 9) -> Path:
    """Make a run with the command; gives its folder."""
    arguments = ["run", model, "--episodes", str(episodes), "--out", str(out)]
    cli.main([*arguments, *more, *SMALL])
    return out / model / "seed-0000"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `neurosim run` says that it refuses."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(["run", *arguments])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def scalars_of(folder: Path) -> dict[str, dict[int, float]]:
    """Scalars that the files of a folder hold, by tag and number; records as TensorFlow's are."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found: dict[str, dict[int, float]] = {}
    for file in folder.iterdir():
        data = file.read_bytes()
        at = 0
        while at < len(data):  # length, its checksum, an event, its checksum
            (length,) = struct.unpack_from("<Q", data, at)
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            at += 12 + length + 4
            for value in event.summary.value:
                assert event.step not in found.setdefault(value.tag, {})
                found[value.tag][event.step] = value.simple_value
    return found


def frames_of(film: Path, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The pictures of a film, by the ffmpeg that moviepy brings: (frames, *shape)."""
    import imageio_ffmpeg

    raw = ("-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(film), *raw]
    done = subprocess.run(command, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, *shape)


def episodes_of(folder: Path) -> dict[str, list[float]]:
    with neurosim.open(folder) as opened:
        return {name: opened.episodes[name][:].tolist() for name in ("return", "length", "seed")}


@pytest.mark.parametrize("model", ["cartpole", "async/cartpole"])
def test_a_run_that_is_shown_has_the_bits_of_one_that_is_not(model: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    pytest.importorskip("moviepy")
    shown = ("--tensorboard", str(tmp_path / "boards"), "--video", str(tmp_path / "films"))
    folder = run(model, tmp_path / "shown", *shown)
    assert contents_of(folder) == contents_of(run(model, tmp_path / "alone"))
    episodes = episodes_of(folder)
    assert scalars_of(tmp_path / "boards" / model / "seed-0000") == {
        f"episode/{name}": dict(enumerate(episodes[name], 1)) for name in ("return", "length")
    }
    films = {file.name: file for file in (tmp_path / "films" / model / "seed-0000").iterdir()}
    assert films.keys() == {f"CartPole-v1-episode-{number}.mp4" for number in (1, 8)}
    with neurosim.open(folder) as opened:
        for number in (1, 8):
            first = int(opened.episodes["first_step"][number - 1])
            length = int(episodes["length"][number - 1])
            actions = opened.steps["action"][first : first + length]
            seed = int(episodes["seed"][number - 1])
            expected = pictures("CartPole-v1", seed, actions)
            film = frames_of(films[f"CartPole-v1-episode-{number}.mp4"], expected.shape[1:])
            assert film.shape == expected.shape
            error, moved = (np.abs(film - expected[k]).mean() for k in (slice(None), 0))
            assert error < moved / 2  # what the compression of a film changes


def pictures(task: str, seed: int, actions: Any) -> np.ndarray[Any, Any]:
    """The pictures of an episode (steps + 1, height, width, 3)."""
    environment = gymnasium.make(task, render_mode="rgb_array")
    environment.reset(seed=seed)
    found = [environment.render()]
    for action in actions:
        environment.step(action)
        found.append(environment.render())
    environment.close()
    return np.array(found, float)


def test_each_of_several_runs_has_its_own_folder(tmp_path: Path) -> None:
    """On processes of their own."""
    pytest.importorskip("tensorboardX")
    pytest.importorskip("moviepy")
    shown = ("--tensorboard", str(tmp_path / "boards"), "--video", str(tmp_path / "films"))
    run("cartpole", tmp_path, *shown, "--seeds", "0:2", "--workers", "2", episodes=2)
    for seed in ("seed-0000", "seed-0001"):
        returns = episodes_of(tmp_path / "cartpole" / seed)["return"]
        found = scalars_of(tmp_path / "boards/cartpole" / seed)
        assert found["episode/return"] == dict(enumerate(returns, 1))
        films = [file.name for file in (tmp_path / "films/cartpole" / seed).iterdir()]
        assert films == ["CartPole-v1-episode-1.mp4"]


def test_batches_have_their_reward(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    arguments = ["run", "multiplexer/map_prop", "--out", str(tmp_path), "--quiet"]
    settings = ["--set", "batch.samples=512", "actor.N=2"]
    cli.main([*arguments, "--tensorboard", str(tmp_path / "boards"), *settings])
    with neurosim.open(tmp_path / "multiplexer/map_prop/seed-0000") as opened:
        rewards = opened.batches["reward"][:].astype(np.float32).tolist()
    assert len(rewards) > 1
    found = scalars_of(tmp_path / "boards/multiplexer/map_prop/seed-0000")
    assert found == {"batch/reward": dict(enumerate(rewards, 1))}


class Jittery(gymnasium.Env[Any, Any]):
    """An environment that draws a random number for each picture, as it does for each step."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(0.0, 1.0, (2,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.np_random.random(2), {}

    def step(self, action: Any) -> Any:
        return self.np_random.random(2), self.np_random.random(), False, False, {}

    def render(self) -> Any:
        return self.np_random.integers(256, size=(32, 32, 3), dtype=np.uint8)


class Blind(Jittery):
    """One that draws no pictures."""

    metadata: dict[str, Any] = {"render_modes": ["human"]}  # noqa: RUF012


for _kind in (Jittery, Blind):
    gymnasium.register(f"test/{_kind.__name__}-v0", entry_point=_kind, max_episode_steps=4)


@pytest.mark.parametrize(
    ("model", "task"),
    [("cartpole", "test/Jittery-v0"), pytest.param("lunarlander", "LunarLander-v3")],
)
def test_pictures_do_not_disturb_random_numbers(model: str, task: str, tmp_path: Path) -> None:
    """LunarLander puts decoration into its world when it is drawn."""
    pytest.importorskip("moviepy")
    if model == "lunarlander":
        pytest.importorskip("Box2D")
    settings = {
        "task.id": task,
        "task.options": {"max_episode_steps": 30},
        "task.episodes": 2,
        **{f"{team}.units": [4, 3] for team in ("actor", "critic")},
    }
    loaded = neurosim.load(model, settings)
    filmed = experiment.run(loaded, 0, tmp_path / "filmed", film=tmp_path / "films")
    assert len([*(tmp_path / "films").iterdir()]) == 1
    assert contents_of(filmed) == contents_of(neurosim.run(loaded, 0, tmp_path / "alone"))


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("multiplexer/map_prop", "--video", "films"), "have one step"),
        (
            ("cartpole", "--set", "task.id=neurosim/Multiplexer-v0", "--video", "films"),
            "have one step",
        ),
        (("cartpole", "--set", "task.id=test/Blind-v0", "--video", "films"), "no pictures"),
        (("cartpole", "--video", "runs"), "the folder of --out too"),
        (("cartpole", "--tensorboard", "a", "--video", "./a"), "the folder of --tensorboard too"),
        (("cartpole", "--video", "films", "--scheduler", "tcp://localhost:1"), "--scheduler"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_the_run(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("tensorboardX")
    pytest.importorskip("moviepy")
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *arguments)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("option", "module"), [("tensorboard", "tensorboardX"), ("video", "moviepy")]
)
def test_a_missing_package_is_named_with_its_extra(
    option: str,
    module: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    arguments = (f"--{option}", str(tmp_path / "shown"), "--out", str(tmp_path / "runs"))
    message = refused(capsys, "cartpole", *arguments)
    assert f"needs {module}: pip install 'neurosim[{option}]'" in message
    assert not [*tmp_path.iterdir()]


def test_what_was_shown_before_is_replaced_with_force_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboardX")
    boards = ("--tensorboard", str(tmp_path / "boards"))
    run("cartpole", tmp_path / "one", *boards, episodes=1)
    again = ("cartpole", "--out", str(tmp_path / "two"), *boards)
    assert "--force replaces them" in refused(capsys, *again)
    folder = run("cartpole", tmp_path / "two", *boards, "--force", episodes=2)
    returns = episodes_of(folder)["return"]
    found = scalars_of(tmp_path / "boards/cartpole/seed-0000")
    assert found["episode/return"] == dict(enumerate(returns, 1))
    (tmp_path / "boards/cartpole/seed-0000/letter").write_text("mine")
    assert "holds letter" in refused(capsys, *again, "--force")
    assert (tmp_path / "boards/cartpole/seed-0000/letter").read_text() == "mine"
