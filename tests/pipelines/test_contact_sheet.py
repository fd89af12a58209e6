"""Views as pictures: what a person sees is what the numbers mean, checked by pixels whose place or colour is known."""

from __future__ import annotations

import numpy as np
import pytest
import viewmill as vm
from viewmill.augment import Params, Recipe, View
from viewmill.augment.masks import CenterHole, MultiBlock, NoiseField, RandomExact
from viewmill.augment.ops import (
    CenterCrop,
    Crop,
    Flip,
    LabSplit,
    Normalize,
    Op,
    Permute,
    RandomCrop,
    Resize,
    Sobel,
    Tiles,
)
from viewmill.pipelines.contact_sheet import (
    CELL_PX,
    FRAMES,
    MOST_COLUMNS,
    cell,
    picture,
    reassembled,
    sheet,
    source_box,
    with_boxes,
    with_inset,
)


def made(image: np.ndarray, *ops: Op, size_px: int | tuple[int, int], count: int = 1) -> tuple[Recipe, Params, np.ndarray]:
    """A recipe, its parameters for this image, and its views (V, C, H, W)."""
    recipe = Recipe((View("a", size_px, ops, count=count),))
    params = vm.draw(recipe, 5, 0, np.array([3]), np.array([image.shape[:2]]), position=np.array([3]), length=8)
    return recipe, params, vm.render([image], recipe, params, engine="torch")["a"][:, 0].numpy()


def shown(image: np.ndarray, *ops: Op, size_px: int | tuple[int, int]) -> np.ndarray:
    recipe, params, views = made(image, *ops, size_px=size_px)
    return picture(views[0], recipe.instances[0].ops, params["a/0"], 0)


def flat(rgb: tuple[int, int, int], height: int = 20, width: int = 30) -> np.ndarray:
    return np.broadcast_to(np.array(rgb, np.uint8), (height, width, 3)).copy()


