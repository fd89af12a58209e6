"""The one compiled call per image: every view of it, from the decoded pixels to the batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32

from . import geometry, pointwise, resample
from .cache import kernel
from .codes import (
    ALWAYS,
    BASE,
    BEGIN,
    BLANK,
    CHANNELS,
    COLOUR_SHIFT,
    CROP,
    CUT,
    DOWNSCALE,
    END,
    FLIP,
    HEIGHT,
    OTHER,
    RESIZE,
    ROTATE,
    SAVE,
    SHARED,
    SHRINK,
    STORE,
    SUBSAMPLE,
    TURN,
    WARP,
    WIDTH,
)
from .effects import effect
from .store import gains_of, place_of, write
from .vectors import transpose

OUTSIDE = "a crop's box reaches outside the image: the parameters were drawn for an image of another size"
OTHER_SIZE = "a view's ops end at another size than the view's: the parameters were drawn for another recipe"


@kernel
def is_other(instance: Any, params: Any) -> bool:
    """Whether an instance is cut from the second image."""
    return instance[OTHER] == ALWAYS or (instance[OTHER] >= 0 and params[instance[OTHER]] != 0)


@kernel
def union_of_boxes(steps: Any, instances: Any, params: Any, height: int, width: int) -> Any:
    """top, left, bottom, right of the part of the image that horizontal passes may read."""
    top, left, bottom, right = height, width, 0, 0
    for v in range(instances.shape[0]):
        if is_other(instances[v], params):
            continue
        mirrored = False
        for s in range(instances[v, BEGIN], instances[v, END]):
            at = steps[s, 2]
            if steps[s, 0] == FLIP:
                mirrored ^= params[at] != 0
                continue
            if (steps[s, 0] == CROP or steps[s, 0] == RESIZE) and steps[s, 9] != 0:
                begin = width - params[at + 1] - params[at + 3] if mirrored else params[at + 1]
                top, left = min(top, math.floor(params[at])), min(left, math.floor(begin))
                bottom = max(bottom, math.ceil(params[at] + params[at + 2]))
                right = max(right, math.ceil(begin + params[at + 3]))
            break  # a later step of an instance reads what its first one made
    return top, left, bottom, right


@kernel
def resize(source: Any, own: Any, x0: int, y0: int, top: float, left: float, bh: float, bw: float, h: int, w: int, filter: int,
           antialias: bool, cubic_a: float, mirrored: bool, first: Any, count: Any, weights: Any, floats: Any, line: Any,
           bytes_a: Any, bytes_b: Any, levels: Any, planes: Any) -> bool:
    """A box of source (H, W, 3) into levels (>= 3 * h * w,) uint8, then True; or without antialiasing into planes (3, h * w).
    own: its columns transposed, see `resample.crop_resize`."""
    if antialias:
        resample.crop_resize(source, own, x0, y0, top, left, bh, bw, h, w, filter, cubic_a, mirrored, first, count, weights,
                             floats, bytes_a, bytes_b, levels)
    else:
        resample.crop_interpolate(source, int(top), int(left), int(bh), int(bw), h, w, filter, cubic_a, mirrored, first, floats,
                                  line, planes)
    return antialias


@kernel
def columns_of(source: Any, top: int, left: int, height: int, width: int, room: Any) -> Any:
    """(3 * width, height) uint8: a part of source (H, W, 3) transposed, in room."""
    own = room[: 3 * width * height].reshape(3 * width, height)
    transpose(source.reshape(source.shape[0], 3 * source.shape[1]), top, 3 * left, height, 3 * width, own)
    return own


@kernel
def render_image(image: Any, partner: Any, steps: Any, constants: Any, instances: Any, params: Any, bases: Any, batch: int,
                 row: int, dtype: int, channels_last: bool, tables: Any, columns: Any, columns_b: Any, bytes_a: Any,
                 bytes_b: Any, stage: Any, base: Any, first: Any, count: Any, weights: Any, floats: Any, line: Any,
                 weights_of_blur: Any, levels: Any, pixels: Any, spare: Any) -> None:
    """image, partner (H, W, 3) uint8; steps, constants, instances: a Program's; params: one packed row. bases (groups,) int64:
    the address of each group's (V, batch, C, H, W) array, or (V, batch, H, W, C) where channels_last, of which [:, row] is
    written. The rest is scratch, see `scratch`.
    Raises ValueError where parameters do not fit the image or the recipe.

    A picture is bytes (H, W, 3) in `source`, or, where `planar`, three planes: bytes in `levels` where `is_bytes`, as a resize
    leaves them, else floats in `pixels`. Steps turn one into the other.
    """
    y0, x0, y1, x1 = union_of_boxes(steps, instances, params, image.shape[0], image.shape[1])
    if y0 < 0 or x0 < 0 or y1 > image.shape[0] or x1 > image.shape[1]:
        raise ValueError(OUTSIDE)
    shared = columns[:0].reshape(0, 0)
    if y1 > y0 and x1 > x0:
        shared = columns_of(image, y0, x0, y1 - y0, x1 - x0, columns)
    kept, kept_h, kept_w = 0, 0, 0
    gains, room = np.zeros(6), np.empty(3 * pointwise.BLOCK, np.float32)
    for v in range(instances.shape[0]):
        other = is_other(instances[v], params)
        source = partner if other else image
        h, w, begin = source.shape[0], source.shape[1], instances[v, BEGIN]
        planar, is_bytes, flipped, gray = False, False, False, False
        planes = pixels[:0].reshape(3, 0)
        if instances[v, BASE] > 0 and instances[v, BASE] == kept and not other:
            h, w, planar, begin = kept_h, kept_w, True, begin + instances[v, SHARED]
            turned = steps[begin, 0] == ROTATE and params[steps[begin, 2]] != 0
            if steps[begin, 0] != CUT and not turned:
                pixels[: 3 * h * w] = base[: 3 * h * w]
            planes = pixels[: 3 * h * w].reshape(3, h * w)
        done = begin
        for s in range(begin, instances[v, END]):
            if s < done:
                continue
            code, at = steps[s, 0], steps[s, 2]
            if not planar and code not in (CROP, RESIZE, CUT, FLIP):
                planes = pixels[: 3 * h * w].reshape(3, h * w)
                resample.cut(source, 0, 0, h, w, flipped, planes)
                planar, flipped = True, False
            if planar and (pointwise.is_pointwise(steps[s]) or pointwise.is_plain_store(steps[s])):
                done = pointwise.end_of_run(steps, params, s, instances[v, END])
                last = steps[done - 1]
                if last[0] == STORE and (h != instances[v, HEIGHT] or w != instances[v, WIDTH]):
                    raise ValueError(OTHER_SIZE)
                gains[:] = constants[done - 1, :6]
                pointwise.run(steps, constants, params, s, done, is_bytes, levels, pixels, h * w, room, gains,
                              instances[v, CHANNELS], place_of(instances[v], bases, batch, row, dtype), dtype, channels_last)
                gray, is_bytes = pointwise.leaves_gray(steps, params, s, done, gray), False
                if last[SAVE] != 0 and not other and kept != instances[v, BASE]:
                    base[: 3 * h * w] = pixels[: 3 * h * w]
                    kept, kept_h, kept_w = instances[v, BASE], h, w
                continue
            if is_bytes:
                pointwise.unpack(levels, pixels, h * w)
                is_bytes = False
            if code in (CROP, RESIZE, CUT):
                top, left, bh, bw = params[at], params[at + 1], params[at + 2], params[at + 3]
                if flipped:
                    left = w - left - bw
                mirrored = flipped ^ (steps[s, 5] >= 0 and params[steps[s, 5]] != 0)
                flipped = False
                if code == CUT and ((steps[s, 6] > 0 and (bh != steps[s, 6] or bw != steps[s, 7]))
                                    or (steps[s, 6] == 0 and (bh > h or bw > w))):
                    raise ValueError(OTHER_SIZE)
                if (code != CUT and (min(top, left) < 0 or top + bh > h or left + bw > w)) or min(bh, bw) <= 0:
                    raise ValueError(OUTSIDE)
                if code == CUT:
                    y, x, ch, cw = int(top), int(left), int(bh), int(bw)
                    if planar and s == begin:  # as is right after what neighbours share
                        for c in range(3):
                            geometry.window(base[c * h * w : (c + 1) * h * w], h, w, y, x, ch, cw, mirrored,
                                            pixels[c * ch * cw : (c + 1) * ch * cw])
                        planes = pixels[: 3 * ch * cw].reshape(3, ch * cw)
                    elif planar:
                        geometry.cut(pixels, h, w, y, x, ch, cw, mirrored, spare)
                        planes = pixels[: 3 * ch * cw].reshape(3, ch * cw)
                    else:
                        planes = pixels[: 3 * ch * cw].reshape(3, ch * cw)
                        resample.cut(source, y, x, ch, cw, mirrored, planes)
                    h, w = ch, cw
                else:
                    own, left0, top0 = shared, x0, y0
                    if planar:
                        source = stage[: 3 * h * w].reshape(h, w, 3)
                        resample.to_bytes(planes, h, w, source)
                    if (planar or other) and steps[s, 9] != 0:
                        top0, left0 = math.floor(top), math.floor(left)
                        own = columns_of(source, top0, left0, math.ceil(top + bh) - top0, math.ceil(left + bw) - left0, columns_b)
                    h, w = (int(params[at + 4]), int(params[at + 5])) if code == RESIZE else (steps[s, 6], steps[s, 7])
                    planes = pixels[: 3 * h * w].reshape(3, h * w)
                    is_bytes = resize(source, own, left0, top0, top, left, bh, bw, h, w, steps[s, 8], steps[s, 9] != 0,
                                      constants[s, 0], mirrored, first, count, weights, floats, line, bytes_a, bytes_b, levels,
                                      planes)
                planar = True
            elif code == FLIP and not planar:
                flipped ^= params[at] != 0
            elif code == FLIP:
                if params[at] != 0:
                    geometry.mirror(planes, h, w)
            else:
                if code == ROTATE:
                    turns = int(params[at])
                    if turns != 0:
                        if s == begin and begin > instances[v, BEGIN]:
                            geometry.rotate(base, h, w, turns, pixels)
                        else:
                            spare[: 3 * h * w] = pixels[: 3 * h * w]
                            geometry.rotate(spare, h, w, turns, pixels)
                        if turns % 2 == 1:
                            h, w = w, h
                elif code in (SHRINK, DOWNSCALE):
                    sides = 1 if code == DOWNSCALE else 2
                    if sides == 2 and params[at] == 0:
                        sides = 0
                    for k in range(sides):
                        nh, nw, filter = h // steps[s, 4], w // steps[s, 4], steps[s, 5]
                        if code == SHRINK:
                            nh = nw = int(params[at + 1]) if k == 0 else steps[s, 4]
                        elif filter < 0:
                            filter = int(params[at])
                        if min(nh, nw) < 1 or 3 * nh * nw > pixels.size:
                            raise ValueError(OTHER_SIZE)
                        source = stage[: 3 * h * w].reshape(h, w, 3)
                        resample.to_bytes(planes, h, w, source)
                        own = columns_of(source, 0, 0, h, w, columns_b)
                        planes = pixels[: 3 * nh * nw].reshape(3, nh * nw)
                        resize(source, own, 0, 0, 0.0, 0.0, float(h), float(w), nh, nw, filter, True, -0.5, False, first, count,
                               weights, floats, line, bytes_a, bytes_b, levels, planes)
                        h, w = nh, nw
                        pointwise.unpack(levels, pixels, h * w)
                elif code == SUBSAMPLE:
                    geometry.subsample(pixels, h, w, steps[s, 4])
                    h, w = -(-h // steps[s, 4]), -(-w // steps[s, 4])
                    planes = pixels[: 3 * h * w].reshape(3, h * w)
                elif code == COLOUR_SHIFT:
                    geometry.shift_planes(pixels, h, w, params[at : at + 6], steps[s, 4], spare)
                    h, w = h - steps[s, 4], w - steps[s, 4]
                    planes = pixels[: 3 * h * w].reshape(3, h * w)
                elif code == TURN:
                    if params[at] != 0:
                        geometry.turn(planes, h, w, params[at + 1], spare)
                elif code == WARP:
                    n = steps[s, 4]
                    geometry.warp(planes, h, w, params[at : at + 2 * n], params[at + 2 * n : at + 4 * n], n, spare)
                elif code == BLANK:
                    if params[at] == 0:
                        planes[:] = float32(0)
                elif code != STORE:
                    gray = effect(planes, h, w, steps[s], constants[s], params[at:], tables, gray, spare, line, weights_of_blur)
                elif h != instances[v, HEIGHT] or w != instances[v, WIDTH]:
                    raise ValueError(OTHER_SIZE)
                else:
                    gains_of(planes, instances[v, CHANNELS], steps[s], constants[s], gains)
                    write(planes[0], planes[1], planes[2], instances[v, CHANNELS], gains, dtype, channels_last,
                          place_of(instances[v], bases, batch, row, dtype), 0, h * w)
            if steps[s, SAVE] != 0 and not other and planar and kept != instances[v, BASE]:
                if is_bytes:
                    pointwise.unpack(levels, pixels, h * w)
                    is_bytes = False
                base[: 3 * h * w] = pixels[: 3 * h * w]
                kept, kept_h, kept_w = instances[v, BASE], h, w
