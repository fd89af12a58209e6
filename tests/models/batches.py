"""Batches made on the spot: random views, and masks of an exact size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from viewmill.augment.draw import draw
from viewmill.augment.handover import Handover
from viewmill.augment.recipe import Recipe
from viewmill.augment.render import render
from viewmill.pipelines.batch import Batch


def batch_of(views: torch.Tensor | None = None, masks: np.ndarray | None = None, **groups: torch.Tensor) -> Batch:
    """views (V, B, C, H, W) as group "global", and further groups by name; masks (V, B, rows, columns) bool."""
    groups = groups if views is None else {"global": views, **groups}
    count = next(iter(groups.values())).shape[1]
    params = {} if masks is None else {f"global/{i}": {"mask": {"mask": mask}} for i, mask in enumerate(masks)}
    number = torch.arange(count)
    return Batch(views=groups, params=params, label=torch.full((count,), -1), key=[str(i) for i in range(count)],
                 index=number, position=number, substitute=torch.zeros(count, dtype=torch.bool), epoch=0)


def random_views(views: int, images: int, side: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(views, images, 3, side, side, generator=torch.Generator().manual_seed(seed))


def random_masks(views: int, images: int, rows: int, columns: int, visible: int, seed: int = 0) -> np.ndarray:
    rank = np.random.default_rng(seed).random((views, images, rows * columns)).argsort(-1).argsort(-1)
    return (rank >= visible).reshape(views, images, rows, columns)


def handed_batch(recipe: Recipe, images: np.ndarray, types: Sequence[str], rows: slice = slice(None), *, seed: int = 0) -> Batch:
    """A loader's batch of some rows of images (B, H, W, 3) uint8, all of one size, with ops of these types left to the method;
    drawn and rendered by the specification."""
    which = np.arange(len(images))[rows]
    params = draw(recipe, seed, 0, which, np.full((len(which), 2), images.shape[1:3]), position=which, length=len(images))
    handover = Handover(recipe, tuple(types))
    batch = batch_of(**render(images[rows], handover.rendered, params))
    batch.params, batch.handover, batch.index = params, handover, torch.from_numpy(which)
    return batch


def uneven_masks(images: int, seed: int = 0, side: int = 4) -> np.ndarray:
    """(1, images, side, side) bool: image i has i % 5 + 1 masked patches."""
    rank = np.random.default_rng(seed).random((images, side * side)).argsort(-1).argsort(-1)
    return (rank < (np.arange(images) % 5 + 1)[:, None]).reshape(1, images, side, side)
