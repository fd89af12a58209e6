"""Cut and resize with Pillow's integers: both passes run along contiguous memory.

The horizontal pass comes first, so it reads the image transposed to (3 * W, H), row 3 * x + c being column x of channel c:
output column x is a weighted sum of whole source columns. Its 8-bit result is transposed back, and the vertical pass sums
whole rows. All sums are 32-bit integers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32, uint8

from .cache import kernel
from .vectors import address, four_pixels, inside, transpose, weighted_bytes, weighted_floats

BILINEAR, BICUBIC, LANCZOS = 0, 1, 2
HALF, ALMOST_256 = float32(0.5), float32(255.5)
FILTERS = {"bilinear": BILINEAR, "bicubic": BICUBIC, "lanczos": LANCZOS}


@kernel
def sin_pi(t: float) -> float:
    """sin(pi t) from + - * /, for |t| <= 3."""
    n = math.floor(t + 0.5)
    x = (t - n) * math.pi
    square = x * x
    total = 1.0
    for k in range(20, 1, -2):
        total = 1.0 - square / (k * (k + 1)) * total
    total *= x
    return total if n % 2 == 0 else -total


@kernel
def filter_weight(filter: int, t: float, cubic_a: float) -> float:
    t = abs(t)
    if filter == BILINEAR:
        return max(1.0 - t, 0.0)
    if filter == BICUBIC:
        if t < 1.0:
            return ((cubic_a + 2.0) * t - (cubic_a + 3.0)) * t * t + 1.0
        return (((t - 5.0) * t + 8.0) * t - 4.0) * cubic_a if t < 2.0 else 0.0
    if t == 0.0:
        return 1.0
    if t >= 3.0:
        return 0.0
    third = t / 3.0
    return sin_pi(t) / (math.pi * t) * (sin_pi(third) / (math.pi * third))


@kernel
def room(length: int, out: int) -> int:
    """Columns of the weights of `antialiased_taps`: the widest filter's taps."""
    return int(6.0 * max(length / out, 1.0)) + 2


@kernel
def antialiased_taps(length: int, out: int, filter: int, cubic_a: float, first: Any, count: Any, weights: Any,
                     floats: Any) -> None:
    """first, count (>= out,) int32: the source pixels of each output; weights (>= out, >= count) int32, times 2**22.

    floats (>= count,) float64 is scratch. Operations and their order are Pillow's.
    """
    scale = length / out
    stretch = max(scale, 1.0)
    inverse = 1.0 / stretch
    support = stretch * (1.0 if filter == BILINEAR else 2.0 if filter == BICUBIC else 3.0)
    for o in range(out):
        center = (o + 0.5) * scale
        low = max(int(center - support + 0.5), 0)
        n = min(int(center + support + 0.5), length) - low
        total = 0.0
        for k in range(n):
            floats[k] = filter_weight(filter, (k + low - center + 0.5) * inverse, cubic_a)
            total += floats[k]
        for k in range(n):
            w = floats[k] / total * 4194304.0
            weights[o, k] = int(w - 0.5) if w < 0.0 else int(w + 0.5)
        while n > 1 and weights[o, n - 1] == 0:
            n -= 1
        first[o] = low
        count[o] = n


@kernel
def cut(image: Any, top: int, left: int, height: int, width: int, mirror: bool, planes: Any) -> None:
    """planes (3, height * width) float32: a part of image (H, W, 3); 0 outside it."""
    rows, columns = image.shape[0], image.shape[1]
    for y in range(height):
        inside = 0 <= top + y < rows
        for x in range(width):
            at = y * width + (width - 1 - x if mirror else x)
            if inside and 0 <= left + x < columns:
                for c in range(3):
                    planes[c, at] = image[top + y, left + x, c]
            else:
                for c in range(3):
                    planes[c, at] = 0.0


