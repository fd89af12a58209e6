"""Resize the whole image: to a short side, to exact sides, or to a drawn area."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op, UnsupportedRecipe
from .resample import crop_resize, resize

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Resize(Op):
    """mode "short-side": the short side becomes side_px, the other int(side_px * long / short), as torchvision does;
    "exact": both sides become side_px; "area": height times width uniform in area_px, aspect kept.

    Parameters: box (N, 4) the whole input, size (N, 2) the output's height and width, int32.
    """

    type: ClassVar[str] = "resize"
    optional: ClassVar[frozenset[str]] = frozenset({"side_px", "area_px", "cubic_a"})

    mode: str | None = fields.one_of("short-side", "short-side", "exact", "area")
    side_px: int | None = fields.whole()
    area_px: tuple[float, float] | None = fields.span(None, 1)
    filter: str | None = fields.one_of("bilinear", "bilinear", "bicubic", "lanczos")
    antialias: bool | None = fields.flag(True)
    cubic_a: float | None = fields.number(None, -2, 0)
    scope: str | None = fields.scope()

    def unstated(self) -> tuple[str, ...]:
        missing = "area_px" if self.mode == "area" else "side_px"
        needs = (missing,) if getattr(self, missing) is None else ()
        needs_a = self.filter == "bicubic" and self.antialias is False and self.cubic_a is None
        return (*super().unstated(), *needs, *(("cubic_a",) if needs_a else ()))

    def output(self, size_hw: tuple[int, int] | None, channels: int) -> tuple[tuple[int, int] | None, int]:
        if self.mode == "exact" and self.side_px is not None:
            return (self.side_px, self.side_px), channels
        return None, channels

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        size_hw = np.asarray(size_hw, np.int64)
        if self.mode == "area":
            assert self.area_px is not None
            area = laws.uniform(chance.uniforms(1, scope=str(self.scope))[:, :1], *self.area_px)
            size = np.maximum(np.rint(size_hw * np.sqrt(area / size_hw.prod(1, keepdims=True))), 1)
        elif self.mode == "exact":
            size = np.full_like(size_hw, self.side_px)
        else:
            short = size_hw.min(1, keepdims=True)
            size = np.where(size_hw == short, self.side_px, self.side_px * size_hw // short)
        size = size.astype(np.int32)
        box = np.concatenate([np.zeros_like(size), size_hw.astype(np.int32)], 1)
        return {"box": box, "size": size}, size

    def _size_of(self, size_hw: Sequence[int]) -> tuple[int, int]:
        """What one size becomes by the modes that draw nothing."""
        assert self.side_px is not None
        if self.mode == "exact":
            return self.side_px, self.side_px
        short = min(size_hw)
        height, width = (self.side_px if side == short else self.side_px * side // short for side in size_hw)
        return height, width

    def caption(self, params: OpParams, row: int) -> str:
        height, width = params["size"][row].tolist()
        return f"resize to {width}x{height}"

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        cubic_a = -0.5 if self.cubic_a is None else self.cubic_a
        if torch.as_tensor(params["box"]).is_floating_point():
            return self._of_scaled(images, params, cubic_a)
        if not isinstance(images, list) and self.mode != "area":  # all of one size, and so what becomes of them
            return resize(images, self._size_of(images.shape[-2:]), str(self.filter), bool(self.antialias), cubic_a)
        out = [resize(image, (int(h), int(w)), str(self.filter), bool(self.antialias), cubic_a)
               for image, (h, w) in zip(images, torch.as_tensor(params["size"]).tolist(), strict=True)]
        return torch.stack(out) if out and all(o.shape == out[0].shape for o in out) else out

    def _of_scaled(self, images: Images, params: OpParams, cubic_a: float) -> Images:
        """From images that were decoded at a fraction of their size, which ends within their last pixels: the box tells where."""
        import torch

        how = str(self.filter), bool(self.antialias), cubic_a
        if self.mode == "exact":
            assert self.side_px is not None
            return crop_resize(images, params["box"], (self.side_px, self.side_px), *how)
        if torch.compiler.is_compiling():
            raise UnsupportedRecipe(f"{self.name}: a traced graph needs sizes that are the same for all images, and mode "
                                    f"{self.mode!r} tells them by the whole image; use mode='exact', or decode='full'")
        box = torch.as_tensor(params["box"])
        out = [crop_resize([image], box[row:row + 1], (int(h), int(w)), *how)[0]
               for row, (image, (h, w)) in enumerate(zip(images, torch.as_tensor(params["size"]).tolist(), strict=True))]
        return torch.stack(out) if out and all(o.shape == out[0].shape for o in out) else out
