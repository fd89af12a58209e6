"""Histograms of gradients: edges by hand, the whole against NumPy in float64, and what does not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from viewmill.losses.hog import hog, hog_of_patches


def by_loops(images: np.ndarray, bins: int, cell_px: int) -> np.ndarray:
    """Pixel after pixel, as the paper's section 3.2 says it: Sobel, one vote, sums over cells, length 1."""
    count, channels, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    votes = np.zeros((count, channels, bins, height // cell_px, width // cell_px))
    kernel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    for n, c, y, x in np.ndindex(count, channels, height, width):
        window = padded[n, c, y : y + 3, x : x + 3]
        gx, gy = (window * kernel).sum(), (window * kernel.T).sum()
        angle = math.atan2(gx, gy) % math.pi  # a direction and its opposite are one
        votes[n, c, int(angle / math.pi * bins) % bins, y // cell_px, x // cell_px] += math.hypot(gx, gy)
    length = np.linalg.norm(votes, axis=2, keepdims=True)
    return votes / np.maximum(length, 1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), bins=st.sampled_from([2, 9]), cell_px=st.sampled_from([2, 4]))
def test_it_is_the_papers_histogram(seed: int, bins: int, cell_px: int) -> None:
    # Whole numbers: along the mirrored edges a gradient is 0 to the bit, and no rounding decides between the first bin and the
    # last.
    images = np.random.default_rng(seed).integers(-50, 51, (2, 3, 8, 12)).astype(np.float64)
    found = hog(torch.from_numpy(images), bins=bins, cell_px=cell_px)
    np.testing.assert_allclose(found.numpy(), by_loops(images, bins, cell_px), atol=1e-9)


@pytest.mark.parametrize(("edge", "direction"), [("upright", 4), ("level", 0)])
def test_an_edge_votes_for_its_direction_alone(edge: str, direction: int) -> None:
    image = torch.zeros(1, 1, 16, 16)
    image[..., 5:] = 1.0  # dark left, light right: gx < 0, gy = 0, an angle of -90 degrees, bin floor(-4.5) = -5, of 9 the 4th
    if edge == "level":
        image = image.mT.contiguous()  # gx = 0, gy < 0: 180 degrees, which is 0
    found = hog(image)[0, 0]
    assert found.shape == (9, 2, 2)
    assert torch.equal(found[direction, 0], torch.tensor([1.0, 0.0]) if edge == "upright" else torch.tensor([1.0, 1.0]))
    assert float(found.sum()) == 2.0  # the two cells that the edge goes through; the others are 0, not nan


def test_gain_and_offset_of_a_channel_do_not_matter_and_a_turn_moves_the_bins() -> None:
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gain = torch.tensor([0.5, 2.0, 7.0], dtype=torch.float64).view(3, 1, 1)
    torch.testing.assert_close(hog(images * gain + 3.0), hog(images))
    torch.testing.assert_close(hog(-images, bins=2), hog(images, bins=2))  # the opposite of a direction is itself
    turned = hog(images.rot90(1, (2, 3)), bins=4)  # 90 degrees are two of four bins
    torch.testing.assert_close(turned.rot90(-1, (3, 4)).roll(2, 2), hog(images, bins=4))


def test_patches_by_channel_direction_row_and_column() -> None:
    images = torch.randn(2, 3, 16, 32, generator=torch.Generator().manual_seed(1))
    cells, patches = hog(images, cell_px=4), hog_of_patches(images, 8, cell_px=4)
    assert patches.shape == (2, 8, 3 * 9 * 4)
    for row, column in ((0, 0), (1, 2)):
        own = cells[:, :, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]  # (N, C, bins, 2, 2)
        assert torch.equal(patches[:, 4 * row + column], own.flatten(1))


def test_vectors_have_length_1_and_none_asks_for_a_gradient() -> None:
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    found = hog(images)
    assert not found.requires_grad
    torch.testing.assert_close(found.norm(dim=2), torch.ones(1, 3, 4, 4))
    assert hog(images.to(torch.bfloat16)).dtype == torch.float32


def test_what_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="HOG cells of 8 px need to divide the image's height and width, got 12 x 16"):
        hog(torch.zeros(1, 1, 12, 16))
    with pytest.raises(ValueError, match="HOG cells of 8 px need to divide patches of 12 px"):
        hog_of_patches(torch.zeros(1, 1, 24, 24), 12)
    with pytest.raises(ValueError, match="patches of 16 px need to divide the image, got 24 x 24"):
        hog_of_patches(torch.zeros(1, 1, 24, 24), 16)
