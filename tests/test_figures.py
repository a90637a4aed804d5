"""What every figure keeps to, whatever runs are called: names, room for texts, whole ticks."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

import neurosim
from neurosim import cli
from neurosim.analysis.actions import Shares
from neurosim.analysis.naming import Named, tell_apart
from neurosim.plots import actions, comparison, coverage, learning_curve, style
from neurosim.studies import grid

BASE = 'description = "{}"\n[task]\nid = "CartPole-v1"\nepisodes = {}\n[actor]\nN = {}\n{}'
LONG = "a_model_of_ones_own_with_a_name_that_is_longer_than_most"


def text(episodes: int = 10, N: int = 20, more: str = "", description: str = "") -> str:
    return BASE.format(description, episodes, N, more)


# --- names ---------------------------------------------------------------------------------------


def test_models_of_one_name_are_told_apart_by_the_settings_that_differ() -> None:
    here, other = Path("runs/m"), Path("other/m")
    twenty, forty = Named("m", text(N=20), here), Named("m", text(N=40), other)
    different = Named("n", text(N=10), here)
    assert tell_apart([twenty, twenty, forty]) == ["m+actor.N=20", "m+actor.N=20", "m+actor.N=40"]
    assert tell_apart([twenty, twenty, different]) == ["m", "m", "n"]
    added = Named("m", text(more="hold = [1, 2]\n"), other)
    assert tell_apart([twenty, added]) == ["m", "m+actor.hold=[1,2]"]


def test_what_changes_no_bit_of_a_run_is_no_other_model() -> None:
    windows = "[[record]]\nepisodes = [1]\nsteps = [0, 5]\n"
    plain = Named("m", text(), Path("runs/m"))
    recorded = Named("m", text(more=windows, description="again") + "# set", Path("other/m"))
    assert tell_apart([plain, recorded]) == ["m", "m"]


def test_where_many_settings_differ_the_folder_tells() -> None:
    many = "".join(f"setting_{k} = {k}\n" for k in range(9))
    runs = [Named("m", text(), Path("runs/m")), Named("m", text(more=many), Path("other/m"))]
    assert tell_apart(runs) == ["m", "m (other/m)"]


# --- figures -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of small runs: of one model with two settings, and of agents; with long names."""
    folder = tmp_path_factory.mktemp("runs")
    small = {"actor.units": [4, 3], "critic.units": [4, 3], "task.episodes": 2}
    windows = {"record": [{"episodes": [1], "steps": [0, 1]}]}
    found = {}
    for name, model, changes in (
        ("few", "cartpole", {"actor.N": 2}),
        ("more", "cartpole", {"actor.N": 3}),
        ("agents", "async/cartpole", {"actor.N": 8}),
        ("one", "cartpole", {"task.episodes": 1}),
    ):
        path = folder / name / f"{LONG}_{'agents' if name == 'agents' else 'layers'}.toml"
        path.parent.mkdir()
        loaded = neurosim.load(model, small | windows | changes)
        path.write_text(loaded.text, "utf-8")
        found[name] = str(neurosim.run(neurosim.load(path), out=folder / name))
    return found


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Figure]:
    """Figures that were drawn."""
    figures: list[Figure] = []
    monkeypatch.setattr(style, "save_figure", lambda figure, path: figures.append(figure))
    monkeypatch.chdir(tmp_path)
    return figures


def assert_nothing_is_cut_off(figure: Figure) -> None:
    figure.draw_without_rendering()
    texts = [each for each in figure.findobj(Text) if isinstance(each, Text)]
    width, height = figure.canvas.get_width_height()
    ticks = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
    }
    for each in texts:
        hidden = id(each) in ticks or not each.get_visible()  # ticks may lie beyond the limits
        if hidden or not each.get_text().strip():
            continue
        box = each.get_window_extent()
        inside = box.x0 > -2 and box.y0 > -2 and box.x1 < width + 2 and box.y1 < height + 2
        assert inside, (each.get_text(), box, width, height)
    for legend in figure.legends:
        box = legend.get_window_extent()
        for axes in figure.axes:
            assert not box.overlaps(axes.get_window_extent()) or not axes.axison


@pytest.mark.parametrize(
    ("figure", "names", "options"),
    [
        ("learning-curve", ["few", "more", "agents", "one"], []),
        ("trajectories", ["few", "more", "agents", "one"], ["--episodes", "1"]),
        ("coverage", ["few", "more", "one"], []),
        ("actions", ["few", "more"], []),
        ("actions", ["one"], []),
        ("activity", ["agents"], []),
        ("activity", ["one"], []),
        ("traffic", ["agents"], []),
        ("staleness", ["agents"], []),
        ("causes", ["agents"], ["--unit", "2"]),
        ("flow", ["agents"], []),
        ("operations", ["few", "more", "agents"], []),
        ("energy", ["few", "more", "agents"], []),
        ("relaxation", ["few", "more", "agents"], []),
        ("alignment", ["few", "more", "agents"], []),
        ("feedback", ["few", "more", "agents"], []),
        ("stability", ["agents"], []),
        ("stability", ["one"], []),
    ],
)
def test_nothing_is_cut_off_and_no_legend_lies_over_a_panel(
    runs: dict[str, str], saved: list[Figure], figure: str, names: list[str], options: list[str]
) -> None:
    cli.main(["plot", figure, *(runs[name] for name in names), "-o", "a.png", *options])
    (drawn,) = saved
    assert_nothing_is_cut_off(drawn)
    for axes in drawn.axes:
        if "episode" in axes.get_xlabel():
            assert np.all(np.mod(axes.get_xticks(), 1) == 0)


