"""The page about runs: its numbers against the record's, and the page in a browser."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import neurosim
from neurosim import cli
from neurosim.record import FolderStore, Recorder
from neurosim.report import figures

pytest.importorskip("plotly")

TINY = {"actor.units": [4, 3], "critic.units": [3, 2], "actor.N": 3, "critic.N": 3}
WINDOWS = {"record": [{"episodes": [1, 8], "steps": [0, 6]}]}
BATCHES = {"actor.units": [4, 3], "actor.N": 3, "batch.samples": 128 * 40}
CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
MOST = 8_000_000  # bytes of a page


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synchronous and an asynchronous run, one that nothing was recorded of, and batches."""
    out = tmp_path_factory.mktemp("runs")
    for name in ("cartpole", "async/cartpole"):
        neurosim.run(neurosim.load(name, TINY | WINDOWS | {"task.episodes": 8}), out=out)
    neurosim.run(neurosim.load("mountaincar", TINY | {"task.episodes": 1}), out=out)
    neurosim.run(neurosim.load("multiplexer/map_prop", BATCHES), out=out)
    return out


def page_of(folder: Path, *paths: Path) -> Path:
    """The page about some runs."""
    page = folder / "page.html"
    cli.main(["report", *map(str, paths), "-o", str(page), "--force"])
    return page


