"""Distillation of a classifier's answers, with and without labels (Chen et al. 2020, SimCLR v2, arXiv:2006.10029)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Scale = Literal["official", "paper"]


def distillation(student: Tensor, teacher: Tensor, temperature: float, *, scale: Scale = "official") -> Tensor:
    """The cross entropy from the teacher's distribution to the student's, mean over images: of softmax(teacher / T), which gets
    no gradient, and log softmax(student / T). student, teacher (B, classes): scores; a scalar.

    scale "official": times T^2, as the authors' code has it, so that gradients stay as large at any temperature; "paper":
    without, their equation 2. Half-precision scores are computed in float32. Raises ValueError on a temperature of 0 or less,
    on shapes that differ, on another scale.
    """
    return _per_image(student, teacher, temperature, scale).mean()


def distillation_with_labels(student: Tensor, teacher: Tensor, label: Tensor, temperature: float, alpha: float, *,
                             scale: Scale = "official") -> Tensor:
    """(1 - alpha) times the cross entropy with the labels, of the images that have one, plus alpha times `distillation`, of all
    images: equation 3, both sums divided by B, the number of all. label (B,) int64, -1 where there is none; alpha in [0, 1].

    The labels' term sees the student at temperature 1. Raises ValueError as `distillation`, and on an alpha outside [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha, the share of the teacher's answers, needs a number in [0, 1], got {alpha}")
    from_teacher = _per_image(student, teacher, temperature, scale)
    from_label = F.cross_entropy(_wide(student), label, ignore_index=-1, reduction="none")  # 0 where there is none
    return ((1 - alpha) * from_label + alpha * from_teacher).mean()


def _per_image(student: Tensor, teacher: Tensor, temperature: float, scale: Scale) -> Tensor:
    if not temperature > 0:
        raise ValueError(f"temperature needs a number above 0, got {temperature}")
    if scale not in ("official", "paper"):
        raise ValueError(f"scale needs 'official' or 'paper', got {scale!r}")
    if student.ndim != 2 or student.shape != teacher.shape:
        raise ValueError(f"student and teacher need scores of one shape (B, classes), got {tuple(student.shape)} and "
                         f"{tuple(teacher.shape)}")
    target = (_wide(teacher.detach()) / temperature).softmax(1)
    loss = -(target * (_wide(student) / temperature).log_softmax(1)).sum(1)
    return loss * temperature**2 if scale == "official" else loss


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
