"""DINO (Caron et al. 2021, arXiv:2104.14294): two global crops, the second solarized at times, and local ones."""

from __future__ import annotations

from ..ops import Flip, Op, Solarize
from ..recipe import Recipe, View
from .preset import GRAY, IMAGENET, JITTER, Preset, bicubic_crop, pillow_blur


def view(group: str, size_px: int, scale: tuple[float, float], blur: Op, *more: Op, count: int = 1, mask: tuple[Op, ...] = (),
         ) -> View:
    """One view of the DINO family; more: what follows the blur."""
    return View(group=group, count=count, size_px=size_px, ops=(
        bicubic_crop(size_px, scale), Flip(p=0.5), JITTER, GRAY, blur, *more, IMAGENET, *mask,
    ))


def pair(scale: tuple[float, float], *mask: Op) -> tuple[View, View]:
    """The two global crops."""
    return (
        view("global", 224, scale, pillow_blur(1.0), mask=mask),
        view("global", 224, scale, pillow_blur(0.1), Solarize(p=0.2, threshold=128), mask=mask),
    )


def local(count: int, scale: tuple[float, float]) -> View:
    return view("local", 96, scale, pillow_blur(0.5), count=count)


dino = Recipe(name="dino", views=(*pair((0.4, 1.0)), local(8, (0.05, 0.4))))
dino_800ep = Recipe(name="dino_800ep", views=(*pair((0.25, 1.0)), local(10, (0.05, 0.25))))
dino_r50 = Recipe(name="dino_r50", views=(*pair((0.14, 1.0)), local(8, (0.05, 0.14))))
dino_2x224 = Recipe(name="dino_2x224", views=pair((0.14, 1.0)))


def small(group: str, size_px: int, scale: tuple[float, float], *more: Op, count: int = 1) -> View:
    """Without blur: 32 px images have little to lose."""
    return View(group=group, count=count, size_px=size_px, ops=(
        bicubic_crop(size_px, scale), Flip(p=0.5), JITTER, GRAY, *more, IMAGENET,
    ))


dino_cifar = Recipe(name="dino_cifar", views=(
    small("global", 32, (0.4, 1.0)),
    small("global", 32, (0.4, 1.0), Solarize(p=0.2, threshold=128)),
    small("local", 16, (0.05, 0.4), count=6),
))
dino_2x32 = Recipe(name="dino_2x32", views=(small("global", 32, (0.2, 1.0), count=2),))

_CODE = "facebookresearch/dino @ 7c446df; arXiv 2104.14294"

PRESETS = (
    *(Preset(recipe, _CODE) for recipe in (dino, dino_800ep, dino_r50, dino_2x224)),
    Preset(dino_cifar, _CODE, "our 32 px form: 6 local views of 16 px, no blur"),
    Preset(dino_2x32, _CODE, "our 32 px form without local views, which in runs of minutes cost more than they bring; no blur"),
)
