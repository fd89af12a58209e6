"""CIE Lab against scikit-image, known colours, and there and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kornia.color import rgb_to_lab as rgb_to_lab_of_kornia
from skimage.color import lab2rgb, rgb2lab
from viewmill.augment.colour.lab import FROM_XYZ, TO_XYZ, lab_to_rgb, rgb_to_lab

GRID = np.arange(0, 256, 5)
COLOURS = np.stack(np.meshgrid(GRID, GRID, GRID, indexing="ij"), -1).reshape(52, -1, 3).astype(np.uint8)


def levels() -> torch.Tensor:
    """(3, 52, 2704): every fifth level of each channel, ends included."""
    return torch.from_numpy(COLOURS).permute(2, 0, 1)


def test_lab_is_that_of_scikit_image_on_the_whole_colour_cube() -> None:
    got = rgb_to_lab(levels()).permute(1, 2, 0).numpy()
    assert got.dtype == np.float32
    assert np.abs(got - rgb2lab(COLOURS.astype(np.float64) / 255)).max() < 1e-3


def test_lab_is_that_of_kornia() -> None:
    theirs = rgb_to_lab_of_kornia(levels()[None].float() / 255)[0]
    assert (rgb_to_lab(levels()) - theirs).abs().max() < 1e-3


@pytest.mark.parametrize(("rgb", "lab"), [
    ((255, 255, 255), (100, 0, 0)), ((0, 0, 0), (0, 0, 0)), ((255, 0, 0), (53.24, 80.09, 67.20)),
    ((0, 255, 0), (87.73, -86.18, 83.18)), ((0, 0, 255), (32.30, 79.19, -107.86)), ((119, 119, 119), (50.03, 0, 0)),
])
def test_colours_that_every_table_lists(rgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    assert np.allclose(rgb_to_lab(torch.tensor(rgb).reshape(3, 1, 1)).flatten(), lab, atol=0.01)


def test_back_as_scikit_image_goes_back() -> None:
    """Over all of Lab, also where no screen has the colour and the result is clamped."""
    axis = np.linspace(-110, 110, 23)
    lab = np.stack(np.meshgrid(np.linspace(0, 100, 11), axis, axis, indexing="ij"), -1)
    with pytest.warns(UserWarning, match="negative Z"):
        expected = 255 * lab2rgb(lab)
    inside = 200 * (lab[..., 0] + 16) / 116 > lab[..., 2]  # scikit-image sets a negative Z to 0 before it goes on
    got = lab_to_rgb(torch.from_numpy(lab).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    assert np.abs(got - expected)[inside].max() < 0.01


def test_there_and_back() -> None:
    assert (lab_to_rgb(rgb_to_lab(levels())) - levels()).abs().max() < 0.01


def test_the_two_matrices_are_inverse() -> None:
    assert np.allclose(np.array(TO_XYZ) @ np.array(FROM_XYZ), np.eye(3), atol=1e-12)


def test_any_leading_dimensions_and_types() -> None:
    one = levels()[:, ::9]
    assert torch.allclose(rgb_to_lab(one.expand(2, 3, *one.shape))[1, 2], rgb_to_lab(one), atol=1e-3)
    assert torch.equal(rgb_to_lab(one.float()), rgb_to_lab(one))


def test_autocast_does_not_touch_it() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = rgb_to_lab(levels())
    assert got.dtype == torch.float32 and torch.equal(got, rgb_to_lab(levels()))


def test_both_ways_trace_whole() -> None:
    there = torch.compile(rgb_to_lab, fullgraph=True, backend="eager")
    back = torch.compile(lab_to_rgb, fullgraph=True, backend="eager")
    assert torch.equal(there(levels()), rgb_to_lab(levels()))
    assert torch.equal(back(there(levels())), lab_to_rgb(rgb_to_lab(levels())))
