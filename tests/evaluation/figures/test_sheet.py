"""Pictures side by side: where each tile lies, how large it is, and what stands around it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from viewmill.evaluation.figures.sheet import EDGE_PX, FRAME_PX, GAP_PX, LINE_PX, Tile, cut, fitted, levels, sheet

RED, GREEN = (np.full((4, 6, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 255, 0)))


def test_tiles_lie_in_cells_and_absent_ones_leave_room() -> None:
    made = np.asarray(sheet([[Tile(RED), Tile(GREEN)], [None, Tile(RED)]], tile_px=20, gap_px=5))
    wide, high = 18, 12  # three times 6 x 4
    assert made.shape == (2 * EDGE_PX + 2 * high + 5, 2 * EDGE_PX + 2 * wide + 5, 3)
    inside = made[EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX]
    assert (inside[:high, :wide] == (255, 0, 0)).all() and (inside[:high, wide + 5 :] == (0, 255, 0)).all()
    assert (inside[high : high + 5] == 255).all() and (inside[:, wide : wide + 5] == 255).all()
    assert (inside[high + 5 :, :wide] == 255).all() and (inside[high + 5 :, wide + 5 :] == (255, 0, 0)).all()
    assert (made[:EDGE_PX] == 255).all() and (made[:, :EDGE_PX] == 255).all()


def test_a_smaller_tile_stands_in_the_middle_of_its_cell() -> None:
    made = np.asarray(sheet([[Tile(np.zeros((10, 10, 3), np.uint8)), Tile(np.zeros((10, 4, 3), np.uint8))]], tile_px=10))
    cell = made[EDGE_PX : EDGE_PX + 10, EDGE_PX + 10 + GAP_PX :][:, :10, 0]
    assert cell[0].tolist() == [255] * 3 + [0] * 4 + [255] * 3


def test_texts_stand_above_left_and_below_and_what_is_apart_has_room() -> None:
    plain = sheet([[Tile(RED), Tile(RED)]], tile_px=60)
    headed = np.asarray(sheet([[Tile(RED), Tile(RED)]], tile_px=60, heads=["a", ""], apart=[1]))
    assert headed.shape[0] == plain.height + LINE_PX and headed.shape[1] == plain.width + 2 * GAP_PX
    assert (headed[EDGE_PX:][:LINE_PX, EDGE_PX:][:, :60] < 200).any()
    assert (headed[: EDGE_PX + LINE_PX, EDGE_PX + 60 :] == 255).all()
    named = np.asarray(sheet([[Tile(RED)], [Tile(RED)]], tile_px=60, names=["first\nline", "b"]))
    left = named.shape[1] - EDGE_PX - 60
    assert left > EDGE_PX + 30 and (named[:, : left - GAP_PX, 0] < 200).any()
    assert (named[:, left - GAP_PX // 2 : left] == 255).all()
    captioned = np.asarray(sheet([[Tile(RED, "cat")], [Tile(RED)]], tile_px=60))
    assert captioned.shape[0] == 2 * EDGE_PX + 2 * 40 + LINE_PX + GAP_PX
    below = captioned[EDGE_PX + 40 : EDGE_PX + 40 + LINE_PX]
    assert (below[:, :, 0] < 100).any() and (captioned[EDGE_PX + 40 + LINE_PX :][: GAP_PX - 1] == 255).all()


def test_a_frame_is_as_large_as_the_picture_and_colours_its_caption() -> None:
    made = np.asarray(sheet([[Tile(GREEN, "8", "#0000ff")]], tile_px=60))
    tile, below = made[EDGE_PX:, EDGE_PX:][:40, :60], made[EDGE_PX + 40 :, EDGE_PX:-EDGE_PX]
    assert (tile[FRAME_PX:-FRAME_PX, FRAME_PX:-FRAME_PX] == (0, 255, 0)).all()
    assert (tile[:FRAME_PX] == (0, 0, 255)).all() and (tile[:, -FRAME_PX:] == (0, 0, 255)).all()
    assert (below == (0, 0, 255)).all(-1).any() and not (below == 0).all(-1).any()


def test_small_pictures_grow_by_whole_factors_and_large_ones_shrink() -> None:
    small = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    grown = np.asarray(fitted(small, 30))
    assert grown.shape == (20, 28, 3) and (grown[::4, ::4] == small).all() and (grown[3::4, 3::4] == small).all()
    assert fitted(np.zeros((300, 100, 3), np.uint8), 30).size == (10, 30)


def test_levels_are_rounded_and_clamped() -> None:
    values = torch.tensor([-1.0, 0.0, 0.5, 0.3, 1.0, 9.0, float("nan")]).expand(3, 1, 7)
    assert levels(values)[0, :, 0].tolist() == [0, 0, 128, 76, 255, 255, 0]
    assert levels(torch.rand(2, 3, 4, 6)).shape == (2, 4, 6, 3)


@pytest.mark.parametrize("text", ["cat", "", "a name that is far too long for its place"])
def test_texts_are_cut_where_they_do_not_fit(text: str) -> None:
    found = cut(text, 90)
    assert found == text if len(text) < 5 else (found.endswith("…") and text.startswith(found[:-1]) and 5 < len(found) < 15)
