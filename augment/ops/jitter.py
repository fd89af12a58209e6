"""Brightness, contrast, saturation and hue, in a drawn or fixed order, clamped to 0..255.

Sources: torchvision's ColorJitter on Pillow images; the TensorFlow form of SimCLR (arXiv:2002.05709) and BYOL
(arXiv:2006.07733): additive brightness, contrast about each channel's mean, saturation as a factor on HSV's S.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op
from .batched import acting, coin, column, luma, one_by_one, passed_through, weighted_sum, where

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams

STEPS = ("brightness", "contrast", "saturation", "hue")
"""The numbers 0..3 in `order` mean these."""


@dataclass(frozen=True, kw_only=True)
class Jitter(Op):
    """p: the chance. Strengths s: factors uniform in [max(0, 1 - s), 1 + s]; additive brightness and hue in [-s, s], of
    the unit scale and of the hue circle. A step of strength 0 does not exist.

    order: "random", or "fixed" as listed. brightness_law: "multiplicative" | "additive". contrast_pivot: "luma-mean",
    rounded to a whole level as Pillow does | "channel-mean". saturation_law: "gray-blend" | "hsv-scale". clamp:
    "each-step" | "end". Parameters, all (N,): apply bool; brightness, contrast, saturation, hue_turns float32; order
    (N, 4) int8, the steps' numbers in STEPS.
    """

    type: ClassVar[str] = "jitter"
    optional: ClassVar[frozenset[str]] = frozenset({"share"})

    p: float | None = fields.probability(0.8)
    brightness: float | None = fields.strength(0.4)
    contrast: float | None = fields.strength(0.4)
    saturation: float | None = fields.strength(0.2)
    hue_turns: float | None = fields.number(0.1, 0, 0.5)
    order: str | None = fields.one_of("random", "random", "fixed")
    brightness_law: str | None = fields.one_of("multiplicative", "multiplicative", "additive")
    contrast_pivot: str | None = fields.one_of("luma-mean", "luma-mean", "channel-mean")
    saturation_law: str | None = fields.one_of("gray-blend", "gray-blend", "hsv-scale")
    clamp: str | None = fields.one_of("each-step", "each-step", "end")
    scope: str | None = fields.scope()
    share: str | None = fields.text()

    def strengths(self) -> tuple[float, float, float, float]:
        """Of the four steps, in the order of STEPS."""
        assert self.brightness is not None and self.contrast is not None
        assert self.saturation is not None and self.hue_turns is not None
        return self.brightness, self.contrast, self.saturation, self.hue_turns

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        scope = str(self.scope)
        u = chance.uniforms(8, scope=scope, part="strength")
        random = self.order == "random"
        order = laws.permutation_of_four(u[:, 4]) if random else np.tile(np.arange(4, dtype=np.int8), (len(chance), 1))
        b, c, s, h = self.strengths()
        low_b, high_b = (-b, b) if self.brightness_law == "additive" else (max(0.0, 1 - b), 1 + b)
        return {
            "apply": coin(chance, self.p, scope),
            "order": order,
            "brightness": laws.uniform(u[:, 0], low_b, high_b).astype(np.float32),
            "contrast": laws.uniform(u[:, 1], max(0.0, 1 - c), 1 + c).astype(np.float32),
            "saturation": laws.uniform(u[:, 2], max(0.0, 1 - s), 1 + s).astype(np.float32),
            "hue_turns": laws.uniform(u[:, 3], -h, h).astype(np.float32),
        }, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        if not params["apply"][row]:
            return ""
        names = ("brightness", "contrast", "saturation", "hue_turns")
        steps = [f"{names[i][:3]} {params[names[i]][row]:.2f}" for i in params["order"][row].tolist() if self.strengths()[i]]
        return "jitter " + ", ".join(steps)

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        assert not isinstance(images, list)
        if one_by_one(images, *params.values()):
            return self.apply_(images.clone(), params)
        order = torch.as_tensor(params["order"], device=images.device).long()
        apply = torch.as_tensor(params["apply"], device=images.device)
        names = ("brightness", "contrast", "saturation", "hue_turns")
        factors = torch.stack([column(params[name], images).flatten() for name in names], 1)
        turn = (order == 3).long().argmax(1)
        # Hue is the costliest and comes once: the other steps that a sample has before it, then hue, then those after it.
        for slot in (0, 1, 2):
            images = self._blended(images, order[:, slot], factors, apply & (slot < turn))
        if self.hue_turns:
            images = where(apply, turn_hue(images, factors[:, 3].reshape(-1, 1, 1, 1)), images)
        for slot in (1, 2, 3):
            images = self._blended(images, order[:, slot], factors, apply & (slot > turn))
        return images.clamp(0, 255)

    def _blended(self, images: Tensor, number: Tensor, factors: Tensor, on: Tensor) -> Tensor:
        """Another step than hue for each image that is on: number (N,) in STEPS, factors (N, 4)."""
        import torch

        strengths = self.strengths()
        factor = factors.gather(1, number[:, None]).reshape(-1, 1, 1, 1)
        steps = []
        if strengths[0] > 0:
            steps.append(images + 255 * factor if self.brightness_law == "additive" else images * factor)
        if strengths[1] > 0:
            steps.append(blend(self.pivot(images), images, factor))
        if strengths[2] > 0:
            gray = self.saturation_law == "gray-blend"
            steps.append(blend(luma(images), images, factor) if gray else scale_saturation(images, factor))
        present = [step for step in range(3) if strengths[step] > 0]
        after = images
        for step, result in zip(present, steps, strict=True):
            after = torch.where((number == step).reshape(-1, 1, 1, 1), result, after)
        if self.clamp == "each-step":
            after = after.clamp(0, 255)
        return where(on, after, images)

    def apply_(self, images: Tensor, params: OpParams) -> Tensor:
        """In place. A large image goes through all its steps alone, while it lies in the cache; small ones turn their hue many
        at a time, since there a call costs more than its pixels."""
        import torch

        names = ("brightness", "contrast", "saturation", "hue_turns")
        factors = torch.stack([torch.as_tensor(params[name]).to(images.dtype) for name in names], 1)
        orders = torch.as_tensor(params["order"]).tolist()
        rows = sorted(acting(params["apply"]), key=lambda row: orders[row].index(3))  # those that turn together lie together
        together = max(CACHED_PX // max(images.shape[2] * images.shape[3], 1), 1)
        at_once = 1 if together == 1 else 16 * together
        for start in range(0, len(rows), at_once):
            some = rows[start:start + at_once]
            index = torch.tensor(some)
            taken = images[some[0]:some[0] + 1] if len(some) == 1 else images.index_select(0, index)
            self._steps_(taken, factors[index], [orders[row] for row in some], together)
            if len(some) > 1:
                images.index_copy_(0, index, taken)
        return images if self.clamp == "each-step" else images.clamp_(0, 255)

    def _steps_(self, images: Tensor, factors: Tensor, orders: list[list[int]], together: int) -> None:
        """Every step of every image, in place, by slots. factors (N, 4), in the order of STEPS."""
        of_each, strengths = factors.tolist(), self.strengths()
        for slot in range(4):
            turning = [row for row, order in enumerate(orders) if order[slot] == 3 and strengths[3] > 0]
            for row, order in enumerate(orders):
                if order[slot] != 3 and strengths[order[slot]] > 0:
                    self._step_(images[row:row + 1], order[slot], of_each[row][order[slot]])
            for first in turning[::together]:
                some = slice(first, min(first + together, turning[-1] + 1))
                turn_hue_(images[some], factors[some, 3])

    def _step_(self, image: Tensor, number: int, factor: float) -> None:
        """Another step than hue on one image (1, 3, H, W)."""
        shifts = number == 0 and self.brightness_law == "additive"
        if shifts:
            image.add_(255 * factor)
        elif number == 0:
            image.mul_(factor)
        elif number == 1:
            shift = self.pivot(image).mul_(1 - factor)
            image.mul_(factor).add_(shift)
        elif self.saturation_law == "gray-blend":
            blend_(weighted_sum(image), image, factor)
        else:
            image.copy_(scale_saturation(image, image.new_tensor(factor)))
        if self.clamp == "each-step" and (shifts or factor > 1):  # a blend within [0, 1] stays within
            image.clamp_(0, 255)

    def pivot(self, images: Tensor) -> Tensor:
        """What contrast blends with: one rounded mean luma per image, or each channel's mean. (N, 1 or 3, 1, 1)."""
        import torch

        means = images.mean((2, 3), keepdim=True)
        if self.contrast_pivot == "channel-mean":
            return means
        mean = luma(means)
        return passed_through(torch.floor(mean + 0.5), mean)


