"""Tiles, permutations, occluders and pairs: pictures of numbered cells, read back after rendering."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import viewmill as vm
from viewmill.augment import Params, Recipe, UnsupportedRecipe, View
from viewmill.augment.draw import take
from viewmill.augment.ops import Flip, Jitter, Occlude, Op, Pair, Permute, Tiles
from viewmill.augment.puzzles import permutation_set
from viewmill.augment.render import render

OFFSETS = ((-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1))
CELLS = Tiles(layout="cells", tile_px=4, grid=(2, 3), cell_px=7, offset_px=(0, 3))
NINE = Tiles(layout="cells", tile_px=4, grid=(3, 3), cell_px=6, offset_px=(0, 2))
LATTICE = Tiles(layout="lattice", tile_px=10, pitch_px=15, gap_px=5, origin_px=(0, 14), jitter_px=(-2, 2), lattices=2,
                scope="image")


def numbered(grid: tuple[int, int], cell_px: int, first: int = 1) -> np.ndarray:
    """A picture whose cells are flat and carry their raster number, from `first` on, in all channels."""
    numbers = first + np.arange(grid[0] * grid[1]).reshape(grid)
    return np.repeat(np.kron(numbers, np.ones((cell_px, cell_px)))[:, :, None], 3, 2).astype(np.uint8)


def drawn(recipe: Recipe, n: int, size_hw: tuple[int, int], seed: int = 5, rows: slice = slice(None)) -> Params:
    index = np.arange(n)[rows]
    sizes = np.broadcast_to(size_hw, (len(index), 2))
    return vm.draw(recipe, seed, 1, index, sizes, position=index, length=n, partner_size_hw=sizes)


def patches(*ops: Op, count: int = 9, side: int = 4) -> Recipe:
    return Recipe((View("patch", side, ops, count=count),))


def levels(views: torch.Tensor) -> np.ndarray:
    return (255 * views).round().to(torch.int64).numpy()


def test_copy_i_is_cell_i_in_raster_order_at_a_whole_offset() -> None:
    params = drawn(patches(CELLS, count=6), 400, (14, 21))
    for copy in range(6):
        box = params[f"patch/{copy}"]["tiles"]["box"]
        offset = box[:, :2] - 7 * np.array([copy // 3, copy % 3])
        assert box.dtype == np.int32 and (box[:, 2:] == 4).all()
        for axis in (0, 1):
            values, counts = np.unique(offset[:, axis], return_counts=True)
            assert values.tolist() == [0, 1, 2, 3] and counts.min() > 60
        assert abs(np.corrcoef(offset.T)[0, 1]) < 0.2


def test_tiles_are_cut_from_the_input_as_it_is() -> None:
    picture = numbered((2, 3), 7)
    views = levels(render([picture, picture], patches(CELLS, count=6), drawn(patches(CELLS, count=6), 2, (14, 21)))["patch"])
    assert views.shape == (6, 2, 3, 4, 4)
    assert all((views[copy] == copy + 1).all() for copy in range(6))


def test_a_tile_by_hand_from_batches_and_from_lists() -> None:
    picture = torch.arange(2 * 3 * 14 * 21, dtype=torch.float32).reshape(2, 3, 14, 21)
    box = np.array([[8, 3, 4, 4], [0, 16, 4, 4]], np.int32)
    expected = torch.stack([picture[0, :, 8:12, 3:7], picture[1, :, 0:4, 16:20]])
    assert torch.equal(CELLS.apply(picture, {"box": box}), expected)  # type: ignore[arg-type]
    assert torch.equal(CELLS.apply(list(picture), {"box": box}), expected)  # type: ignore[arg-type]
    assert torch.equal(CELLS.apply(picture, {"box": torch.from_numpy(box)}), expected)  # type: ignore[arg-type, dict-item]


def test_a_margin_leaves_room_for_an_op_that_shrinks() -> None:
    op = replace(CELLS, margin_px=2, offset_px=(0, 1))
    assert op.output((14, 21), 3) == ((6, 6), 3)
    assert drawn(patches(op, count=6, side=6), 3, (14, 21))["patch/5"]["tiles"]["box"][:, 2:].tolist() == [[6, 6]] * 3
    with pytest.raises(ValueError, match="at most cell_px - tile_px - margin_px = 1, so that a tile stays in its cell"):
        replace(CELLS, margin_px=2)


@pytest.mark.parametrize(("op", "size_hw", "says"), [
    (CELLS, (13, 30), r"2x3 cells of 7 px need an image of \(14, 21\) px, got \(13, 30\); resize or crop"),
    (Tiles(layout="quadrants", tile_px=5), (10, 12), r"quadrants of 5 px need an image of 10x10 px, got \(10, 12\)"),
])
def test_images_of_a_wrong_size_are_named(op: Tiles, size_hw: tuple[int, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        drawn(patches(op, count=4, side=op.side), 2, size_hw)


@pytest.mark.parametrize(("make", "says"), [
    (lambda: replace(CELLS, offset_px=(0, 4)), "offset_px needs at most"),
    (lambda: replace(CELLS, offset_px=(0, 1.5)), "offset_px needs whole pixels"),
    (lambda: replace(LATTICE, scope="sample"), "scope needs 'image' or 'batch' for layout 'lattice'"),
    (lambda: replace(LATTICE, gap_px=4), "gap_px needs pitch_px - tile_px = 5, got 4"),
    (lambda: Permute(slots=9, set_size=9, scope="sample"), "permute.scope needs 'image' or 'batch'"),
    (lambda: Permute(slots=9, set_size=9, free=True), "either free or of a set"),
    (lambda: Occlude(count=(0, 1.5)), "count needs whole numbers"),
    (lambda: Occlude(count=(0, 1), scope="batch-view"), "occlude.scope needs 'image' or 'batch'"),
    (lambda: Pair(rule="adjacent-both-orders", classes=7, offsets=OFFSETS), "one offset for each of the 7 classes"),
    (lambda: Pair(rule="adjacent-both-orders", classes=1, offsets=((2, 0),)), "steps to the 8 neighbours"),
    (lambda: Pair(rule="surrounding-and-centre", classes=3), "classes needs 8, .* got 3"),
])
def test_impossible_fields_are_named(make: Callable[[], Op], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(("op", "field"), [
    (Tiles(layout="cells", tile_px=4, grid=(2, 2), cell_px=6), "offset_px"),
    (Tiles(layout="lattice", tile_px=4, pitch_px=6, origin_px=(0, 1), jitter_px=(0, 0), scope="image"), "lattices"),
    (Permute(slots=9), "set_size"),
    (Pair(rule="adjacent-both-orders", classes=8), "offsets"),
])
def test_what_a_draw_needs(op: Op, field: str) -> None:
    assert op.unstated() == (field,)
    with pytest.raises(UnsupportedRecipe, match=f"{field} is not stated"):
        drawn(patches(op), 1, (20, 20))
    assert Tiles(layout="quadrants", tile_px=4).unstated() == () and Permute(slots=9, free=True).unstated() == ()


def test_quadrants_make_up_the_image() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (10, 11, 3), dtype=np.uint8)  # the odd column is left out
    recipe = patches(Tiles(layout="quadrants", tile_px=5, scope="image"), count=4, side=5)
    views = levels(render([picture], recipe, drawn(recipe, 1, (10, 11)))["patch"])[:, 0]
    whole = np.concatenate([np.concatenate([views[0], views[1]], 2), np.concatenate([views[2], views[3]], 2)], 1)
    assert np.array_equal(np.moveaxis(whole, 0, -1), picture[:, :10])


def test_slot_s_shows_source_tile_order_s() -> None:
    recipe = patches(NINE, Permute(slots=9, set_size=50, min_hamming=2))
    picture = numbered((3, 3), 6, first=0)
    params = drawn(recipe, 40, (18, 18))
    shown = levels(render([picture] * 40, recipe, params)["patch"])
    assert (shown == shown[..., :1, :1, :1]).all()
    order, index = (params["patch/0"]["permute"][k] for k in ("order", "index"))
    assert np.array_equal(shown[:, :, 0, 0, 0].T, order) and order.dtype == np.int8 and index.dtype == np.int32
    assert np.array_equal(order, permutation_set(9, 50)[index]) and len(set(index.tolist())) > 20
    assert all(np.array_equal(params[f"patch/{s}"]["permute"]["order"], order) for s in range(9))


def test_every_earlier_draw_moves_with_its_tile() -> None:
    permute = Permute(slots=9, set_size=50)
    before = drawn(patches(NINE, Jitter(), Flip(p=0.5)), 30, (18, 18))
    after = drawn(patches(NINE, Jitter(), permute, Flip(p=0.5)), 30, (18, 18))
    order = after["patch/0"]["permute"]["order"]
    for slot in range(9):
        for op in ("tiles", "jitter"):
            for key, values in after[f"patch/{slot}"][op].items():
                for row in range(30):
                    assert np.array_equal(values[row], before[f"patch/{order[row, slot]}"][op][key][row])
        assert np.array_equal(after[f"patch/{slot}"]["flip"]["apply"], before[f"patch/{slot}"]["flip"]["apply"])  # it comes later


def test_a_free_permutation_is_any_with_the_same_chance() -> None:
    recipe = patches(replace(NINE, grid=(1, 3)), Permute(slots=3, free=True), count=3)
    params = drawn(recipe, 3000, (6, 18))["patch/0"]["permute"]
    orders, counts = np.unique(params["order"], axis=0, return_counts=True)
    assert len(orders) == 6 and (abs(counts - 500) < 4 * (500 * 5 / 6) ** 0.5).all() and (params["index"] == -1).all()


def test_the_stated_distances_choose_the_set() -> None:
    assert np.array_equal(Permute(slots=9, set_size=100, min_hamming=2, mean_hamming=8.08).permutations(),
                          permutation_set(9, 100))
    assert np.array_equal(Permute(slots=9, set_size=701, min_hamming=3, mean_hamming=7.999).permutations(),
                          permutation_set(9, 701, "first", 3))
    assert np.array_equal(Permute(slots=9, set_size=71, min_hamming=5, mean_hamming=8.07).permutations(),
                          permutation_set(9, 71, "mean", 5))
    with pytest.raises(ValueError, match=r"mean_hamming is 3.99, but the set of 100 has 8.080; leave it out"):
        Permute(slots=9, set_size=100, min_hamming=2, mean_hamming=3.99).permutations()


def test_slots_are_the_views_of_the_group() -> None:
    with pytest.raises(ValueError, match=r"permute\.slots is 4, but group 'patch' has 9 views"):
        drawn(patches(NINE, Permute(slots=4, set_size=6)), 2, (18, 18))


def test_a_batch_draw_is_one_puzzle_for_a_block() -> None:
    recipe = replace(patches(NINE, Permute(slots=9, set_size=50, scope="batch")), block=8)
    index = drawn(recipe, 32, (18, 18))["patch/3"]["permute"]["index"]
    assert [len(set(index[i:i + 8])) for i in (0, 8, 16, 24)] == [1] * 4 and len(set(index)) > 1


OCCLUDED = patches(NINE, Jitter(), Permute(slots=9, set_size=50), Occlude(count=(0, 2)))


def test_occluders_are_counted_alike_and_lie_anywhere() -> None:
    params = drawn(OCCLUDED, 900, (18, 18))
    partner = np.stack([params[f"patch/{s}"]["occlude"]["partner"] for s in range(9)], 1)
    cell = np.stack([params[f"patch/{s}"]["occlude"]["cell"] for s in range(9)], 1)
    count = params["patch/4"]["occlude"]["count"]
    assert np.array_equal(partner.sum(1), count) and ((cell >= 0) == partner).all() and count.dtype == cell.dtype == np.int8
    assert all(abs((count == c).mean() - 1 / 3) < 4 * (2 / 9 / 900) ** 0.5 for c in (0, 1, 2))
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in cell)
    assert partner.sum(0).min() > 60 and np.bincount(cell[partner], minlength=9).min() > 60
    same = cell[partner] == np.nonzero(partner)[1]
    assert abs(same.mean() - 1 / 9) < 0.05  # the cell does not follow the slot


def test_an_occluded_slot_shows_the_partners_cell() -> None:
    recipe = patches(NINE, Permute(slots=9, set_size=50), Occlude(count=(2, 2)))
    params = drawn(recipe, 20, (18, 18))
    own, other = numbered((3, 3), 6, first=0), numbered((3, 3), 6, first=100)
    shown = levels(render([own] * 20, recipe, params, partners=[other] * 20)["patch"])[..., 0, 0, 0]
    for slot in range(9):
        p = params[f"patch/{slot}"]
        expected = np.where(p["occlude"]["partner"], 100 + p["occlude"]["cell"], p["permute"]["order"][:, slot])
        assert np.array_equal(shown[slot], expected)
    assert ((shown >= 100).sum(0) == 2).all()


def test_an_occluder_is_a_tile_of_the_partner_with_draws_of_its_own() -> None:
    """Offsets and jitter of the occluded slots are those of no tile of the image itself, and are kept elsewhere."""
    params, without = drawn(OCCLUDED, 60, (18, 18)), drawn(patches(*OCCLUDED.views[0].ops[:3]), 60, (18, 18))  # type: ignore[index]
    for slot in range(9):
        p, q = params[f"patch/{slot}"], without[f"patch/{slot}"]
        occluded = p["occlude"]["partner"]
        kept = p["jitter"]["brightness"] == q["jitter"]["brightness"]
        assert np.array_equal(kept, ~occluded)
        cell = p["occlude"]["cell"][occluded]
        assert np.array_equal(p["tiles"]["box"][occluded, :2] // 6, np.stack([cell // 3, cell % 3], 1))
        assert np.array_equal(p["permute"]["order"], q["permute"]["order"])


def test_occluders_before_the_permutation_move_with_the_tiles() -> None:
    recipe = patches(NINE, Occlude(count=(1, 2)), Permute(slots=9, set_size=50))
    params = drawn(recipe, 20, (18, 18))
    own, other = numbered((3, 3), 6, first=0), numbered((3, 3), 6, first=100)
    shown = levels(render([own] * 20, recipe, params, partners=[other] * 20)["patch"])[..., 0, 0, 0]
    for slot in range(9):
        p = params[f"patch/{slot}"]
        expected = np.where(p["occlude"]["partner"], 100 + p["occlude"]["cell"], p["permute"]["order"][:, slot])
        assert np.array_equal(shown[slot], expected)


def test_more_occluders_than_views_are_refused() -> None:
    with pytest.raises(ValueError, match=r"occlude\.count needs at most 9, the views of group 'patch'"):
        drawn(patches(NINE, Occlude(count=(0, 10))), 2, (18, 18))


def test_the_eight_around_a_centre() -> None:
    for offsets, labels in ((None, range(8)), (OFFSETS, range(7, -1, -1))):  # the centre lies right below tile 0: (1, 1)
        recipe = patches(NINE, Pair(rule="surrounding-and-centre", classes=8, offsets=offsets))
        pairs = drawn(recipe, 2, (18, 18))["patch/8"]["pair"]["pairs"]
        assert pairs[1].tolist() == [[s, 4, label] for s, label in zip((0, 1, 2, 3, 5, 6, 7, 8), labels, strict=True)]


def test_pairs_need_their_tiles() -> None:
    with pytest.raises(ValueError, match="needs tiles of layout 'lattice' before it"):
        drawn(patches(NINE, Pair(rule="adjacent-both-orders", classes=8, offsets=OFFSETS)), 1, (18, 18))
    with pytest.raises(ValueError, match="needs 9 views in group 'patch', got 4"):
        drawn(patches(NINE, Pair(rule="surrounding-and-centre", classes=8), count=4), 1, (18, 18))


@pytest.mark.parametrize("recipe", [
    OCCLUDED,
    patches(LATTICE, Pair(rule="adjacent-both-orders", classes=8, offsets=OFFSETS), side=10),
    patches(NINE, Permute(slots=9, free=True)),
], ids=["occluded", "pairs", "free"])
def test_a_sample_draws_the_same_in_any_batch_and_after_a_round_trip(recipe: Recipe) -> None:
    whole = drawn(recipe, 12, (40, 44))
    for rows in (slice(3, 4), slice(5, 9)):
        part = drawn(recipe, 12, (40, 44), rows=rows)
        for view, ops in take(whole, np.arange(12)[rows]).items():
            for op, arrays in ops.items():
                assert all(np.array_equal(values, part[view][op][key]) for key, values in arrays.items())
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_one_tile_may_be_changed_alone() -> None:
    recipe = OCCLUDED.with_op("patch/4", "jitter", brightness=0.0)
    params, before = drawn(recipe, 40, (18, 18)), drawn(OCCLUDED, 40, (18, 18))
    assert len(recipe.views) == 3 and len(recipe.instances) == 9
    for slot in range(9):
        for op in ("tiles", "permute", "occlude"):
            for key, values in params[f"patch/{slot}"][op].items():
                assert np.array_equal(values, before[f"patch/{slot}"][op][key])
    own, other = (np.full((18, 18, 3), level, np.uint8) for level in (100, 200))
    assert render([own] * 40, recipe, params, partners=[other] * 40)["patch"].shape == (9, 40, 3, 4, 4)


def test_tiles_that_draw_different_things_cannot_change_places() -> None:
    lattice = replace(LATTICE, lattices=1)
    views = (View("patch", 10, (lattice, Permute(slots=2, set_size=2))),
             View("patch", 10, (Tiles(layout="cells", tile_px=10, grid=(1, 1), cell_px=10, offset_px=(0, 0)),
                                Permute(slots=2, set_size=2))))
    with pytest.raises(ValueError, match="differ in what tiles draws"):
        drawn(Recipe(views), 2, (40, 44))


def test_captions_tell_what_a_tile_is() -> None:
    params = drawn(OCCLUDED, 60, (18, 18))["patch/2"]
    row = int(np.flatnonzero(params["occlude"]["partner"])[0])
    assert OCCLUDED.views[0].ops is not None
    tiles, _, permute, occlude = OCCLUDED.views[0].ops
    top, left = params["tiles"]["box"][row, :2]
    assert tiles.caption(params["tiles"], row) == f"tile 4x4 at {left},{top}"
    assert permute.caption(params["permute"], row) == f"permutation {params['permute']['index'][row]}"
    assert occlude.caption(params["occlude"], row) == f"partner's tile {params['occlude']['cell'][row]}"
    assert occlude.caption(params["occlude"], int(np.flatnonzero(~params["occlude"]["partner"])[0])) == ""
    free = Permute(slots=3, free=True)
    assert free.caption({"index": np.array([-1]), "order": np.array([[2, 0, 1]])}, 0) == "order 2 0 1"


def test_tiles_compile_as_one_graph() -> None:
    seen = []

    def keep(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        seen.append(graph)
        return graph

    compiled = torch.compile(LATTICE.apply, backend=keep, fullgraph=True)
    images = torch.arange(2 * 3 * 40 * 44, dtype=torch.float32).reshape(2, 3, 40, 44)
    params = {k: torch.from_numpy(v) for k, v in drawn(patches(LATTICE, side=10), 2, (40, 44))["patch/5"]["tiles"].items()}
    assert torch.equal(compiled(images, params), LATTICE.apply(images, params))  # type: ignore[arg-type]
    assert len(seen) == 1
