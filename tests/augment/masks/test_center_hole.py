"""Context Encoders' hole: 64 px of 128 predicted, the inner 56 blank."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from viewmill.augment.masks import CenterHole

from .draws import chance_of, params_of

FILL: dict[str, Any] = {"fill": (117, 104, 123), "fill_scale": "uint8"}


def test_the_published_hole() -> None:
    op = CenterHole(hole_px=64, blank_px=56, ring_px=4, **FILL)
    params = params_of(op, 2, (128, 128))
    expected = np.zeros((128, 128), bool)
    expected[32:96, 32:96] = True
    assert np.array_equal(params["mask"], np.stack([expected, expected]))
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 90
    out = op.apply(images, params)
    assert isinstance(out, torch.Tensor)
    assert out[0, :, 36, 91].tolist() == out[1, :, 91, 36].tolist() == [117, 104, 123]
    outside = torch.ones(128, 128, dtype=torch.bool)
    outside[36:92, 36:92] = False
    assert torch.equal(out[:, :, outside], images[:, :, outside])
    assert op.caption(params, 0) == "hole of 64 px, 56 px blank"


def test_a_small_wide_picture_by_hand() -> None:
    """6 x 8, a hole of 3 with a ring of 1: rows 1 to 3, columns 2 to 4; blank at row 2, column 3."""
    op = CenterHole(hole_px=3, blank_px=1, ring_px=1, fill=(0.5,), fill_scale="unit")
    params = params_of(op, 1, (6, 8))
    assert np.argwhere(params["mask"][0]).tolist() == [[y, x] for y in (1, 2, 3) for x in (2, 3, 4)]
    images = torch.arange(144.0).reshape(1, 3, 6, 8)
    out = op.apply(images.clone(), params)
    assert torch.nonzero(out != images).tolist() == [[0, c, 2, 3] for c in range(3)]  # type: ignore[arg-type]
    assert out[0, :, 2, 3].tolist() == [127.5] * 3  # type: ignore[index]


def test_a_unit_fill_of_a_lone_channel_is_on_the_scale_of_labs_l() -> None:
    op = CenterHole(hole_px=2, blank_px=2, fill=(0.25,), fill_scale="unit")
    out = op.apply(torch.zeros(1, 1, 2, 4), params_of(op, 1, (2, 4)))
    assert out[0, 0].tolist() == [[0, 25, 25, 0]] * 2  # type: ignore[index]


def test_holes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"blank_px \+ 2 ring_px = 62, got 64"):
        CenterHole(hole_px=64, blank_px=56, ring_px=3, **FILL)
    op = CenterHole(hole_px=9, blank_px=9, **FILL)
    with pytest.raises(ValueError, match="at most the view's 8 px, got 9"):
        op.draw(chance_of(1), np.array([[8, 20]]))
    with pytest.raises(ValueError, match=r"1 number or one for each of 1 channels, got \(117, 104, 123\)"):
        op.apply(torch.zeros(1, 1, 9, 9), {})
