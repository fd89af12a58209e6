"""Sinkhorn-Knopp: images are shared out among prototypes, softly, so that every prototype gets as much as any other (Cuturi
2013, arXiv:1306.0895; SwAV, Caron et al. 2020, arXiv:2006.09882, section 3.1; facebookresearch/swav, main_swav.py)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, *, iterations: int = 3,
             add_up: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """scores (B, K), of B images and K prototypes, to assignments (B, K) of which each row sums to 1; float32 or wider, inside
    autocast too, without a gradient.

    exp(scores / epsilon), then so many times: every prototype is scaled to 1 / K of all, then every image to 1 / B of all. It
    ends with images, as the authors' code does, so that prototypes have equal shares only nearly, after 3 iterations.
    scores / epsilon needs to lie within about 80, where float32 holds exp: cosines and an epsilon of 0.025 or more do.

    add_up: where several processes hold parts of one batch, which may differ in B: adds a tensor up over all of them. Each then
    has its own rows of what the whole batch is assigned. Raises ValueError on an epsilon of 0 or less, fewer than 1 iteration.
    """
    if not epsilon > 0 or iterations < 1:
        raise ValueError(f"sinkhorn needs an epsilon above 0 and at least 1 iteration, got {epsilon} and {iterations}")
    with torch.autocast(scores.device.type, enabled=False):
        q = (scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon).exp()
        # The table stays as it is, and each side's factors are kept: prototype k's is 1 / its sum under the images' factors, and
        # the other way round. The authors' 1 / K, 1 / B and first division by the sum of all cancel out in the next division.
        of_images = q.new_ones(len(q))
        for _ in range(iterations):
            sums = of_images @ q
            of_prototypes = 1 / (sums if add_up is None else add_up(sums))
            of_images = 1 / (q @ of_prototypes)
        return q * of_prototypes * of_images[:, None]
