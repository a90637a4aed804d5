"""What is shipped, and what the tools that guard the source say of it."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
MODELS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "models").rglob("*.toml"))
SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "neurosim").rglob("*.py"))
PAGE = [f"neurosim/report/page.{suffix}" for suffix in ("css", "html", "js")]


def check(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tool(module: str, script: str) -> list[str | Path]:
    """How to call a tool of this Python, if it is installed."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    path = Path(sys.executable).with_name(script)
    return [path] if path.exists() else [sys.executable, "-m", module]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Wheel and source distribution, built from a copy of the checkout."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed, and building would fetch it")
    source = tmp_path_factory.mktemp("source") / "neurosim"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".*", "runs", "_build", "__pycache__")
    )
    out = tmp_path_factory.mktemp("dist")
    for target in ("sdist", "wheel"):
        check(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", out, cwd=source)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_holds_the_package_its_models_and_nothing_else(built: tuple[Path, Path]) -> None:
    names = zipfile.ZipFile(built[0]).namelist()
    package = sorted(name for name in names if name.startswith("neurosim/"))
    models = [f"neurosim/{name}" for name in MODELS]
    assert package == sorted([*SOURCES, *PAGE, "neurosim/py.typed", *models])
    info = {name.split("/")[0] for name in names} - {"neurosim"}
    assert len(info) == 1
    assert info.pop().endswith(".dist-info")


def test_the_source_distribution_makes_the_same_wheel(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    wheel, sdist = built
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    for name in ("README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "tests/test_package.py"):
        assert (source / name).is_file(), name
    check(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "again", cwd=source)
    again = zipfile.ZipFile(source / "again" / wheel.name)
    first = zipfile.ZipFile(wheel)
    assert sorted(again.namelist()) == sorted(first.namelist())
    for name in first.namelist():
        assert again.read(name) == first.read(name), name


def test_from_the_wheel_alone_the_command_finds_its_models(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    zipfile.ZipFile(built[0]).extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import neurosim.cli, neurosim.spec\n"
        "assert neurosim.__file__.startswith(sys.argv[1]), neurosim.__file__\n"
        "print(*sorted(neurosim.spec.names() + neurosim.spec.studies()), sep='\\n')\n"
        "neurosim.spec.load('cartpole')\n"
    )
    names = check(sys.executable, "-c", code, tmp_path, cwd=tmp_path).split()
    assert names == sorted(name.removeprefix("models/").removesuffix(".toml") for name in MODELS)


@pytest.fixture(scope="module")
def installed(
    built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, dict[str, str]]:
    """A new environment with the wheel alone, which nobody may write to; the folder of its package;
    and variables with which it finds this environment's libraries, and an empty cache folder."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed")
    new = tmp_path_factory.mktemp("environment")
    venv.create(new, with_pip=False)
    script = "neurosim.exe" if sys.platform == "win32" else "neurosim"
    python = new / Path(sys.executable).parent.name / Path(sys.executable).name
    pip = [sys.executable, "-m", "pip", "--python", python, "install"]
    check(*pip, "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", built[0])
    (package,) = new.rglob("site-packages/neurosim")
    for path in (*package.rglob("*"), package):
        path.chmod(path.stat().st_mode & ~0o222)
    variables = {
        "PYTHONPATH": sysconfig.get_path("purelib"),  # as a path alone it has no editable installs
        "NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "PATH": os.environ["PATH"],
        "MPLBACKEND": "Agg",
    }
    return python.with_name(script), package, variables


def written(folder: Path) -> dict[Path, int]:
    """Files below a folder, and when each was last written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_an_installed_wheel_works_where_it_cannot_be_written_to(
    installed: tuple[Path, Path, dict[str, str]], tmp_path: Path
) -> None:
    """The command runs, and a kernel is compiled into the cache folder and nowhere else."""
    command, package, variables = installed
    before = written(package)
    assert "cartpole" in check(command, "list", cwd=tmp_path, env=variables)
    code = (
        "import numpy as np, neurosim\n"
        "from neurosim.kernels import rng\n"
        "rng.uniform(rng.mixed_key(1), 0, 0, np.uint64(0))\n"
        "print(neurosim.__file__)"
    )
    python = command.with_name(Path(sys.executable).name)
    said = check(python, "-c", code, cwd=tmp_path, env=variables).strip()
    assert Path(said).parent == package
    assert list(Path(variables["NUMBA_CACHE_DIR"]).rglob("rng.uniform-*.nbc"))
    assert written(package) == before


@pytest.mark.slow
def test_an_installed_wheel_trains_where_it_cannot_be_written_to(
    installed: tuple[Path, Path, dict[str, str]], tmp_path: Path
) -> None:
    command, package, variables = installed
    before = written(package)
    run = ("run", "cartpole", "--episodes", "2", "--quiet")
    assert "mean return" in check(command, *run, cwd=tmp_path, env=variables)
    assert (tmp_path / "runs" / "cartpole" / "seed-0000" / "run.h5").is_file()
    assert written(package) == before


def test_imports_only_go_down() -> None:
    assert "0 broken" in check(*tool("importlinter", "lint-imports"), "--no-cache")


def test_the_types_are_right() -> None:
    check(*tool("mypy", "mypy"))


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    cited = re.search(r"^version: [\"']?([^\"'\n]+)", (ROOT / "CITATION.cff").read_text(), re.M)
    assert cited is not None
    assert cited[1] == version
    changes = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", changes, re.M)
    assert released[0] == version
    date = re.search(r"^date-released: [\"']?([\d-]+)", (ROOT / "CITATION.cff").read_text(), re.M)
    assert date is None or f"## [{version}] - {date[1]}" in changes


def test_the_constraints_pin_all_that_is_required_within_its_floors() -> None:
    """And hold names and versions alone: no addresses, no options."""
    lines = (ROOT / "tests" / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in pins)
    versions = dict(line.split("==") for line in pins)
    assert len(versions) == len(pins)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    for requirement in map(Requirement, itertools.chain(project["dependencies"], *extras)):
        if requirement.name != "neurosim":
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)])


