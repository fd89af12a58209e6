"""Free rotation, downscale, subsample, shrink, an inpainter's patches: small pictures by hand, torchvision and Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tv
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from viewmill.augment import UnsupportedRecipe
from viewmill.augment.chance import Chance, Seat
from viewmill.augment.ops import Autoencode, Downscale, Inpaint, Op, Rotate, Shrink, Subsample, Warp
from viewmill.augment.render import apply_ops

ROWS = [[3.0, 70, 15, 200, 9, 31], [120, 4, 44, 90, 255, 17], [60, 81, 0, 33, 142, 7], [11, 230, 5, 66, 28, 99]]
PICTURE = torch.tensor(ROWS)[None, None]
FREE = Rotate(kind="free", range_deg=(-12.6, 12.6), filter="bilinear")
HALVES = ("first-half-of-batch", "second-half-of-batch")


def drawn(op: Op, size_hw: tuple[int, int] = (40, 60), n: int = 2000, copy: int = 0, **more: object) -> dict[str, np.ndarray]:
    seat = Seat("a", copy + 1, copy)
    chance = Chance(0, 0, np.arange(n), stream=op.name, seats=(seat,), **more)  # type: ignore[arg-type]
    return op.draw(chance, np.tile(size_hw, (n, 1)))[0]


def turned(angle_deg: float, images: Tensor = PICTURE) -> Tensor:
    params = {"apply": np.ones(len(images), bool), "angle_deg": np.full(len(images), angle_deg, np.float32)}
    return FREE.apply(images, params)  # type: ignore[return-value]


def picture_of(photograph: np.ndarray) -> Tensor:
    return torch.from_numpy(photograph).permute(2, 0, 1).float()


def pillow(photograph: np.ndarray, out_hw: tuple[int, int], filter: str) -> np.ndarray:
    return np.asarray(Image.fromarray(photograph).resize(out_hw[::-1], getattr(Image.Resampling, filter.upper())))


# Free rotation


def test_a_turn_by_nothing_or_by_half_moves_whole_pixels() -> None:
    assert torch.equal(turned(0), PICTURE)
    assert turned(180)[0, 0].tolist() == [row[::-1] for row in ROWS[::-1]]


def test_a_quarter_turn_is_counter_clockwise_within_the_same_size() -> None:
    """Pixel (y, x) comes from row x - 1, column 4 - y; the outermost columns come from outside."""
    assert turned(90)[0, 0].tolist() == [
        [0, 9, 255, 142, 28, 0], [0, 200, 90, 33, 66, 0], [0, 15, 44, 0, 5, 0], [0, 70, 4, 81, 230, 0]]


def test_a_turn_whose_cosine_is_four_fifths() -> None:
    """sin 0.6: pixel (1, 2), half a pixel left of and above the centre (1.5, 2.5), comes from row 0.8, column 2.4."""
    out = turned(float(np.degrees(np.arctan2(3, 4))))[0, 0]
    assert out[1, 2] == round(0.2 * (0.6 * 15 + 0.4 * 200) + 0.8 * (0.6 * 44 + 0.4 * 90))
    assert out[2, 2] == round(0.4 * (0.8 * 44 + 0.2 * 4) + 0.6 * (0.8 * 0 + 0.2 * 81))  # row 1.6, column 1.8
    assert out[0, 5] == round(0.6 * (0.2 * 17 + 0.8 * 7))  # row 1.8, column 5.4: what is beyond column 5 is 0


@pytest.mark.parametrize("angle_deg", [12.6, -12.6, 3.0, 47.0, -120.0])
def test_a_turn_is_torchvisions_to_half_a_level(photograph: np.ndarray, angle_deg: float) -> None:
    image = picture_of(photograph)[None]
    theirs = tv.rotate(image, angle_deg, InterpolationMode.BILINEAR)
    difference = (turned(angle_deg, image) - theirs).abs()
    assert difference.max() < 0.51 and difference.mean() > 0.1  # theirs is not rounded; outside it is 0 as well


def test_only_the_chosen_are_turned_each_by_its_own_angle(photograph: np.ndarray) -> None:
    image = picture_of(photograph)
    images = torch.stack([image, 255 - image, image])
    params = {"apply": np.array([True, False, True]), "angle_deg": np.array([10, 20, -5], np.float32)}
    out = FREE.apply(images, params)
    assert torch.equal(out[1], images[1]) and torch.equal(out[0], turned(10, images[:1])[0])
    assert torch.equal(out[2], turned(-5, images[2:])[0])
    for got, expected in zip(FREE.apply(list(images), params), out, strict=True):
        assert torch.equal(got, expected)


def test_angles_are_uniform_in_their_range_and_act_on_all_where_no_half_is_named() -> None:
    params = drawn(Rotate(kind="free", range_deg=(-10, 30), filter="bilinear"))
    angle = params["angle_deg"]
    assert angle.dtype == np.float32 and params["apply"].all()
    assert -10 <= angle.min() < -9.8 and 29.8 < angle.max() <= 30
    assert abs(angle.mean() - 10) < 4 * 40 / (12 * 2000) ** 0.5 and abs(angle.std() - 40 / 12**0.5) < 0.5


@pytest.mark.parametrize("op", [FREE, Autoencode(crop_px=8)])
def test_a_half_is_that_of_each_aligned_block_of_positions(op: Op) -> None:
    position = np.array([0, 2, 3, 4, 6, 7, 9, 10, 700, 702, 703, 5])  # blocks of 7: 3 in the first half, 4 in the second
    first = [True, True, False, False, False, True, True, False, True, True, False, False]
    for half, expected in zip(HALVES, (first, [not f for f in first]), strict=True):
        params = drawn(op.with_fields(applies_to=half), n=12, position=position, block=7)
        assert params["apply"].tolist() == expected
    with pytest.raises(ValueError, match="draw needs position"):
        drawn(op.with_fields(applies_to=HALVES[0]))


def test_other_filters_of_a_free_turn_are_refused_and_left_open_ones_are_named() -> None:
    bicubic = FREE.with_fields(filter="bicubic")
    for attempt in (lambda: drawn(bicubic), lambda: bicubic.apply(PICTURE, {})):
        with pytest.raises(UnsupportedRecipe, match="rendered as 'bilinear' only, got 'bicubic'"):
            attempt()
    assert Rotate(kind="free").unstated() == ("range_deg", "filter")


# Smaller images


def by_hand(down: list[list[float]], across: list[list[float]]) -> list[list[float]]:
    """Rows first, a whole level after each pass."""
    narrow = np.floor(np.array(ROWS) @ np.array(across).T + 0.5)
    return np.clip(np.floor(np.array(down) @ narrow + 0.5), 0, 255).tolist()  # type: ignore[no-any-return]


def test_two_by_two_pixels_become_one_under_a_triangle_of_four() -> None:
    """Pixel centres lie 1/4 and 3/4 of an output pixel from the output's: weights 3, 3, 1, 1 in 8, less what the edge cuts."""
    down = [[3 / 7, 3 / 7, 1 / 7, 0], [0, 1 / 7, 3 / 7, 3 / 7]]
    across = [[3 / 7, 3 / 7, 1 / 7, 0, 0, 0], [0, 1 / 8, 3 / 8, 3 / 8, 1 / 8, 0], [0, 0, 0, 1 / 7, 3 / 7, 3 / 7]]
    out = Downscale(factor=2, filter="bilinear").apply(PICTURE, {})
    assert out[0, 0].tolist() == by_hand(down, across)  # type: ignore[index]


