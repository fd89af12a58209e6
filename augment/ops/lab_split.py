"""CIE Lab, and part of its channels. Sources: Split-Brain, arXiv:1611.09842; CMC, arXiv:1906.05849."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class LabSplit(Op):
    """keep: of L, a and b."""

    type: ClassVar[str] = "lab_split"

    keep: tuple[str, ...] | None = fields.words()
