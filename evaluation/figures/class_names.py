"""What classes are called, where anybody says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...pipelines.source import Source

FILE = "classes.json"
"""What `viewmill pack` writes beside shards: the names, by number."""


def class_names(source: Source, count: int, given: Any = None) -> list[str]:
    """A name for each of `count` classes. given: a list of names, or a file of them: JSON, or one a line; None: a folder's own
    folders, or the classes.json beside shards, or else their numbers. Raises ValueError, one line, where given names are too
    few, or no names."""
    if given is not None:
        names = _given(given)
        if len(names) < count:
            raise ValueError(f"classes={given} has {len(names)} names for {count} classes; name them all, or leave classes out")
        return names[:count]
    found = list(getattr(source, "classes", ())) or _beside(source)
    return found[:count] if len(found) >= count else [str(number) for number in range(count)]


def _given(given: Any) -> list[str]:
    if isinstance(given, list | tuple):
        return [str(name) for name in given]
    path = Path(str(given))
    try:
        text = path.read_text()
        names = json.loads(text) if path.suffix == ".json" else [line.strip() for line in text.splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"classes={given} is no list of names, and no file of them that can be read ({type(error).__name__}); "
                         "use classes=[cat,dog], a .json list, or a text of one name a line") from error
    if not isinstance(names, list):
        raise ValueError(f"classes={given} holds a {type(names).__name__}; it needs a list of names, the first of class 0")
    return [str(name) for name in names]


def _beside(source: Source) -> list[str]:
    paths = getattr(source, "paths", ())
    if not paths:
        return []
    try:
        names = json.loads(Path(paths[0]).with_name(FILE).read_text())
    except (OSError, ValueError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []
