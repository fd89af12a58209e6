"""Learning to Count (Noroozi et al. 2017, arXiv:1708.06734): what is in a picture is what is in its four quarters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..losses.counting import counting_loss
from .backbone import unit_gains
from .heads import mlp
from .method import Method
from .tiles import tile_backbone
from .training.bounds import above_zero, whole
from .training.config import key
from .views import Views

PARTS = 4


@dataclass(frozen=True)
class CountingConfig:
    backbone: str = key("any of timm's names, alexnet or convnet4", "alexnet")
    hidden: int | None = key("width of a layer between the backbone and the counts; null: none, as above alexnet's fc7", None)
    counts: int = key("how many things are counted", 1000)
    margin: float = key("squared distance that another picture's counts have to keep", 10.0)
    hinge: Literal["vector", "element"] = key(
        "vector: it is one of the counts as a whole, as in the paper; element: of each, as in clvrai's port", "vector")

    def __post_init__(self) -> None:
        whole(self, "hidden", "counts")
        above_zero(self, "margin")


class Counting(Method):
    """Group "whole" holds each picture made small, and then another picture made small, (2, B, C, image_px, image_px); group
    "tile" the four quarters of the first, as it was before it was made small, (4, B, C, image_px, image_px)."""

    Config = CountingConfig
    encoder: nn.Module

    def __init__(self, config: CountingConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.feature_dim = tile_backbone(config.backbone, image_px, in_chans)
        unit_gains(self.encoder)
        hidden = [] if config.hidden is None else [config.hidden]
        self.counter = mlp([self.feature_dim, *hidden, config.counts], hidden_bias=True, hidden_norm=False, bias=True)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": "same" + "other"; "same": how far the counts of a picture and the sum of its quarters' are apart; "other": by
        how much another picture's are nearer to that sum than the margin; "accuracy": share of the pictures whose own counts are
        nearer to it than the other's, by distance, chance is 1 / 2; "counted": mean length of the sum, 0 where nothing counts}.

        Several ranks, of equally many images: the mean of their losses is that of all. Raises ValueError where the recipe has no
        such views.
        """
        views, tiles = self._views(batch.views)
        # All six in one pass: batch norm sees them together, so that its statistics do not tell tiles from pictures.
        counts = self.embed(torch.cat([views, tiles]).flatten(0, 1)).unflatten(0, (2 + PARTS, -1))
        own, other, parts = counts[0], counts[1], counts[2:].sum(0)
        same, differ = counting_loss(own, parts, other, self.config.margin, self.config.hinge)
        with torch.no_grad():
            nearer = (own - parts).float().norm(dim=1) < (other - parts).float().norm(dim=1)
            counted = parts.float().norm(dim=1).mean()
        return {"loss": same + differ, "same": same.detach(), "other": differ.detach(), "accuracy": nearer.float().mean(),
                "counted": counted}

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to counts (N, K) of at least 0."""
        return torch.relu(self.counter(self.encoder(images)))

    def shown(self, views: Mapping[str, Tensor]) -> Tensor:
        return views["whole"][:1]  # the second one is another picture

    @property
    def projection_head(self) -> nn.Sequential:
        return self.counter

    def _views(self, views: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        found = views.get("whole"), views.get("tile")
        whole, tile = found
        if whole is None or tile is None or len(whole) != 2 or len(tile) != PARTS or whole.shape[2:] != tile.shape[2:]:
            shapes = ", ".join(f"{name} {tuple(of.shape)}" for name, of in views.items())
            raise ValueError(f"counting needs two pictures in group 'whole' and {PARTS} tiles of the same size in group 'tile', "
                             f"the recipe has {shapes}; use recipe=counting")
        return whole, tile
