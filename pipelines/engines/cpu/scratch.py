"""Memory that a rendering thread reuses from image to image."""

from __future__ import annotations

import numpy as np


class Scratch:
    """Buffers that grow with the images. largest_hw: of all views, in px; staged: some view resizes whole images first;
    reach: pixels that the widest blur looks to each side."""

    def __init__(self, largest_hw: tuple[int, int], staged: bool, reach: int) -> None:
        self.largest_hw, self.staged, self.reach = largest_hw, staged, reach
        self.height = self.width = 0
        self.arrays: tuple[np.ndarray, ...] = ()

    def of(self, height: int, width: int) -> tuple[np.ndarray, ...]:
        """Buffers, in the order of `kernel.render_image`, for an image, or whole resized image, of that size in px."""
        if height > self.height or width > self.width:
            self.height, self.width = max(height, self.height), max(width, self.width)
            self.arrays = self._allocate(self.height, self.width)
        return self.arrays

    def _allocate(self, height: int, width: int) -> tuple[np.ndarray, ...]:
        out_h, out_w = self.largest_hw
        plane = 2 * out_h * out_w + 4 * self.reach * max(out_h, out_w)
        if self.staged:
            out_h, out_w = max(out_h, height), max(out_w, width)
        side, out = max(height, width), max(out_h, out_w)
        between = 3 * max(out_w * height, out_h * width, out_h * out_w)
        pixels = np.empty(3 * out_h * out_w, np.float32)
        return (
            np.empty(3 * height * width, np.uint8),                          # columns: the image transposed
            np.empty(between, np.uint8),                                     # bytes_a: after the first pass
            np.empty(between, np.uint8),                                     # bytes_b: the same transposed
            np.empty(6 * out_h * out_w if self.staged else 0, np.uint8),     # stage: a resized image, both ways
            np.empty(4 * (out_h + out_w), np.int32),                         # first source pixel of each output
            np.empty(out, np.int32),                                         # count of its taps
            np.empty(6 * side + 16 * out, np.int32),                         # their weights, see `resample.room`
            np.empty(max(6 * side + 16, 4 * (out_h + out_w)), np.float64),   # floats: weights before rounding
            np.empty(3 * max(side, out) + 4 * self.reach + 1, np.float32),   # line: a row, or a padded one twice
            np.empty(self.reach + 1, np.float32),                            # weights_of_blur
            pixels,
            pixels.view(np.uint32),
            np.empty(plane, np.float32),                                     # spare: a view's plane padded above and below, twice
        )
