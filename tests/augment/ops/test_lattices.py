"""Lattices of tiles and the pairs on them: counted and labelled by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import viewmill as vm
from viewmill.augment import Params, Recipe, View
from viewmill.augment.ops import Op, Pair, Tiles
from viewmill.augment.ops.pair import most_pairs
from viewmill.augment.render import render

OFFSETS = ((-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1))
LATTICE = Tiles(layout="lattice", tile_px=10, pitch_px=15, gap_px=5, origin_px=(0, 14), jitter_px=(-2, 2), lattices=2,
                scope="image")


def drawn(recipe: Recipe, n: int, size_hw: tuple[int, int]) -> Params:
    index = np.arange(n)
    sizes = np.broadcast_to(size_hw, (len(index), 2))
    return vm.draw(recipe, 5, 1, index, sizes, position=index, length=n)


def patches(*ops: Op, count: int = 9, side: int = 10) -> Recipe:
    return Recipe((View("patch", side, ops, count=count),))


def levels(views: torch.Tensor) -> np.ndarray:
    return (255 * views).round().to(torch.int64).numpy()


def lattice_tiles(n: int, size_hw: tuple[int, int], count: int = 40) -> list[dict[str, np.ndarray]]:
    recipe = Recipe((View("patch", 10, (LATTICE,), count="variable", most=count),))
    params = drawn(recipe, n, size_hw)
    return [params[f"patch/{c}"]["tiles"] for c in range(count)]


def test_a_lattice_numbers_its_tiles_without_holes() -> None:
    """Sides 47 and 62: two or three rows and three or four columns, by where the origin lies."""
    tiles = lattice_tiles(300, (47, 62))
    cell, present = np.stack([t["cell"] for t in tiles], 1), np.stack([t["present"] for t in tiles], 1)
    assert cell.dtype == np.int32 and (cell[~present] == -1).all()
    shapes = set()
    for row in range(300):
        there = cell[row, present[row]].tolist()
        assert present[row, :len(there)].all() and there == sorted(there) and len(set(map(tuple, there))) == len(there)
        for lattice in (0, 1):
            own = np.array([c[1:] for c in there if c[0] == lattice])
            shapes.add(tuple((own.max(0) + 1).tolist()))
            assert len(own) == (own.max(0) + 1).prod() and own.min() == 0
    assert shapes == {(2, 3), (2, 4), (3, 3), (3, 4)}


def test_lattice_tiles_lie_at_the_pitch_but_for_their_jitter() -> None:
    tiles = lattice_tiles(400, (47, 62))
    first = np.stack([t["box"][:, :2] for t in tiles], 1) - 15 * np.maximum(np.stack([t["cell"][:, 1:] for t in tiles], 1), 0)
    present = np.stack([t["present"] for t in tiles], 1)
    lattice = np.stack([t["cell"][:, 0] for t in tiles], 1)
    spread, firsts = [], []
    for row in range(400):
        for number in (0, 1):
            corners = first[row, present[row] & (lattice[row] == number)]
            spread.append(np.ptp(corners, axis=0))
            firsts.append(np.median(corners, axis=0))
    assert np.max(spread) == 4 and np.mean(spread) > 2  # jitter of -2 .. 2
    assert np.min(firsts) <= 1 and np.max(firsts) >= 13 and abs(np.mean(firsts) - 7) < 0.6  # origins 0 .. 14
    box = np.stack([t["box"] for t in tiles], 1)
    assert (box[..., :2] >= 0).all() and (box[..., 0] + 10 <= 47).all() and (box[..., 1] + 10 <= 62).all()
    one, two = (np.array(firsts[i::2]) for i in (0, 1))
    assert abs(np.corrcoef(one[:, 0], two[:, 0])[0, 1]) < 0.2  # each lattice has its own origin


def test_jitter_is_clamped_at_the_border() -> None:
    still = replace(LATTICE, origin_px=(0, 0), jitter_px=(-2, -2), lattices=1)
    params = drawn(patches(still, count=4), 2, (26, 27))
    assert [params[f"patch/{c}"]["tiles"]["box"][0, :2].tolist() for c in range(4)] == [[0, 0], [0, 13], [13, 0], [13, 13]]
    far = replace(still, jitter_px=(2, 2))
    params = drawn(patches(far, count=4), 2, (26, 27))
    assert [params[f"patch/{c}"]["tiles"]["box"][0, :2].tolist() for c in range(4)] == [[2, 2], [2, 17], [16, 2], [16, 17]]


def test_absent_tiles_are_black_and_small_images_have_none() -> None:
    recipe = Recipe((View("patch", 10, (LATTICE,), count="variable", most=6),))
    sizes = np.array([[26, 26], [9, 40], [12, 12]])
    params = vm.draw(recipe, 0, 0, np.arange(3), sizes)
    present = np.stack([params[f"patch/{c}"]["tiles"]["present"] for c in range(6)])
    assert not present[:, 1].any() and present[0, 0]
    assert params["patch/0"]["tiles"]["box"][1].tolist() == [0, 0, 9, 10]  # a box that every engine can cut
    views = levels(render([np.full((*s, 3), 9, np.uint8) for s in sizes], recipe, params)["patch"])
    assert ((views == 9).all((2, 3, 4)) == present).all() and ((views == 0).all((2, 3, 4)) == ~present).all()
    small = torch.full((1, 3, 9, 40), 9.0)
    assert not LATTICE.apply(small, {k: v[1:2] for k, v in params["patch/0"]["tiles"].items()}).any()  # type: ignore[union-attr]


def test_most_is_reached_and_never_passed() -> None:
    """Context Prediction's lattice: 816 x 551 px, an area below 450 000, holds 6 x 4 tiles; a square 4 x 4."""
    op = Tiles(layout="lattice", tile_px=96, pitch_px=144, gap_px=48, origin_px=(0, 143), jitter_px=(-7, 7), lattices=1,
               scope="image")
    assert op.most(450_000) == 24 and op.most(450_000, aspect=1.0) == 16 and replace(op, lattices=4).most(450_000) == 96
    assert replace(LATTICE, origin_px=(0, 0), lattices=1).most(615) == 4  # sides of 24.8 px become 25: room for two of 10 px
    at_zero = replace(op, origin_px=(0, 0))
    rng = np.random.default_rng(1)
    ratio, area = 2 ** rng.uniform(-1, 1, 3000), rng.uniform(150_000, 450_000, 3000)
    sizes = np.rint(np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], 1)).astype(int)
    recipe = Recipe((View("patch", 96, (at_zero,), count="variable", most=25),))
    params = vm.draw(recipe, 0, 0, np.arange(3000), sizes)
    assert params["patch/20"]["tiles"]["present"].any() and not params["patch/24"]["tiles"]["present"].any()