@pytest.mark.parametrize("normalize", [
    Normalize(kind="none"), Normalize(kind="range", range=(-1.0, 1.0)), Normalize(kind="affine", gain=0.8, offset=0.1),
    Normalize(kind="mean-std", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
])
def test_normalization_is_undone(normalize: Normalize, photograph: np.ndarray) -> None:
    cut = shown(photograph, CenterCrop(size_px=(21, 33)), normalize, size_px=(21, 33))
    assert np.array_equal(cut, photograph[20:41, 25:58])


def test_lightness_is_gray_and_colours_have_the_hue_they_had() -> None:
    """sRGB's gray of level 119 has L = 50.03; a and b of a picture, at L = 50, by scikit-image."""
    from skimage.color import lab2rgb, rgb2lab

    light = Normalize(kind="mean-std", mean=(50.0,), std=(50.0,), space="lab")
    gray = shown(flat((119, 119, 119)), CenterCrop(size_px=8), LabSplit(keep=("L",)), light, size_px=8)
    assert gray.shape == (8, 8, 3) and (gray == 128).all()
    for rgb in ((200, 30, 40), (40, 160, 60), (30, 50, 200), (90, 90, 90)):
        image = flat(rgb)
        _, a, b = rgb2lab(image)[0, 0]
        expected = lab2rgb(np.array([[[50.0, a, b]]]))[0, 0] * 255
        for normalize in ((), (Normalize(kind="mean-std", mean=(6.025, -6.69), std=(92.208, 101.168), space="lab"),)):
            colours = shown(image, CenterCrop(size_px=8), LabSplit(keep=("a", "b")), *normalize, size_px=8)
            assert np.abs(colours[3, 3] - expected).max() <= 1.5
    red = shown(flat((220, 20, 20)), CenterCrop(size_px=8), LabSplit(keep=("a", "b")), size_px=8)[0, 0].astype(int)
    assert red[0] > red[1] + 60 and red[0] > red[2] + 60


def test_gradients_lie_around_mid_gray_x_in_red_y_in_green() -> None:
    image = flat((20, 20, 20))
    image[:, 15:] = 220  # one upright edge, brighter to the right
    edges = shown(image, CenterCrop(size_px=(20, 30)), Sobel(gray_weights=(1 / 3, 1 / 3, 1 / 3), channels=2), size_px=(20, 30))
    inside = edges[3:-3, 3:-3].astype(int)
    assert (inside[..., 1:] == 128).all()
    assert (inside[:, 11:13, 0] > 160).all() and (inside[:, :11, 0] == 128).all() and (inside[:, 13:, 0] == 128).all()


def test_a_tile_normalized_by_itself_spans_its_own_range_around_mid_gray() -> None:
    image = flat((100, 100, 100), 16, 16)
    image[:, :8] = 110
    for kind in ("tile-mean", "tile-mean-std"):
        tile = shown(image, CenterCrop(size_px=16), Normalize(kind=kind, gain=1.0, channels="joint"), size_px=16)
        assert tile[5, 2].tolist() == [255] * 3 and tile[5, 12].tolist() == [1] * 3


def test_hidden_patches_are_gray_and_targets_outlined(photograph: np.ndarray) -> None:
    recipe, params, views = made(photograph, CenterCrop(size_px=32), RandomExact(grid=(4, 8), visible=8), size_px=32)
    pixels = picture(views[0], recipe.instances[0].ops, params["a/0"], 0)
    hidden = np.kron(params["a/0"]["masks"]["mask"][0], np.ones((8, 4), bool))
    plain = photograph[14:46, 26:58]
    assert np.array_equal(pixels[~hidden], plain[~hidden]) and np.array_equal(pixels[hidden], plain[hidden] // 5 + 100)
    blocks = MultiBlock(grid=(8, 8), targets=2, min_context=1)
    recipe, params, views = made(photograph, CenterCrop(size_px=56), blocks, size_px=56)
    pixels = picture(views[0], recipe.instances[0].ops, params["a/0"], 0)
    last = np.kron(params["a/0"]["masks"]["targets"][0, 1], np.ones((7, 7), bool))
    rows, columns = np.flatnonzero(last.any(1)), np.flatnonzero(last.any(0))
    frame = [int(FRAMES[1][i:i + 2], 16) for i in (1, 3, 5)]
    for corner in ((rows[0], columns[0]), (rows[-1], columns[-1]), (rows[0] + 1, columns[-1] - 1)):
        assert pixels[corner].tolist() == frame
    assert pixels[rows[0] + 2, columns[0] + 2].tolist() != frame


def test_filled_pixels_are_seen_as_they_are(photograph: np.ndarray) -> None:
    hole = CenterHole(hole_px=16, blank_px=8, ring_px=4, fill=(117.0, 104.0, 123.0), fill_scale="uint8")
    pixels = shown(photograph, CenterCrop(size_px=32), hole, size_px=32)
    assert (pixels[12:20, 12:20] == (117, 104, 123)).all()
    assert (pixels[8:10, 8:24] == 255).all() and (pixels[8:24, 22:24] == 255).all()  # the hole's outline
    assert np.array_equal(pixels[10:12, 10:22], photograph[14:46, 26:58][10:12, 10:22])  # the ring that stays


def test_a_mask_is_outlined_at_the_border_too() -> None:
    blobs = NoiseField(noise_px=4, canvas_px=8, threshold=0.5, accept=(0.2, 0.3), fill=(0.0,), fill_scale="unit")
    pixels = picture(np.zeros((3, 9, 12)), (blobs,), {"masks": {"mask": np.ones((1, 9, 12), bool)}}, 0)
    assert (pixels[2:-2, 2:-2] == 0).all() and (pixels[:2] == 255).all() and (pixels[:, -2:] == 255).all()


def ramps(height: int = 128, width: int = 200) -> np.ndarray:
    """Red tells the column, green the row."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)


@pytest.mark.parametrize(("ops", "size_px"), [
    ((Crop(size_px=(30, 40)),), (30, 40)),
    ((Flip(p=1.0), Crop(size_px=32, scale=(0.1, 0.3))), 32),
    ((Crop(size_px=64, scale=(0.4, 0.6)), Flip(p=1.0), RandomCrop(size_px=24)), 24),
    ((Resize(side_px=96), CenterCrop(size_px=90),
      Tiles(layout="cells", grid=(3, 3), cell_px=30, tile_px=20, offset_px=(0, 10))), 20),
    ((Flip(p=1.0), Resize(mode="exact", side_px=60), Tiles(layout="quadrants", tile_px=30)), 30),
    ((Resize(mode="area", area_px=(20000, 30000)),
      Tiles(layout="lattice", tile_px=20, pitch_px=30, origin_px=(0, 9), jitter_px=(-2, 2), lattices=1, scope="image")), 20),
])
def test_a_frame_lies_where_its_view_comes_from(ops: tuple[Op, ...], size_px: int | tuple[int, int]) -> None:
    image = ramps()
    recipe, params, views = made(image, *ops, size_px=size_px, count=4)
    for instance in recipe.instances:
        box = source_box(instance.ops, params[instance.name], 0, (128, 200))
        assert box is not None
        left, top, right, bottom = box
        levels = views[instance.ordinal] * 255
        assert levels[0].min() == pytest.approx(left, abs=2) and levels[0].max() == pytest.approx(right - 1, abs=2)
        assert levels[1].min() == pytest.approx(top, abs=2) and levels[1].max() == pytest.approx(bottom - 1, abs=2)


def test_no_frame_for_the_whole_image_or_a_tile_that_is_not_there() -> None:
    assert source_box((Flip(p=1.0),), {"flip": {"apply": np.array([True])}}, 0, (9, 9)) is None
    absent = {"tiles": {"box": np.array([[0, 0, 4, 4]]), "present": np.array([False])}}
    assert source_box((Tiles(layout="lattice", tile_px=4, scope="image"),), absent, 0, (9, 9)) is None


def test_a_reassembled_puzzle_shows_its_cells_in_source_order() -> None:
    """Nine flat cells, each brighter than the one before: shuffled as tiles, in order once put back."""
    cells = np.kron(25 * np.arange(1, 10).reshape(3, 3), np.ones((20, 20))).astype(np.uint8)
    image = np.repeat(cells[..., None], 3, -1)
    recipe, params, views = made(image, CenterCrop(size_px=60), Tiles(layout="cells", grid=(3, 3), cell_px=20, tile_px=12,
                                 offset_px=(0, 8)), Permute(slots=9, free=True), size_px=12, count=9)
    tiles = [picture(view, i.ops, params[i.name], 0) for view, i in zip(views, recipe.instances, strict=True)]
    order = params["a/0"]["permute"]["order"][0].tolist()
    assert order != list(range(9)) and [int(tile[0, 0, 0]) for tile in tiles] == [25 * (source + 1) for source in order]
    whole = reassembled(tiles, order, 3, gap_px=4)
    assert whole.shape == (3 * 12 + 8, 3 * 12 + 8, 3) and (whole[12:16] == 255).all()
    for source in range(9):
        top, left = source // 3 * 16, source % 3 * 16
        assert (whole[top:top + 12, left:left + 12] == 25 * (source + 1)).all()


def test_an_inset_lies_in_the_lower_right_corner_and_boxes_keep_their_colour() -> None:
    whole = with_inset(flat((10, 20, 30), 50, 80), flat((200, 100, 0), 40, 40))
    assert whole[45, 75].tolist() == [200, 100, 0]
    assert whole[5, 5].tolist() == whole[45, 5].tolist() == [10, 20, 30]
    framed = with_boxes(flat((0, 0, 0), 50, 80), [((10.0, 5.0, 40.0, 25.0), "#ff0000"), (None, "#00ff00")])
    assert framed[5, 10].tolist() == framed[24, 39].tolist() == [255, 0, 0] and framed[25, 40].tolist() == [0, 0, 0]
    assert not (framed[..., 1] > 0).any()


def test_cells_are_wide_as_one_and_a_long_row_is_broken() -> None:
    small, large = cell(flat((9, 9, 9), 5, 4), ["one"]), cell(flat((9, 9, 9), 300, 500), ["a caption " * 9, "two"])
    assert small.width == large.width == CELL_PX and large.height > small.height
    pixels = np.asarray(small)
    assert (pixels[CELL_PX // 2, CELL_PX // 2] == 9).all() and (np.asarray(large)[CELL_PX // 2, 5] == 9).all()
    wide, broken = sheet([[small] * MOST_COLUMNS], "x"), sheet([[small] * (MOST_COLUMNS + 1)], "x")
    assert wide.width == broken.width and broken.height > wide.height + small.height


def test_a_tile_of_nothing_is_mid_gray() -> None:
    assert (picture(np.zeros((3, 4, 6)), (Normalize(kind="tile-rms", gain=50.0),), {"normalize": {}}, 0) == 128).all()
