"""What methods share that hide patches behind a mask vector, as BEiT does (arXiv:2106.08254): the transformer sees all patches,
of those that are masked one learned vector in their place, and a head tells from its tokens what was there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from timm.models.beit import Beit
from torch import Tensor, nn

from .backbone import set_drop_path, vision_transformer
from .distributed import add_up, world_size
from .method import Method
from .training.bounds import above_zero, from_0_to_1, whole
from .training.config import key
from .views import Views
from .vit import positions


@dataclass(frozen=True)
class MaskedTransformerConfig:
    """The published defaults are BEiT's of ViT-B/16."""

    backbone: str = key("a plain vision transformer of timm's, which says the sizes", "vit_base_patch16_224")
    patch_px: int | None = key("side of a patch; null: the backbone's own; 4 for 32 px images", None)
    embed_dim: int | None = key("width of the transformer; null: the backbone's own", None)
    depth: int | None = key("blocks of the transformer; null: the backbone's own", None)
    heads: int | None = key("attention heads; null: the backbone's own", None)
    positions: Literal["relative", "absolute"] = key("relative: biases of the attention by distance, one table for all blocks, "
                                                     "as BEiT has it; absolute: a learned table", "relative")
    layer_scale: float | None = key("relative: first gain of what each block adds; null: none", 0.1)
    drop_path: float = key("stochastic depth of the last block", 0.1)
    pooling: Literal["cls", "mean"] = key("features for evaluation: the class token, or the mean of all patches", "mean")

    def __post_init__(self) -> None:
        whole(self, "patch_px", "embed_dim", "depth", "heads")
        above_zero(self, "layer_scale")
        from_0_to_1(self, "drop_path")
        if self.positions == "absolute" and self.layer_scale is not None:
            raise ValueError(f"model.layer_scale={self.layer_scale:g} goes with model.positions=relative; use "
                             "model.layer_scale=null")


class MaskedTransformer(Method):
    """`encoder` with `mask_token` (1, 1, D). L patches in `grid` rows and columns, D the width, P tokens in front of the patches.

    Group "global" holds V views (V, B, C, image_px, image_px) with one drawn mask each, of any number of patches.
    """

    config: MaskedTransformerConfig
    encoder: Any

    def __init__(self, config: MaskedTransformerConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.encoder = self.network(image_px, in_chans)
        set_drop_path(self.encoder, config.drop_path)
        self.feature_dim = int(self.encoder.num_features)
        self.patch_px = int(self.encoder.patch_embed.patch_size[0])
        self.grid = (image_px // self.patch_px, image_px // self.patch_px)
        self.prefix = int(getattr(self.encoder, "num_prefix_tokens", 0))
        if config.pooling == "cls" and getattr(self.encoder, "cls_token", None) is None:
            raise ValueError(f"backbone {config.backbone!r} has no class token; use model.pooling=mean")
        self.mask_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, int(self.encoder.embed_dim)), std=0.02))

    def network(self, image_px: int, in_chans: int) -> Any:
        """The encoder: a plain vision transformer, or timm's Beit with its sizes."""
        return _network(self.config, image_px, in_chans)

    def masked(self, batch: Views) -> tuple[Tensor, Tensor]:
        """images (N, C, H, W) of group "global", N = V * B, and their masks (N, L) bool, on the images' device. Raises ValueError
        where the masks' grid is not the patches'."""
        images, mask = batch.views["global"].flatten(0, 1), batch.masks("global").flatten(0, 1)
        if tuple(mask.shape[1:]) != self.grid:
            raise ValueError(f"masks of {mask.shape[1]} x {mask.shape[2]} patches do not fit a backbone of {self.grid[0]} x "
                             f"{self.grid[1]} patches of {self.patch_px} px; set model.patch_px, or grid of the recipe's mask")
        return images, mask.flatten(1).to(images.device, non_blocking=True)

    def tokens(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """images (N, C, H, W) to tokens (N, P + L, D) after the last norm. mask (N, L) bool: where the mask vector stands in for
        the patch; None: nowhere."""
        return replaced_tokens(self.encoder, images, mask, self.mask_token)

    def features(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to (N, feature_dim): nothing is masked."""
        tokens = self.tokens(images)
        return tokens[:, 0] if self.config.pooling == "cls" else tokens[:, self.prefix :].mean(1)


def replaced_tokens(vit: Any, images: Tensor, mask: Tensor | None, token: Tensor) -> Tensor:
    """images (N, C, H, W) through a plain vision transformer or timm's Beit, to tokens (N, P + L, D) after the last norm. mask
    (N, L) bool: patches that `token` (1, 1, D) replaces once they are embedded, before positions are added."""
    x = vit.patch_embed(images)
    if mask is not None:
        x = torch.where(mask[:, :, None], token.to(x.dtype), x)
    front = [each.expand(len(x), -1, -1) for each in (vit.cls_token, getattr(vit, "reg_token", None)) if each is not None]
    if isinstance(vit, Beit):
        x = vit.pos_drop(torch.cat([*front, x], 1))
        bias = vit.rel_pos_bias()
        for block in vit.blocks:
            x = block(x, shared_rel_pos_bias=bias)
        return vit.norm(x)
    patch_px = vit.patch_embed.patch_size
    table = positions(vit, images.shape[2] // patch_px[0], images.shape[3] // patch_px[1])
    ahead = table.shape[1] - x.shape[1]  # positions of the tokens in front: theirs, or none
    x = x + table[:, ahead:]
    if front:
        first = torch.cat(front, 1)
        x = torch.cat([first + table[:, :ahead] if ahead else first, x], 1)
    return vit.norm(vit.blocks(vit.norm_pre(vit.pos_drop(x))))


def _network(config: MaskedTransformerConfig, image_px: int, in_chans: int) -> Any:
    sizes = {"patch_px": config.patch_px, "embed_dim": config.embed_dim, "depth": config.depth, "heads": config.heads}
    if config.positions == "absolute":
        plain = vision_transformer(config.backbone, image_px, in_chans, **sizes)
        if not isinstance(plain.norm, nn.LayerNorm):
            raise ValueError(f"backbone {config.backbone!r} pools before its norm, which pretraining needs on every token; use "
                             "for example 'vit_base_patch16_224'")
        return plain
    with torch.device("meta"):  # for its sizes alone
        plain = vision_transformer(config.backbone, image_px, in_chans, **sizes)
    block: Any = plain.blocks[0]
    return Beit(img_size=image_px, patch_size=int(plain.patch_embed.patch_size[0]), in_chans=in_chans, num_classes=0,
                global_pool="token", embed_dim=plain.embed_dim, depth=len(plain.blocks), num_heads=block.attn.num_heads,
                mlp_ratio=block.mlp.fc1.out_features / plain.embed_dim, init_values=config.layer_scale, use_abs_pos_emb=False,
                use_shared_rel_pos_bias=True)


def share_of(rows: int, device: torch.device) -> Tensor:
    """This rank's share of the rows of all ranks times the world size, a scalar: the mean over ranks of share * (a mean over own
    rows) is the mean over all rows. Raises ValueError where there is none on this rank, whose mean would not exist."""
    if rows == 0:
        raise ValueError("no patch of this step is masked, so there is nothing to learn from; use a recipe that masks at least "
                         "one patch of every step, or a larger batch_size")
    count = torch.tensor(float(rows), device=device)
    return count * world_size() / add_up(count)
