"""A patch with its inside inpainted. Source: LCI, arXiv:2004.02331."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Inpaint(Op):
    """hole_px becomes noise; border_px is left around it. The inpainter is a model, so the method renders it."""

    type: ClassVar[str] = "inpaint"

    crop_px: int | None = fields.whole()
    hole_px: int | None = fields.whole()
    border_px: int | None = fields.whole()
    noise_std: float | None = fields.strength()
    scope: str | None = fields.scope()
