"""BEiT (Bao et al. 2021, arXiv:2106.08254): one box in two sizes, for the network and for the tokenizer, and its stage 1."""

from __future__ import annotations

from ..masks import Block
from ..ops import CenterCrop, Flip, Jitter, Normalize
from ..recipe import Recipe, View
from .preset import IMAGENET, SIGNED, Preset, bicubic_crop, bilinear_crop, lanczos_crop, short_side

HALF = Normalize(kind="mean-std", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), space="unit")

DALLE = Normalize(kind="affine", gain=0.8, offset=0.1)
"""The map of DALL-E's tokenizer, into [0.1, 0.9]."""

BEIT_JITTER = Jitter(p=1.0, brightness=0.4, contrast=0.4, saturation=0.4, hue_turns=0.0)
"""On the decoded image, before the crop."""


def _recipe(name: str, normalize: Normalize, size_px: int, target_px: int, mask: Block) -> Recipe:
    before = (BEIT_JITTER.with_fields(scope="image", share="jitter"), Flip(p=0.5, scope="image", share="flip"))
    return Recipe(name=name, views=(
        View(group="global", size_px=size_px, ops=(
            *before, bicubic_crop(size_px, scope="image", share="crop"), normalize, mask,
        )),
        View(group="target", size_px=target_px, ops=(*before, lanczos_crop(target_px, scope="image", share="crop"), DALLE)),
    ))


_MASK = Block(grid=(14, 14), target=75, min_area=16, max_area=75)

beit = _recipe("beit", IMAGENET, 224, 112, _MASK)
beit_22k = _recipe("beit_22k", HALF, 224, 112, _MASK)
beit_cifar = _recipe("beit_cifar", IMAGENET, 32, 32, Block(grid=(8, 8), target=26, min_area=5, max_area=26))

beit_tokenizer_128 = Recipe(name="beit_tokenizer_128", views=(View(group="global", size_px=128, ops=(
    short_side(128), CenterCrop(size_px=128), SIGNED,
)),))
beit_tokenizer_112 = Recipe(name="beit_tokenizer_112", views=(View(group="global", size_px=112, ops=(
    bilinear_crop(112), SIGNED,
)),))
beit_tokenizer_256 = Recipe(name="beit_tokenizer_256", views=(View(group="global", size_px=256, ops=(
    bilinear_crop(256), DALLE,
)),))
beit_tokenizer_cifar = Recipe(name="beit_tokenizer_cifar", views=(View(group="global", size_px=32, ops=(
    bilinear_crop(32), Flip(p=0.5), DALLE,
)),))

_CODE = "microsoft/unilm beit/; arXiv 2106.08254"
_DVAE = ("Ramesh et al. 2021 app. A; openai/DALL-E; microsoft/unilm beit/modeling_discrete_vae.py; "
         "lucidrains/DALLE-pytorch train_vae.py")
_LAWS = "torchvision's jitter, antialiased, cubic_a -0.5: no library is stated"

PRESETS = (
    Preset(beit, _CODE, _LAWS),
    Preset(beit_22k, _CODE, _LAWS),
    Preset(beit_tokenizer_128, _DVAE, "short side, bilinear, antialiased: the sources leave these open"),
    Preset(beit_tokenizer_112, _DVAE, "random resized crop, bilinear, to [-1, 1]: the sources do not say which crop"),
    Preset(beit_tokenizer_256, _DVAE, "random resized crop, bilinear, DALL-E's map: the sources do not say which crop"),
    Preset(beit_cifar, _CODE, "our 32 px form, patches and codes of 4 px, a mask of the same shares of them; " + _LAWS),
    Preset(beit_tokenizer_cifar, _DVAE, "our 32 px form of beit_tokenizer_256, with a flip"),
)
