"""What the steps of a compiled recipe are called, and how their rows are laid out."""

from __future__ import annotations

(CROP, RESIZE, CUT, FLIP, ROTATE, JITTER, GRAYSCALE, PILLOW_BLUR, GAUSSIAN_BLUR, SOLARIZE, CLIP, STORE, SHRINK, DOWNSCALE,
 SUBSAMPLE, TURN, WARP, COLOUR_MODE, COLOUR_DROP, COLOUR_SHIFT, SHIFT_VALUES, FILL, FILL_MASK, NOISE, ERASE, POSTERIZE, SHARPNESS,
 AUTOCONTRAST, EQUALIZE, PHOTOMETRIC, LAB, PICK, SOBEL, AFFINE, BLANK) = range(35)

INTEGERS, FLOATS = 12, 8
"""Columns of a step. Integers: its code, its instance, its first parameter; SAVE; then what the code needs, see `steps`."""

SAVE = 3
"""Column of a step: what it leaves is kept for the instances that begin with the same steps."""

GROUP, ORDINAL, VALUES, HEIGHT, WIDTH, BEGIN, END, OTHER, BASE, SHARED, CHANNELS = range(11)
"""Columns of an instance. VALUES: of one view; BEGIN, END: its steps; OTHER: -1 its own image, ALWAYS the second one, else the
parameter that says so; BASE: a number above 0 that it has in common with the instances with which it has SHARED first steps."""

ALWAYS = -2

MEAN_STD, TILE_MEAN, TILE_MEAN_STD, TILE_RMS = 0, 1, 2, 3
"""How STORE normalizes."""
