"""MILAN (Hou et al. 2022, arXiv:2208.06049): what a teacher looks at stays, and a decoder tells the teacher's tokens of all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..losses.cosine import squared_distance
from .backbone import VisionTransformer, vision_transformer
from .cross_attention import CrossAttention, mlp
from .mae import orders
from .method import Method
from .patch_pictures import mapped, overlaid
from .pictured import Shown
from .positions import sincos_2d
from .teachers import ChosenTeacher, TeacherConfig, TeacherTokens
from .training.bounds import whole
from .training.config import key
from .views import Views
from .vit import tokens


@dataclass(frozen=True)
class MILANConfig(TeacherConfig):
    backbone: str = key("a plain vision transformer of timm's", "vit_base_patch16_224")
    patch_px: int | None = key("side of a patch; null: the backbone's own; 4 for 32 px images", None)
    embed_dim: int | None = key("width of the encoder; null: the backbone's own", None)
    depth: int | None = key("blocks of the encoder; null: the backbone's own", None)
    heads: int | None = key("attention heads of the encoder; null: the backbone's own", None)
    decoder_dim: int = key("width of the decoder", 512)
    decoder_depth: int = key("blocks of the decoder", 8)
    decoder_heads: int = key("attention heads of the decoder", 16)
    pooling: Literal["cls", "mean"] = key("features for evaluation: the class token, or the mean of all patches", "cls")

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "patch_px", "embed_dim", "depth", "heads", "decoder_dim", "decoder_depth", "decoder_heads")
        if self.decoder_dim % self.decoder_heads or self.decoder_dim % 4:
            raise ValueError(f"model.decoder_dim needs to be a multiple of 4 and of model.decoder_heads={self.decoder_heads}, "
                             f"got {self.decoder_dim}")


class PromptedBlock(nn.Module):
    """A pre-norm block in which masked tokens (N, M, d) look at themselves and at prompts (N, K, d), and prompts stay as they
    are, neither normalized nor changed."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(2))
        self.attn, self.mlp = CrossAttention(dim, heads), mlp(dim)

    def forward(self, masked: Tensor, prompts: Tensor) -> Tensor:
        x = self.norm1(masked)
        there = torch.cat([prompts, x], 1)
        masked = masked + self.attn(x, there, there)
        told: Tensor = masked + self.mlp(self.norm2(masked))
        return told


