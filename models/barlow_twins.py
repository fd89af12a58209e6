"""Barlow Twins (Zbontar et al. 2021, arXiv:2103.03230): each feature of one view's embedding goes with the same feature of the
other view's, over the batch, and with no other. No negatives, no predictor, no following network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..losses.redundancy import barlow_twins
from .agreement import agreement
from .backbone import backbone
from .distributed import total
from .heads import mlp
from .projected import Projected
from .training.bounds import not_negative, whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class BarlowTwinsConfig:
    backbone: str = key("any of timm's names, or convnet4", "resnet50")
    projector_hidden: int = key("width inside the projector, of three layers without biases", 8192)
    projector_dim: int = key("width of the embeddings, D; the loss compares D x D pairs of features", 8192)
    off_diagonal: float = key("weight of the terms of unlike features, lambda; 0: nothing keeps features apart", 0.0051)

    def __post_init__(self) -> None:
        whole(self, "projector_hidden")
        whole(self, "projector_dim", least=2)
        not_negative(self, "off_diagonal")


class BarlowTwins(Projected):
    """Group "global" holds two views of each image, (2, B, C, image_px, image_px). C_ij, in [-1, 1]: correlation of one view's
    feature i with the other view's feature j.

    Several ranks: features are standardised and correlated over the images of all, and the gradient is exactly that of the whole
    batch. The authors add C up in a way that their gradient does not see: it is 1 / W of that, W ranks. Their rate of weights
    hardly feels it, as LARS measures gradients by their length; weight decay counts W times as much against them; their rate of
    biases and norm gains (optimizer.spared_lr), which LARS does not adapt, belongs to the gradient that is W times smaller. To
    move those as far as the authors' run on W devices does, divide spared_lr by W. How many devices they tuned it on is not said.
    """

    Config = BarlowTwinsConfig

    def __init__(self, config: BarlowTwinsConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.feature_dim = backbone(config.backbone, image_px, in_chans)
        # The batch norm that the authors' code has above it standardises for the loss and nothing else: it is in the loss here.
        self.projector = mlp([self.feature_dim, config.projector_hidden, config.projector_hidden, config.projector_dim])

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", "diagonal": mean of C_ii: 1 where both views agree in every feature, "off_diagonal": root of the mean of
        C_ij^2 over i != j: near 1 where all features are one, about 1 / sqrt(images) where they are independent; "cosine" and
        "spread": see `agreement`, of the projector's outputs}.

        A loss that falls by its first part alone has an off_diagonal that rises. Several ranks: each returns all of this of the
        whole batch. Raises ValueError unless views are two.
        """
        views = batch.views["global"]
        if len(views) != 2:
            raise ValueError(f"barlow_twins compares two views, the recipe's group 'global' has {len(views)}; use recipe=barlow")
        # One view at a time: batch norm does not see both together.
        z_a, z_b = (self.projector(self.backbone(view)) for view in views)
        found = barlow_twins(z_a, z_b, self.config.off_diagonal, total=total)
        with torch.no_grad():
            pairs = z_a.shape[1] * (z_a.shape[1] - 1)
            return {"loss": found.loss, "diagonal": found.diagonal.mean(), "off_diagonal": (found.off_diagonal / pairs).sqrt(),
                    **agreement(z_a, z_b)}
