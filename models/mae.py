"""MAE (He et al. 2021, arXiv:2111.06377): a transformer sees a quarter of the patches, a small one paints the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..losses.mae import like_patches, masked_mse, normalize_patches, patchify, unpatchify
from .backbone import VisionTransformer, transformer_blocks, vision_transformer
from .method import Method
from .pictured import Shown
from .positions import sincos_2d
from .training.bounds import whole
from .training.config import key
from .views import Views
from .vit import tokens


@dataclass(frozen=True)
class MAEConfig:
    backbone: str = key("a plain vision transformer of timm's", "vit_base_patch16_224")
    patch_px: int | None = key("side of a patch; null: the backbone's own; 4 for 32 px images", None)
    embed_dim: int | None = key("width of the encoder; null: the backbone's own", None)
    depth: int | None = key("blocks of the encoder; null: the backbone's own", None)
    heads: int | None = key("attention heads of the encoder; null: the backbone's own", None)
    decoder_dim: int = key("width of the decoder", 512)
    decoder_depth: int = key("blocks of the decoder", 8)
    decoder_heads: int = key("attention heads of the decoder", 16)
    normalize_target: bool = key("reconstruct each patch minus its mean, over its standard deviation", True)
    pooling: Literal["cls", "mean"] = key("features for evaluation: the class token, or the mean of all patches", "cls")

    def __post_init__(self) -> None:
        whole(self, "patch_px", "embed_dim", "depth", "heads", "decoder_dim", "decoder_depth", "decoder_heads")
        if self.decoder_dim % self.decoder_heads or self.decoder_dim % 4:
            raise ValueError(f"model.decoder_dim needs to be a multiple of 4 and of model.decoder_heads={self.decoder_heads}, "
                             f"got {self.decoder_dim}")


class MAE(Method):
    """Group "global" holds V views (V, B, C, image_px, image_px) with one drawn mask each, every mask of the same size.

    L patches in `grid` rows and columns; D the encoder's width, p * p * C the values of a patch.
    """

    Config = MAEConfig
    whole_batch = None
    encoder: VisionTransformer

    def __init__(self, config: MAEConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.encoder = vision_transformer(config.backbone, image_px, in_chans, patch_px=config.patch_px,
                                          embed_dim=config.embed_dim, depth=config.depth, heads=config.heads)
        self.feature_dim = int(self.encoder.embed_dim)
        self.patch_px = int(self.encoder.patch_embed.patch_size[0])
        self.grid = (image_px // self.patch_px, image_px // self.patch_px)
        if config.pooling == "cls" and self.encoder.cls_token is None:
            raise ValueError(f"backbone {config.backbone!r} has no class token; use model.pooling=mean")
        if not isinstance(self.encoder.norm, nn.LayerNorm):
            raise ValueError(f"backbone {config.backbone!r} pools before its norm, which pretraining needs on every token; "
                             "use for example 'vit_base_patch16_224'")

        self.decoder_embed = nn.Linear(self.feature_dim, config.decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.decoder_dim))
        self.decoder_blocks = transformer_blocks(config.decoder_dim, config.decoder_depth, config.decoder_heads)
        self.decoder_norm = nn.LayerNorm(config.decoder_dim, eps=1e-6)
        self.decoder_predict = nn.Linear(config.decoder_dim, self.patch_px**2 * in_chans)

        # One prefix row of the decoder's table for each token in front of the patches (class token, registers).
        self.prefix = int(self.encoder.num_prefix_tokens)
        table = self.encoder.pos_embed
        assert table is not None  # vision_transformer refuses those without
        table.requires_grad_(False)
        table.copy_(sincos_2d(*self.grid, self.feature_dim, table.shape[1] - self.grid[0] * self.grid[1]))
        self.decoder_positions: Tensor
        self.register_buffer("decoder_positions", sincos_2d(*self.grid, config.decoder_dim, self.prefix)[None], persistent=False)
        self._begin()

    def _begin(self) -> None:
        """First weights as in the authors' code: Xavier for all linear layers and the patches', 0.02 for both tokens."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        patches = self.encoder.patch_embed.proj.weight
        nn.init.xavier_uniform_(patches.data.view(len(patches), -1))
        nn.init.normal_(self.mask_token, std=0.02)
        for token in (self.encoder.cls_token, self.encoder.reg_token):
            if token is not None:
                nn.init.normal_(token, std=0.02)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", "prediction_std": standard deviation of what is painted, 0 where only means are learnt}.

        Raises ValueError where the masks' grid is not the patches', or masks hide different numbers of patches.
        """
        images = batch.views["global"].flatten(0, 1)
        prediction, mask = self.paint(images, batch.masks("global").flatten(0, 1))
        target = patchify(images, self.patch_px)
        if self.config.normalize_target:
            target = normalize_patches(target.float())
        loss = masked_mse(prediction, target, mask)
        return {"loss": loss, "prediction_std": prediction.detach().float().std()}

    def paint(self, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """images (N, C, image_px, image_px) and what is masked of each, (N, rows, columns), to what is painted of all patches,
        (N, L, p * p * C), and the mask, (N, L), where the images are. Errors as of `forward`."""
        if tuple(mask.shape[1:]) != self.grid:
            raise ValueError(f"masks of {mask.shape[1]} x {mask.shape[2]} patches do not fit a backbone of "
                             f"{self.grid[0]} x {self.grid[1]} patches of {self.patch_px} px; "
                             "set model.patch_px, or grid and visible of the recipe's mask")
        mask = mask.flatten(1)
        visible, restore = orders(mask)
        mask, visible, restore = (t.to(images.device, non_blocking=True) for t in (mask, visible, restore))
        return self.decode(self.encode(images, visible), restore), mask

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """Of each image's first view "masked", what the encoder sees; "reconstruction", with what is painted where it was masked,
        of normalized patches with the mean and deviation that the true ones have, which nobody guessed; "original"."""
        images = batch.views["global"][0].float()
        painted, mask = self.paint(images, batch.masks("global")[0])
        true = patchify(images, self.patch_px)
        painted = like_patches(painted.float(), true) if self.config.normalize_target else painted.float()
        hidden = mask[:, :, None].expand_as(true)
        over = unpatchify(torch.where(hidden, painted, true), self.patch_px, *self.grid)
        original = batch.rgb("global", images)
        gray = unpatchify(hidden.to(true.dtype), self.patch_px, *self.grid)[:, :1] > 0
        return {"masked": torch.where(gray, 0.5, original), "reconstruction": batch.rgb("global", over), "original": original}

    def encode(self, images: Tensor, visible: Tensor | None = None) -> Tensor:
        """images (N, C, H, W) to tokens (N, prefix + K, D), after the last norm. visible (N, K): which patches are let in,
        each with the position it has in the image; None: all."""
        return tokens(self.encoder, images, visible)

    def decode(self, tokens: Tensor, restore: Tensor) -> Tensor:
        """tokens (N, prefix + K, D) and restore (N, L), from `orders`, to (N, L, p * p * C)."""
        x = self.decoder_embed(tokens)
        front, x = x[:, : self.prefix], x[:, self.prefix :]
        missing = self.mask_token.to(x.dtype).expand(len(x), restore.shape[1] - x.shape[1], -1)
        x = torch.cat([x, missing], 1).gather(1, restore[:, :, None].expand(-1, -1, x.shape[2]))
        x = torch.cat([front, x], 1) + self.decoder_positions
        return self.decoder_predict(self.decoder_norm(self.decoder_blocks(x)))[:, self.prefix :]

    def features(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to (N, feature_dim): all patches are seen, nothing is decoded."""
        tokens = self.encode(images)
        return tokens[:, 0] if self.config.pooling == "cls" else tokens[:, self.prefix :].mean(1)


def orders(mask: Tensor) -> tuple[Tensor, Tensor]:
    """mask (N, L) bool, True = masked, to visible (N, K): the patches that are seen, ascending; and restore (N, L): where
    each patch lies in the list of the seen followed by the masked. On the CPU this costs an accelerator no wait.

    Raises ValueError where the images do not all show the same number K >= 1 of patches.
    """
    counts = (~mask).sum(1)
    least, most = (int(n) for n in counts.aminmax()) if len(counts) else (1, 1)
    if least != most or least < 1:
        raise ValueError(f"every image needs the same number of visible patches, at least 1, got {least} to {most} of "
                         f"{mask.shape[1]}; use a mask of exact size, such as random_exact")
    order = mask.to(torch.uint8).argsort(dim=1, stable=True)
    return order[:, :least], order.argsort(dim=1)
