"""Runs in the formats of other tools, one module each; see docs/export.md."""
