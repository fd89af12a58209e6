"""Learning rates by depth: what lies lower in a vision transformer learns more slowly, as in BEiT's fine-tuning
(arXiv:2106.08254) and DINOv2's pretraining (arXiv:2304.07193; facebookresearch/dinov2, utils/param_groups.py)."""

from __future__ import annotations

from typing import Any

from torch import nn

from .method import Rate


def rates_by_depth(vit: nn.Module, prefix: str, decay: float, patch_embed: float = 1.0) -> dict[str, Rate]:
    """For `Method.rates`, of a plain vision transformer of L blocks that the method calls `prefix`: decay ** (L - i) for block i,
    from 0; decay ** (L + 1) for what lies before the first, its tables and tokens, and patch_embed of that for the patches'
    projection. The last norm and all outside have the run's rate."""
    whole: Any = vit
    blocks = len(whole.blocks)
    front = decay ** (blocks + 1)
    rates: dict[str, Rate] = {f"{prefix}.{name}": front for name, _ in vit.named_parameters(recurse=False)}
    rates[f"{prefix}.patch_embed"] = front * patch_embed
    return rates | {f"{prefix}.blocks.{i}": decay ** (blocks - i) for i in range(blocks)}
