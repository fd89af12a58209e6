"""DINO's self-distillation: a student matches a teacher's centred and sharpened distribution (Caron et al. 2021,
arXiv:2104.14294; facebookresearch/dino, main_dino.py)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def teacher_distribution(logits: Tensor, center: Tensor, temperature: float) -> Tensor:
    """softmax((logits - center) / temperature) over the last axis, float32 or wider, without a gradient. logits (..., K), center
    (K,). Raises ValueError on a temperature of 0 or less."""
    _positive("teacher's temperature", temperature)
    with torch.no_grad(), torch.autocast(logits.device.type, enabled=False):
        return ((_wide(logits) - center) / temperature).softmax(-1)


def dino_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Cross entropy of the student's softmax(student / temperature) under the teacher's distribution: the mean over images and
    over all pairs of a teacher's view i and a student's view j, i != j. A scalar, in nats, float32 or wider.

    student (V, B, K): logits of all views; teacher (G, B, K): probabilities of the first G of these views, G <= V. That is a mean
    over G (V - 1) terms: with two global views and L local ones 2 (L + 1). No gradient goes to the teacher.
    Raises ValueError on a temperature of 0 or less, on shapes that do not fit, and where there is no such pair.
    """
    _positive("student's temperature", temperature)
    views, given = len(student), len(teacher)
    if student.ndim != 3 or teacher.ndim != 3 or student.shape[1:] != teacher.shape[1:] or given > views:
        raise ValueError("student (V, B, K) and teacher (G, B, K) need to fit, with G <= V, got "
                         f"{tuple(student.shape)} and {tuple(teacher.shape)}")
    if given * (views - 1) < 1:
        raise ValueError(f"a pair of two views needs at least 2 views, 1 of them the teacher's, got {views} and {given}")
    with torch.autocast(student.device.type, enabled=False):
        logits, q = _wide(student) / temperature, _wide(teacher.detach())
        # -sum q log softmax(s) = logsumexp(s) - <q, s>, since q sums to 1: no table of all pairs' logarithms.
        terms = logits.logsumexp(-1)[:, None] - torch.einsum("vbk,gbk->vgb", logits, q)
        other = ~torch.eye(views, given, dtype=torch.bool, device=terms.device)
        return terms.mean(-1)[other].mean()


def updated_center(center: Tensor, mean: Tensor, momentum: float) -> Tensor:
    """momentum * center + (1 - momentum) * mean. center, mean (K,); mean: of the teacher's logits, over all its views of the
    images of all ranks. Raises ValueError on a momentum outside [0, 1]."""
    if not 0 <= momentum <= 1:
        raise ValueError(f"the center's momentum needs a number in [0, 1], got {momentum}")
    return center * momentum + mean * (1 - momentum)


def normalized_entropy(probabilities: Tensor) -> Tensor:
    """(..., K) to (...,): entropy over ln K, in [0, 1]: 0 for one certain choice, 1 for all alike. Raises ValueError, K < 2."""
    choices = probabilities.shape[-1]
    if choices < 2:
        raise ValueError(f"an entropy over ln K needs K >= 2 choices, got {choices}")
    return torch.special.entr(probabilities).sum(-1) / math.log(choices)


def _positive(what: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"the {what} needs a number above 0, got {value}")


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
