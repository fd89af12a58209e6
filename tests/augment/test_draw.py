"""Draws depend on (seed, epoch, index, view and op by name) and on nothing else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import viewmill as vm
from hypothesis import given, settings
from hypothesis import strategies as st
from viewmill.augment import Params, Recipe, View
from viewmill.augment.chance import Chance, Seat
from viewmill.augment.draw import take
from viewmill.augment.ops import Blur, Crop, Flip, Grayscale, Jitter
from viewmill.augment.presets import names

SIZE_HW = np.array([[375, 500], [64, 48], [24, 90], [333, 97], [1200, 1600], [32, 32], [28, 400]])
INDEX = np.array([0, 1, 2, 3, 2**40, 12, 99])


def draw(recipe: Recipe, seed: int = 3, epoch: int = 2, rows: slice | list[int] = slice(None)) -> Params:
    return vm.draw(recipe, seed, epoch, INDEX[rows], SIZE_HW[rows], position=np.arange(7)[rows], length=7,
                   partner_size_hw=SIZE_HW[::-1][rows])


def same(a: Params, b: Params) -> bool:
    return a.keys() == b.keys() and all(
        a[v].keys() == b[v].keys() and all(np.array_equal(a[v][o][k], b[v][o][k]) for o in a[v] for k in a[v][o]) for v in a)


@pytest.mark.parametrize("name", names())
def test_a_sample_draws_the_same_in_any_batch(name: str) -> None:
    whole = draw(vm.recipe(name))
    for row in range(7):
        assert same(take(whole, np.array([row])), draw(vm.recipe(name), rows=[row]))
    assert same(take(whole, np.array([5, 1])), draw(vm.recipe(name), rows=[5, 1]))


@pytest.mark.parametrize("repeats", [1, 2])
@pytest.mark.parametrize("name", [n for n in names() if not any(op.joins for v in vm.recipe(n).views for op in v.ops or ())])
def test_views_that_draw_together_draw_what_each_does_alone(name: str, repeats: int) -> None:
    """Op after op from the view's own seat, each from the sizes that the last left."""
    recipe = replace(vm.recipe(name), repeats=repeats)
    together = draw(recipe)
    per_repeat = len(recipe.instances) // repeats
    for number, instance in enumerate(recipe.instances):
        repeat, partner = number // per_repeat, instance.view.image == "partner"
        siblings = sum(i.group == instance.group for i in recipe.instances) // repeats
        seat = Seat(instance.group, instance.ordinal - repeat * siblings, instance.copy, siblings,
                    "partner:" * partner + (f"repeat/{repeat}:" if repeat else ""))
        size_hw = SIZE_HW[::-1] if partner else SIZE_HW
        for op in instance.ops:
            chance = Chance(3, 2, INDEX, np.arange(7), recipe.block, (seat,), op.name, getattr(op, "share", None))
            params, size_hw = op.draw(chance, size_hw)
            assert same({"": {"": together[instance.name][op.name]}}, {"": {"": params}})


@pytest.mark.parametrize("scope", ["sample", "image"])
def test_each_view_has_arrays_of_its_own(scope: str) -> None:
    """Parameters may be changed by hand, one view's without another's; those of scope "image" are equal for both copies."""
    params = draw(Recipe((View("a", 8, (Crop(size_px=8, scope=scope), Flip(p=0.5, scope=scope)), count=2),)), rows=[0, 3])
    assert np.array_equal(params["a/0"]["crop"]["box"], params["a/1"]["crop"]["box"]) == (scope == "image")
    arrays = [array for ops in params.values() for op in ops.values() for array in op.values()]
    assert not any(np.may_share_memory(a, b) for n, a in enumerate(arrays) for b in arrays[:n])


def test_seed_epoch_index_and_view_each_change_the_draw() -> None:
    dino = vm.recipe("dino")
    first = draw(dino)
    assert not same(first, draw(dino, seed=4)) and not same(first, draw(dino, epoch=3))
    boxes = [first[v]["crop"]["box"].tolist() for v in first]
    assert len({str(b) for b in boxes}) == len(boxes)


def test_removing_an_op_moves_no_other_draw() -> None:
    dino = vm.recipe("dino")
    without = replace(dino, views=tuple(
        replace(v, ops=tuple(op for op in v.ops or () if op.type != "jitter")) for v in dino.views))
    full, less = draw(dino), draw(without)
    for view, ops in less.items():
        for op, arrays in ops.items():
            for name, values in arrays.items():
                assert np.array_equal(values, full[view][op][name])


def test_another_chance_moves_no_coin() -> None:
    """p only moves the threshold: who flips at 0.3 also flips at 0.6."""
    few, many = (draw(vm.recipe("dino").with_op("*", "flip", p=p)) for p in (0.3, 0.6))
    for view in few:
        assert (few[view]["flip"]["apply"] <= many[view]["flip"]["apply"]).all()


def scoped(scope: str, block: int = 4) -> Recipe:
    ops = (Crop(size_px=8), Blur(p=0.5, scope=scope, sigma_scope=scope))
    return Recipe((View("a", 8, ops, count=2), View("b", 8, ops)), block=block)


