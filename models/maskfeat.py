"""MaskFeat (Wei et al. 2021, arXiv:2112.09133): which way do the edges run in the patches that are hidden?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..losses.hog import hog_of_patches
from .masked_transformer import MaskedTransformer, MaskedTransformerConfig, share_of
from .training.bounds import whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class MaskFeatConfig(MaskedTransformerConfig):
    bins: int = key("directions of a histogram", 9)
    cell_px: int | None = key("side of a histogram's cell; null: half a patch", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "bins", least=2)
        whole(self, "cell_px")


class MaskFeat(MaskedTransformer):
    """A linear head tells from the token of each masked patch the histograms of gradients of its cells."""

    Config = MaskFeatConfig
    whole_batch = None
    config: MaskFeatConfig

    def __init__(self, config: MaskFeatConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__(config, image_px=image_px, in_chans=in_chans)
        self.cell_px = config.cell_px or max(self.patch_px // 2, 1)
        if self.patch_px % self.cell_px:
            raise ValueError(f"model.cell_px={self.cell_px} needs to divide the patches' side, {self.patch_px} px")
        cells = (self.patch_px // self.cell_px) ** 2
        self.head = nn.Linear(self.feature_dim, in_chans * config.bins * cells)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": squared error, mean over a histogram's values and over the masked patches of the whole batch, "error": the
        same over that of the patches' mean, below 1 where more than the mean is known}.

        Several ranks: each returns its share of the loss times the world size, so that the mean over ranks is that of all.
        Raises ValueError where the masks' grid is not the patches', or nothing is masked.
        """
        images, mask = self.masked(batch)
        target = hog_of_patches(images, self.patch_px, bins=self.config.bins, cell_px=self.cell_px)[mask]
        told = self.head(self.tokens(images, mask)[:, self.prefix :][mask])
        share = share_of(len(told), images.device)
        loss = (told.to(target.dtype) - target).square().mean() * share
        with torch.no_grad():
            spread = (target - target.mean(0)).square().mean() * share
        return {"loss": loss, "error": loss.detach() / spread.clamp(min=1e-12)}
