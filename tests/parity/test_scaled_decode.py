"""Scaled decode: the engines against each other on boxes that end inside pixels, and scaled views beside those of full decode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import viewmill as vm
from PIL import Image
from viewmill.augment import Params, Recipe, View
from viewmill.augment.ops import CenterCrop, Crop, Flip, Resize, Tiles
from viewmill.pipelines.decode import decode

from ..pipelines.shards import encoded
from .test_engines import distances

SIZES = [(703, 401), (402, 911), (1203, 1601), (233, 2001), (61, 83)]


@pytest.fixture(scope="module")
def pictures(photograph: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(Image.fromarray(photograph).resize((w, h), Image.Resampling.BICUBIC)) for h, w in SIZES]


def scaled(*ops: object, size_px: int | tuple[int, int] = 24, count: int = 1) -> Recipe:
    return Recipe((View("a", size_px, (*ops,), count=count),), decode="scaled")  # type: ignore[arg-type]


@pytest.mark.parametrize("recipe", [
    scaled(Crop(size_px=24), Flip(p=0.5), count=4),
    scaled(Crop(size_px=(19, 40), filter="lanczos"), Flip(p=0.5), size_px=(19, 40)),
    scaled(Crop(size_px=(60, 11), filter="bilinear", scale=(0.3, 1.0)), size_px=(60, 11)),
    scaled(Flip(p=1.0), Crop(size_px=24, scale=(0.5, 1.0)), Flip(p=0.5)),
    scaled(Resize(side_px=40, filter="bicubic"), Crop(size_px=31), Flip(p=1.0), size_px=31),
    scaled(Flip(p=0.5), Resize(mode="exact", side_px=29, filter="lanczos"), Flip(p=0.5), size_px=29),
    scaled(Resize(mode="area", area_px=(900, 2000)), CenterCrop(size_px=22), size_px=22),
    scaled(Resize(side_px=30), Tiles(layout="cells", tile_px=8, grid=(3, 3), cell_px=10, offset_px=(0, 2)), size_px=8, count=9),
])
def test_the_same_levels_where_boxes_end_inside_pixels(recipe: Recipe, pictures: list[np.ndarray]) -> None:
    size_hw = np.array([image.shape[:2] for image in pictures])
    params = vm.draw(recipe, 1, 0, np.arange(5), size_hw)
    by = params[""]["decode"]["denominator"]
    assert by[-1] == 1 and (by[:-1] > 1).any()
    for largest, mean in distances(recipe, pictures).values():
        assert largest <= 1.01 and mean < 0.01


@pytest.mark.parametrize("name", ["dino", "mae", "simclr_pil"])
def test_presets_agree(name: str, pictures: list[np.ndarray]) -> None:
    recipe = replace(vm.recipe(name), decode="scaled")
    large = [np.asarray(Image.fromarray(pictures[2]).resize((w, h))) for w, h in ((1801, 1607), (1501, 1207))]
    assert vm.draw(recipe, 1, 0, np.arange(2), np.array([i.shape[:2] for i in large]))[""]["decode"]["denominator"].max() > 1
    for largest, mean in distances(recipe, large).values():
        assert largest <= 2.1 and mean < 0.02


@pytest.mark.parametrize(("denominator", "out_px", "most"), [(2, 96, (0.8, 4.0)), (4, 48, (1.1, 6.0)), (8, 24, (1.4, 9.0))])
def test_views_at_the_least_shrink_are_near_full_decode(denominator: int, out_px: int, most: tuple[float, float]) -> None:
    """Of scikit-image's photographs in their own detail, as JPEGs; measured: mean 0.54, 0.73 and 0.95 levels, p99 3, 4 and 6."""
    data = pytest.importorskip("skimage.data")
    recipe = scaled(Crop(size_px=out_px), size_px=out_px)
    side, rng, apart = 2 * denominator * out_px, np.random.default_rng(0), []
    for name in ("astronaut", "coffee", "grass", "rocket", "retina"):
        image = np.asarray(Image.fromarray(getattr(data, name)()).convert("RGB"))
        jpeg = encoded(image, quality=90)
        box = np.array([[*(rng.integers(0, size - side + 1) for size in image.shape[:2]), side, side]], np.int32)
        params: Params = {"": {"decode": {"denominator": np.array([denominator])}}, "a/0": {"crop": {"box": box}}}
        small = vm.render([decode(jpeg, denominator)], recipe, params, scaled=True)["a"]
        apart.append((small - vm.render([decode(jpeg)], replace(recipe, decode="full"), params)["a"]).abs().numpy() * 255)
    assert np.mean(apart) < most[0] and np.quantile(apart, 0.99) < most[1] + 0.5
