"""The user's cache folder, and files that are whole or not there."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """$VIEWMILL_CACHE_DIR, else viewmill's folder in the user's cache directory. It may not exist, or not be writable."""
    chosen = os.environ.get("VIEWMILL_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "viewmill"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "viewmill"


def write_whole(path: Path, data: bytes, durable: bool = False) -> bool:
    """Write a file under a temporary name, then rename it; durable: once it has reached the disk. False, and no file, where
    that is not possible."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(handle, 0o644)  # a temporary file is its owner's alone
            if durable:  # what a cache loses in a crash is made again, and waiting for the disk costs milliseconds a file
                os.fsync(handle)
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        return False
    return True
