"""A page about runs: one HTML file that needs no network, its figures drawn by plotly.js."""

from neurosim.report.page import write_page

__all__ = ["write_page"]
