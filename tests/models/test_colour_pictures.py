"""Lab planes as pictures, against scikit-image."""

from __future__ import annotations

import numpy as np
import torch
from skimage.color import rgb2lab
from viewmill.models.colour_pictures import lab_pictures


def test_planes_become_the_picture_that_they_were_made_of() -> None:
    rgb = np.random.default_rng(0).random((2, 6, 6, 3))
    lab = torch.from_numpy(np.moveaxis(rgb2lab(rgb), -1, 1)).float()
    found = lab_pictures(lab[:, :1], lab[:, 1:], 6)
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), rgb, atol=1e-4)


def test_coarse_planes_are_enlarged_and_no_colour_is_none() -> None:
    lightness = torch.tensor([0.0, 100.0]).reshape(2, 1, 1, 1).expand(2, 1, 4, 4)
    black, white = lab_pictures(lightness, torch.zeros(2, 2, 1, 1), 8)
    assert black.shape == (3, 8, 8) and torch.allclose(black, torch.zeros(()))
    assert torch.allclose(white, torch.ones(()), atol=1e-4)
    wild = lab_pictures(lightness, torch.full((2, 2, 2, 2), 300.0), 4)
    assert float(wild.min()) >= 0 and float(wild.max()) <= 1
