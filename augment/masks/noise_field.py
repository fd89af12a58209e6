"""Regions of enlarged noise. Source: Context Encoders, arXiv:1604.07379."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from .mask import Mask


@dataclass(frozen=True, kw_only=True)
class NoiseField(Mask):
    """A window of noise_px noise enlarged to canvas_px, cut at threshold, taken if the masked fraction is in `accept`."""

    generator: ClassVar[str] = "noise-field"

    noise_px: int | None = fields.whole()
    canvas_px: int | None = fields.whole()
    upsample: str | None = fields.one_of("bicubic", "bilinear", "bicubic", "lanczos")
    threshold: float | None = fields.probability()
    accept: tuple[float, float] | None = fields.area()
    fill: tuple[float, ...] | None = fields.vector()
    fill_scale: str | None = fields.one_of(None, "uint8", "unit")
    scope: str | None = fields.scope()
