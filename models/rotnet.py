"""RotNet (Gidaris et al. 2018, arXiv:1803.07728): an image is shown upright and turned three times; which turn is it?"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import backbone
from .method import Method
from .training.config import key
from .views import Views

TURNS = 4


@dataclass(frozen=True)
class RotNetConfig:
    backbone: str = key("any of timm's names, alexnet or convnet4", "alexnet")


class RotNet(Method):
    """Group "global" holds quarter turns of one crop of each image, (V, B, C, image_px, image_px); as published all V = 4."""

    Config = RotNetConfig
    whole_batch = None
    encoder: nn.Module

    def __init__(self, config: RotNetConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.feature_dim = backbone(config.backbone, image_px, in_chans)
        self.classifier = nn.Linear(self.feature_dim, TURNS)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": mean cross-entropy over all V B views, "accuracy": share of them whose turn is found; chance is 1 / 4}.

        Raises ValueError where the recipe turns nothing.
        """
        images = batch.views["global"].flatten(0, 1)
        # What was drawn, not the place among the views: right for any order or choice of turns.
        turn = batch.drawn("global", "quarter_turns").flatten().long().to(images.device, non_blocking=True)
        # All turns in one pass: batch norm sees them together, so that its statistics give none away.
        logits = self.classifier(self.encoder(images))
        return {"loss": F.cross_entropy(logits, turn), "accuracy": (logits.detach().argmax(1) == turn).float().mean()}
