"""Several recipes as one: each arm draws what its recipe draws by itself, and what arms begin with alike is known to be alike."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import viewmill as vm
from viewmill.augment import Params, Recipe, View
from viewmill.augment.ops import Crop, Flip, Jitter, Normalize, Occlude, Permute, Resize, Tiles
from viewmill.augment.presets import PRESETS
from viewmill.augment.sharing import prefixes

N = 5
CROP = Recipe((View("global", 8, (Crop(size_px=8), Flip(), Jitter(), Normalize(kind="none")), count=2),), "crop")
PUZZLE = Recipe(name="puzzle", views=(View("tile", 8, (
    Resize(mode="exact", side_px=24), Tiles(layout="cells", grid=(3, 3), cell_px=8, tile_px=8, offset_px=(0, 0)),
    Permute(slots=9, free=True, scope="image"), Occlude(count=(2, 2), scope="image"), Flip(p=0.5)), count=9),))
DINOV2 = vm.recipe("dinov2_p14")


def drawn(recipe: Recipe) -> Params:
    index, size_hw = np.arange(3, 3 + N), np.array([(61, 83), (98, 97), (131, 97), (40, 40), (255, 256)])
    return vm.draw(recipe, 7, 2, index, size_hw, position=np.arange(20, 20 + N), length=40, partner_size_hw=size_hw[::-1])


def same(ours: Params, theirs: Params, arm: str) -> None:
    for view, ops in theirs.items():
        for op, arrays in ops.items():
            for name, array in arrays.items():
                found = ours[f"{arm}:{view}" if view else view][op][name]
                assert found.dtype == array.dtype and found.tobytes() == array.tobytes(), (arm, view, op, name)


@pytest.mark.parametrize(("first", "second"), [
    (vm.recipe("dino"), vm.recipe("dino").with_op("*", "blur", p=0.0)),
    (vm.recipe("dino"), vm.recipe("mae")),
    (vm.recipe("simclr"), vm.recipe("simclr").with_op("global/1", "crop", scale=(0.5, 1.0))),  # a sigma for each block
    (DINOV2, replace(DINOV2, views=(replace(DINOV2.views[0], count=3, roles=()), *DINOV2.views[1:]))),  # masks for a half of them
    (vm.recipe("context"), vm.recipe("context").with_op("*", "tiles", jitter_px=(0, 2))),  # joined by pairs
    (PUZZLE, PUZZLE.with_op("*", "occlude", count=(1, 3))),
    (PUZZLE, CROP),  # only one takes a second image
    (CROP, replace(CROP, repeats=2)),
    (replace(CROP, repeats=3), replace(CROP, repeats=3)),
], ids=str)
def test_each_arm_draws_what_its_recipe_draws_by_itself(first: Recipe, second: Recipe) -> None:
    both = drawn(vm.together({"a": first, "b": second}))
    same(both, drawn(first), "a")
    same(both, drawn(second), "b")


def test_groups_are_named_by_arm_and_stacked_as_before() -> None:
    both = vm.together({"a": vm.recipe("dino"), "b": "mae"})
    assert list(both.groups) == ["a:global", "a:local", "b:global"] and str(both) == "a:dino + b:mae"
    assert {k: s.count for k, s in both.groups.items()} == {"a:global": 2, "a:local": 8, "b:global": 1}
    assert vm.together({"x": vm.recipe("dino")}).instances[-1].name == "x:local/7"
    assert vm.together({"a": CROP, "b": replace(CROP, repeats=3)}).groups["b:global"].count == 6
    assert vm.together({"a": CROP}, name="mine").name == "mine"


def test_views_of_one_place_are_neighbours_and_those_alike_stand_together() -> None:
    """The second arm has another crop, so that the third comes before it."""
    arms = {"a": CROP, "b": CROP.with_op("*", "crop", scale=(0.5, 1.0)), "c": CROP.with_op("global/0", "jitter", p=0.0)}
    recipe = vm.together(arms)
    assert [i.name for i in recipe.instances] == [f"{arm}:global/{i}" for i in (0, 1) for arm in "acb"]
    assert recipe.alike == [(1, 2), (1, 2), (0, 0), (2, 4), (2, 4), (0, 0)]  # crop and flip; all four


def test_the_same_op_in_another_place_or_under_another_name_is_not_alike() -> None:
    renamed = Recipe((View("global", 8, (Crop(size_px=8, name="cut"), Flip())),))
    other = Recipe((View("locals", 8, (Crop(size_px=8), Flip())),))
    one = Recipe((View("global", 8, (Crop(size_px=8), Flip())),))
    assert vm.together({"a": one, "b": renamed, "c": other}).alike == [(0, 0)] * 3
    assert vm.together({"a": one, "b": one}).alike == [(1, 2)] * 2


def test_views_that_change_places_are_alike_only_where_all_of_their_group_is() -> None:
    """A permutation moves what earlier ops have drawn, so without it those ops do something else."""
    apart = Recipe((View("tile", 8, (Crop(size_px=8), Flip()), count=2),))
    moved = Recipe((View("tile", 8, (Crop(size_px=8), Permute(slots=2, free=True, scope="image"), Flip()), count=2),))
    turned = moved.with_op("tile/1", "flip", p=1.0)  # after the permutation, but nobody looks
    assert vm.together({"a": apart, "b": moved}).alike == [(0, 0)] * 4
    assert vm.together({"a": moved, "b": turned}).alike == [(0, 0)] * 4
    assert vm.together({"a": moved, "b": moved}).alike == [(1, 3), (1, 3), (2, 3), (2, 3)]


def test_runs_are_those_that_save_most() -> None:
    """An op counts 1, the first one 8 more. (a b c)(a b c)(a d): three with a in common, 2 * 9, rather than two with a b c, 11.
    Where c has another second half of equal length the pair of 7 more wins."""
    a, b, c, d = (("a",), ("b",), ("c",), ("d",))
    assert prefixes([[a, b, c], [a, b, c], [a, d]]) == [(1, 1)] * 3
    long = [a, *[b] * 20]
    assert prefixes([long, long, [a, d]]) == [(1, 21), (1, 21), (0, 0)]
    assert prefixes([[a], [b], [b], [None], [None]]) == [(0, 0), (1, 1), (1, 1), (0, 0), (0, 0)]
    assert prefixes([]) == []


def test_with_op_reaches_one_view_of_one_arm() -> None:
    both = vm.together({"a": vm.recipe("dino"), "b": vm.recipe("dino")})
    one = both.with_op("b:global/1", "blur", p=0.7)
    assert [i.name for i in one.instances if i.ops != next(j.ops for j in both.instances if j.name == i.name)] == ["b:global/1"]
    assert both.with_op("b:*", "blur", p=0.7) == vm.together({"a": vm.recipe("dino"), "b": vm.recipe("dino").with_op(
        "*", "blur", p=0.7)})
    with pytest.raises(ValueError, match="has no view 'a:globl/1'; did you mean 'a:global'"):
        both.with_op("a:globl/1", "blur", p=0.7)
    with pytest.raises(ValueError, match="has no view 'global'; did you mean"):
        both.with_op("global", "blur", p=0.7)
    with pytest.raises(ValueError, match="has no view 'a:global/2'; it has a:global/0, b:global/0"):
        both.with_op("a:global/2", "blur", p=0.7)


def test_arms_survive_json_and_leave_no_trace_in_recipes_without() -> None:
    both = vm.together({"a": CROP, "b": replace(CROP, repeats=2)})
    assert Recipe.from_dict(json.loads(json.dumps(both.to_dict()))) == both
    assert both.fingerprint != vm.together({"a": CROP, "c": replace(CROP, repeats=2)}).fingerprint != CROP.fingerprint
    assert set(CROP.views[0].to_dict()) == {"group", "count", "size_px", "ops"}


@pytest.mark.parametrize(("recipes", "says"), [
    ({}, r"at least one recipe by name, like .* got \{\}"),
    ({"a/b": CROP}, "an arm's name needs letters, and no '/', ':' or '\\*', got 'a/b'"),
    ({"a:b": CROP}, "got 'a:b'"),
    ({"": CROP}, "got ''"),
    ({"a": "dno"}, "did you mean 'dino'"),
    ({"a": 3}, "arm 'a' needs a Recipe or a preset's name, got int"),
    ({"a": vm.together({"b": CROP})}, "arm 'a' needs a recipe by itself, got b:crop, which is several together already"),
    ({"a": CROP, "b": replace(CROP, block=64)}, "one block, .*: 'a' has 256, 'b' has 64"),
    ({"a": CROP, "b": replace(CROP, decode="scaled")}, "one decode, .*: 'a' has 'full', 'b' has 'scaled'"),
])
def test_what_cannot_be_together_is_refused(recipes: dict[str, Recipe], says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        vm.together(recipes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", list(PRESETS))
def test_ops_that_do_not_say_so_draw_the_same_with_one_view_more(name: str) -> None:
    """What lets arms with 6 and with 8 local crops share six."""
    recipe = vm.recipe(name)
    for view in recipe.views:
        if not isinstance(view.count, int) or any(op.by_siblings for op in view.ops or ()):
            continue
        fewer, more = (Recipe((replace(view, count=view.count + n, roles=(), labels=()),), block=4) for n in (0, 1))
        try:
            _ = more.instances
            ours, theirs = drawn(more), drawn(fewer)
        except ValueError:  # left open, or no room for another copy
            continue
        same({f"a:{k}": v for k, v in ours.items()}, {k: v for k, v in theirs.items() if k}, "a")
