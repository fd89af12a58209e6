"""Adjustments of sixteen pixels at a time against NumPy's arithmetic, and the standard library's circle of hues."""

from __future__ import annotations

import colorsys
from typing import Any

import numba
import numpy as np
import pytest
from viewmill.pipelines.engines.cpu import sweep
from viewmill.pipelines.engines.cpu.pointwise import sixths
from viewmill.pipelines.engines.cpu.vectors import address

LUMA = np.array([0.299, 0.587, 0.114])


@numba.njit
def through(as_bytes: Any, levels: Any, out: Any, kept: bool, codes: Any, constants: Any, n: int, sums: Any) -> None:
    place = address(out) if kept else 0
    if as_bytes.size > 0:
        sweep.sweep_bytes(address(as_bytes), as_bytes.strides[0], place, out.strides[0], address(codes), address(constants),
                          codes.size, n, address(sums))
    else:
        sweep.sweep_floats(address(levels), levels.strides[0], place, out.strides[0], address(codes), address(constants),
                           codes.size, n, address(sums))


@numba.njit
def angle(turns: float) -> float:
    return sixths(turns)


def swept(pixels: np.ndarray, *table: tuple[int, tuple[float, ...]], n: int | None = None, kept: bool = True) -> Any:
    """pixels (3, N), N a multiple of 16 -> what came out (3, N), and the three sums."""
    codes, constants = np.array([code for code, _ in table], np.int64), np.zeros((len(table), sweep.CONSTANTS), np.float32)
    for row, (_, given) in enumerate(table):
        constants[row, : len(given)] = given
    out, sums = np.full(pixels.shape, -7, np.float32), np.zeros(3, np.int64)
    none = np.zeros((3, 0), np.uint8), np.zeros((3, 0), np.float32)
    given = (pixels, none[1]) if pixels.dtype == np.uint8 else (none[0], pixels)
    through(*given, out, kept, codes, constants, pixels.shape[1] if n is None else n, sums)
    return out, sums


@pytest.fixture(params=[np.uint8, np.float32])
def pixels(request: pytest.FixtureRequest) -> np.ndarray:
    found = np.random.default_rng(3).integers(0, 256, (3, 64)).astype(request.param)
    found[:, :9] = found[:1, :9]  # gray
    found[1, 9:20] = found[0, 9:20]  # two channels alike
    return found


@pytest.mark.parametrize("code, constants, law", [
    (sweep.SCALE, (1.4, -9, 0, 255), lambda v: np.clip(v * 1.4 - 9, 0, 255)),
    (sweep.CONTRAST, (1.5, 100, 90, 80, 0, 255),
     lambda v: np.clip([[100], [90], [80]] + 1.5 * (v - [[100], [90], [80]]), 0, 255)),
    (sweep.SATURATE, (0.3, 0, 255), lambda v: LUMA @ v + 0.3 * (v - LUMA @ v)),
    (sweep.SATURATE, (1.9, -np.inf, np.inf), lambda v: LUMA @ v + 1.9 * (v - LUMA @ v)),
    (sweep.GRAY, (0.2, 0.3, 0.5), lambda v: np.broadcast_to(np.array([0.2, 0.3, 0.5]) @ v, v.shape)),
    (sweep.SOLARIZE, (128,), lambda v: np.where(v >= 128, 255 - v, v)),
    (sweep.AFFINE, (1, 2, 3, 4, 5, 6), lambda v: v * [[1], [2], [3]] + [[4], [5], [6]]),
    (sweep.NOTHING, (), lambda v: v),
])
def test_an_adjustment_is_what_its_formula_says(pixels: np.ndarray, code: int, constants: tuple[float, ...], law: Any) -> None:
    out, _ = swept(pixels, (code, constants))
    assert np.allclose(out, law(pixels.astype(np.float64)), atol=1e-3)


def test_saturation_of_hsv_is_held_at_one(pixels: np.ndarray) -> None:
    out, _ = swept(pixels, (sweep.SATURATE_HSV, (2.5, 0, 255)))
    for given, got in zip(pixels.T / 255, out.T / 255, strict=True):
        h, s, v = colorsys.rgb_to_hsv(*given.tolist())
        assert np.allclose(got, colorsys.hsv_to_rgb(h, min(2.5 * s, 1), v), atol=1e-4)


@pytest.mark.parametrize("turns", [-0.5, -0.2, -0.003, 0.0, 0.1, 0.25, 0.5])
def test_hue_turns_on_pillows_circle(pixels: np.ndarray, turns: float) -> None:
    """h' = ((255 h + int(255 turns) - 0.5) mod 256) / 255, which may pass 1 by 1/255: there a turn begins anew."""
    a = angle(turns)
    out, _ = swept(pixels, (sweep.HUE, (a, a + 2, a + 4, a + 6)))
    for given, got in zip(pixels.T / 255, out.T / 255, strict=True):
        h, s, v = colorsys.rgb_to_hsv(*given.tolist())
        turned = (255 * h + int(255 * turns) - 0.5) % 256 / 255
        if min(turned, 256 / 255 - turned, abs(turned - 1)) < 1e-6:
            continue  # where a turn begins, rounding decides
        assert np.allclose(got, colorsys.hsv_to_rgb(turned % 1, s, v), atol=1e-4)


def test_adjustments_follow_each_other_in_the_order_of_the_table(pixels: np.ndarray) -> None:
    bright, inverted = (sweep.SCALE, (1.5, 0, 0, 255)), (sweep.SCALE, (-1, 255, 0, 255))
    v = pixels.astype(np.float64)
    assert np.allclose(swept(pixels, bright, inverted)[0], 255 - np.minimum(1.5 * v, 255), atol=1e-3)
    assert np.allclose(swept(pixels, inverted, bright)[0], np.minimum(1.5 * (255 - v), 255), atol=1e-3)


@pytest.mark.parametrize("n", [64, 55, 16, 1])
def test_sums_are_of_n_pixels_and_nothing_need_be_kept(pixels: np.ndarray, n: int) -> None:
    out, sums = swept(pixels, (sweep.LEVEL_SUMS, ()), n=n, kept=False)
    assert np.array_equal(sums, 4096 * pixels[:, :n].astype(np.int64).sum(1)) and (out == -7).all()
    _, sums = swept(pixels, (sweep.LUMA_SUM, ()), n=n, kept=False)
    assert abs(sums[0] / 4096 - (LUMA @ pixels[:, :n]).sum()) < 0.01 * n and sums[1] == sums[2] == 0
