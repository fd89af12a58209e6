"""What arms of one seed share: every draw that the change does not touch, the order, and first weights that both networks
have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import viewmill as vm
from viewmill import train
from viewmill.augment import Params, Recipe
from viewmill.augment.op import UnsupportedRecipe
from viewmill.evaluation.ablate.shaping import reshaped
from viewmill.models import build
from viewmill.models.training.process import seed_all
from viewmill.models.training.step import image_side

N = 48
SIZES = np.stack([np.arange(40, 40 + N), np.arange(120, 120 - N, -1)], 1)
BY_SIZE = {"resize", "center_crop", "random_crop"}
"""Ops after which an image has another size, so that boxes within it, drawn by the same numbers, are others."""


def drawn(recipe: Recipe, seed: int = 7) -> Params:
    return vm.draw(recipe, seed, 2, np.arange(3, 3 + N), SIZES, position=np.arange(20, 20 + N), length=400,
                   partner_size_hw=SIZES[::-1])


def moved(before: Params, after: Params) -> set[tuple[str, str]]:
    """(view, op) of what is drawn otherwise, of all that both have."""
    return {(view, op) for view, ops in after.items() if view in before for op, arrays in ops.items() if op in before[view]
            for name, array in arrays.items() if array.tobytes() != before[view][op][name].tobytes()}


@pytest.mark.parametrize("name", ["simclr", "byol", "dino", "swav", "moco_cifar", "mae_cifar", "simmim_cifar", "rotnet_cifar"])
def test_an_op_taken_out_moves_no_other_ops_draws(name: str) -> None:
    recipe, taken = vm.recipe(name), []
    for op in dict.fromkeys(op.name for view in recipe.views for op in view.ops or ()):
        less = reshaped(recipe, f"*.{op}", "none")
        assert less is not None and not any(op == each.name for view in less.views for each in view.ops or ())
        try:
            after = drawn(less)
        except UnsupportedRecipe:  # a crop that makes the size
            continue
        assert after.keys() == drawn(recipe).keys() and moved(drawn(recipe), after) == set(), op
        taken.append(op)
    assert taken and moved(drawn(recipe), drawn(recipe, seed=8))  # and another seed draws otherwise


@pytest.mark.parametrize(("name", "op", "others"), [
    ("context", "resize", {"tiles", "pair"}), ("colorization", "resize", {"crop"}), ("cpc_v2", "center_crop", {"tiles"}),
    ("jigsaw_cifar", "permute", {"tiles"}),
    ("jigsaw_plus_cifar", "occlude", {"tiles", "crop", "colour_mode", "colour_shift", "flip"}),
])
def test_what_depends_on_the_size_before_it_or_is_joined_to_it_moves_with_an_op(name: str, op: str, others: set[str]) -> None:
    less = reshaped(vm.recipe(name), f"*.{op}", "none")
    assert less is not None
    assert {each for _, each in moved(drawn(vm.recipe(name)), drawn(less))} == others


@pytest.mark.parametrize(("view", "op", "changes"), [
    ("global", "crop", {"scale": (0.5, 1.0)}), ("global/1", "crop", {"law": "clamp"}), ("*", "flip", {"p": 0.0}),
    ("*", "jitter", {"p": 1.0, "hue_turns": 0.3}), ("*", "grayscale", {"p": 0.9}), ("local", "blur", {"sigma_px": (0.5, 3.0)}),
    ("global/1", "solarize", {"p": 1.0}),
])
def test_a_field_moves_its_own_op_alone(view: str, op: str, changes: dict[str, Any]) -> None:
    dino = vm.recipe("dino")
    assert {each for _, each in moved(drawn(dino), drawn(dino.with_op(view, op, **changes)))} == {op}


def test_more_or_fewer_views_leave_those_that_stay() -> None:
    dino = vm.recipe("dino")
    for count in (2, 6, 12):
        other = reshaped(dino, "local.count", count)
        assert other is not None and moved(drawn(dino), drawn(other)) == set()
        assert sum(view.startswith("local") for view in drawn(other)) == count


def first_weights(*words: str, images: int = 100) -> dict[str, torch.Tensor]:
    run, recipe = train.read(("simclr", "data=a.tar", "recipe=simclr_cifar", "model.backbone=convnet4", *words))
    seed_all(run.seed)
    return build(run.method, run.model, image_px=image_side(recipe), images=images).state_dict()


@pytest.mark.parametrize(("words", "same"), [
    (("model.temperature=1",), "all"), (("recipe.global.grayscale.p=0",), "all"), (("batch_size=64", "epochs=9"), "all"),
    (("model.projector_layers=3",), "backbone"), (("model.projector_dim=32",), "backbone"),
    (("model.backbone=test_resnet",), "none"), (("seed=1",), "none"),
])
def test_first_weights_are_shared_as_far_as_networks_are_built_alike(words: tuple[str, ...], same: str) -> None:
    base, other = first_weights(), first_weights(*words)
    random = [name for name, value in base.items() if value.ndim > 1 and name.endswith("weight")]
    backbone = [name for name in random if name.startswith(("backbone", "encoder"))]
    assert backbone and len(backbone) < len(random)
    alike = {name for name in random if name in other and torch.equal(base[name], other[name])}
    assert alike >= set({"all": random, "backbone": backbone, "none": []}[same])
    assert (alike == set(random)) == (same == "all") and bool(alike & set(backbone)) == (same != "none")
