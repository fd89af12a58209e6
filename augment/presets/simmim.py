"""SimMIM (Xie et al. 2021, arXiv:2111.09886): cells of 32 px, 0.6 of them masked, rounded up."""

from __future__ import annotations

from ..masks import GridCells
from ..ops import Flip
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset, bilinear_crop


def _recipe(name: str, size_px: int, token_px: int, masked_cells: int, cell_px: int = 32) -> Recipe:
    tokens, cells = size_px // token_px, size_px // cell_px
    return Recipe(name=name, views=(View(group="global", size_px=size_px, ops=(
        bilinear_crop(size_px, (0.67, 1.0)),
        Flip(p=0.5),
        IMAGENET,
        GridCells(grid=(tokens, tokens), cell_px=cell_px, cells=(cells, cells), masked_cells=masked_cells, ratio=0.6),
    )),))


simmim_vit = _recipe("simmim_vit", 224, 16, 30)
simmim_swin = _recipe("simmim_swin", 192, 4, 22)
simmim_cifar = _recipe("simmim_cifar", 32, 4, 10, cell_px=8)

_DECIDED = "flip 0.5, antialiased: torchvision on Pillow, where the sources are silent"

PRESETS = (
    Preset(simmim_vit, "microsoft/SimMIM, ViT-B/16; arXiv 2111.09886", _DECIDED),
    Preset(simmim_swin, "microsoft/SimMIM, Swin; arXiv 2111.09886", _DECIDED),
    Preset(simmim_cifar, "microsoft/SimMIM; arXiv 2111.09886",
           "our 32 px form: patches of 4 px, cells of two by two as in the ViT; " + _DECIDED),
)
