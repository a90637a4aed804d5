"""What a class says of its fields in the comment behind each of them."""

import ast
import inspect
import textwrap
import tokenize
from functools import cache
from io import StringIO


@cache
def comments(kind: type) -> dict[str, str]:
    """Comments of the fields of a class by name, those of its bases included.

    A field is an annotated assignment in the body of the class, its comment what stands behind it,
    or where that is nothing, alone on the line before.  Fields without one have the empty text.
    """
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.partition(".")[0] != "neurosim":
            continue
        source = textwrap.dedent(inspect.getsource(base))
        behind, alone = {}, {}
        for token in tokenize.generate_tokens(StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                where = behind if token.line[: token.start[1]].strip() else alone
                where[token.start[0]] = token.string.lstrip("# ")
        (body,) = (node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
        for node in body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                before = alone.get(node.lineno - 1, "")
                found[node.target.id] = behind.get(node.end_lineno or 0, before)
    return found
