"""iGPT (Chen et al., ICML 2020): a small picture, each pixel the nearest of 512 colours."""

from __future__ import annotations

from ..masks import Bernoulli
from ..ops import Flip, Op, Palette
from ..recipe import Recipe, View
from .preset import SIGNED, Preset, bicubic_crop


def _recipe(name: str, size_px: int, *mask: Op) -> Recipe:
    # A window of 224 px after the short side became 256 to 384 px: of a square, 0.34 to 0.77 of the area.
    crop = bicubic_crop(size_px, (0.34, 0.77), ratio=(1.0, 1.0))
    return Recipe(name=name, views=(View(group="global", size_px=size_px, ops=(
        crop, SIGNED, Palette(colours=512, distance="squared-euclid"), *mask,
    )),))


igpt_ar_32 = _recipe("igpt_ar_32", 32)
igpt_bert_32 = _recipe("igpt_bert_32", 32, Bernoulli(grid=(32, 32), p=0.15))
igpt_ar_48 = _recipe("igpt_ar_48", 48)
igpt_ar_64 = _recipe("igpt_ar_64", 64)


def _small(name: str, *mask: Op) -> Recipe:
    return Recipe(name=name, views=(View(group="global", size_px=8, ops=(
        bicubic_crop(8, (0.34, 1.0), ratio=(1.0, 1.0)), Flip(p=0.5), SIGNED, Palette(colours=64, distance="squared-euclid"),
        *mask,
    )),))


igpt_ar_cifar = _small("igpt_ar_cifar")
igpt_bert_cifar = _small("igpt_bert_cifar", Bernoulli(grid=(8, 8), p=0.15))

_CODE = "Chen et al., ICML 2020; openai/image-gpt src/model.py, src/run.py, src/utils.py"
_DECIDED = "square windows of 0.34 to 0.77 of the area, Pillow's bicubic: the crop is not stated"

_SMALL = "our form for pictures of 32 px: 8 px, 64 colours, larger windows and a flip; Pillow's bicubic"

PRESETS = (
    *(Preset(recipe, _CODE, _DECIDED) for recipe in (igpt_ar_32, igpt_bert_32, igpt_ar_48, igpt_ar_64)),
    *(Preset(recipe, _CODE, _SMALL) for recipe in (igpt_ar_cifar, igpt_bert_cifar)),
)
