"""Colorization (Zhang, Isola, Efros 2016, arXiv:1603.08511): which of 313 colours has each place of a gray picture?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..augment.colour.ab_bins import AbBins, is_coloured
from ..losses.colours import soft_cross_entropy, weighted_mean
from .backbone import backbone
from .colour_pictures import lab_pictures
from .colour_prior import ColourPrior
from .decoders import upconv
from .dense import dense
from .method import Method
from .pictured import Shown
from .training.bounds import above_zero, from_0_to_1, not_negative, whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class ColorizationConfig:
    backbone: str = key("any of timm's names whose last map is as wide as its features, alexnet or convnet4; it sees lightness "
                        "alone", "alexnet")
    doublings: int = key("transposed convolutions between the last map and the colours, each of which doubles its sides; 1 in "
                         "the code's v2", 0)
    decoder_dim: int = key("channels of each of them", 256)
    neighbours: int = key("nearest colours that a pixel's target is spread over: 10 in the code, 5 in the paper", 10)
    uniform: float = key("class rebalancing: the share of the uniform law in the mixture with the colours' frequencies whose "
                         "inverse a pixel weighs; 1: all weigh the same", 0.5)
    prior_sigma: float = key("by which the frequencies are smoothed first, Lab units: 0 in the code, 5 in the paper", 0.0)
    prior: str | None = key("frequencies of the colours, a .npy file of 313 numbers; null: counted before the first step", None)
    temperature: float = key("of pictures: towards 0 the likeliest colour, 1 the mean, which is grayish", 0.38)

    def __post_init__(self) -> None:
        whole(self, "decoder_dim", "neighbours")
        not_negative(self, "doublings", "prior_sigma")
        from_0_to_1(self, "uniform")
        above_zero(self, "temperature")


class Colorization(Method):
    """Group "luma" (1, B, 1, image_px, image_px): L - 50; group "target" (1, B, 2, h, w): a and b of the same window at some of
    its pixels. Lab units, not normalized further. Pictures to be judged come as L - 50 too.

    Unless all colours weigh the same, or a file says how often each occurs, it is shown all images once before the first step,
    and counts; where nothing was counted all weigh the same.
    """

    Config = ColorizationConfig
    whole_batch = None
    encoder: nn.Module

    def __init__(self, config: ColorizationConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        if in_chans != 3:
            raise ValueError("colorization needs pictures of 3 channels, of which it sees the lightness, got "
                             f"in_chans={in_chans}")
        self.config = config
        self.encoder, self.feature_dim = backbone(config.backbone, image_px, 1)
        self.bins = AbBins(config.neighbours)
        self.prior = ColourPrior(self.bins, config.uniform, config.prior_sigma)
        self.painter = upconv(self.feature_dim, len(self.bins), doublings=config.doublings, width=config.decoder_dim)
        with torch.no_grad():  # refuses a network without such a map before hours of other work are done
            dense(self.encoder.eval(), torch.zeros(1, 1, image_px, image_px))
        self.encoder.train()

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": cross-entropy of each pixel's soft target over 313 colours, weighted, the mean over pixels; those of gray
        pictures weigh 0. "cross_entropy": unweighted, over all pixels, which the authors' code logs; chance is ln 313 = 5.75.
        "accuracy": share of the pixels whose nearest colour is found to be the likeliest}.

        The authors' code weighs the gradient and not the loss, to the same effect. Raises ValueError where the recipe has no
        such groups.
        """
        luma, ab = self._views(batch.views)
        index, weight = self.bins.encode(ab)
        logits = self.logits(luma, (ab.shape[2], ab.shape[3]))
        of_pixels = soft_cross_entropy(logits, index, weight)
        rebalance = self.prior.weights()[index[:, 0]] * is_coloured(ab)[:, None, None]
        return {"loss": weighted_mean(of_pixels, rebalance), "cross_entropy": of_pixels.detach().mean(),
                "accuracy": (logits.detach().argmax(1) == index[:, 0]).float().mean()}

    def logits(self, luma: Tensor, grid: tuple[int, int]) -> Tensor:
        """luma (N, 1, image_px, image_px) to (N, 313, *grid), resized bilinearly where the network's own grid is another."""
        found: Tensor = self.painter(dense(self.encoder, luma))
        return found if found.shape[2:] == grid else F.interpolate(found, grid, mode="bilinear", align_corners=False)

    def wants_pass(self, epoch: float) -> bool:
        return epoch == 0 and self.config.uniform < 1 and self.config.prior is None

    def observe(self, batch: Views) -> None:
        self.prior.count(self._views(batch.views)[1])

    def before_step(self, epoch: float) -> None:
        if epoch == 0 and self.config.prior is not None:  # later the counts are in the checkpoint, and the file may be gone
            self.prior.read(self.config.prior)

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """What was seen, what was made of it, and what it was with colours as coarse."""
        luma, ab = self._views(batch.views)
        found = self.bins.annealed_mean(self.logits(luma, (ab.shape[2], ab.shape[3])), self.config.temperature)
        columns = {"lightness": torch.zeros_like(ab), "colorized": found, "true colours": ab}
        return {title: lab_pictures(batch.plain("luma", luma), colours, luma.shape[2]) for title, colours in columns.items()}

    @staticmethod
    def _views(views: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        if not {"luma", "target"} <= views.keys():
            raise ValueError(f"colorization needs the groups 'luma' and 'target', the recipe has {', '.join(views)}; use "
                             "recipe=colorization")
        return views["luma"][0], views["target"][0]

