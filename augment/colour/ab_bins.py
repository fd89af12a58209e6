"""The colours of Lab as classes: 313 bins of (a, b), 100 of L, soft targets, rare colours weighted up, colours read back.

Sources: Colorful Image Colorization, arXiv:1603.08511 (bins of a and b); Split-Brain Autoencoders, arXiv:1611.09842 (bins of L).
All a, b and L are in Lab units, not normalized.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .lab import rgb_to_lab

SPACING = 10
REACH = 110
"""Bin centres are multiples of SPACING from -REACH to REACH."""
LIGHTNESS_BINS = 100
_CELL = 5
"""Side of the squares that share a list of candidates, in Lab units."""
_LIMIT = 130
"""a and b beyond this (no sRGB colour is) are taken to lie here."""
_CHUNK = 1 << 17
"""Pixels encoded at once: some 100 MB."""


def bin_centres() -> Tensor:
    """(313, 2) float32 on the CPU: (a, b), ascending in a, then in b; the published order.

    The published list is said to be "in gamut", but a centre need not be a colour: of the lattice points 225 are colours at some
    whole L, and 261 are the nearest to one of the 2**24 colours. Its file is called "points in hull", and this rule gives
    exactly its 313: a centre belongs if one of its four diagonal neighbours on the lattice lies in the convex hull of all
    sRGB colours in the (a, b) plane. No such neighbour lies within 0.05 of the hull's edge, so rounding decides nothing.
    """
    axis = torch.arange(-REACH, REACH + 1, SPACING, dtype=torch.float64)
    centres = torch.cartesian_prod(axis, axis)
    corners = centres[:, None] + SPACING * torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    return centres[(_beyond_hull(corners) <= 0).any(1)].float()


def _beyond_hull(points: Tensor) -> Tensor:
    """(..., 2) -> (...): how far outside the hull of sRGB's (a, b) a point lies, negative inside. The largest over directions."""
    turns = torch.linspace(0, 2 * torch.pi, 1441, dtype=torch.float64)[:-1]
    direction = torch.stack((turns.cos(), turns.sin()))
    return (points @ direction - (_outline() @ direction).amax(0)).amax(-1)


def _outline() -> Tensor:
    """(P, 2) float64: a and b along the twelve edges of the RGB cube, where their extremes in every direction lie."""
    edge = torch.arange(0.0, 256.0, 1.0)
    ends = torch.cartesian_prod(torch.tensor([0.0, 255.0]), torch.tensor([0.0, 255.0]))  # of the two channels that stand still
    still = ends[:, :, None].expand(4, 2, 256)
    moving = torch.cat((still, edge.expand(4, 1, 256)), 1)  # (4, 3, 256), the third channel moving
    edges = torch.cat([moving.roll(shift, 1) for shift in range(3)])  # (12, 3, 256)
    return rgb_to_lab(edges[..., None])[:, 1:, :, 0].double().movedim(1, -1).reshape(-1, 2)