ALLOCATIONS = """
import importlib, pkgutil, tracemalloc

import numba, numpy as np
from numba.core.runtime import _nrt_python, rtsys

import neurosim.kernels
from neurosim import jit, spec
from neurosim.learners import MapProp, MonteCarlo
from neurosim.tasks import Environment

without = jit._without_reference_counts()
for info in pkgutil.iter_modules(neurosim.kernels.__path__):
    module = importlib.import_module("neurosim.kernels." + info.name)
    for value in vars(module).values():
        if isinstance(value, numba.core.dispatcher.Dispatcher):
            assert value.targetoptions.items() >= without.items(), value
            assert not value.targetoptions["fastmath"]

agents = [MapProp(spec.load(name).spec, 4, 2, 0) for name in ("cartpole", "mountaincar")]
observation = np.ones(4)
batches = [
    spec.load(name, {"batch.size": 2}).spec
    for name in ("multiplexer/thomas", "regression/map_prop_sl", "multiplexer/backprop")
]
learners = [MonteCarlo(s, Environment(s.task, s.actor.output), 0) for s in batches]

def play(steps):
    for agent in agents:
        agent.begin(observation)
        for _ in range(steps):
            agent.step(observation, 1.0)
        agent.end(observation, 1.0, False)
    for learner in learners:
        for _ in range(steps):
            learner.step()

@numba.njit
def allocate():
    return np.zeros(3).sum()

play(1)
allocate()
_nrt_python.memsys_enable_stats()
before = rtsys.get_allocation_stats()
play(100)
assert rtsys.get_allocation_stats() == before
allocate()
assert rtsys.get_allocation_stats() != before

tracemalloc.start()
play(100)
before, _ = tracemalloc.get_traced_memory()
play(100)
after, _ = tracemalloc.get_traced_memory()
assert after - before < 1000, after - before
"""


def test_kernels_allocate_nothing() -> None:
    """They are compiled without the runtime that could, and its counters stand still."""
    check(sys.executable, "-c", ALLOCATIONS)
