"""DINOv2 (Oquab et al. 2023, arXiv:2304.07193): DINO's crops, half of the global ones of a block masked.

As it ran: its wrapper turned the chance of blur round, so the first global crop (written as 1.0) is never blurred and the
second (written as 0.1) nearly always."""

from __future__ import annotations

from dataclasses import replace

from ..masks import StratifiedBlock
from ..ops import Blur, Op, Solarize
from ..recipe import Recipe, View
from .dino import small, view
from .preset import Preset


def _blur(p: float) -> Blur:
    return Blur(p=p, kind="gaussian", taps=9, sigma_px=(0.1, 2.0), border="reflect")


def _mask(side: int) -> StratifiedBlock:
    return StratifiedBlock(grid=(side, side), masked_fraction=0.5, ratio=(0.1, 0.5), min_area=4, max_area=side * side // 2,
                           aspect=(0.3, 3.3), attempts=10, on_fail="stop")


def _recipe(name: str, patch_px: int, local_px: int) -> Recipe:
    mask = (_mask(224 // patch_px),)
    return Recipe(name=name, views=(
        view("global", 224, (0.32, 1.0), _blur(0.0), mask=mask),
        view("global", 224, (0.32, 1.0), _blur(0.9), Solarize(p=0.2, threshold=128), mask=mask),
        view("local", local_px, (0.05, 0.32), _blur(0.5), count=8),
    ))


dinov2_p16 = _recipe("dinov2_p16", 16, 96)
dinov2_p14 = _recipe("dinov2_p14", 14, 98)


def _small(scale: tuple[float, float], *more: Op, count: int = 1) -> View:
    base = small("global", 32, scale, *more, count=count)
    return replace(base, ops=(*(base.ops or ()), _mask(8)))


dinov2_cifar = Recipe(name="dinov2_cifar", views=(
    _small((0.32, 1.0)),
    _small((0.32, 1.0), Solarize(p=0.2, threshold=128)),
    small("local", 16, (0.05, 0.32), count=6),
))
dinov2_2x32 = Recipe(name="dinov2_2x32", views=(_small((0.2, 1.0), count=2),))

_CODE = "facebookresearch/dinov2 @ b8931f7 (blur: dinov2 PR 411, dinov3 issue 286 and PR 342); arXiv 2304.07193"
_DECIDED = "blocks of at most half the patches, ten attempts, then fewer masked: the sources leave these open"

PRESETS = (
    Preset(dinov2_p16, _CODE, _DECIDED),
    Preset(dinov2_p14, _CODE, _DECIDED),
    Preset(dinov2_cifar, _CODE, "our 32 px form, patches of 4 px: 6 local views of 16 px, no blur; " + _DECIDED),
    Preset(dinov2_2x32, _CODE, "our 32 px form without local views, patches of 4 px; no blur; " + _DECIDED),
)
