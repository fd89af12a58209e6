"""MoCo v3 (Chen, Xie, He 2021, arXiv:2104.02057): BYOL's pair, the flip last."""

from __future__ import annotations

from ..ops import Flip, Op, Solarize
from ..recipe import Recipe, View
from .preset import GRAY, IMAGENET, JITTER, Preset, bilinear_crop, pillow_blur


def _view(scale: tuple[float, float], *after_gray: Op) -> View:
    return View(group="global", size_px=224, ops=(
        bilinear_crop(224, scale), JITTER, GRAY, *after_gray, Flip(p=0.5), IMAGENET,
    ))


def _recipe(name: str, scale: tuple[float, float]) -> Recipe:
    return Recipe(name=name, views=(
        _view(scale, pillow_blur(1.0)),
        _view(scale, pillow_blur(0.1), Solarize(p=0.2, threshold=128)),
    ))


moco_v3_r50 = _recipe("moco_v3_r50", (0.2, 1.0))
moco_v3_vit = _recipe("moco_v3_vit", (0.08, 1.0))


def _small(*after_gray: Op) -> View:
    """Without blur: 32 px images have little to lose."""
    return View(group="global", size_px=32, ops=(bilinear_crop(32, (0.2, 1.0)), JITTER, GRAY, *after_gray, Flip(p=0.5), IMAGENET))


moco_v3_cifar = Recipe(name="moco_v3_cifar", views=(_small(), _small(Solarize(p=0.2, threshold=128))))

_CODE = "facebookresearch/moco-v3 @ c349e6e; arXiv 2104.02057"

PRESETS = (
    Preset(moco_v3_r50, _CODE),
    Preset(moco_v3_vit, _CODE),
    Preset(moco_v3_cifar, _CODE, "our 32 px form, no blur"),
)
