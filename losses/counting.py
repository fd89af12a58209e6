"""What the parts of a picture count together, the whole counts (Noroozi et al. 2017, arXiv:1708.06734)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Hinge = Literal["vector", "element"]


def counting_loss(whole: Tensor, parts: Tensor, other: Tensor, margin: float = 10.0,
                  hinge: Hinge = "vector") -> tuple[Tensor, Tensor]:
    """Counts (B, K) of each picture, of its parts in sum, and of another picture, to two scalars, float32 or wider, that are to
    be added: how far whole and parts are apart, and by how much other and parts are nearer than the margin.

    hinge "vector", the paper's: the means over pictures of |whole - parts|^2 and of max(0, margin - |other - parts|^2), of
    squared lengths of vectors. "element", clvrai's port: the means over pictures and counts of (whole - parts)^2 and of
    max(0, margin - (other - parts)^2), so that each single count has to differ.

    Raises ValueError where shapes differ, or for another word for hinge.
    """
    if whole.ndim != 2 or whole.shape != parts.shape or whole.shape != other.shape:
        raise ValueError("counts (B, K) of whole, parts and other need to fit, got "
                         f"{tuple(whole.shape)}, {tuple(parts.shape)}, {tuple(other.shape)}")
    if hinge not in ("vector", "element"):
        raise ValueError(f"hinge needs 'vector' or 'element', got {hinge!r}")
    with torch.autocast(whole.device.type, enabled=False):
        wide = torch.promote_types(whole.dtype, torch.float32)
        same, differ = (x.to(wide) - parts.to(wide) for x in (whole, other))
        same, differ = same.square(), differ.square()
        if hinge == "vector":
            same, differ = same.sum(1), differ.sum(1)
        return same.mean(), (margin - differ).clamp(min=0).mean()
