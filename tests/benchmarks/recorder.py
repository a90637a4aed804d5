"""What recording costs: CPU an event, bytes, speed of reading, memory, beside h5py alone.

    python tests/benchmarks/recorder.py [--quick] [--json PATH] [--events 1e8]

The events are those of a learning async/cartpole, repeated. Each measurement is a process of its
own, the reference's between ours: h5py's gzip filter writing the same columns into one file that it
keeps open. CPU is that of all threads, and includes sealing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness import OURS, Line, arguments, in_turn, lines, run, spread

import neurosim
from neurosim.record import FolderStore, Recorder, open_run, schema, seal

ROUNDS = 3
EVENTS = 5_000_000
STEP = 10_000  # events handed over at a time, as those of a step are
KINDS = (("gzip", "float32"), ("gzip", "float64"), ("lz4", "float32"), ("none", "float32"))
Columns = dict[str, np.ndarray]


def make_events(path: Path) -> None:
    """Events of 60 steps of a run that has learned for a while."""
    window = {"record": [{"episodes": [50], "steps": [0, 60]}], "task.episodes": 50}
    with neurosim.simulate(neurosim.load("async/cartpole", window)) as run:
        events = run.windows[0].events
        plain = {  # without the names of kinds, which a .npz file does not keep
            name: np.frombuffer(column[...].tobytes(), column.dtype.str)
            for name, column in events.items()
        }
        np.savez(path, **plain)


def repeated(path: Path, values: str, total: int) -> Iterator[Columns]:
    """The columns of one step after another, `total` events in all."""
    columns: Columns = dict(np.load(path))
    columns["value"] = columns["value"].astype(values)
    columns["kind"] = columns["kind"].astype(schema.KIND)
    span = int(np.ptp(columns["time"]))
    steps = len(columns["time"]) // STEP
    for k in range(total // STEP):
        rows = slice(k % steps * STEP, (k % steps + 1) * STEP)
        step = {name: column[rows] for name, column in columns.items()}
        step["time"] = step["time"] + k // steps * span
        yield step


def write_ours(folder: Path, events: Iterator[Columns], compression: str) -> Path:
    """Record and seal."""
    with Recorder(FolderStore(folder), compression) as recorder:
        for k, step in enumerate(events, start=1):
            for name, column in step.items():
                recorder.append(f"{schema.EVENTS}/{name}", column)
            if k % 1000 == 0:
                recorder.commit()
        recorder.commit()
    return seal(folder, {}, compression)


def write_h5py(folder: Path, events: Iterator[Columns]) -> Path:
    """The same columns by h5py alone."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.h5"
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        buffer: dict[str, list[np.ndarray]] = {}
        for step in events:
            for name, column in step.items():
                if name not in file:
                    file.create_dataset(
                        name,
                        (0,),
                        column.dtype,
                        maxshape=(None,),
                        chunks=(schema.EVENT_CHUNK_ROWS,),
                        compression="gzip",
                        compression_opts=1,
                        shuffle=True,
                    )
                    buffer[name] = []
                buffer[name].append(column.copy())
                if len(buffer[name]) == 13:
                    grow(file[name], buffer[name])
        for name, columns in buffer.items():
            grow(file[name], columns)
    return path


def grow(dataset: h5py.Dataset, columns: list[np.ndarray]) -> None:
    """Write what is held back."""
    rows = sum(map(len, columns))
    if rows:
        dataset.resize(len(dataset) + rows, axis=0)
        dataset[-rows:] = np.concatenate(columns)
        columns.clear()


def measure_one(source: Path, total: int, who: str, compression: str, values: str) -> None:
    """In a process of its own: print CPU ns an event, bytes an event, M events read/s, peak MB."""
    with tempfile.TemporaryDirectory() as folder:
        for _ in repeated(source, values, STEP):
            pass
        began = time.process_time()
        for _ in repeated(source, values, total):
            pass  # making the events is not part of it
        making = time.process_time() - began
        began = time.process_time()
        events = repeated(source, values, total)
        run = Path(folder) / "run"
        path = write_ours(run, events, compression) if who == OURS else write_h5py(run, events)
        cpu = time.process_time() - began - making
        speed = reading(path, total) if who == OURS else 0.0
        print(1e9 * cpu / total, path.stat().st_size / total, speed, peak_memory())


def peak_memory() -> float:
    """Of this process, in MB; nan where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return np.nan
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


def reading(path: Path, total: int) -> float:
    """Million rows a second of the column that is slowest to read, a block at a time."""
    slowest = np.inf
    with open_run(path) as run:
        for column in dict(run.table(schema.EVENTS).items()).values():
            began = time.perf_counter()
            assert sum(len(column[a:b]) for a, b in column.blocks()) == total
            slowest = min(slowest, total / (time.perf_counter() - began) / 1e6)
    return slowest


def in_process(source: Path, total: int, who: str, *kind: str) -> list[float]:
    """What `measure_one` prints."""
    command = [sys.executable, __file__, "--events", str(total), "--one", str(source), who, *kind]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(x) for x in done.stdout.split()]


def measure(quick: bool, events: float | None = None) -> Iterator[Line]:
    """All kinds; quick: once, and fewer events where no number is given."""
    total = int(events or (EVENTS // 10 if quick else EVENTS)) // STEP * STEP
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "events.npz"
        make_events(source)
        for kind in KINDS:
            case = ", ".join(kind)
            recorders = (OURS, "h5py") if kind[0] == "gzip" else (OURS,)
            contestants = {who: partial(in_process, source, total, who, *kind) for who in recorders}
            found = in_turn(contestants, 1 if quick else ROUNDS)
            columns = {who: list(zip(*rows, strict=True)) for who, rows in found.items()}
            for n, unit in enumerate(("ns CPU an event", "bytes an event")):
                yield from lines(case, unit, {who: c[n] for who, c in columns.items()})
            for n, unit in ((2, "M rows read/s"), (3, "MB at most")):
                yield Line(case, OURS, unit, spread(columns[OURS][n]))


def main() -> None:
    """The benchmark, or one of its processes."""
    parser = arguments(__doc__)
    parser.add_argument("--events", type=float, help=f"instead of {EVENTS:.0e}")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        source, *what = options.one
        measure_one(Path(source), int(options.events), *what)
        return
    run("recorder", partial(measure, events=options.events), options)


if __name__ == "__main__":
    main()
