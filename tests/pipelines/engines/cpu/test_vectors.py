"""The vector loops against NumPy, at lengths that no number of lanes divides, with nothing written beside their rows."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from viewmill.pipelines.engines.cpu import vectors

LENGTHS = (1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 96, 98)


@numba.njit
def call_transpose(source: Any, top: int, left: int, rows: int, columns: int, out: Any) -> None:
    vectors.transpose(source, top, left, rows, columns, out)


@numba.njit
def call_weighted(source: Any, weights: Any, out: Any, n: int) -> None:
    begin, stride = vectors.address(source) + 3, source.strides[0]
    taps = vectors.address(weights)
    apart = weights.strides[0]
    vectors.weighted_bytes(begin, stride, weights.size, taps, apart, vectors.address(out) + 1, n)


@numba.njit
def call_mirrored_sum(source: Any, row: int, column: int, stride: int, reach: int, weights: Any, out: Any, n: int) -> None:
    centre = vectors.address(source) + row * source.strides[0] + column * 4
    vectors.mirrored_sum(centre, stride, reach, vectors.address(weights), vectors.address(out) + 4, n)


@numba.njit
def call_four_pixels(line: Any, offsets: Any, weights: Any, planes: Any, step: int) -> None:
    begin = vectors.address(planes) + (0 if step > 0 else 4 * (planes.shape[1] - 1))
    vectors.four_pixels(vectors.address(line), vectors.address(offsets), vectors.address(weights), begin, step,
                        planes.strides[0], offsets.shape[0])


@numba.njit
def call_eight_sums(line: Any, start: int, step: int, weights: Any, out: Any) -> None:
    vectors.eight_sums(vectors.address(line) + 4 * start, 4 * step, weights.shape[0], vectors.address(weights),
                       vectors.address(out) + 4)


@pytest.mark.parametrize("step", [4, -4])
def test_four_pixels_round_half_to_even_and_clip(step: int) -> None:
    line = np.float32([[1, 20, 300], [2, 30, -70], [4, 50, 8], [9, 60, 0]]).ravel()
    line = np.append(line, np.float32(0))  # the one value that is read after the last pixel
    offsets = np.int32([[0, 1, 2, 3], [3, 3, 3, 3], [0, 0, 1, 1]]) * 12
    weights = np.float32([[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [1.5, 0.0, -1.0, 1.0]])
    planes = np.full((3, 3), 7, np.float32)
    call_four_pixels(line, offsets, weights, planes, step)
    expected = np.float32([[2, 9, 2], [25, 60, 30], [115, 0, 255]])  # 1.5 -> 2; 25; 115; 1.5 -> 2, 450 -> 255
    assert np.array_equal(planes, expected if step > 0 else expected[:, ::-1])


@pytest.mark.parametrize("rows, columns", [(1, 1), (15, 40), (40, 15), (16, 16), (17, 33), (61, 80)])
def test_transpose(rows: int, columns: int) -> None:
    source = np.random.default_rng(0).integers(0, 256, (64, 83), dtype=np.uint8)
    out = np.zeros((columns, rows), np.uint8)
    call_transpose(source, 2, 3, rows, columns, out)
    assert np.array_equal(out, source[2 : 2 + rows, 3 : 3 + columns].T)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_weighted_sums_of_bytes_round_half_up_and_clip(n: int, count: int) -> None:
    rng = np.random.default_rng(n * 100 + count)
    source = rng.integers(0, 256, (count, n + 5), dtype=np.uint8)
    weights = (rng.uniform(-1.4, 1.9, count) / count * 2**22).astype(np.int32)  # not of sum 1: results clip on both sides
    out = np.full(n + 2, 7, np.uint8)
    call_weighted(source, weights, out, n)
    exact = weights.astype(np.int64) @ source[:, 3 : 3 + n].astype(np.int64)
    expected = np.clip((exact + 2**21) >> 22, 0, 255)
    assert np.array_equal(out[1:-1], expected) and set(out[[0, -1]]) == {7}


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("reach", [0, 1, 2, 3, 5, 6, 11])
def test_mirrored_sums_along_both_axes(n: int, reach: int) -> None:
    rng = np.random.default_rng(n * 100 + reach)
    source = rng.random((2 * reach + 1, n + 2 * reach), np.float32)
    weights = rng.random(reach + 1).astype(np.float32)
    full = np.concatenate([weights[:0:-1], weights]).astype(np.float64)
    along_x = sum(full[k] * source[reach, k : k + n] for k in range(2 * reach + 1))
    down = sum(full[k] * source[k, reach : reach + n] for k in range(2 * reach + 1))
    for stride, expected in ((4, along_x), (source.strides[0], down)):
        out = np.full(n + 2, 7, np.float32)
        call_mirrored_sum(source, reach, reach, stride, reach, weights, out, n)
        assert np.allclose(out[1:-1], expected, rtol=1e-5) and out[0] == out[-1] == 7


@pytest.mark.parametrize("step", [1, -1, 5])
def test_eight_sums_are_a_product_with_a_matrix(step: int) -> None:
    rng = np.random.default_rng(0)
    line, weights = rng.random(60).astype(np.float32), rng.random((11, 8)).astype(np.float32)
    out, start = np.full(10, 7, np.float32), 55 if step < 0 else 2
    call_eight_sums(line, start, step, weights, out)
    values = line[start::step][:11]
    assert np.allclose(out[1:9], values.astype(np.float64) @ weights, rtol=1e-6) and out[0] == out[9] == 7
