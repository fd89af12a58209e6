"""Whether parts of files lie in the operating system's page cache, and how to take them out of it; only what can be shown."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

Extent = tuple[Path, int, int]
"""A file, an offset and a length in bytes."""

STAYED = 0.1
"""The share of pages above which files do not count as dropped."""


def drop(extents: Sequence[Extent]) -> bool:
    """Ask for the pages of parts of files to be dropped; False where the platform cannot be asked. No proof that they went:
    pages that someone has mapped or not yet written stay, and some file systems ignore the wish.

    Linux keeps pages in folios, and one that is only partly asked for stays; so where much does, whole files are asked for.
    """
    if not hasattr(os, "posix_fadvise"):
        return False
    try:
        for path, offset, size in extents:
            _advise(path, *_pages(offset, size))
        if (resident(extents) or 0.0) > STAYED:
            for path in {path for path, _, _ in extents}:
                _advise(path, 0, 0)
    except OSError:
        return False
    return True


def _advise(path: Path, first: int, length: int) -> None:
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), first, length, os.POSIX_FADV_DONTNEED)


def resident(extents: Sequence[Extent]) -> float | None:
    """The share of these parts' pages that mincore finds in memory; None where it cannot be asked.

    Of files that this user neither owns nor may write, Linux says that all are: an error on the safe side.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "mincore"):
        return None
    inside = total = 0
    try:
        for path, offset, size in extents:
            if size == 0:
                continue
            first, length = _pages(offset, size)
            with open(path, "rb") as file:
                length = min(length, os.fstat(file.fileno()).st_size - first)
                with mmap.mmap(file.fileno(), length, prot=mmap.PROT_READ, offset=first) as mapped:
                    pages = np.zeros(-(-length // mmap.PAGESIZE), np.uint8)
                    there = np.frombuffer(mapped, np.uint8)
                    status = library.mincore(ctypes.c_void_p(there.ctypes.data), ctypes.c_size_t(length),
                                             ctypes.c_void_p(pages.ctypes.data))
                    del there  # the map can only be closed once nothing points into it
                    if status != 0:
                        return None
                    inside, total = inside + int((pages & 1).sum()), total + len(pages)
    except (OSError, ValueError, AttributeError):
        return None
    return inside / total if total else None


def bytes_from_storage() -> int | None:
    """What this process has had fetched from storage so far, read-ahead included; None where Linux's /proc does not tell."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/io").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("read_bytes:")).split()[1])
    return None


def _pages(offset: int, size: int) -> tuple[int, int]:
    """The whole pages that a part touches: a page that is only partly asked for would be kept."""
    first = offset // mmap.PAGESIZE * mmap.PAGESIZE
    return first, -(-(offset + size - first) // mmap.PAGESIZE) * mmap.PAGESIZE
