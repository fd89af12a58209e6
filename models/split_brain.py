"""Split-Brain Autoencoders (Zhang, Isola, Efros 2017, arXiv:1611.09842): one half of a network sees lightness and tells the
colours, the other sees colours and tells the lightness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..augment.colour.ab_bins import LIGHTNESS_BINS, AbBins, lightness_bin
from ..losses.colours import half_squared_error, soft_cross_entropy
from .backbone import backbone
from .colour_pictures import MIDDLE_L, lab_pictures
from .decoders import upconv
from .dense import dense
from .layers import maps
from .method import Method
from .narrow_alexnet import NarrowAlexNet
from .pictured import Shown
from .training.bounds import above_zero, not_negative, whole
from .training.config import key
from .views import Views

UNIT = 50.0
"""Of the regression's numbers, in Lab units: both losses are then below 1."""


@dataclass(frozen=True)
class SplitBrainConfig:
    backbone: str = key("any of timm's names whose last map is as wide as its features, alexnet or convnet4; there are two of it",
                        "alexnet")
    width: float = key("of each half, times the channels: of alexnet, ResNets and convnet4; others need 1", 0.5)
    form: Literal["classes", "regression"] = key("what is told: which of 313 colours and of 100 steps of lightness, or numbers",
                                                 "classes")
    grid: int = key("places along each side at which it is told", 12)
    neighbours: int = key("classes: nearest colours that a place's target is spread over", 10)
    doublings: int = key("transposed convolutions above each half, each of which doubles its map's sides", 0)
    decoder_dim: int = key("channels of each of them", 256)
    temperature: float = key("of pictures: towards 0 the likeliest colour, 1 the mean, which is grayish", 0.38)

    def __post_init__(self) -> None:
        above_zero(self, "width", "temperature")
        whole(self, "grid", "neighbours", "decoder_dim")
        not_negative(self, "doublings")


