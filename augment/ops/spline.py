"""The thin-plate spline: the smoothest flow that has given values at given places.

Source: Duchon 1977; TensorFlow's sparse_image_warp uses the same one, order 2 and no smoothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

GUARD = 1e-10
"""On the system's diagonal, in the scale where the points spread by 1. The bare system has no solution where points coincide,
are fewer than three or lie on a line; with the guard, equal points share the mean of their values, and nothing bends across
the line. Elsewhere the flow of 16 random points on 60 x 83 px moves by 2e-6 px at most."""


def thin_plate(points: Tensor, values: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The flow at rows y (H, 1) and columns x (1, W): f(q) = sum_i w_i phi(|q - p_i|) + v q + c with phi(r) = r^2 log r,
    f(p_i) = values_i, and w orthogonal to every affine function. points, values: (N, P, 2), y before x, float64. -> two
    (N, H, W), along y and along x."""
    import torch

    count = points.shape[1]
    center = points.mean(1, keepdim=True)
    # The spline is the same in any scale; in this one the system's entries are all of one size.
    scale = (points - center).abs().amax((1, 2), keepdim=True).clamp(min=1.0)
    placed = (points - center) / scale
    affine = torch.cat([torch.ones_like(placed[..., :1]), placed], 2)
    square = (placed.unsqueeze(2) - placed.unsqueeze(1)).square().sum(3)
    corner = affine.new_zeros(3, 3).expand(len(affine), 3, 3)
    system = torch.cat([torch.cat([_phi(square), affine], 2), torch.cat([affine.transpose(1, 2), corner], 2)], 1)
    sign = torch.cat([affine.new_ones(count), -affine.new_ones(3)])
    right = torch.cat([values, values.new_zeros(len(values), 3, 2)], 1)
    # Without the check of solve, which would wait for the device; the guard leaves nothing to find.
    weights = torch.linalg.solve_ex(system + GUARD * torch.diag(sign), right).result.unsqueeze(-1).unsqueeze(-1)

    rows, columns = ((y - center[:, :1, :1]) / scale, (x - center[:, :1, 1:]) / scale)
    flow = [weights[:, count, k] + weights[:, count + 1, k] * rows + weights[:, count + 2, k] * columns for k in (0, 1)]
    for i in range(count):  # one point at a time: (N, H, W, P) would be P times the images
        phi = _phi((rows - placed[:, i, 0, None, None]).square() + (columns - placed[:, i, 1, None, None]).square())
        flow = [f + weights[:, i, k] * phi for k, f in enumerate(flow)]
    return flow[0], flow[1]


def _phi(square: Tensor) -> Tensor:
    """r^2 log r of r^2; 0 at 0."""
    return 0.5 * square * square.clamp(min=1e-30).log()
