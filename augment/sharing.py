"""What views of one image have in common: the ops that they begin with, where those draw the same for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from .masks import MissingTile
from .op import Op
from .ops import Resize, Rotate, Tiles

if TYPE_CHECKING:
    from .recipe import Instance

Key: TypeAlias = "tuple[object, ...] | None"
"""Equal where two ops do the same to the same image, whatever is drawn; None: nothing is known to."""

FIRST = 8
"""What the first op of a view costs, in others: it cuts and resizes."""


def key(op: Op, instance: Instance) -> Key:
    """Of one op of a view."""
    scope = getattr(op, "scope", None)
    image, group = instance.view.image, instance.view.group
    by_copy = isinstance(op, Tiles | MissingTile) or (isinstance(op, Rotate) and op.pick == "enumerate")
    if op.takes_partner or op.needs:
        return None
    if not by_copy and ((isinstance(op, Resize) and op.mode != "area") or scope is None):
        return (image, op)
    if not by_copy and scope == "image" and all(getattr(op, name, "image") == "image" for name in ("sigma_scope", "size_scope")):
        share = getattr(op, "share", None)
        return (image, instance.world, share or f"{group}/{op.name}", op)
    return (image, instance.world, group, instance.place, instance.copy, company(op, instance), op)


def company(op: Op, instance: Instance) -> tuple[object, ...]:
    """What a view's draws by an op depend on besides its own place: nothing, or how many views there are, or their ops."""
    joined = any(each.joins for ops in instance.company[:1] for each in ops)
    return instance.company if joined else (len(instance.company),) if op.by_siblings else ()


def prefixes(keys: Sequence[Sequence[Key]]) -> list[tuple[int, int]]:
    """For views with these keys, in order: the number, from 1 on, of the run of neighbours that begin alike, and how many ops
    they have in common; (0, 0) for a view that begins like none beside it. The runs are those that save most work."""
    count = len(keys)
    best: list[tuple[int, int, int]] = [(0, count, 0)]  # from each view on: what is saved, where its run ends, what that shares
    for first in reversed(range(count)):
        best.append((best[-1][0], first + 1, 0))
        common = len(keys[first])
        for last in range(first + 1, count):
            common = min(common, _common(keys[first], keys[last]))
            if common == 0:
                break
            saved = (last - first) * (FIRST + common) + best[count - 1 - last][0]
            if saved > best[-1][0]:
                best[-1] = (saved, last + 1, common)
    found, first, runs = [], 0, 0
    while first < count:
        _, end, common = best[count - first]
        runs += common > 0
        found += [(runs if common else 0, common)] * (end - first)
        first = end
    return found


def clustered(instances: Sequence[Instance], depth: int = 0) -> list[Instance]:
    """The same views, those that begin alike beside each other; else as they come."""
    if len(instances) < 3:
        return list(instances)
    found: dict[Key, list[Instance]] = {}
    for instance in instances:
        found.setdefault(key(instance.ops[depth], instance) if depth < len(instance.ops) else None, []).append(instance)
    return [each for alike in found.values()
            for each in (alike if len(alike) == 1 or depth >= len(alike[0].ops) else clustered(alike, depth + 1))]


def _common(a: Sequence[Key], b: Sequence[Key]) -> int:
    for n, (x, y) in enumerate(zip(a, b, strict=False)):
        if x is None or x != y:
            return n
    return min(len(a), len(b))
