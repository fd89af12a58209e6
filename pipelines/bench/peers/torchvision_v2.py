"""torchvision's v2 transforms on uint8 tensors in the workers of a torch DataLoader, as its documentation recommends for
speed: decoded to tensors, bytes until the end, then float and normalized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import InterpolationMode, v2

from ....augment.masks import Mask
from ....augment.ops import Blur, Crop, Flip, Grayscale, Jitter, Normalize, Op, Solarize
from ....augment.recipe import Recipe
from ..files import Files
from . import Stream
from .loading import Views, loaded, own_images_only, refusal


def taps_of(op: Blur, side_px: int) -> int:
    """The op's own, or for Pillow's blur, which has none, a tenth of the side, odd: the papers' 23 for 224 pixels."""
    return op.taps or side_px // 10 // 2 * 2 + 1


def decoded(encoded: bytes) -> Tensor:
    """(3, H, W) uint8."""
    return decode_image(torch.from_numpy(np.frombuffer(bytearray(encoded), np.uint8)), ImageReadMode.RGB)


def transform(ops: tuple[Op, ...], side_px: int) -> Callable[[Tensor], Tensor]:
    """One view's ops. Raises UnsupportedRecipe for what has no equal there."""
    steps: list[Any] = []
    for op in ops:
        match op:
            case Crop(law="torchvision-retry", antialias=True):
                assert op.size_px and op.scale and op.ratio
                steps.append(v2.RandomResizedCrop(op.size_px, op.scale, op.ratio, InterpolationMode(str(op.filter)),
                                                  antialias=True))
            case Flip():
                steps.append(v2.RandomHorizontalFlip(float(op.p or 0)))
            case Jitter(brightness_law="multiplicative", contrast_pivot="luma-mean", saturation_law="gray-blend"):
                steps.append(v2.RandomApply([v2.ColorJitter(*op.strengths())], float(op.p or 0)))
            case Grayscale():
                steps.append(v2.RandomGrayscale(float(op.p or 0)))
            case Blur():
                assert op.sigma_px
                steps.append(v2.RandomApply([v2.GaussianBlur(taps_of(op, side_px), op.sigma_px)], float(op.p or 0)))
            case Solarize():
                if op.p:
                    steps.append(v2.RandomSolarize(op.level, op.p))
            case Normalize(kind="mean-std"):
                steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(op.mean, op.std)]
            case Normalize(kind="none"):
                steps.append(v2.ToDtype(torch.float32, scale=True))
            case Mask():
                pass
            case _:
                raise refusal("torchvision v2", op)
    return v2.Compose(steps)


def transforms(recipe: Recipe) -> list[Callable[[Any], Any]]:
    own_images_only(recipe, "torchvision v2")
    return [transform(instance.ops, instance.size_hw[0]) for instance in recipe.instances]


def notes(recipe: Recipe) -> list[str]:
    blurs = [op for instance in recipe.instances for op in instance.ops if isinstance(op, Blur) and op.kind == "pillow"]
    return ["blurs by a Gaussian of 23 taps at 224 px, 9 at 96, in place of Pillow's three boxes"] if blurs else []


def stream(files: Files, recipe: Recipe, batch_size: int, threads: int) -> Stream:
    source = files.source()
    return loaded(Views(source, decoded, transforms(recipe)), len(source), batch_size, threads)
