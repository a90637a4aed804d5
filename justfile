# Recipes of the continuous integration and of daily work; `just --list` names them.

python := ".venv/bin/python"

# Make the virtual environment with everything a developer needs.
setup:
    python3 -m venv .venv
    .venv/bin/pip install -e '.[dev]'

# What a checkout must pass, from scratch.
ci:
    bash .ci/run

# The test suite.
test *arguments:
    {{python}} -m pytest -n auto {{arguments}}

# Studies that take minutes, and the planted defects.
slow:
    {{python}} -m pytest -m slow

# Linters, types and import contracts.
lint:
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .
    .venv/bin/mypy
    .venv/bin/lint-imports

# The documentation, into docs/_build; a warning is an error.
docs:
    .venv/bin/sphinx-build -W -b html docs docs/_build

# Each planted defect must turn a test red.
mutants:
    {{python}} tests/mutants.py

# Speed, beside named references; such as: just bench agent_step batch --quick
bench *arguments:
    {{python}} tests/benchmarks {{arguments}}
