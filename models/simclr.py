"""SimCLR (Chen et al. 2020, arXiv:2002.05709 and, with a deeper projector, 2006.10029): two views of an image find each other
among all views of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..losses.info_nce import nt_xent, partner_accuracy
from .agreement import agreement
from .backbone import backbone
from .distributed import gather, world_size
from .heads import simclr_projector
from .projected import Projected
from .training.bounds import above_zero, whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class SimCLRConfig:
    backbone: str = key("any of timm's names, or convnet4", "resnet50")
    projector_hidden: int | None = key("width inside the projector; null: the backbone's", None)
    projector_layers: int = key("linear layers of the projector: 2 in SimCLR v1, 3 in v2; 0: features themselves are compared", 2)
    projector_dim: int = key("width of the embeddings that are compared", 128)
    temperature: float = key("of the softmax over all other views; 0.1 on ImageNet, 0.5 on CIFAR-10", 0.1)
    loss_scale: Literal["official", "paper"] = key("official: mean over images of both losses; paper: half of it", "official")
    loss_chunk: int | None = key("anchors compared at a time, to save memory in very large batches; null: all", None)

    def __post_init__(self) -> None:
        whole(self, "projector_hidden", "projector_dim", "loss_chunk")
        whole(self, "projector_layers", least=0)
        above_zero(self, "temperature")


class SimCLR(Projected):
    """Group "global" holds two views of each image, (2, B, C, image_px, image_px)."""

    Config = SimCLRConfig

    def __init__(self, config: SimCLRConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.feature_dim = backbone(config.backbone, image_px, in_chans)
        self.projector = simclr_projector(self.feature_dim, config.projector_hidden or self.feature_dim, config.projector_dim,
                                          config.projector_layers)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", "cosine", "spread": see `agreement`, of an image's two views, "accuracy": share of the views whose nearest,
        of all other views of the batch, is their partner}.

        Several ranks: each returns its anchors' share of the loss of all ranks' views, times the world size, so that the
        mean over ranks, of losses and of gradients, is that of the whole batch. Raises ValueError unless views are two.
        """
        views = batch.views["global"]
        if len(views) != 2:
            raise ValueError(f"simclr compares two views, the recipe's group 'global' has {len(views)}; use recipe=simclr")
        # Both in one pass: batch norm sees all 2B views together, as in the authors' code.
        z_a, z_b = self.projector(self.backbone(views.flatten(0, 1))).chunk(2)
        both, offset = gather(torch.stack([z_a, z_b], 1))
        others = both[:, 0], both[:, 1]
        loss = nt_xent(z_a, z_b, self.config.temperature, scale=self.config.loss_scale, chunk=self.config.loss_chunk,
                       others=others, offset=offset)
        accuracy = partner_accuracy(z_a, z_b, chunk=self.config.loss_chunk, others=others, offset=offset)
        share = len(z_a) * world_size() / len(both)
        return {"loss": loss * world_size(), **agreement(z_a, z_b), "accuracy": accuracy * share}
