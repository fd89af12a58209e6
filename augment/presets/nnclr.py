"""NNCLR (Dwibedi et al. 2021, arXiv:2104.14548): BYOL's pair, as a public re-implementation has it."""

from __future__ import annotations

from ..recipe import Recipe
from .barlow import barlow, barlow_cifar
from .preset import Preset

nnclr = Recipe(name="nnclr", views=barlow.views)
nnclr_cifar = Recipe(name="nnclr_cifar", views=barlow_cifar.views)

_CODE = "no official code found; arXiv 2104.14548"

PRESETS = (
    Preset(nnclr, _CODE, "nothing is stated but two views of 224 px: the pair is BYOL's in torchvision's laws, which is that of "
           "Barlow Twins"),
    Preset(nnclr_cifar, _CODE, "our 32 px form, no blur"),
)
