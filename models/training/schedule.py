"""The learning rate of a step: linear warm-up, then half a cosine, per step and not per epoch."""

from __future__ import annotations

import math


def learning_rate(step: int, *, total: int, warmup: int, peak: float, final: float = 0.0) -> float:
    """The rate used by step `step` (0 is the first of `total`).

    Rises as peak * step / warmup, so the very first step of a warm-up moves nothing, as in the published code of SimCLR
    and MAE; then falls along half a cosine from peak to final, which step `total` (never taken) would use.
    Source: SGDR, arXiv:1608.03983, without restarts. Raises ValueError unless 0 <= warmup < total.
    """
    if not 0 <= warmup < total:
        raise ValueError(f"warm-up needs 0 <= warmup < total steps, got {warmup} of {total}")
    if step < warmup:
        return peak * step / warmup
    way = min((step - warmup) / (total - warmup), 1.0)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * way))
