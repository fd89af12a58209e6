"""VICReg (Bardes, Ponce, LeCun 2021, arXiv:2105.04906): two views' embeddings come close, while each feature keeps a standard
deviation of 1 over the batch and tells nothing of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..losses.redundancy import vicreg
from .agreement import agreement
from .backbone import backbone
from .distributed import total
from .heads import mlp
from .projected import Projected
from .training.bounds import above_zero, not_negative, whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class VICRegConfig:
    backbone: str = key("any of timm's names, or convnet4", "resnet50")
    width: float = key("how many times the channels, of ResNets and convnet4", 1.0)
    projector_hidden: int = key("width inside the projector (the paper's expander), of three layers", 8192)
    projector_dim: int = key("width of the embeddings, D; the loss compares D x D pairs of features", 8192)
    invariance: float = key("weight of the distance between views", 25.0)
    variance: float = key("weight of what standard deviations lack of 1; 0: nothing keeps images apart", 25.0)
    covariance: float = key("weight of the covariances between features", 1.0)
    loss_scale: Literal["official", "paper"] = key(
        "official: distance as mean over D, variance as mean of both views; paper: sums, as printed (unverified)", "official")

    def __post_init__(self) -> None:
        whole(self, "projector_hidden", "projector_dim")
        above_zero(self, "width")
        not_negative(self, "invariance", "variance", "covariance")


class VICReg(Projected):
    """Group "global" holds two views of each image, (2, B, C, image_px, image_px)."""

    Config = VICRegConfig

    def __init__(self, config: VICRegConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.feature_dim = backbone(config.backbone, image_px, in_chans, width=config.width)
        hidden = config.projector_hidden
        self.projector = mlp([self.feature_dim, hidden, hidden, config.projector_dim], hidden_bias=True)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", its three terms without weights (see losses/redundancy.py): "invariance", "variance": 0 where no feature of
        any view has a standard deviation below 1, 0.99 where all images are one, "covariance": large where features tell the
        same; "cosine" and "spread": see `agreement`, of the projector's outputs}.

        Embeddings that shrink to one point keep their directions, so that cosine and spread look well: variance tells. Several
        ranks: each returns all of this of the whole batch, and the gradient is that of the whole batch. Raises ValueError unless
        views are two.
        """
        views = batch.views["global"]
        if len(views) != 2:
            raise ValueError(f"vicreg compares two views, the recipe's group 'global' has {len(views)}; use recipe=vicreg")
        # One view at a time: batch norm does not see both together.
        z_a, z_b = (self.projector(self.backbone(view)) for view in views)
        c = self.config
        found = vicreg(z_a, z_b, (c.invariance, c.variance, c.covariance), scale=c.loss_scale, total=total)
        return {"loss": found.loss, "invariance": found.invariance.detach(), "variance": found.variance.detach(),
                "covariance": found.covariance.detach(), **agreement(z_a, z_b)}
