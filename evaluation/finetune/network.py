"""A pretrained encoder with a new linear head, all of whose weights learn."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ...models.backbone import set_drop_path
from ..encoder import Encoder
from .tunings import Tuning


class Classifier(nn.Module):
    """images (N, C, image_px, image_px) to scores (N, classes). The encoder is a copy: the one that is given stays as it is.

    What the encoder keeps of its projection head trains too. pool "mean": the mean patch token of the last block, before the
    last norm, in whose place a new one stands, as in MAE and BEiT. Raises ValueError where the encoder has no patch tokens, or
    no room for drop path.
    """

    def __init__(self, encoder: Encoder, classes: int, of: Tuning) -> None:
        super().__init__()
        self.encoder, self.pool, self.classes = copy.deepcopy(encoder), of.pool, classes
        module = self.encoder.module
        self.encoder.requires_grad_(False)
        module.requires_grad_(True)
        # With all of SimCLR's layers, the shift too that pretraining holds at 0: what stands on it has a bias anyway.
        self.encoder.head.requires_grad_(True)
        if of.drop_path:
            set_drop_path(module, of.drop_path)
        dim = encoder.dim
        self.head = nn.Sequential()
        if of.pool == "mean":
            if encoder.head_layers:
                raise ValueError(f"pool=mean stands on patch tokens, head_layers={encoder.head_layers} on features; leave one")
            if not (hasattr(module, "forward_intermediates") and hasattr(module, "patch_embed") and hasattr(module, "embed_dim")):
                raise ValueError(f"pool=mean needs a vision transformer, which {encoder.name} is not; use pool=features")
            dim = int(module.embed_dim)  # type: ignore[arg-type]
            last: Any = getattr(module, "norm", None)
            if last is not None:
                last.requires_grad_(False)
            self.head.append(nn.LayerNorm(dim, eps=1e-6))
        linear = nn.Linear(dim, classes)
        nn.init.normal_(linear.weight, std=of.init_std)
        nn.init.zeros_(linear.bias)
        self.head.append(linear)

    def forward(self, images: Tensor) -> Tensor:
        if self.pool == "features":
            features = self.encoder(images)
        else:
            (tokens,) = self.encoder.module.forward_intermediates(  # type: ignore[operator]
                images, indices=1, norm=False, output_fmt="NLC", intermediates_only=True)
            features = tokens.mean(1)
        # In full precision also inside autocast: bfloat16 would make answers of equal scores.
        with torch.autocast(features.device.type, enabled=False):
            scores: Tensor = self.head(features.flatten(1).float())
        return scores

    def same_on_all_ranks(self) -> None:
        """Buffers, such as a batch norm's means, as rank 0 has them: each rank has seen other images."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for buffer in self.buffers():
                torch.distributed.broadcast(buffer, 0)
