"""Recipes key by key, as their words are: of each view by its ordinal, and where all of a group agree, of the group."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

_NAMED = frozenset(["group", "arm", "count", "first_copy", "ops"])
_OF_A_VIEW = re.compile(r"(recipe\.[^/.]*)/(\d+)\.(.*)")


def expanded(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Of a recipe as data, "recipe.global/0.blur.p" and the like for every copy of every view, and "recipe.global.count". Fields
    that are null are left out."""
    found = {f"recipe.{name}": value for name, value in recipe.items() if name not in ("name", "views")}
    counts: Counter[str] = Counter()
    for view in recipe.get("views", []):
        stack = f"{view['arm']}:{view['group']}" if view.get("arm") else view["group"]
        copies = view["count"] if isinstance(view.get("count"), int) else 1
        for ordinal in range(counts[stack], counts[stack] + copies):
            name = f"recipe.{stack}/{ordinal}"
            found |= {f"{name}.{field}": value for field, value in view.items() if field not in _NAMED}
            for op in view.get("ops") or ():
                called = f"{name}.{op.get('name') or op['op']}"
                stated = {field: value for field, value in op.items() if field not in ("op", "name") and value is not None}
                found |= {f"{called}.{field}": value for field, value in stated.items()}
        counts[stack] += copies
    return found | {f"recipe.{stack}.count": count for stack, count in counts.items()}


def together(flats: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same, where in each of them all copies of a group agree, under one key without the ordinal."""
    apart = {key for flat in flats for key in _apart(flat)}
    found = []
    for flat in flats:
        made: dict[str, Any] = {}
        for key, value in flat.items():
            parts = _OF_A_VIEW.fullmatch(key)
            one = f"{parts[1]}.{parts[3]}" if parts else key
            made[key if one in apart else one] = value
        found.append(made)
    return found


def _apart(flat: Mapping[str, Any]) -> set[str]:
    """The keys without ordinal whose copies do not agree, or that not all copies have."""
    values: dict[str, list[Any]] = defaultdict(list)
    stacks: dict[str, str] = {}
    for key, value in flat.items():
        if parts := _OF_A_VIEW.fullmatch(key):
            one = f"{parts[1]}.{parts[3]}"
            values[one].append(value)
            stacks[one] = parts[1]
    return {one for one, there in values.items()
            if len(there) < flat[f"{stacks[one]}.count"] or any(each != there[0] for each in there)}
