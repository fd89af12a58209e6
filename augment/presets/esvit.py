"""EsViT (Li et al. 2021, arXiv:2106.09785): the views of DINO."""

from __future__ import annotations

from ..recipe import Recipe
from .dino import local, pair
from .preset import Preset

esvit = Recipe(name="esvit", views=(*pair((0.4, 1.0)), local(8, (0.05, 0.4))))

PRESETS = (Preset(esvit, "microsoft/esvit @ 2d6becd; arXiv 2106.09785"),)
