"""The nearest of a few colours. Source: iGPT (Chen et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Palette(Op):
    """colours: entries of the palette."""

    type: ClassVar[str] = "palette"

    colours: int | None = fields.whole()
    distance: str | None = fields.one_of("squared-euclid", "squared-euclid")
