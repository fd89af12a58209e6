"""Self-distillation of regions: each of the student's is taught by the teacher's region that is most like it (EsViT, Li et al.
2022, arXiv:2106.09785; microsoft/esvit, main_esvit.py)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def nearest_regions(student: Tensor, teacher: Tensor) -> Tensor:
    """(V, B, T, D) and (G, B, S, D) to (V, G, B, T) int64 in [0, S): to each region of a student's view that region of a
    teacher's view of the same image whose features have the highest cosine with its own; of equal ones any. No gradient."""
    if student.ndim != 4 or teacher.ndim != 4 or student.shape[1] != teacher.shape[1] or student.shape[3] != teacher.shape[3]:
        raise ValueError("regions need features (V, B, T, D) and (G, B, S, D), got "
                         f"{tuple(student.shape)} and {tuple(teacher.shape)}")
    with torch.no_grad(), torch.autocast(student.device.type, enabled=False):
        mine, its = (F.normalize(_wide(x), dim=-1) for x in (student, teacher))
        return torch.einsum("vbtd,gbsd->vgbts", mine, its).argmax(-1)


def region_loss(student: Sequence[Tensor], teacher: Tensor, nearest: Sequence[Tensor], temperature: float) -> Tensor:
    """Cross entropy of the student's softmax(student / temperature) of a region under the teacher's distribution of the nearest
    region: the mean over regions of a view, over images, and over all pairs of a teacher's view i and a student's view j, i != j.
    A scalar, in nats, float32 or wider.

    student: logits (V_n, B, T_n, K) of one size of views after the other, the first V_0 of V_0 + V_1 + ... views being at least
    those G that the teacher sees, in their order. teacher (G, B, S, K): probabilities. nearest: of each size, (V_n, G, B, T_n),
    as `nearest_regions` has them. Of all pairs of regions no more than a number each is made: memory grows with the student's
    logits. No gradient goes to the teacher.
    Raises ValueError on a temperature of 0 or less, on shapes that do not fit, and where there is no such pair.
    """
    if not temperature > 0:
        raise ValueError(f"the student's temperature needs a number above 0, got {temperature}")
    given, views = len(teacher), sum(len(logits) for logits in student)
    for logits, index in zip(student, nearest, strict=True):
        if (logits.ndim != 4 or teacher.ndim != 4 or logits.shape[1::2] != teacher.shape[1::2] or given > len(student[0])
                or index.shape != (len(logits), given, *logits.shape[1:3])):
            raise ValueError("student (V, B, T, K), teacher (G, B, S, K) and nearest (V, G, B, T) need to fit, with G <= the "
                             f"first V, got {tuple(logits.shape)}, {tuple(teacher.shape)} and {tuple(index.shape)}")
    if given * (views - 1) < 1:
        raise ValueError(f"a pair of two views needs at least 2 views, 1 of them the teacher's, got {views} and {given}")
    terms, first = [], 0
    with torch.autocast(teacher.device.type, enabled=False):
        q = _wide(teacher.detach())
        for logits, index in zip(student, nearest, strict=True):
            scaled = _wide(logits) / temperature
            # -sum q log softmax(s) = logsumexp(s) - <q, s>, since q sums to 1. <q, s> of all pairs of regions, of which one a
            # region is kept: K times less to keep for the gradient than a copy of the nearest q for each.
            dots = torch.einsum("vbtk,gbsk->vgbts", scaled, q).gather(-1, index[..., None])[..., 0]
            pairs = (scaled.logsumexp(-1)[:, None] - dots).mean((2, 3))
            other = torch.arange(first, first + len(logits), device=q.device)[:, None] != torch.arange(given, device=q.device)
            terms.append((pairs * other).sum())
            first += len(logits)
        return torch.stack(terms).sum() / (given * (views - 1))


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