class AbBins(nn.Module):
    """Encodes (a, b) as bins and decodes it; moves between devices as a module does, holds nothing to learn or to save.

    neighbours: how many nearest bins a soft target has, in the released code 10 (the paper's 5 is unverified);
    sigma: of their Gaussian weights, Lab units.

    Only bins that can be among the nearest of some point of a pixel's 5 x 5 square are looked at, 20 of the 313: exact, for a
    third of the time and a fifteenth of the memory of all distances.
    """

    centres: Tensor
    candidates: Tensor

    def __init__(self, neighbours: int = 10, sigma: float = 5.0) -> None:
        super().__init__()
        with torch.device("cpu"):  # wherever networks are being built, even on "meta": which bins there are is told by numbers
            centres = bin_centres()
            if not 1 <= neighbours <= len(centres) or sigma <= 0:
                raise ValueError(f"AbBins needs 1 <= neighbours <= {len(centres)} and sigma > 0, got {neighbours} and {sigma}")
            candidates = _candidates(centres, neighbours)
        self.neighbours = neighbours
        self.sigma = sigma
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("candidates", candidates, persistent=False)

    def __len__(self) -> int:
        return len(self.centres)

    def encode(self, ab: Tensor) -> tuple[Tensor, Tensor]:
        """ab (N, 2, H, W) -> index (N, K, H, W) int64, the nearest bin first, and weight (N, K, H, W) float32.

        Weights are exp(-d^2 / (2 sigma^2)) scaled to sum 1. Of bins equally near the first in the list comes first.
        """
        n, _, height, width = ab.shape
        pixels = ab.detach().movedim(1, -1).reshape(-1, 2).float().clamp(-_LIMIT, _LIMIT)
        parts = [self._nearest(chunk) for chunk in pixels.split(_CHUNK)]
        index, squared = (torch.cat(part).reshape(n, height, width, -1).movedim(-1, 1) for part in zip(*parts, strict=True))
        return index, torch.softmax(squared / (-2 * self.sigma**2), 1)

    def _nearest(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """pixels (P, 2) -> bins (P, K) and their squared distances, ascending."""
        cell = ((pixels + _LIMIT) / _CELL).long().clamp(max=2 * _LIMIT // _CELL - 1)
        bins = self.candidates[cell[:, 0], cell[:, 1]]
        squared = (self.centres[bins] - pixels[:, None]).square().sum(-1)
        squared, place = squared.sort(dim=-1, stable=True)
        return bins.gather(1, place[:, :self.neighbours]), squared[:, :self.neighbours]

    def dense(self, index: Tensor, weight: Tensor) -> Tensor:
        """What encode gives -> (N, 313, H, W), the target distribution over all bins."""
        n, _, height, width = index.shape
        return weight.new_zeros(n, len(self), height, width).scatter_(1, index, weight)

    def nearest(self, ab: Tensor) -> Tensor:
        """ab (N, 2, H, W) -> (N, H, W) int64: the bin whose centre is nearest."""
        return self.encode(ab)[0][:, 0]

    def count(self, ab: Tensor) -> Tensor:
        """ab (N, 2, H, W) -> (313,) float64: how many pixels are nearest to each bin. Sums over a data set make a prior."""
        return torch.bincount(self.nearest(ab).flatten(), minlength=len(self)).double()

    def annealed_mean(self, logits: Tensor, temperature: float = 0.38) -> Tensor:
        """logits (N, 313, H, W) -> (N, 2, H, W): the mean colour once the distribution is sharpened; 1: the plain mean, towards
        0: the mode. The default is the paper's (unverified)."""
        return torch.einsum("nqhw,qc->nchw", torch.softmax(logits.float() / temperature, 1), self.centres)


def _candidates(centres: Tensor, neighbours: int) -> Tensor:
    """(cells, cells, M) int64: for each square of the plane, the bins that can be among the nearest of one of its points.

    At least `neighbours` bins lie within the K-th smallest of the largest distances from the square, so no bin whose
    smallest distance is larger can be among the nearest. Padded with the next nearest bins, which harm nothing.
    """
    middle = torch.arange(-_LIMIT, _LIMIT, _CELL, dtype=torch.float64) + _CELL / 2
    offset = (centres.double()[None] - torch.cartesian_prod(middle, middle)[:, None]).abs()  # (cells^2, Q, 2)
    farthest = (offset + _CELL / 2).square().sum(-1)
    closest = (offset - _CELL / 2).clamp(min=0).square().sum(-1)
    reach = farthest.kthvalue(neighbours, 1, keepdim=True).values
    most = int((closest <= reach + 1e-9).sum(1).max())
    bins = closest.argsort(dim=1, stable=True)[:, :most].sort(1).values  # ascending: ties go to the first bin
    return bins.reshape(len(middle), len(middle), most)


def class_weights(prior: Tensor, mix: float = 0.5) -> Tensor:
    """prior (Q,), counts or frequencies of the bins -> (Q,) float32: 1 / ((1 - mix) p + mix / Q'), scaled to mean 1 under p.

    Q' and the uniform part cover the bins that occur; one that never does gets 0. A pixel's weight is that of its nearest bin.
    """
    p = prior.double() / prior.double().sum()
    occurs = p > 0
    mixed = (1 - mix) * p + mix / occurs.sum()
    weights = torch.where(occurs, 1 / mixed, 0.0)
    return (weights / (p * weights).sum()).float()


def is_coloured(ab: Tensor, threshold: float = 5.0) -> Tensor:
    """ab (N, 2, H, W) -> (N,) bool: some |a| or |b| is above the threshold. Images that are not are gray, and count nothing."""
    return ab.abs().flatten(1).amax(1) > threshold


def lightness_bin(lightness: Tensor) -> Tensor:
    """L in 0..100, any shape -> int64 of 0..99: whole steps of L, 100 itself in the last."""
    return lightness.floor().long().clamp(0, LIGHTNESS_BINS - 1)
