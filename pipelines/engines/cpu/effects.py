"""What a step does to the planes of a view without changing their size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32

from . import blur, codes, lab, noise, tone
from .cache import kernel


@kernel
def blur_planes(planes: Any, height: int, width: int, step: Any, params: Any, gray: bool, spare: Any, line: Any,
                weights: Any) -> None:
    planes_to_blur = 1 if gray else 3
    if step[0] == codes.PILLOW_BLUR:
        passes, border = 3, blur.REPLICATE
        reach = blur.box_weights(float32(params[1]), weights)
    else:
        passes, border = 1, step[5]
        for k in range(step[4] // 2 + 1):
            weights[k] = params[1 + k]
        reach = blur.without_negligible(weights, step[4] // 2)
    if passes == 3 and reach <= 2 and min(height, width) >= blur.SMALLEST:
        fir, full = np.empty(3 * reach + 1, np.float32), blur.EDGE + 3 * reach
        left, right = np.empty((full, blur.EDGE), np.float32), np.empty((full, blur.EDGE), np.float32)
        blur.three_as_one(weights, reach, fir)
        blur.edges(weights, reach, left, right)
        for c in range(planes_to_blur):
            blur.three_boxes(planes[c].reshape(height, width), fir, 3 * reach, left, right, spare)
    else:
        for c in range(planes_to_blur):
            blur.blur(planes[c].reshape(height, width), passes, weights, reach, border, spare, line)
    if gray:  # three equal planes stay equal
        planes[1] = planes[0]
        planes[2] = planes[0]


@kernel
def effect(planes: Any, height: int, width: int, step: Any, constants: Any, params: Any, tables: Any, gray: bool, spare: Any,
           line: Any, weights_of_blur: Any) -> bool:
    """planes (3, height * width) float32, in place. params: a packed row from this step's first parameter on. Returns whether
    the three planes are equal now; gray: whether they were. spare and what follows: scratch, see `scratch`."""
    code = step[0]
    if code in (codes.PILLOW_BLUR, codes.GAUSSIAN_BLUR):
        if params[0] != 0:
            blur_planes(planes, height, width, step, params, gray, spare, line, weights_of_blur)
    elif code == codes.COLOUR_MODE:
        tone.colour_mode(planes, int(params[0]), float32(constants[0]), float32(constants[1]), float32(constants[2]))
        return gray or params[0] == 0
    elif code == codes.COLOUR_DROP:
        if params[0] != 0:
            tone.colour_drop(planes, params[1:], step[4] != 0, step[5] != 0, float32(constants[0]), float32(constants[1]),
                             int(params[4]))
            return False
    elif code == codes.SHIFT_VALUES:
        tone.shift_values(planes, params)
        return False
    elif code == codes.ERASE:
        if params[0] != 0:
            noisy = step[4] != 0
            tone.fill_box(planes, height, width, int(params[1]), int(params[2]), int(params[3]), int(params[4]), constants, noisy,
                          int(params[5]) if noisy else 0)
            return False
    elif code == codes.FILL:
        side = step[4]
        tone.fill_box(planes, height, width, (height - side) // 2, (width - side) // 2, side, side, constants, False, 0)
        return False
    elif code == codes.FILL_MASK:
        if step[4] == 0:
            tone.fill_mask(planes, params, constants)
        elif params[0] != 0:
            tone.fill_box(planes, height, width, 0, 0, height, width, constants, False, 0)
        return False
    elif code == codes.NOISE:
        if params[0] != 0:
            noise.add_normal(planes, float32(float32(255) * float32(params[1])), int(params[2]))
            return False
    elif code == codes.POSTERIZE:
        if params[0] != 0:
            tone.posterize(planes, step[4])
    elif code == codes.SHARPNESS:
        if params[0] != 0:
            tone.sharpness(planes, height, width, float32(params[1]), spare)
    elif code == codes.AUTOCONTRAST:
        if params[0] != 0:
            tone.autocontrast(planes)
    elif code == codes.EQUALIZE:
        if params[0] != 0:
            tone.equalize(planes)
    elif code == codes.PHOTOMETRIC:
        pick = step[4]
        for k in range(pick if params[0] != 0 else 0):
            tone.photometric(planes, height, width, step[5 + int(params[1 + k])], float32(constants[0]),
                             float32(params[1 + pick + k]), spare)
            gray = False
    elif code == codes.LAB:
        lab.to_lab(planes, tables)
        return False
    elif code == codes.PICK:  # in ascending order, so nothing is overwritten before it is read
        for c in range(3):
            if step[4 + c] >= 0 and step[4 + c] != c:
                planes[c] = planes[step[4 + c]]
    elif code == codes.SOBEL:
        lab.sobel(planes, height, width, float32(constants[0]), float32(constants[1]), float32(constants[2]), spare)
        return False
    return gray