@pytest.fixture(scope="module")
def page(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about a synchronous and an asynchronous run."""
    return page_of(tmp_path_factory.mktemp("page"), runs / "cartpole", runs / "async")


def plots_of(page: Path) -> dict[str, Any]:
    """What the page draws, by the id of its place."""
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text_of(page))
    assert found
    plots: dict[str, Any] = json.loads(found[1])
    return plots


def text_of(page: Path) -> str:
    return page.read_text("utf-8")


def section(page: Path, key: str) -> str:
    """What a panel says, without marks."""
    found = re.search(rf'<section id="{key}">(.*?)</section>', text_of(page), re.DOTALL)
    assert found
    return unescape(re.sub(r"<[^>]*>", "", found[1]))


def views(view: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All figures among which a plot lets choose."""
    if "choices" not in view:
        yield view
    for choice in view.get("choices", ()):
        yield from views(choice)


def close(found: Any, expected: Any) -> None:
    """Equal up to the rounding of the page."""
    np.testing.assert_allclose(np.array(found, float), expected, rtol=6e-4, atol=1e-9)


def stored(run: Path, name: str) -> Any:
    with h5py.File(run / "seed-0000" / "run.h5") as file:
        return file[name][...]


# --- what it says --------------------------------------------------------------------------------


def test_the_headline_has_the_average_return_and_its_spread(runs: Path, page: Path) -> None:
    text = text_of(page)
    for name in ("cartpole", "async/cartpole"):
        returns = stored(runs / name, "episodes/return")
        assert f"{returns.mean():.1f} <small>± {returns.std():.1f}</small>" in text
        assert f"last 100 episodes: <b>{returns.mean():.1f}</b>, best: {returns.max():.1f}" in text


def test_of_several_seeds_the_spread_is_between_them(tmp_path: Path) -> None:
    model = neurosim.load("cartpole", TINY | {"task.episodes": 3})
    folders = [neurosim.run(model, seed, out=tmp_path) for seed in (0, 1)]
    means = []
    for folder in folders:
        with h5py.File(folder / "run.h5") as file:
            means.append(file["episodes/return"][...].mean())
    text = text_of(page_of(tmp_path, *folders))
    assert f"{np.mean(means):.1f} <small>± {np.std(means):.1f}</small>" in text
    assert "seeds 0 to 1" in text
    assert "between 2 runs" in text


def test_returns_are_those_of_the_record_and_their_running_mean(runs: Path, page: Path) -> None:
    data = plots_of(page)["returns-0"]["views"]["data"]
    for name, dots, average in zip(("cartpole", "async/cartpole"), data, data[2:], strict=False):
        returns = stored(runs / name, "episodes/return")
        assert average["name"] == f"{name} seed 0"
        assert average["x"] == dots["x"] == list(range(1, 9))
        close(dots["y"], returns)
        close(average["y"], [returns[: k + 1].mean() for k in range(8)])


def test_the_slider_goes_through_the_states_of_the_episodes(runs: Path, page: Path) -> None:
    plot = plots_of(page)["trajectories-0"]
    assert plot["controls"] == [["select", "run"], ["slider", "episode"]]
    for name, choice in zip(("cartpole", "async/cartpole"), plot["views"]["choices"], strict=True):
        run = runs / name
        observation, episode = stored(run, "steps/observation"), stored(run, "steps/episode")
        assert len(choice["choices"]) == 8
        for number, view in enumerate(choice["choices"], start=1):
            seen = observation[episode == number]
            close(view["data"][0]["x"], seen[:, 0])
            close(view["data"][0]["y"], seen[:, 2])
            score = stored(run, "episodes/return")[number - 1]
            assert view["label"] == f"{number} of 8: return {score:.4g}, {len(seen)} steps"


def test_the_goal_of_a_task_is_marked(runs: Path, tmp_path: Path) -> None:
    (view,) = views(plots_of(page_of(tmp_path, runs / "mountaincar"))["trajectories-0"]["views"])
    (line,) = view["layout"]["shapes"]
    assert (line["x0"], line["x1"]) == (0.45, 0.45)  # of MountainCarContinuous
    assert view["layout"]["annotations"][-1]["text"] == "goal"
    low, high = view["layout"]["xaxis"]["range"]
    assert low < -1.2 < 0.6 < high


def test_the_heat_map_has_the_values_of_the_units(runs: Path, page: Path) -> None:
    plot = plots_of(page)["activity-0"]
    synchronous, asynchronous = plot["views"]["choices"]
    relaxed = {
        team: stored(runs / "cartpole", f"windows/steps/{team}_relaxed")
        for team in ("actor", "critic")
    }
    n_steps = stored(runs / "cartpole", "windows/n_steps")
    for team in synchronous["choices"]:
        values = np.split(relaxed[team["label"]], np.cumsum(n_steps)[:-1])
        for view, expected in zip(team["choices"], values, strict=True):
            np.testing.assert_allclose(view["data"][0]["z"], expected.T, rtol=6e-3, atol=1e-9)
    for view in views(asynchronous):
        held = np.array(view["data"][0]["z"], float)
        assert held.shape[1] <= 200
        assert np.isfinite(held).mean() > 0.5


def test_energies_are_those_of_the_two_modes(runs: Path, page: Path) -> None:
    from neurosim.analysis.relaxation import relaxation

    plots = plots_of(page)
    for place, team in (("relaxation-0", "actor"), ("relaxation-1", "critic")):
        data = plots[place]["views"]["data"]
        for name, line in zip(("cartpole", "async/cartpole"), data[1::2], strict=True):
            with neurosim.open(runs / name / "seed-0000") as run:
                energy = relaxation(run, team).energy
            assert line["name"] == f"{name} seed 0"
            close(line["y"], np.median(energy - energy[:, :1], axis=0))


def test_packets_are_those_of_the_record(runs: Path, page: Path) -> None:
    plots, run = plots_of(page), runs / "async/cartpole"
    for team, sent, late in zip(
        ("actor", "critic"),
        plots["traffic-0"]["views"]["data"],
        plots["traffic-1"]["views"]["data"],
        strict=True,
    ):
        counts = stored(run, f"steps/{team}_sent").sum(axis=(1, 2))
        arrived = stored(run, f"steps/{team}_delivered").sum(axis=(1, 2))
        assert counts.size <= figures.POINTS
        close(sent["y"], counts)
        np.testing.assert_allclose(late["y"], 100 * (1 - arrived / counts), rtol=1e-3, atol=1e-9)
    uses = stored(run, "teams/actor/totals/staleness")
    for way, place in enumerate(("traffic-2", "traffic-3")):
        line = plots[place]["views"]["data"][0]
        close(line["y"], 100 * uses[way] / uses[way].sum())
        close(line["x"], np.arange(32) / 4)
    assert "exchange no packets" in section(page, "traffic")


def test_the_change_of_weights_ends_with_that_of_the_final_ones(runs: Path, page: Path) -> None:
    lines = plots_of(page)["weights-0"]["views"]["data"]
    for l in (1, 2, 3):
        first, last = (
            stored(runs / "cartpole", f"teams/actor/weights/{which}/W{l}")
            for which in ("initial", "final")
        )
        change = np.sqrt(((last - first) ** 2).sum() / (first**2).sum())
        close(lines[l - 1]["y"][-1], change)
        assert lines[l - 1]["x"][-1] == 8


def test_batches_have_rewards_and_no_states(runs: Path, tmp_path: Path) -> None:
    page = page_of(tmp_path, runs / "multiplexer")
    rewards = stored(runs / "multiplexer/map_prop", "batches/reward")
    plots = plots_of(page)
    dots, average = plots["returns-0"]["views"]["data"]
    close(dots["y"], rewards)
    close(average["y"][-1], rewards.mean())  # of 40, less than the 100 averaged over
    assert set(plots) == {"returns-0", "weights-0"}
    assert f"{rewards.mean():.3f} <small>± {rewards.std():.3f}</small>" in text_of(page)
    assert "Algorithm 1" in text_of(page)


def test_what_was_not_recorded_is_said_with_the_command_that_does(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(runs / "mountaincar/seed-0000", folder)
    page = page_of(tmp_path, folder)
    for key in ("activity", "relaxation"):
        assert f"neurosim rerecord {folder} --episode 1 --steps 0:20" in section(page, key)
    command = re.search(r"neurosim (rerecord .*?) does", section(page, "activity"))
    assert command
    cli.main([*command[1].split(), "--quiet"])
    assert "activity-0" in plots_of(page_of(tmp_path, folder))


def test_a_run_that_was_stopped_has_a_page(tmp_path: Path) -> None:
    model = neurosim.load("cartpole", TINY | {"task.episodes": 5})
    with pytest.raises(neurosim.RunError):
        neurosim.run(model, out=tmp_path, on_episode=lambda episode: episode.number == 2)
    page = page_of(tmp_path, tmp_path / "cartpole")
    assert "1 of 1 not complete" in text_of(page)
    assert "neurosim resume" in section(page, "activity")
    assert len(plots_of(page)["returns-0"]["views"]["data"][0]["y"]) == 2


def test_the_page_holds_model_versions_and_the_command(runs: Path, page: Path) -> None:
    text = unescape(text_of(page))
    for name in ("cartpole", "async/cartpole"):
        with h5py.File(runs / name / "seed-0000/run.h5") as file:
            attrs = {key: file.attrs[key].decode() for key in ("model", "created", "versions")}
        assert attrs["model"] in text
        assert attrs["created"] in text
        for package, version in json.loads(attrs["versions"]).items():
            assert f"{package} {version}" in text
    assert "neurosim run model.toml --seed 0" in text


def test_many_runs_are_quantiles_of_each_model(tmp_path: Path) -> None:
    model = neurosim.load("cartpole", TINY | {"task.episodes": 4})
    folders = [neurosim.run(model, seed, out=tmp_path) for seed in range(7)]
    page = page_of(tmp_path, tmp_path / "cartpole")
    averages = []
    for folder in folders:
        with h5py.File(folder / "run.h5") as file:
            returns = file["episodes/return"][...]
        averages.append([returns[: k + 1].mean() for k in range(4)])
    low, median, high = np.quantile(averages, [0.1, 0.5, 0.9], axis=0)
    band, line = plots_of(page)["returns-0"]["views"]["data"]
    close(line["y"], median)
    close(band["y"], [*low, *high[::-1]])
    assert "one of each model" in text_of(page)


# --- how large it is, and the same each time -----------------------------------------------------


def test_a_long_record_makes_no_larger_a_page(tmp_path: Path) -> None:
    """Two runs of 40 000 episodes, a million steps, 4 long windows of teams of a thousand units."""
    model = neurosim.load("backprop/cartpole")
    root = {"model": model.text, "model_name": model.name, "mode": "synchronous", "versions": "{}"}
    episodes, length, windows, units = 40_000, 25, 4, 1000
    steps, rows, rng = episodes * length, windows * length, np.random.default_rng(0)
    folders = [tmp_path / "seed-0", tmp_path / "seed-1"]
    for seed, folder in enumerate(folders):
        with Recorder(FolderStore(folder), "none") as recorder:
            recorder.annotate("", root | {"seed": seed, "created": "then"})
            recorder.append("episodes/return", rng.normal(size=episodes))
            recorder.append("episodes/length", np.full(episodes, length, "i4"))
            recorder.append("episodes/first_step", np.arange(episodes) * length)
            recorder.append("steps/observation", rng.normal(size=(steps, 4)))
            recorder.append("windows/first_step", np.arange(windows) * length)
            recorder.append("windows/n_steps", np.full(windows, length, "i4"))
            recorder.append("windows/episode", np.arange(1, windows + 1, dtype="i4"))
            recorder.append("windows/first_row", np.arange(windows) * length)
            recorder.append("windows/complete", np.ones(windows, bool))
            for team in ("actor", "critic"):
                recorder.put(f"teams/{team}/weights/initial/W1", np.ones((4, 4)))
                recorder.put(f"teams/{team}/units/layer", np.repeat([1, 2], units // 2))
                recorder.append(f"windows/steps/{team}_relaxed", rng.normal(size=(rows, units)))
                for when in ("before", "after"):
                    recorder.append(f"windows/{team}/{when}/W1", rng.normal(size=(windows, 4, 4)))
            recorder.commit()
        (folder / "provenance.json").touch()
    page = page_of(tmp_path, *folders)
    assert page.stat().st_size < MOST
    plots = plots_of(page)
    dots, *_ = plots["returns-0"]["views"]["data"]
    assert len(dots["y"]) <= figures.POINTS
    close(dots["x"][0], (1 + 134) / 2)  # 40 000 / 300 is 133 and a third
    shown = [*views(plots["trajectories-0"]["views"])]
    assert len(shown) == 120
    assert shown[-1]["label"].startswith("40000 of 40000: ")
    maps = [np.shape(view["data"][0]["z"]) for view in views(plots["activity-0"]["views"])]
    assert maps == [(120, length)] * 12  # 2 runs, 2 teams, 3 windows


def test_traces_are_bounded_and_known_to_plotly(page: Path) -> None:
    from plotly.graph_objects import Figure

    assert page.stat().st_size < MOST
    for plot in plots_of(page).values():
        for view in views(plot["views"]):
            figure = Figure({"data": view["data"], "layout": view["layout"]})  # refuses what is not
            for trace in figure.data:
                assert len(trace["x"] or ()) <= 2 * figures.POINTS
            for axis in (figure.layout.xaxis, figure.layout.yaxis):
                assert axis.title.text


def test_binning_keeps_the_sum_and_the_ends() -> None:
    values = np.arange(1000.0)
    values[7] = np.nan
    bounds, means = figures.binned(values, 300)
    assert (bounds[0], bounds[-1]) == (0, 1000)
    assert means.size == 250
    assert means[0] == 1.5
    assert means[1] == (4 + 5 + 6) / 3
    assert means[-1] == 997.5
    assert figures.picked(1000, 300)[[0, -1]].tolist() == [0, 999]
    assert figures.picked(3, 300).tolist() == [0, 1, 2]
    assert figures.numbers([[0.123456, np.inf], [2.0, 3e9]]) == [[0.1235, None], [2, 3000000000]]


def test_the_same_runs_make_the_same_bytes(runs: Path, page: Path, tmp_path: Path) -> None:
    again = page_of(tmp_path, runs / "cartpole", runs / "async")
    assert again.read_bytes() == page.read_bytes()


# --- what is refused -----------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command says that ends with status 2."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", *map(str, arguments)])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_wrong_input_is_refused_with_the_remedy(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, page = runs / "cartpole", tmp_path / "page.html"
    assert ".html" in refused(capsys, run, "-o", tmp_path / "page.pdf")
    assert "make it first" in refused(capsys, run, "-o", tmp_path / "no" / "page.html")
    assert "neurosim list" in refused(capsys, tmp_path / "none", "-o", page)
    assert "holds no runs" in refused(capsys, tmp_path, "-o", page)
    assert "at least one run" in refused(capsys, "-o", page)
    assert not page.exists()
    page.write_text("mine")
    assert "--force" in refused(capsys, run, "-o", page)
    assert page.read_text() == "mine"
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    err = refused(capsys, run, "-o", tmp_path / "other.html")
    assert "pip install 'neurosim[report]'" in err


# --- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium that writes down its console and its requests."""
    webdriver = pytest.importorskip("selenium.webdriver")
    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.skip("chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1280,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.chrome.service.Service(str(DRIVER))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def requests(browser: Any) -> list[str]:
    """The addresses that were asked for since this was called last."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


@pytest.mark.parametrize("width", [1280, 600])
def test_the_page_in_a_browser(browser: Any, page: Path, width: int) -> None:
    from selenium.webdriver.support.ui import Select, WebDriverWait

    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    requests(browser)
    browser.get(page.as_uri())

    # Everything is drawn, within the width of the page; a busy machine may take a while.
    last = [*plots_of(page)][-1]
    there = f"return !!document.querySelector('#{last} .trace path')"
    WebDriverWait(browser, 60).until(lambda each: each.execute_script(there))
    drawn = browser.execute_script(
        """return Object.fromEntries([...document.querySelectorAll(".plot")].map(
             (plot) => [plot.id, plot.querySelectorAll(".trace path, .heatmaplayer image").length]
        ))"""
    )
    assert set(drawn) == set(plots_of(page))
    assert all(drawn.values()), drawn
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width

    # The slider chooses the episode, the selector the team.
    shown = "return JSON.stringify(document.getElementById(arguments[0]).data[0][arguments[1]])"
    slider = browser.find_element("css selector", "#trajectories input[type=range]")
    before = browser.execute_script(shown, "trajectories-0", "x")
    assert slider.get_attribute("value") == "7"
    slider.send_keys("\ue012")  # arrow left
    assert slider.get_attribute("value") == "6"
    after = browser.execute_script(shown, "trajectories-0", "x")
    expected = plots_of(page)["trajectories-0"]["views"]["choices"][0]["choices"]
    assert json.loads(before) == expected[7]["data"][0]["x"]
    assert json.loads(after) == expected[6]["data"][0]["x"]
    output = browser.find_element("css selector", "#trajectories output")
    assert output.text == expected[6]["label"]
    Select(browser.find_element("css selector", "#trajectories select")).select_by_index(1)
    other = plots_of(page)["trajectories-0"]["views"]["choices"][1]["choices"][6]
    assert output.text == other["label"]
    after = browser.execute_script(shown, "trajectories-0", "x")
    assert json.loads(after) == other["data"][0]["x"]

    teams = browser.find_elements("css selector", "#activity select")[1]
    actor = browser.execute_script(shown, "activity-0", "z")
    Select(teams).select_by_visible_text("critic")
    critic = browser.execute_script(shown, "activity-0", "z")
    view = plots_of(page)["activity-0"]["views"]["choices"][0]["choices"]
    assert json.loads(actor) == view[0]["choices"][1]["data"][0]["z"]
    assert json.loads(critic) == view[1]["choices"][1]["data"][0]["z"]

    # Nothing went wrong, and nothing left the machine.
    assert browser.get_log("browser") == []
    asked = [url for url in requests(browser) if not url.startswith(("data:", "blob:"))]
    assert asked == [page.as_uri()]
