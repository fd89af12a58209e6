"""GPT-2's blocks on pixels that were given one of a few colours, as iGPT's code has them (openai/image-gpt, src/model.py)."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from timm.layers import RmsNorm
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ..augment.ops.palette import nearest_colour
from .token_pictures import spread_colours

Norm = partial(RmsNorm, eps=1e-5)
"""Over the root mean square, with a gain: no mean is removed and nothing added."""


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class PixelTransformer(nn.Module):
    """images (N, 3, side, side), in [-1, 1], to features (N, dim), the mean over places of a middle layer as the next block's
    norm has it.

    A pixel's token is the number of the nearest of the `palette`'s colours (K, 3), which are spread over the whole cube until
    others are put there; L = side * side of them, row by row. causal: each place sees only pixels before it, and the last
    layer's token at a place tells the pixel there. No linear layer has a bias. feature_layer: blocks that features go through.
    """

    palette: Tensor

    def __init__(self, colours: int, side: int, dim: int, depth: int, heads: int, *, causal: bool, feature_layer: int) -> None:
        super().__init__()
        self.side, self.causal, self.feature_layer = side, causal, feature_layer
        self.register_buffer("palette", 2 * spread_colours(colours) - 1)
        self.embed = nn.Embedding(colours, dim)
        self.positions = nn.Parameter(torch.empty(1, side * side, dim))
        self.start = nn.Parameter(torch.empty(1, 1, dim)) if causal else None
        self.blocks = nn.ModuleList(
            Block(dim, heads, qkv_bias=False, proj_bias=False, norm_layer=Norm, act_layer=QuickGELU)  # type: ignore[arg-type]
            for _ in range(depth))
        self.norm = Norm(dim)
        self._begin()

    def _begin(self) -> None:
        dim, depth = self.embed.embedding_dim, len(self.blocks)
        nn.init.normal_(self.embed.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.01)
        if self.start is not None:
            nn.init.normal_(self.start, std=0.02)
        block: Any
        for block in self.blocks:
            nn.init.normal_(block.attn.qkv.weight, std=1 / math.sqrt(dim))
            nn.init.normal_(block.attn.proj.weight, std=1 / math.sqrt(dim * depth))
            nn.init.normal_(block.mlp.fc1.weight, std=0.02)
            nn.init.normal_(block.mlp.fc2.weight, std=0.02)

    def codes(self, images: Tensor) -> Tensor:
        """images (N, 3, side, side) to (N, L) int64. Raises ValueError on pictures of another size."""
        if images.shape[1:] != (3, self.side, self.side):
            raise ValueError(f"iGPT reads pictures of 3 x {self.side} x {self.side}, a token for each pixel, got "
                             f"{' x '.join(map(str, images.shape[1:]))}")
        return nearest_colour(images.detach().float(), self.palette.float()).flatten(1)

    def tokens(self, codes: Tensor, mask: Tensor | None = None) -> Tensor:
        """codes (N, L) to (N, L, dim) after the last norm. mask (N, L) bool, True where the pixel's embedding is 0; its position
        stays."""
        tokens: Tensor = self.norm(self._through(self._first(codes, mask), len(self.blocks))[-1])
        return tokens

    def forward(self, images: Tensor) -> Tensor:
        x = self._through(self._first(self.codes(images)), self.feature_layer)[-1]
        return self._normed(x, self.feature_layer).mean(1)

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """Every third block's, counted back from the last: (N, dim, side, side), as the next norm has them."""
        last = len(self.blocks) - 1
        every = self._through(self._first(self.codes(images)), len(self.blocks))
        return {f"block{i + 1}": self._normed(every[i + 1], i + 1).mT.unflatten(2, (self.side, self.side))
                for i in range(last % 3, last + 1, 3)}

    def _first(self, codes: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.embed(codes)
        if mask is not None:
            x = x * ~mask[:, :, None]
        if self.start is not None:
            x = torch.cat([self.start.to(x.dtype).expand(len(x), -1, -1), x[:, :-1]], 1)
        return x + self.positions

    def _through(self, x: Tensor, blocks: int) -> list[Tensor]:
        """The residual stream before the first block and after each."""
        every = [x]
        for block in self.blocks[:blocks]:
            every.append(block(every[-1], is_causal=self.causal))
        return every

    def _normed(self, x: Tensor, layer: int) -> Tensor:
        norm: Any = self.blocks[layer].norm1 if layer < len(self.blocks) else self.norm
        found: Tensor = norm(x)
        return found
