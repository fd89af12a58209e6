"""Jitter, grayscale, solarize, clip, normalize and the flips: values worked by hand on one small picture."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from viewmill.augment import UnsupportedRecipe
from viewmill.augment.chance import Chance, Seat
from viewmill.augment.ops import Clip, Flip, Grayscale, Jitter, Normalize, Op, Rotate, Solarize

PIXELS = [[(200.0, 100.0, 50.0), (10.0, 250.0, 30.0)]]  # one row, two pixels
IMAGE = torch.tensor(PIXELS).permute(2, 0, 1)[None]
LUMA = [0.299 * 200 + 0.587 * 100 + 0.114 * 50, 0.299 * 10 + 0.587 * 250 + 0.114 * 30]  # 124.2, 153.16


def jitter(order: str = "bcsh", brightness: float = 1, contrast: float = 1, saturation: float = 1, hue_turns: float = 0,
           apply: bool = True, **fields: object) -> list[list[float]]:
    """The two pixels after the steps named in order; the others have strength 0."""
    strengths = {name: (0.4 if name[0] in order else 0.0) for name in ("brightness", "contrast", "saturation", "hue_turns")}
    op = Jitter(**{**strengths, **fields})  # type: ignore[arg-type]
    steps = ["bcsh".index(c) for c in order]
    params = {"apply": np.array([apply]), "order": np.array([steps + [i for i in range(4) if i not in steps]], np.int8)}
    for name, value in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation), ("hue_turns", hue_turns)):
        params[name] = np.array([value], np.float32)
    out = op.apply(IMAGE, params)
    return out[0, :, 0].T.tolist()  # type: ignore[index, no-any-return]


def close(got: list[list[float]], expected: list[list[float]], within: float = 1e-3) -> bool:
    return np.allclose(got, expected, atol=within, rtol=0)


def test_brightness_scales_and_clamps() -> None:
    assert close(jitter("b", brightness=1.5), [[255, 150, 75], [15, 255, 45]])


def test_additive_brightness_shifts_by_a_fraction_of_the_scale() -> None:
    assert close(jitter("b", brightness=-0.2, brightness_law="additive"), [[149, 49, 0], [0, 199, 0]])


def test_contrast_pivots_on_the_rounded_mean_luma() -> None:
    pivot = np.floor(np.mean(LUMA) + 0.5)  # 138.68 -> 139
    assert close(jitter("c", contrast=0.5), [[pivot / 2 + v / 2 for v in pixel] for pixel in PIXELS[0]])


def test_contrast_about_each_channels_own_mean() -> None:
    means = [105, 175, 40]
    assert close(jitter("c", contrast=0.5, contrast_pivot="channel-mean"),
                 [[m + 0.5 * (v - m) for v, m in zip(pixel, means, strict=True)] for pixel in PIXELS[0]])


def test_saturation_blends_with_the_gray_image() -> None:
    assert close(jitter("s", saturation=0.5), [[y / 2 + v / 2 for v in pixel] for pixel, y in zip(PIXELS[0], LUMA, strict=True)])


def test_hsv_saturation_is_held_at_one() -> None:
    expected = []
    for pixel in PIXELS[0]:
        h, s, v = colorsys.rgb_to_hsv(*(x / 255 for x in pixel))
        expected.append([255 * x for x in colorsys.hsv_to_rgb(h, min(1, 1.2 * s), v)])
    assert close(jitter("s", saturation=1.2, saturation_law="hsv-scale"), expected)
    assert close(jitter("s", saturation=9.0, saturation_law="hsv-scale")[:1], [[200, 200 * (1 - 1) + 200 / 3, 0]], within=0.01)


@pytest.mark.parametrize("turns", [0.0, 0.1, -0.2, 0.5])
def test_hue_turns_in_pillows_steps(turns: float) -> None:
    """h' = ((255 h + int(255 turns) - 0.5) mod 256) / 255, by colorsys."""
    expected = []
    for pixel in PIXELS[0]:
        h, s, v = colorsys.rgb_to_hsv(*(x / 255 for x in pixel))
        h = (255 * h + int(255 * turns) - 0.5) % 256 / 255
        expected.append([255 * x for x in colorsys.hsv_to_rgb(h, s, v)])
    assert close(jitter("h", hue_turns=turns), expected, within=0.02)


def test_gray_pixels_keep_their_value_under_hue() -> None:
    gray = torch.full((1, 3, 1, 2), 77.0)
    params = {"apply": np.array([True]), "order": np.array([[3, 0, 1, 2]]), "hue_turns": np.array([0.3], np.float32),
              **{k: np.array([1.0], np.float32) for k in ("brightness", "contrast", "saturation")}}
    assert torch.equal(Jitter().apply(gray, params), gray)  # type: ignore[arg-type]


def test_order_matters_because_each_step_clamps() -> None:
    first, last = jitter("bs", brightness=1.8, saturation=0.5), jitter("sb", brightness=1.8, saturation=0.5)
    assert abs(first[0][0] - last[0][0]) > 5
    luma = 0.299 * 255 + 0.587 * 180 + 0.114 * 90  # brightness clamps 360 to 255 first
    assert np.isclose(first[0][0], luma / 2 + 255 / 2, atol=1e-3)


