"""lightly's own view transforms, MultiViewTransform and MultiViewCollate in a torch DataLoader."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from ....augment.masks import Mask
from ....augment.ops import Blur, Crop, Flip, Grayscale, Jitter, Normalize, Op, Solarize
from ....augment.recipe import Recipe, UnsupportedRecipe
from ...source import Source
from ..files import Files
from . import Stream
from .loading import loaded, own_images_only, pillow_image, refusal

os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")  # or it asks a server

from lightly.data.multi_view_collate import MultiViewCollate
from lightly.transforms.dino_transform import DINOViewTransform
from lightly.transforms.mae_transform import MAETransform
from lightly.transforms.multi_view_transform import MultiViewTransform
from lightly.transforms.simclr_transform import SimCLRViewTransform

ORDER: tuple[type[Op], ...] = (Crop, Flip, Jitter, Grayscale, Blur, Solarize, Normalize)
"""Of lightly's view transforms."""


def transform(ops: tuple[Op, ...]) -> Callable[[Any], Any]:
    """One view by the class of lightly that has its crop's filter. Raises UnsupportedRecipe for what none of them does."""
    ops = tuple(op for op in ops if not isinstance(op, Mask))
    for op in ops:
        match op:
            case Crop(law="torchvision-retry", antialias=True) if op.ratio == (3 / 4, 4 / 3):
                pass
            case Jitter(brightness_law="multiplicative", contrast_pivot="luma-mean", saturation_law="gray-blend"):
                pass
            case Flip() | Grayscale() | Blur(kind="pillow") | Normalize(kind="mean-std" | "none"):
                pass
            case Solarize() if not op.p or op.level == 128:
                pass
            case _:
                raise refusal("lightly", op)
    found = {kind: next((op for op in ops if isinstance(op, kind)), None) for kind in ORDER}
    if [type(op) for op in ops] != [kind for kind in ORDER if found[kind] is not None] or found[Crop] is None:
        raise UnsupportedRecipe(f"lightly's views have their ops in one order, not {', '.join(op.type for op in ops)}")
    crop, flip, jitter, gray = found[Crop], found[Flip], found[Jitter], found[Grayscale]
    blur, solarize, normalize = found[Blur], found[Solarize], found[Normalize]
    assert isinstance(crop, Crop) and crop.scale is not None
    levels = {"mean": list(normalize.mean or ()), "std": list(normalize.std or ())} if isinstance(normalize, Normalize) \
        and normalize.kind == "mean-std" else None
    chance = {"hf_prob": float(getattr(flip, "p", 0) or 0)}
    if jitter is gray is blur is solarize is None and crop.filter == "bicubic" and crop.scale[1] == 1 and levels \
            and chance["hf_prob"] == 0.5:
        return _Only(MAETransform(crop.size_px, crop.scale[0], levels))
    b, c, s, h = jitter.strengths() if isinstance(jitter, Jitter) else (0.0, 0.0, 0.0, 0.0)
    given = {**chance, "cj_prob": float(getattr(jitter, "p", 0) or 0), "cj_strength": 1.0, "cj_bright": b, "cj_contrast": c,
             "cj_sat": s, "cj_hue": h, "random_gray_scale": float(getattr(gray, "p", 0) or 0),
             "gaussian_blur": float(getattr(blur, "p", 0) or 0), "sigmas": getattr(blur, "sigma_px", None) or (0.1, 2.0),
             "normalize": levels}
    if crop.filter == "bicubic":
        return DINOViewTransform(crop_size=crop.size_px, crop_scale=crop.scale,
                                 solarization_prob=float(getattr(solarize, "p", 0) or 0), **given)
    if crop.filter == "bilinear" and crop.scale[1] == 1 and not getattr(solarize, "p", 0):
        return SimCLRViewTransform(input_size=crop.size_px, min_scale=crop.scale[0], **given)
    raise refusal("lightly", crop)


class _Only:
    """The view of a transform that makes one."""

    def __init__(self, views: Callable[[Any], list[Tensor]]) -> None:
        self.views = views

    def __call__(self, image: Any) -> Tensor:
        return self.views(image)[0]


class _Labelled(Dataset[Any]):
    """(views, label, file name), as lightly's collate takes them."""

    def __init__(self, source: Source, transform: Callable[[Any], list[Tensor]]) -> None:
        self.source, self.transform = source, transform

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[list[Tensor], int, str]:
        encoded = self.source.read(index)
        assert isinstance(encoded, bytes)
        return self.transform(pillow_image(encoded)), self.source.label(index), self.source.key(index)


def transforms(recipe: Recipe) -> list[Callable[[Any], Any]]:
    own_images_only(recipe, "lightly")
    return [transform(instance.ops) for instance in recipe.instances]


def notes(recipe: Recipe) -> list[str]:
    return ["every op is the recipe's own; views with a bicubic crop are made by its DINOViewTransform (MAETransform without "
            "colour), since its SimCLR crops are bilinear"]


def stream(files: Files, recipe: Recipe, batch_size: int, threads: int) -> Stream:
    source = files.source()
    dataset = _Labelled(source, MultiViewTransform(transforms(recipe)))
    return loaded(dataset, len(source), batch_size, threads, MultiViewCollate(), lambda batch: batch[0])
