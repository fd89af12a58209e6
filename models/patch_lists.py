"""Some of an image's patches, as many as each image has, and a transformer on those alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..augment.masks.multi_block import batch_minimum


@dataclass(frozen=True)
class PatchLists:
    """index (..., K) int64: raster numbers of patches, ascending. real (..., K) bool: which of them count, the others fill the
    list up; None: all do."""

    index: Tensor
    real: Tensor | None

    def to(self, device: torch.device) -> PatchLists:
        real = None if self.real is None else self.real.to(device, non_blocking=True)
        return PatchLists(self.index.to(device, non_blocking=True), real)

    def all_real(self) -> Tensor:
        """(..., K) bool, whether or not any list is filled up."""
        return torch.ones_like(self.index, dtype=torch.bool) if self.real is None else self.real

    def first(self, images: int) -> PatchLists:
        """Those of the first images."""
        return PatchLists(self.index[:images], None if self.real is None else self.real[:images])

    def mask(self, patches: int) -> Tensor:
        """(..., patches) bool: of all patches those that are listed and count."""
        whole = torch.zeros(*self.index.shape[:-1], patches, dtype=torch.bool, device=self.index.device)
        return whole.scatter(-1, self.index, self.all_real())

    def rows(self, values: Tensor) -> Tensor:
        """values (..., K, D) of the listed patches to those that count, (how many, D)."""
        return values.flatten(0, -2) if self.real is None else values[self.real]

    @property
    def mean_length(self) -> Tensor:
        """Patches that count in a list, on average; a scalar."""
        return self.all_real().sum(-1, dtype=torch.float32).mean()


def lists_of(chosen: Tensor, *, cut: bool, what: str) -> PatchLists:
    """The patches chosen in each mask, (..., rows, columns) bool. cut: as many of each as the shortest list has, the first row by
    row (`batch_minimum`); else all, the shorter lists filled up. On the CPU this costs an accelerator no wait.

    Raises ValueError where a mask chooses none; what: what a mask is of.
    """
    counts = chosen.flatten(-2).sum(-1)
    least, most = (int(n) for n in counts.aminmax()) if counts.numel() else (1, 1)
    if least < 1:
        raise ValueError(f"every {what} needs at least one patch, and one of this batch has none; use a recipe whose masks leave "
                         "some, such as ijepa's")
    if cut or least == most:
        return PatchLists(batch_minimum(chosen), None)
    index = chosen.flatten(-2).logical_not().byte().argsort(dim=-1, stable=True)[..., :most]
    return PatchLists(index, torch.arange(most, device=index.device) < counts[..., None])


def gathered(values: Tensor, index: Tensor) -> Tensor:
    """values (N, L, D) of all patches to those listed in index (N, ..., K), (N, ..., K, D)."""
    flat = index.flatten(1)
    return values.gather(1, flat[:, :, None].expand(-1, -1, values.shape[2])).unflatten(1, index.shape[1:])


def through(blocks: Iterable[Any], x: Tensor, real: Tensor | None) -> Tensor:
    """x (N, K, D) through timm's blocks. real (N, K) bool: tokens that are looked at; what comes of the others means nothing;
    None: all."""
    seen = None if real is None else real[:, None, None, :]
    for block in blocks:
        x = block(x) if seen is None else block(x, attn_mask=seen)
    return x
