"""Losses that let no feature of an embedding say what another one says, instead of telling images apart: Barlow Twins (Zbontar et
al. 2021, arXiv:2103.03230; facebookresearch/barlowtwins, main.py) and VICReg (Bardes, Ponce, LeCun 2021, arXiv:2105.04906;
facebookresearch/vicreg, main_vicreg.py).

z_a, z_b (B, D): embeddings of two views of the same B images. total: where several processes hold parts of one batch, which may
differ in B: adds a tensor up over all of them, with the gradient (backward adds up all processes' gradients). Each then has the
whole batch's values. All is computed in float32 or wider, inside autocast too. Both functions raise ValueError on shapes that
differ, and where one process alone has fewer than two images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Scale = Literal["official", "paper"]
Total = Callable[[Tensor], Tensor]

NORM_EPS = 1e-5
"""Added to a variance, as torch's batch norm does, by which Barlow Twins' code standardises."""
VARIANCE_EPS = 1e-4
"""Added to a variance by VICReg, so that a standard deviation of 0 has a gradient."""


class BarlowTerms(NamedTuple):
    """loss: a scalar. diagonal (D,): C_ii, in [-1, 1]. off_diagonal: sum of C_ij^2 over i != j, a scalar."""

    loss: Tensor
    diagonal: Tensor
    off_diagonal: Tensor


class VICRegTerms(NamedTuple):
    """Scalars: the loss, and its three terms without weights, in the code's scale."""

    loss: Tensor
    invariance: Tensor
    variance: Tensor
    covariance: Tensor


def barlow_twins(z_a: Tensor, z_b: Tensor, off_diagonal: float, *, total: Total | None = None) -> BarlowTerms:
    """sum_i (1 - C_ii)^2 + off_diagonal * sum_{i != j} C_ij^2, where C (D, D) is the cross-correlation of both views' features:
    standardised over the batch, each view by itself, multiplied, averaged over the batch.

    No gain, no shift, no running statistics: what the authors' last batch norm does in training. They divide by the nominal
    batch size, this by how many images there are. Memory: C, once more for its gradient, and once while it is added up.
    """
    with torch.autocast(z_a.device.type, enabled=False):
        centred, images, total = _centred(z_a, z_b, total)
        unit = centred * (total(centred.square().sum(0)) / images + NORM_EPS).rsqrt()
        u_a, u_b = unit.chunk(2, 1)
        diagonal = total((u_a * u_b).sum(0)) / images
        beside = _Beside.apply(total(u_a.T @ (u_b / images)))
        return BarlowTerms((1 - diagonal).square().sum() + off_diagonal * beside, diagonal, beside)


def vicreg(z_a: Tensor, z_b: Tensor, weights: tuple[float, float, float] = (25.0, 25.0, 1.0), *, scale: Scale = "official",
           total: Total | None = None) -> VICRegTerms:
    """The sum, by these weights, of how far the views of an image lie apart, by how much the features' standard deviations fall
    short of 1, and how much the features tell of each other.

    invariance: squared differences, mean over images and features. variance: max(0, 1 - sqrt(var + 1e-4)), mean over features,
    mean of both views. covariance: squares of the covariances beside the diagonal, summed, divided by D, sum of both views.
    Variances and covariances divide by images - 1; the authors' covariance by the nominal batch size less 1.

    scale "official": the loss has these terms, as the code has it. "paper": as the formula is usually printed (unverified):
    invariance as the sum over features, D times as much, variance as the sum of both views. The default weights are the code's.
    Memory: a (D, D) for each view, once more for a gradient, and once while it is added up. Raises ValueError on another scale.
    """
    if scale not in ("official", "paper"):
        raise ValueError(f"scale needs 'official' or 'paper', got {scale!r}")
    with torch.autocast(z_a.device.type, enabled=False):
        centred, images, total = _centred(z_a, z_b, total)
        dim = z_a.shape[1]
        apart = (_wide(z_a) - _wide(z_b)).square().sum()
        sums = total(torch.cat([centred.square().sum(0), apart[None]]))
        invariance = sums[-1] / (images * dim)
        variance = (1 - (sums[:-1] / (images - 1) + VARIANCE_EPS).sqrt()).relu().mean()
        of_a, of_b = (_Beside.apply(total(x.T @ (x / (images - 1)))) for x in centred.chunk(2, 1))
        covariance = (of_a + of_b) / dim
        of_invariance, of_variance, of_covariance = weights
        if scale == "paper":
            of_invariance, of_variance = of_invariance * dim, of_variance * 2
        loss = of_invariance * invariance + of_variance * variance + of_covariance * covariance
        return VICRegTerms(loss, invariance, variance, covariance)


def _centred(z_a: Tensor, z_b: Tensor, total: Total | None) -> tuple[Tensor, Tensor, Total]:
    """(B, 2 D), both views' features less their means over all images; how many these are, a scalar; and total, at hand."""
    if z_a.ndim != 2 or z_a.shape != z_b.shape:
        raise ValueError(f"both views need one shape (B, D), got {tuple(z_a.shape)} and {tuple(z_b.shape)}")
    if total is None:
        if len(z_a) < 2:
            raise ValueError(f"statistics over a batch need at least two images, got {len(z_a)}")
        total = _as_it_is
    z = torch.cat([_wide(z_a), _wide(z_b)], 1)
    sums = total(torch.cat([z.sum(0), z.new_full((1,), len(z))]))
    return z - sums[:-1] / sums[-1], sums[-1], total


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _wide(z: Tensor) -> Tensor:
    return z.to(torch.promote_types(z.dtype, torch.float32))


class _Beside(torch.autograd.Function):
    """The sum of the squares of a table (D, D) beside its diagonal. For D = 8192 the table takes 256 MiB: no mask, no table of
    squares is made, and the gradient is the only other one."""

    @staticmethod
    def forward(ctx: Any, table: Tensor) -> Tensor:
        ctx.save_for_backward(table)
        # Cut after every D + 1 numbers, from the second on, the diagonal is the last column.
        dim = len(table)
        return torch.linalg.vector_norm(table.flatten()[1:].view(dim - 1, dim + 1)[:, :-1], dim=1).square().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (table,) = ctx.saved_tensors
        slope: Tensor = table * (2 * gradients[0])
        slope.diagonal().zero_()
        return slope
