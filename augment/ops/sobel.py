"""Gradients instead of colours. Source: DeepCluster, arXiv:1807.05520."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Sobel(Op):
    """The gray image's gradients, `channels` of them."""

    type: ClassVar[str] = "sobel"

    gray_weights: tuple[float, float, float] | None = fields.weights()
    channels: int | None = fields.whole()
