"""Context Encoders (Pathak et al. 2016, arXiv:1604.07379): what was in the hole, or under the blobs?"""

from __future__ import annotations

from ..masks import CenterHole, Mask, NoiseField
from ..ops import Flip, RandomCrop
from ..recipe import Recipe, View
from .preset import SIGNED, Preset, short_side

_FILL = (117.0, 104.0, 123.0)
"""Levels, in the order of channels that the release has."""


def _blobs(canvas_px: int) -> NoiseField:
    """canvas_px: 10,000 for cells of 17 px."""
    return NoiseField(noise_px=600, canvas_px=canvas_px, upsample="bicubic", threshold=0.25, accept=(0.2, 0.3), fill=_FILL,
                      fill_scale="uint8", scope="batch")


def _recipe(name: str, short_px: int, size_px: int, mask: Mask) -> Recipe:
    return Recipe(name=name, views=(View(group="global", size_px=size_px, ops=(
        short_side(short_px), RandomCrop(size_px=size_px), Flip(p=0.5), SIGNED, mask,
    )),))


context_encoder_center = _recipe("context_encoder_center", 350, 128, CenterHole(
    hole_px=64, blank_px=56, ring_px=4, fill=_FILL, fill_scale="uint8"))
context_encoder_random = _recipe("context_encoder_random", 350, 128, _blobs(10_000))
context_encoder_random_64 = _recipe("context_encoder_random_64", 350, 64, _blobs(10_000))
context_encoder_alexnet = _recipe("context_encoder_alexnet", 256, 227, _blobs(10_000))
context_encoder_cifar = _recipe("context_encoder_cifar", 36, 32, _blobs(2500))
context_encoder_center_cifar = _recipe("context_encoder_center_cifar", 36, 32, CenterHole(
    hole_px=16, blank_px=14, ring_px=1, fill=_FILL, fill_scale="uint8"))

_CODE = "pathak22/context-encoder @ 68abd11; arXiv 1604.07379"
_DECIDED = "bilinear, antialiased, where the source is silent"

PRESETS = (
    Preset(context_encoder_center, _CODE, _DECIDED),
    Preset(context_encoder_random, _CODE, _DECIDED),
    Preset(context_encoder_random_64, _CODE, "the 64 px form, whose results the authors call better; " + _DECIDED),
    Preset(context_encoder_alexnet, "arXiv 1604.07379 (weights only are released)",
           "227 px as reported, unverified; the chain and the masks of the random form stand in for what is not released"),
    Preset(context_encoder_cifar, _CODE, "our 32 px form of the random one, cells of 4 px; " + _DECIDED),
    Preset(context_encoder_center_cifar, _CODE, "our 32 px form of the center's; " + _DECIDED),
)
