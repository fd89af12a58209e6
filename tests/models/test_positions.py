"""Sin-cos positions: MAE's channel order, by its own formula in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from viewmill.models.positions import sincos_2d


def test_the_first_half_of_the_channels_encodes_the_column() -> None:
    table = sincos_2d(2, 3, 8).numpy()
    assert table.shape == (6, 8)
    # Patch 5 is row 1, column 2; two frequencies, 1 and 10000 ** -0.5 = 0.01.
    expected = [wave(x) for place in (2, 1) for wave in (math.sin, math.cos) for x in (place, 0.01 * place)]
    np.testing.assert_allclose(table[5], expected, rtol=1e-6)
    assert np.array_equal(table[0, :4], table[3, :4]) and np.array_equal(table[0, 4:], table[1, 4:])


def test_equals_the_published_code_written_out() -> None:
    def one_axis(dim: int, place: np.ndarray) -> np.ndarray:
        omega = 1 / 10000 ** (np.arange(dim // 2) / (dim / 2))
        angle = np.einsum("m,d->md", place.reshape(-1), omega)
        return np.concatenate([np.sin(angle), np.cos(angle)], 1)

    across, down = np.meshgrid(np.arange(5.0), np.arange(4.0))  # the published code puts the columns first
    expected = np.concatenate([np.zeros((1, 32)), np.concatenate([one_axis(16, across), one_axis(16, down)], 1)])
    np.testing.assert_allclose(sincos_2d(4, 5, 32, prefix=1).numpy(), expected, atol=1e-6)


def test_a_width_that_four_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="a width that 4 divides, got 30; use 28"):
        sincos_2d(2, 2, 30)
