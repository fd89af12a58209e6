"""Posterize, sharpness, autocontrast, equalize, photometric and value jitter: small pictures by hand, Pillow on larger ones."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor
from viewmill.augment.chance import Chance
from viewmill.augment.ops import Autocontrast, Equalize, Op, Photometric, Posterize, Sharpness, ValueJitter
from viewmill.augment.ops.autocontrast import stretch
from viewmill.augment.ops.equalize import equalize
from viewmill.augment.ops.posterize import posterize
from viewmill.augment.ops.sharpness import sharpen, smooth

ROWS = [[10, 20, 30, 40, 50, 60], [60, 47, 40, 30, 20, 10], [10, 20, 90, 40, 50, 60], [15, 20, 30, 200, 50, 60]]
IMAGE = torch.tensor([ROWS, [[255 - v for v in row] for row in ROWS], [[v // 10 for v in row] for row in ROWS]]).float()[None]
ALL = ("posterize", "sharpness", "solarize", "autocontrast")
OPS = [Posterize(), Sharpness(), Autocontrast(), Equalize(), Photometric(p=0.5, choices=ALL, pick=2, strength=1.0)]
SIZES = [(61, 83), (4, 6), (1, 9), (7, 2), (3, 3), (16, 32)]


def drawn(op: Op, n: int = 4000) -> dict[str, np.ndarray]:
    return op.draw(Chance(0, 0, np.arange(n), stream=op.name), np.full((n, 2), 9))[0]


def pictures(photograph: np.ndarray) -> list[np.ndarray]:
    """Of many sizes; also of few levels, and with a channel of one."""
    cuts = [np.ascontiguousarray(photograph[:h, :w]) for h, w in SIZES]
    flat = cuts[1].copy()
    flat[..., 1] = 93
    return [*cuts, flat, cuts[0] // 64 * 37, np.full((5, 8, 3), 255, np.uint8), np.clip(cuts[0], 100, 101)]


def planes(picture: np.ndarray) -> Tensor:
    return torch.tensor(picture).permute(2, 0, 1)[None].float()


def array(images: Tensor) -> np.ndarray:
    return images[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.type)
def test_chance_zero_never_acts_and_one_always(op: Op) -> None:
    for p in (0.0, 1.0, 0.3):
        apply = drawn(op.with_fields(p=p))["apply"]
        assert abs(apply.mean() - p) <= 4 * (p * (1 - p) / len(apply)) ** 0.5
    params = drawn(op.with_fields(p=1.0), n=2)
    params["apply"][0] = False
    large = IMAGE.repeat(2, 1, 5, 4)  # fewer than 256 pixels cannot be equalized
    out = op.apply(large, params)
    assert torch.equal(out[0], large[0]) and not torch.equal(out[1], large[1])  # type: ignore[index]
    assert op.caption(params, 0) == "" and op.caption(params, 1)


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterize_equals_pillow(bits: int, photograph: np.ndarray) -> None:
    for picture in pictures(photograph):
        expected = np.asarray(ImageOps.posterize(Image.fromarray(picture), bits))
        assert np.array_equal(array(posterize(planes(picture), 2 ** (8 - bits))), expected)


def test_posterize_rounds_to_a_level_first() -> None:
    levels = torch.tensor([[[[127.4, 127.5, 128.0, 191.6, 254.9, 255.0]]]])
    out = Posterize(bits=2).apply(levels, {"apply": np.array([True])})
    assert out[0][0, 0].tolist() == [64, 128, 128, 192, 192, 192]


def test_more_bits_than_a_level_has_are_refused() -> None:
    with pytest.raises(ValueError, match=r"posterize\.bits needs a whole number from 1 to 8, got 9"):
        Posterize(bits=9)


def test_the_smoothed_image_by_hand() -> None:
    """At row 1, column 1: (10+20+30 + 60+40 + 10+20+90 + 5*47) / 13 = 39.6 -> 40; the border stays."""
    smoothed = smooth(IMAGE)[0, 0]
    assert smoothed[1, 1] == 40 and smoothed[2, 3] == np.floor((40 + 30 + 20 + 90 + 50 + 30 + 200 + 50 + 5 * 40) / 13 + 0.5)
    assert smoothed[0].tolist() == ROWS[0] and smoothed[:, 5].tolist() == [60, 10, 60, 60]


@pytest.mark.parametrize(("factor", "expected"), [(0.0, 40), (0.5, 43.5), (1.0, 47), (2.0, 54), (9.0, 103), (40.0, 255)])
def test_sharpness_goes_from_the_smoothed_image_through_the_image(factor: float, expected: float) -> None:
    params = {"apply": np.array([True]), "factor": np.array([factor], np.float32)}
    out = Sharpness().apply(IMAGE, params)[0][0]
    assert out[1, 1] == pytest.approx(expected, abs=1e-4) and torch.equal(out[0], IMAGE[0, 0, 0])
    assert Sharpness().caption(params, 0) == f"sharpness {factor:.2f}"


def test_smoothing_equals_pillow_and_sharpness_but_for_the_cut_off(photograph: np.ndarray) -> None:
    for picture in pictures(photograph):
        image = Image.fromarray(picture)
        assert np.array_equal(array(smooth(planes(picture))), np.asarray(image.filter(ImageFilter.SMOOTH)))
        for factor in (0.0, 0.3, 1.7, 3.0):
            d = array(sharpen(planes(picture), torch.tensor(factor))) - np.asarray(ImageEnhance.Sharpness(image).enhance(factor))
            assert d.min() >= -0.01 and d.max() < 1.01, factor


def test_sharpness_factor_is_uniform_in_its_range() -> None:
    factor = drawn(Sharpness(factor=(0.1, 1.9)))["factor"]
    assert 0.1 <= factor.min() < 0.11 and 1.89 < factor.max() <= 1.9 and factor.dtype == np.float32
    assert abs(factor.mean() - 1) < 4 * 1.8 / (12 * 4000) ** 0.5


def test_autocontrast_by_hand() -> None:
    out = Autocontrast().apply(IMAGE, {"apply": np.array([True])})[0]
    assert np.allclose(out[0, 1].tolist(), [(v - 10) * 255 / 190 for v in ROWS[1]], atol=1e-4)
    assert out[0].min() == 0 and out[0].max() == 255 and np.allclose(out[1].tolist(), (255 - out[0]).tolist(), atol=1e-4)


def test_autocontrast_equals_pillow_but_for_the_cut_off(photograph: np.ndarray) -> None:
    for picture in pictures(photograph):
        d = array(stretch(planes(picture))) - np.asarray(ImageOps.autocontrast(Image.fromarray(picture)))
        assert d.min() >= -0.01 and d.max() < 1.01


def test_autocontrast_stretches_no_float_noise() -> None:
    ramp = torch.linspace(0, 1, 24).reshape(1, 1, 4, 6)
    nearly_flat = 127.5 + 0.4 * ramp
    assert torch.equal(stretch(nearly_flat), nearly_flat)
    assert torch.allclose(stretch(50.25 + 0.75 * ramp), 255 * ramp, atol=0.01)  # neither are levels rounded


def test_equalize_by_hand() -> None:
    """520 pixels: 259 of level 3, 260 of 7, 1 of 200: step (520 - 1) // 255 = 2, so (1 + 0) // 2, (1 + 259) // 2,
    (1 + 519) // 2 = 260, which is held at 255."""
    levels = torch.tensor([3.0] * 259 + [7.0] * 260 + [200.0]).reshape(1, 1, 20, 26)
    out = Equalize().apply(levels, {"apply": np.array([True])})
    expected = [0.0] * 259 + [130.0] * 260 + [255.0]
    assert out[0].flatten().tolist() == expected
    assert torch.equal(equalize(levels + 0.3), out)  # type: ignore[arg-type]


