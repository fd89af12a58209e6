"""I-JEPA (Assran et al. 2023, arXiv:2301.08243): from the patches of one block, what does a slower copy of the network, which
sees the whole image, say inside four others?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import VisionTransformer, transformer_blocks, vision_transformer
from .ema import follow, follower
from .masked_transformer import share_of
from .method import Method
from .patch_lists import PatchLists, gathered, lists_of, through
from .pictured import Shown
from .positions import sincos_2d
from .token_pictures import in_colours, of_patches
from .training.bounds import above_zero, from_0_to_1, whole
from .training.config import key
from .views import Views
from .vit import patches_alone, tokens


@dataclass(frozen=True)
class IJEPAConfig:
    backbone: str = key("a plain vision transformer of timm's; a class token it has is left out", "vit_huge_patch14_gap_224")
    patch_px: int | None = key("side of a patch; null: the backbone's own; 4 for 32 px images", None)
    embed_dim: int | None = key("width of the encoders; null: the backbone's own", None)
    depth: int | None = key("blocks of the encoders; null: the backbone's own", None)
    heads: int | None = key("attention heads of the encoders; null: the backbone's own", None)
    predictor_dim: int = key("width of the predictor", 384)
    predictor_depth: int = key("blocks of the predictor", 12)
    predictor_heads: int | None = key("attention heads of the predictor; null: as many as the encoders'", None)
    cut: bool = key("cut every image's context, and every block, to as many patches as the shortest of the rank's batch has, "
                    "keeping those that come first row by row, as published; false: all patches count", True)
    beta: float = key("distance up to which the loss is quadratic, and linear beyond", 1.0)
    teacher_momentum: float = key("of the target encoder's moving average at first; it rises linearly to 1", 0.996)

    def __post_init__(self) -> None:
        whole(self, "patch_px", "embed_dim", "depth", "heads", "predictor_dim", "predictor_depth", "predictor_heads")
        above_zero(self, "beta")
        from_0_to_1(self, "teacher_momentum")
        if self.predictor_dim % 4:
            raise ValueError(f"model.predictor_dim needs to be a multiple of 4, got {self.predictor_dim}")


class IJEPA(Method):
    """Group "global" holds V views (V, B, C, image_px, image_px), each with a drawn mask and T drawn blocks, of any sizes: what
    the context encoder does not see, and what is predicted; as the op `masks` of generator multi-block draws them.

    N = V * B images; K patches in a context, M in a block, of L patches in all; D the encoders' width. Positions are fixed, there
    is no class token. The target encoder is what is judged, as in the paper.

    The cut makes tensors of what differs from image to image, and throws patches away: of 16 x 16 with 128 images on a rank, a
    context of 110 patches on average becomes one of about 70, without its lower rows, and how many depends on the other images
    of the batch. Without it, lists are filled up to the longest, and nobody looks at what fills them up: nothing is lost,
    images do not depend on each other, and a step costs more.
    """

    Config = IJEPAConfig
    context_encoder: VisionTransformer
    predictor_positions: Tensor

    def __init__(self, config: IJEPAConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.whole_batch = "model.cut=true cuts contexts and blocks to the shortest of the batch" if config.cut else None
        vit = patches_alone(vision_transformer(config.backbone, image_px, in_chans, patch_px=config.patch_px,
                                               embed_dim=config.embed_dim, depth=config.depth, heads=config.heads))
        if not isinstance(vit.norm, nn.LayerNorm):
            raise ValueError(f"backbone {config.backbone!r} pools before its norm, which pretraining needs on every token; "
                             "use for example 'vit_base_patch16_224'")
        self.context_encoder = vit
        self.feature_dim = int(vit.embed_dim)
        self.patch_px = int(vit.patch_embed.patch_size[0])
        self.grid = (image_px // self.patch_px, image_px // self.patch_px)
        block: Any = vit.blocks[0]
        width, heads = config.predictor_dim, config.predictor_heads or int(block.attn.num_heads)
        if width % heads:
            raise ValueError(f"model.predictor_dim={width} needs to be a multiple of its attention heads, {heads}; use "
                             "model.predictor_heads")
        self.predictor_embed = nn.Linear(self.feature_dim, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.predictor_blocks = transformer_blocks(width, config.predictor_depth, heads)
        self.predictor_norm = nn.LayerNorm(width, eps=1e-6)
        self.predictor_project = nn.Linear(width, self.feature_dim)
        self.register_buffer("predictor_positions", sincos_2d(*self.grid, width), persistent=False)
        self._begin()
        self.target_encoder = follower(vit)

    def _begin(self) -> None:
        """First weights as in the authors' code, which draws all linear layers again after it scaled some of them by depth."""
        table = self.context_encoder.pos_embed
        assert table is not None  # vision_transformer refuses those without
        table.requires_grad_(False)
        table.copy_(sincos_2d(*self.grid, self.feature_dim))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": smooth L1, mean over a target's values and over all patches of all blocks of the whole batch, as often as they
        lie in blocks; "error": the same over that of the targets' mean, below 1 where more than the mean is known;
        "target_variance": of each value over those patches, their mean, in [0, 1]: 0 where the target encoder says the same of
        all patches; "context": patches of a context, on average}.

        Several ranks: each returns its share of the loss times the world size, so that the mean over ranks is that of all, each
        having cut its own images. Raises ValueError where the masks' grid is not the patches', or a context or a block is empty.
        """
        images = batch.views["global"].flatten(0, 1)
        context, blocks = self.lists(batch)
        predicted = self.predict(self.encode(images, context), context, blocks)
        target = gathered(self.targets(images), blocks.index)
        predicted, target = blocks.rows(predicted.to(target.dtype)), blocks.rows(target)
        share = share_of(len(target), images.device)
        loss = F.smooth_l1_loss(predicted, target, beta=self.config.beta) * share
        with torch.no_grad():
            of_mean = F.smooth_l1_loss(target.mean(0).expand_as(target), target, beta=self.config.beta) * share
            variance = target.var(0, unbiased=False).mean() * share
        return {"loss": loss, "error": loss.detach() / of_mean.clamp(min=1e-12), "target_variance": variance,
                "context": context.mean_length}

    def lists(self, batch: Views) -> tuple[PatchLists, PatchLists]:
        """Where the images are: patches of each context (N, K), and of each block (N, T, M)."""
        device = batch.views["global"].device
        seen, blocks = ~batch.masks("global").flatten(0, 1), batch.drawn("global", "targets").flatten(0, 1)
        if tuple(seen.shape[1:]) != self.grid:
            raise ValueError(f"masks of {seen.shape[1]} x {seen.shape[2]} patches do not fit a backbone of {self.grid[0]} x "
                             f"{self.grid[1]} patches of {self.patch_px} px; set model.patch_px, or grid of the recipe's mask")
        return (lists_of(seen, cut=self.config.cut, what="context").to(device),
                lists_of(blocks, cut=self.config.cut, what="block").to(device))

    def encode(self, images: Tensor, context: PatchLists) -> Tensor:
        """images (N, C, H, W) to tokens (N, K, D) of the context encoder after its last norm, which sees nothing else."""
        vit = self.context_encoder
        x = vit.norm_pre(gathered(vit.pos_drop(vit.patch_embed(images) + vit.pos_embed), context.index))
        seen: Tensor = vit.norm(through(vit.blocks, x, context.real))
        return seen

    def predict(self, seen: Tensor, context: PatchLists, blocks: PatchLists) -> Tensor:
        """seen (N, K, D), tokens of a context, to predictions (N, T, M, D), of each block by itself: the mask vector asks for it,
        with the positions of its patches, and other blocks are not known."""
        images, count, size = blocks.index.shape
        known = self.predictor_embed(seen) + self.predictor_positions[context.index]
        asked = self.mask_token + self.predictor_positions[blocks.index]  # (N, T, M, predictor_dim)
        x = torch.cat([known[:, None].expand(-1, count, -1, -1), asked.to(known.dtype)], 2).flatten(0, 1)
        real = None
        if context.real is not None or blocks.real is not None:
            real = torch.cat([context.all_real()[:, None].expand(-1, count, -1), blocks.all_real()], 2).flatten(0, 1)
        x = self.predictor_norm(through(self.predictor_blocks, x, real))
        told: Tensor = self.predictor_project(x[:, -size:])
        return told.unflatten(0, (images, count))

    @torch.no_grad()
    def targets(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) to (N, L, D), float32 or wider: the target encoder's tokens of the whole image, each brought to
        mean 0 and variance 1."""
        x = tokens(self.target_encoder, images)
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        return F.layer_norm(x, x.shape[-1:])

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """Of each image's first view "context", what the context encoder sees; "told", what is predicted in the blocks, of where
        they overlap the last block's, in colours for directions in which the target encoder's values differ; "target", what
        that says of all patches; "original"."""
        images = batch.views["global"][0]
        context, blocks = (each.first(len(images)) for each in self.lists(batch))
        target = self.targets(images)
        colours, told = in_colours(target, self.predict(self.encode(images, context), context, blocks))
        over, inside = torch.full_like(colours, 0.5), blocks.mask(target.shape[1])
        for n in range(told.shape[1]):
            placed = over.scatter(1, blocks.index[:, n, :, None].expand(-1, -1, 3), told[:, n])
            over = torch.where(inside[:, n, :, None], placed, over)
        seen = context.mask(target.shape[1])[:, :, None]
        seen, over, colours = (of_patches(x, *self.grid, self.patch_px) for x in (seen, over, colours))
        original = batch.rgb("global", images)
        return {"context": torch.where(seen, original, 0.5), "told": over, "target": colours, "original": original}

    def after_step(self, progress: float) -> None:
        """The target encoder follows, with a momentum that rises linearly to 1. The authors' code is one step behind in it: here
        the last step moves nothing."""
        first = self.config.teacher_momentum
        follow(self.target_encoder, self.context_encoder, first + (1 - first) * progress)

    def features(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to (N, feature_dim): the mean of the target encoder's tokens."""
        return tokens(self.target_encoder, images).mean(1)

    @property
    def encoder(self) -> nn.Module:
        return self.target_encoder
