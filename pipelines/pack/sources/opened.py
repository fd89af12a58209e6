"""Files that may be local or behind a URL."""

from __future__ import annotations

import os
from typing import Any

from ...faults import DataError
from ...remote.store import Store, scheme_of


def is_url(text: str) -> bool:
    return not text.startswith("pipe:") and scheme_of(text) != ""


def filesystem(url: str) -> tuple[Any, str]:
    """(fsspec's file system, the path in it). Raises DataError, in one line, where its package is missing."""
    system = Store(scheme_of(url)).system
    return system, system._strip_protocol(url)


def open_file(path: str) -> Any:
    """A seekable file of bytes. Raises DataError."""
    try:
        if is_url(path):
            system, inside = filesystem(path)
            return system.open(inside, "rb")
        return open(path, "rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}): check the path") from error


def file_state(path: str) -> str:
    """Changes where the file does, by size and time or tag. Raises DataError."""
    try:
        if not is_url(path):
            status = os.stat(path)
            return f"{status.st_size} {status.st_mtime_ns}"
        system, inside = filesystem(path)
        about = system.info(inside)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}): check the path") from error
    tags = ("ETag", "etag", "LastModified", "mtime", "last_modified", "created")
    tag = next((about[name] for name in tags if about.get(name)), "")
    return f"{about.get('size')} {tag}"
