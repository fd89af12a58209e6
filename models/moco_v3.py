"""MoCo v3 (Chen, Xie, He 2021, arXiv:2104.02057): each view's prediction finds the other view's key among those of the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..losses.contrast import batch_contrast
from .agreement import agreement
from .backbone import backbone
from .distributed import gather, world_size
from .ema import follow, follower, rising_momentum
from .heads import mlp
from .projected import Projected
from .training.bounds import above_zero, from_0_to_1, whole
from .training.config import key
from .views import Views
from .vit import begin_as_moco_v3, is_plain_vit


@dataclass(frozen=True)
class MoCoV3Config:
    backbone: str = key("any of timm's names, or convnet4; a ViT and any other network differ in what is null below",
                        "vit_small_patch16_224")
    patch_px: int | None = key("side of a patch; null: the backbone's own; 4 for 32 px images", None)
    embed_dim: int | None = key("width of a vision transformer; null: the backbone's own", None)
    depth: int | None = key("blocks of a vision transformer; null: the backbone's own", None)
    heads: int | None = key("attention heads of a vision transformer; null: its own, but 12 in a ViT-S as published", None)
    frozen_patches: bool | None = key("hold the random projection of a ViT's patches, for stability; null: yes in a ViT", None)
    projector_layers: int | None = key("linear layers of the projector; null: 3 on a ViT, else 2", None)
    projector_hidden: int = key("width inside projector and predictor", 4096)
    projector_dim: int = key("width of queries and keys", 256)
    temperature: float | None = key("of the softmax over the batch's keys; null: 0.2 for a ViT, else 1", None)
    momentum: float = key("of the key encoder's moving average at first; half a cosine brings it to 1", 0.99)

    def __post_init__(self) -> None:
        whole(self, "patch_px", "embed_dim", "depth", "heads", "projector_layers", "projector_hidden", "projector_dim")
        above_zero(self, "temperature")
        from_0_to_1(self, "momentum")


class MoCoV3(Projected):
    """Group "global" holds two views of each image, (2, B, C, image_px, image_px). D their keys' width.

    No queue, no shuffling: batch norm is over all ranks, where there is one. First weights of a ViT are the authors'
    (`begin_as_moco_v3`); a ResNet's last gains begin at 0.
    """

    Config = MoCoV3Config

    def __init__(self, config: MoCoV3Config, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        heads = config.heads or (12 if config.backbone.startswith("vit_small_") and config.embed_dim is None else None)
        self.backbone, self.feature_dim = backbone(config.backbone, image_px, in_chans, patch_px=config.patch_px,
                                                   embed_dim=config.embed_dim, depth=config.depth, heads=heads)
        vit = is_plain_vit(self.backbone)
        if config.frozen_patches and not vit:
            raise ValueError("model.frozen_patches=true holds the projection of a vision transformer's patches, and backbone "
                             f"{config.backbone!r} is none; leave it out")
        begin_as_moco_v3(self.backbone, frozen_patches=config.frozen_patches is not False)
        self.temperature = config.temperature or (0.2 if vit else 1.0)
        inside = [config.projector_hidden] * ((config.projector_layers or (3 if vit else 2)) - 1)
        width = config.projector_dim
        self.projector = mlp([self.feature_dim, *inside, width], norm="plain")
        self.predictor = mlp([width, config.projector_hidden, width], norm="plain" if vit else "none")
        # In train mode like the query's: batch norm uses each batch's statistics.
        self.key = follower(nn.Sequential(self.backbone, self.projector))

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": both directions added, 2 temperature times the cross entropy, "accuracy": share of the queries to which their
        own key is the nearest, "cosine", "spread": see `agreement`, of queries and own keys}.

        Several ranks: each returns its queries' share of the loss times the world size, so that the mean over ranks, of losses
        and of gradients, is that of the whole batch. Raises ValueError unless views are two.
        """
        views = batch.views["global"]
        if len(views) != 2:
            raise ValueError(f"moco_v3 compares two views, the recipe's group 'global' has {len(views)}; use recipe=moco_v3_vit")
        queries = [self.embed(view) for view in views]  # one view at a time: batch norm does not see both together
        with torch.no_grad():
            own = torch.stack([self.key(view) for view in views], 1)
            keys, offset = gather(own)
        positive = torch.arange(offset, offset + len(own), device=own.device)
        told = [batch_contrast(queries[i], keys[:, 1 - i], positive, self.temperature) for i in range(2)]
        loss = 2 * self.temperature * (told[0][0] + told[1][0])
        share = len(own) * world_size() / len(keys)
        return {"loss": loss * share, "accuracy": (told[0][1] + told[1][1]) / 2 * share,
                **agreement(torch.stack(queries), own.transpose(0, 1).flip(0))}

    def after_step(self, progress: float) -> None:
        """The key encoder follows, with a momentum that half a cosine over all steps brings to 1. In the authors' code this
        happens before the next step's keys are made, with the same momentum: the same keys."""
        follow(self.key, nn.Sequential(self.backbone, self.projector), rising_momentum(self.config.momentum, progress))

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to queries (N, D), not normalised."""
        return self.predictor(self.projector(self.backbone(images)))
