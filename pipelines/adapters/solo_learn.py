"""solo-learn: `indexes, X, targets = batch`, X a list of num_crops views, large ones first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .stream import Batches, views_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..batch import Batch
    from ..loader import Loader


def form(batch: Batch) -> list[Tensor | list[Tensor]]:
    """[index (B,) int64 in the data set, views each (B, C, H, W), targets (B,) int64, -1 where there is none, which its loss
    ignores]. A list, as torch's collate makes it."""
    return [batch.index, views_of(batch), batch.label]


def adapted(loader: Loader) -> Batches:
    return Batches(loader, form)
