"""Memory that a rendering thread reuses from image to image."""

from __future__ import annotations

import numpy as np

from .lab import lab_tables
from .program import Program

LAB_TABLES = lab_tables()


class Scratch:
    """Buffers for a program that grow with the images."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.sizes = (0, 0, 0, 0)
        self.arrays: tuple[np.ndarray, ...] = ()

    def of(self, image_hw: tuple[int, int], picture_hw: tuple[int, int]) -> tuple[np.ndarray, ...]:
        """Buffers, in the order of `kernel.render_image`, for images (the second one too) and pictures between of up to these
        heights and widths in px."""
        wanted = (*image_hw, *picture_hw)
        if any(w > s for w, s in zip(wanted, self.sizes, strict=True)):
            height, width, tall, wide = map(max, wanted, self.sizes)
            self.sizes = height, width, tall, wide
            self.arrays = self._allocate(*self.sizes)
        return self.arrays

    def _allocate(self, height: int, width: int, out_h: int, out_w: int) -> tuple[np.ndarray, ...]:
        program = self.program
        staged, reach = program.staged, program.reach
        tall, wide = (max(height, out_h), max(width, out_w)) if staged else (height, width)
        side, out = max(tall, wide), max(out_h, out_w)
        between = 3 * max(out_w * tall, out_h * wide, out_h * out_w)
        again = 3 * max(out_h * out_w if staged else 0, height * width if program.takes_partner else 0)
        return (
            LAB_TABLES,
            np.empty(3 * height * width, np.uint8),                          # columns: the image transposed
            np.empty(again, np.uint8),                                       # columns_b: another picture transposed
            np.empty(between, np.uint8),                                     # bytes_a: after the first pass
            np.empty(between, np.uint8),                                     # bytes_b: the same transposed
            np.empty(3 * out_h * out_w if staged else 0, np.uint8),          # stage: a picture between, as bytes
            np.empty(3 * out_h * out_w if program.instances[:, 9].any() else 0, np.float32),  # base: what neighbours share
            np.empty(4 * (out_h + out_w), np.int32),                         # first source pixel of each output
            np.empty(out, np.int32),                                         # count of its taps
            np.empty(6 * max(side, out) + 16 * out, np.int32),               # their weights, see `taps.room`
            np.empty(6 * max(side, out) + 16 * out, np.float64),             # floats: weights before rounding
            np.empty(3 * max(side, out) + 4 * reach + 1, np.float32),        # line: a row, or a padded one twice
            np.empty(reach + 1, np.float32),                                 # weights_of_blur
            np.empty(3 * out_h * out_w, np.uint8),                           # levels: the picture as bytes
            np.empty(3 * out_h * out_w, np.float32),                         # pixels: or as floats
            np.empty(max(2 * out_h * out_w + 4 * reach * out, 3 * out_h * out_w, (out_h + 2) * (out_w + 2)), np.float32),  # spare
        )
