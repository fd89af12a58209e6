"""PIRL (Misra, van der Maaten 2019, arXiv:1912.01991): an image and its shuffled tiles find the image among all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .alexnet import AlexNet
from .backbone import backbone, unit_gains
from .heads import Norm, mlp, refuse_one
from .memory_bank import MemoryBank, refuse_bank
from .method import Method
from .training.bounds import from_0_to_1
from .training.config import key
from .views import Views
from .vit import features_of, open_to_sizes

TILES = 9


@dataclass(frozen=True)
class PIRLConfig:
    backbone: str = key("any of timm's names that takes images of any size, or convnet4", "resnet50")
    head: Literal["linear", "mlp"] = key("of the image and of each tile: one layer, or two as wide as the backbone", "linear")
    dim: int = key("width of the embeddings that are compared", 128)
    head_norm: bool = key("batch norm without gain or shift above both: embeddings cannot move as one", False)
    image_weight: float = key("of the image's loss, in [0, 1]; the tiles' has the rest", 0.5)
    negatives: int = key("images drawn as noise for each embedding; 0: the softmax over all images", 32000)
    law: Literal["nce", "softmax"] = key("of those that are drawn: an estimate as published, or the softmax over them", "nce")
    temperature: float = key("of the scores; 0.1 with the mlp head", 0.07)
    bank_momentum: float = key("of an image's row in the memory, when the image is seen again", 0.5)

    def __post_init__(self) -> None:
        from_0_to_1(self, "image_weight")
        refuse_bank(self)


class PIRL(Method):
    """Group "global" holds one view of each image, (1, B, C, image_px, image_px), group "patch" nine tiles of another crop of it
    in the order in which they are shown, (9, B, C, tile_px, tile_px)."""

    Config = PIRLConfig
    per_image = True
    encoder: nn.Module

    def __init__(self, config: PIRLConfig, *, image_px: int, in_chans: int = 3, images: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.feature_dim = backbone(config.backbone, image_px, in_chans)
        unit_gains(self.encoder)
        if isinstance(self.encoder, AlexNet):
            raise ValueError("pirl needs a backbone that takes tiles as well as images, and alexnet takes one size; use a ResNet")
        open_to_sizes(self.encoder)
        widths = [self.feature_dim, *([self.feature_dim] if config.head == "mlp" else []), config.dim]
        norm: Norm = "plain" if config.head_norm else "none"
        self.image_head = mlp(widths, hidden_bias=True, hidden_norm=False, bias=True, norm=norm)
        self.tile_head = mlp(widths, hidden_bias=True, hidden_norm=False, bias=True)
        self.order_head = mlp([TILES * config.dim, config.dim], bias=True, norm=norm)
        self.bank = MemoryBank(images, config.dim, negatives=config.negatives, temperature=config.temperature,
                               momentum=config.bank_momentum, start="unit", law=config.law)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": of both embeddings against the memory, weighted; "image_accuracy", "patch_accuracy": share of the images whose
        own row scores best with the image's embedding, or the tiles'; "cosine": mean cosine of the two}.

        Several ranks: each returns its images' share of the loss times the world size. Raises ValueError where the recipe has
        no nine tiles, the backbone does not take their size, the network was built without a number of images, or a norm would
        see one image alone.
        """
        tiles = batch.views.get("patch")
        if tiles is None or len(tiles) != TILES:
            raise ValueError(f"pirl needs {TILES} tiles in the group 'patch', the recipe has "
                             f"{'none' if tiles is None else len(tiles)}; use recipe=pirl")
        refuse_one(self.image_head, tiles.shape[1], "pirl")
        z_patch, z_image = self.embed_tiles(tiles), self.embed(batch.views["global"][0])
        # The tiles first, as in the authors' code: the bank takes its normalizer from them. Each has noise of its own.
        patch_loss, patch_accuracy = self.bank.compare(z_patch, self.bank.draw(batch.index))
        drawn = self.bank.draw(batch.index)
        image_loss, image_accuracy = self.bank.compare(z_image, drawn)
        if self.training:
            self.bank.remember(z_image.detach(), drawn)
        share = self.config.image_weight
        return {"loss": share * image_loss + (1 - share) * patch_loss, "image_accuracy": image_accuracy,
                "patch_accuracy": patch_accuracy, "cosine": (z_image * z_patch).detach().sum(1).mean()}

    @property
    def projection_head(self) -> nn.Sequential:
        return self.image_head

    def after_step(self, progress: float) -> None:
        self.bank.update()

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to (N, dim), of length 1."""
        return F.normalize(self.image_head(self.encoder(images)).float(), dim=1)

    def embed_tiles(self, tiles: Tensor) -> Tensor:
        """(9, N, C, tile_px, tile_px) to (N, dim), of length 1: each tile by itself, side by side in their order, mixed."""
        each = self.tile_head(features_of(self.encoder, tiles.flatten(0, 1))).unflatten(0, tiles.shape[:2])
        return F.normalize(self.order_head(each.transpose(0, 1).flatten(1)).float(), dim=1)
