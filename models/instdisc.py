"""Instance Discrimination (Wu et al. 2018, arXiv:1805.01978): every image is a class, told from all others by a memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import backbone
from .memory_bank import MemoryBank, refuse_bank
from .method import Method
from .training.bounds import not_negative
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class InstDiscConfig:
    backbone: str = key("any of timm's names, alexnet or convnet4", "resnet50")
    dim: int = key("width of the embeddings that are compared", 128)
    negatives: int = key("images drawn as noise for each image, m; 0: the softmax over all images, as on CIFAR-10", 4096)
    law: Literal["nce", "softmax"] = key("how they are compared: noise-contrastive estimation, or the softmax over the image's "
                                         "own row and theirs, as in the authors' later runs", "nce")
    temperature: float = key("of the softmax; 0.1 on CIFAR-10", 0.07)
    bank_momentum: float = key("of an image's row in the memory, when the image is seen again", 0.5)
    proximal: float = key("weight of |embedding - row|^2, which the paper describes and its code does not have", 0.0)

    def __post_init__(self) -> None:
        refuse_bank(self)
        not_negative(self, "proximal")


class InstDisc(Method):
    """Group "global" holds one view of each image, (1, B, C, image_px, image_px)."""

    Config = InstDiscConfig
    per_image = True
    encoder: nn.Module

    def __init__(self, config: InstDiscConfig, *, image_px: int, in_chans: int = 3, images: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.feature_dim = backbone(config.backbone, image_px, in_chans)
        self.projector = nn.Linear(self.feature_dim, config.dim)
        self.bank = MemoryBank(images, config.dim, negatives=config.negatives, temperature=config.temperature,
                               momentum=config.bank_momentum, law=config.law)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", "accuracy": share of the images whose own row is the nearest of those they are compared with}.

        Several views of an image, where a recipe has them, are compared each. Several ranks: each returns its images' share
        of the loss times the world size. Raises ValueError where the network was built without a number of images.
        """
        views = batch.views["global"]
        embeddings = self.embed(views.flatten(0, 1))
        drawn = self.bank.draw(batch.index.repeat(len(views)))
        loss, accuracy = self.bank.compare(embeddings, drawn)
        if self.config.proximal:
            loss = loss + self.config.proximal * self.bank.proximity(embeddings, drawn)
        if self.training:
            self.bank.remember(embeddings.detach(), drawn)
        return {"loss": loss, "accuracy": accuracy}

    def after_step(self, progress: float) -> None:
        self.bank.update()

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to (N, dim), of length 1."""
        return F.normalize(self.projector(self.encoder(images)).float(), dim=1)
