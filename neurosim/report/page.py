"""The page: its panels, put into one file with all that draws them."""

import importlib
import json
import re
from collections.abc import Sequence
from contextlib import ExitStack
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from neurosim.errors import InputError, RunError
from neurosim.report import activity, relaxation, returns, traffic, trajectories, weights
from neurosim.report.figures import Panel
from neurosim.report.headline import headline
from neurosim.report.provenance import provenance
from neurosim.report.subjects import Subject, in_detail, open_subjects


def write_page(runs: Sequence[Path], path: Path) -> None:
    """Write the page about some runs.

    Parameters
    ----------
    runs : folders of runs or run.h5 files.
    path : of the page.

    Raises
    ------
    InputError : one of them is not a run, or plotly is not installed.
    RunError : the file could not be written.
    """
    plotly = _plotly()
    with ExitStack() as stack:
        page = _page(open_subjects(stack, runs), plotly)
    try:
        path.write_text(page, "utf-8")
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror}.") from error


def panels(subjects: Sequence[Subject]) -> list[Panel]:
    """All panels that say something of these runs, in the order of the page."""
    shown = in_detail(subjects)
    of_episodes = [subject for subject in shown if not subject.batches]
    found = [returns.panel(subjects)]
    if of_episodes:
        makers = (trajectories.panel, activity.panel, relaxation.panel, traffic.panel)
        found += [make(of_episodes) for make in makers]
    found.append(weights.change_panel(shown))
    if of_episodes:
        found.append(weights.feedback_panel(of_episodes))
    return found


def _page(subjects: Sequence[Subject], plotly: str) -> str:
    made = panels(subjects)
    shown, total = len(in_detail(subjects)), len(subjects)
    note = ""
    if shown < total:
        note = f"Of the {total} runs, panels below the first one show {shown}, one of each model."
    plots = {
        f"{panel.key}-{k}": {"views": plot.views, "controls": plot.controls}
        for panel in made
        for k, plot in enumerate(panel.plots)
    }
    figures = json.dumps(plots, allow_nan=False, separators=(",", ":"))
    source = files("neurosim.report")
    style, script, frame = (
        (source / name).read_text("utf-8") for name in ("page.css", "page.js", "page.html")
    )
    return Template(frame).substitute(
        title=escape(", ".join(dict.fromkeys(subject.model for subject in subjects))),
        headline=headline(subjects),
        note=note,
        panels="\n".join(_section(panel) for panel in made),
        provenance=provenance(subjects),
        style=style,
        script=script,
        figures=figures.replace("<", "\\u003c"),  # so that no text ends the element
        plotly=plotly,
    )


def _section(panel: Panel) -> str:
    """HTML of a panel; its plots are drawn into it by the page's script."""
    places = "".join(
        f"<figure><figcaption>{escape(plot.title)}</figcaption>"
        f'<div class="controls"></div><div class="plot" id="{panel.key}-{k}"></div></figure>'
        for k, plot in enumerate(panel.plots)
    )
    missing = f'<p class="missing">{_marked(panel.missing)}</p>' if panel.missing else ""
    body = f'<div class="plots">{places}</div><p>{escape(panel.reading)}</p>' if places else ""
    return f'<section id="{panel.key}"><h2>{panel.title}</h2>{body}{missing}</section>'


def _marked(text: str) -> str:
    """HTML of a text whose `commands` are in backticks."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _plotly() -> str:
    """The source of plotly.js, of the version that is installed.  Raises InputError."""
    try:
        source: str = importlib.import_module("plotly.offline").get_plotlyjs()
    except ImportError:
        raise InputError("A report needs plotly: pip install 'neurosim[report]'.") from None
    return source
