"""A network that follows another: an exponential moving average of its parameters."""

from __future__ import annotations

import copy
import math
from typing import Literal, TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def follower(student: Module) -> Module:
    """A copy that no gradient reaches and that `follow` moves. Its batch norms keep running statistics of their own."""
    teacher = copy.deepcopy(student)
    teacher.requires_grad_(False)
    return teacher


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float, *, buffers: Literal["keep", "copy"] = "keep") -> None:
    """teacher = momentum * teacher + (1 - momentum) * student, parameters only, in one fused pass over all of them.

    buffers "keep": left alone, since no official code averages batch norm's statistics and the teacher has its own; "copy":
    the student's as they are. Raises ValueError on a momentum outside [0, 1], another word for buffers, or where the two
    networks' parameters are not the same.
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum of the average needs a number in [0, 1], got {momentum}")
    if buffers not in ("keep", "copy"):
        raise ValueError(f"buffers needs 'keep' or 'copy', got {buffers!r}")
    to, source = dict(teacher.named_parameters()), dict(student.named_parameters())
    if to.keys() != source.keys():
        raise ValueError(f"teacher and student differ: only one of them has {sorted(to.keys() ^ source.keys())[0]!r}")
    torch._foreach_lerp_(list(to.values()), [source[name].detach() for name in to], 1 - momentum)
    if buffers == "copy":
        given = dict(student.named_buffers())
        for name, buffer in teacher.named_buffers():
            buffer.copy_(given[name])


def rising_momentum(first: float, progress: float) -> float:
    """From `first`, at progress 0, along half a cosine to 1, at progress 1: an average that at last stands still."""
    return 1 - (1 - first) * (1 + math.cos(math.pi * progress)) / 2