CACHED_PX = 2**16
"""Pixels for which the planes of a turn of hue stay in the cache."""


def blend(degenerate: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Factor 0 is the degenerate image, 1 the image itself; beyond, it goes on."""
    return degenerate + factor * (images - degenerate)


def blend_(degenerate: Tensor, images: Tensor, factor: float) -> None:
    """The same in place."""
    import torch

    torch.lerp(degenerate, images, factor, out=images)


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue as Pillow's 8-bit circle does on average: 256 steps of 1/255, the angle cut towards zero."""
    steps = passed_through((255 * turns).trunc(), 255 * turns)
    return from_hue(images, ((sixths(images) * (255 / 6)) % 255 + steps - 0.5) % 256 * (6 / 255))


def turn_hue_(images: Tensor, turns: Tensor) -> None:
    """The same in place, in sweeps that run in vectors: the hue is counted from the smallest channel, which makes it positive,
    remainders are by floor, and choices by weights of 0 and 1. turns (N,)."""
    import torch

    r, g, b = images.unbind(1)
    top, low = torch.maximum(r, g), torch.minimum(r, g)
    torch.maximum(top, b, out=top)
    torch.minimum(low, b, out=low)
    span = top - low
    r_is_more = torch.sub(r, low).mul_(1e30).clamp_(max=1)  # than the smallest channel: 1, else 0
    b_is_more = torch.sub(b, low, out=low).mul_(1e30).clamp_(max=1)
    hue = torch.lerp((b - g).add_(span, alpha=3), (r - b).add_(span, alpha=5), r_is_more)
    other = torch.sub(g, r, out=r_is_more).add_(span)
    torch.lerp(other, hue, b_is_more, out=hue)
    hue.div_(torch.clamp(span, min=1e-30, out=other))  # sixths of a turn, 0 to 6
    torch.add((255 * turns.reshape(-1, 1, 1)).trunc() - 0.5, hue, alpha=255 / 6, out=hue)
    hue.sub_(torch.mul(hue, 1 / 256, out=other).floor_(), alpha=256).mul_(6 / 255)
    # The circle has 256 steps of 1/255, so that the last begins it anew. One channel is the top less span times
    # clamp(2 - |hue - 3|, 0, 1), the others less span times clamp(|hue - 2 or 4| - 1, 0, 1).
    torch.sub(hue, 3, out=other).abs_().clamp_(1, 2)
    torch.addcmul(torch.sub(top, span, alpha=2, out=low), span, other, out=r)
    top.add_(span)
    torch.minimum(torch.sub(hue, 2, out=other).abs_(), torch.rsub(hue, 8), out=other).clamp_(1, 2)
    torch.addcmul(top, span, other, value=-1, out=g)
    torch.addcmul(top, span, hue.sub_(4).abs_().clamp_(1, 2), value=-1, out=b)


def sixths(images: Tensor) -> Tensor:
    """The HSV hue in sixths of a turn, (N, 1, H, W); red is 0, and gray counts as red."""
    top, span = images.amax(1), images.amax(1) - images.amin(1)
    r, g, b = images.unbind(1)
    safe = span.where(span > 0, span.new_ones(()))
    inner = ((g - b) / safe).where(top == r, ((b - r) / safe + 2).where(top == g, (r - g) / safe + 4))
    return inner.unsqueeze(1)


def from_hue(images: Tensor, hue: Tensor) -> Tensor:
    """The images with another hue (sixths, (N, 1, H, W)), same saturation and value."""
    top = images.amax(1, keepdim=True)
    span = top - images.amin(1, keepdim=True)
    k = (hue + hue.new_tensor([5.0, 3.0, 1.0]).reshape(1, 3, 1, 1)) % 6
    return top - span * k.minimum(4 - k).clamp(0, 1)


def scale_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """HSV's S times factor, held at 1: the channels move away from their maximum by that much."""
    top = images.amax(1, keepdim=True)
    span = top - images.amin(1, keepdim=True)
    most = top / span.where(span > 0, span.new_ones(()))  # the factor at which S reaches 1
    return top - (top - images) * factor.minimum(most.where(span > 0, factor))
