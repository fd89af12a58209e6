"""Values of views back to colours, whatever the recipe did to them last; by hand, and by scikit-image for Lab."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from viewmill.augment.op import UnsupportedRecipe
from viewmill.augment.ops import LabSplit, Normalize, Sobel
from viewmill.augment.pixels import as_levels_of_rgb, before_normalization

STATED = Normalize(kind="mean-std", mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.25), space="unit")


def test_a_mean_and_a_deviation_are_undone_channel_by_channel() -> None:
    values = torch.tensor([1.0, -2.0, 0.0])[:, None, None].expand(2, 5, 3, 4, 6)
    levels = before_normalization(values, (STATED,))
    assert levels.dtype == torch.float64
    for channel, level in enumerate((0.5 * 255, 0.1 * 255, 0.6 * 255)):
        assert levels[:, :, channel].numpy() == pytest.approx(level)
    assert torch.equal(as_levels_of_rgb(values, (STATED,)), levels)


def test_without_a_normalization_values_are_of_1_for_white() -> None:
    assert before_normalization(torch.tensor([0.2]).reshape(1, 1, 1), ()).item() == pytest.approx(51)
    assert as_levels_of_rgb(torch.full((1, 2, 2), 0.2), ()).shape == (3, 2, 2)


def test_lab_values_are_undone_in_their_own_units_and_become_colours() -> None:
    from skimage.color import lab2rgb

    ops = (LabSplit(keep=("L", "a", "b")),
           Normalize(kind="mean-std", mean=(50.0, 5.0, -5.0), std=(50.0, 80.0, 90.0), space="lab"))
    values = torch.tensor([0.2, 0.5, -0.25])[:, None, None].expand(3, 2, 3)
    assert before_normalization(values, ops)[:, 0, 0].tolist() == pytest.approx([60, 45, -27.5])
    expected = lab2rgb(np.array([[[60, 45, -27.5]]]))[0, 0] * 255
    assert as_levels_of_rgb(values, ops)[:, 1, 2].numpy() == pytest.approx(expected, abs=0.05)
    gray = as_levels_of_rgb(torch.full((2, 1, 2, 2), 0.2), (LabSplit(keep=("L",)), Normalize(
        kind="mean-std", mean=(50.0,), std=(50.0,), space="lab")))
    assert gray.shape == (2, 3, 2, 2) and gray.numpy() == pytest.approx(153)  # 60 of 100


def test_of_each_picture_by_itself_the_largest_gradient_is_black_or_white() -> None:
    values = torch.zeros(2, 2, 3, 3)
    values[0, 0, 1, 1], values[0, 1, 0, 0], values[1, 1, 2, 2] = -4.0, 2.0, 0.5
    shown = as_levels_of_rgb(values, (STATED, Sobel(gray_weights=(1 / 3, 1 / 3, 1 / 3), channels=2)))
    assert (shown[0, 0, 1, 1], shown[0, 1, 0, 0], shown[1, 1, 2, 2]) == (1, 128 + 63.5, 255)
    assert (shown[:, 2] == 128).all()


def test_a_view_normalized_by_itself_is_stretched_and_has_no_way_back() -> None:
    own = (Normalize(kind="tile-mean", channels="joint"),)
    values = torch.tensor([-0.5, 0.25]).repeat(3, 2, 1)
    assert as_levels_of_rgb(values, own)[1, 0].tolist() == [1, 128 + 63.5]
    with pytest.raises(UnsupportedRecipe, match="depends on all pixels of a view"):
        before_normalization(values, own)
