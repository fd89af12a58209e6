"""Pictures of patches, on pictures that are not square."""

from __future__ import annotations

import pytest
import torch
from viewmill.models.patch_pictures import mapped, overlaid, spread

PICTURES = torch.rand(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))


def test_each_patch_covers_its_place() -> None:
    assert spread(torch.tensor([[[1, 2], [3, 4]]]), PICTURES[:1]).tolist() == [[[1] * 3 + [2] * 3] * 2 + [[3] * 3 + [4] * 3] * 2]


def test_what_is_masked_is_gray_and_the_rest_stays() -> None:
    masks = torch.tensor([[[True, False], [False, False]], [[False, False], [False, True]]])
    made = overlaid(PICTURES, masks)
    assert (made[0, :, :2, :3] == 0.5).all() and torch.equal(made[0, :, :, 3:], PICTURES[0, :, :, 3:])
    assert (made[1, :, 2:, 3:] == 0.5).all() and torch.equal(made[1, :, :2], PICTURES[1, :, :2])


def test_values_are_gray_from_black_to_white() -> None:
    made = mapped(torch.tensor([[[-1.0, 0.25], [1.0, 7.0]]]), PICTURES[:1])
    assert made.shape == (1, 3, 4, 6) and made[0, 2, ::2, ::3].tolist() == [[0.0, 0.25], [1.0, 1.0]]


def test_patches_that_do_not_divide_a_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="3 x 2 patches do not divide a picture of 4 x 6 px"):
        spread(torch.zeros(1, 3, 2), PICTURES)
