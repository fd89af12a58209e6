"""Colours of figures: lighter where there is more, and a different one for each class."""

from __future__ import annotations

import colorsys

import torch
from viewmill.evaluation.figures.colours import HEAT, heat, of_classes, to_unit


def test_heat_is_lighter_the_more_there_is() -> None:
    colours = heat(torch.linspace(0, 1, 50)[None])
    assert colours.shape == (3, 1, 50) and (colours.sum(0).diff() > 0).all()
    assert 0 <= float(colours.min()) <= float(colours.max()) <= 1
    ends = (255 * heat(torch.tensor([[-3.0, 0.0, 0.5, 1.0, 7.0]]))).round().int()[:, 0].T.tolist()
    assert [tuple(end) for end in ends] == [HEAT[0], HEAT[0], HEAT[2], HEAT[4], HEAT[4]]
    assert heat(torch.rand(2, 5, 4, 6)).shape == (2, 5, 3, 4, 6)


def test_each_map_has_a_range_of_its_own() -> None:
    maps = torch.tensor([[[2.0, 4.0], [3.0, 2.0]], [[-1.0, 0.0], [1.0, 0.0]], [[5.0, 5.0], [5.0, 5.0]]])
    assert to_unit(maps).tolist() == [[[0, 1], [0.5, 0]], [[0, 0.5], [1, 0.5]], [[0, 0], [0, 0]]]


def test_classes_have_colours_that_differ_and_are_seen_on_white() -> None:
    for count in (1, 10, 11, 100):
        found = of_classes(count)
        assert len(found) == len(set(found)) == count
        for each in found:
            red, green, blue = (int(each[at : at + 2], 16) / 255 for at in (1, 3, 5))
            assert 0.2 < colorsys.rgb_to_hls(red, green, blue)[1] < 0.85
    assert of_classes(10)[:4] == of_classes(4)
