"""Plain webdataset: its own reading, splitting by worker, shuffling and decoding by Pillow, torchvision's transforms, its
batching inside the workers, and its WebLoader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import webdataset as wds
from torch import Tensor

from ....augment.recipe import Recipe
from ..files import EXTENSIONS, Files
from . import Stream
from . import torchvision as pillow
from .loading import streamed


class _Views:
    def __init__(self, transforms: list[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> list[Tensor]:
        return [transform(image) for transform in self.transforms]


def _stacked(samples: list[tuple[list[Tensor]]]) -> list[Tensor]:
    return [torch.stack(views) for views in zip(*(sample[0] for sample in samples), strict=True)]


def notes(recipe: Recipe) -> list[str]:
    return ["every op is the recipe's own; each worker shuffles within its own shards"]


def stream(files: Files, recipe: Recipe, batch_size: int, threads: int) -> Stream:
    dataset = (wds.WebDataset([str(shard) for shard in files.shards], shardshuffle=len(files.shards), seed=0,
                              workersplitter=wds.split_by_worker, empty_check=False)
               .repeat().shuffle(1000).decode("pilrgb").to_tuple(";".join(EXTENSIONS))
               .map_tuple(_Views(pillow.transforms(recipe)))
               .batched(batch_size, collation_fn=_stacked, partial=False))
    return streamed(wds.WebLoader(dataset, batch_size=None, num_workers=threads), threads)
