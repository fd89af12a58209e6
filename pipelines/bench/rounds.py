"""The rounds: every arm in turn, each right after bare decoding, so that both saw the same machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .arms import Arm
from .messages import Taken


@dataclass(frozen=True)
class Round:
    """Of one arm, seconds for the same number of images. decode: bare decoding just before; alone: the arm by itself, with
    the processor time of its trainer process and of all its processes; busy: beside a trainer that computes in Python;
    others: processor time that the idle arms used meanwhile."""

    decode: float
    alone: float
    trainer_cpu: float
    cpu: float | None
    busy: float | None
    others: float | None


@dataclass
class Group:
    """Arms and the bare decoding that each is held against; decode is None where an arm is not held against any."""

    decode: Arm
    arms: list[Arm]


def measure(groups: Sequence[Group], rounds: int, counted: Callable[[Arm], int], busy: bool,
            say: Callable[[str], None]) -> dict[str, list[Round]]:
    """{label: its rounds}, decoding included. counted(arm): batches of a round. Every other round goes the other way round,
    so that no arm always follows the same one."""
    seen: dict[str, list[Round]] = {arm.label: [] for group in groups for arm in (group.decode, *group.arms)}
    everyone = [arm for group in groups for arm in (group.decode, *group.arms)]
    for number in range(rounds):
        for group in groups if number % 2 == 0 else reversed(groups):
            for arm in [group.decode, *group.arms] if number % 2 == 0 else [*reversed(group.arms), group.decode]:
                say(f"round {number + 1} of {rounds}: {arm.label}")
                before = group.decode.take(1, counted(group.decode)).seconds
                before *= counted(arm) * arm.spec.batch_size / (counted(group.decode) * group.decode.spec.batch_size)
                idle = [other for other in everyone if other is not arm]
                taken, others = _watched(arm, counted(arm), idle)
                beside = arm.take(arm.ready.ahead, counted(arm), busy=True).seconds if busy else None
                arm.rest(taken.seconds / counted(arm))
                seen[arm.label].append(Round(before, taken.seconds, taken.trainer_seconds, taken.cpu_seconds, beside, others))
    return seen


def _watched(arm: Arm, count: int, idle: list[Arm]) -> tuple[Taken, float | None]:
    before = [other.cpu_seconds() for other in idle]
    taken = arm.take(arm.ready.ahead, count)
    after = [other.cpu_seconds() for other in idle]
    used = [b - a for a, b in zip(before, after, strict=True) if a is not None and b is not None]
    return taken, sum(used) if len(used) == len(idle) else None
