"""The views that a protocol trains on: as published, at the encoder's size, ending as the encoder's pictures do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn
from viewmill.augment.presets import recipe
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.pictures import evaluation_recipe
from viewmill.evaluation.views import training_recipe


def encoder(of: str, image_px: int) -> Encoder:
    return Encoder(nn.Identity(), 1, image_px, evaluation_recipe(recipe(of), image_px), "net")


def test_a_recipe_at_its_own_size_and_normalisation_is_the_published_one() -> None:
    assert training_recipe("probe", encoder("probe", 224)) == recipe("probe")
    assert training_recipe("probe_rotnet", encoder("probe", 224)) == recipe("probe_rotnet")


def test_crops_have_the_encoders_size() -> None:
    small = training_recipe("probe_mae", encoder("probe", 32))
    assert small.instances[0].size_hw == (32, 32)
    published, ours = recipe("probe_mae").instances[0].ops[0], small.instances[0].ops[0]
    assert replace(ours, size_px=224) == published


def test_what_is_cut_of_a_larger_picture_stays_as_large_a_part_of_it() -> None:
    resize, crop, flip, _ = training_recipe("probe_rotnet", encoder("probe", 56)).instances[0].ops
    assert (resize.side_px, crop.size_px, flip.p) == (64, 56, 0.5)


def test_views_end_in_the_encoders_colour_space() -> None:
    ops = training_recipe("probe", encoder("cmc_resnet", 224)).instances[0].ops
    assert [op.type for op in ops] == ["crop", "flip", "lab_split", "normalize"] and ops[2].keep == ("L", "a", "b")
    ops = training_recipe("probe_swav", encoder("simclr_cifar", 32)).instances[0].ops
    assert [op.type for op in ops] == ["crop", "flip", "normalize"] and ops[2].kind == "none"


def test_recipes_of_several_views_are_refused() -> None:
    with pytest.raises(ValueError, match="recipe=simclr makes 2 views of a picture, a classifier trains on one"):
        training_recipe("simclr", encoder("probe", 224))
    with pytest.raises(ValueError, match="did you mean"):
        training_recipe("prob", encoder("probe", 224))
