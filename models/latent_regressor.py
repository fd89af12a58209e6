"""CAE's latent contextual regressor (Chen et al. 2022, arXiv:2202.03026): what would the encoder say of what it has not seen?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .cross_attention import CrossAttention, mlp


class RegressorBlock(nn.Module):
    """x (N, M, d), at places (N, M, d), looks at itself and at seen (N, K, d), at theirs. Queries, keys and values have norms
    of their own, values no places; and what attention left is normalized for good, before the perceptron adds to it."""

    def __init__(self, dim: int, heads: int, gain: float) -> None:
        super().__init__()
        self.norm_q, self.norm_k, self.norm_v, self.norm2 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(4))
        self.attn, self.mlp = CrossAttention(dim, heads), mlp(dim)
        self.gain1, self.gain2 = (nn.Parameter(torch.full((dim,), gain)) for _ in range(2))
        self.drop_path: nn.Module = nn.Identity()  # see `set_drop_path`

    def forward(self, x: Tensor, seen: Tensor, places: Tensor, seen_places: Tensor) -> Tensor:
        there, at = torch.cat([seen, x], 1), torch.cat([seen_places, places], 1)
        mixed = self.attn(self.norm_q(x + places), self.norm_k(there + at), self.norm_v(there))
        x = self.norm2(x + self.drop_path(self.gain1 * mixed))
        told: Tensor = x + self.drop_path(self.gain2 * self.mlp(x))
        return told


class LatentRegressor(nn.Module):
    """seen (N, K, d), tokens at seen_places (N, K, d), to what stands at places (N, M, d): (N, M, d). Every query begins as the
    same vector, `mask_token`. Source: Atten4Vis/CAE, modeling_cae_helper.py."""

    def __init__(self, dim: int, depth: int, heads: int, gain: float) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleList(RegressorBlock(dim, heads, gain) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, seen: Tensor, places: Tensor, seen_places: Tensor) -> Tensor:
        x = self.mask_token.to(seen.dtype).expand(places.shape[0], places.shape[1], -1)
        for block in self.blocks:
            x = block(x, seen, places, seen_places)
        told: Tensor = self.norm(x)
        return told
