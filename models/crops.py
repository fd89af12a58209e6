"""Multi-crop (SwAV, arXiv:2006.09882): views of several sizes through one backbone and one projector."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .views import Views
from .vit import features_of


def crops_of(batch: Views, name: str) -> list[Tensor]:
    """Of a batch's views those in "global", (G, B, C, H, W), and, where there is one, in "local". Raises ValueError, naming the
    method, unless they are two in all at least."""
    crops = [batch.views[group] for group in ("global", "local") if group in batch.views]
    views = sum(len(crop) for crop in crops)
    if views < 2:
        raise ValueError(f"{name} compares views of an image, the recipe has {views}; use recipe={name}")
    return crops


def embed_crops(backbone: nn.Module, projector: nn.Module, crops: list[Tensor], name: str) -> Tensor:
    """crops (v, B, C, H, W), each of a size, to embeddings (V, B, D) float32 of length 1, V views in all.

    The backbone sees one size at a time; the projector, and batch norm in it, all views together, as in SwAV's code. Raises
    ValueError where the backbone takes no views of such a size, or batch norm would learn from one image alone.
    """
    images = crops[0].shape[1]
    if projector.training and images < 2:
        raise ValueError(f"{name}'s batch norm needs at least 2 images on each rank; raise batch_size, or use fewer ranks")
    z = projector(torch.cat([features_of(backbone, crop.flatten(0, 1)) for crop in crops]))
    return F.normalize(z.float(), dim=1).unflatten(0, (-1, images))
