"""Knowledge transfer (Noroozi et al. 2018, arXiv:1805.00385): the ordinary views of supervised training."""

from __future__ import annotations

from ..ops import Flip, Op, RandomCrop
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset, bilinear_crop


def _recipe(name: str, size_px: int, crop: Op) -> Recipe:
    return Recipe(name=name, views=(View(group="global", size_px=size_px, ops=(crop, Flip(p=0.5), IMAGENET)),))


pseudo_labels = _recipe("pseudo_labels", 224, bilinear_crop(224))
pseudo_labels_cifar = _recipe("pseudo_labels_cifar", 32, RandomCrop(size_px=32, pad_px=4))

PRESETS = (
    Preset(pseudo_labels, "arXiv 1805.00385", "torchvision's random resized crop, flip 0.5: the source does not say"),
    Preset(pseudo_labels_cifar, "arXiv 1805.00385", "our 32 px form: padded crops"),
)
