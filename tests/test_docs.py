"""The documentation builds without a warning, and what it shows can be done.

Code blocks are taken from the pages and run in order, each page in a folder of its own, as a reader
would run them, but for their size: `shortened` says which numbers become smaller, and which options
are added.  Shell blocks are commands of neurosim; the others, which install and test, are the
continuous integration's own.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from neurosim import spec
from neurosim.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RUNNABLE = [
    *(ROOT / "README.md", DOCS / "tutorial.md", DOCS / "export.md"),
    *sorted((DOCS / "how-to").glob("*.md")),
]

NOT_OURS = re.compile(r"(python3 -m venv|source|pip|\.venv/bin/\S+)\b")
TOO_LONG = re.compile(
    r"neurosim reproduce table1\b"
)  # minutes even with --quick; test_reproduction
EPISODES = re.compile(r'((?:^|\W)(?:--)?(?:task\.)?episodes?"?\s?[:= ]\s?)(\d+(?:,\d+)*)', re.M)


class Block(NamedTuple):
    """A code block of a page."""

    language: str  # "" of shell commands
    text: str

    @property
    def file(self) -> str | None:
        """The file that it is, by the comment in its first line."""
        found = re.match(r"# (\S+\.\w+)\n", self.text)
        return found[1] if found else None


def blocks_of(page: Path) -> list[Block]:
    """The code blocks of a page, but for output and directives."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    return [Block(*each) for each in found if each[0] != "text"]


def shortened(text: str) -> str:
    """A block with fewer episodes, seeds, samples and trials, and one process."""

    def fewer(found: re.Match[str]) -> str:
        numbers = [int(number) for number in found[2].split(",")]
        last = range(5 - len(numbers), 5)  # the last one is at most 4, those before it are less
        return found[1] + ",".join(str(min(pair)) for pair in zip(numbers, last, strict=True))

    text = EPISODES.sub(fewer, text)
    text = re.sub(r"(--seeds 0|seeds = \[0, ?)(:?)\d+", r"\1\g<2>2", text)
    text = re.sub(r"--workers \d+", "--workers 1", text)
    text = re.sub(r"--trials \d+", "--trials 2 --seeds 1000:1001", text)
    return re.sub(r"batch\.samples=[\d_]+", "batch.samples=1000", text)


def commands_of(block: Block, page: Path) -> list[str]:
    """The commands of neurosim in a shell block, comments left out, in their short form."""
    commands = []
    for line in block.text.splitlines():
        line = line.partition("  #")[0].rstrip()
        if not line or NOT_OURS.match(line) or TOO_LONG.match(line):
            continue
        assert line.startswith("neurosim "), f"{page.name}: who runs {line!r}?"
        line = shortened(line)
        words = line.split()
        if words[1] == "run" and not re.search(r"--episodes|[.](episodes|samples)=", line):
            line += " --episodes 4"
        if words[1] in ("compare", "tune") and "episodes" not in line and ".toml" not in line:
            line += " --set task.episodes=4"
        if words[1] == "run" and page.name == "README.md":
            # its lines are examples, each for itself, though some are on the runs of others
            line += " --force"
            line += "" if "--record" in line or "batch" in line else ' --record "steps=0:2"'
        commands.append(line)
    return commands


def carry_out(command: str) -> None:
    """A command, into a file where it says so; an exit status other than 0 is an error."""
    words, _, file = command.partition(" > ")
    if not file:
        main(shlex.split(words)[1:])
        return
    with Path(file).open("w") as out, redirect_stdout(out):
        main(shlex.split(words)[1:])


