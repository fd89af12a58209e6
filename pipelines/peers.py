"""The same recipes in the tools people use today, for side-by-side measurement only."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from torchvision import transforms as T

from ..augment.masks import Mask
from ..augment.ops import Blur, Crop, Flip, Grayscale, Jitter, Normalize, Op, Solarize
from ..augment.recipe import Recipe, UnsupportedRecipe
from .source import Source


class PillowBlur:
    """Pillow's Gaussian blur of a drawn radius, as the published torchvision pipelines have it."""

    def __init__(self, sigma_px: tuple[float, float]) -> None:
        self.sigma_px = sigma_px

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(random.uniform(*self.sigma_px)))


def torchvision_transform(ops: tuple[Op, ...]) -> Callable[[Image.Image], torch.Tensor]:
    """One view's ops as torchvision transforms on Pillow images. Raises UnsupportedRecipe for what has no equal there."""
    steps: list[Any] = []
    for op in ops:
        match op:
            case Crop(law="torchvision-retry", antialias=True):
                assert op.size_px and op.scale and op.ratio
                steps.append(T.RandomResizedCrop(op.size_px, op.scale, op.ratio, T.InterpolationMode(str(op.filter))))
            case Flip():
                steps.append(T.RandomHorizontalFlip(float(op.p or 0)))
            case Jitter(brightness_law="multiplicative", contrast_pivot="luma-mean", saturation_law="gray-blend"):
                steps.append(T.RandomApply([T.ColorJitter(*op.strengths())], float(op.p or 0)))
            case Grayscale():
                steps.append(T.RandomGrayscale(float(op.p or 0)))
            case Blur(kind="pillow"):
                assert op.sigma_px
                steps.append(T.RandomApply([PillowBlur(op.sigma_px)], float(op.p or 0)))
            case Solarize():
                if op.p:
                    steps.append(T.RandomSolarize(op.level, op.p))
            case Normalize(kind="mean-std"):
                steps += [T.ToTensor(), T.Normalize(op.mean, op.std)]
            case Normalize(kind="none"):
                steps.append(T.ToTensor())
            case Mask():
                pass
            case _:
                raise UnsupportedRecipe(f"torchvision has no equal of {op.type} in this form")
    return T.Compose(steps)


class PillowViews(IterableDataset):
    """Endless samples, each the list of a recipe's views, decoded by Pillow and transformed by torchvision."""

    def __init__(self, source: Source, recipe: Recipe) -> None:
        self.source = source
        self.transforms = [torchvision_transform(instance.ops) for instance in recipe.instances]

    def __iter__(self) -> Iterator[list[torch.Tensor]]:
        worker = get_worker_info()
        order = np.random.default_rng(worker.id if worker else 0)
        while True:
            data = self.source.read(int(order.integers(len(self.source))))
            image = Image.fromarray(data) if isinstance(data, np.ndarray) else Image.open(io.BytesIO(data)).convert("RGB")
            yield [transform(image) for transform in self.transforms]


def torchvision_loader(source: Source, recipe: Recipe, batch_size: int, workers: int) -> DataLoader:
    """The usual training loader: a torch DataLoader with worker processes, torchvision's transforms on Pillow."""
    return DataLoader(PillowViews(source, recipe), batch_size, num_workers=workers, drop_last=True)
