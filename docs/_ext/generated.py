"""Pages that are made from the package while the documentation is built.

A line `<!-- generated: NAME ARGUMENT -->` of a page stands for the Markdown that NAME makes.
"""

import contextlib
import importlib
import io
import os
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from fields import comments
from msgspec import inspect
from sphinx.application import Sphinx

import neurosim
from neurosim import spec
from neurosim.cli import main
from neurosim.errors import InputError

MARK = re.compile(r"^<!-- generated: (\w+) ?(\S*) -->$", re.M)
LINK = re.compile(r"\[([^\]]+)\]\(([\w./-]+)\)")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}


def fill(app: Sphinx, page: str, source: list[str]) -> None:
    """Make what a page asks for; links to folders, which a site does not show, become plain."""
    made = {
        "model": model_file,
        "commands": commands,
        "modules": modules,
        "names": names,
        "task": task,
    }
    text = MARK.sub(lambda found: "\n".join(made[found[1]](found[2])), source[0])
    folder = Path(app.srcdir, page).parent
    source[0] = LINK.sub(lambda link: link[1] if (folder / link[2]).is_dir() else link[0], text)


def model_file(kind: str) -> Iterator[str]:
    """The sections of a struct of `neurosim.spec`, a table of keys for each."""
    root = inspect.type_info(getattr(spec, kind))
    assert isinstance(root, inspect.StructType)
    yield from table(root, "", of_rules=())
    for field in root.fields:
        whole = next((t for t in parts(field.type) if isinstance(t, inspect.StructType)), None)
        if whole is None:
            continue
        brackets = "[[{}]]" if isinstance(field.type, inspect.ListType) else "[{}]"
        yield from ("", f"### `{brackets.format(field.name)}`", "", whole.cls.__doc__ or "", "")
        yield from table(whole, field.name, keys_of_rules(kind, field.name))


def table(section: inspect.StructType, name: str, of_rules: tuple[str, ...]) -> Iterator[str]:
    """A row for each key of a section that is a value."""
    yield from ("| key | value | default | meaning |", "|---|---|---|---|")
    for field in section.fields:
        is_section = any(isinstance(part, inspect.StructType) for part in parts(field.type))
        if is_section and not name:
            continue
        by_rule = field.encode_name in of_rules and not field.required
        default = "by rule" if by_rule else default_of(field)
        meaning = comments(section.cls)[field.name].replace("|", "\\|")
        key = field.encode_name
        yield f"| `{key}` | {value_of(field.type)} | {default} | {meaning} |"


def parts(kind: inspect.Type) -> Iterator[inspect.Type]:
    """A type, and the types that it consists of."""
    yield kind
    if isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from parts(each)
    if isinstance(kind, inspect.ListType):
        yield from parts(kind.item_type)


def default_of(field: inspect.Field) -> str:
    """What a key has where a model leaves it out, as TOML writes it."""
    if field.required:
        return "needed"
    default = field.default
    if default is msgspec.NODEFAULT:
        default = field.default_factory()
    if default is None or default in ({}, []):
        return ""
    if isinstance(default, str):
        return f'`"{default}"`'
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def value_of(kind: inspect.Type) -> str:
    """What a key can have, in words."""
    if isinstance(kind, inspect.UnionType):
        kinds = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        return ", or ".join(map(value_of, kinds))
    if isinstance(kind, inspect.LiteralType):
        return ", ".join(f'`"{each}"`' for each in kind.values)
    if isinstance(kind, inspect.ListType):
        return f"list of: {value_of(kind.item_type)}"
    if isinstance(kind, inspect.TupleType):
        return f"list of {len(kind.item_types)}: {value_of(kind.item_types[0])}"
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        word = "integer" if isinstance(kind, inspect.IntType) else "number"
        limits = ((">=", kind.ge), (">", kind.gt), ("<=", kind.le), ("<", kind.lt))
        given = [f"{sign} {bound:g}" for sign, bound in limits if bound is not None]
        if isinstance(kind, inspect.FloatType) and kind.le is None and kind.lt is None:
            given.append("or inf")
        if abs(kind.le or 0) == 1e300:
            given = [each for each in given if "e+300" not in each] + ["finite"]
        return " ".join([word, *given]).replace(" <", ", <").replace(" finite", ", finite")
    words = {inspect.StrType: "text", inspect.BoolType: "`true`, `false`", inspect.DictType: "keys"}
    return words[type(kind)]


def keys_of_rules(kind: str, section: str) -> tuple[str, ...]:
    """Keys of a team that some model that is shipped cannot leave out."""
    if section not in spec.TEAMS:
        return ()
    found = set()
    for name in spec.names():
        model = spec.load(name)
        if type(model.spec).__name__ != kind:
            continue
        for key in set(getattr(model.spec, section).__struct_fields__) - found:
            try:
                spec.load(name, {f"{section}.{key}": None})
            except InputError as error:
                if f"{section}.{key}: missing" in str(error):
                    found.add(key)
    return tuple(found)


def commands(_: str) -> Iterator[str]:
    """The help of every command."""
    with mock.patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}):
        yield from help_of(())


def help_of(command: tuple[str, ...]) -> Iterator[str]:
    """The help of a command, and of those below it."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        main([*command, "--help"])
    said = shown.getvalue()
    level = "#" * (2 + len(command[1:]))
    yield from ("", f"{level} `{' '.join(('neurosim', *command))}`", "")
    yield from ("```text", said.strip(), "```")
    below = re.match(r"usage: [^{\n]*\[-h\] \{([\w,-]+)\}", said)
    for name in below[1].split(",") if below else ():
        yield from help_of((*command, name))


def names(_: str) -> Iterator[str]:
    """What `neurosim` itself has."""
    yield "```{eval-rst}"
    for name in neurosim.__all__:
        if isinstance(getattr(neurosim, name), type):
            yield from (f".. autoclass:: neurosim.{name}", "   :members:", "")
        else:
            yield from (f".. autofunction:: neurosim.{name}", "")
    yield "```"


def task(name: str) -> Iterator[str]:
    """The docstring of a task, which is a page."""
    module, _, kind = name.rpartition(".")
    said = getattr(importlib.import_module(module), kind).__doc__
    yield from (f"## {kind}", "", re.sub("^##", "###", textwrap.dedent(said), flags=re.M))


def modules(name: str) -> Iterator[str]:
    """The public functions and classes of a module, or of all modules of a package."""
    module = importlib.import_module(name)
    path: Any = getattr(module, "__path__", None)
    below = [f"{name}.{info.name}" for info in pkgutil.iter_modules(path)] if path else [name]
    exported = {getattr(neurosim, each).__name__ for each in neurosim.__all__}  # by `names`
    for each in below:
        yield from (f"## `{each}`", "", "```{eval-rst}", f".. automodule:: {each}", "   :members:")
        yield from (f"   :exclude-members: {', '.join(sorted(exported))}", "```", "")
