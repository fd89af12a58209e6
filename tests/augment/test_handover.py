"""Handing over: what engines render and what a method finishes make together what the recipe says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import viewmill as vm
from torch import Tensor
from viewmill.augment import Recipe, UnsupportedRecipe, View
from viewmill.augment.handover import Handover
from viewmill.augment.masks import CenterHole
from viewmill.augment.ops import CenterCrop, Flip, Inpaint, Normalize, RandomCrop, Resize
from viewmill.augment.render import render

PATCHES = ("autoencode", "inpaint")
HOLE = CenterHole(hole_px=4, blank_px=2, ring_px=1, fill=(117.0, 104.0, 123.0), fill_scale="uint8")
PATCH = Inpaint(crop_px=4, hole_px=2, border_px=1, noise_std=0.1)
SIGNED = Normalize(kind="range", range=(-1.0, 1.0))


def pictures(count: int = 3, side: int = 96) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def darker(images: Tensor, drawn: Any) -> Tensor:
    """What stands in for an inpainter: the patch at half its brightness, where the coin says so."""
    changed = images.clone()
    for row, (top, left, height, width) in enumerate(drawn["box"].tolist()):
        if "apply" not in drawn or drawn["apply"][row]:
            changed[row, :, top : top + height, left : left + width] *= 0.5
    return changed


Groups = dict[str, Tensor]


def both(recipe: Recipe, types: tuple[str, ...], models: Any = None, count: int = 3) -> tuple[Groups, Groups]:
    """Views as handed over and finished, and as the specification renders them in one go."""
    images, handover = pictures(count), Handover(recipe, types)
    params = vm.draw(recipe, 0, 0, np.arange(count), np.full((count, 2), 96), position=30 + np.arange(count), length=1000)
    views = render(images, handover.rendered, params)
    finished = {group: handover.finish(group, each, params, models) for group, each in views.items()}
    return finished, render(images, recipe, params, models=models)


@pytest.mark.parametrize("name", ["lci_stl10", "lci_cifar"])
def test_patches_and_what_follows_them(name: str) -> None:
    models = dict.fromkeys(PATCHES, darker)
    finished, expected = both(vm.recipe(name), PATCHES, models)
    torch.testing.assert_close(finished["class"], expected["class"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["context_encoder_center", "context_encoder_random_64", "context_encoder_cifar"])
def test_holes(name: str) -> None:
    finished, expected = both(vm.recipe(name), ("masks",))
    torch.testing.assert_close(finished["global"], expected["global"], rtol=1e-5, atol=1e-5)
    # With something else in the mask's place: what was in the hole, from -1 to 1.
    images, _ = both(vm.recipe(name), ("masks",), {"masks": lambda levels, drawn: levels})
    plain = Recipe((View("global", expected["global"].shape[-1], vm.recipe(name).views[0].ops[:-1]),))  # type: ignore[index]
    params = vm.draw(vm.recipe(name), 0, 0, np.arange(3), np.full((3, 2), 96), position=30 + np.arange(3), length=1000)
    torch.testing.assert_close(images["global"], render(pictures(), plain, params)["global"], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(images["global"], finished["global"])


def test_views_without_such_an_op_go_on_as_far_as_their_size_allows() -> None:
    handed = Handover(vm.recipe("lci_stl10"), PATCHES).rendered
    assert {group: (shape.count, shape.height, shape.width) for group, shape in handed.groups.items()} == {"class": (6, 80, 80)}
    types = [[op.type for op in instance.ops] for instance in sorted(handed.instances, key=lambda each: each.ordinal)]
    assert types[:5] == [["resize", "random_crop", "flip"]] * 5
    assert types[5] == ["resize", "random_crop", "flip", "warp", "rotate"]


def test_a_recipe_that_leaves_nothing_is_itself() -> None:
    recipe, views = vm.recipe("rotnet_cifar"), torch.rand(4, 1, 3, 32, 32)
    handover = Handover(recipe, PATCHES)
    assert handover.rendered is recipe and handover.finish("global", views, {}) is views
    assert handover.labels("global") == (0, 1, 2, 3) and Handover(vm.recipe("mae")).labels("global") == ()


def test_another_group_stays_whole() -> None:
    recipe = Recipe((View("hurt", 8, (CenterCrop(size_px=8), HOLE, SIGNED)), View("plain", 6, (CenterCrop(size_px=6), SIGNED))))
    handed = Handover(recipe, ("masks",)).rendered
    assert [op.type for op in handed.views[1].ops or ()] == ["center_crop", "normalize"] and handed.views[1] is recipe.views[1]
    finished, expected = both(recipe, ("masks",))
    for group in expected:
        torch.testing.assert_close(finished[group], expected[group], rtol=1e-5, atol=1e-5)


def test_without_a_normalization_views_end_on_the_unit_scale() -> None:
    finished, expected = both(Recipe((View("a", 8, (CenterCrop(size_px=8), HOLE, Flip(p=1.0))),)), ("masks",))
    torch.testing.assert_close(finished["a"], expected["a"], rtol=1e-5, atol=1e-6)
    assert float(finished["a"].min()) >= 0 and 0.9 < float(finished["a"].max()) <= 1


def test_gradients_reach_what_stands_in_through_all_that_follows() -> None:
    recipe, gain = vm.recipe("lci_stl10"), torch.tensor(0.5, requires_grad=True)
    handover = Handover(recipe, PATCHES)
    params = vm.draw(recipe, 0, 0, np.arange(2), np.full((2, 2), 96), position=np.array([0, 40]), length=64)
    views = render(pictures(2), handover.rendered, params)["class"]
    models = {name: lambda images, drawn: images * gain for name in PATCHES}
    handover.finish("class", views, params, models)[:5].sum().backward()
    assert gain.grad is not None and float(gain.grad.abs()) > 0


def test_what_cannot_be_handed_over_is_refused() -> None:
    def refused(*views: View, types: tuple[str, ...] = ("inpaint",)) -> str:
        with pytest.raises(UnsupportedRecipe) as told:
            Handover(Recipe(views), types).rendered  # noqa: B018
        assert "\n" not in str(told.value)
        return str(told.value)

    crop, end = RandomCrop(size_px=8), CenterCrop(size_px=6)
    assert "inpaint comes at (12, 12), and a group's views are handed over in one size, here (8, 8); crop before it" in refused(
        View("a", 6, (crop, PATCH, end)), View("a", 6, (RandomCrop(size_px=12), PATCH, end)))
    assert "inpaint comes at the size of the image" in refused(View("a", 6, (Resize(side_px=20), PATCH, end)))
    assert "never has the size (8, 8)" in refused(View("a", 6, (crop, PATCH, end)), View("a", 6, (end,)))
    rms = Normalize(kind="tile-rms", gain=1.0, channels="joint")
    assert "comes after the normalization; put it before" in refused(View("a", 8, (crop, rms, PATCH)), types=("inpaint",))


def test_an_op_that_needs_a_model_asks_for_one() -> None:
    with pytest.raises(UnsupportedRecipe, match=r"inpaint needs the method's inpainter: give finished models=\{'inpaint'"):
        both(vm.recipe("lci_stl10"), PATCHES, {"autoencode": darker})
