"""Recipes as keys that can be typed."""

from __future__ import annotations

from viewmill.augment import presets
from viewmill.evaluation.report.recipes import expanded, together
from viewmill.models.training.overrides import with_assignment


def test_every_copy_of_a_view_has_its_own_keys() -> None:
    found = expanded(presets.recipe("byol").to_dict())
    assert found["recipe.global/0.blur.p"] == 1.0 and found["recipe.global/1.blur.p"] == 0.1
    assert found["recipe.global/1.solarize.p"] == 0.2 and found["recipe.global.count"] == 2


def test_copies_that_agree_go_by_their_group() -> None:
    (found,) = together([expanded(presets.recipe("byol").to_dict())])
    assert found["recipe.global.flip.p"] == 0.5 and "recipe.global/0.flip.p" not in found
    assert found["recipe.global/0.blur.p"] == 1.0 and "recipe.global.blur.p" not in found


def test_an_op_that_one_copy_alone_has_is_told_of_that_copy() -> None:
    flip, solarize = {"op": "flip", "p": 0.5}, {"op": "solarize", "p": 0.2}
    views = [{"group": "global", "count": 1, "ops": [flip]}, {"group": "global", "count": 1, "ops": [flip, solarize]}]
    (found,) = together([expanded({"views": views})])
    assert found == {"recipe.global.flip.p": 0.5, "recipe.global/1.solarize.p": 0.2, "recipe.global.count": 2}


def test_what_differs_in_one_recipe_is_told_by_copies_in_all() -> None:
    dino = presets.recipe("dino")
    plain, changed = together([expanded(each.to_dict()) for each in (dino, with_assignment(dino, "local/3.flip.p", "0.1"))])
    assert (plain["recipe.local/3.flip.p"], changed["recipe.local/3.flip.p"], changed["recipe.local/2.flip.p"]) == (0.5, 0.1, 0.5)
    assert [key for key in plain if plain[key] != changed[key]] == ["recipe.local/3.flip.p"] and plain.keys() == changed.keys()