class MILAN(Method):
    """Group "global" holds V views (V, B, C, image_px, image_px), which encoder and teacher both see; its masks are drawn by the
    teacher's attention, or as the recipe says otherwise, all of one size.

    L patches in `grid` rows and columns; D the encoder's width, T the teacher's.
    """

    Config = MILANConfig
    whole_batch = None
    encoder: VisionTransformer
    decoder_positions: Tensor

    def __init__(self, config: MILANConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.encoder = vision_transformer(config.backbone, image_px, in_chans, patch_px=config.patch_px,
                                          embed_dim=config.embed_dim, depth=config.depth, heads=config.heads)
        self.feature_dim = int(self.encoder.embed_dim)
        patch_px = int(self.encoder.patch_embed.patch_size[0])
        self.grid = (image_px // patch_px, image_px // patch_px)
        table = self.encoder.pos_embed
        if self.encoder.num_prefix_tokens != 1 or not isinstance(self.encoder.norm, nn.LayerNorm) or table is None:
            raise ValueError(f"backbone {config.backbone!r} needs a class token, no registers, and a norm before it pools; use "
                             "for example 'vit_base_patch16_224'")

        self.decoder_embed = nn.Linear(self.feature_dim, config.decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.decoder_dim))
        self.decoder_blocks = nn.ModuleList(PromptedBlock(config.decoder_dim, config.decoder_heads)
                                            for _ in range(config.decoder_depth))
        self.decoder_norm = nn.LayerNorm(config.decoder_dim, eps=1e-6)
        self.decoder_predict = nn.Linear(config.decoder_dim, config.target_dim or self.feature_dim)
        table.requires_grad_(False)
        table.copy_(sincos_2d(*self.grid, self.feature_dim, table.shape[1] - self.grid[0] * self.grid[1]))
        self.register_buffer("decoder_positions", sincos_2d(*self.grid, config.decoder_dim, 1)[None], persistent=False)
        self._begin()
        self.teacher = ChosenTeacher(config, self.encoder)  # last: its average begins as the encoder does

    def _begin(self) -> None:
        """First weights as in the authors' code, which is MAE's: Xavier for linear layers and the patches', 0.02 for tokens."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                # Theirs makes keys and values by one matrix of twice the height, whose bound is by so much lower.
                both = name.endswith((".attn.k", ".attn.v"))
                nn.init.xavier_uniform_(module.weight, gain=math.sqrt(2 / 3) if both else 1.0)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        patches = self.encoder.patch_embed.proj.weight
        nn.init.xavier_uniform_(patches.data.view(len(patches), -1))
        assert self.encoder.cls_token is not None
        for token in (self.mask_token, self.encoder.cls_token):
            nn.init.normal_(token, std=0.02)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": 2 - 2 cos of what is told and the teacher's token, mean over all 1 + L tokens of all images, in [0, 4],
        "masked": the same over the masked patches alone, "seen_attention": share of the teacher's attention to
        patches that the patches seen have}.

        Raises ValueError where masks or the teacher's patches do not fit, or there is no teacher.
        """
        images = batch.views["global"].flatten(0, 1)
        taught, mask = self._taught(batch)
        told = self.tell(images, mask)
        target = torch.cat([taught.cls[:, None], taught.patches], 1)
        loss = squared_distance(told.flatten(0, 1), target.flatten(0, 1))
        with torch.no_grad():
            apart = 2 - 2 * F.cosine_similarity(told[:, 1:].float(), taught.patches.float(), dim=2)
            hidden = (apart * mask).sum() / mask.sum()
            assert taught.attention is not None
            seen = ((taught.attention * ~mask).sum(1) / taught.attention.sum(1)).mean()
        return {"loss": loss, "masked": hidden, "seen_attention": seen}

    def _taught(self, batch: Views) -> tuple[TeacherTokens, Tensor]:
        """What the teacher says of the views of group "global", N = V * B, and their masks (N, L), where they are."""
        views = batch.views["global"]
        taught = self.teacher(views.flatten(0, 1), self.grid, attention=True)
        assert taught.attention is not None
        mask = batch.masks("global", taught.attention.unflatten(0, views.shape[:2]).unflatten(2, self.grid))
        if tuple(mask.shape[2:]) != self.grid:
            raise ValueError(f"masks of {mask.shape[2]} x {mask.shape[3]} patches do not fit a backbone of {self.grid[0]} x "
                             f"{self.grid[1]} patches; set model.patch_px, or grid and visible of the recipe's mask")
        return taught, mask.flatten(0, 1).flatten(1).to(views.device, non_blocking=True)

    def tell(self, images: Tensor, mask: Tensor) -> Tensor:
        """images (N, C, image_px, image_px) and what is masked of each, (N, L), to what is told of all tokens, (N, 1 + L, T)."""
        visible, restore = orders(mask)
        return self.decode(self.encode(images, visible), restore)

    def encode(self, images: Tensor, visible: Tensor | None = None) -> Tensor:
        """images (N, C, H, W) to tokens (N, 1 + K, D), after the last norm. visible (N, K): which patches are let in, each with
        the position it has in the image; None: all."""
        return tokens(self.encoder, images, visible)

    def decode(self, tokens: Tensor, restore: Tensor) -> Tensor:
        """tokens (N, 1 + K, D) and restore (N, L), from `orders`, to (N, 1 + L, T), patches row by row. What the encoder says is
        embedded once and prompts every block; only tokens of masked patches go through them."""
        prompts = self.decoder_embed(tokens)
        order, table = restore.argsort(1), self.decoder_positions[:, 1:].expand(len(tokens), -1, -1)
        width, known = prompts.shape[2], prompts.shape[1] - 1
        places = table.gather(1, order[:, :, None].expand(-1, -1, width))
        cls = prompts[:, :1] + self.decoder_positions[:, :1]
        prompts = torch.cat([cls, prompts[:, 1:] + places[:, :known]], 1)
        masked = self.mask_token + places[:, known:]
        for block in self.decoder_blocks:
            masked = block(masked, prompts)
        x = torch.cat([prompts[:, 1:], masked], 1).gather(1, restore[:, :, None].expand(-1, -1, width))
        told: Tensor = self.decoder_predict(self.decoder_norm(torch.cat([cls, x], 1)))
        return told

    def before_step(self, epoch: float) -> None:
        self.teacher.open()

    def after_step(self, progress: float) -> None:
        self.teacher.follow(self.encoder, progress)

    def features(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to (N, feature_dim): all patches are seen, nothing is decoded."""
        found = self.encode(images)
        return found[:, 0] if self.config.pooling == "cls" else found[:, 1:].mean(1)

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """Of each image's first view "attention", where the teacher looks, white where most; "seen", what the encoder sees;
        "told", how near what is told of each patch is to the teacher's: white 1, black 0 or less of the cosine; "original"."""
        views = batch.views["global"]
        images, count = views[0].float(), views.shape[1]
        taught, mask = self._taught(batch)
        told = self.tell(images, mask[:count])[:, 1:]
        near = F.cosine_similarity(told.float(), taught.patches[:count].float(), dim=2).unflatten(1, self.grid)
        assert taught.attention is not None
        shares = taught.attention[:count] / taught.attention[:count].amax(1, keepdim=True)
        original = batch.rgb("global", images)
        return {"attention": mapped(shares.unflatten(1, self.grid), original),
                "seen": overlaid(original, mask[:count].unflatten(1, self.grid)), "told": mapped(near, original),
                "original": original}
