"""Batch: shapes said once, masks by group, and a move that leaves nothing behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from viewmill import Batch
from viewmill.augment.handover import Handover
from viewmill.augment.masks import Attention
from viewmill.augment.ops import Crop
from viewmill.augment.recipe import Recipe, View


def batch(**changes: object) -> Batch:
    mask = np.zeros((3, 2, 4), bool)
    params = {
        "global/0": {"masks": {"mask": mask}, "crop": {"box": np.zeros((3, 4), np.int32)}},
        "global/1": {"masks": {"mask": ~mask}},
        "local/0": {"flip": {"apply": np.ones(3, bool)}},
    }
    fields = {
        "views": {"global": torch.zeros(2, 3, 3, 8, 16), "local": torch.zeros(1, 3, 3, 4, 4)}, "params": params,
        "label": torch.tensor([5, -1, 2]), "key": ["a", "b", "c"], "index": torch.tensor([7, 8, 9]),
        "position": torch.arange(3), "substitute": torch.tensor([False, True, False]), "epoch": 4,
    }
    return Batch(**{**fields, **changes})  # type: ignore[arg-type]


def test_length_is_the_number_of_samples_not_of_views() -> None:
    assert len(batch()) == 3


def test_padding_is_all_false_where_nothing_is_said() -> None:
    assert batch().padding.tolist() == [False, False, False]


def test_masks_are_stacked_in_the_order_of_the_views() -> None:
    masks = batch().masks("global")
    assert masks.shape == (2, 3, 2, 4) and masks.dtype == torch.bool
    assert not masks[0].any() and masks[1].all()


def attended(visible: int = 3) -> Batch:
    """Two views of three images, whose masks are drawn by a teacher's attention to 2 x 4 patches."""
    recipe = Recipe(name="r", views=(View(group="global", count=2, size_px=8, ops=(
        Crop(size_px=8), Attention(grid=(2, 4), visible=visible))),))
    gumbel = np.random.default_rng(0).gumbel(size=(2, 3, 8)).astype(np.float32)
    return batch(params={f"global/{i}": {"masks": {"gumbel": own}} for i, own in enumerate(gumbel)}, handover=Handover(recipe))


def test_masks_by_attention_keep_the_largest_of_log_weights_and_noise() -> None:
    made, attention = attended(), torch.rand(2, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    masks = made.masks("global", attention)
    keys = np.log(attention.double().numpy()) + made.drawn("global", "gumbel").double().numpy().reshape(2, 3, 2, 4)
    for view, row in np.ndindex(2, 3):
        kept = np.argsort(keys[view, row].ravel())[-3:]
        assert sorted(np.flatnonzero(~masks[view, row].numpy().ravel())) == sorted(kept)


def test_masks_by_attention_need_it_and_others_do_not_ask_for_it() -> None:
    with pytest.raises(ValueError, match="the masks of group 'global' are drawn by a teacher's attention, which only"):
        attended().masks("global")
    assert torch.equal(batch().masks("global", torch.zeros(2, 3, 2, 4)), batch().masks("global"))


def test_masks_of_ten_and_more_views_are_in_numerical_order() -> None:
    params = {f"m/{i}": {"masks": {"mask": np.full((1, 1, 1), i >= 10)}} for i in (11, 2, 10, 0, 1, 3, 4, 5, 6, 7, 8, 9)}
    assert batch(params=params).masks("m").flatten().tolist() == [False] * 10 + [True] * 2


def test_masks_of_a_group_without_any_name_the_groups_that_have_them() -> None:
    with pytest.raises(ValueError, match=r"'local'; groups with masks: global$"):
        batch().masks("local")


def test_any_drawn_parameter_is_stacked_likewise() -> None:
    params = {f"global/{i}": {"rotate": {"quarter_turns": np.array([i, 3 - i], np.int8)}} for i in (1, 0)}
    turns = batch(params=params).drawn("global", "quarter_turns")
    assert turns.tolist() == [[0, 3], [1, 2]] and turns.dtype == torch.int8
    with pytest.raises(ValueError, match=r"^the recipe draws no box for group 'global'; groups with box: none$"):
        batch(params=params).drawn("global", "box")


def test_to_moves_every_tensor_and_keeps_the_rest() -> None:
    moved = batch().to("meta")
    tensors = [*moved.views.values(), moved.label, moved.index, moved.position, moved.substitute, moved.padding]
    assert {t.device.type for t in tensors} == {"meta"}
    assert moved.key == ["a", "b", "c"] and moved.epoch == 4 and "crop" in moved.params["global/0"]


def test_to_where_it_is_already_copies_nothing() -> None:
    b = batch()
    assert b.to("cpu") is b


def test_rows_are_a_batch_of_those_samples_alone() -> None:
    part = batch().rows(1, 3)
    assert len(part) == 2 and part.views["global"].shape == (2, 2, 3, 8, 16) and part.views["local"].shape == (1, 2, 3, 4, 4)
    assert part.key == ["b", "c"] and part.label.tolist() == [-1, 2] and part.index.tolist() == [8, 9] and part.epoch == 4
    assert part.substitute.tolist() == [True, False] and part.padding.tolist() == [False, False]
    assert part.masks("global").shape == (2, 2, 2, 4) and part.params["global/0"]["crop"]["box"].shape == (2, 4)
    whole = batch()
    assert whole.rows(1, 3).views["global"].data_ptr() == whole.views["global"][:, 1:].data_ptr()  # nothing is copied
