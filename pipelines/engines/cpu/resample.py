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
from .taps import antialiased_taps, interpolating_taps, room
from .vectors import address, four_pixels, inside, transpose, weighted_bytes

HALF, ALMOST_256 = float32(0.5), float32(255.5)


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
    the first is top + step * first[o], the others follow in steps; columns left .. left + n. weights (room, out) int32."""
    begin, stride = address(source) + top * source.strides[0] + left, step * source.strides[0]
    end, down = address(target), target.strides[0]
    inside(source, top, left)
    inside(source, top + step * (first[out - 1] + count[out - 1] - 1), left + n - 1)
    inside(target, out - 1, n - 1)
    for o in range(out):
        slot = out - 1 - o if mirror else o
        taps = address(weights) + 4 * o
        weighted_bytes(begin + first[o] * stride, stride, count[o], taps, 4 * out, end + slot * down, n)


@kernel
def planes_of(image: Any, top: int, left: int, height: int, width: int, mirror: bool, levels: Any) -> None:
    """levels (>= 3 * height * width,) uint8: the channels of a part of image (H, W, 3), one after the other."""
    n = height * width
    for c in range(3):
        for y in range(height):
            line = levels[c * n + y * width : c * n + (y + 1) * width]
            for x in range(width):
                line[width - 1 - x if mirror else x] = image[top + y, left + x, c]


@kernel
def crop_resize(image: Any, columns: Any, x0: int, y0: int, top: float, left: float, height: float, width: float, out_h: int,
                out_w: int, filter: int, cubic_a: float, mirror: bool, first: Any, count: Any, weights: Any, floats: Any,
                bytes_a: Any, bytes_b: Any, levels: Any) -> None:
    """Antialiased, Pillow's bytes, into levels (>= 3 * out_h * out_w,) uint8, channel after channel. The box may begin and end
    inside pixels: no pixel is read that it does not touch. columns (3 * w, h): the rows of image (H, W, 3), as 3 * W bytes,
    transposed from pixel (y0, x0) on: row 3 * x + c is a column of channel c.

    weights and all after it: scratch, see `scratch.Scratch`.
    """
    y, x = math.floor(top), math.floor(left)
    rows, across = math.ceil(top + height) - y, math.ceil(left + width) - x
    horizontal, vertical = width != out_w or left != x, height != out_h or top != y
    if not horizontal and not vertical:
        planes_of(image, y, x, rows, across, mirror, levels)
        return
    if vertical and (not horizontal or rows - out_h > 2 * max(across - out_w, 0)):
        _vertical_first(image, top, left, height, width, out_h, out_w, filter, cubic_a, mirror, first, count, weights, floats,
                        bytes_a, bytes_b, levels)
        return
    taps = weights[: out_w * room(width, out_w)].reshape(room(width, out_w), out_w)
    antialiased_taps(left - x, width, across, out_w, filter, cubic_a, first, count, taps, floats)
    for c in range(3):
        narrow = bytes_a[c * out_w * rows : (c + 1) * out_w * rows].reshape(out_w, rows)
        pass_of(columns, 3 * (x - x0) + c, y - y0, rows, 3, out_w, first, count, taps, narrow, mirror)
    lines, size = bytes_b[: rows * out_w].reshape(rows, out_w), out_h * out_w
    if vertical:
        taps = weights[: out_h * room(height, out_h)].reshape(room(height, out_h), out_h)
        antialiased_taps(top - y, height, rows, out_h, filter, cubic_a, first, count, taps, floats)
    for c in range(3):
        narrow = bytes_a[c * out_w * rows : (c + 1) * out_w * rows].reshape(out_w, rows)
        plane = levels[c * size : (c + 1) * size].reshape(out_h, out_w)
        if vertical:
            transpose(narrow, 0, 0, out_w, rows, lines)
            pass_of(lines, 0, 0, out_w, 1, out_h, first, count, taps, plane, False)
        else:
            transpose(narrow, 0, 0, out_w, rows, plane)


@kernel
def _vertical_first(image: Any, top: float, left: float, height: float, width: float, out_h: int, out_w: int, filter: int,
                    cubic_a: float, mirror: bool, first: Any, count: Any, weights: Any, floats: Any, bytes_a: Any, bytes_b: Any,
                    levels: Any) -> None:
    y, x = math.floor(top), math.floor(left)
    down, across = math.ceil(top + height) - y, math.ceil(left + width) - x
    taps = weights[: out_h * room(height, out_h)].reshape(room(height, out_h), out_h)
    antialiased_taps(top - y, height, down, out_h, filter, cubic_a, first, count, taps, floats)
    lines = image.reshape(image.shape[0], image.shape[1] * 3)
    short = bytes_a[: out_h * across * 3].reshape(out_h, across * 3)
    pass_of(lines, y, x * 3, across * 3, 1, out_h, first, count, taps, short, False)
    if width == out_w and left == x:
        planes_of(bytes_a[: out_h * across * 3].reshape(out_h, across, 3), 0, 0, out_h, out_w, mirror, levels)
        return
    columns = bytes_b[: 3 * across * out_h].reshape(3 * across, out_h)
    transpose(short, 0, 0, out_h, 3 * across, columns)
    taps = weights[: out_w * room(width, out_w)].reshape(room(width, out_w), out_w)
    antialiased_taps(left - x, width, across, out_w, filter, cubic_a, first, count, taps, floats)
    narrow, size = bytes_a[: out_w * out_h].reshape(out_w, out_h), out_h * out_w
    for c in range(3):
        pass_of(columns, c, 0, out_h, 3, out_w, first, count, taps, narrow, mirror)
        transpose(narrow, 0, 0, out_w, out_h, levels[c * size : (c + 1) * size].reshape(out_h, out_w))


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
