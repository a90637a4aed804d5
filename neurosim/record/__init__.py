"""Runs on disk: written in closed segments, sealed into one file, resumed from checkpoints, read.

A run is a folder with ``model.toml``, ``provenance.json``, ``checkpoints/``, ``segments/`` while it
is being written, and ``run.h5`` once it is sealed.
"""

from neurosim.record import checkpoint, schema
from neurosim.record.contents import Column, Contents, Group
from neurosim.record.files import filters, write_atomically
from neurosim.record.reader import Run, Table, Window, open_run
from neurosim.record.recorder import Recorder
from neurosim.record.sealing import drop_segments, merge, seal
from neurosim.record.stores import FolderStore, MemoryStore, numbered_segments

__all__ = [
    "Column",
    "Contents",
    "FolderStore",
    "Group",
    "MemoryStore",
    "Recorder",
    "Run",
    "Table",
    "Window",
    "checkpoint",
    "drop_segments",
    "filters",
    "merge",
    "numbered_segments",
    "open_run",
    "schema",
    "seal",
    "write_atomically",
]
