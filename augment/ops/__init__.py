"""The ops, one a file; here they meet their names."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..masks import MASKS
from ..op import Op, UnsupportedRecipe, nearest
from .autocontrast import Autocontrast
from .autoencode import Autoencode
from .blur import Blur
from .center_crop import CenterCrop
from .clip import Clip
from .colour_drop import ColourDrop
from .colour_mode import ColourMode
from .colour_shift import ColourShift
from .crop import Crop
from .cutout import Cutout
from .downscale import Downscale
from .equalize import Equalize
from .erase import Erase
from .flip import Flip
from .grayscale import Grayscale
from .inpaint import Inpaint
from .jitter import Jitter
from .lab_split import LabSplit
from .noise import Noise
from .normalize import Normalize
from .occlude import Occlude
from .pair import Pair
from .palette import Palette
from .permute import Permute
from .photometric import Photometric
from .posterize import Posterize
from .random_crop import RandomCrop
from .resize import Resize
from .rotate import Rotate
from .sharpness import Sharpness
from .shrink import Shrink
from .sobel import Sobel
from .solarize import Solarize
from .subsample import Subsample
from .tiles import Tiles
from .value_jitter import ValueJitter
from .warp import Warp

_ALL = (Autocontrast, Autoencode, Blur, CenterCrop, Clip, ColourDrop, ColourMode, ColourShift, Crop, Cutout,
        Downscale, Equalize, Erase, Flip, Grayscale, Inpaint, Jitter, LabSplit, Noise, Normalize, Occlude, Pair,
        Palette, Permute, Photometric, Posterize, RandomCrop, Resize, Rotate, Sharpness, Shrink, Sobel, Solarize,
        Subsample, Tiles, ValueJitter, Warp)

OPS: dict[str, type[Op]] = {op.type: op for op in _ALL}
"""By the name that a recipe's "op" carries; masks, which are told apart by their generator, are in `masks.MASKS`."""

__all__ = ["MASKS", "OPS", "Op", "UnsupportedRecipe", "op_from_dict", *(op.__name__ for op in _ALL)]


def op_from_dict(data: dict[str, Any]) -> Op:
    """The op that to_dict wrote. A missing field takes its default; null is kept as "not stated".

    Raises ValueError for an op, generator or field that does not exist, naming the nearest.
    """
    items = dict(data)
    type_name = items.pop("op", None)
    if type_name == "masks":
        generator = items.pop("generator", None)
        if generator not in MASKS:
            raise ValueError(f"masks has no generator {generator!r}; {nearest(str(generator), [str(m) for m in MASKS])}")
        cls: type[Op] = MASKS[generator]
    elif type_name in OPS:
        cls = OPS[type_name]
    else:
        raise ValueError(f"there is no op {type_name!r}; {nearest(str(type_name), [*OPS, 'masks'])}")
    known = [f.name for f in dataclasses.fields(cls)]
    for name in items:
        if name not in known:
            raise ValueError(f"{type_name} has no field {name!r}; {nearest(name, known)}")
    return cls(**items)
