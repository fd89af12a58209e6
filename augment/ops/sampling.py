"""Look images up between their pixels: what a rotation or a warp does once it knows where each output pixel comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pixel_grid(images: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column numbers of the pixels, float64, (H, 1) and (1, W)."""
    import torch

    y = torch.arange(images.shape[-2], dtype=torch.float64, device=images.device)
    x = torch.arange(images.shape[-1], dtype=torch.float64, device=images.device)
    return y[:, None], x[None, :]


def bilinear(images: Tensor, y: Tensor, x: Tensor, outside: str) -> Tensor:
    """images (N, C, H, W), levels, at rows y and columns x (N, h, w), float64 pixels -> (N, C, h, w) whole levels.

    outside: "zero": each tap that lies outside is 0; "edge": it is the nearest pixel inside. Places are float64 because a
    quarter turn must hit its pixels; the blend is in the images' own type.
    """
    import torch

    height, width = images.shape[-2:]
    top, left = torch.floor(y), torch.floor(x)
    down, right = (y - top).to(images.dtype).unsqueeze(1), (x - left).to(images.dtype).unsqueeze(1)
    pixels = images.flatten(2)

    def tap(row: Tensor, column: Tensor) -> Tensor:
        held_row, held_column = row.clamp(0, height - 1), column.clamp(0, width - 1)
        place = (held_row * width + held_column).to(torch.int64).flatten(1).unsqueeze(1)
        found = pixels.gather(2, place.expand(-1, pixels.shape[1], -1)).unflatten(2, row.shape[1:])
        if outside == "edge":
            return found
        return found.where(((held_row == row) & (held_column == column)).unsqueeze(1), found.new_zeros(()))

    upper = torch.lerp(tap(top, left), tap(top, left + 1), right)
    lower = torch.lerp(tap(top + 1, left), tap(top + 1, left + 1), right)
    return torch.floor(torch.lerp(upper, lower, down) + 0.5)
