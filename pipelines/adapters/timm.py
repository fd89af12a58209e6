"""timm's `train.py`: (input, target), and what it touches on a loader.

Views of one sample are one batch of V B rows, all first views, then all second ones, as its fast_collate lays out augmentation
splits. Bytes (`Loader(..., dtype="uint8")`) go into its PrefetchLoader, which normalizes on the device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .stream import Batches

if TYPE_CHECKING:
    from torch import Tensor

    from ..batch import Batch
    from ..loader import Loader


def form(batch: Batch) -> tuple[Tensor, Tensor]:
    """Input (V B, C, H, W), target (V B,) int64."""
    (views,) = batch.views.values()
    return views.flatten(0, 1), batch.label.repeat(len(views)) if len(views) > 1 else batch.label


class TimmBatches(Batches):
    """mixup_enabled: train.py switches a loader's own mixup off at an epoch; this one has none, and its Mixup class, which
    works on batches, goes on as before."""

    mixup_enabled = False


def adapted(loader: Loader) -> TimmBatches:
    """Raises ValueError for views of several shapes, and for data without labels."""
    if len(loader.recipe.groups) > 1:
        raise ValueError(f"adapt(to='timm'): train.py takes views of one size, and recipe {loader.recipe} has groups "
                         f"{', '.join(loader.recipe.groups)}: give a recipe with one")
    if not loader.source.labelled:
        raise ValueError("adapt(to='timm'): train.py learns from labels, and these data have none: name data with labels")
    return TimmBatches(loader, form)
