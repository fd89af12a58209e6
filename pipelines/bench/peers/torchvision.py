"""torchvision's transforms on Pillow images in the workers of a torch DataLoader: what most published pipelines are."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageFilter
from torch import Tensor
from torchvision import transforms as T

from ....augment.masks import Mask
from ....augment.ops import Blur, Crop, Flip, Grayscale, Jitter, Normalize, Op, Solarize
from ....augment.recipe import Recipe
from ..files import Files
from . import Stream
from .loading import Views, loaded, own_images_only, pillow_image, refusal


class PillowBlur:
    """Pillow's Gaussian blur of a drawn radius, as the published torchvision pipelines have it."""

    def __init__(self, sigma_px: tuple[float, float]) -> None:
        self.sigma_px = sigma_px

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(random.uniform(*self.sigma_px)))


def transform(ops: tuple[Op, ...]) -> Callable[[Image.Image], Tensor]:
    """One view's ops. Raises UnsupportedRecipe for what has no equal there."""
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
                raise refusal("torchvision on Pillow", op)
    return T.Compose(steps)


def transforms(recipe: Recipe) -> list[Callable[[Any], Any]]:
    own_images_only(recipe, "torchvision")
    return [transform(instance.ops) for instance in recipe.instances]


def notes(recipe: Recipe) -> list[str]:
    return ["every op is the recipe's own"]


def stream(files: Files, recipe: Recipe, batch_size: int, threads: int) -> Stream:
    source = files.source()
    return loaded(Views(source, pillow_image, transforms(recipe)), len(source), batch_size, threads)
