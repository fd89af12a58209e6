"""Moving pixels of planes (3, h * w) of float32 levels: windows, turns, warps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32

from .cache import kernel
from .taps import sin_pi

ZERO = float32(0)
BLOCK = 16
GUARD = 1e-10
"""On the spline system's diagonal: coincident points share their mean, see `augment/ops/spline.py`."""

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10


@kernel
def mirror(planes: Any, height: int, width: int) -> None:
    for c in range(3):
        for y in range(height):
            line = planes[c, y * width : (y + 1) * width]
            for x in range(width // 2):
                line[x], line[width - 1 - x] = line[width - 1 - x], line[x]


@kernel
def rotate(source: Any, height: int, width: int, turns: int, out: Any) -> None:
    """out (>= 3 * height * width,) = the planes of source by quarter turns, counter-clockwise, 1 to 3."""
    n = height * width
    for c in range(3):
        plane, turned = source[c * n : (c + 1) * n], out[c * n : (c + 1) * n]
        if turns == 2:
            for i in range(n):
                turned[n - 1 - i] = plane[i]
            continue
        for y0 in range(0, height, BLOCK):  # squares that stay in the first cache, both as read and as written
            for x in range(width):
                first = (width - 1 - x) * height if turns == 1 else x * height + height - 1
                for y in range(y0, min(y0 + BLOCK, height)):
                    turned[first + y if turns == 1 else first - y] = plane[y * width + x]


@kernel
def window(plane: Any, height: int, width: int, top: int, left: int, out_h: int, out_w: int, mirrored: bool, out: Any) -> None:
    """out (>= out_h * out_w,) = a part of plane (>= height * width,); 0 outside it."""
    if top >= 0 and top + out_h <= height and left >= 0 and left + out_w <= width:
        for y in range(out_h):
            line = plane[(top + y) * width + left : (top + y) * width + left + out_w]
            target = out[y * out_w : (y + 1) * out_w]
            if mirrored:
                for x in range(out_w):
                    target[out_w - 1 - x] = line[x]
            else:
                for x in range(out_w):
                    target[x] = line[x]
        return
    for y in range(out_h):
        row = top + y
        for x in range(out_w):
            at = y * out_w + (out_w - 1 - x if mirrored else x)
            column = left + x
            out[at] = plane[row * width + column] if 0 <= row < height and 0 <= column < width else ZERO


@kernel
def cut(pixels: Any, height: int, width: int, top: int, left: int, out_h: int, out_w: int, mirrored: bool, spare: Any) -> None:
    """pixels: three planes one after the other, which become planes of the window's size. spare (>= out_h * out_w,)."""
    n, m = height * width, out_h * out_w
    for k in range(3):
        c = k if m <= n else 2 - k  # never over what is still to be read
        window(pixels[c * n : (c + 1) * n], height, width, top, left, out_h, out_w, mirrored, spare)
        pixels[c * m : (c + 1) * m] = spare[:m]


@kernel
def shift_planes(pixels: Any, height: int, width: int, offsets: Any, room: int, spare: Any) -> None:
    """Each plane's own window, `room` smaller. offsets (6,): down and right of each."""
    n, out_h, out_w = height * width, height - room, width - room
    for c in range(3):
        down, right = int(offsets[2 * c]), int(offsets[2 * c + 1])
        window(pixels[c * n : (c + 1) * n], height, width, down, right, out_h, out_w, False, spare)
        pixels[c * out_h * out_w : (c + 1) * out_h * out_w] = spare[: out_h * out_w]


@kernel
def subsample(pixels: Any, height: int, width: int, stride: int) -> None:
    """One pixel in `stride` along each axis; the planes close up."""
    n, out_h, out_w = height * width, -(-height // stride), -(-width // stride)
    for c in range(3):
        for y in range(out_h):
            for x in range(out_w):
                pixels[(c * out_h + y) * out_w + x] = pixels[c * n + y * stride * width + x * stride]


@kernel
def bilinear(plane: Any, height: int, width: int, y: float, x: float, clamped: bool) -> float:
    """The whole level at (y, x); beyond the border the border's own where clamped, else 0."""
    if clamped:
        y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    y0, x0 = math.floor(y), math.floor(x)
    fy, fx = y - y0, x - x0
    total = 0.0
    for dy in range(2):
        for dx in range(2):
            row, column = y0 + dy, x0 + dx
            weight = (fy if dy == 1 else 1.0 - fy) * (fx if dx == 1 else 1.0 - fx)
            if weight != 0.0 and 0 <= row < height and 0 <= column < width:
                total += weight * plane[row * width + column]
    return math.floor(total + 0.5)


@kernel
def turn(planes: Any, height: int, width: int, angle_deg: float, spare: Any) -> None:
    """Counter-clockwise about the centre, bilinear, 0 outside; spare (>= height * width,)."""
    sin, cos = sin_pi(angle_deg / 180.0), sin_pi(angle_deg / 180.0 + 0.5)
    cy, cx = (height - 1) / 2.0, (width - 1) / 2.0
    n = height * width
    for c in range(3):
        line = planes[c]
        spare[:n] = line[:n]
        for y in range(height):
            for x in range(width):
                v, u = y - cy, x - cx
                line[y * width + x] = bilinear(spare, height, width, cy + cos * v + sin * u, cx - sin * v + cos * u, False)


@kernel
def log(x: float) -> float:
    """Natural logarithm of x > 0 from + - * /, as the draws' own."""
    mantissa, exponent = math.frexp(x)
    if mantissa < 0.70710678118654752440:
        mantissa *= 2.0
        exponent -= 1
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square, series = s * s, 0.0
    for n in range(23, 0, -2):
        series = series * square + 1.0 / n
    return exponent * LN2_HIGH + (exponent * LN2_LOW + 2.0 * s * series)


@kernel
def spline_basis(square: float) -> float:
    """r^2 log r of the thin plate, from r^2."""
    return 0.5 * square * log(square) if square > 1e-30 else 0.0


@kernel
def spline_weights(placed: Any, shifts: Any, count: int) -> Any:
    """(count + 3, 2) float64: of the basis at each of the placed points, then of 1, y, x; by elimination with pivots. placed,
    shifts (>= 2 * count,): y, x in turn."""
    size = count + 3
    a, b = np.zeros((size, size)), np.zeros((size, 2))
    for i in range(count):
        for j in range(count):
            dy, dx = placed[2 * i] - placed[2 * j], placed[2 * i + 1] - placed[2 * j + 1]
            a[i, j] = spline_basis(dy * dy + dx * dx)
        for k in range(3):
            a[i, count + k] = a[count + k, i] = 1.0 if k == 0 else placed[2 * i + k - 1]
        b[i, 0], b[i, 1] = shifts[2 * i], shifts[2 * i + 1]
    for i in range(size):
        a[i, i] += GUARD if i < count else -GUARD
    for k in range(size):
        best = k
        for i in range(k + 1, size):
            if abs(a[i, k]) > abs(a[best, k]):
                best = i
        for j in range(size):
            a[k, j], a[best, j] = a[best, j], a[k, j]
        for j in range(2):
            b[k, j], b[best, j] = b[best, j], b[k, j]
        for i in range(size):
            if i != k and a[i, k] != 0.0:
                factor = a[i, k] / a[k, k]
                for j in range(k, size):
                    a[i, j] -= factor * a[k, j]
                for j in range(2):
                    b[i, j] -= factor * b[k, j]
    for k in range(size):
        for j in range(2):
            b[k, j] /= a[k, k]
    return b


@kernel
def warp(planes: Any, height: int, width: int, points: Any, shifts: Any, count: int, spare: Any) -> None:
    """Each pixel comes from where the thin plate through the shifts says; points, shifts (>= 2 * count,): y, x in turn. Centred
    and scaled as the specification's own, so that both see the same system."""
    placed, middle, scale = np.empty(2 * count), np.zeros(2), 1.0
    for i in range(2 * count):
        placed[i] = points[i] + shifts[i]
        middle[i % 2] += placed[i]
    middle /= count
    for i in range(2 * count):
        placed[i] -= middle[i % 2]
        scale = max(scale, abs(placed[i]))
    placed /= scale
    weights = spline_weights(placed, shifts, count)
    n = height * width
    for c in range(3):
        spare[c * n : (c + 1) * n] = planes[c]
    for y in range(height):
        v = (y - middle[0]) / scale
        for x in range(width):
            u = (x - middle[1]) / scale
            flow_y = weights[count, 0] + weights[count + 1, 0] * v + weights[count + 2, 0] * u
            flow_x = weights[count, 1] + weights[count + 1, 1] * v + weights[count + 2, 1] * u
            for i in range(count):
                dy, dx = v - placed[2 * i], u - placed[2 * i + 1]
                basis = spline_basis(dy * dy + dx * dx)
                flow_y += weights[i, 0] * basis
                flow_x += weights[i, 1] * basis
            for c in range(3):
                planes[c, y * width + x] = bilinear(spare[c * n : (c + 1) * n], height, width, y - flow_y, x - flow_x, True)
