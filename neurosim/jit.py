"""The decorators of every kernel.

Numba's own cache does not notice that a function *called* by a cached function changed in another
file, so compiled kernels are kept in a folder whose name is a hash of all kernel sources.
"""

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import platformdirs

from neurosim.compiler import Compiler

_njit: Any = numba.njit
_PACKAGE = Path(__file__).parent
_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": False,
    "forceinline": True,
    "pipeline_class": Compiler,
}
# error_model="numpy": a division that might raise would stop the vectoriser.
# fastmath=False: the same bits on every processor; a sum is taken in the order it is written.
# forceinline: passing a team's thirty arrays to a function that is not inlined costs 0.1 us.


@functools.cache
def cache_folder() -> Path:
    """Folder of the compiled kernels, named after the sources that made them."""
    digest = hashlib.sha256(numba.__version__.encode())
    for source in [
        *(_PACKAGE / name for name in ("compiler.py", "jit.py", "memory.py")),
        *sorted((_PACKAGE / "kernels").glob("*.py")),
    ]:
        digest.update(source.read_bytes())
    root = os.environ.get("NUMBA_CACHE_DIR") or platformdirs.user_cache_dir("neurosim", False)
    return Path(root) / f"kernels-{digest.hexdigest()[:16]}"


def is_cached(kernel: str) -> bool:
    """Whether a kernel such as "agent.agent_step" of these sources has been compiled before."""
    return any(cache_folder().rglob(f"{kernel}-*.nbc"))


@functools.cache
def _without_reference_counts() -> dict[str, Any]:
    """``_nrt=False`` where this numba has it: kernels allocate nothing, so they count nothing.

    The flag is private, hence the probe; without it kernels are slower and give the same bits.
    """
    try:
        _njit(_nrt=False)(lambda: 0)()
    except (KeyError, TypeError, numba.core.errors.NumbaError):
        return {}
    return {"_nrt": False}


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` with the project's numerical settings and cache it."""
    return _compile(function, cache=True)


def aside(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that only some rules need, apart from the kernels that call it.

    Inlined, such functions cost every rule: the kernels grow and are optimised less well.
    """
    return _compile(function, cache=True, forceinline=False)


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that only kernels call, as a part of theirs; Python cannot call it.

    What Python would need to call a function takes half of the time of compiling it.
    """
    return _compile(function, cache=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _compile(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    config: Any = numba.config
    users_folder = config.CACHE_DIR
    config.CACHE_DIR = str(cache_folder())  # read by numba while it decorates
    try:
        compiled: Callable[..., Any] = _njit(**_OPTIONS | _without_reference_counts() | options)(
            function
        )
        return compiled
    finally:
        config.CACHE_DIR = users_folder