def test_equalize_equals_pillow(photograph: np.ndarray) -> None:
    changed = 0
    for picture in pictures(photograph):
        expected = np.asarray(ImageOps.equalize(Image.fromarray(picture)))
        assert np.array_equal(array(equalize(planes(picture))), expected)
        changed += bool((expected != picture).any())
    assert changed >= 3


def test_too_few_pixels_to_equalize_are_only_rounded() -> None:
    assert torch.equal(equalize(IMAGE + 0.4), IMAGE)


def test_each_image_of_a_batch_has_its_own_histogram() -> None:
    batch = torch.cat([IMAGE.repeat(1, 1, 9, 9), 200 - IMAGE.repeat(1, 1, 9, 9).clamp(max=200)])
    for law in (stretch, equalize):
        assert torch.equal(law(batch), torch.cat([law(batch[:1]), law(batch[1:])]))


@pytest.mark.parametrize(("tone", "level", "expected", "says"), [
    ("posterize", 0.75, lambda i: ImageOps.posterize(i, 6), "posterize 6 bits"),  # 4 * 0.8 * 0.75 = 2.4
    ("posterize", 0.79, lambda i: ImageOps.posterize(i, 5), "posterize 5 bits"),  # 2.53
    ("posterize", 0.0, lambda i: i, "posterize 8 bits"),
    ("sharpness", 0.75, lambda i: ImageEnhance.Sharpness(i).enhance(1.36), "sharpness 1.36"),  # 1 + 0.9 * 0.8 * 0.5
    ("sharpness", 0.0, lambda i: ImageEnhance.Sharpness(i).enhance(0.28), "sharpness 0.28"),
    ("solarize", 0.75, lambda i: ImageOps.solarize(i, 102.4), "solarize 102"),  # 256 * (1 - 0.6)
    ("solarize", 0.0, lambda i: i, "solarize 256"),
    ("autocontrast", 0.3, ImageOps.autocontrast, "autocontrast"),
])
def test_photometric_maps_a_level_to_each_tone_s_own_parameter(tone, level, expected, says, photograph) -> None:  # type: ignore
    op = Photometric(p=1.0, choices=ALL, pick=1, strength=0.8)
    params = {"apply": np.array([True]), "choice": np.array([ALL.index(tone)], np.int8), "level": np.array([level], np.float32)}
    d = array(op.apply(planes(photograph), params)) - np.asarray(expected(Image.fromarray(photograph)))  # type: ignore[arg-type]
    exact = tone in ("posterize", "solarize")
    assert d.min() >= -0.01 and d.max() < (0.01 if exact else 1.01)
    assert op.caption(params, 0) == says


