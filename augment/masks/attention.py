"""Visible patches drawn by a teacher's attention. Source: MILAN, arXiv:2208.06049."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from .mask import Mask


@dataclass(frozen=True, kw_only=True)
class Attention(Mask):
    """`visible` positions drawn without replacement by the teacher's class-token attention; the method draws it."""

    generator: ClassVar[str] = "attention"
    optional: ClassVar[frozenset[str]] = frozenset({"ratio"})

    grid: tuple[int, int] | None = fields.grid()
    visible: int | None = fields.whole()
    law: str | None = fields.one_of("plackett-luce", "plackett-luce")
    weights: str | None = fields.one_of("teacher-cls-attention", "teacher-cls-attention")
    ratio: float | None = fields.probability()
    scope: str | None = fields.scope()