def grid_of_nine(*offsets: tuple[int, int]) -> tuple[Recipe, np.ndarray]:
    tiles = replace(LATTICE, origin_px=(0, 0), lattices=1)
    recipe = patches(tiles, Pair(rule="adjacent-both-orders", classes=len(offsets), offsets=offsets))
    return recipe, drawn(recipe, 2, (40, 44))["patch/7"]["pair"]["pairs"]


def test_nine_tiles_make_forty_ordered_pairs() -> None:
    _, pairs = grid_of_nine(*OFFSETS)
    assert pairs.shape == (2, 40, 3) and pairs.dtype == np.int16
    assert (pairs >= 0).all() and np.array_equal(pairs[0], pairs[1])
    by_pair = {(a, b): label for a, b, label in pairs[0].tolist()}
    expected = {(a, b): OFFSETS.index((b % 3 - a % 3, b // 3 - a // 3)) for a in range(9) for b in range(9)
                if a != b and abs(b % 3 - a % 3) <= 1 and abs(b // 3 - a // 3) <= 1}
    assert by_pair == expected
    assert [by_pair[4, b] for b in (0, 1, 2, 3, 5, 6, 7, 8)] == list(range(8))  # around the centre: the published label map
    assert all(by_pair[b, a] == 7 - label for (a, b), label in by_pair.items())  # the other order, the opposite direction


def test_offsets_that_are_not_listed_are_no_pairs() -> None:
    _, pairs = grid_of_nine((1, 0), (-1, 0))
    there = pairs[0][pairs[0, :, 0] >= 0]
    assert len(there) == 12 and (there[:, 0] // 3 == there[:, 1] // 3).all()
    assert (there[:, 2] == (there[:, 1] < there[:, 0])).all() and (pairs[0, 12:] == -1).all()


def test_only_present_tiles_of_one_lattice_are_paired() -> None:
    recipe = Recipe((View("patch", 10, (LATTICE, Pair(rule="adjacent-both-orders", classes=8, offsets=OFFSETS)),
                          count="variable", most=20),))
    params = drawn(recipe, 200, (36, 47))
    cell = np.stack([params[f"patch/{c}"]["tiles"]["cell"] for c in range(20)], 1)
    pairs = params["patch/0"]["pair"]["pairs"]
    assert pairs.shape[1] == most_pairs(20) and (pairs[..., 0] >= 0).any(1).all()
    for row in range(200):
        own = [(a, b, OFFSETS.index((cb[2] - ca[2], cb[1] - ca[1])))
               for a, ca in enumerate(cell[row].tolist()) for b, cb in enumerate(cell[row].tolist())
               if a != b and ca[0] == cb[0] >= 0 and max(abs(ca[1] - cb[1]), abs(ca[2] - cb[2])) == 1]
        assert [tuple(p) for p in pairs[row].tolist() if p[0] >= 0] == own


def test_there_is_room_for_all_pairs_of_any_lattice() -> None:
    for tiles in range(1, 40):
        for columns in range(1, tiles + 1):
            places = [divmod(i, columns) for i in range(tiles)]
            pairs = sum(max(abs(a[0] - b[0]), abs(a[1] - b[1])) == 1 for a in places for b in places)
            assert pairs <= most_pairs(tiles)
    assert most_pairs(9) == 40 and most_pairs(2) == 2


def test_captions_tell_which_tile_and_how_many_pairs() -> None:
    recipe, pairs = grid_of_nine(*OFFSETS)
    assert recipe.views[0].ops is not None
    assert recipe.views[0].ops[1].caption({"pairs": pairs}, 0) == "40 pairs"
    absent = {"present": np.array([False]), "box": np.zeros((1, 4)), "cell": np.zeros((1, 3))}
    assert LATTICE.caption(absent, 0) == "no tile"
    there = {"present": np.array([True]), "box": np.array([[2, 3, 10, 10]]), "cell": np.array([[1, 0, 2]])}
    assert LATTICE.caption(there, 0) == "tile lattice 1 row 0 column 2, 10x10 at 3,2"
