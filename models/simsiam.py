"""SimSiam (Chen, He 2020, arXiv:2011.10566): each view's prediction goes to the other's embedding, which stands still for it; no
negatives, no moving average."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..losses.cosine import negative_cosine
from .agreement import agreement
from .backbone import backbone
from .distributed import mean_of_rows
from .heads import mlp
from .method import Rate
from .projected import Projected
from .training.bounds import whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class SimSiamConfig:
    backbone: str = key("any of timm's names, or convnet4", "resnet50")
    projector_layers: int = key("linear layers of the projector, each with batch norm", 3)
    projector_hidden: int | None = key("width inside the projector; null: the backbone's", None)
    projector_dim: int = key("width of embeddings and predictions", 2048)
    predictor_hidden: int = key("width inside the predictor: a bottleneck, a quarter of the embeddings'", 512)
    stop_gradient: bool = key("embeddings stand still as targets; without, all images soon have one embedding", True)
    predictor: bool = key("predict; without, all images soon have one embedding", True)
    constant_predictor_rate: bool = key("hold the predictor's learning rate at the peak, as in the code", True)

    def __post_init__(self) -> None:
        whole(self, "projector_layers", "projector_hidden", "projector_dim", "predictor_hidden")


class SimSiam(Projected):
    """Group "global" holds two views of each image, (2, B, C, image_px, image_px). z: embeddings, p: predictions, D wide.

    A ResNet's last gains begin at 0. The projector ends in batch norm without gain or shift: in the code its last linear layer
    has a bias that is not trained, and that this norm takes away again; it is left out.
    """

    Config = SimSiamConfig
    whole_batch = None

    def __init__(self, config: SimSiamConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.feature_dim = backbone(config.backbone, image_px, in_chans)
        inside = [config.projector_hidden or self.feature_dim] * (config.projector_layers - 1)
        dim = config.projector_dim
        self.projector = mlp([self.feature_dim, *inside, dim], norm="plain")
        self.predictor = mlp([dim, config.predictor_hidden, dim], bias=True) if config.predictor else nn.Identity()

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": minus the mean cosine, in [-1, 1], "cosine": mean cosine of a view's prediction and the other's embedding,
        so minus the loss, "spread": of the embeddings, see `agreement`: 1 or a little less in health, 0 in a collapse}.

        Several ranks: each returns its images' share of the loss times the world size, so that the mean over ranks, of losses
        and of gradients, is that of the whole batch. Raises ValueError unless views are two.
        """
        views = batch.views["global"]
        if len(views) != 2:
            raise ValueError(f"simsiam compares two views, the recipe's group 'global' has {len(views)}; use recipe=simsiam")
        z_1, z_2 = (self.projector(self.features(view)) for view in views)  # one at a time: batch norm does not see both together
        p_1, p_2 = self.predictor(z_1), self.predictor(z_2)
        if self.config.stop_gradient:
            z_1, z_2 = z_1.detach(), z_2.detach()
        loss = (negative_cosine(p_1, z_2) + negative_cosine(p_2, z_1)) / 2
        _, share = mean_of_rows(z_1)
        return {"loss": loss * share, **agreement(torch.stack([z_2, z_1]), torch.stack([p_1, p_2]))}

    def rates(self) -> dict[str, Rate]:
        return {"predictor": "constant"} if self.config.predictor and self.config.constant_predictor_rate else {}
