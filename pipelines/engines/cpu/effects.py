"""What a step does to the planes of a view without changing their size."""

from __future__ import annotations

from typing import Any

from numba import float32

from . import codes, colour, lab, noise, tone
from .cache import kernel


@kernel
def effect(planes: Any, height: int, width: int, step: Any, constants: Any, params: Any, tables: Any, spare: Any,
           gray: bool) -> bool:
    """planes (3, height * width) float32, in place. params: a packed row from this step's first parameter on. Returns whether
    the three planes are equal now; gray: whether they were."""
    code = step[0]
    if code == codes.GRAYSCALE:
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
