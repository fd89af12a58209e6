"""albumentations on OpenCV arrays in the workers of a torch DataLoader: decoded by OpenCV, one Compose for each view."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or it asks a server for its newest version

import albumentations as A
import cv2
import numpy as np
from albumentations.pytorch import ToTensorV2
from torch import Tensor

from ....augment.fields import pair_of
from ....augment.masks import Mask
from ....augment.ops import Blur, Crop, Flip, Grayscale, Jitter, Normalize, Op, Solarize
from ....augment.recipe import Recipe
from ..files import Files
from . import Stream
from .loading import Views, loaded, own_images_only, refusal

FILTERS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


def decoded(encoded: bytes) -> np.ndarray:
    """(H, W, 3) uint8 RGB. One thread: the workers are the budget."""
    cv2.setNumThreads(0)
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION),
                        cv2.COLOR_BGR2RGB)


class _View:
    def __init__(self, compose: A.Compose) -> None:
        self.compose = compose

    def __call__(self, image: np.ndarray) -> Tensor:
        return self.compose(image=image)["image"]


def transform(ops: tuple[Op, ...]) -> Callable[[np.ndarray], Tensor]:
    """One view's ops. Raises UnsupportedRecipe for what has no equal there."""
    steps: list[Any] = []
    for op in ops:
        match op:
            case Crop(law="torchvision-retry", filter="bilinear" | "bicubic"):
                assert op.size_px and op.scale and op.ratio
                steps.append(A.RandomResizedCrop(size=pair_of(op.size_px), scale=op.scale, ratio=op.ratio,
                                                 interpolation=FILTERS[str(op.filter)]))
            case Flip():
                steps.append(A.HorizontalFlip(p=float(op.p or 0)))
            case Jitter(brightness_law="multiplicative", contrast_pivot="luma-mean", saturation_law="gray-blend"):
                b, c, s, h = op.strengths()
                around = [(max(0.0, 1 - x), 1 + x) for x in (b, c, s)]
                steps.append(A.ColorJitter(*around, hue=(-h, h), p=float(op.p or 0)))
            case Grayscale():
                steps.append(A.ToGray(p=float(op.p or 0)))
            case Blur():
                assert op.sigma_px
                taps = op.taps or 0  # 0: as many as sigma asks for
                steps.append(A.GaussianBlur(blur_limit=(taps, taps) if taps else 0, sigma_limit=op.sigma_px, p=float(op.p or 0)))
            case Solarize():
                if op.p:
                    steps.append(A.Solarize(threshold_range=(op.level / 255, op.level / 255), p=op.p))
            case Normalize(kind="mean-std"):
                steps.append(A.Normalize(op.mean, op.std))
            case Normalize(kind="none"):
                steps.append(A.Normalize((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
            case Mask():
                pass
            case _:
                raise refusal("albumentations", op)
    return _View(A.Compose([*steps, ToTensorV2()]))


def transforms(recipe: Recipe) -> list[Callable[[Any], Any]]:
    own_images_only(recipe, "albumentations")
    return [transform(instance.ops) for instance in recipe.instances]


def notes(recipe: Recipe) -> list[str]:
    found = ["resizes by OpenCV, without antialiasing"]
    if any(isinstance(op, Blur) and op.kind == "pillow" for instance in recipe.instances for op in instance.ops):
        found.append("blurs by a Gaussian of as many taps as sigma asks for, in place of Pillow's three boxes")
    return found


def stream(files: Files, recipe: Recipe, batch_size: int, threads: int) -> Stream:
    source = files.source()
    return loaded(Views(source, decoded, transforms(recipe)), len(source), batch_size, threads)
