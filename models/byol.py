"""BYOL (Grill et al. 2020, arXiv:2006.07733): an online network predicts what its own moving average makes of the image's other
view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..losses.cosine import squared_distance
from .agreement import agreement
from .backbone import backbone
from .distributed import mean_of_rows
from .ema import follow, follower, rising_momentum
from .heads import mlp
from .projected import Projected
from .training.bounds import from_0_to_1, whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class BYOLConfig:
    backbone: str = key("any of timm's names, or convnet4", "resnet50")
    zero_init_last: bool | None = key("a ResNet's last gain of each block begins at 0, as in the code; false: at 1, as in the "
                                      "paper; null: at 0 where there is one", None)
    projector_hidden: int = key("width inside projector and predictor", 4096)
    projector_dim: int = key("width of projections and predictions", 256)
    predictor: bool = key("predict, on the online side alone; without, all images soon have one embedding", True)
    target_start: Literal["own", "online"] = key("first weights of the target: its own, or those of the online network", "own")
    teacher_momentum: float = key("of the target's moving average at first; half a cosine brings it to 1", 0.996)

    def __post_init__(self) -> None:
        whole(self, "projector_hidden", "projector_dim")
        from_0_to_1(self, "teacher_momentum")


class BYOL(Projected):
    """Group "global" holds two views of each image, (2, B, C, image_px, image_px). D: projections' and predictions' width.

    Batch norm is over all ranks, where there is one, and in the target over its own batch too. Linear layers begin as torch has
    them, where the authors' begin as Haiku does. Their code also trains a linear classifier on the features, behind a stopped
    gradient, for its curve: it needs labels, and is left out; the run's own kNN says the same.
    """

    Config = BYOLConfig
    whole_batch = None

    def __init__(self, config: BYOLConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config

        def encoder() -> tuple[nn.Module, int, nn.Sequential]:
            network, width = backbone(config.backbone, image_px, in_chans, zero_init_last=config.zero_init_last)
            return network, width, head(width)

        def head(width: int) -> nn.Sequential:
            return mlp([width, config.projector_hidden, config.projector_dim], hidden_bias=True)

        self.backbone, self.feature_dim, self.projector = encoder()
        self.predictor = head(config.projector_dim) if config.predictor else nn.Identity()
        network, _, projector = (self.backbone, 0, self.projector) if config.target_start == "online" else encoder()
        # In train mode like the online network: batch norm uses each batch's statistics.
        self.target = follower(nn.Sequential(network, projector))

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": both directions' squared distances added, in [0, 8], "cosine": mean cosine of a view's prediction and the
        other's target, "spread": of the targets, see `agreement`}.

        Several ranks: each returns its images' share of the loss times the world size, so that the mean over ranks, of losses
        and of gradients, is that of the whole batch. Raises ValueError unless views are two.
        """
        views = batch.views["global"]
        if len(views) != 2:
            raise ValueError(f"byol compares two views, the recipe's group 'global' has {len(views)}; use recipe=byol")
        # One view at a time, in both networks: batch norm does not see the two together.
        p_1, p_2 = (self.predictor(self.projector(self.features(view))) for view in views)
        with torch.no_grad():
            z_1, z_2 = (self.target(view) for view in views)
        _, share = mean_of_rows(z_1)
        loss = squared_distance(p_1, z_2) + squared_distance(p_2, z_1)
        return {"loss": loss * share, **agreement(torch.stack([z_2, z_1]), torch.stack([p_1, p_2]))}

    def after_step(self, progress: float) -> None:
        """The target follows, with a momentum that half a cosine over all steps brings to 1. The authors' code is one step behind
        in it: here the last step moves nothing."""
        follow(self.target, nn.Sequential(self.backbone, self.projector), rising_momentum(self.config.teacher_momentum, progress))
