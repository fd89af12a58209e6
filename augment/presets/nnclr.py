"""NNCLR (Dwibedi et al. 2021, arXiv:2104.14548): BYOL's pair, as a public re-implementation has it."""

from __future__ import annotations

from ..recipe import Recipe
from .barlow import barlow
from .preset import Preset

nnclr = Recipe(name="nnclr", views=barlow.views)

PRESETS = (Preset(nnclr, "no official code found; arXiv 2104.14548", "nothing is stated but two views of 224 px: the pair is "
                  "BYOL's in torchvision's laws, which is that of Barlow Twins"),)
