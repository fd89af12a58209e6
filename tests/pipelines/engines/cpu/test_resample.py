"""Crops against Pillow, byte for byte, at random boxes, sizes and filters."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, __version__
from viewmill.augment import Recipe, View
from viewmill.augment.ops import Crop, Flip
from viewmill.pipelines.engines.cpu import render

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


def stripes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8 of 0 and 255 or of noise: where cubic and Lanczos overshoot, and the order of passes shows."""
    if rng.random() < 0.5:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    return np.stack([x // 2 % 2 * 255, y // 3 % 2 * 255, (x + y) % 5 // 2 * 255], -1).astype(np.uint8)


def rendered(image: np.ndarray, box: tuple[float, ...], size: tuple[int, int], filter: str, flip: bool) -> np.ndarray:
    recipe = Recipe((View("a", size, (Crop(size_px=size, filter=filter), Flip())),))
    params = {"a/0": {"crop": {"box": np.array([box])}, "flip": {"apply": np.array([flip])}}}
    levels = np.moveaxis(render([image], recipe, params)["a"][0, 0], 0, -1) * 255
    assert np.abs(levels - np.rint(levels)).max() < 1e-3
    return np.rint(levels).astype(np.uint8)


@pytest.mark.skipif(int(__version__.split(".")[0]) < 13, reason=f"Pillow {__version__} never resizes vertically first")
@pytest.mark.parametrize("side", [7, 31, 33, 64, 130, 400])
def test_random_crops_equal_pillow(side: int) -> None:
    rng = np.random.default_rng(side)
    for _ in range(150):
        height, width = rng.integers(1, side + 1, 2).tolist()
        image = stripes(rng, height, width)
        bh, bw = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
        top, left = int(rng.integers(height - bh + 1)), int(rng.integers(width - bw + 1))
        out_h, out_w = rng.integers(1, rng.choice([8, 20, 40, 100]), 2).tolist()
        kept = rng.random()  # an axis that keeps its length has no pass
        out_h, out_w = bh if kept < 0.15 else out_h, bw if kept > 0.85 else out_w
        filter, flip = str(rng.choice(list(FILTERS))), bool(rng.integers(2))
        pillow = np.asarray(Image.fromarray(image[top : top + bh, left : left + bw]).resize((out_w, out_h), FILTERS[filter]))
        got = rendered(image, (top, left, bh, bw), (out_h, out_w), filter, flip)
        case = (image.shape, (top, left, bh, bw), (out_h, out_w), filter, flip)
        assert np.array_equal(got, pillow[:, ::-1] if flip else pillow), case


@pytest.mark.skipif(int(__version__.split(".")[0]) < 13, reason=f"Pillow {__version__} never resizes vertically first")
@pytest.mark.parametrize("side", [9, 40, 150])
def test_boxes_that_end_inside_pixels_equal_pillow_on_the_pixels_they_touch(side: int) -> None:
    """As boxes of a full image fall on one that was decoded at 1/2, 1/4 or 1/8."""
    rng = np.random.default_rng(side)
    for _ in range(100):
        image = stripes(rng, *rng.integers(2, side + 1, 2).tolist())
        height, width = 8 * np.array(image.shape[:2])
        bh, bw = int(rng.integers(8, height + 1)), int(rng.integers(8, width + 1))
        box = np.array([rng.integers(height - bh + 1), rng.integers(width - bw + 1), bh, bw]) / 8
        top, left, low, right = box[0], box[1], box[0] + box[2], box[1] + box[3]
        y, x, bottom, end = int(top), int(left), int(np.ceil(low)), int(np.ceil(right))
        out_h, out_w = rng.integers(1, 40, 2).tolist()
        filter, flip = str(rng.choice(list(FILTERS))), bool(rng.integers(2))
        pillow = np.asarray(Image.fromarray(image[y:bottom, x:end]).resize(
            (out_w, out_h), FILTERS[filter], box=(left - x, top - y, right - x, low - y)))
        got = rendered(image, tuple(box), (out_h, out_w), filter, flip)
        assert np.array_equal(got, pillow[:, ::-1] if flip else pillow), (image.shape, box, (out_h, out_w), filter, flip)
