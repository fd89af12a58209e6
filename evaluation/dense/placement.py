"""Which part of a picture is shown, at what size and whether mirrored; pixels, boxes and maps of classes go through it alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

LEAST_PX = 1e-3  # a box narrower than that, once it is cut, is none


@dataclass(frozen=True)
class Placement:
    """window: x0, y0, x1, y1 in the picture's pixels; shown_hw: the size at which it is shown; mirrored: left to right, after
    that. A pixel's left edge is a whole number."""

    window: tuple[float, float, float, float]
    shown_hw: tuple[int, int]
    mirrored: bool = False

    def pixels(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 to (h, w, 3) uint8, by Pillow's bilinear filter, which averages where it shrinks."""
        return self._shown(picture, Image.Resampling.BILINEAR)

    def classes(self, numbers: np.ndarray) -> np.ndarray:
        """(H, W) uint8 to (h, w) uint8, each the number of the nearest pixel."""
        return self._shown(numbers, Image.Resampling.NEAREST)

    def boxes(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 4) x0, y0, x1, y1 in the picture to the same in what is shown, cut at its edges; (n,) bool: of which something is
        left."""
        height, width = self.shown_hw
        x, y = self._x(boxes[:, 0::2]), self._y(boxes[:, 1::2])
        x, y = np.sort(x, 1).clip(0, width), y.clip(0, height)
        placed = np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1)
        return placed, (np.diff(x)[:, 0] > LEAST_PX) & (np.diff(y)[:, 0] > LEAST_PX)

    def polygon(self, points: np.ndarray) -> np.ndarray:
        """(2 k,) x, y, x, y, ... in the picture to the same in what is shown, not cut."""
        return np.stack([self._x(points[0::2]), self._y(points[1::2])], 1).reshape(-1)

    def _x(self, x: np.ndarray) -> np.ndarray:
        width = self.shown_hw[1]
        placed = (x - self.window[0]) * (width / (self.window[2] - self.window[0]))
        return width - placed if self.mirrored else placed

    def _y(self, y: np.ndarray) -> np.ndarray:
        return (y - self.window[1]) * (self.shown_hw[0] / (self.window[3] - self.window[1]))

    def _shown(self, values: np.ndarray, how: Image.Resampling) -> np.ndarray:
        height, width = self.shown_hw
        shown = np.asarray(Image.fromarray(values).resize((width, height), how, self.window))
        return np.array(shown[:, ::-1] if self.mirrored else shown, order="C")


def whole(size_hw: tuple[int, int], side_px: int, longest_px: int, mirrored: bool = False) -> Placement:
    """All of a picture of size_hw, its short side side_px, or less where the long one would be above longest_px."""
    return Placement((0, 0, size_hw[1], size_hw[0]), _resized(size_hw, _scale(size_hw, side_px, longest_px)), mirrored)


def jittered(size_hw: tuple[int, int], side_px: int, scale: float, at: tuple[float, float], mirrored: bool) -> Placement:
    """A picture made to fit into a square of side_px * scale, of which a square of side_px is cut where it is larger. at: where,
    down and across, each in [0, 1). Source: large-scale jittering, arXiv:2012.07177, as detectron2 has it."""
    fitting = side_px * scale / max(size_hw)
    return _cut(size_hw, _resized(size_hw, fitting), side_px, at, mirrored)


def cut(size_hw: tuple[int, int], side_px: int, longest_px: int, ratio: float, crop_px: int, at: tuple[float, float],
        mirrored: bool) -> Placement:
    """A picture at `ratio` times the size that `whole` has, of which at most crop_px a side are cut. at: as `jittered`."""
    return _cut(size_hw, _resized(size_hw, ratio * _scale(size_hw, side_px, longest_px)), crop_px, at, mirrored)


def _scale(size_hw: tuple[int, int], side_px: int, longest_px: int) -> float:
    return min(side_px / min(size_hw), longest_px / max(size_hw))


def _resized(size_hw: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(int(size_hw[0] * scale + 0.5), 1), max(int(size_hw[1] * scale + 0.5), 1)


def _cut(size_hw: tuple[int, int], resized_hw: tuple[int, int], crop_px: int, at: tuple[float, float],
         mirrored: bool) -> Placement:
    shown = min(resized_hw[0], crop_px), min(resized_hw[1], crop_px)
    top, left = (int(u * (full - part + 1)) for u, full, part in zip(at, resized_hw, shown, strict=True))
    down, across = size_hw[0] / resized_hw[0], size_hw[1] / resized_hw[1]
    window = left * across, top * down, min((left + shown[1]) * across, size_hw[1]), min((top + shown[0]) * down, size_hw[0])
    return Placement(window, shown, mirrored)
