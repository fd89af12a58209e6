"""SimCLR v1 (Chen et al. 2020, arXiv:2002.05709)."""

from __future__ import annotations

from ..ops import Blur, Crop, Flip, Grayscale, Jitter
from ..recipe import Recipe, View
from .preset import IMAGENET, UNIT, Preset

TF_LUMA = (0.2989, 0.587, 0.114)


def _tf_crop(size_px: int) -> Crop:
    return Crop(size_px=size_px, scale=(0.08, 1.0), law="tf-distorted-box", min_covered=0.1, attempts=100, fallback="whole",
                filter="bicubic", antialias=False, cubic_a=-0.5)


def _tf_jitter(strength: float) -> Jitter:
    s = strength
    return Jitter(p=0.8, brightness=0.8 * s, contrast=0.8 * s, saturation=0.8 * s, hue_turns=0.2 * s, order="random",
                  brightness_law="additive", contrast_pivot="channel-mean", saturation_law="hsv-scale", clamp="each-step")


simclr = Recipe(name="simclr", views=(View(group="global", count=2, size_px=224, ops=(
    _tf_crop(224),
    Flip(p=0.5),
    _tf_jitter(1.0),
    Grayscale(p=0.2, weights=TF_LUMA),
    Blur(p=0.5, kind="gaussian", taps=23, sigma_px=(0.1, 2.0), sigma_scope="batch-view", border="zero"),
    UNIT,
)),))

simclr_cifar = Recipe(name="simclr_cifar", views=(View(group="global", count=2, size_px=32, ops=(
    _tf_crop(32),
    Flip(p=0.5),
    _tf_jitter(0.5),
    Grayscale(p=0.2, weights=TF_LUMA),
    UNIT,
)),))

simclr_pil = Recipe(name="simclr_pil", views=(View(group="global", count=2, size_px=224, ops=(
    Crop(size_px=224, scale=(0.08, 1.0), filter="bicubic", antialias=True, cubic_a=-0.5),
    Flip(p=0.5),
    Jitter(p=0.8, brightness=0.8, contrast=0.8, saturation=0.8, hue_turns=0.2),
    Grayscale(p=0.2),
    Blur(p=0.5, kind="pillow", sigma_px=(0.1, 2.0)),
    IMAGENET,
)),))

_CODE = "google-research/simclr @ 383d414; arXiv 2002.05709"

PRESETS = (
    Preset(simclr, _CODE, "cubic_a -0.5, TensorFlow 2's resize; the sources leave it open"),
    Preset(simclr_cifar, _CODE, "cubic_a -0.5, TensorFlow 2's resize; additive brightness, as in v1: sources leave both open"),
    Preset(simclr_pil, "arXiv 2002.05709 in torchvision's ops on Pillow, as other libraries have it"),
)
