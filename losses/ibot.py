"""iBOT's loss of masked patches: what a student that does not see a patch says of it, beside what its teacher says that does
(Zhou et al. 2021, arXiv:2111.07832; bytedance/ibot, main_ibot.py)."""

from __future__ import annotations

import torch
from torch import Tensor


def patch_weights(mask: Tensor) -> Tensor:
    """mask (N, L) bool, True where masked, to (n,) float32: how much each of the n masked patches, in the order of `x[mask]`,
    counts in a mean over the masked patches of an image, and then over all N images: one over N times as many as its image has.

    An image without any counts as one that costs nothing, so that these add up to the share of images that have a mask.
    Raises ValueError on another shape.
    """
    if mask.ndim != 2 or mask.dtype != torch.bool:
        raise ValueError(f"masks need (N, L) bool, got {tuple(mask.shape)} {mask.dtype}")
    counts = mask.sum(1, keepdim=True).clamp(min=1)
    return (1 / (len(mask) * counts.float())).expand_as(mask)[mask]


def patch_costs(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """(n,) nats, float32 or wider: of each of n patches the cross entropy of the student's softmax(student / temperature) under
    the teacher's distribution. student (n, K): logits; teacher (n, K): probabilities, to which no gradient goes.

    Raises ValueError on a temperature of 0 or less, and on shapes that do not fit.
    """
    if not temperature > 0:
        raise ValueError(f"the student's temperature needs a number above 0, got {temperature}")
    if student.ndim != 2 or student.shape != teacher.shape:
        raise ValueError(f"student and teacher need (n, K) both, got {tuple(student.shape)} and {tuple(teacher.shape)}")
    with torch.autocast(student.device.type, enabled=False):
        logits, q = _wide(student) / temperature, _wide(teacher.detach())
        # -sum q log softmax(s) = logsumexp(s) - <q, s>, since q sums to 1: no table of logarithms.
        return logits.logsumexp(-1) - (q * logits).sum(-1)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
