"""Instance Discrimination (Wu et al. 2018, arXiv:1805.01978). At 224 px gray comes before jitter, so gray is jittered too."""

from __future__ import annotations

from ..ops import Flip, Jitter, Normalize
from ..recipe import Recipe, View
from .preset import GRAY, IMAGENET, Preset, bilinear_crop

EVERY_TIME = Jitter(p=1.0, brightness=0.4, contrast=0.4, saturation=0.4, hue_turns=0.4)

CIFAR = Normalize(kind="mean-std", mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.201), space="unit")

instdisc = Recipe(name="instdisc", views=(View(group="global", size_px=224, ops=(
    bilinear_crop(224, (0.2, 1.0)), GRAY, EVERY_TIME, Flip(p=0.5), IMAGENET,
)),))

instdisc_cifar = Recipe(name="instdisc_cifar", views=(View(group="global", size_px=32, ops=(
    bilinear_crop(32, (0.2, 1.0)), EVERY_TIME, GRAY, CIFAR,
)),))

_CODE = "zhirongw/lemniscate.pytorch @ f7cfe29 (and tag v0.3); arXiv 1805.01978"

PRESETS = (Preset(instdisc, _CODE), Preset(instdisc_cifar, _CODE))
