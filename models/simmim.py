"""SimMIM (Xie et al. 2021, arXiv:2111.09886): what are the pixels of the patches that are hidden? One linear layer tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import backbone
from .masked_transformer import MaskedTransformer, MaskedTransformerConfig, share_of
from .pictured import Shown
from .swin import is_swin, replaced_map
from .token_pictures import of_patches
from .training.bounds import whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class SimMIMConfig(MaskedTransformerConfig):
    backbone: str = key("a plain vision transformer of timm's, which says the sizes, or one of its Swins (swin_...), with "
                        "model.layer_scale=null", "vit_base_patch16_224")
    window: int | None = key("a Swin's: side of its windows, in patches; null: the backbone's own", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "window")


class SimMIM(MaskedTransformer):
    """A transformer, or a Swin, in which the mask vector stands for the hidden patches, and one 1 x 1 convolution to all pixels
    that a token of its last map stands for, stride * stride * C of them, put in their places. Weights of that convolution begin
    as torch's."""

    Config = SimMIMConfig
    whole_batch = None
    config: SimMIMConfig

    def __init__(self, config: SimMIMConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__(config, image_px=image_px, in_chans=in_chans)
        stages = len(self.encoder.layers) if is_swin(self.encoder) else 1
        self.stride = self.patch_px * 2 ** (stages - 1)
        if image_px % self.stride:
            raise ValueError(f"image size {image_px} px: each token of the last map of backbone {config.backbone!r} paints "
                             f"{self.stride} px; use {image_px // self.stride * self.stride or self.stride} px")
        self.head = nn.Conv2d(self.feature_dim, self.stride**2 * in_chans, 1)

    def network(self, image_px: int, in_chans: int) -> Any:
        of = self.config
        if not of.backbone.startswith("swin_"):
            if of.window is not None:
                raise ValueError(f"model.window={of.window} is for a Swin, and backbone {of.backbone!r} is none; leave it out")
            return super().network(image_px, in_chans)
        # Every block of a Swin has relative positions of its own, and no gains.
        for name, default in (("layer_scale", None), ("positions", "relative"), ("depth", None), ("heads", None)):
            if getattr(of, name) != default:
                raise ValueError(f"model.{name}={getattr(of, name)} is for a plain vision transformer, and backbone "
                                 f"{of.backbone!r} is none; use model.{name}={'null' if default is None else default}")
        return backbone(of.backbone, image_px, in_chans, patch_px=of.patch_px, embed_dim=of.embed_dim, window=of.window)[0]

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": distance of what is painted from what was there, in units of the normalized pixels, mean over channels and
        over the hidden pixels of the whole batch; "error": the same over that of the hidden pixels' mean colour, below 1 where
        more than the mean is known}.

        Several ranks: each returns its share of the loss times the world size, so that the mean over ranks is that of all.
        Raises ValueError where the masks' grid is not the patches', or nothing is masked.
        """
        images, mask = self.masked(batch)
        share = share_of(int(batch.masks("global").sum()), images.device)  # counted where the masks are: no wait for a device
        hidden = self.pixels(mask)
        loss = _mean((self.paint(images, mask).to(images.dtype) - images).abs(), hidden) * share
        with torch.no_grad():
            colour = (images * hidden).sum((0, 2, 3), keepdim=True) / hidden.sum()
            spread = _mean((images - colour).abs(), hidden) * share
        return {"loss": loss, "error": loss.detach() / spread.clamp(min=1e-12)}

    def paint(self, images: Tensor, mask: Tensor) -> Tensor:
        """images (N, C, image_px, image_px) and what is hidden of each, (N, L) bool, to what is painted, (N, C, image_px,
        image_px), of all patches."""
        tokens = self.tokens(images, mask)[:, self.prefix :]
        side = images.shape[2] // self.stride
        return F.pixel_shuffle(self.head(tokens.transpose(1, 2).unflatten(2, (side, side))), self.stride)

    def pixels(self, mask: Tensor) -> Tensor:
        """Patches (N, L) bool to their pixels (N, 1, image_px, image_px)."""
        return of_patches(mask[:, :, None], *self.grid, self.patch_px)

    def tokens(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """A Swin's: (N, L', D), of the L' places of its last map, row by row; otherwise as `MaskedTransformer` has them."""
        if is_swin(self.encoder):
            return replaced_map(self.encoder, images, mask, self.mask_token).flatten(1, 2)
        return super().tokens(images, mask)

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """Of each image's first view "masked", what the network sees; "reconstruction", with what is painted where it was
        hidden; "original"."""
        images, mask = (given[: batch.views["global"].shape[1]] for given in self.masked(batch))
        images, hidden = images.float(), self.pixels(mask)
        over = torch.where(hidden, self.paint(images, mask).float(), images)
        original = batch.rgb("global", images)
        return {"masked": torch.where(hidden, 0.5, original), "reconstruction": batch.rgb("global", over), "original": original}


def _mean(values: Tensor, hidden: Tensor) -> Tensor:
    """Of values (N, C, H, W) where hidden (N, 1, H, W)."""
    return (values * hidden).sum() / (hidden.sum() * values.shape[1])
