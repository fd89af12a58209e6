"""What lies in shards, read by the standard library alone."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import Any

from viewmill.pipelines.pack import Settings, Summary, pack


def members(folder: Path) -> dict[str, bytes]:
    """All members of all shards, by name. Fails where a name comes twice."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for info in tar:
                file = tar.extractfile(info)
                assert file is not None and info.name not in found
                found[info.name] = file.read()
    return found


def order(folder: Path) -> list[str]:
    """Names of images, in order."""
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found += [name for name in tar.getnames() if name.endswith(".jpg")]
    return found


def sums(folder: Path) -> dict[str, str]:
    """sha256 of what a pack leaves for its users; the log of refusals holds times."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())
            if path.is_file() and path.name != "refused.jsonl"}


def packed(source: Any, target: Path, **options: Any) -> Summary:
    """One process, unless options say otherwise."""
    sources = [str(each) for each in source] if isinstance(source, list) else [str(source)]
    extra = {name: options.pop(name) for name in ("ray", "allow_pipe") if name in options}
    return pack(sources, str(target), Settings(**{"workers": 1, **options}), **extra)
