"""lightly: `views, targets, names = batch`, as its MultiViewCollate makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .stream import Batches, views_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..batch import Batch
    from ..loader import Loader


def form(batch: Batch) -> tuple[list[Tensor], Tensor, list[str]]:
    """Views, each (B, C, H, W); targets (B,) int64, -1 where there is none; B keys."""
    return views_of(batch), batch.label, batch.key


def adapted(loader: Loader) -> Batches:
    return Batches(loader, form)
