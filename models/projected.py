"""Methods that judge a backbone and compare what a projector, thrown away afterwards, makes of its features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .method import Method
from .vit import features_of


class Projected(Method):
    """`backbone`, whose features are judged, and `projector` above it."""

    backbone: nn.Module
    projector: nn.Sequential

    def features(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to (N, feature_dim): the backbone's, without the projector."""
        return features_of(self.backbone, images)

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to the projector's (N, D), of length 1."""
        return F.normalize(self.projector(self.features(images)).float(), dim=1)

    @property
    def projection_head(self) -> nn.Sequential:
        return self.projector

    @property
    def encoder(self) -> nn.Module:
        return self.backbone
