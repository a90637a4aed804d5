"""Where runs come from, and how to make them again."""

import json
from collections.abc import Sequence
from html import escape

from neurosim.errors import InputError
from neurosim.report.subjects import Subject


def provenance(subjects: Sequence[Subject]) -> str:
    """HTML: a table of the runs, then each model file with the command that runs it."""
    rows = "".join(_row(subject) for subject in subjects)
    heads = "".join(
        f"<th>{each}</th>" for each in ("run", "seed", "state", "begun", "versions", "recorded")
    )
    table = f'<div class="wide"><table><tr>{heads}</tr>{rows}</table></div>'
    models: dict[str, list[Subject]] = {}
    for subject in subjects:
        models.setdefault(subject.run.model, []).append(subject)
    return table + "".join(_model(text, its) for text, its in models.items())


def _row(subject: Subject) -> str:
    run = subject.run
    versions = json.loads(run.attribute("versions"))
    try:
        windows = f"{len(run.windows)} windows"
    except InputError:
        windows = "windows of an older format"
    cells = (
        str(subject.path),
        str(run.seed),
        "complete" if run.complete else "not complete",
        str(run.attribute("created")),
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        windows,
    )
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _model(text: str, subjects: Sequence[Subject]) -> str:
    """A model file, and the commands that run it with each seed."""
    commands = "\n".join(
        f"neurosim run model.toml --seed {seed}"
        for seed in sorted({subject.run.seed for subject in subjects})
    )
    name = escape(subjects[0].model)
    return (
        f"<h3>{name}</h3><p>The whole model file, every setting applied. Saved as "
        "<code>model.toml</code>, this makes the same bits again with the versions above:</p>"
        f"<pre>{commands}</pre><pre>{escape(text)}</pre>"
    )
