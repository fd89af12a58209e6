"""One of a few tone ops. Source: PIRL, arXiv:1912.01991."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Photometric(Op):
    """With chance p, `pick` of the choices at `strength`."""

    type: ClassVar[str] = "photometric"

    p: float | None = fields.probability(None)
    choices: tuple[str, ...] | None = fields.words()
    pick: int | None = fields.whole()
    strength: float | None = fields.number()
    scope: str | None = fields.scope()
