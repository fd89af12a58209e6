"""Contrastive Multiview Coding (Tian, Krishnan, Isola 2019, arXiv:1906.05849): one crop as lightness and as colour."""

from __future__ import annotations

from ..ops import Flip, LabSplit, Normalize
from ..recipe import Recipe, View
from .preset import Preset, bilinear_crop


def _recipe(name: str, scale: tuple[float, float], size_px: int = 224) -> Recipe:
    shared = (bilinear_crop(size_px, scale, scope="image", share="crop"), Flip(p=0.5, scope="image", share="flip"))
    return Recipe(name=name, views=(
        View(group="luma", size_px=size_px, ops=(
            *shared, LabSplit(keep=("L",)),
            Normalize(kind="mean-std", mean=(50.0,), std=(50.0,), space="lab"),
        )),
        View(group="chroma", size_px=size_px, ops=(
            *shared, LabSplit(keep=("a", "b")),
            Normalize(kind="mean-std", mean=(6.025, -6.69), std=(92.208, 101.168), space="lab"),
        )),
    ))


cmc_resnet = _recipe("cmc_resnet", (0.08, 1.0))
cmc_alexnet = _recipe("cmc_alexnet", (0.2, 1.0))
cmc_cifar = _recipe("cmc_cifar", (0.2, 1.0), 32)

_CODE = "HobbitLong/CMC @ 7b227be; HobbitLong/PyContrast @ 84f94ea; arXiv 1906.05849"

PRESETS = (
    Preset(cmc_resnet, _CODE),
    Preset(cmc_alexnet, _CODE),
    Preset(cmc_cifar, _CODE, "our 32 px form"),
)
