"""What tests of the record layer share: places to record to, records to read, everything in one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import neurosim
from neurosim.record import (
    Column,
    Contents,
    FolderStore,
    MemoryStore,
    Recorder,
    Run,
    merge,
    open_run,
    schema,
)
from neurosim.spec import Compression

ROOT: dict[str, str | int] = {
    "model": 'task = "cartpole"\n',
    "model_name": "cartpole",
    "seed": 7,
    "mode": "synchronous",
}
REMEDY = "Make room."


def same_bits(a: Any, b: Any) -> bool:
    """Equal in dtype, shape and every bit: NaN payloads and the sign of zero count."""
    a, b = np.asarray(a), np.asarray(b)
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


class Place:
    """Where a test records to: a folder, or memory.

    Parameters
    ----------
    kind : "memory" or "folder".
    folder : for what lies on disk.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self._store: Any = None

    def begin_with(self, file: Path) -> None:
        """Have a file that the record goes on from, as a first segment in memory."""
        self._store = MemoryStore([file])

    def store(self, closed: int = 0) -> FolderStore | MemoryStore:
        """A store that goes on from the first `closed` segments; it forgets the others."""
        if self.kind == "folder":
            self._store = FolderStore(self.folder, closed)
        else:
            before = self._store.sources()[:closed] if self._store else []
            self._store = MemoryStore(before)
        return self._store  # type: ignore[no-any-return]

    def sources(self) -> list[Any]:
        """The closed segments."""
        return self._store.sources()  # type: ignore[no-any-return]

    def open(self) -> Run:
        """What was recorded, opened for reading."""
        if self.kind == "folder":
            return open_run(self.folder)
        return Run(Path("memory"), Contents(self.sources))

    def merged(self, compression: Compression = "gzip") -> Path:
        """All of it in one file."""
        return merge(self.sources(), self.folder / "all.h5", {}, compression, REMEDY)


@contextmanager
def small_chunks(chunk_bytes: int = 64, event_rows: int = 4) -> Iterator[None]:
    """Chunks of a few rows: 8 numbers of 8 bytes, 4 events."""
    before = schema.CHUNK_BYTES, schema.EVENT_CHUNK_ROWS
    schema.CHUNK_BYTES, schema.EVENT_CHUNK_ROWS = chunk_bytes, event_rows
    try:
        yield
    finally:
        schema.CHUNK_BYTES, schema.EVENT_CHUNK_ROWS = before


def record_steps(recorder: Recorder, start: int, stop: int) -> None:
    """Append rows whose values are their own row numbers."""
    rows = np.arange(start, stop)
    recorder.append("steps/reward", rows.astype("f8"))
    recorder.append("steps/episode", rows.astype("i4"))
    recorder.append("steps/observation", np.stack([rows, -rows], axis=1).astype("f8"))


def record_run(folder: Path, segments: int = 3, rows: int = 10) -> Path:
    """Record `segments` closed segments of `rows` steps."""
    with Recorder(FolderStore(folder)) as recorder:
        recorder.annotate("", ROOT)
        for segment in range(segments):
            record_steps(recorder, segment * rows, (segment + 1) * rows)
            recorder.commit()
    return folder


def record_windows(recorder: Recorder, windows: int = 3, steps: int = 5, events: int = 40) -> None:
    """A record with something in every table that a run has, its values random."""
    rng = np.random.default_rng(0)
    rows = windows * steps
    recorder.annotate("", {**ROOT, "mode": "asynchronous", "model": "# of many lines\n" * 30})
    record_steps(recorder, 0, rows)
    recorder.append("steps/action", np.arange(rows, dtype="i4"))
    recorder.append("episodes/return", rng.normal(size=windows))
    recorder.append("episodes/length", np.full(windows, steps, "i4"))
    recorder.append("windows/first_step", np.arange(windows) * steps)
    recorder.append("windows/n_steps", np.full(windows, steps, "i4"))
    recorder.append("windows/episode", np.arange(1, windows + 1, dtype="i4"))
    recorder.append("windows/first_row", np.arange(windows) * steps)
    recorder.append("windows/n_events", np.full(windows, steps * events))
    recorder.append("windows/complete", np.arange(windows) < windows - 1)
    recorder.append("windows/steps/step", np.arange(rows))
    recorder.append("windows/steps/first_event", np.arange(rows) * events)
    for team in ("actor", "critic"):
        for values in ("sampled", "relaxed"):
            recorder.append(f"windows/steps/{team}_{values}", rng.normal(size=(rows, 3)))
    for when in ("before", "after"):
        recorder.append(f"windows/actor/{when}/W1", rng.normal(size=(windows, 3, 2)))
        recorder.append(f"windows/actor/{when}/adam_count", rng.integers(9, size=windows))
    recorder.put("teams/actor/weights/initial/W1", rng.normal(size=(3, 2)))
    recorder.put("teams/actor/units/layer", np.array([1, 1, 2], "i2"))
    n = rows * events
    recorder.append("windows/events/time", np.cumsum(rng.integers(1000, size=n)))
    recorder.append("windows/events/team", rng.integers(2, size=n).astype("u1"))
    recorder.append("windows/events/kind", rng.integers(15, size=n).astype(schema.KIND))
    recorder.append("windows/events/value", rng.normal(size=n))
    recorder.append("windows/events/cause", rng.integers(-1, 9, size=n).astype("i4"))


def everything(run: Run) -> dict[str, Any]:
    """All that a reader can be asked for: bits of columns, attributes, what windows give."""
    found: dict[str, Any] = {}
    for name in [*run.contents.walk()]:
        node = run[name]
        found[f"{name}@"] = {key: plain(value) for key, value in node.attrs.items()}
        if isinstance(node, Column):
            found[name] = bits(node[...])
    for window in run.windows:
        k = window.number
        found[f"window {k}"] = repr(window), window.first_step, window.complete
        found[f"window {k} bounds"] = bits(window.first_event)
        found[f"window {k} events"] = [bits(column[...]) for _, column in window.events.items()]
        for team in ("actor", "critic"):
            found[f"window {k} {team}"] = bits(window.sampled(team)), bits(window.relaxed(team))
            for state in (window.before(team), window.after(team)):
                found[f"window {k} {team}"] += tuple((key, bits(a)) for key, a in state.items())
    return found


def bits(array: Any) -> tuple[Any, ...]:
    """Dtype, with the names of its codes, shape and bytes."""
    array = np.asarray(array)
    return array.dtype, h5py.check_enum_dtype(array.dtype), array.shape, array.tobytes()


def plain(value: Any) -> Any:
    return bits(value) if isinstance(value, np.ndarray) else value


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python process that runs `code`."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(Path(neurosim.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def parts(folder: Path) -> list[Path]:
    """Files that are being written, or were when their process died."""
    return list(folder.rglob("*.part"))


def contents_of(folder: Path) -> dict[str, Any]:
    """Everything in the run.h5 of a run's folder but its date and how it was written.

    By path: dtype, shape and bytes of a dataset; by path and name: an attribute. Names of
    dimensions are left out: they are how other tools see a dataset.
    """
    of_dimensions = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"}
    found: dict[str, Any] = {}

    def visit(path: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            if node.is_scale:
                return
            value = node[()]
            found[path] = (node.dtype, node.shape, value.tobytes())
        for name in node.attrs.keys() - of_dimensions:
            found[f"{path}@{name}"] = str(node.attrs[name])

    with h5py.File(folder / "run.h5") as file:
        visit("", file)
        file.visititems(visit)
    del found["@created"], found["@segments"]
    return found