@pytest.mark.parametrize("filter", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_a_downscale_is_pillows(photograph: np.ndarray, filter: str, factor: int) -> None:
    op = Downscale(factor=factor, filter=filter)
    expected = pillow(photograph, (61 // factor, 83 // factor), filter)
    image = picture_of(photograph)
    out = op.apply(torch.stack([image, 255 - image]), {})
    assert np.array_equal(out[0].permute(1, 2, 0), expected)
    assert torch.equal(op.apply([image], {})[0], out[0])


def test_a_random_filter_is_each_samples_own(photograph: np.ndarray) -> None:
    op, image = Downscale(factor=2, filter="random-choice"), picture_of(photograph)
    params = {"choice": np.array([2, 0, 1, 0], np.int8)}
    expected = [pillow(photograph, (30, 41), filter) for filter in ("lanczos", "bilinear", "bicubic", "bilinear")]
    for out in (op.apply(torch.stack([image] * 4), params), op.apply([image] * 4, params)):
        assert all(np.array_equal(o.permute(1, 2, 0), e) for o, e in zip(out, expected, strict=True))
    choice = drawn(op)["choice"]
    assert choice.dtype == np.int8 and (np.abs(np.bincount(choice) / 2000 - 1 / 3) < 4 * (2 / 9 / 2000) ** 0.5).all()
    assert drawn(op.with_fields(filter="bicubic")) == {}


def test_a_subsample_keeps_the_first_of_each_run() -> None:
    op = Subsample(stride=4)
    assert op.apply(PICTURE, {})[0].tolist() == [[[3, 9]]]
    assert [x.tolist() for x in Subsample(stride=3).apply([PICTURE[0]], {})] == [[[[3, 200], [11, 66]]]]
    assert torch.equal(Subsample(stride=1).apply(PICTURE, {}), PICTURE)  # type: ignore[arg-type]


@pytest.mark.parametrize(("op", "size_hw", "after"), [
    (Downscale(factor=2, filter="bilinear"), (5, 7), (2, 3)),
    (Downscale(factor=4, filter="random-choice"), (3, 9), (1, 2)),
    (Subsample(stride=4), (5, 8), (2, 2)),
    (Shrink(p=1.0, area_px=(1, 9), restore_px=6, filter="bilinear"), (5, 7), (6, 6)),
    (Shrink(p=0.0, area_px=(1, 9), restore_px=6, filter="bilinear"), (5, 7), (5, 7)),
    (FREE, (5, 7), (5, 7)),
    (Autoencode(crop_px=3), (5, 7), (5, 7)),
    (Inpaint(crop_px=3, hole_px=1, border_px=1, noise_std=0.1), (5, 7), (5, 7)),
])
def test_sizes_after_an_op_known_drawn_and_rendered(op: Op, size_hw: tuple[int, int], after: tuple[int, int]) -> None:
    assert op.output(size_hw, 2) == (after, 2)
    assert op.output(None, 3) == ((after if op.type == "shrink" and op.p else None), 3)  # type: ignore[attr-defined]
    params, drawn_hw = op.draw(Chance(0, 0, np.arange(3), stream=op.name), np.tile(size_hw, (3, 1)))
    assert np.asarray(drawn_hw).tolist() == [list(after)] * 3
    if not op.needs:
        assert op.apply(torch.zeros(3, 2, *size_hw), params).shape == (3, 2, *after)  # type: ignore[union-attr]


# To a small square and back


def test_a_picture_shrunk_to_one_pixel_comes_back_as_its_weighted_mean() -> None:
    """To one pixel each weight is the triangle about the middle: 5, 7, 7, 5 in 24 down and 7, 9, 11, 11, 9, 7 in 54 across."""
    mean = by_hand([[w / 24 for w in (5, 7, 7, 5)]], [[w / 54 for w in (7, 9, 11, 11, 9, 7)]])[0][0]
    op = Shrink(p=1.0, area_px=(1, 9), restore_px=2, filter="bilinear")
    out = op.apply(PICTURE, {"apply": np.array([True]), "side_px": np.array([1], np.int32)})
    assert out[0, 0].tolist() == [[mean] * 2] * 2  # type: ignore[index]


@pytest.mark.parametrize("filter", ["bilinear", "bicubic", "lanczos"])
def test_a_shrink_is_pillows_twice_on_the_chosen(photograph: np.ndarray, filter: str) -> None:
    photograph = photograph[5:45, 20:60]
    op, image = Shrink(p=0.33, area_px=(100, 9025), restore_px=40, filter=filter), picture_of(photograph)
    params = {"apply": np.array([True, False, True]), "side_px": np.array([10, 10, 33], np.int32)}
    out = op.apply(torch.stack([image] * 3), params)
    for i, side in ((0, 10), (2, 33)):
        expected = pillow(pillow(photograph, (side, side), filter), (40, 40), filter)
        assert np.array_equal(out[i].permute(1, 2, 0), expected)
    assert torch.equal(out[1], image)
    listed = op.apply([image] * 3, {name: torch.as_tensor(v) for name, v in params.items()})  # type: ignore[misc]
    assert all(torch.equal(a, b) for a, b in zip(listed, out, strict=True))


def test_the_small_square_has_a_uniform_area() -> None:
    params = drawn(Shrink(p=0.33, area_px=(100, 9025), restore_px=96, filter="bilinear"), (96, 96))
    side = params["side_px"]
    assert side.dtype == np.int32 and 10 <= side.min() <= 15 and 93 <= side.max() <= 95
    assert abs((side < 60).mean() - 3500 / 8925) < 4 * (0.24 / 2000) ** 0.5  # areas from 100 to 3600
    assert abs(params["apply"].mean() - 0.33) < 4 * (0.33 * 0.67 / 2000) ** 0.5


def test_the_small_square_is_never_larger_than_the_patch_nor_nothing() -> None:
    always = Shrink(p=1.0, area_px=(1, 400), restore_px=12, filter="bilinear")
    params = drawn(always, (12, 12))
    assert params["apply"].all() and params["side_px"].max() == 12 and params["side_px"].min() >= 1
    assert not drawn(always.with_fields(p=0.0), (12, 12))["apply"].any()


def test_patches_of_another_size_are_refused_where_only_some_are_restored() -> None:
    op = Shrink(p=0.33, area_px=(1, 400), restore_px=12, filter="bilinear")
    with pytest.raises(ValueError, match=r"restore_px .* got 12 for one of \(12, 16\) px; set it to that size"):
        drawn(op, (12, 16))


# What a method's inpainter does


INPAINT = Inpaint(crop_px=8, hole_px=4, border_px=2, noise_std=0.1)


@pytest.mark.parametrize("op", [Autoencode(crop_px=8), INPAINT])
def test_patches_lie_uniformly_in_the_image(op: Op) -> None:
    box = drawn(op, (20, 32))["box"]
    assert box.dtype == np.int32 and (box[:, 2:] == 8).all()
    for corner, last in ((box[:, 0], 12), (box[:, 1], 24)):
        counts = np.bincount(corner, minlength=last + 1)
        assert len(counts) == last + 1 and counts.min() > 0.5 * 2000 / (last + 1)
    assert drawn(op, (8, 8), n=5)["box"].tolist() == [[0, 0, 8, 8]] * 5
    with pytest.raises(ValueError, match=rf"{op.type}.crop_px .* got 8 for one of \(7, 32\) px; resize first"):
        drawn(op, (7, 32))


def test_a_shared_patch_is_that_of_all_copies_and_each_noise_its_own() -> None:
    shared = Autoencode(crop_px=8, scope="image", share="patch")
    boxes = [drawn(shared, copy=copy, share="patch", n=50)["box"] for copy in range(2)]
    assert np.array_equal(*boxes) and len(np.unique(boxes[0], axis=0)) > 40
    seeds = drawn(INPAINT)["seed"]
    assert seeds.dtype == np.int64 and len(np.unique(seeds)) == 2000
    assert (seeds >= 0).all() and 2**31 < seeds.max() < 2**32


@pytest.mark.parametrize("op", [Autoencode(crop_px=3), INPAINT])
def test_a_model_stands_in_or_is_asked_for(op: Op) -> None:
    params = {op.name: {"box": np.array([[1, 2, 3, 3]], np.int32)}}
    with pytest.raises(UnsupportedRecipe, match=f"{op.type} needs the method's inpainter"):
        apply_ops(PICTURE, [op], params)
    out = apply_ops(PICTURE, [op], params, {op.type: lambda images, drawn: images + torch.as_tensor(drawn["box"]).sum()})
    torch.testing.assert_close(out, (PICTURE + 9) / 255)


def test_a_hole_and_its_border_make_up_the_patch() -> None:
    with pytest.raises(ValueError, match=r"crop_px needs to be hole_px \+ 2 \* border_px, 42 \+ 2 \* 3, got 50"):
        Inpaint(crop_px=50, hole_px=42, border_px=3)
    assert Inpaint(crop_px=48, hole_px=42, border_px=3).unstated() == ("noise_std",)


# All of them


@pytest.mark.parametrize(("op", "params", "expected"), [
    (FREE, {"apply": [True, False], "angle_deg": [12.34, 5.0]}, ["rotate +12.3 deg", ""]),
    (Downscale(factor=2, filter="bicubic"), {}, ["downscale by 2, bicubic"]),
    (Downscale(factor=2, filter="random-choice"), {"choice": [2, 0]}, ["downscale by 2, lanczos", "downscale by 2, bilinear"]),
    (Subsample(stride=8), {}, ["1 pixel in 8x8"]),
    (Shrink(), {"apply": [True, False], "side_px": [31, 30]}, ["shrink to 31 px and back", ""]),
    (Autoencode(), {"apply": [True, False], "box": [[3, 4, 48, 48]] * 2}, ["autoencode 48x48 at 4,3", ""]),
    (Inpaint(), {"box": [[3, 4, 48, 48]]}, ["inpaint 48x48 at 4,3"]),
])
def test_captions(op: Op, params: dict[str, list[float]], expected: list[str]) -> None:
    arrays = {name: np.array(values) for name, values in params.items()}
    assert [op.caption(arrays, row) for row in range(len(expected))] == expected


@pytest.mark.parametrize("op", [
    FREE, Warp(points=5, shift_fraction=(-0.1, 0.1)), Downscale(factor=2, filter="random-choice"), Subsample(stride=3)])
def test_a_compiler_can_follow_what_needs_no_size_of_its_own(photograph: np.ndarray, op: Op) -> None:
    images = torch.stack([picture_of(photograph), 255 - picture_of(photograph)])
    params = {name: torch.as_tensor(values) for name, values in drawn(op, (61, 83), n=2).items()}
    compiled = torch.compile(op.apply, fullgraph=True, backend="eager")
    assert torch.equal(compiled(images, params), op.apply(images, params))  # type: ignore[arg-type]