def test_clamp_at_the_end_lets_a_later_step_bring_values_back() -> None:
    end = jitter("bs", brightness=1.8, saturation=0.5, clamp="end")
    luma = 0.299 * 360 + 0.587 * 180 + 0.114 * 90
    assert np.isclose(end[0][1], luma / 2 + 180 / 2, atol=1e-3)


def test_each_sample_has_its_own_order_and_coin() -> None:
    batch = IMAGE.repeat(3, 1, 1, 1)
    params = {"apply": np.array([True, True, False]), "order": np.array([[0, 2, 1, 3], [2, 0, 1, 3], [0, 2, 1, 3]]),
              "brightness": np.array([1.8] * 3, np.float32), "saturation": np.array([0.5] * 3, np.float32),
              "contrast": np.ones(3, np.float32), "hue_turns": np.zeros(3, np.float32)}
    out = Jitter(contrast=0, hue_turns=0).apply(batch, params)
    assert close(out[0, :, 0].T.tolist(), jitter("bs", brightness=1.8, saturation=0.5))  # type: ignore[index]
    assert close(out[1, :, 0].T.tolist(), jitter("sb", brightness=1.8, saturation=0.5))  # type: ignore[index]
    assert torch.equal(out[2], IMAGE[0])  # type: ignore[index]


def test_grayscale_by_its_weights() -> None:
    out = Grayscale(weights=(0.5, 0.25, 0.25)).apply(IMAGE.repeat(2, 1, 1, 1), {"apply": np.array([True, False])})
    assert close(out[0, :, 0].T.tolist(), [[137.5] * 3, [75.0] * 3])  # type: ignore[index]
    assert torch.equal(out[1], IMAGE[0])  # type: ignore[index]


@pytest.mark.parametrize(("op", "expected"), [
    (Solarize(threshold=100), [[55, 155, 50], [10, 5, 30]]),
    (Solarize(threshold=0.5, scale="unit"), [[55, 100, 50], [10, 5, 30]]),
    (Clip(lo=0.1, hi=0.5), [[127.5, 100, 50], [25.5, 127.5, 30]]),
    (Normalize(kind="none"), [[200 / 255, 100 / 255, 50 / 255], [10 / 255, 250 / 255, 30 / 255]]),
    (Normalize(kind="range", range=(-1, 1)), [[v / 127.5 - 1 for v in p] for p in PIXELS[0]]),
    (Normalize(kind="affine", gain=0.8, offset=0.1), [[0.8 * v / 255 + 0.1 for v in p] for p in PIXELS[0]]),
    (Normalize(kind="mean-std", mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3)),
     [[(v / 255 - m) / s for v, m, s in zip(p, (0.5, 0.4, 0.3), (0.1, 0.2, 0.3), strict=True)] for p in PIXELS[0]]),
])
def test_pointwise_ops_by_hand(op: Op, expected: list[list[float]]) -> None:
    out = op.apply(IMAGE, {"apply": np.array([True])})
    assert close(out[0, :, 0].T.tolist(), expected, within=1e-4)  # type: ignore[index]


def test_solarize_that_never_acts_needs_no_threshold() -> None:
    op = Solarize(p=0.0, threshold=None)
    assert op.unstated() == () and Solarize(threshold=None).unstated() == ("threshold",)
    assert torch.equal(op.apply(IMAGE, {"apply": np.array([False])}), IMAGE)  # type: ignore[arg-type]


def test_flip_mirrors_columns_of_the_chosen() -> None:
    x = torch.arange(24.0).reshape(2, 1, 3, 4)
    out = Flip().apply(x, {"apply": np.array([True, False])})
    assert out[0, 0].tolist() == [[3, 2, 1, 0], [7, 6, 5, 4], [11, 10, 9, 8]] and torch.equal(out[1], x[1])  # type: ignore[index]


def test_quarter_turns_are_counter_clockwise() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]).repeat(4, 1, 1, 1)
    out = Rotate(angles_deg=(0, 90, 180, 270)).apply(x, {"quarter_turns": np.arange(4)})
    assert [o[0].tolist() for o in out] == [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]


def test_enumerated_turns_follow_the_copies_and_the_direction() -> None:
    for direction, turns in (("counter-clockwise", [0, 1, 2, 3]), ("clockwise", [0, 3, 2, 1])):
        op = Rotate(angles_deg=(0, 90, 180, 270), pick="enumerate", direction=direction)
        chances = [Chance(0, 0, np.arange(2), seats=(Seat(copy=c),)) for c in range(4)]
        drawn = [op.draw(chance, np.full((2, 2), 9))[0]["quarter_turns"].tolist() for chance in chances]
        assert drawn == [[t, t] for t in turns]


def test_a_copy_without_an_angle_is_refused() -> None:
    op = Rotate(angles_deg=(0, 90), pick="enumerate", direction="clockwise")
    with pytest.raises(ValueError, match="an angle for each copy of the view, got 2 for copy 2"):
        op.draw(Chance(0, 0, np.arange(2), seats=(Seat(copy=2),)), np.full((2, 2), 9))


def test_a_normalization_by_the_view_is_no_gain_and_offset() -> None:
    with pytest.raises(UnsupportedRecipe, match="'tile-mean' depends on all pixels of a view"):
        Normalize(kind="tile-mean").affine()
