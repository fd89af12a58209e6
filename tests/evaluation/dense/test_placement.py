"""Where pixels, boxes and polygons go when a picture is resized, cut and mirrored: all to the same place."""

from __future__ import annotations

import numpy as np
import pytest
from viewmill.evaluation.dense.placement import Placement, cut, jittered, whole


def test_the_short_side_is_as_asked_unless_the_long_one_would_be_too_long() -> None:
    assert whole((480, 640), 800, 1333).shown_hw == (800, 1067)
    assert whole((400, 1000), 800, 1333).shown_hw == (533, 1333)  # 400 * 1.333
    assert whole((640, 480), 240, 1333) == Placement((0, 0, 480, 640), (320, 240))


def test_boxes_go_where_their_pixels_go() -> None:
    # A 4 x 6 picture, twice as large, its left two columns and its upper row cut away.
    shown = Placement((2, 1, 6, 4), (6, 8))
    boxes, left = shown.boxes(np.array([[3.0, 2.0, 5.0, 3.0], [0.0, 0.0, 3.0, 4.0], [0.0, 0.0, 2.0, 4.0]]))
    assert boxes[:2].tolist() == [[2, 2, 6, 4], [0, 0, 2, 6]] and left.tolist() == [True, True, False]
    mirrored = Placement((2, 1, 6, 4), (6, 8), mirrored=True)
    assert mirrored.boxes(np.array([[3.0, 2.0, 5.0, 3.0]]))[0].tolist() == [[2, 2, 6, 4]]
    assert mirrored.boxes(np.array([[2.0, 1.0, 3.0, 2.0]]))[0].tolist() == [[6, 0, 8, 2]]
    assert mirrored.polygon(np.array([2.0, 1.0, 3.0, 1.0, 3.0, 2.0])).tolist() == [8, 0, 6, 0, 6, 2]


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_bright_rectangle_stays_in_its_box(mirrored: bool) -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[6:12, 10:20] = 255
    shown = Placement((4.0, 2.0, 24.0, 18.0), (32, 40), mirrored)
    ((x0, y0, x1, y1),), _ = shown.boxes(np.array([[10.0, 6.0, 20.0, 12.0]]))
    expected = np.zeros((32, 40), bool)
    expected[int(y0) : int(y1), int(x0) : int(x1)] = True
    assert (x0, y0, x1, y1) == ((8, 8, 28, 20) if mirrored else (12, 8, 32, 20))
    assert np.array_equal(shown.pixels(picture)[..., 0] > 127, expected)
    assert np.array_equal(shown.classes(picture[..., 0]) == 255, expected)


def test_a_picture_is_jittered_into_a_square_and_cut_where_it_is_larger() -> None:
    # 100 x 200 into 64 * 2 = 128: 64 x 128, of which 64 x 64 are cut, at 0.5 of 65 places: from 32 on, 50 px of the picture.
    assert jittered((100, 200), 64, 2.0, (0.9, 0.5), False) == Placement((50.0, 0.0, 150.0, 100.0), (64, 64))
    assert jittered((100, 200), 64, 0.5, (0.9, 0.5), True) == Placement((0.0, 0.0, 200.0, 100.0), (16, 32), True)


def test_a_cut_has_the_size_asked_for_or_that_of_the_picture() -> None:
    # The short side 50 holds, times 2: 100 x 150, of which 60 are cut, from row 20 (of 41 places) and column 90 on.
    assert cut((200, 300), 50, 500, 2.0, 60, (0.5, 0.999), False) == Placement((180.0, 40.0, 300.0, 160.0), (60, 60))
    assert cut((200, 300), 50, 500, 0.5, 60, (0.5, 0.5), False).shown_hw == (25, 38)
