"""Recipes are checked when made, compared by value, changed one op at a time, and kept as JSON."""

from __future__ import annotations

import json

import pytest
import viewmill as vm
from viewmill.augment import Recipe, UnsupportedRecipe, View
from viewmill.augment.ops import (
    Blur,
    CenterCrop,
    Clip,
    Crop,
    Erase,
    Flip,
    Jitter,
    LabSplit,
    Normalize,
    Op,
    RandomCrop,
    Resize,
    Rotate,
    Sobel,
    Subsample,
    op_from_dict,
)
from viewmill.augment.presets import PRESETS


def small(*ops: object, count: int = 1) -> Recipe:
    return Recipe((View("global", 8, (Crop(size_px=8), *ops), count=count),))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_survives_json_and_knows_its_shapes(name: str) -> None:
    recipe = vm.recipe(name)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert sum(shape.count for shape in recipe.groups.values()) == len(recipe.instances)


def test_dino_is_two_global_and_eight_local_crops() -> None:
    shapes = {k: (s.count, s.channels, s.height, s.width) for k, s in vm.recipe("dino").groups.items()}
    assert shapes == {"global": (2, 3, 224, 224), "local": (8, 3, 96, 96)}
    assert [i.name for i in vm.recipe("dino").instances][:4] == ["global/0", "global/1", "local/0", "local/1"]


def test_with_op_changes_one_copy_only() -> None:
    dino = vm.recipe("dino")
    weaker = dino.with_op("local/3", "blur", p=0.0)
    chances = [next(op.p for op in i.ops if op.name == "blur") for i in weaker.instances]  # type: ignore[attr-defined]
    assert chances == [1.0, 0.1, 0.5, 0.5, 0.5, 0.0, 0.5, 0.5, 0.5, 0.5]
    assert [i.name for i in weaker.instances] == [i.name for i in dino.instances]
    assert [i.copy for i in weaker.instances] == [i.copy for i in dino.instances]
    assert weaker != dino and weaker.fingerprint != dino.fingerprint


