"""What a step does to the planes of a view without changing their size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32

from . import blur, codes, colour, lab, noise, tone
from .cache import kernel


@kernel
def jitter(planes: Any, step: Any, params: Any) -> None:
    factors, order = np.empty(4, np.float32), np.empty(4, np.int64)
    n = 0
    for k in range(4):
        which = int(params[1 + k])
        factors[k] = float32(params[5 + k])
        if step[5 + which] != 0:
            order[n] = which
            n += 1
    laws = step[4]
    colour.jitter(planes, order, n, factors, laws & 1 != 0, laws & 2 != 0, laws & 4 != 0, laws & 8 != 0)


@kernel
def blur_planes(planes: Any, height: int, width: int, step: Any, params: Any, gray: bool, spare: Any, line: Any,
                weights: Any) -> None:
    if step[0] == codes.PILLOW_BLUR:
        passes, border = 3, blur.REPLICATE
        reach = blur.box_weights(float32(params[1]), weights)
    else:
        passes, border, reach = 1, step[5], step[4] // 2
        for k in range(reach + 1):
            weights[k] = params[1 + k]
    for c in range(1 if gray else 3):
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
    if code == codes.JITTER:
        if params[0] != 0:
            jitter(planes, step, params)
            return False
    elif code in (codes.PILLOW_BLUR, codes.GAUSSIAN_BLUR):
        if params[0] != 0:
            blur_planes(planes, height, width, step, params, gray, spare, line, weights_of_blur)
    elif code == codes.GRAYSCALE:
        if params[0] != 0:
            colour.grayscale(planes, float32(constants[0]), float32(constants[1]), float32(constants[2]))
            return True
    elif code == codes.SOLARIZE:
        if params[0] != 0:
            colour.solarize(planes, float32(constants[0]))
    elif code == codes.CLIP:
        colour.clip(planes, float32(constants[0]), float32(constants[1]))
    elif code == codes.AFFINE:
        for c in range(3):
            colour.affine(planes[c], float32(constants[c]), float32(constants[3 + c]))
        return False
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