@kernel
def pass_of(source: Any, top: int, left: int, n: int, step: int, out: int, first: Any, count: Any, weights: Any, target: Any,
            mirror: bool) -> None:
    """Row o of target (out, n) uint8, from the last one on where mirrored = the weighted sum of rows of source (R, C) uint8:
    the first is top + step * first[o], the others follow in steps; columns left .. left + n. weights (out, room) int32."""
    begin, stride = address(source) + top * source.strides[0] + left, step * source.strides[0]
    end, down = address(target), target.strides[0]
    inside(source, top, left)
    inside(source, top + step * (first[out - 1] + count[out - 1] - 1), left + n - 1)
    inside(target, out - 1, n - 1)
    for o in range(out):
        slot = out - 1 - o if mirror else o
        taps = address(weights) + o * weights.strides[0]
        weighted_bytes(begin + first[o] * stride, stride, count[o], taps, end + slot * down, n)


@kernel
def to_levels(levels: Any, line: Any) -> None:
    """line float32 = levels uint8, both flat."""
    for i in range(line.size):
        line[i] = levels[i]


@kernel
def crop_resize(image: Any, columns: Any, x0: int, y0: int, top: int, left: int, height: int, width: int, out_h: int, out_w: int,
                filter: int, cubic_a: float, mirror: bool, first: Any, count: Any, weights: Any, floats: Any, bytes_a: Any,
                bytes_b: Any, planes: Any) -> None:
    """Antialiased, Pillow's bytes, into planes (3, out_h * out_w) float32. columns (3 * w, h): the rows of image (H, W, 3), as
    3 * W bytes, transposed from pixel (y0, x0) on: row 3 * x + c is a column of channel c.

    weights and all after it: scratch, see `scratch.Scratch`.
    """
    horizontal, vertical = width != out_w, height != out_h
    if not horizontal and not vertical:
        cut(image, top, left, height, width, mirror, planes)
        return
    if vertical and (not horizontal or height - out_h > 2 * max(width - out_w, 0)):
        _vertical_first(image, top, left, height, width, out_h, out_w, filter, cubic_a, mirror, first, count, weights, floats,
                        bytes_a, bytes_b, planes)
        return
    taps = weights[: out_w * room(width, out_w)].reshape(out_w, room(width, out_w))
    antialiased_taps(width, out_w, filter, cubic_a, first, count, taps, floats)
    for c in range(3):
        narrow = bytes_a[c * out_w * height : (c + 1) * out_w * height].reshape(out_w, height)
        pass_of(columns, 3 * (left - x0) + c, top - y0, height, 3, out_w, first, count, taps, narrow, mirror)
    rows = bytes_b[: height * out_w].reshape(height, out_w)
    if vertical:
        taps = weights[: out_h * room(height, out_h)].reshape(out_h, room(height, out_h))
        antialiased_taps(height, out_h, filter, cubic_a, first, count, taps, floats)
    for c in range(3):
        narrow = bytes_a[c * out_w * height : (c + 1) * out_w * height].reshape(out_w, height)
        transpose(narrow, 0, 0, out_w, height, rows)
        if not vertical:
            to_levels(bytes_b, planes[c])
            continue
        inside(rows, first[out_h - 1] + count[out_h - 1] - 1, out_w - 1)
        inside(planes, c, out_h * out_w - 1)
        begin, end = address(rows), address(planes[c])
        for o in range(out_h):
            weighted_floats(begin + first[o] * out_w, out_w, count[o], address(taps) + o * taps.strides[0],
                            end + 4 * o * out_w, out_w)


