"""Tokens in colours: by hand where the directions are known, patches laid out row by row; and codes, each in its own colour."""

from __future__ import annotations

import pytest
import torch
from viewmill.models.token_pictures import ROOT, in_colours, of_patches, spread_colours, token_map


def test_directions_by_hand() -> None:
    # Standard deviations 4, 2 and 1 along three axes of four, each token on one of them: +- sqrt(3) of them.
    spread = torch.tensor([2.0, 0.0, 4.0, 1.0])
    signs = torch.tensor([1.0, -1.0])[:, None, None] * torch.eye(4)[[2, 0, 3]]
    tokens = signs * spread * 3**0.5 + torch.tensor([5.0, 6.0, 7.0, 8.0])
    (colours,) = in_colours(tokens)
    expected = 0.5 + signs[..., [2, 0, 3]] * 3**0.5 / 4
    torch.testing.assert_close(colours, expected)
    # Further tokens are seen along the same directions; beyond two standard deviations they are clamped.
    mean = tokens.flatten(0, 1).mean(0)
    _, further = in_colours(tokens, torch.stack([mean, mean + torch.tensor([1.0, 9.0, 0.0, -9.0])]))
    torch.testing.assert_close(further, torch.tensor([[0.5, 0.5, 0.5], [0.5, 0.5 + 1 / 8, 0.0]]))


def test_the_same_tokens_have_the_same_colours() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(2, 16, 8)
    colours, again = in_colours(tokens, tokens.flip(1))
    torch.testing.assert_close(again, colours.flip(1))
    assert ((colours >= 0) & (colours <= 1)).all() and colours.shape == (2, 16, 3)
    torch.testing.assert_close(in_colours(tokens.double())[0], colours)
    assert in_colours(torch.ones(1, 4, 8))[0].isfinite().all()


def test_patches_are_laid_out_row_by_row() -> None:
    pictures = of_patches(torch.arange(12.0).view(1, 6, 2), 2, 3, 2)
    assert pictures.shape == (1, 2, 4, 6)
    assert pictures[0, 0].tolist() == [[0, 0, 2, 2, 4, 4]] * 2 + [[6, 6, 8, 8, 10, 10]] * 2
    assert pictures[0, 1, 0].tolist() == pytest.approx([1, 1, 3, 3, 5, 5])


def test_the_first_colours_by_hand() -> None:
    assert pytest.approx(ROOT + 1) == ROOT**4
    # 1 / 1.22074 = 0.81917, its square 0.67104, its cube 0.54970; from 0.5 on, without what is above 1.
    assert spread_colours(2).tolist()[0] == [0.5, 0.5, 0.5]
    assert spread_colours(2).tolist()[1] == pytest.approx([0.31917, 0.17104, 0.04970], abs=1e-5)
    assert torch.equal(spread_colours(40)[:7], spread_colours(7))


def test_colours_fill_the_cube() -> None:
    colours = spread_colours(512)
    assert float(colours.min()) >= 0 and float(colours.max()) < 1
    eighths = (colours * 2).long() @ torch.tensor([4, 2, 1])
    assert int(torch.bincount(eighths, minlength=8).min()) >= 50  # of 64
    distance = torch.cdist(colours, colours) + 9 * torch.eye(512)
    assert float(distance.min()) > 0.05


def test_a_map_has_a_pixel_of_its_colour_for_each_code() -> None:
    codes = torch.tensor([[[0, 3], [2, 3]]])
    made = token_map(codes, 5)
    assert made.shape == (1, 3, 2, 2)
    assert torch.equal(made[0, :, 0, 1], spread_colours(5)[3]) and torch.equal(made[0, :, 1, 1], made[0, :, 0, 1])
