"""EsViT (Li et al. 2022, arXiv:2106.09785): the views of DINO."""

from __future__ import annotations

from ..recipe import Recipe
from .dino import local, pair, small
from .preset import Preset

esvit = Recipe(name="esvit", views=(*pair((0.4, 1.0)), local(8, (0.05, 0.4))))
esvit_cifar = Recipe(name="esvit_cifar", views=(small("global", 32, (0.2, 1.0), count=2),))

_CODE = "microsoft/esvit @ 2d6becd; arXiv 2106.09785"

PRESETS = (
    Preset(esvit, _CODE),
    Preset(esvit_cifar, _CODE, "our 32 px form without local views, whose regions would be single; no blur"),
)
