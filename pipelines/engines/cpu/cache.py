"""Where compiled kernels are kept: the user's cache directory, under a hash of their sources.

Numba's own cache lies beside the sources, which an installed package may not write, and looks at one file's time stamp
only, so that a kernel inlined from another file would go stale.
"""

from __future__ import annotations

import fcntl
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import blake2s
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import types
from numba.core.caching import CacheImpl, _CacheLocator

from ...cache import cache_folder


def kernels_hash() -> str:
    """Of everything that a compiled kernel depends on: all sources in this folder, the compilers, the processor."""
    digest = blake2s(digest_size=8)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    config = numba.config
    for part in (numba.__version__, llvmlite.__version__, sys.version, platform.machine(), config.CPU_NAME, config.CPU_FEATURES,
                 config.BOUNDSCHECK):
        digest.update(repr(part).encode())
    return digest.hexdigest()


def _writable_folder() -> str:
    folder = cache_folder() / f"kernels-{kernels_hash()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError:
        return tempfile.mkdtemp(prefix="viewmill-kernels-")


@cache
def kernels_folder() -> str:
    """Where this process keeps its compiled kernels; a temporary folder where the user's cannot be written."""
    return _writable_folder()


def is_compiled() -> bool:
    """Whether an earlier process left the kernels for this processor here; else the first image waits for them."""
    return any(Path(kernels_folder()).glob("several.render_images*.nbc"))


@contextmanager
def one_process_at_a_time() -> Iterator[None]:
    """Many ranks of one machine start at once: one compiles, the others wait and read what it left."""
    with open(Path(kernels_folder()) / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class _Locator(_CacheLocator):
    """Tells Numba where this package's kernels are cached, and leaves everybody else's alone."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        self._file = Path(py_file)
        self._line = py_func.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return kernels_folder()

    def get_source_stamp(self) -> str:
        return "the folder's name is the hash of the sources"

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Locator | None:
        inside = Path(py_file).resolve().parent == Path(__file__).resolve().parent
        return cls(py_func, py_file) if inside else None


if _Locator not in CacheImpl._locator_classes:
    CacheImpl._locator_classes = [_Locator, *CacheImpl._locator_classes]


_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "fastmath": False, "error_model": "numpy"}
"""No interpreter's lock; no fast-math: the same bits on every processor."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile on first use by other kernels. Python cannot call it: the wrapper would double the time that compiling takes."""
    dispatcher = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(function)
    template = dispatcher.get_call_template

    def without_literals(args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        """A call with a constant would be compiled apart from one with a variable: a third of the time went there."""
        return template(tuple(map(types.unliteral, args)), {name: types.unliteral(kind) for name, kind in kws.items()})

    dispatcher.get_call_template = without_literals
    return dispatcher


def entry(function: Callable[..., Any]) -> Any:
    """A kernel that Python calls."""
    return numba.njit(no_cfunc_wrapper=True, **_OPTIONS)(function)
