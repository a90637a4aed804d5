"""Runs on disk: written in closed segments, sealed into one file, resumed from checkpoints, read.

A run is a folder with ``model.toml``, ``provenance.json``, ``checkpoint.h5``, ``segments/`` while
it is being written, and ``run.h5`` once it is sealed.
"""

from neurosim.record import checkpoint, schema
from neurosim.record.files import write_atomically
from neurosim.record.reader import Column, Group, Run, Table, open_run
from neurosim.record.segments import SegmentWriter, drop_segments, seal

__all__ = [
    "Column",
    "Group",
    "Run",
    "SegmentWriter",
    "Table",
    "checkpoint",
    "drop_segments",
    "open_run",
    "schema",
    "seal",
    "write_atomically",
]
