"""The one compiled call per image: every view of it, from the decoded pixels to the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, float32, types
from numba.extending import intrinsic

from . import blur, colour, resample
from .cache import entry, kernel
from .program import (
    CLIP,
    CROP,
    CUT,
    FLIP,
    GAUSSIAN_BLUR,
    GEOMETRY,
    GRAYSCALE,
    JITTER,
    PILLOW_BLUR,
    RESIZE,
    ROTATE,
    SOLARIZE,
    STORE,
)
from .vectors import transpose

BLURS = (PILLOW_BLUR, GAUSSIAN_BLUR)
FLOAT32, FLOAT16, BFLOAT16 = 0, 1, 2
OUTSIDE = "a crop's box reaches outside the image: the parameters were drawn for an image of another size"
OTHER_SIZE = "a view's ops end at another size than the view's: the parameters were drawn for another recipe"
DTYPES = {"float32": FLOAT32, "float16": FLOAT16, "bfloat16": BFLOAT16}


@intrinsic
def _pointer_float32(context: Any, address: Any) -> Any:
    return types.CPointer(types.float32)(address), lambda c, b, s, a: b.inttoptr(a[0], c.get_value_type(s.return_type))


@intrinsic
def _pointer_uint16(context: Any, address: Any) -> Any:
    return types.CPointer(types.uint16)(address), lambda c, b, s, a: b.inttoptr(a[0], c.get_value_type(s.return_type))


@kernel
def union_of_boxes(steps: Any, params: Any, height: int, width: int) -> Any:
    """top, left, bottom, right of the part of the image that horizontal passes may read."""
    top, left, bottom, right = height, width, 0, 0
    view = -1
    for s in range(steps.shape[0]):
        if steps[s, 1] == view:
            continue  # a later step of a view reads what its first one made
        view = steps[s, 1]
        if (steps[s, 0] == CROP or steps[s, 0] == RESIZE) and steps[s, 9] != 0:
            at = steps[s, 2]
            top, left = min(top, int(params[at])), min(left, int(params[at + 1]))
            bottom = max(bottom, int(params[at]) + int(params[at + 2]))
            right = max(right, int(params[at + 1]) + int(params[at + 3]))
    return top, left, bottom, right


@kernel
def rotate(planes: Any, height: int, width: int, turns: int, spare: Any) -> None:
    """planes (3, height * width) by quarter turns, counter-clockwise, in place by way of spare (>= height * width,)."""
    n = height * width
    for c in range(3):
        line = planes[c]
        spare[:n] = line[:n]
        for y in range(height):
            for x in range(width):
                if turns == 1:
                    at = (width - 1 - x) * height + y
                elif turns == 2:
                    at = (height - 1 - y) * width + (width - 1 - x)
                else:
                    at = x * height + (height - 1 - y)
                line[at] = spare[y * width + x]


@kernel
def mirror(planes: Any, height: int, width: int) -> None:
    for c in range(3):
        for y in range(height):
            line = planes[c, y * width : (y + 1) * width]
            for x in range(width // 2):
                line[x], line[width - 1 - x] = line[width - 1 - x], line[x]


@entry
def render_image(image: Any, steps: Any, constants: Any, instances: Any, params: Any, bases: Any, batch: int, row: int,
                 dtype: int, columns: Any, bytes_a: Any, bytes_b: Any, stage: Any, first: Any, count: Any, weights: Any,
                 floats: Any, line: Any, weights_of_blur: Any, pixels: Any, pixel_bits: Any, spare: Any) -> None:
    """image (H, W, 3) uint8; steps, constants, instances: a Program's; params: one packed row. bases (groups,) int64: the
    address of each group's (V, batch, C, H, W) array, of which [:, row] is written. The rest is scratch, see `scratch`.
    Raises ValueError where parameters do not fit the image or the recipe.
    """
    height, width = image.shape[0], image.shape[1]
    y0, x0, y1, x1 = union_of_boxes(steps, params, height, width)
    if y0 < 0 or x0 < 0 or y1 > height or x1 > width:
        raise ValueError(OUTSIDE)
    shared = columns[: 3 * max(x1 - x0, 0) * max(y1 - y0, 0)].reshape(3 * max(x1 - x0, 0), max(y1 - y0, 0))
    if y1 > y0 and x1 > x0:
        transpose(image.reshape(height, 3 * width), y0, 3 * x0, y1 - y0, 3 * (x1 - x0), shared)
    factors, order = np.empty(4, np.float32), np.empty(4, np.int64)
    source, own, oy, ox = image, shared, y0, x0
    view, h, w, gray = -1, 0, 0, False
    planes = pixels[:0].reshape(3, 0)
    for s in range(steps.shape[0]):
        code, at = steps[s, 0], steps[s, 2]
        if steps[s, 1] != view:
            view, gray = steps[s, 1], False
            source, own, oy, ox = image, shared, y0, x0
        if code in GEOMETRY:
            top, left, bh, bw = int(params[at]), int(params[at + 1]), int(params[at + 2]), int(params[at + 3])
            h, w = (int(params[at + 4]), int(params[at + 5])) if code == RESIZE else (steps[s, 6], steps[s, 7])
            planes = pixels[: 3 * h * w].reshape(3, h * w)
            outside = min(top, left) < 0 or top + bh > source.shape[0] or left + bw > source.shape[1]
            if code != CUT and (outside or min(bh, bw) < 1):
                raise ValueError(OUTSIDE)
            if steps[s, 4] != 0 and (h * w != instances[view, 3] * instances[view, 4]  # turned or not: all that follows has room
                                     or max(h, w) != max(instances[view, 3], instances[view, 4])):
                raise ValueError(OTHER_SIZE)
            mirrored = steps[s, 5] >= 0 and params[steps[s, 5]] != 0
            if code == CUT:
                resample.cut(source, top, left, h, w, mirrored, planes)
            elif steps[s, 9] != 0:
                resample.crop_resize(source, own, ox, oy, top, left, bh, bw, h, w, steps[s, 8], constants[s, 0], mirrored, first,
                                     count, weights, floats, bytes_a, bytes_b, planes)
            else:
                resample.crop_interpolate(source, top, left, bh, bw, h, w, steps[s, 8], constants[s, 0], mirrored, first, floats,
                                          line, planes)
            if steps[s, 4] == 0:  # another one follows: it reads bytes
                half = stage.size // 2
                source = stage[: 3 * h * w].reshape(h, w, 3)
                resample.to_bytes(planes, h, w, source)
                own, oy, ox = stage[half : half + 3 * h * w].reshape(3 * w, h), 0, 0
                transpose(source.reshape(h, 3 * w), 0, 0, h, 3 * w, own)
        elif code == FLIP:
            if params[at] != 0:
                mirror(planes, h, w)
        elif code == ROTATE:
            turns = int(params[at])
            if turns != 0:
                rotate(planes, h, w, turns, spare)
                if turns % 2 == 1:
                    h, w = w, h
        elif code == JITTER:
            if params[at] != 0:
                n = 0
                for k in range(4):
                    step = int(params[at + 1 + k])
                    factors[k] = float32(params[at + 5 + k])
                    if steps[s, 7 + step] != 0:
                        order[n] = step
                        n += 1
                colour.jitter(planes, order, n, factors, steps[s, 3] != 0, steps[s, 4] != 0, steps[s, 5] != 0, steps[s, 6] != 0)
                gray = False
        elif code == GRAYSCALE:
            if params[at] != 0:
                colour.grayscale(planes, float32(constants[s, 0]), float32(constants[s, 1]), float32(constants[s, 2]))
                gray = True
        elif code in BLURS:
            if params[at] != 0:
                if code == PILLOW_BLUR:
                    passes, border = 3, blur.REPLICATE
                    reach = blur.box_weights(float32(params[at + 1]), weights_of_blur)
                else:
                    passes, border, reach = 1, steps[s, 4], steps[s, 3] // 2
                    for k in range(reach + 1):
                        weights_of_blur[k] = params[at + 1 + k]
                for c in range(1 if gray else 3):
                    blur.blur(planes[c].reshape(h, w), passes, weights_of_blur, reach, border, spare, line)
                if gray:  # three equal planes stay equal
                    planes[1] = planes[0]
                    planes[2] = planes[0]
        elif code == SOLARIZE:
            if params[at] != 0:
                colour.solarize(planes, float32(constants[s, 0]))
        elif code == CLIP:
            colour.clip(planes, float32(constants[s, 0]), float32(constants[s, 1]))
        elif code == STORE:
            n = h * w
            if h != instances[view, 3] or w != instances[view, 4]:
                raise ValueError(OTHER_SIZE)
            start = (instances[view, 1] * batch + row) * instances[view, 2]
            for c in range(3):
                gain, offset = float32(constants[s, c]), float32(constants[s, 3 + c])
                if dtype == FLOAT32:
                    out = carray(_pointer_float32(bases[instances[view, 0]] + (start + c * n) * 4), n)
                    colour.store_float(planes[c], gain, offset, out)
                else:
                    half_out = carray(_pointer_uint16(bases[instances[view, 0]] + (start + c * n) * 2), n)
                    colour.affine(planes[c], gain, offset)
                    bits = pixel_bits[c * n : (c + 1) * n]
                    if dtype == BFLOAT16:
                        colour.store_bfloat16(bits, half_out)
                    else:
                        colour.store_float16(bits, half_out)


