"""What tokens and codes say, as colours to look at."""

from __future__ import annotations

import torch
from torch import Tensor

ROOT = 1.2207440846057596
"""The real root of x^4 = x + 1: multiples of its inverse's powers fill a cube evenly, whatever their number.
Source: Roberts, The Unreasonable Effectiveness of Quasirandom Sequences, 2018."""


def in_colours(like: Tensor, *further: Tensor) -> list[Tensor]:
    """like (N, L, D) of at least three tokens, D >= 3, and further ones (..., D), to colours (N, L, 3) and (..., 3) in [0, 1]:
    the three directions in which the tokens of `like` differ most are red, green and blue, from 0 at two standard deviations
    below their mean to 1 at two above. A direction points to where its largest coordinate is positive. Equal tokens have one
    colour, whichever they are among."""
    rows = like.float().flatten(0, -2)
    mean = rows.mean(0)
    _, singular, directions = torch.linalg.svd(rows - mean, full_matrices=False)
    directions, spread = directions[:3], singular[:3] / len(rows) ** 0.5
    signs = directions.gather(1, directions.abs().argmax(1, keepdim=True)).sign()
    axes = (directions * signs).T / (4 * spread).clamp(min=1e-6)  # (D, 3)
    return [((x.float() - mean) @ axes + 0.5).clamp(0, 1) for x in (like, *further)]


def of_patches(colours: Tensor, rows: int, columns: int, patch_px: int) -> Tensor:
    """(N, rows * columns, channels) to pictures (N, channels, rows * patch_px, columns * patch_px), one colour a patch."""
    grid = colours.transpose(1, 2).unflatten(2, (rows, columns))
    return grid.repeat_interleave(patch_px, 2).repeat_interleave(patch_px, 3)


def spread_colours(count: int) -> Tensor:
    """(count, 3) float32 in [0, 1): far apart, the same first ones for any count."""
    step = torch.tensor([ROOT**-1, ROOT**-2, ROOT**-3], dtype=torch.float64)
    return ((0.5 + torch.arange(count, dtype=torch.float64)[:, None] * step) % 1).float()


def token_map(codes: Tensor, vocabulary: int) -> Tensor:
    """codes (N, rows, columns) int64 in [0, vocabulary) to pictures (N, 3, rows, columns) in [0, 1)."""
    return spread_colours(vocabulary).to(codes.device)[codes].movedim(-1, 1)
