"""CMC (Tian, Krishnan, Isola 2019, arXiv:1906.05849): a picture's lightness and colours find each other among all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import backbone, unit_gains
from .heads import Norm, mlp, refuse_one
from .layers import maps
from .memory_bank import MemoryBank, refuse_bank
from .method import Method
from .training.bounds import above_zero
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class CMCConfig:
    backbone: str = key("any of timm's names, or convnet4; there are two of it", "resnet50")
    width: float = key("of each, of ResNets and convnet4: 0.5 for the code's v1, 1 for v2, 2 for v3", 0.5)
    dim: int = key("width of the embeddings that are compared", 128)
    head_norm: bool = key("batch norm without gain or shift above both heads: embeddings cannot move as one", False)
    negatives: int = key("images drawn as noise for each image; 0: the softmax over all images", 16384)
    law: Literal["nce", "softmax"] = key("of those that are drawn: an estimate as published, or the softmax over them", "nce")
    temperature: float = key("of the scores", 0.07)
    bank_momentum: float = key("of an image's rows in both memories, when the image is seen again", 0.5)

    def __post_init__(self) -> None:
        above_zero(self, "width")
        refuse_bank(self)


class CMC(Method):
    """Groups "luma" (1, B, 1, image_px, image_px) and "chroma" (1, B, 2, image_px, image_px): L, and a and b, of one crop.

    Pictures to be judged come as one Lab image of 3 channels, whose features are both encoders', side by side.
    """

    Config = CMCConfig
    per_image = True
    encoder: LabEncoder

    def __init__(self, config: CMCConfig, *, image_px: int, in_chans: int = 3, images: int | None = None) -> None:
        super().__init__()
        if in_chans != 3:
            raise ValueError(f"cmc needs Lab images of 3 channels, got in_chans={in_chans}")
        self.config = config
        self.encoder = LabEncoder(config.backbone, image_px, config.width)
        self.feature_dim = 2 * self.encoder.num_features
        widths = [self.encoder.num_features, config.dim]
        norm: Norm = "plain" if config.head_norm else "none"
        self.luma_head, self.chroma_head = (mlp(widths, bias=True, norm=norm) for _ in range(2))
        banks = (MemoryBank(images, config.dim, negatives=config.negatives, temperature=config.temperature,
                            momentum=config.bank_momentum, law=config.law) for _ in range(2))
        self.luma_bank, self.chroma_bank = banks

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": of lightness against all pictures' colours, and of colours against all pictures' lightness, added;
        "luma_accuracy", "chroma_accuracy": share of the images whose lightness, or colours, score best with their own row of
        the other's memory; "cosine": mean cosine of an image's two embeddings}.

        Several ranks: each returns its images' share of the loss times the world size. Raises ValueError where the recipe has
        no such groups, the network was built without a number of images, or a norm would see one image alone.
        """
        luma, chroma = self._halves(batch.views)
        refuse_one(self.luma_head, luma.shape[1], "cmc")
        z_luma, z_chroma = self._embedded(luma[0], chroma[0])
        # The same noise for both, as in the authors' code; each bank has a normalizer of its own.
        drawn = self.luma_bank.draw(batch.index)
        loss_luma, luma_accuracy = self.chroma_bank.compare(z_luma, drawn)
        loss_chroma, chroma_accuracy = self.luma_bank.compare(z_chroma, drawn)
        if self.training:
            self.luma_bank.remember(z_luma.detach(), drawn)
            self.chroma_bank.remember(z_chroma.detach(), drawn)
        cosine = (z_luma * z_chroma).detach().sum(1).mean()
        return {"loss": loss_luma + loss_chroma, "luma_accuracy": luma_accuracy, "chroma_accuracy": chroma_accuracy,
                "cosine": cosine}

    def after_step(self, progress: float) -> None:
        self.luma_bank.update()
        self.chroma_bank.update()

    def shown(self, views: Mapping[str, Tensor]) -> Tensor:
        return torch.cat(self._halves(views), 2)

    def embed(self, images: Tensor) -> Tensor:
        """(N, 3, image_px, image_px) to (N, 2 dim): both embeddings, each of length 1."""
        return torch.cat(self._embedded(images[:, :1], images[:, 1:]), 1)

    def _embedded(self, luma: Tensor, chroma: Tensor) -> tuple[Tensor, Tensor]:
        z_luma, z_chroma = self.luma_head(self.encoder.luma(luma)), self.chroma_head(self.encoder.chroma(chroma))
        return F.normalize(z_luma.float(), dim=1), F.normalize(z_chroma.float(), dim=1)

    @staticmethod
    def _halves(views: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        if not {"luma", "chroma"} <= views.keys():
            raise ValueError(f"cmc compares the groups 'luma' and 'chroma', the recipe has {', '.join(views)}; use recipe=cmc")
        return views["luma"], views["chroma"]


class LabEncoder(nn.Module):
    """Lab images (N, 3, image_px, image_px) to features (N, 2 num_features): of L by one network, then of a and b by another."""

    side_by_side = ("luma", "chroma")

    def __init__(self, name: str, image_px: int, width: float) -> None:
        super().__init__()
        self.luma, self.num_features = backbone(name, image_px, 1, width=width)
        self.chroma, _ = backbone(name, image_px, 2, width=width)
        unit_gains(self.luma)
        unit_gains(self.chroma)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self.luma(images[:, :1]), self.chroma(images[:, 1:])], 1)

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """By layer (see `layers.maps`), the channels of the first network's map, then of the other's."""
        chroma = maps(self.chroma, images[:, 1:])
        return {name: torch.cat([luma, chroma[name]], 1) for name, luma in maps(self.luma, images[:, :1]).items()}
