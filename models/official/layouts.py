"""Whose file is it? The layouts of published checkpoints, told by names of weights alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INCEPTION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

Family = Literal["plain_vit", "relative_vit", "swin", "resnet"]


@dataclass(frozen=True)
class Place:
    """Where a network lies in a file. names: of all tensors in its part; prefix: what stands before the network's own."""

    prefix: str
    names: frozenset[str]
    family: Family

    def beside(self, *starts: str) -> bool:
        """Whether there are names that begin so, next to the network: behind what stands before its prefix's last word."""
        around = self.prefix.removesuffix(".").rpartition(".")[0]
        return any(name.startswith(f"{around}." if around else "") and
                   name.removeprefix(f"{around}." if around else "").startswith(starts) for name in self.names)

    def inside(self, *starts: str) -> bool:
        return any(name.startswith(tuple(self.prefix + start for start in starts)) for name in self.names)


@dataclass(frozen=True)
class Layout:
    """who: published it, with the paper. told: whether a place is one of its files'. view: a recipe of one view, how its
    evaluation shows pictures, normalised with mean and std. pooling: what features are: "own" (the class token; of convolutions
    and Swins the mean) or "mean" (of the patch tokens). heads: by width, where it has others than one for each 64 channels."""

    who: str
    paper: str
    told: Callable[[Place], bool]
    view: str = "eval_bicubic"
    normalize: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    pooling: Literal["own", "mean"] = "own"
    heads: tuple[tuple[int, int], ...] = ()


LAYOUTS = (
    Layout("SimMIM", "arXiv:2111.09886", lambda at: at.prefix.endswith("encoder.") and at.beside("decoder.0."), pooling="mean"),
    # Its ViT-S has 12 heads of 32 channels, not 6 of 64.
    Layout("MoCo v3", "arXiv:2104.02057", lambda at: at.prefix.endswith(("base_encoder.", "momentum_encoder.")), view="eval",
           heads=((384, 12),)),
    Layout("BEiT", "arXiv:2106.08254", lambda at: at.family == "relative_vit", normalize=INCEPTION, pooling="mean"),
    Layout("MAE", "arXiv:2111.06377", lambda at: at.inside("decoder_pos_embed", "decoder_blocks.", "decoder_embed.")),
    Layout("iBOT", "arXiv:2111.07832", lambda at: at.inside("masked_embed") or at.beside("head.last_layer2.", "head.mlp2.")),
    Layout("DINO", "arXiv:2104.14294", lambda at: at.beside("head.last_layer.")),
    Layout("SwAV", "arXiv:2006.09882", lambda at: at.inside("prototypes.", "projection_head."), view="eval_swav",
           normalize=((0.485, 0.456, 0.406), (0.228, 0.224, 0.225))),
    Layout("Barlow Twins", "arXiv:2103.03230", lambda at: at.beside("projector.") and at.beside("bn."), view="eval"),
    Layout("VICReg", "arXiv:2105.04906", lambda at: at.prefix.endswith("backbone.") and at.beside("projector."), view="eval"),
)

BARE = {
    "plain_vit": Layout("", "", lambda at: at.family == "plain_vit"),
    "swin": Layout("", "", lambda at: at.family == "swin"),
    "resnet": Layout("", "", lambda at: at.family == "resnet", view="eval"),
}
"""Of files that hold a network and nothing else, which many publish: DINO, iBOT and MAE their transformers, Barlow Twins, VICReg
and DINO their ResNets. All normalise alike."""


def layout_of(place: Place) -> Layout:
    return next((layout for layout in LAYOUTS if layout.told(place)), None) or BARE[place.family]
