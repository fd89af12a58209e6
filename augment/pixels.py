"""Views as pictures for the eye: what their values mean, whatever was done to them last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .colour.lab import lab_to_rgb
from .op import Op
from .ops import LabSplit, Normalize, Sobel
from .ops.lab_split import CHANNELS

if TYPE_CHECKING:
    from torch import Tensor

MIDDLE_L = 50.0
"""Lightness at which colours are shown that have none of their own."""
MIDDLE = 128.0
"""The level that values of either sign are shown around."""


def before_normalization(values: Tensor, ops: Sequence[Op]) -> Tensor:
    """values (..., C, H, W) as a view with these ops has them, to float64 as they were before its normalization: levels, 0..255
    where nothing left them; L, a and b in Lab's units behind a lab_split. Raises UnsupportedRecipe where each view was normalized
    by itself."""
    import torch

    default = Normalize(kind="none", space="lab" if any(isinstance(op, LabSplit) for op in ops) else None)
    normalize = next((op for op in ops if isinstance(op, Normalize)), default)
    gain, offset = (torch.tensor(of, dtype=torch.float64, device=values.device)[:, None, None]
                    for of in normalize.affine(values.shape[-3]))
    return (values.double() - offset) / gain


def as_levels_of_rgb(values: Tensor, ops: Sequence[Op]) -> Tensor:
    """values (..., C, H, W) as a view with these ops has them, to red, green and blue (..., 3, H, W), float64 levels, 0..255
    where nothing left them.

    Lightness is gray, colours have a lightness of 50. Gradients, along x in red and along y in green, and views that were
    normalized by themselves lie around mid gray, the largest value of each at black or white.
    """
    import torch

    whole = (*values.shape[:-3], 3, *values.shape[-2:])
    if any(isinstance(op, Sobel) for op in ops):
        return _signed(torch.cat([values, torch.zeros_like(values[..., :1, :, :])], -3))
    if any(isinstance(op, Normalize) and str(op.kind).startswith("tile") for op in ops):
        return _signed(values).expand(whole)
    values = before_normalization(values, ops)
    keep = next((op.keep for op in ops if isinstance(op, LabSplit)), None)
    if keep is None or keep == ("L",):
        return (values if keep is None else values * 2.55).expand(whole)
    lab = values.new_zeros(whole)
    lab[..., 0, :, :] = MIDDLE_L
    for number, channel in enumerate(keep):
        lab[..., CHANNELS.index(channel), :, :] = values[..., number, :, :]
    return lab_to_rgb(lab).double()


def _signed(values: Tensor) -> Tensor:
    values = values.double()
    return MIDDLE + values * ((MIDDLE - 1) / values.abs().amax((-3, -2, -1), keepdim=True).clamp(min=1e-6))
