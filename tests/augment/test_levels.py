"""Views as bytes: what they hold, what makes them views again, and which recipes they cannot hold."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import viewmill as vm
from viewmill.augment import Recipe, UnsupportedRecipe, View
from viewmill.augment.levels import as_levels, gains, to_bytes
from viewmill.augment.masks import MissingTile
from viewmill.augment.ops import (
    Blur,
    Clip,
    ColourDrop,
    Crop,
    Cutout,
    Erase,
    Flip,
    LabSplit,
    Normalize,
    Op,
    Sobel,
    Subsample,
)
from viewmill.augment.render import render

CROP = Crop(size_px=4)
TWO = Recipe((
    View("a", 4, (CROP, Normalize(mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0)), Flip())),  # the flip may come before
    View("a", 4, (CROP, Normalize(kind="range", range=(-1, 1)))),
    View("b", 4, (CROP,)),
), "two")


def one(*ops: Op) -> Recipe:
    return Recipe((View("a", 4, (CROP, *ops)),), "one")


def test_bytes_are_levels_rounded_half_up_and_held_within_0_to_255() -> None:
    levels = torch.tensor([-3.0, 0.49, 0.5, 1.5, 2.5, 254.49, 254.5, 300.0])
    assert to_bytes(levels).tolist() == [0, 0, 1, 2, 3, 254, 255, 255]


@pytest.mark.parametrize("last", [False, True])
def test_normalize_does_what_each_view_of_a_group_had_left(last: bool) -> None:
    """Level 51 is 0.2: (0.2 - 0.5) / 0.5 = -0.6, (0.2 - 0.25) / 0.25 = -0.2, 0.2; onto -1 to 1 it is -0.6; alone 0.2."""
    a = torch.full((2, 3, 4, 4, 3) if last else (2, 3, 3, 4, 4), 51, dtype=torch.uint8)
    a = a.movedim(-1, 2) if last else a
    views = vm.normalize({"a": a, "b": a[:1]}, TWO)
    assert views["a"].dtype == torch.float32 and views["a"].shape == (2, 3, 3, 4, 4) and views["a"].stride() == a.stride()
    assert torch.allclose(views["a"][0, :, :, 1, 2], torch.tensor([-0.6, -0.2, 0.2]).expand(3, 3), atol=1e-6)
    assert torch.allclose(views["a"][1], torch.tensor(-0.6), atol=1e-6)
    assert torch.allclose(views["b"], torch.tensor(0.2), atol=1e-6)
    half = vm.normalize({"b": a[:1]}, TWO, torch.bfloat16)["b"]
    assert half.dtype == torch.bfloat16 and torch.equal(half, views["b"].to(torch.bfloat16))


@pytest.mark.parametrize(("views", "dtype", "says"), [
    ({"c": torch.zeros(1, 2, 3, 4, 4, dtype=torch.uint8)}, "float32", "recipe two has no group 'c'; known: a, b"),
    ({"b": torch.zeros(1, 2, 3, 4, 4)}, "float32", r"group 'b' as uint8 \(1, N, 3, 4, 4\), got float32 \(1, 2, 3, 4, 4\)"),
    ({"a": torch.zeros(1, 2, 3, 4, 4, dtype=torch.uint8)}, "float32", r"uint8 \(2, N, 3, 4, 4\), got uint8 \(1, 2, 3, 4, 4\)"),
    ({"a": torch.zeros(2, 2, 3, 4, 4, dtype=torch.uint8)}, "uint8", "a dtype of floats, like torch.float32, got 'uint8'"),
    ({"a": torch.zeros(2, 2, 3, 4, 4, dtype=torch.uint8)}, "flot", "a dtype of floats, like torch.float32, got 'flot'"),
])
def test_normalize_refuses_what_is_not_the_recipes(views: dict[str, torch.Tensor], dtype: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        vm.normalize(views, TWO, dtype)


def test_views_as_levels_are_those_of_the_image() -> None:
    """A picture of one level, whatever box is cut from it."""
    index = np.arange(1)
    params = vm.draw(TWO, 0, 0, index, np.array([[9, 7]]))
    made = render([np.full((9, 7, 3), 77, np.uint8)], as_levels(TWO), params)
    assert (made["a"] == 77).all() and (made["b"] == 77).all()


@pytest.mark.parametrize(("recipe", "says"), [
    (one(Normalize(kind="tile-mean", channels="joint")), "normalize of kind 'tile-mean' and space 'unit' is no gain and offset"),
    (one(LabSplit(keep=("a", "b"))), "lab_split leaves Lab values"),
    (one(LabSplit(keep=("L", "a", "b")), Normalize(kind="none", space="lab")), "lab_split leaves Lab values"),
    (one(Sobel(gray_weights=(0.3, 0.3, 0.4), channels=2)), "sobel leaves gradients"),
    (one(ColourDrop(p=1.0, keep=1, subtract_mean=True, fill="zero")), "colour_drop takes off the mean"),
    (one(ColourDrop(p=1.0, keep=1, subtract_mean=False, fill="uniform-noise", fill_range=(-0.1, 1), value_scale=1)),
     "colour_drop fills with -25.5"),
    (one(Erase(fill=(0, 0, 256))), "erase fills with 256"),
    (one(Cutout(size_px=2, fill=(-1, 0, 0))), "cutout fills with -1"),
    (one(MissingTile(missing=1, fill=(1.5,), fill_scale="unit")), "masks fills with 382.5"),
    (Recipe((View("a", 2, (CROP, Normalize(kind="none"), Subsample(stride=2))),), "one"), "normalize is not the last op"),
])
def test_what_bytes_cannot_hold_is_named_with_the_way_out(recipe: Recipe, says: str) -> None:
    with pytest.raises(UnsupportedRecipe, match="recipe one, view a/0: uint8 holds .* " + re.escape(says)) as error:
        gains(recipe)
    assert str(error.value).endswith("use dtype='float32'") and "\n" not in str(error.value)


@pytest.mark.parametrize("op", [
    Erase(value="noise", fill=(999, 0, 0)), Erase(fill=(0, 255, 1)), Clip(lo=0.1, hi=0.9), Blur(sigma_px=(0.1, 2.0)),
    ColourDrop(p=1.0, keep=1, subtract_mean=False, fill="uniform-noise", fill_range=(0, 1), value_scale=1),
    MissingTile(missing=1, fill=(200,), fill_scale="uint8"),
])
def test_what_bytes_can_hold(op: Op) -> None:
    assert gains(one(op)) == {"a": (((1 / 255,) * 3,), ((0.0,) * 3,))}
