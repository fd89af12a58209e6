"""SimCLR v1 and v2 (Chen et al. 2020, arXiv:2002.05709 and 2006.10029): v2 brightens by a factor instead of a shift."""

from __future__ import annotations

from ..ops import Blur, Crop, Flip, Grayscale, Jitter
from ..recipe import Recipe, View
from .preset import GRAY, IMAGENET, STRONG_JITTER, UNIT, Preset, bicubic_crop, pillow_blur

TF_LUMA = (0.2989, 0.587, 0.114)


def _tf_crop(size_px: int) -> Crop:
    return Crop(size_px=size_px, scale=(0.08, 1.0), law="tf-distorted-box", min_covered=0.1, attempts=100, fallback="whole",
                filter="bicubic", antialias=False, cubic_a=-0.5)


def _tf_jitter(strength: float, brightness_law: str = "additive") -> Jitter:
    s = strength
    return Jitter(p=0.8, brightness=0.8 * s, contrast=0.8 * s, saturation=0.8 * s, hue_turns=0.2 * s, order="random",
                  brightness_law=brightness_law, contrast_pivot="channel-mean", saturation_law="hsv-scale", clamp="each-step")


def _recipe(name: str, jitter: Jitter) -> Recipe:
    return Recipe(name=name, views=(View(group="global", count=2, size_px=224, ops=(
        _tf_crop(224),
        Flip(p=0.5),
        jitter,
        Grayscale(p=0.2, weights=TF_LUMA),
        Blur(p=0.5, kind="gaussian", taps=23, sigma_px=(0.1, 2.0), sigma_scope="batch-view", border="zero"),
        UNIT,
    )),))


simclr = _recipe("simclr", _tf_jitter(1.0))
simclr_v2 = _recipe("simclr_v2", _tf_jitter(1.0, "multiplicative"))



def _cifar(name: str, jitter: Jitter) -> Recipe:
    return Recipe(name=name, views=(View(group="global", count=2, size_px=32, ops=(
        _tf_crop(32),
        Flip(p=0.5),
        jitter,
        Grayscale(p=0.2, weights=TF_LUMA),
        UNIT,
    )),))


simclr_cifar = _cifar("simclr_cifar", _tf_jitter(0.5))
simclr_v2_cifar = _cifar("simclr_v2_cifar", _tf_jitter(0.5, "multiplicative"))

simclr_pil = Recipe(name="simclr_pil", views=(View(group="global", count=2, size_px=224, ops=(
    bicubic_crop(224), Flip(p=0.5), STRONG_JITTER, GRAY, pillow_blur(0.5), IMAGENET,
)),))

_CODE = "google-research/simclr @ 383d414; arXiv 2002.05709"
_CUBIC = "cubic_a -0.5, TensorFlow 2's resize; the sources leave it open"

PRESETS = (
    Preset(simclr, _CODE, _CUBIC),
    Preset(simclr_v2, "google-research/simclr @ 383d414; arXiv 2006.10029", _CUBIC),
    Preset(simclr_cifar, _CODE, "cubic_a -0.5, TensorFlow 2's resize; additive brightness, as in v1: sources leave both open"),
    Preset(simclr_v2_cifar, "google-research/simclr @ 383d414, tf2", f"{_CUBIC}; the CIFAR-10 command with v2's brightness"),
    Preset(simclr_pil, "arXiv 2002.05709 in torchvision's ops on Pillow, as other libraries have it"),
)
