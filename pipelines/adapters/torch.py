"""Plain PyTorch: `for views, target in batches`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .stream import Batches, views_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..batch import Batch
    from ..loader import Loader


def form(batch: Batch) -> tuple[list[Tensor], Tensor]:
    """Views, each (B, C, H, W); target (B,) int64, -1 where there is none."""
    return views_of(batch), batch.label


def adapted(loader: Loader) -> Batches:
    return Batches(loader, form)