def test_runs_of_other_settings_are_other_lines(runs: dict[str, str], saved: list[Figure]) -> None:
    cli.main(["plot", "learning-curve", runs["few"], runs["more"], "-o", "a.png"])
    said = [each.get_text().replace("\n", "") for each in saved[0].legends[0].get_texts()]
    assert said == [f"{LONG}_layers+actor.N={N}, 1 run, dots its episodes" for N in (2, 3)]
    cli.main(["plot", "learning-curve", runs["few"], "-o", "a.png"])
    assert "+" not in saved[1].legends[0].get_texts()[0].get_text()


def test_a_notebook_shows_a_figure_as_it_is_saved() -> None:
    figure: Any = learning_curve.draw({"a": [np.arange(3.0)]})
    with Image.open(io.BytesIO(figure._repr_png_())) as picture:
        assert picture.format == "PNG"
        assert picture.size == tuple(figure.get_size_inches() * figure.dpi)


def test_a_comparison_and_panels_keep_to_it_too() -> None:
    axes = (
        grid.Axis("setting", {LONG: {}, f"{LONG}+{LONG}": {}}),
        grid.parse_axis("timing.delay=0,1,2"),
    )
    names = [(a, d) for a in axes[0].settings for d in "012"]
    points = [comparison.Point(each, [1.0, 2.0], 1.5, (1.0, 2.0)) for each in names]
    panels = [comparison.Panel(label, points) for label in ("return", "packets")]
    marks = comparison.Marks("critical delay, predicted (periods)", [0.75, np.inf])
    assert_nothing_is_cut_off(comparison.draw(axes, panels, marks))
    curves = {f"{name} as published": [np.arange(30.0)] * 3 for name in "abcd"}
    panel = learning_curve.Panel(curves, 128, "Multiplexer (k = 5)")
    for one in (True, False):
        assert_nothing_is_cut_off(learning_curve.draw_panels([panel] * 3, 3, one))


def test_lines_beyond_the_colours_have_other_dashes() -> None:
    curves = {f"model {k}": [np.arange(3.0)] for k in range(2 * len(style.COLOURS))}
    lines = [
        line
        for line in learning_curve.draw(curves).axes[0].lines
        if not str(line.get_label()).startswith("_")
    ]
    looks = {(line.get_color(), line.get_linestyle()) for line in lines}
    assert len(lines) == len(looks) == 2 * len(style.COLOURS)


def test_an_only_episode_is_seen() -> None:
    (curve,) = learning_curve.draw({"a": [np.ones(1)] * 2}).axes
    assert curve.lines[-1].get_marker() == "o"
    component: Any = type("Component", (), {"name": "x", "label": "x"})
    (covered,) = coverage.draw({"a": [np.ones(1)]}, (component, component), 5).axes
    assert covered.lines[-1].get_marker() == "o"


def test_a_single_run_needs_no_scale_of_colours() -> None:
    shares = Shares(np.array([5, 10]), np.full((2, 2), 0.5))
    alone = actions.draw([actions.Line(shares, 12.5)], "a")
    assert len(alone.axes) == 2
    assert alone.get_suptitle() == "a: 1 run, average return 12.5"
    several = actions.draw([actions.Line(shares, 12.5), actions.Line(shares, 13.0)], "a")
    assert len(several.axes) == 3
    assert several.get_suptitle() == "a: 2 runs"


def test_long_texts_break_behind_a_plus() -> None:
    assert style.wrapped("cartpole+actor.N=40+critic.N=40 seed 0", 20) == (
        "cartpole+\nactor.N=40+\ncritic.N=40 seed 0"
    )
    assert style.wrapped("cartpole+actor.N=40 seed 0", 60) == "cartpole+actor.N=40 seed 0"


@pytest.mark.parametrize(("numbers", "said"), [([3, 3], "3"), ([1200, 5], "5 to 1,200")])
def test_counts_are_said_as_one_or_a_range(numbers: list[int], said: str) -> None:
    assert style.spanned(numbers) == said


@pytest.mark.parametrize(
    ("name", "words"),
    [("a.png", "a .gif or .mp4 file"), ("no/a.gif", "make it first")],
)
def test_an_animation_needs_a_name_and_a_folder(
    runs: dict[str, str], capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["plot", "packets", runs["agents"], "-o", name])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
