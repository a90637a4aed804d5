"""Every public name is documented, and the docstring says what its rule asks for.

Public are the names of `neurosim.__all__`, and the functions, classes and methods without a leading
underscore that are defined in the modules below.  Of each:

- there is a docstring;
- a parameter that takes an array (annotated `Floats`, `Integers`, `NDArray[...]` or a list of
  these) has its shape in the docstring: a paragraph has its name, and a tuple in brackets, such as
  (n,); or the docstring says "Takes what `f` takes", and f's has it;
- if its own body raises InputError or RunError, the docstring says so: in a section Raises, or in
  the words "Raises InputError";
- the parameters that a section Parameters names are those that there are;
- fields of public NamedTuples that hold arrays have their shape in the comment behind them, or the
  class has one shape for all in its docstring.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import neurosim

ARRAY = re.compile(r"\b(Floats|Integers|NDArray\[[^]]*\])")
BRACKETS = re.compile(r"\(((?:[^()]|\([^()]*\))*)\)")
PACKAGES = ("neurosim.analysis", "neurosim.studies")
MODULES = ("record.reader", "spec", "experiment", "sweep", "rerecording", "errors")


class Documented(NamedTuple):
    """A public function, class or method."""

    name: str
    what: Any


def modules() -> Iterator[ModuleType]:
    """The modules that hold what is public."""
    for package in map(importlib.import_module, PACKAGES):
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(info.name)
    for name in MODULES:
        yield importlib.import_module(f"neurosim.{name}")


def public() -> Iterator[Documented]:
    """All that is public."""
    for name in neurosim.__all__:
        yield Documented(f"neurosim.{name}", getattr(neurosim, name))
    for module in modules():
        for name, what in vars(module).items():
            own = getattr(what, "__module__", None) == module.__name__
            if name.startswith("_") or not own or not callable(what):
                continue
            full = f"{module.__name__}.{name}"
            if inspect.isfunction(what) or inspect.isclass(what):
                yield Documented(full, what)
            if inspect.isclass(what):
                for key, part in vars(what).items():
                    function = part.fget if isinstance(part, property) else part
                    if not key.startswith("_") and inspect.isfunction(function):
                        yield Documented(f"{full}.{key}", function)


PUBLIC = {each.name: each.what for each in public()}
FUNCTIONS = {name: what for name, what in PUBLIC.items() if inspect.isfunction(what)}
CLASSES = {name: what for name, what in PUBLIC.items() if inspect.isclass(what)}


def annotations_of(function: Any) -> dict[str, str]:
    """Annotations of a function's parameters as they stand in its source."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, ast.FunctionDef)
    parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return {each.arg: ast.unparse(each.annotation) for each in parameters if each.annotation}


def raised_by(function: Any) -> set[str]:
    """InputError and RunError, where the body of a function itself raises them."""
    (function_node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    found = set()
    for node in ast.walk(function_node):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found.add(ast.unparse(node.exc.func))
    return found & {"InputError", "RunError"}


def has_shape(text: str) -> bool:
    """Whether there is a tuple of lengths such as (n,), (2, units) or (..., n(l) + 1) in a text."""
    for inner in BRACKETS.findall(text):
        lengths = inner.split(",")
        if len(lengths) > 1 and all(
            re.fullmatch(r"[\w.+*/(){} -]{0,20}", each) for each in lengths
        ):
            return True
    return False


def section(docstring: str, title: str) -> str:
    """The text of a section of a docstring, "" where it has none."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", docstring, re.M | re.S)
    return found[1] if found else ""


def named(text: str) -> set[str]:
    """The names of the entries of a section, without their shapes."""
    heads = re.findall(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \([^:]*\))?(?: :|$)", text, re.M)
    return {name.lstrip("*") for head in heads for name in head.split(", ")}


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_has_a_docstring(name: str) -> None:
    what = PUBLIC[name]
    if inspect.isclass(what):
        said = vars(what).get("__doc__") or ""
        assert said, name
        assert not said.startswith(f"{what.__name__}("), f"{name} has the one that Python makes"
    else:
        assert inspect.getdoc(what), name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arrays_that_a_function_takes_have_shapes(name: str) -> None:
    said = inspect.getdoc(FUNCTIONS[name]) or ""
    for other in re.findall(r"Takes what `(\w+)`\s+takes", said):
        said += "\n\n" + (inspect.getdoc(FUNCTIONS[f"{name.rpartition('.')[0]}.{other}"]) or "")
    for parameter, annotation in annotations_of(FUNCTIONS[name]).items():
        if ARRAY.search(annotation):
            where = [line for line in said.split("\n\n") if re.search(rf"\b{parameter}\b", line)]
            assert any(map(has_shape, where)), f"{name}: {parameter}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_that_a_function_raises_are_named(name: str) -> None:
    said = inspect.getdoc(FUNCTIONS[name]) or ""
    for error in raised_by(FUNCTIONS[name]):
        assert error in named(section(said, "Raises")) or re.search(rf"Raises? {error}", said), name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_that_are_explained_are_those_that_there_are(name: str) -> None:
    explained = named(section(inspect.getdoc(FUNCTIONS[name]) or "", "Parameters"))
    assert explained <= set(inspect.signature(FUNCTIONS[name]).parameters), name


@pytest.mark.parametrize("name", CLASSES)
def test_fields_that_hold_arrays_have_shapes(name: str) -> None:
    if not issubclass(CLASSES[name], tuple):
        return
    source = textwrap.dedent(inspect.getsource(CLASSES[name])).splitlines()
    for line in source:
        field = re.match(r"    (\w+): ([^#=]+)", line)
        if field and ARRAY.search(field[2]):
            said = (line.partition("#")[2], CLASSES[name].__doc__ or "")
            assert any(map(has_shape, said)), f"{name}: {field[1]}"


def test_the_rule_sees_what_it_is_to_see() -> None:
    """Each part of it, on a function that breaks it."""
    source = Path(__file__).read_text("utf-8")
    assert "def undocumented" in source
    assert annotations_of(undocumented) == {"values": "Floats"}
    assert raised_by(undocumented) == {"InputError"}
    assert not has_shape("of one number (not an array) or two")
    for shape in ("(n,)", "(2, units)", "(..., n(l))", "(n_steps + 1,)", "(steps, L-1)"):
        assert has_shape(shape), shape
    said = (
        "Do.\n\nParameters\n----------\na (n,), b : what\n    more\nc : it\n\nRaises\n------\nE : x"
    )
    assert named(section(said, "Raises")) == {"E"}
    assert len(PUBLIC) > 150


def undocumented(values: Floats) -> None:  # type: ignore[name-defined]  # noqa: F821
    raise InputError("never")  # type: ignore[name-defined]  # noqa: F821