def edit(block: Block, file: Path) -> None:
    """Give keys of a model file the values that a block of TOML has, as in an editor."""
    text = file.read_text()
    for line in block.text.splitlines():
        key = line.split(" = ")[0]
        text, n = re.subn(rf"^{re.escape(key)} = [^#\n]*", f"{line} ", text, flags=re.M)
        assert n, f"{file} has no key {key}"
    file.write_text(text)


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.stem)
def test_what_a_page_shows_can_be_done(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, Any] = {}
    shown = ""
    for number, block in enumerate(blocks_of(page)):
        if page.name == "README.md":  # whose sections stand alone
            Path(tmp_path, str(number)).mkdir()
            monkeypatch.chdir(tmp_path / str(number))
        if block.file:
            Path(block.file).write_text(shortened(block.text))
        elif block.language == "toml":
            if made := re.findall(r" > (\S+\.toml)", shown):
                edit(block, Path(made[-1]))
            else:
                spec.load("cartpole", {"task": msgspec.toml.decode(block.text)})
        elif block.language == "python":
            exec(compile(shortened(block.text), f"{page.name}: {block.text[:40]}", "exec"), names)
        else:
            for command in commands_of(block, page):
                carry_out(command)
                shown += f"{command}\n"
    if "neurosim" in shown or names:
        assert capsys.readouterr().out


def test_the_program_of_scale_out_runs_as_a_script(tmp_path: Path) -> None:
    block = [each for each in blocks_of(DOCS / "scale-out.md") if each.language == "python"][-1]
    short = 'load("cartpole", {"task.episodes": 2})'
    text = block.text.replace('load("cartpole")', short).replace("range(10)", "range(2)")
    assert short in text
    (tmp_path / "program.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "seed-0000" in done.stdout
    assert "seed-0001" in done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built from scratch with warnings as errors."""
    pytest.importorskip("sphinx", reason="the extra [docs] is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", out / "trees", DOCS, out / "html"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_every_page_is_built_and_found_from_the_first_one(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")}
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    assert pages <= built
    linked = re.findall(r'href="([\w/.-]+)\.html"', (site / "index.html").read_text("utf-8"))
    assert pages - {Path("index")} <= {Path(link) for link in linked}


def test_the_reference_of_model_files_has_every_key_with_what_it_means(site: Path) -> None:
    page = (site / "reference" / "model-file.html").read_text("utf-8")
    rows = re.findall(r"<tr.*?</tr>", page, re.S)
    cells = [[re.sub("<.*?>", "", cell) for cell in re.split(r"</t[dh]>", row)] for row in rows]
    told = {row[0].strip(): row[3].strip() for row in cells if len(row) > 3}
    sections = [spec.Task, spec.Learning, spec.Actor, spec.Critic, spec.Adam, spec.TeamTiming]
    sections += [spec.Record, spec.Storage, spec.Batch, spec.MonteCarloActor]
    for section in sections:
        for field in msgspec.structs.fields(section):
            assert told.get(field.encode_name), f"{section.__name__}: {field.encode_name}"
    assert "temperature of a softmax output" in told["T"]


def test_the_reference_of_the_command_line_has_every_command(site: Path) -> None:
    page = (site / "reference" / "command-line.html").read_text("utf-8")
    text = re.sub("<.*?>", "", page)
    for command in ("run", "resume", "list", "show", "audit", "compare", "plot", "plot flow"):
        assert f"usage: neurosim {command} [-h]" in text, command
    for option in ("--seeds FIRST:LAST+1", "--scheduler ADDRESS|FILE"):
        assert option in text


def test_the_reference_of_python_has_parameters_and_what_is_raised(site: Path) -> None:
    text = (site / "reference" / "api.html").read_text("utf-8")
    (load,) = re.findall(r'<dt[^>]*id="neurosim\.load".*?</dl>\s*</dd>\s*</dl>', text, re.S)
    plain = re.sub("<.*?>", "", load)
    assert re.search(r"overrides.* – values by dotted key", plain)
    assert re.search(r"Raises:\s*InputError – no such model", plain)


POINTER = re.compile(r"`((?:[\w-]+/)*[\w-]+\.py)(?:: (\w+))?`")


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda p: p.stem)
def test_files_and_names_that_a_page_points_at_are_there(page: Path) -> None:
    for file, name in POINTER.findall(page.read_text("utf-8")):
        found = [path for path in (ROOT / file, ROOT / "neurosim" / file) if path.is_file()]
        assert found, f"{file} is not there"
        if name:
            defined = rf"^(?:(?:def|class) {name}\b|{name}\b.* = )"
            assert re.search(defined, found[0].read_text("utf-8"), re.M), f"{file} has no {name}"
