"""LCI's inpainter of patches and the judge of what it makes (Jenni, Jin, Favaro 2020, arXiv:2004.02331)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

MOST = 512
"""Channels of no layer are more."""


class PatchInpainter(nn.Module):
    """Patches (N, C, h, w) in [-1, 1] to the same shape in (-1, 1): a 3 x 3 convolution, `layers` - 1 of 4 x 4 and stride 2,
    each with twice the channels, and back; LeakyReLU 0.1, batch norm but in the first and last. It makes patches anew as a whole,
    the border too.

    Source: sjenni/LCI, models/lci_nets.py. Raises ValueError where the halvings do not divide the sides.
    """

    def __init__(self, in_chans: int = 3, width: int = 48, layers: int = 5) -> None:
        super().__init__()
        self.step_px = 1 << layers - 1
        channels = [min(width << i, MOST) for i in range(layers)]
        parts: list[nn.Module] = [nn.Conv2d(in_chans, width, 3, padding=1), nn.LeakyReLU(0.1)]
        for before, after in pairwise(channels):
            parts += [nn.Conv2d(before, after, 4, 2, 1, bias=False), *_norm(after)]
        for before, after in pairwise(channels[::-1]):
            parts += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), *_norm(after)]
        self.layers = nn.Sequential(*parts, nn.Conv2d(width, in_chans, 3, padding=1))
        _begin(self)

    def forward(self, patches: Tensor) -> Tensor:
        if patches.shape[2] % self.step_px or patches.shape[3] % self.step_px:
            raise ValueError(f"the inpainter halves its patches down to one in {self.step_px} px, and they have "
                             f"{patches.shape[2]} x {patches.shape[3]} px; use fewer model.inpainter_layers, or a crop_px of a "
                             f"multiple of {self.step_px}")
        return torch.tanh(self.layers(patches).float())  # in half precision levels would be steps of their own


def pair_judge(in_chans: int = 3, width: int = 64, layers: int = 4) -> nn.Sequential:
    """Two patches on each other's channels, (N, 2 in_chans, side, side), to scores (N, 1): for each but the last of its layers a
    3 x 3 convolution and one of 4 x 4 and stride 2, then one of 3 x 3, summed over space, and a linear layer, all with spectral
    norm; LeakyReLU 0.1.

    Source: sjenni/LCI, models/lci_nets.py, whose spectral norm lets gradients through the power iteration, as torch's does not.
    """
    channels = [min(width << i, MOST) for i in range(layers)]
    parts: list[nn.Module] = []
    before = 2 * in_chans
    for after in channels[:-1]:
        parts += [nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(after, after, 4, 2, 1), nn.LeakyReLU(0.1)]
        before = after
    judge = nn.Sequential(*parts, nn.Conv2d(before, channels[-1], 3, padding=1), nn.LeakyReLU(0.1), Total(),
                          nn.Linear(channels[-1], 1))
    _begin(judge)
    for part in judge:
        if isinstance(part, nn.Conv2d | nn.Linear):
            spectral_norm(part)
    return judge


class Total(nn.Module):
    """(N, C, H, W) to (N, C): the sum over space."""

    def forward(self, map: Tensor) -> Tensor:
        return map.sum((2, 3))


def pairs(patches: Tensor) -> Tensor:
    """(N, C, h, w) to (N // 2, 2 C, h, w): neighbours on each other's channels; of an odd number the last is left out."""
    return patches[: len(patches) // 2 * 2].unflatten(0, (-1, 2)).flatten(1, 2)


def cut(images: Tensor, box: Tensor) -> Tensor:
    """(N, C, H, W) and boxes (N, 4), top, left, height, width, of one size each, inside: the patches (N, C, height, width)."""
    image, rows, columns = _places(box, images.device)
    return images.permute(0, 2, 3, 1)[image, rows, columns].permute(0, 3, 1, 2)


def paste(images: Tensor, patches: Tensor, box: Tensor) -> Tensor:
    """The images (N, C, H, W) with patches (N, C, height, width) at their boxes (N, 4)."""
    image, rows, columns = _places(box, images.device)
    pasted = images.permute(0, 2, 3, 1).index_put((image, rows, columns), patches.to(images.dtype).permute(0, 2, 3, 1))
    return pasted.permute(0, 3, 1, 2)


def _places(box: Tensor, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Which image, (N, 1, 1), rows (N, height, 1) and columns (N, 1, width), of boxes of one size. box: best on the CPU."""
    height, width = (int(n) for n in box[0, 2:].tolist()) if len(box) else (0, 0)
    corner = box[:, :2, None].long().to(device, non_blocking=True)
    image = torch.arange(len(box), device=device)[:, None, None]
    rows, columns = (corner[:, axis] + torch.arange(side, device=device) for axis, side in enumerate((height, width)))
    return image, rows[:, :, None], columns[:, None, :]


def _norm(channels: int) -> tuple[nn.Module, nn.Module]:
    # The code's decay of 0.975 would be too slow for pictures, made in evaluation mode; there these averages are never used.
    return nn.BatchNorm2d(channels, eps=1e-3), nn.LeakyReLU(0.1)


def _begin(module: nn.Module) -> None:
    """Xavier's uniform law for weights, biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