@kernel
def _vertical_first(image: Any, top: int, left: int, height: int, width: int, out_h: int, out_w: int, filter: int, cubic_a: float,
                    mirror: bool, first: Any, count: Any, weights: Any, floats: Any, bytes_a: Any, bytes_b: Any,
                    planes: Any) -> None:
    taps = weights[: out_h * room(height, out_h)].reshape(out_h, room(height, out_h))
    antialiased_taps(height, out_h, filter, cubic_a, first, count, taps, floats)
    lines = image.reshape(image.shape[0], image.shape[1] * 3)
    short = bytes_a[: out_h * width * 3].reshape(out_h, width * 3)
    pass_of(lines, top, left * 3, width * 3, 1, out_h, first, count, taps, short, False)
    if width == out_w:
        cut(bytes_a[: out_h * width * 3].reshape(out_h, width, 3), 0, 0, out_h, out_w, mirror, planes)
        return
    columns = bytes_b[: 3 * width * out_h].reshape(3 * width, out_h)
    transpose(short, 0, 0, out_h, 3 * width, columns)
    taps = weights[: out_w * room(width, out_w)].reshape(out_w, room(width, out_w))
    antialiased_taps(width, out_w, filter, cubic_a, first, count, taps, floats)
    narrow, rows = bytes_a[: out_w * out_h].reshape(out_w, out_h), bytes_a[out_w * out_h : 2 * out_w * out_h]
    for c in range(3):
        pass_of(columns, c, 0, out_h, 3, out_w, first, count, taps, narrow, mirror)
        transpose(narrow, 0, 0, out_w, out_h, rows.reshape(out_h, out_w))
        to_levels(rows, planes[c])


@kernel
def interpolating_taps(length: int, out: int, filter: int, cubic_a: float, first: Any, floats: Any) -> None:
    """first (>= 4 * out,) int32: four source pixels of each output, held inside; floats (>= 4 * out,): their weights."""
    scale = length / out
    for o in range(out):
        center = (o + 0.5) * scale - 0.5
        if filter == BILINEAR:
            center = max(center, 0.0)
        base = math.floor(center)
        for k in range(4):
            at = base + k - 1
            outside = filter == BILINEAR and (k == 0 or k == 3)
            first[4 * o + k] = min(max(at, 0), length - 1)
            floats[4 * o + k] = 0.0 if outside else filter_weight(filter, center - at, cubic_a)


@kernel
def crop_interpolate(image: Any, top: int, left: int, height: int, width: int, out_h: int, out_w: int, filter: int,
                     cubic_a: float, mirror: bool, first: Any, floats: Any, line: Any, planes: Any) -> None:
    """Two or four taps at half-pixel centres, rounded once; into planes (3, out_h * out_w). line (> 3 * width,) float32."""
    if height == out_h and width == out_w:
        cut(image, top, left, height, width, mirror, planes)
        return
    ys, yw = first[: 4 * out_h], floats[: 4 * out_h]
    xs, xw = first[4 * out_h : 4 * (out_h + out_w)], floats[4 * out_h : 4 * (out_h + out_w)]
    interpolating_taps(height, out_h, filter, cubic_a, ys, yw)
    interpolating_taps(width, out_w, filter, cubic_a, xs, xw)
    weights = np.empty(4 * out_w, np.float32)
    for k in range(4 * out_w):
        xs[k] *= 12  # bytes of a pixel
        weights[k] = xw[k]
    lines = image.reshape(image.shape[0], image.shape[1] * 3)
    low, n = left * 3, width * 3
    line[n] = 0.0
    inside(planes, 2, out_h * out_w - 1)
    begin, step = address(planes) + 4 * (out_w - 1 if mirror else 0), -4 if mirror else 4
    for o in range(out_h):
        a, b = lines[top + ys[4 * o]], lines[top + ys[4 * o + 1]]
        c, d = lines[top + ys[4 * o + 2]], lines[top + ys[4 * o + 3]]
        w0, w1 = np.float32(yw[4 * o]), np.float32(yw[4 * o + 1])
        w2, w3 = np.float32(yw[4 * o + 2]), np.float32(yw[4 * o + 3])
        for i in range(n):
            line[i] = (w0 * np.float32(a[low + i]) + w1 * np.float32(b[low + i]) + w2 * np.float32(c[low + i])
                       + w3 * np.float32(d[low + i]))
        four_pixels(address(line), address(xs), address(weights), begin + 4 * o * out_w, step, planes.strides[0], out_w)


@kernel
def to_bytes(planes: Any, height: int, width: int, out: Any) -> None:
    """out (height, width, 3) uint8 of planes (3, height * width) of levels, rounded half up."""
    for y in range(height):
        for x in range(width):
            for c in range(3):
                out[y, x, c] = uint8(min(max(planes[c, y * width + x] + HALF, HALF), ALMOST_256))
