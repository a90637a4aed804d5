"""Settings of the documentation's build: sphinx-build -W -b html docs docs/_build."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "neurosim"
author = "The neurosim developers"
release = version = installed("neurosim")

extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings", "generated"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"neurosim {release}"
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
