"""A patch passed through the method's inpainter with nothing erased. Source: LCI, arXiv:2004.02331."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op
from .batched import in_half
from .inpaint import patch

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import OpParams


@dataclass(frozen=True, kw_only=True)
class Autoencode(Op):
    """A patch of crop_px at a uniform place, in the half of each aligned block of positions that applies_to names (None: in
    all): so that the inpainter's hand is no sign of `inpaint`. That is a model, so the method renders it.

    Parameters: apply (N,) bool; box (N, 4) int32 top, left, height, width, drawn for all.
    Raises ValueError when drawn on an image smaller than the patch.
    """

    type: ClassVar[str] = "autoencode"
    optional: ClassVar[frozenset[str]] = frozenset({"applies_to", "share"})
    needs: ClassVar[str] = "the method's inpainter"

    crop_px: int | None = fields.whole()
    applies_to: str | None = fields.one_of(None, "first-half-of-batch", "second-half-of-batch")
    scope: str | None = fields.scope()
    share: str | None = fields.text()

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        box = patch(self.type, self.crop_px, chance.uniforms(2, scope=str(self.scope)), size_hw)
        return {"apply": in_half(chance, self.applies_to), "box": box}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        top, left, height, width = params["box"][row].tolist()
        return f"{self.type} {width}x{height} at {left},{top}" if params["apply"][row] else ""
