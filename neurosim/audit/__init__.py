"""Each unit of a recorded run, rebuilt from its own inbox alone and compared bit for bit."""

from neurosim.audit.auditor import audit
from neurosim.audit.report import Mismatch, Report

__all__ = ["Mismatch", "Report", "audit"]
