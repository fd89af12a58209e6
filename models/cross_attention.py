"""Attention of some tokens to others, for networks that predict what is masked from what is seen."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class CrossAttention(nn.Module):
    """queries (N, Q, D), keys and values (N, K, D) to (N, Q, D): multi-head attention with a projection of each and one of what
    comes out, all with biases (a key's moves all scores of a query alike, so it changes nothing).

    Raises ValueError where heads do not divide the width.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim < 1 or heads < 1 or dim % heads:
            raise ValueError(f"attention needs a width that heads divides, got width {dim}, heads {heads}")
        self.heads = heads
        self.q, self.k, self.v, self.proj = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        split = [layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
                 for layer, x in ((self.q, queries), (self.k, keys), (self.v, values))]
        mixed = F.scaled_dot_product_attention(*split)
        found: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return found


def mlp(dim: int, ratio: float = 4.0) -> nn.Sequential:
    """(..., dim) to (..., dim), through ratio * dim values and GELU."""
    hidden = int(dim * ratio)
    return nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
