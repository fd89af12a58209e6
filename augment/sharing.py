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


def key(op: Op, instance: Instance) -> Key:
    """Of one op of a view."""
    scope = getattr(op, "scope", None)
    image = instance.view.image
    by_copy = isinstance(op, Tiles | MissingTile) or (isinstance(op, Rotate) and op.pick == "enumerate")
    if by_copy or op.takes_partner or op.needs:
        return None
    if (isinstance(op, Resize) and op.mode != "area") or scope is None:
        return (image, op)
    if scope == "image" and getattr(op, "sigma_scope", "image") == "image":
        share = getattr(op, "share", None)
        return (image, instance.world, share or f"{instance.group}/{op.name}", op)
    return None


def prefixes(keys: Sequence[Sequence[Key]]) -> list[tuple[int, int]]:
    """For views with these keys, in order: the number, from 1 on, of the run of neighbours that begin alike, and how many ops
    they have in common; (0, 0) for a view that begins like none beside it."""
    found = [(0, 0)] * len(keys)
    first = runs = 0
    while first < len(keys):
        last, common = first, 0
        while last + 1 < len(keys):
            length = _common(keys[first], keys[last + 1])
            if length == 0 or (common and length < common):
                break
            common, last = (length if last == first else common), last + 1
        if common:
            runs += 1
            found[first:last + 1] = [(runs, common)] * (last + 1 - first)
        first = last + 1
    return found


def _common(a: Sequence[Key], b: Sequence[Key]) -> int:
    for n, (x, y) in enumerate(zip(a, b, strict=False)):
        if x is None or x != y:
            return n
    return min(len(a), len(b))
