"""Crop laws: boxes that fit, areas that published code gives, and pixels by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from viewmill.augment.chance import Chance, Seat
from viewmill.augment.ops import CenterCrop, Crop, RandomCrop, Resize
from viewmill.augment.ops.resample import resize, vertical_first

LAWS = {
    "torchvision-retry": Crop(size_px=8),
    "clamp": Crop(size_px=8, law="clamp", attempts=1, fallback="none"),
    "tf-distorted-box": Crop(size_px=8, law="tf-distorted-box", min_covered=0.1, attempts=100, fallback="whole"),
}


def boxes(op: object, size_hw: tuple[int, int], n: int = 64, seed: int = 0) -> np.ndarray:
    chance = Chance(seed, 0, np.arange(n), stream="crop", seats=(Seat("a"),))
    params, _ = op.draw(chance, np.tile(size_hw, (n, 1)))  # type: ignore[attr-defined]
    return params["box"]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(LAWS)), st.integers(1, 700), st.integers(1, 700), st.integers(0, 2**31))
def test_every_box_lies_in_the_image(law: str, height: int, width: int, seed: int) -> None:
    top, left, h, w = boxes(LAWS[law], (height, width), seed=seed).T
    assert (h >= 1).all() and (w >= 1).all() and (top >= 0).all() and (left >= 0).all()
    assert (top + h <= height).all() and (left + w <= width).all()


@pytest.mark.parametrize(("law", "mean_area"), [("torchvision-retry", 0.43), ("clamp", 0.52), ("tf-distorted-box", 0.39)])
def test_mean_area_on_a_500_by_375_image_is_that_of_the_published_laws(law: str, mean_area: float) -> None:
    box = boxes(LAWS[law], (375, 500), n=6000)
    area = box[:, 2] * box[:, 3] / (375 * 500)
    assert abs(area.mean() - mean_area) < 0.012
    assert area.min() >= (0.0999 if law == "tf-distorted-box" else 0.078)


def test_ratio_is_log_uniform_where_nothing_is_cut() -> None:
    box = boxes(Crop(size_px=8, scale=(0.05, 0.2)), (1000, 1000), n=4000)
    log_ratio = np.log(box[:, 3] / box[:, 2]) / np.log(4 / 3)
    assert abs(log_ratio.mean()) < 0.04 and abs(np.abs(log_ratio).mean() - 0.5) < 0.02


def test_places_are_uniform_and_reach_both_borders() -> None:
    top, left, h, w = boxes(Crop(size_px=8, scale=(0.3, 0.4)), (40, 40), n=6000).T
    for place in (top / (40 - h), left / (40 - w)):
        assert place.min() == 0 and place.max() == 1 and abs(place.mean() - 0.5) < 0.02


@pytest.mark.parametrize(("size_hw", "box"), [
    ((10, 400), [0, 193, 10, 13]),   # wider than 4/3: full height, width round(10 * 4/3), centred
    ((400, 10), [193, 0, 13, 10]),   # narrower than 3/4: full width, height round(10 / 0.75)
])
def test_fallback_is_the_largest_allowed_central_box(size_hw: tuple[int, int], box: list[int]) -> None:
    tall = Crop(size_px=8, scale=(1.0, 1.0))  # the whole area never fits at an allowed ratio
    assert boxes(tall, size_hw, n=3).tolist() == [box] * 3


def test_fallback_none_says_what_did_not_fit() -> None:
    with pytest.raises(ValueError, match=r"no box of scale \(1.0, 1.0\) .* fits an image of \(10, 400\) px after 10 attempts"):
        boxes(Crop(size_px=8, scale=(1.0, 1.0), fallback="none"), (10, 400))


def test_lanczos_without_antialias_is_refused() -> None:
    op = Crop(size_px=8, filter="lanczos", antialias=False, cubic_a=-0.5)
    with pytest.raises(ValueError, match="needs antialias true"):
        op.apply([torch.zeros(3, 9, 9)], {"box": np.array([[0, 0, 9, 9]])})


@pytest.mark.parametrize("filter", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("out_hw", [(20, 31), (61, 20), (97, 131), (1, 1), (61, 83), (7, 83), (3, 200)])
def test_a_resize_equals_pillow_byte_for_byte(photograph: np.ndarray, filter: str, out_hw: tuple[int, int]) -> None:
    theirs = Image.fromarray(photograph).resize(out_hw[::-1], getattr(Image.Resampling, filter.upper()))
    ours = resize(torch.from_numpy(photograph).permute(2, 0, 1), out_hw, filter, antialias=True)
    assert np.array_equal(ours.permute(1, 2, 0).numpy(), np.asarray(theirs))


def test_bilinear_halving_by_hand() -> None:
    """Shrinking (1, 4) to (1, 2): the triangle of half-width 2 round 1 and 3 covers three pixels, cut at the border.

    Left: distances 0.5, 0.5, 1.5 from centre 1, so weights 0.75, 0.75, 0.25 over 1.75:
    (0.75 * 10 + 0.75 * 20 + 0.25 * 60) / 1.75 = 21.43.
    """
    row = torch.tensor([10.0, 20.0, 60.0, 200.0]).reshape(1, 1, 4)
    right = (0.25 * 20 + 0.75 * 60 + 0.75 * 200) / 1.75
    assert resize(row, (1, 2), "bilinear", antialias=True).flatten().tolist() == [21.0, round(right)]


def test_without_antialias_two_pixels_are_read() -> None:
    """Half-pixel centres: output 0 of 2 lies at source 0.5, output 1 at 2.5."""
    row = torch.tensor([10.0, 20.0, 60.0, 200.0]).reshape(1, 1, 4)
    assert resize(row, (1, 2), "bilinear", antialias=False).flatten().tolist() == [15.0, 130.0]


def test_without_antialias_bicubic_equals_torch_where_a_is_torchs(photograph: np.ndarray) -> None:
    image = torch.from_numpy(photograph).permute(2, 0, 1)
    theirs = torch.nn.functional.interpolate(image[None].double(), (40, 50), mode="bicubic", align_corners=False)[0]
    ours = resize(image, (40, 50), "bicubic", antialias=False, cubic_a=-0.75)
    assert (ours - theirs.clamp(0, 255)).abs().max() <= 0.5 + 1e-6


@pytest.mark.parametrize(("box", "out", "first"), [
    ((360, 240), (97, 131), True), ((300, 240), (224, 224), True), ((240, 300), (224, 224), False),
    ((224, 224), (224, 224), False), ((225, 100), (224, 224), True)])
def test_pass_order_is_pillow_13s(box: tuple[int, int], out: tuple[int, int], first: bool) -> None:
    assert vertical_first(box, out) is first


def test_random_crop_pads_with_zeros_and_reaches_every_corner() -> None:
    op = RandomCrop(size_px=4, pad_px=2)
    box = boxes(op, (4, 6), n=500)
    assert set(box[:, 0]) == set(range(-2, 3)) and set(box[:, 1]) == set(range(-2, 5))
    image = torch.arange(1, 25.0).reshape(1, 4, 6)
    out = op.apply([image], {"box": np.array([[-2, -1, 4, 4]], np.int32)})
    assert out[0, 0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 2, 3], [0, 7, 8, 9]]


def test_random_crop_of_a_small_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a window of \(9, 9\) px does not fit an image of \(4, 6\) px padded by 2"):
        boxes(RandomCrop(size_px=9, pad_px=2), (4, 6))


@pytest.mark.parametrize(("size_hw", "size"), [((375, 500), (256, 341)), ((500, 333), (384, 256)), ((64, 64), (256, 256))])
def test_resize_to_the_short_side_cuts_the_long_one_to_whole_pixels(size_hw: tuple[int, int], size: tuple[int, int]) -> None:
    params, after = Resize(side_px=256).draw(Chance(0, 0, np.arange(1)), np.array([size_hw]))
    assert params["size"][0].tolist() == list(size) == after[0].tolist()


def test_center_crop_by_hand() -> None:
    params, _ = CenterCrop(size_px=3).draw(Chance(0, 0, np.arange(1)), np.array([[6, 9]]))
    assert params["box"][0].tolist() == [2, 3, 3, 3]  # (6 - 3) / 2 = 1.5 rounds to the even 2, as torchvision's round does
    params, _ = CenterCrop(fraction=0.5, of="short-side").draw(Chance(0, 0, np.arange(1)), np.array([[8, 20]]))
    assert params["box"][0].tolist() == [2, 8, 4, 4]


@pytest.mark.parametrize("filter", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("box", "out_hw"), [
    ((3.5, 5.25, 40.125, 60.75), (9, 20)), ((0.0, 0.875, 61.0, 21.125), (10, 9)), ((10.5, 0.0, 30.0, 83.0), (30, 17)),
    ((0.125, 2.0, 60.875, 8.0), (7, 8)), ((20.75, 30.25, 3.5, 2.5), (9, 31)), ((4.0, 6.0, 50.0, 70.0), (13, 11)),
])
def test_a_box_between_pixels_equals_pillows_within_the_pixels_that_it_touches(
        photograph: np.ndarray, filter: str, box: tuple[float, ...], out_hw: tuple[int, int]) -> None:
    """Pillow reads beyond its box, up to the image's border: so it is given no more than the touched pixels."""
    top, left, height, width = box
    y, x, bottom, right = int(np.floor(top)), int(np.floor(left)), int(np.ceil(top + height)), int(np.ceil(left + width))
    theirs = Image.fromarray(photograph[y:bottom, x:right]).resize(
        out_hw[::-1], getattr(Image.Resampling, filter.upper()), (left - x, top - y, left - x + width, top - y + height))
    levels = torch.from_numpy(photograph).permute(2, 0, 1).float()
    op = Crop(size_px=out_hw, filter=filter)
    for images in ([levels], levels[None]):
        ours = op.apply(images, {"box": np.array([box])})
        assert np.array_equal(ours[0].permute(1, 2, 0).numpy(), np.asarray(theirs))
    traced = torch.compile(op.apply, fullgraph=True, backend="eager")
    dense = traced(levels[None], {"box": torch.tensor([box], dtype=torch.float64)})
    apart = (dense[0] - ours[0]).abs()  # type: ignore[union-attr]
    assert apart.max() <= 1 and (apart > 0).float().mean() < 1e-2
    torch.compiler.reset()


def test_a_box_between_pixels_by_hand() -> None:
    """[1.5, 3.5) of four pixels as one: centre 2.5, triangle of half-width 2, pixels 1 to 3 only, at distances 1, 0 and 1."""
    row = torch.tensor([10.0, 20.0, 60.0, 200.0]).reshape(1, 1, 4)
    out = Crop(size_px=1, filter="bilinear").apply([row], {"box": np.array([[0.0, 1.5, 1.0, 2.0]])})
    assert out.flatten().tolist() == [round((0.5 * 20 + 60 + 0.5 * 200) / 2)]
