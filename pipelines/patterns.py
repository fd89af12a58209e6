"""What a user writes for shards -> the files it means."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from braceexpand import braceexpand

from .faults import DataError

_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://|pipe:")
_GLOB = re.compile(r"[*?\[]")


def expand(patterns: Sequence[str | Path]) -> list[Path]:
    """Brace patterns ("train-{0000..0146}.tar"), globs and plain paths -> paths: in the order given, those of one glob
    by name. A path that exists is taken as it is, whatever is in its name.

    Raises DataError for a pattern that matches nothing, files that do not exist, one given twice, and URLs.
    """
    found: list[Path] = []
    for pattern in patterns:
        found += _expand(pattern)
    seen: dict[Path, Path] = {}
    for path in found:
        real = path.resolve()
        if real in seen:
            raise DataError(f"{path}: given twice (also as {seen[real]}): its samples would count double; drop one")
        seen[real] = path
    return found


def is_remote(text: str) -> bool:
    """Whether it is an address, and not of a local file. `pipe:` is none."""
    match = _URL.match(text)
    return match is not None and match[1] is not None and match[1].lower() != "file" and not os.path.exists(text)


def _expand(pattern: str | Path) -> list[Path]:
    text = os.path.expanduser(os.fspath(pattern))
    if not text:
        raise DataError("data: an empty path, got '': give tar shards or a folder of images")
    remote = _URL.match(text)
    if remote and remote[1] == "file":
        text = text[len("file://"):]
    elif remote and text.startswith("pipe:"):
        raise DataError(f"{text}: a command, which is not run for reading: viewmill pack --allow-pipe copies what it gives into "
                        "shards")
    elif remote:
        raise DataError(f"{text}: a {remote[0]} address where local files are needed: give addresses alone, not mixed with "
                        "files, or copy the shards to a local disk")
    if os.path.exists(text):
        return [Path(text)]
    spelt = spelt_out(text)
    paths: list[Path] = []
    missing: list[str] = []
    for name in spelt:
        matches = sorted(glob.glob(name, recursive=True)) if _GLOB.search(name) else [name] if os.path.exists(name) else []
        paths += map(Path, matches)
        if not matches:
            missing.append(name)
    if not missing:
        return paths
    if not paths:
        kind = "matches no file" if len(spelt) > 1 or _GLOB.search(text) else "does not exist"
        raise DataError(f"{text}: {kind}{_nearby(spelt[0])}: check the path")
    raise DataError(f"{text}: {len(missing)} of {len(spelt)} files do not exist, the first is {missing[0]}: "
                    "fetch them, or narrow the range in braces")


def spelt_out(text: str) -> list[str]:
    """Braces -> every name they mean. Raises DataError where they do not pair."""
    try:
        return list(braceexpand(text, escape=False))
    except ValueError as error:
        raise DataError(f"{text}: braces do not pair ({error}): write them as in train-{{0000..0146}}.tar") from error


def _nearby(name: str) -> str:
    """What there is in its place."""
    folder = Path(name).parent
    if _GLOB.search(str(folder)):
        return ""
    if not folder.is_dir():
        return f" (there is no folder {folder.resolve()})"
    tars = sorted(p.name for p in folder.glob("*.tar"))
    return f" ({folder.resolve()} has {len(tars)} tars, the first is {tars[0]})" if tars else f" ({folder.resolve()} has no tars)"