def test_photometric_applies_its_choices_in_the_drawn_order(photograph: np.ndarray) -> None:
    op = Photometric(p=1.0, choices=("solarize", "posterize"), pick=2, strength=1.0)
    params = {"apply": np.array([True, True]), "choice": np.array([[0, 1], [1, 0]], np.int8),
              "level": np.array([[0.5, 1.0], [1.0, 0.5]], np.float32)}  # threshold 128, 4 bits
    image = Image.fromarray(photograph)
    first = ImageOps.posterize(ImageOps.solarize(image, 128), 4)
    second = ImageOps.solarize(ImageOps.posterize(image, 4), 128)
    out = op.apply(planes(photograph).repeat(2, 1, 1, 1), params)
    assert np.array_equal(array(out[:1]), np.asarray(first))  # type: ignore[arg-type]
    assert np.array_equal(array(out[1:]), np.asarray(second)) and first != second  # type: ignore[arg-type]
    assert op.caption(params, 1) == "posterize 4 bits, solarize 128"


def test_photometric_picks_every_order_with_the_same_chance() -> None:
    n = 12_000
    params = drawn(Photometric(p=0.5, choices=ALL, pick=2, strength=1.0), n)
    counts = Counter(map(tuple, params["choice"].tolist()))
    assert set(counts) == set(permutations(range(4), 2)) and params["choice"].dtype == np.int8
    assert all(abs(count - n / 12) < 4.5 * (n / 12 * 11 / 12) ** 0.5 for count in counts.values())
    level = params["level"]
    assert level.shape == (n, 2) and level.dtype == np.float32 and level.min() >= 0 and level.max() <= 1
    assert abs(level.mean() - 0.5) < 4 / (12 * 2 * n) ** 0.5 and abs(np.corrcoef(level.T)[0, 1]) < 4 / n**0.5
    for number in range(4):  # the level knows nothing of what was picked
        of_one = level[:, 0][params["choice"][:, 0] == number]
        assert abs(of_one.mean() - 0.5) < 4 / (12 * len(of_one)) ** 0.5
    one = drawn(Photometric(p=0.5, choices=ALL, pick=1, strength=1.0), 9)
    assert one["choice"].shape == one["level"].shape == (9,)


def test_photometric_keeps_what_its_source_leaves_open() -> None:
    op = Photometric(p=0.66, choices=ALL, pick=None, strength=None)
    assert op.unstated() == ("pick", "strength")
    with pytest.raises(ValueError, match="no 'posterise'; did you mean 'posterize'"):
        Photometric(choices=("posterise",))
    with pytest.raises(ValueError, match="at least pick=3 names, each once, got"):
        Photometric(choices=("posterize", "solarize"), pick=3)


def test_value_jitter_shifts_each_channel_and_clamps() -> None:
    params = {"shift": np.array([[-20, 30, 1.5]], np.float32)}
    out = ValueJitter(range=(-2, 1), value_scale=255).apply(IMAGE, params)[0]
    assert out[0, 1].tolist() == [40, 27, 20, 10, 0, 0] and out[1, 0].tolist() == [255, 255, 255, 245, 235, 225]
    assert out[2, 3].tolist() == [2.5, 3.5, 4.5, 21.5, 6.5, 7.5]
    assert ValueJitter().caption(params, 0) == "shift -20,+30,+1.5"


def test_value_jitter_between_whole_numbers_is_whole() -> None:
    shift = drawn(ValueJitter(range=(-2, 1), value_scale=255))["shift"]
    assert shift.shape == (4000, 3) and shift.dtype == np.float32
    for channel in shift.T:
        values, counts = np.unique(channel, return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1] and np.abs(counts - 1000).max() < 4.5 * 750**0.5
    assert np.abs(np.corrcoef(shift.T) - np.eye(3)).max() < 4 / 4000**0.5
    assert set(drawn(ValueJitter(range=(-1, 1), value_scale=51))["shift"].flatten().tolist()) == {-5, 0, 5}


def test_value_jitter_on_the_unit_scale_is_continuous() -> None:
    shift = drawn(ValueJitter(range=(-0.5, 0.25), value_scale=1))["shift"]
    assert -127.5 <= shift.min() < -127 and 63.2 < shift.max() <= 63.75 and len(np.unique(shift)) > 11_000
    assert abs(shift.mean() + 31.875) < 4 * 191.25 / (12 * 12_000) ** 0.5
    with pytest.raises(ValueError, match="value_scale needs a number > 0"):
        ValueJitter(value_scale=0)
