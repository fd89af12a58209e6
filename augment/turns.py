"""In which order a recipe's ops are drawn, and for which of its views together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .chance import Seat
from .op import Op
from .sharing import key

if TYPE_CHECKING:
    from .recipe import Instance

PARTNER = "partner:"
"""The world of what is drawn for a second image."""


@dataclass(frozen=True)
class Line:
    """One view, or what it would be if it were cut from the second image: ops drawn one after the other from a seat."""

    instance: Instance
    ops: tuple[Op, ...]
    seat: Seat
    partner: bool

    @property
    def family(self) -> Hashable:
        """Equal for the views of one group and repeat."""
        return self.partner, self.seat.world, self.instance.group

    def source(self, op: Op) -> Hashable:
        """Lines of equal sources draw the same numbers for an op, and the same parameters from the same sizes."""
        alike = key(op, self.instance)
        if alike is not None:
            return self.partner, alike
        return self.partner, self.seat if op.by_siblings else self.seat._replace(siblings=1)


@dataclass(frozen=True)
class Turn:
    """One op and the lines (by number) that draw it together, each with its source."""

    op: Op
    lines: tuple[int, ...]
    sources: tuple[Hashable, ...]


@dataclass(frozen=True)
class Turns:
    """What `draw` keeps of a recipe. lines: those of the recipe's instances, in their order, then the others; groups: the
    numbers of the views that an op joins, and those of the lines that stand for their partners."""

    lines: tuple[Line, ...]
    turns: tuple[Turn, ...]
    groups: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]


def turns_of(instances: Sequence[Instance], siblings: Sequence[Sequence[Instance]]) -> Turns:
    """siblings: the instances, those of one group and repeat together."""
    number = {instance.name: n for n, instance in enumerate(instances)}
    lines: dict[int, Line] = {}
    others: list[Line] = []
    groups = []
    for group in siblings:
        seats = [Seat(i.view.group, i.place, i.copy, len(group), i.world) for i in group]
        for instance, seat in zip(group, seats, strict=True):
            partner = instance.view.image == "partner"
            lines[number[instance.name]] = Line(instance, instance.ops, _partners(seat) if partner else seat, partner)
        ops = group[0].ops
        joining = [op for op in ops if op.joins]
        before = len(instances) + len(others)
        if any(op.takes_partner for op in joining):
            until = ops.index(joining[0])
            others += [Line(i, i.ops[:until], _partners(seat), True) for i, seat in zip(group, seats, strict=True)]
        if joining:
            groups.append((tuple(number[i.name] for i in group), tuple(range(before, len(instances) + len(others)))))
    ordered = (*(lines[n] for n in range(len(instances))), *others)
    return Turns(ordered, tuple(_turns(ordered)), tuple(groups))


def _partners(seat: Seat) -> Seat:
    return seat._replace(world=PARTNER + seat.world)


def _turns(lines: Sequence[Line]) -> list[Turn]:
    """Each op when it is the next of all lines that still have it; where there is none such, the next of the first line."""
    left = [list(line.ops) for line in lines]
    found = []
    while any(left):
        nexts = [ops[0] for ops in left if ops]
        op = next((op for op in nexts if not any(op in ops[1:] for ops in left)), nexts[0])
        mine = [n for n, ops in enumerate(left) if ops and ops[0] == op]
        if op.by_siblings:  # those of one group only
            mine = [n for n in mine if lines[n].family == lines[mine[0]].family]
        for n in mine:
            del left[n][0]
        found.append(Turn(op, tuple(mine), tuple(lines[n].source(op) for n in mine)))
    return found
