"""A recipe is data: which views an image becomes, and by which ops."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from hashlib import blake2s
from typing import Any, Literal

from .fields import is_size, pair_of
from .op import Op, UnsupportedRecipe, nearest
from .ops import Normalize, op_from_dict
from .sharing import clustered, key, prefixes
from .turns import Turns, turns_of

__all__ = ["GroupShape", "Instance", "Recipe", "UnsupportedRecipe", "View"]


@dataclass(frozen=True)
class View:
    """One distinct view of an image; `count` repeats it, each copy with draws of its own.

    group: views of one group are stacked and have one size. size_px: the side, or (height, width), of what comes out.
    ops: applied in order to the decoded RGB image. roles, labels: one entry per copy, or none. image: "self", or
    "partner": made from another image of the same block. first_copy: the number of the first copy, for a view that
    `with_op` split off others. None in count, size_px or ops: not stated by the source. most: of a count that is
    "variable", how many views there are room for; parameters tell which are present. arm: the recipe that it comes from,
    where several are made of one image, see `together`; repeat: which of that one's repeats. Draws do not know of arms.
    """

    group: str
    size_px: int | tuple[int, int] | None = None
    ops: tuple[Op, ...] | None = ()
    count: int | Literal["variable"] | None = 1
    roles: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()
    image: Literal["self", "partner"] = "self"
    first_copy: int = 0
    most: int | None = None
    arm: str = ""
    repeat: int = 0

    def __post_init__(self) -> None:
        if not self.group or "/" in self.group or ":" in self.group:
            raise ValueError(f"View.group needs a name without '/' or ':', got {self.group!r}")
        if "/" in self.arm or ":" in self.arm or "*" in self.arm:
            raise ValueError(f"View.arm needs a name without '/', ':' or '*', got {self.arm!r}")
        if isinstance(self.size_px, list):
            object.__setattr__(self, "size_px", tuple(self.size_px))
        if self.size_px is not None and not is_size(self.size_px):
            raise ValueError(f"View.size_px needs a side >= 1 or (height, width), got {self.size_px!r}")
        if not (self.count in (None, "variable") or (isinstance(self.count, int) and self.count >= 1)):
            raise ValueError(f"View.count needs a whole number >= 1 or 'variable', got {self.count!r}")
        if self.most is not None and (self.count != "variable" or self.most < 1):
            raise ValueError(f"View.most needs a whole number >= 1 and a count that is 'variable', got {self.most!r}")
        if self.image not in ("self", "partner"):
            raise ValueError(f"View.image needs 'self' or 'partner', got {self.image!r}")
        for name in ("roles", "labels"):
            entries = tuple(getattr(self, name))
            object.__setattr__(self, name, entries)
            if entries and len(entries) != self.count:
                raise ValueError(f"View.{name} needs one entry per copy ({self.count}), got {entries!r}")
        if not (isinstance(self.repeat, int) and self.repeat >= 0):
            raise ValueError(f"View.repeat needs a whole number >= 0, got {self.repeat!r}")
        if self.ops is not None:
            object.__setattr__(self, "ops", _named_apart(tuple(self.ops)))

    @property
    def stack(self) -> str:
        """What its views are stacked under: "group", or "arm:group"."""
        return f"{self.arm}:{self.group}" if self.arm else self.group

    def to_dict(self) -> dict[str, Any]:
        size = list(self.size_px) if isinstance(self.size_px, tuple) else self.size_px
        items: dict[str, Any] = {"group": self.group, "count": self.count, "size_px": size}
        if self.roles:
            items["roles"] = list(self.roles)
        if self.labels:
            items["labels"] = list(self.labels)
        if self.image != "self":
            items["image"] = self.image
        if self.first_copy:
            items["first_copy"] = self.first_copy
        if self.most is not None:
            items["most"] = self.most
        if self.arm:
            items["arm"] = self.arm
        if self.repeat:
            items["repeat"] = self.repeat
        return {**items, "ops": None if self.ops is None else [op.to_dict() for op in self.ops]}


@dataclass(frozen=True)
class Instance:
    """One copy of one view: what is drawn and rendered. name: "group/ordinal", the ordinal counting through the group, which
    is "arm:group" where there are arms.

    ops: the view's, a normalization that is the same for every pixel last. place: its ordinal within its repeat; world: the
    repeat's name for its random numbers, "" in the first. company: the ops of all views of its group and repeat.
    """

    name: str
    group: str
    ordinal: int
    copy: int
    view: View
    ops: tuple[Op, ...]
    size_hw: tuple[int, int]
    channels: int
    place: int = 0
    world: str = ""
    company: tuple[tuple[Op, ...], ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class GroupShape:
    """The stacked views of a group are (count, N, channels, height, width)."""

    count: int
    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class Recipe:
    """Views of an image, as frozen data: equal when equal, saved with every run.

    block: how many consecutive positions of an epoch share a draw of batch scope, whatever the batch size.
    decode: "full", or "scaled": a large JPEG may be decoded at 1/2, 1/4 or 1/8 where every crop still shrinks twofold.
    repeats: sets of all views made from one decoded image, each with draws of its own (repeated augmentation); those of
    a group follow each other along its first axis.
    """

    views: tuple[View, ...]
    name: str = ""
    block: int = 256
    decode: Literal["full", "scaled"] = "full"
    repeats: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "views", tuple(self.views))
        if not self.views:
            raise ValueError("Recipe.views needs at least one view, got none")
        if not (isinstance(self.block, int) and self.block >= 1):
            raise ValueError(f"Recipe.block needs a whole number >= 1, got {self.block!r}")
        if not (isinstance(self.repeats, int) and self.repeats >= 1):
            raise ValueError(f"Recipe.repeats needs a whole number >= 1, got {self.repeats!r}")
        if self.decode not in ("full", "scaled"):
            raise ValueError(f"Recipe.decode needs 'full' or 'scaled', got {self.decode!r}")
        sizes: dict[str, Any] = {}
        for view in self.views:
            if sizes.setdefault(view.stack, view.size_px) != view.size_px:
                raise ValueError(f"views of group {view.stack!r} need one size_px, got {sizes[view.stack]} and {view.size_px}")
        if self.repeats > 1 and any(view.repeat for view in self.views):
            raise ValueError(f"Recipe.repeats needs 1 where views say which repeat they are of, got {self.repeats}")

    @cached_property
    def instances(self) -> tuple[Instance, ...]:
        """Every copy of every view. Those of several arms that have the same place are neighbours, as they begin alike.

        Raises UnsupportedRecipe where the recipe leaves something open.
        """
        ordinals: Counter[str] = Counter()
        places: Counter[tuple[str, int]] = Counter()
        company: dict[tuple[str, int], list[tuple[Op, ...]]] = {}
        found: dict[tuple[int, str, int], list[Instance]] = {}
        for repeat in range(self.repeats):
            for view in self.views:
                number = repeat or view.repeat
                own = view.stack, number
                for copy in range(self._copies(view)):
                    instance = replace(self._instance(view, ordinals[view.stack], view.first_copy + copy), place=places[own],
                                       world=f"repeat/{number}:" if number else "")
                    found.setdefault((number, view.group, places[own]), []).append(instance)
                    company.setdefault(own, []).append(instance.ops)
                    ordinals[view.stack] += 1
                    places[own] += 1
        ops = {own: tuple(each) for own, each in company.items()}
        return tuple(each for (number, *_), arms in found.items()
                     for each in clustered([replace(i, company=ops[i.group, number]) for i in arms]))

    @cached_property
    def siblings(self) -> tuple[tuple[Instance, ...], ...]:
        """The instances, those of one group and repeat together."""
        groups: dict[tuple[str, str], list[Instance]] = {}
        for instance in self.instances:
            groups.setdefault((instance.world, instance.group), []).append(instance)
        return tuple(tuple(group) for group in groups.values())

    @cached_property
    def turns(self) -> Turns:
        """In which order the ops are drawn, and for which instances together."""
        return turns_of(self.instances, self.siblings)

    @cached_property
    def alike(self) -> list[tuple[int, int]]:
        """Of each instance: which run of neighbours begins with the same ops, and how many those are; see `sharing.prefixes`."""
        return prefixes([[key(op, instance) for op in instance.ops] for instance in self.instances])

    @property
    def takes_partner(self) -> bool:
        """Whether a second image is needed for each sample."""
        return any(v.image == "partner" or any(op.takes_partner for op in v.ops or ()) for v in self.views)

    @cached_property
    def groups(self) -> dict[str, GroupShape]:
        """The shape of each group's stacked views, in order of first mention."""
        shapes: dict[str, GroupShape] = {}
        for instance in self.instances:
            shape = GroupShape(1, instance.channels, *instance.size_hw)
            old = shapes.get(instance.group)
            if old is not None and replace(old, count=1) != shape:
                raise UnsupportedRecipe(f"{self}: views of group {instance.group!r} differ in shape: {old} and {shape}")
            shapes[instance.group] = replace(shape, count=1 if old is None else old.count + 1)
        return {stack: shapes[stack] for stack in dict.fromkeys(view.stack for view in self.views)}

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when the recipe does."""
        return blake2s(json.dumps(self.to_dict(), sort_keys=True).encode(), digest_size=8).hexdigest()

    def with_op(self, view: str, op: str, **changes: Any) -> Recipe:
        """The recipe with fields of one op changed. view: "global/1", or "global" for all of a group, or "*"; with arms
        "a:global/1", "a:global" or "a:*". op: its name.

        Raises ValueError for a view, op or field that is not there, naming the nearest.
        """
        group, _, ordinal = view.partition("/")
        if ordinal and not ordinal.isdigit():
            raise ValueError(f"a view is 'group/number', 'group' or '*', got {view!r}")
        groups = {v.stack: ("*", v.stack, f"{v.arm}:*") for v in self.views}
        if not any(group in names for names in groups.values()):
            raise ValueError(f"recipe {self} has no view {view!r}; {nearest(group, sorted(groups))}")
        seen = dict.fromkeys(groups, 0)
        views: list[View] = []
        candidates: list[str] = []
        touched = False
        for v in self.views:
            copy = int(ordinal) - seen[v.stack] if ordinal else None
            seen[v.stack] += self._copies(v)
            for piece, chosen in _split(v, copy) if group in groups[v.stack] else [(v, False)]:
                names = [o.name for o in piece.ops or ()]
                if chosen:
                    candidates += names
                if chosen and op in names:
                    touched = True
                    piece = replace(piece, ops=tuple(o.with_fields(**changes) if o.name == op else o for o in piece.ops or ()))
                views.append(piece)
        if not touched and not candidates:
            raise ValueError(f"recipe {self} has no view {view!r}; it has {', '.join(i.name for i in self.instances)}")
        if not touched:
            raise ValueError(f"view {view!r} of recipe {self} has no op {op!r}; {nearest(op, sorted(set(candidates)))}")
        return replace(self, views=tuple(views))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; from_dict takes it back unchanged."""
        repeats = {"repeats": self.repeats} if self.repeats > 1 else {}
        return {"name": self.name, "block": self.block, "decode": self.decode, **repeats,
                "views": [v.to_dict() for v in self.views]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        """Take back to_dict's form. A field that is null is not stated; unknown ops and fields raise ValueError."""
        views = tuple(_view_from_dict(v) for v in data["views"])
        _known("a recipe", data, {"name", "block", "decode", "repeats", "views"})
        return cls(views, data.get("name", ""), data.get("block", 256), data.get("decode", "full"),
                   data.get("repeats", 1))

    def __str__(self) -> str:
        return self.name or "(unnamed)"

    def _copies(self, view: View) -> int:
        if view.count == "variable" and view.most is not None:
            return view.most
        if not isinstance(view.count, int):
            raise UnsupportedRecipe(f"recipe {self}: the count of view {view.stack!r} is {view.count or 'not stated'}")
        return view.count

    def _instance(self, view: View, ordinal: int, copy: int) -> Instance:
        where = f"recipe {self}, view {view.stack}/{ordinal}"
        if view.ops is None or view.size_px is None:
            raise UnsupportedRecipe(f"{where}: {'ops' if view.ops is None else 'size_px'} is not stated")
        size: tuple[int, int] | None = None
        channels = 3
        other: str | None = None
        for op in view.ops:
            if open_fields := op.unstated():
                raise UnsupportedRecipe(f"{where}: {op.name}.{open_fields[0]} is not stated; set it by "
                                        f"with_op({view.stack!r}, {op.name!r}, {open_fields[0]}=...)")
            if other and not (op.type in _ANY_VALUES or _moves(op)):
                raise UnsupportedRecipe(f"{where}: {op.name} takes levels of red, green and blue, which {other} leaves behind; "
                                        f"put it before {other}")
            if op.type in ("lab_split", "sobel"):
                other = op.name
            size, channels = op.output(size, channels)
        if size != pair_of(view.size_px):
            raise UnsupportedRecipe(
                f"{where}: size_px is {pair_of(view.size_px)}, but its ops end at {size or 'the size of the image'}")
        return Instance(f"{view.stack}/{ordinal}", view.stack, ordinal, copy, view, _normalized_last(view.ops), size, channels)


def _normalized_last(ops: tuple[Op, ...]) -> tuple[Op, ...]:
    """A normalization of every pixel alike commutes with ops that only move or replace pixels, which take levels; then one
    store can do it."""
    at = next((i for i, op in enumerate(ops) if isinstance(op, Normalize) and op.pixelwise), None)
    if at is None or not all(map(_moves, ops[at + 1:])):
        return ops
    return (*ops[:at], *ops[at + 1:], ops[at])


def _moves(op: Op) -> bool:
    """Whether an op only moves or replaces pixels, whatever their values are."""
    return op.type in _MOVING and getattr(op, "kind", "") != "free"


_MOVING = ("tiles", "permute", "pair", "rotate", "random_crop", "center_crop", "flip", "masks", "palette")
_ANY_VALUES = ("normalize", "subsample", "blur", "occlude")
"""More ops that take Lab values and gradients as well as levels."""


def _split(view: View, copy: int | None) -> list[tuple[View, bool]]:
    """The view as up to three, with a mark on the piece that is only the given copy; None marks the whole."""
    if copy is None or not isinstance(view.count, int) or not 0 <= copy < view.count:
        return [(view, copy is None)]
    pieces = []
    for start, stop in ((0, copy), (copy, copy + 1), (copy + 1, view.count)):
        if start < stop:
            piece = replace(view, count=stop - start, first_copy=view.first_copy + start,
                            roles=view.roles[start:stop], labels=view.labels[start:stop])
            pieces.append((piece, start == copy))
    return pieces


def _named_apart(ops: tuple[Op, ...]) -> tuple[Op, ...]:
    seen: dict[str, int] = {}
    named = []
    for op in ops:
        seen[op.name] = number = seen.get(op.name, 0) + 1
        if number > 1 and op.name != op.type:
            raise ValueError(f"two ops of one view are named {op.name!r}; give each its own name")
        named.append(op if number == 1 else replace(op, name=f"{op.type}.{number}"))
    return tuple(named)


def _view_from_dict(data: dict[str, Any]) -> View:
    _known("a view", data, {each.name for each in fields(View)})
    ops = data.get("ops")
    return View(**{**data, "ops": None if ops is None else tuple(op_from_dict(op) for op in ops)})


def _known(what: str, data: dict[str, Any], fields: set[str]) -> None:
    for name in data:
        if name not in fields:
            raise ValueError(f"{what} has no field {name!r}; {nearest(name, sorted(fields))}")