class SplitBrain(Method):
    """Groups "luma" (1, B, 1, image_px, image_px) and "chroma" (1, B, 2, image_px, image_px): L - 50, and a and b, of one crop;
    Lab units, not normalized further. Nothing of one half ever reaches the other.

    Pictures to be judged come as one such Lab image of 3 channels, whose features are both halves', side by side.
    """

    Config = SplitBrainConfig
    whole_batch = None
    encoder: Halves

    def __init__(self, config: SplitBrainConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        if in_chans != 3:
            raise ValueError(f"split_brain needs Lab images of 3 channels, got in_chans={in_chans}")
        if config.grid > image_px:
            raise ValueError(f"model.grid={config.grid} needs at most the {image_px} places that views of {image_px} px have")
        self.config = config
        self.encoder = Halves(config.backbone, image_px, config.width)
        self.feature_dim = 2 * self.encoder.num_features
        self.bins = AbBins(config.neighbours)
        told = (len(self.bins), LIGHTNESS_BINS) if config.form == "classes" else (2, 1)
        painters = (upconv(self.encoder.num_features, values, doublings=config.doublings, width=config.decoder_dim)
                    for values in told)
        self.luma_painter, self.chroma_painter = painters
        with torch.no_grad():  # refuses a network without such a map before hours of other work are done
            for number, half in enumerate((self.encoder.luma, self.encoder.chroma), 1):
                dense(half.eval(), torch.zeros(1, number, image_px, image_px))
        self.encoder.train()

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": of colours told from lightness and of lightness told from colours, added; "colour_loss" and "luma_loss", each
        a mean over places: cross-entropies, of which chance is ln 313 and ln 100, or halves of squared errors over UNIT^2.
        Of classes also "accuracy": share of the places whose nearest colour is found to be the likeliest, "luma_accuracy": of
        those whose step of lightness is}.

        Raises ValueError where the recipe has no such groups.
        """
        luma, chroma = self._halves(batch.views)
        colours, lightness = self.told(luma, chroma)
        ab, light = (F.interpolate(x, colours.shape[2:], mode="nearest") for x in (chroma, luma))  # pixels picked, not averaged
        if self.config.form == "regression":
            of_colours, of_light = half_squared_error(colours, ab / UNIT), half_squared_error(lightness, light / UNIT)
            return {"loss": of_colours + of_light, "colour_loss": of_colours.detach(), "luma_loss": of_light.detach()}
        index, weight = self.bins.encode(ab)
        step = lightness_bin(light[:, 0] + MIDDLE_L)
        of_colours = soft_cross_entropy(colours, index, weight).mean()
        of_light = F.cross_entropy(lightness.float(), step)
        return {"loss": of_colours + of_light, "colour_loss": of_colours.detach(), "luma_loss": of_light.detach(),
                "accuracy": (colours.detach().argmax(1) == index[:, 0]).float().mean(),
                "luma_accuracy": (lightness.detach().argmax(1) == step).float().mean()}

    def told(self, luma: Tensor, chroma: Tensor) -> tuple[Tensor, Tensor]:
        """What each half says at grid x grid places: of colours (N, 313 or 2, grid, grid), of lightness (N, 100 or 1, grid,
        grid)."""
        return (self._at_places(self.luma_painter(dense(self.encoder.luma, luma))),
                self._at_places(self.chroma_painter(dense(self.encoder.chroma, chroma))))

    def _at_places(self, x: Tensor) -> Tensor:
        grid = (self.config.grid, self.config.grid)
        return x if x.shape[2:] == grid else F.interpolate(x, grid, mode="bilinear", align_corners=False)

    def shown(self, views: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([views["luma"], views["chroma"]], 2)

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """What each half saw, with what it made of it, and the original."""
        luma, chroma = self._halves(batch.views)
        colours, lightness = self.told(luma, chroma)
        if self.config.form == "classes":
            colours = self.bins.annealed_mean(colours, self.config.temperature)
            steps = torch.arange(LIGHTNESS_BINS, device=luma.device) + 0.5
            lightness = torch.einsum("nqhw,q->nhw", lightness.float().softmax(1), steps)[:, None]
        else:
            colours, lightness = UNIT * colours, UNIT * lightness + MIDDLE_L
        true, middle, gray = luma + MIDDLE_L, torch.full_like(luma, MIDDLE_L), torch.zeros_like(chroma)
        columns = {"lightness": (true, gray), "its colours": (true, colours), "colours": (middle, chroma),
                   "their lightness": (lightness, chroma), "original": (true, chroma)}
        return {title: lab_pictures(*planes, luma.shape[2]) for title, planes in columns.items()}

    @staticmethod
    def _halves(views: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        if not {"luma", "chroma"} <= views.keys():
            raise ValueError(f"split_brain needs the groups 'luma' and 'chroma', the recipe has {', '.join(views)}; use "
                             "recipe=splitbrain")
        return views["luma"][0], views["chroma"][0]


class Halves(nn.Module):
    """Images (N, 3, image_px, image_px) of L - 50, a and b to features (N, 2 num_features): of lightness by one network, then of
    a and b by another that shares nothing with it."""

    side_by_side = ("luma", "chroma")

    def __init__(self, name: str, image_px: int, width: float) -> None:
        super().__init__()
        self.luma, self.num_features = _half(name, image_px, 1, width)
        self.chroma, _ = _half(name, image_px, 2, width)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self.luma(images[:, :1]), self.chroma(images[:, 1:])], 1)

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """By layer (see `layers.maps`), the channels of the first half's map, then of the other's."""
        chroma = maps(self.chroma, images[:, 1:])
        return {name: torch.cat([luma, chroma[name]], 1) for name, luma in maps(self.luma, images[:, :1]).items()}


def _half(name: str, image_px: int, in_chans: int, width: float) -> tuple[nn.Module, int]:
    if name != "alexnet" or width == 1:
        return backbone(name, image_px, in_chans, width=width)
    network = NarrowAlexNet(in_chans, image_px, width)
    return network, network.num_features
