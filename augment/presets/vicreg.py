"""VICReg (Bardes, Ponce, LeCun 2021, arXiv:2105.04906): the released code has BYOL's pair, the text one recipe for both."""

from __future__ import annotations

from ..ops import Flip, Solarize
from ..recipe import Recipe, View
from .barlow import barlow_cifar
from .preset import GRAY, IMAGENET, JITTER, Preset, bicubic_crop, pillow_blur


def _view(blur_p: float, solarize: Solarize, count: int = 1) -> View:
    return View(group="global", count=count, size_px=224, ops=(
        bicubic_crop(224), Flip(p=0.5), JITTER, GRAY, pillow_blur(blur_p), solarize, IMAGENET,
    ))


vicreg = Recipe(name="vicreg", views=(
    _view(1.0, Solarize(p=0.0, threshold=None)),
    _view(0.1, Solarize(p=0.2, threshold=128)),
))
vicreg_paper = Recipe(name="vicreg_paper", views=(_view(0.5, Solarize(p=0.1, threshold=128), count=2),))
vicreg_cifar = Recipe(name="vicreg_cifar", views=barlow_cifar.views)

_CODE = "facebookresearch/vicreg @ 4e12602 (issue 3 for the asymmetry); arXiv 2105.04906"

PRESETS = (
    Preset(vicreg, _CODE),
    Preset(vicreg_paper, "arXiv 2105.04906", "all of it as reported, nothing verified; order, laws and filter are the code's"),
    Preset(vicreg_cifar, _CODE, "our 32 px form of the code's pair, no blur"),
)
