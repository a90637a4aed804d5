"""What the benchmarks share: rounds in turn, medians, C libraries, the table and its JSON.

Whatever is compared runs in turn, in one process, round by round, and ratios are taken round by
round, so that they hold where the machine's speed drifts.  A first round warms up and is not
counted.  Nothing asserts a time.
"""

from __future__ import annotations

import argparse
import atexit
import ctypes
import functools
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import llvmlite.binding

HERE = Path(__file__).parent
ROUNDS, QUICK_ROUNDS = 15, 3
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math")
# The last two let gcc vectorise loops with square roots and comparisons.
PACKAGES = ("neurosim", "numba", "llvmlite", "numpy", "gymnasium", "h5py", "torch")
OURS = "neurosim"
T = TypeVar("T")


def number(x: float, digits: int) -> str:
    """With so many significant digits, and as few letters as can be."""
    return f"{x:.0f}" if 10**digits <= abs(x) < 1e7 else f"{x:.{digits}g}"


class Spread(NamedTuple):
    """What the rounds gave."""

    median: float
    low: float
    high: float

    def text(self, digits: int) -> str:
        median, low, high = (number(x, digits) for x in self)
        return median if low == high else f"{median} ({low} to {high})"


class Line(NamedTuple):
    """A line of the table."""

    case: str  # what is measured
    who: str
    unit: str
    value: Spread
    ratio: Spread | None = None  # as a multiple of neurosim's value

    def text(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio.text(3)} x"
        return f"    {self.who:34} {self.value.text(4):26} {self.unit:22} {ratio}".rstrip()


Lines = Iterable[Line]
Measure = Callable[[bool], Lines]  # of a benchmark; the argument is whether it is to be quick


def spread(values: Iterable[float]) -> Spread:
    """Median, lowest and highest."""
    found = list(values)
    return Spread(statistics.median(found), min(found), max(found))


def rounds(quick: bool) -> int:
    return QUICK_ROUNDS if quick else ROUNDS


def cpu_seconds(call: Callable[[], Any]) -> float:
    """CPU time of a call, all threads, which other jobs on the machine disturb least."""
    start = time.process_time()
    call()
    return time.process_time() - start


def in_turn(contestants: Mapping[str, Callable[[], T]], count: int) -> dict[str, list[T]]:
    """What each contestant returns in each round."""
    found: dict[str, list[T]] = {name: [] for name in contestants}
    for round_ in range(count + 1):
        for name, measured in contestants.items():
            value = measured()
            if round_ > 0:
                found[name].append(value)
    return found


def lines(case: str, unit: str, found: Mapping[str, Sequence[float]], scale: float = 1.0) -> Lines:
    """Lines of one case: values times `scale`, and ratios to the first contestant's."""
    ours = next(iter(found.values()))
    for n, (who, values) in enumerate(found.items()):
        ratios = [theirs / own for theirs, own in zip(values, ours, strict=True)]
        yield Line(
            case, who, unit, spread(scale * v for v in values), spread(ratios) if n else None
        )


@functools.cache
def _libraries() -> Path:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)


@functools.cache
def compiled(name: str, functions: tuple[Any, ...], *flags: str) -> ctypes.CDLL | None:
    """The C file of that name as a shared library; None, and a line that says so, without gcc.

    functions : (name, type returned, types of arguments) of each that is called.
    """
    if shutil.which("gcc") is None:
        print(f"  gcc is not installed: {name} is left out")
        return None
    path = _libraries() / f"{name}{''.join(flags)}.so"
    command = ["gcc", *FLAGS, *flags, "-shared", "-fPIC", "-o", path, HERE / name, "-lm"]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(path))
    for function, result, arguments in functions:
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    return library


def machine() -> dict[str, Any]:
    """What the figures were measured on, and with."""
    cpus = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (cpus.read_text().splitlines() if cpus.exists() else [])
        if line.startswith("model name")
    ]
    installed = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
    versions = {p: importlib.metadata.version(p) for p in PACKAGES if p in installed}
    return {
        "cpu": names[0] if names else platform.processor(),
        "target": llvmlite.binding.get_host_cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
        "llvm": ".".join(map(str, llvmlite.binding.llvm_version_info)),
        "gcc": _gcc_version(),
    }


def _gcc_version() -> str | None:
    if shutil.which("gcc") is None:
        return None
    return subprocess.run(
        ["gcc", "-dumpfullversion"], check=True, capture_output=True, text=True
    ).stdout.strip()


def show(measure: Measure, quick: bool) -> Iterator[Line]:
    """The lines of a benchmark, each of which is printed as soon as it is there."""
    case = None
    for line in measure(quick):
        if line.case != case:
            case = line.case
            print(f"  {case}", flush=True)
        print(line.text(), flush=True)
        yield line


def keep(path: Path, name: str, measured: Lines) -> None:
    """Put the lines of a benchmark into the JSON file, in the place of what it has of it."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content[name] = {
        "machine": machine(),
        "lines": [
            {
                "case": line.case,
                "who": line.who,
                "unit": line.unit,
                **_rounded(line.value),
                **({} if line.ratio is None else {"ratio": _rounded(line.ratio)}),
            }
            for line in measured
        ],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _rounded(value: Spread) -> dict[str, float]:
    return {key: float(f"{number:.4g}") for key, number in value._asdict().items()}


def arguments(description: str) -> argparse.ArgumentParser:
    """What every benchmark can be told."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, small sizes")
    parser.add_argument("--json", type=Path, metavar="PATH", help="keep the figures there")
    return parser


def run(name: str, measure: Measure, options: argparse.Namespace) -> None:
    """Carry out one benchmark."""
    print(f"{name}: medians (lowest to highest); x: as a multiple of the first line's", flush=True)
    found = list(show(measure, options.quick))
    if options.json is not None:
        keep(options.json, name, found)


def main(file: str, measure: Measure, description: str) -> None:
    """A benchmark as a script."""
    run(Path(file).stem, measure, arguments(description).parse_args())