def sigmas(recipe: Recipe, position: np.ndarray) -> dict[str, list[float]]:
    params = vm.draw(recipe, 0, 0, position + 100, np.full((len(position), 2), 20), position=position)
    return {view: ops["blur"]["sigma_px"].tolist() for view, ops in params.items()}


def test_a_batch_view_draw_is_shared_by_aligned_blocks_of_one_view() -> None:
    drawn = sigmas(scoped("batch-view"), np.arange(12))
    for values in drawn.values():
        assert [len(set(values[i:i + 4])) for i in (0, 4, 8)] == [1, 1, 1] and len(set(values)) == 3
    assert len({values[0] for values in drawn.values()}) == 3


def test_blocks_do_not_depend_on_the_batch() -> None:
    whole, part = sigmas(scoped("batch-view"), np.arange(12)), sigmas(scoped("batch-view"), np.arange(3, 7))
    assert part == {view: values[3:7] for view, values in whole.items()}


def test_a_batch_draw_is_shared_by_all_views_and_an_image_draw_by_all_copies() -> None:
    batch = sigmas(scoped("batch"), np.arange(8))
    assert batch["a/0"] == batch["a/1"] == batch["b/0"]
    image = sigmas(scoped("image"), np.arange(8))
    assert image["a/0"] == image["a/1"] != image["b/0"] and len(set(image["a/0"])) == 8


def test_ops_that_share_a_name_share_a_draw() -> None:
    crop = Crop(size_px=8, scope="image", share="box")
    recipe = Recipe((View("vit", 8, (crop,)), View("token", 4, (replace(crop, size_px=4, filter="lanczos"),))))
    params = draw(recipe)
    assert np.array_equal(params["vit/0"]["crop"]["box"], params["token/0"]["crop"]["box"])


def test_a_block_draw_needs_positions() -> None:
    with pytest.raises(ValueError, match="shared by blocks of 256 positions: draw needs position"):
        vm.draw(vm.recipe("simclr"), 0, 0, INDEX, SIZE_HW)


@settings(max_examples=60)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**32))
def test_a_partner_is_another_position_of_the_same_block(block: int, length: int, seed: int) -> None:
    recipe = Recipe((View("a", 8, (Crop(size_px=8),), image="partner"),), block=block)
    position = np.arange(length)
    params = vm.draw(recipe, seed, 0, position, np.full((length, 2), 20), position=position, length=length,
                     partner_size_hw=np.full((length, 2), 20))
    partner = params[""]["partner"]["position"]
    alone = (position // block * block == position) & (np.minimum(position // block * block + block, length) - position == 1)
    assert (partner // block == position // block).all() and (partner < length).all()
    assert ((partner != position) | alone).all()


def test_frequencies_and_ranges_are_the_stated_ones() -> None:
    n = 4000
    recipe = Recipe((View("a", 8, (Crop(size_px=8), Flip(p=0.5), Jitter(), Grayscale(p=0.2), Blur(p=0.1))),))
    drawn = vm.draw(recipe, 0, 0, np.arange(n), np.full((n, 2), 100))["a/0"]
    for op, p in (("flip", 0.5), ("jitter", 0.8), ("grayscale", 0.2), ("blur", 0.1)):
        assert abs(drawn[op]["apply"].mean() - p) < 4 * (p * (1 - p) / n) ** 0.5
    ranges = (("brightness", 0.6, 1.4), ("contrast", 0.6, 1.4), ("saturation", 0.8, 1.2), ("hue_turns", -0.1, 0.1))
    for field, low, high in ranges:
        values = drawn["jitter"][field]
        assert low <= values.min() < low + 0.01 * (high - low) and high - 0.01 * (high - low) < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 4 * (high - low) / (12 * n) ** 0.5


def test_certain_and_impossible_ops() -> None:
    always, never = (draw(vm.recipe("dino").with_op("*", "flip", p=p)) for p in (1.0, 0.0))
    assert all(v["flip"]["apply"].all() for v in always.values()) and not any(v["flip"]["apply"].any() for v in never.values())


@pytest.mark.parametrize(("change", "says"), [
    ({"seed": -1}, "seed needs 0 <= seed < 2"),
    ({"epoch": 2**32}, "epoch needs"),
    ({"size_hw": np.zeros((7, 2), int)}, "sides >= 1 px, got 0"),
    ({"size_hw": np.ones(7, int)}, r"size_hw \(N, 2\), got \(7,\) and \(7,\)"),
])
def test_bad_arguments_are_named(change: dict[str, object], says: str) -> None:
    arguments = {"seed": 0, "epoch": 0, "index": INDEX, "size_hw": SIZE_HW, **change}
    with pytest.raises(ValueError, match=says):
        vm.draw(vm.recipe("mae"), **arguments)  # type: ignore[arg-type]


def test_drawing_needs_no_torch() -> None:
    code = ("import sys, numpy as np, viewmill as vm; vm.draw(vm.recipe('dino'), 0, 0, np.arange(2), np.full((2, 2), 50));"
            "sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": _path()}).returncode == 0


def _path() -> str:
    from pathlib import Path

    return str(Path(vm.__file__).parents[1])