def test_with_op_reaches_a_group_or_everything() -> None:
    dino = vm.recipe("dino")
    assert {i.group for i in dino.with_op("local", "flip", p=0.0).instances if i.ops[1].p == 0} == {"local"}  # type: ignore[attr-defined]
    assert all(i.ops[1].p == 0 for i in dino.with_op("*", "flip", p=0.0).instances)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("view", "op", "change", "says"), [
    ("globl/0", "blur", {"p": 0}, "did you mean 'global'"),
    ("global/7", "blur", {"p": 0}, "it has global/0, global/1, local/0"),
    ("global/x", "blur", {"p": 0}, "'group/number'"),
    ("global/0", "blr", {"p": 0}, "did you mean 'blur'"),
    ("global/0", "solarize", {"p": 0}, "has no op 'solarize'"),
    ("global/0", "blur", {"sigma": 0}, "did you mean 'sigma_px'"),
    ("global/0", "blur", {"p": 1.5}, r"blur.p needs 0 <= p <= 1 .*, got 1.5"),
])
def test_with_op_names_what_is_wrong(view: str, op: str, change: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        vm.recipe("dino").with_op(view, op, **change)


@pytest.mark.parametrize(("make", "says"), [
    (lambda: Crop(scale=(0.5, 0.4)), r"crop.scale needs 0 < low <= high <= 1 \(area fractions\), got \(0.5, 0.4\)"),
    (lambda: Crop(size_px=0), "crop.size_px needs a side >= 1"),
    (lambda: Crop(filter="box"), "one of bilinear, bicubic, lanczos, got 'box'"),
    (lambda: Jitter(hue_turns=0.6), "from 0 to 0.5, got 0.6"),
    (lambda: Blur(sigma_px=(0.0, 2.0)), "0 < low <= high"),
    (lambda: Blur(border="zero"), "needs 'replicate' for kind 'pillow'"),
    (lambda: Blur(kind="gaussian", taps=4), "an odd whole number, got 4"),
    (lambda: Clip(lo=0.8, hi=0.2), "clip.lo needs at most hi = 0.2, got 0.8"),
    (lambda: Rotate(angles_deg=(45,)), "multiples of 90"),
    (lambda: Rotate(applies_to="first-half-of-batch"), "applies_to needs kind 'free', .* got 'first-half-of-batch'"),
    (lambda: Erase(ratio=(3, 1)), r"erase.ratio needs 0 < low <= high \(height / width\), got \(3, 1\)"),
    (lambda: CenterCrop(fraction=1.5), "center_crop.fraction needs a fraction from 0 to 1, got 1.5"),
    (lambda: Normalize(mean=(0.5, 0.5, 0.5), std=(0.5, 0.0, 0.5)), "above 0"),
    (lambda: View("a/b"), "without '/'"),
    (lambda: View("a", count=0), "count needs a whole number"),
    (lambda: View("a", roles=("x", "y")), "one entry per copy"),
    (lambda: View("a", ops=(Flip(name="f"), Flip(name="f"))), "two ops of one view are named 'f'"),
    (lambda: Recipe(()), "at least one view"),
    (lambda: Recipe((View("a", 8), View("a", 9))), "need one size_px"),
    (lambda: Recipe((View("a", 8),), block=0), "block needs"),
    (lambda: Recipe.from_dict({"views": [{"group": "a"}], "repeat": 2}), "recipe has no field 'repeat'; did you mean 'repeats'"),
    (lambda: Recipe.from_dict({"views": [{"group": "a", "size": 8}]}), "a view has no field 'size'; did you mean 'size_px'"),
    (lambda: op_from_dict({"op": "crp"}), "did you mean 'crop'"),
    (lambda: op_from_dict({"op": "crop", "sclae": [0, 1]}), "did you mean 'scale'"),
    (lambda: op_from_dict({"op": "masks", "generator": "blok"}), "did you mean 'block'"),
    (lambda: vm.recipe("dno"), "did you mean 'dino'"),
])
def test_bad_values_are_refused_when_made(make: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(("ops", "says"), [
    ((LabSplit(keep=("a", "b")), Crop(size_px=8)), "crop takes levels of red, green and blue, which lab_split leaves behind"),
    ((Crop(size_px=8), LabSplit(keep=("L",)), Jitter()), "jitter takes levels .*; put it before lab_split"),
    ((Crop(size_px=8), Sobel(gray_weights=(0.3, 0.3, 0.4), channels=2), Erase()), "erase takes levels .*; put it before sobel"),
])
def test_ops_on_levels_come_before_lab_and_gradients(ops: tuple[Op, ...], says: str) -> None:
    with pytest.raises(UnsupportedRecipe, match=says):
        _ = Recipe((View("a", 8, ops),)).instances


def test_ops_on_any_values_come_after_lab_as_well() -> None:
    ops = (Crop(size_px=8), LabSplit(keep=("a", "b")), Flip(), Blur(), CenterCrop(size_px=5), Subsample(stride=2))
    assert Recipe((View("a", 3, ops),)).groups["a"].channels == 2


def test_two_ops_of_a_type_get_names_of_their_own() -> None:
    recipe = Recipe((View("a", 8, (RandomCrop(size_px=9), Flip(), RandomCrop(size_px=8))),))
    assert [op.name for op in recipe.instances[0].ops] == ["random_crop", "flip", "random_crop.2"]


@pytest.mark.parametrize(("recipe", "says"), [
    (Recipe((View("a", 8, None),)), "ops is not stated"),
    (Recipe((View("a", None, (Flip(),)),)), "size_px is not stated"),
    (Recipe((View("a", 8, (Crop(size_px=8), Flip(p=None))),)), r"flip.p is not stated; set it by with_op\('a', 'flip', p=...\)"),
    (Recipe((View("a", 8, (Crop(size_px=8, antialias=False),)),)), "crop.cubic_a is not stated"),
    (Recipe((View("a", 8, (Crop(size_px=9),)),)), r"size_px is \(8, 8\), but its ops end at \(9, 9\)"),
    (Recipe((View("a", 8, (Resize(side_px=8),)),)), "the size of the image"),
    (Recipe((View("a", 8, (CenterCrop(),)),)), "center_crop.size_px is not stated"),
    (Recipe((View("a", 8, (Crop(size_px=8),), count="variable"),)), "is variable"),
])
def test_what_is_left_open_is_named_when_it_is_needed_not_before(recipe: Recipe, says: str) -> None:
    with pytest.raises(UnsupportedRecipe, match=says):
        _ = recipe.instances
