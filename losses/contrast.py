"""A query picks its own key out of many: InfoNCE over a queue of older keys (MoCo, arXiv:1911.05722; facebookresearch/moco,
builder.py) or over the keys of one batch (MoCo v3, arXiv:2104.02057; NNCLR, arXiv:2104.14548)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def queue_contrast(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """(loss, accuracy) of queries (B, D), each with its own key of (B, D) and all of the negatives (K, D); two scalars.

    Queries and keys are L2-normalised here, the negatives are taken as they are, of length 1. loss: mean over queries of -log of
    the own key's share in a softmax over 1 + K products / temperature, in nats; ln(1 + K) by chance. accuracy: share of the
    queries to which their own key is nearer than every negative, in [0, 1], without a gradient; a draw is a miss, so that
    collapsed embeddings are not taken for good ones. Half precision is computed in float32, inside autocast too.
    Raises ValueError on a temperature of 0 or less, and on shapes that do not fit.
    """
    if queries.ndim != 2 or queries.shape != keys.shape or negatives.shape[1:] != queries.shape[1:]:
        raise ValueError("queries and keys need one shape (B, D), negatives (K, D), got "
                         f"{tuple(queries.shape)}, {tuple(keys.shape)} and {tuple(negatives.shape)}")
    _positive(temperature)
    with torch.autocast(queries.device.type, enabled=False):
        q, k = _unit(queries), _unit(keys)
        own = (q * k).sum(1, keepdim=True)
        logits = torch.cat([own, q @ negatives.to(q.dtype).T], 1) / temperature
        return _judged(logits, torch.zeros(len(q), dtype=torch.int64, device=q.device))


def batch_contrast(queries: Tensor, candidates: Tensor, positive: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """(loss, accuracy) of queries (B, D) among candidates (N, D), where row positive[i], (B,) int64, is query i's; as above.

    Both sides are L2-normalised here, and have the gradient if they carry one. ln N by chance.
    """
    if queries.ndim != 2 or candidates.shape[1:] != queries.shape[1:] or positive.shape != queries.shape[:1]:
        raise ValueError("queries (B, D), candidates (N, D) and positive (B,) need to fit, got "
                         f"{tuple(queries.shape)}, {tuple(candidates.shape)} and {tuple(positive.shape)}")
    _positive(temperature)
    with torch.autocast(queries.device.type, enabled=False):
        return _judged(_unit(queries) @ _unit(candidates).T / temperature, positive)


def _judged(logits: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        accuracy = ((logits >= logits.gather(1, positive[:, None])).sum(1) == 1).float().mean()
    return F.cross_entropy(logits, positive), accuracy


def _positive(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature needs a number above 0, got {temperature}")


def _unit(z: Tensor) -> Tensor:
    return F.normalize(z.float() if z.dtype in (torch.float16, torch.bfloat16) else z, dim=1)
