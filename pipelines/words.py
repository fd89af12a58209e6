"""The words of a command: places, KEY=VALUE, and flags; a dataclass of settings from the keys."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field, fields
from typing import Any

from ..augment.op import nearest

_KEY = re.compile(r"(--)?([a-z_]+)=(.*)", re.DOTALL)


def split(words: Sequence[str], flags: Collection[str]) -> tuple[list[str], dict[str, str], frozenset[str]]:
    """(places, the keys given, flags without their dashes). Raises ValueError for an option that is none of flags, naming the
    nearest."""
    places, given, found = [], {}, set()
    for word in words:
        match = _KEY.fullmatch(word)
        if match:
            given[match[2]] = match[3]
        elif word.startswith("-"):
            if word not in flags:
                raise ValueError(f"unknown option {word!r}; {nearest(word, list(flags))}")
            found.add(word.removeprefix("--"))
        else:
            places.append(word)
    return places, given, frozenset(found)


def key(default: Any, meaning: str, **more: Any) -> Any:
    """A field of a dataclass of settings. more: further metadata."""
    return field(default=default, metadata={"meaning": meaning, **more})


def values_of(settings: type, words: Mapping[str, str], others: Collection[str] = (),
              read: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Texts -> values of the fields' types. others: keys that exist but are read elsewhere; read: functions of those fields whose
    texts are read in another way. Raises ValueError for an unknown key, naming the nearest, and for a value of another type."""
    known = {each.name: each.default for each in fields(settings)}
    given: dict[str, Any] = {}
    for name, text in words.items():
        if name not in known:
            raise ValueError(f"unknown key {name!r}; {nearest(name, [*known, *others])}")
        given[name] = read[name](text) if read and name in read else _value(name, text, known[name])
    return given


def _value(name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{name} needs true or false, got {text!r}")
        return text.lower() == "true"
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"{name} needs a whole number, got {text!r}") from None
    return text


def key_lines(settings: type) -> list[str]:
    """What a manual says of the keys, each with its default."""
    lines = []
    for each in fields(settings):
        default = str(each.default).lower() if isinstance(each.default, bool) else each.default
        lines.append(f"  {f'{each.name}={default}':22s} {each.metadata['meaning']}")
    return lines
