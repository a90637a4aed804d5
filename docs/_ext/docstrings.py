"""The package's docstrings, which are plain text, as reStructuredText for autodoc.

They are numpydoc's in their sections, but for an entry's text, which follows its name on the line:

    Parameters
    ----------
    chosen (m,) : units between which arrivals are counted one by one.

An indented block is a formula; everything else is text in which only backticks mean anything.
"""

import importlib
import re
from collections.abc import Iterator
from typing import Any

from fields import comments
from sphinx.application import Sphinx

FIELDS = {"Parameters": "param", "Attributes": "ivar", "Raises": "raises"}
ENTRY = re.compile(r"(?P<names>[\w*]+(?:, [\w*]+)*)(?P<shape> \(.*?\))?(?: :(?: (?P<text>.*))?)?$")
SPAN = re.compile(r"(:\w+:`[^`]+`|``.+?``|`[^`]+`)", re.S)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", rewrite)
    app.connect("autodoc-process-signature", shorten)
    return {"parallel_read_safe": True}


def shorten(*event: Any) -> tuple[str | None, str | None]:
    """Write the types of arrays by the names that `neurosim.memory` gives them."""
    *_, arguments, returned = event
    for kind, name in (("float64", "Floats"), ("int64", "Integers")):
        full = f"~numpy.ndarray[tuple[~typing.Any, ...], ~numpy.dtype[~numpy.{kind}]]"
        arguments, returned = (s and s.replace(full, name) for s in (arguments, returned))
    return arguments, returned


def rewrite(_: Sphinx, what: str, name: str, it: Any, __: Any, lines: list[str]) -> None:
    """Put reStructuredText in the place of a docstring's lines."""
    if not (getattr(it, "__module__", None) or "neurosim").startswith("neurosim"):
        return  # what a module imports is looked at before it is left out
    if what in ("attribute", "property") and lines[:1] and lines[0].startswith("Alias for field"):
        module, kind, field = name.rsplit(".", 2)
        text = comments(getattr(importlib.import_module(module), kind)).get(field, "")
        lines[:] = [marked(text), ""]
        return
    lines[:] = list(converted(lines))


def converted(lines: list[str]) -> Iterator[str]:
    """Lines of reStructuredText from the plain lines of a docstring."""
    section = ""
    for block in blocks(lines):
        if len(block) > 1 and re.fullmatch("-{3,}", block[1]):
            section, block = block[0], block[2:]
        if not block:
            continue
        if section in FIELDS:
            yield from entries(FIELDS[section], block)
        elif section == "Returns":
            told = " ".join(joined(head, rest) for head, *rest in items(block))
            yield f":returns: {marked(told)}"
        else:
            if section:
                yield f"**{section}**"
                yield ""
                section = ""
            yield from text(block)
        yield ""


def blocks(lines: list[str]) -> Iterator[list[str]]:
    """Runs of lines that are not blank."""
    block: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line.rstrip())
        elif block:
            yield block
            block = []


def items(block: list[str]) -> list[list[str]]:
    """Lines of a block, those that are indented with the one that they belong to."""
    found: list[list[str]] = []
    for line in block:
        if line.startswith(" ") and found:
            found[-1].append(line.strip())
        else:
            found.append([line])
    return found


def entries(field: str, block: list[str]) -> Iterator[str]:
    """A field for each name of each entry."""
    for head, *rest in items(block):
        match = ENTRY.match(head)
        if match is None:
            raise ValueError(f"not an entry of a docstring's section: {head!r}")
        told = " ".join([(match["shape"] or "").strip(), joined(match["text"] or "", rest)])
        for name in match["names"].split(", "):
            yield f":{field} {name}: {marked(told.strip())}"


def joined(head: str, rest: list[str]) -> str:
    """The text of an entry; a type, where one stands first, ends with a full stop."""
    if head and rest and head[-1] not in ",.;:" and re.match("[`A-Z]", rest[0]):
        head += "."
    return " ".join(filter(None, [head, *rest]))


def text(block: list[str]) -> Iterator[str]:
    """A paragraph, a formula, or a list of what stands before colons."""
    if block[0].startswith(" "):
        yield from ("::", "", *("    " + line for line in block))
    elif any(line.startswith(" ") for line in block):
        for item in items(block):
            yield f"- {marked(' '.join(item))}"
    else:
        yield marked(" ".join(block))


def marked(text: str) -> str:
    """Text with code where backticks say so, and nothing else that means anything."""
    parts = SPAN.split(text)
    for k, part in enumerate(parts):
        if k % 2 == 0:
            parts[k] = re.sub(r"([\\*|]|_\b|(?<=\w)_(?!\w))", r"\\\1", part)
        elif part[0] == "`":
            parts[k] = f"``{part.strip('`')}``"
    return "".join(parts)
