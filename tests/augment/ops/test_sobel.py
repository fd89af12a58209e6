"""Sobel by hand, and by torch's own convolution with the source's two filters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import viewmill as vm
from torch.nn.functional import conv2d
from viewmill.augment import Recipe, View
from viewmill.augment.ops import CenterCrop, Normalize, Sobel

THIRD = (1 / 3, 1 / 3, 1 / 3)
SOBEL = Sobel(gray_weights=THIRD, channels=2)


def test_gradients_by_hand() -> None:
    gray = torch.zeros(1, 1, 4, 6)
    gray[0, 0, 1, 2], gray[0, 0, 2, 5] = 1.0, 10.0
    out = SOBEL.apply(gray.repeat(1, 3, 1, 1), {})[0]
    right_minus_left = [[0, 1, 0, -1, 0, 0], [0, 2, 0, -2, 10, 0], [0, 1, 0, -1, 20, 0], [0, 0, 0, 0, 10, 0]]
    below_minus_above = [[0, 1, 2, 1, 0, 0], [0, 0, 0, 0, 10, 20], [0, -1, -2, -1, 0, 0], [0, 0, 0, 0, -10, -20]]
    assert np.allclose(out[0], right_minus_left, atol=1e-5) and np.allclose(out[1], below_minus_above, atol=1e-5)


def test_gradients_of_normalized_values_are_the_source_s_with_the_other_sign(photograph: np.ndarray) -> None:
    weights = (0.2, 0.3, 0.5)
    images = torch.tensor(photograph).permute(2, 0, 1)[None] / 100.0 - 1.3
    across = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    filters = torch.stack([across, across.T])[:, None] * torch.tensor(weights).reshape(1, 3, 1, 1)
    out = Sobel(gray_weights=weights, channels=2).apply(images, {})
    assert torch.allclose(out, -conv2d(images, filters, padding=1), atol=1e-5)  # type: ignore[arg-type]


def test_a_view_that_ends_in_sobel_has_two_channels(photograph: np.ndarray) -> None:
    recipe = Recipe((View("a", (4, 6), (CenterCrop(size_px=(4, 6)), Normalize(kind="none"), SOBEL)),))
    assert recipe.groups["a"].channels == 2
    params = {"a/0": {"center_crop": {"box": np.array([[20, 30, 4, 6]])}, "normalize": {}, "sobel": {}}}
    assert vm.render([photograph], recipe, params, engine="torch")["a"].shape == (1, 1, 2, 4, 6)


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sobel.channels needs 2 .*, got 1"):
        Sobel(gray_weights=THIRD, channels=1)
