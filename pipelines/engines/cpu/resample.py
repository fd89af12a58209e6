"""Cut and resize with Pillow's integers: both passes run along contiguous memory.

The horizontal pass comes first, so it reads the image transposed to planes (3, W, H): output column x is a weighted sum of
whole source columns. Its 8-bit result is transposed back, and the vertical pass sums whole rows. All sums are 32-bit
integers, exact in any order, which LLVM vectorizes as it likes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import int32, uint8

from .cache import kernel

BILINEAR, BICUBIC, LANCZOS = 0, 1, 2
FILTERS = {"bilinear": BILINEAR, "bicubic": BICUBIC, "lanczos": LANCZOS}
HALF = int32(1 << 21)
SHIFT = int32(22)


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
    """Columns of the weights of `antialiased_taps`: the widest filter's taps, up to a multiple of four."""
    return (int(6.0 * max(length / out, 1.0)) + 8) // 4 * 4


@kernel
def antialiased_taps(length: int, out: int, filter: int, cubic_a: float, first: Any, count: Any, weights: Any,
                     floats: Any) -> None:
    """first, count (>= out,) int32: the source pixels of each output; weights (>= out, >= count) int32, times 2**22.

    Weights beyond count are 0 up to the next multiple of four. floats (>= count,) float64 is scratch.
    """
    scale = length / out
    stretch = max(scale, 1.0)
    support = stretch * (1.0 if filter == BILINEAR else 2.0 if filter == BICUBIC else 3.0)
    for o in range(out):
        center = (o + 0.5) * scale
        low = max(int(center - support + 0.5), 0)
        n = min(int(center + support + 0.5), length) - low
        total = 0.0
        for k in range(n):
            floats[k] = filter_weight(filter, (k + low - center + 0.5) / stretch, cubic_a)
            total += floats[k]
        for k in range(n):
            w = floats[k] / total * 4194304.0
            weights[o, k] = int(w - 0.5) if w < 0.0 else int(w + 0.5)
        while n > 1 and weights[o, n - 1] == 0:
            n -= 1
        for k in range(n, (n + 3) // 4 * 4):
            weights[o, k] = 0
        first[o] = low
        count[o] = n


@kernel
def sum4(a: Any, b: Any, c: Any, d: Any, w: Any, k: int, out: Any) -> None:
    """out = rounded, clipped weighted sum of four rows, as levels; weights w[k : k + 4]."""
    w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
    for i in range(out.size):
        v = int32(w0 * int32(a[i]) + w1 * int32(b[i]) + w2 * int32(c[i]) + w3 * int32(d[i]) + HALF)
        v = int32(v >> SHIFT)
        out[i] = min(max(v, int32(0)), int32(255))


@kernel
def sum8(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, w: Any, out: Any) -> None:
    w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
    for i in range(out.size):
        v = int32(w0 * int32(a[i]) + w1 * int32(b[i]) + w2 * int32(c[i]) + w3 * int32(d[i])
                  + w4 * int32(e[i]) + w5 * int32(f[i]) + w6 * int32(g[i]) + w7 * int32(h[i]) + HALF)
        v = int32(v >> SHIFT)
        out[i] = min(max(v, int32(0)), int32(255))


@kernel
def start4(a: Any, b: Any, c: Any, d: Any, w: Any, sums: Any) -> None:
    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
    for i in range(sums.size):
        sums[i] = int32(w0 * int32(a[i]) + w1 * int32(b[i]) + w2 * int32(c[i]) + w3 * int32(d[i]) + HALF)


@kernel
def add4(a: Any, b: Any, c: Any, d: Any, w: Any, k: int, sums: Any) -> None:
    w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
    for i in range(sums.size):
        sums[i] = int32(sums[i] + w0 * int32(a[i]) + w1 * int32(b[i]) + w2 * int32(c[i]) + w3 * int32(d[i]))


@kernel
def finish4(a: Any, b: Any, c: Any, d: Any, w: Any, k: int, sums: Any, out: Any) -> None:
    w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
    for i in range(out.size):
        v = int32(sums[i] + w0 * int32(a[i]) + w1 * int32(b[i]) + w2 * int32(c[i]) + w3 * int32(d[i]))
        v = int32(v >> SHIFT)
        out[i] = min(max(v, int32(0)), int32(255))


@kernel
def weighted_rows(rows: Any, first: int, count: int, w: Any, low: int, n: int, sums: Any, out: Any) -> None:
    """out (n,) = the rows first .. first + count - 1 of rows (R, >= low + n) uint8, columns low .. low + n, summed by w."""
    high, last = low + n, first + count - 1
    a, b = rows[first, low:high], rows[min(first + 1, last), low:high]
    c, d = rows[min(first + 2, last), low:high], rows[min(first + 3, last), low:high]
    if count <= 4:
        sum4(a, b, c, d, w, 0, out)
        return
    if count <= 8:
        sum8(a, b, c, d, rows[first + 4, low:high], rows[min(first + 5, last), low:high], rows[min(first + 6, last), low:high],
             rows[min(first + 7, last), low:high], w, out)
        return
    start4(a, b, c, d, w, sums[:n])
    k = 4
    while k + 4 < count:
        r = first + k
        add4(rows[r, low:high], rows[r + 1, low:high], rows[r + 2, low:high], rows[r + 3, low:high], w, k, sums[:n])
        k += 4
    r = first + k
    finish4(rows[r, low:high], rows[min(r + 1, last), low:high], rows[min(r + 2, last), low:high],
            rows[min(r + 3, last), low:high], w, k, sums[:n], out)


@kernel
def to_columns(image: Any, top: int, left: int, height: int, width: int, planes: Any) -> None:
    """planes (3, width, height) of a part of image (H, W, 3), blocks of 16 rows at a time."""
    for y0 in range(0, height, 16):
        y1 = min(y0 + 16, height)
        for x in range(width):
            for y in range(y0, y1):
                planes[0, x, y] = image[top + y, left + x, 0]
                planes[1, x, y] = image[top + y, left + x, 1]
                planes[2, x, y] = image[top + y, left + x, 2]


@kernel
def transpose(source: Any, out: Any) -> None:
    """out (C, R) = source (R, C) transposed, blocks of 16 rows at a time; out may be of another type."""
    rows, columns = source.shape
    for r0 in range(0, rows, 16):
        r1 = min(r0 + 16, rows)
        for c in range(columns):
            for r in range(r0, r1):
                out[c, r] = source[r, c]


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
def crop_resize(image: Any, columns: Any, x0: int, y0: int, top: int, left: int, height: int, width: int, out_h: int, out_w: int,
                filter: int, cubic_a: float, mirror: bool, first: Any, count: Any, weights: Any, floats: Any, sums: Any,
                bytes_a: Any, bytes_b: Any, planes: Any) -> None:
    """Antialiased, Pillow's bytes, into planes (3, out_h * out_w) float32. columns (3, w, h): image transposed from (y0, x0) on.

    weights and all after it: scratch, see `scratch.Scratch`.
    """
    horizontal, vertical = width != out_w, height != out_h
    if not horizontal and not vertical:
        cut(image, top, left, height, width, mirror, planes)
        return
    if vertical and (not horizontal or height - out_h > 2 * max(width - out_w, 0)):
        _vertical_first(image, top, left, height, width, out_h, out_w, filter, cubic_a, mirror, first, count, weights, floats,
                        sums, bytes_a, bytes_b, planes)
        return
    taps = weights[: out_w * room(width, out_w)].reshape(out_w, room(width, out_w))
    antialiased_taps(width, out_w, filter, cubic_a, first, count, taps, floats)
    low = top - y0
    for c in range(3):
        narrow = bytes_a[c * out_w * height : (c + 1) * out_w * height].reshape(out_w, height)
        for o in range(out_w):
            slot = out_w - 1 - o if mirror else o
            weighted_rows(columns[c], left - x0 + first[o], count[o], taps[o], low, height, sums, narrow[slot])
    if not vertical:
        for c in range(3):
            narrow = bytes_a[c * out_w * height : (c + 1) * out_w * height].reshape(out_w, height)
            transpose(narrow, planes[c].reshape(out_h, out_w))
        return
    taps = weights[: out_h * room(height, out_h)].reshape(out_h, room(height, out_h))
    antialiased_taps(height, out_h, filter, cubic_a, first, count, taps, floats)
    for c in range(3):
        narrow = bytes_a[c * out_w * height : (c + 1) * out_w * height].reshape(out_w, height)
        rows = bytes_b[: height * out_w].reshape(height, out_w)
        transpose(narrow, rows)
        plane = planes[c].reshape(out_h, out_w)
        for o in range(out_h):
            weighted_rows(rows, first[o], count[o], taps[o], 0, out_w, sums, plane[o])


@kernel
def _vertical_first(image: Any, top: int, left: int, height: int, width: int, out_h: int, out_w: int, filter: int, cubic_a: float,
                    mirror: bool, first: Any, count: Any, weights: Any, floats: Any, sums: Any, bytes_a: Any, bytes_b: Any,
                    planes: Any) -> None:
    taps = weights[: out_h * room(height, out_h)].reshape(out_h, room(height, out_h))
    antialiased_taps(height, out_h, filter, cubic_a, first, count, taps, floats)
    lines = image.reshape(image.shape[0], image.shape[1] * 3)
    short = bytes_a[: out_h * width * 3].reshape(out_h, width * 3)
    for o in range(out_h):
        weighted_rows(lines, top + first[o], count[o], taps[o], left * 3, width * 3, sums, short[o])
    part = bytes_a[: out_h * width * 3].reshape(out_h, width, 3)
    if width == out_w:
        cut(part, 0, 0, out_h, out_w, mirror, planes)
        return
    columns = bytes_b[: 3 * width * out_h].reshape(3, width, out_h)
    to_columns(part, 0, 0, out_h, width, columns)
    taps = weights[: out_w * room(width, out_w)].reshape(out_w, room(width, out_w))
    antialiased_taps(width, out_w, filter, cubic_a, first, count, taps, floats)
    for c in range(3):
        narrow = bytes_a[: out_w * out_h].reshape(out_w, out_h)
        for o in range(out_w):
            slot = out_w - 1 - o if mirror else o
            weighted_rows(columns[c], first[o], count[o], taps[o], 0, out_h, sums, narrow[slot])
        transpose(narrow, planes[c].reshape(out_h, out_w))


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
    """Two or four taps at half-pixel centres, rounded once; into planes (3, out_h * out_w). line (>= 3 * width,) float32."""
    if height == out_h and width == out_w:
        cut(image, top, left, height, width, mirror, planes)
        return
    ys, yw = first[: 4 * out_h], floats[: 4 * out_h]
    xs, xw = first[4 * out_h : 4 * (out_h + out_w)], floats[4 * out_h : 4 * (out_h + out_w)]
    interpolating_taps(height, out_h, filter, cubic_a, ys, yw)
    interpolating_taps(width, out_w, filter, cubic_a, xs, xw)
    lines = image.reshape(image.shape[0], image.shape[1] * 3)
    low, high = left * 3, (left + width) * 3
    for o in range(out_h):
        a, b = lines[top + ys[4 * o], low:high], lines[top + ys[4 * o + 1], low:high]
        c, d = lines[top + ys[4 * o + 2], low:high], lines[top + ys[4 * o + 3], low:high]
        w0, w1 = np.float32(yw[4 * o]), np.float32(yw[4 * o + 1])
        w2, w3 = np.float32(yw[4 * o + 2]), np.float32(yw[4 * o + 3])
        for i in range(high - low):
            line[i] = w0 * np.float32(a[i]) + w1 * np.float32(b[i]) + w2 * np.float32(c[i]) + w3 * np.float32(d[i])
        for x in range(out_w):
            slot = o * out_w + (out_w - 1 - x if mirror else x)
            for ch in range(3):
                v = np.float32(0)
                for k in range(4):
                    v += np.float32(xw[4 * x + k]) * line[3 * xs[4 * x + k] + ch]
                planes[ch, slot] = min(max(np.rint(v), np.float32(0)), np.float32(255))


@kernel
def to_bytes(planes: Any, height: int, width: int, out: Any) -> None:
    """out (height, width, 3) uint8 of planes (3, height * width) of whole levels."""
    for y in range(height):
        for x in range(width):
            for c in range(3):
                out[y, x, c] = uint8(planes[c, y * width + x])
