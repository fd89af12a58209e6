"""NT-Xent, the normalised, temperature-scaled cross entropy of SimCLR (Chen et al. 2020, arXiv:2002.05709)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Scale = Literal["official", "paper"]


def nt_xent(z_a: Tensor, z_b: Tensor, temperature: float, *, scale: Scale = "official", chunk: int | None = None,
            others: tuple[Tensor, Tensor] | None = None, offset: int = 0) -> Tensor:
    """Each view picks its partner out of all other views. z_a, z_b (B, D): two views of the same B images; scalar.

    Embeddings are L2-normalised here. For each of the 2B anchors: a softmax over cosine / temperature with the 2B - 1
    other views; the loss of an anchor is -log of its partner's share, l. scale "official": mean over B of l_a + l_b, as
    the authors' code has it; "paper": half of that, the mean over all 2B anchors of the paper's equation.

    others, offset: where several processes hold parts of one batch, others is the whole of both views, (N, D) each, and
    z_a, z_b are its rows offset .. offset + B. The value is then this part's share: the shares of all parts add up to the
    loss of the whole.

    chunk: so many anchors at a time, their similarities computed again in the backward pass, so that memory grows with
    chunk * 2N and not with 2B * 2N; None: all at once. Half-precision input is computed in float32, inside autocast too.
    Raises ValueError on a temperature of 0 or less, on shapes that differ, on a chunk below 1, on an unknown scale.
    """
    if not temperature > 0:
        raise ValueError(f"temperature needs a number above 0, got {temperature}")
    if scale not in ("official", "paper"):
        raise ValueError(f"scale needs 'official' or 'paper', got {scale!r}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk needs at least 1 anchor, or None for all at once, got {chunk}")
    with torch.autocast(z_a.device.type, enabled=False):
        anchors, candidates, own, partner = _arranged(z_a, z_b, others, offset)
        total = len(candidates) // 2
        if chunk is None:
            summed = _summed(anchors, candidates, own, partner, temperature)
        else:
            pieces = zip(anchors.split(chunk), own.split(chunk), partner.split(chunk), strict=True)
            summed = torch.stack([
                checkpoint(_summed, a, candidates, o, p, temperature, use_reentrant=False) for a, o, p in pieces
            ]).sum()
        return summed / (total if scale == "official" else 2 * total)


@torch.no_grad()
def partner_accuracy(z_a: Tensor, z_b: Tensor, *, chunk: int | None = None, others: tuple[Tensor, Tensor] | None = None,
                     offset: int = 0) -> Tensor:
    """Share of the 2B anchors, in [0, 1], to which of all other views their partner is the nearest; a scalar, no gradient.

    By chance 1 / (2N - 1). Near 1 within the first epochs, with features that classify poorly, it tells of a leak: batch
    statistics or crops that give the partner away. Arguments and errors as those of `nt_xent`.
    """
    with torch.autocast(z_a.device.type, enabled=False):
        anchors, candidates, own, partner = _arranged(z_a, z_b, others, offset)
        size = chunk or max(len(anchors), 1)
        right = [(a @ candidates.T).scatter(1, o[:, None], -torch.inf).argmax(1) == p
                 for a, o, p in zip(anchors.split(size), own.split(size), partner.split(size), strict=True)]
        return torch.cat(right).float().mean()


def _arranged(z_a: Tensor, z_b: Tensor, others: tuple[Tensor, Tensor] | None,
              offset: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Anchors (2B, D) and candidates (2N, D), of length 1; own and partner (2B,): the anchors' rows in the candidates, where
    view a of image i is row i, view b is row N + i."""
    if z_a.ndim != 2 or z_a.shape != z_b.shape:
        raise ValueError(f"both views need one shape (B, D), got {tuple(z_a.shape)} and {tuple(z_b.shape)}")
    all_a, all_b = others if others is not None else (z_a, z_b)
    total = len(all_a)
    if all_a.shape != all_b.shape or not 0 <= offset <= total - len(z_a):
        raise ValueError(f"others need two of one shape (N, D) with N >= offset + B = {offset + len(z_a)}, "
                         f"got {tuple(all_a.shape)} and {tuple(all_b.shape)}")
    row = torch.arange(offset, offset + len(z_a), device=z_a.device)
    own, partner = torch.cat([row, row + total]), torch.cat([row + total, row])
    return torch.cat([_unit(z_a), _unit(z_b)]), torch.cat([_unit(all_a), _unit(all_b)]), own, partner


def _unit(z: Tensor) -> Tensor:
    return F.normalize(z.float() if z.dtype in (torch.float16, torch.bfloat16) else z, dim=1)


def _summed(anchors: Tensor, candidates: Tensor, own: Tensor, partner: Tensor, temperature: float) -> Tensor:
    """Sum of the losses of some anchors. anchors (A, D); own, partner (A,): their own row and their partner's."""
    logits = anchors @ candidates.T / temperature
    logits = logits.scatter(1, own[:, None], -torch.inf)
    return F.cross_entropy(logits, partner, reduction="sum")
