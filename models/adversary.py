"""Networks that learn against each other, in one backward pass and one step."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..losses.adversarial import fooling_bce, fooling_hinge, judging_bce, judging_hinge

LAST_PX = 4
"""Below twice this side, a DCGAN halves its maps no more."""


class Adversary(nn.Module):
    """A judge of images, any network from images (N, C, H, W) to logits, and both sides of its game, by one of two laws.

    The losses are added to the rest of a method's. One update then moves judge and maker at once, from the same weights, where
    the papers' codes move the judge first. `Method.rates` gives the judge a rate of its own.
    """

    def __init__(self, judge: nn.Module, law: Literal["bce", "hinge"]) -> None:
        super().__init__()
        self.judge, self.law = judge, law

    def forward(self, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        """(judging, fooling): the judge's loss, whose gradient reaches its weights alone, and the maker's, whose gradient reaches
        `made` alone. Real and made images go through the judge by themselves, so that its batch norms see one kind at a time."""
        judging = judging_bce if self.law == "bce" else judging_hinge
        fooling = fooling_bce if self.law == "bce" else fooling_hinge
        loss = judging(self.judge(real.detach()), self.judge(made.detach()))
        return loss, fooling(against(self.judge, made))


def against(network: nn.Module, images: Tensor) -> Tensor:
    """network(images), whose gradient reaches the images and leaves the network's weights alone."""
    fixed = {name: parameter.detach() for name, parameter in network.named_parameters()}
    answer: Tensor = functional_call(network, fixed, (images,))
    return answer


def turned(x: Tensor, weight: float = 1.0) -> Tensor:
    """x itself, whose gradient comes back times -weight: what lies before learns against what lies behind, by the same loss."""
    answer: Tensor = _Turned.apply(x, weight)
    return answer


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradients[0], None


def dcgan_judge(side_px: int, in_chans: int = 3, width: int = 64) -> nn.Sequential:
    """Images (N, in_chans, side_px, side_px) to logits (N, 1): 4 x 4 convolutions of stride 2 down to 4 to 7 px, of
    `dcgan_widths` channels, with batch norm but in the first, LeakyReLU 0.2; then one as large as the map. No biases.

    Source: DCGAN, arXiv:1511.06434, as pathak22/context-encoder has it. Raises ValueError below 8 px.
    """
    channels = dcgan_widths(halvings(side_px), width)
    layers: list[nn.Module] = [nn.Conv2d(in_chans, channels[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for before, after in pairwise(channels):
        layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
    left_px = side_px >> len(channels)
    judge = nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, left_px, bias=False), nn.Flatten())
    begin_as_dcgan(judge)
    return judge


def halvings(side_px: int) -> int:
    """How often a side is halved, rounding down, until less than 8 px are left. Raises ValueError below 8 px."""
    if side_px < 2 * LAST_PX:
        raise ValueError(f"a DCGAN needs images of at least {2 * LAST_PX} px, got {side_px}")
    return side_px.bit_length() - LAST_PX.bit_length()


def dcgan_widths(count: int, width: int = 64) -> list[int]:
    """Channels of `count` convolutions, the largest map first: width, 2, 4 and 8 times it; of more than four, the first repeat:
    of five 64, 64, 128, 256, 512."""
    return [width << max(i - max(count - 4, 0), 0) for i in range(count)]


@torch.no_grad()
def begin_as_dcgan(module: nn.Module) -> None:
    """First weights as DCGAN has them: convolutions Gaussian of 0.02, batch norm's gains of 0.02 around 1, all else 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, 0.0, 0.02)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.02)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)
