"""What each receiver unpacks, held against the batch it came from; none of the receivers' packages is needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import viewmill as vm
from viewmill.augment.masks import RandomExact
from viewmill.augment.ops import Crop, Inpaint, Normalize
from viewmill.pipelines.adapters import RECEIVERS, crops, lightly, lightning, solo_learn, timm, transformers
from viewmill.pipelines.adapters import torch as plain

from ..streams import SMALL, data, local

ONE = vm.Recipe((vm.View(group="global", size_px=8, ops=(Crop(size_px=8), Normalize(kind="none"))),), name="one")
INPAINT = Inpaint(crop_px=8, hole_px=4, border_px=2, noise_std=0.1)
TWO = vm.Recipe((vm.View(group="global", count=2, size_px=8, ops=(Crop(size_px=8), Normalize(kind="none"))),), name="two")


@pytest.fixture
def batch() -> Iterator[vm.Batch]:
    with local(12, 4) as loader:
        yield next(iter(loader))


def is_all_of(views: list[torch.Tensor], batch: vm.Batch) -> bool:
    """Each view is the batch's own memory, in the recipe's order: globals, then locals."""
    own = [batch.views["global"][0], batch.views["global"][1], *(batch.views["local"][i] for i in range(3))]
    return [(v.data_ptr(), v.shape, v.stride()) for v in views] == [(v.data_ptr(), v.shape, v.stride()) for v in own]


def test_plain_loops_get_views_and_target_without_a_copy(batch: vm.Batch) -> None:
    views, target = plain.form(batch)
    assert isinstance(views, list) and is_all_of(views, batch) and target is batch.label


def test_lightly_gets_views_targets_and_names_without_a_copy(batch: vm.Batch) -> None:
    views, targets, names = lightly.form(batch)
    assert isinstance(views, list) and is_all_of(views, batch) and targets is batch.label and names == batch.key


def test_solo_learn_gets_indexes_views_and_targets_without_a_copy(batch: vm.Batch) -> None:
    indexes, views, targets = solo_learn.form(batch)
    assert isinstance(views, list) and is_all_of(views, batch) and targets is batch.label and indexes is batch.index


@pytest.mark.parametrize(("recipe", "rows"), [(ONE, 4), (TWO, 8)])
def test_timm_gets_one_input_without_a_copy_all_first_views_first(recipe: vm.Recipe, rows: int) -> None:
    with local(12, 4, recipe=recipe) as loader:
        batch = next(iter(loader))
        given, target = timm.form(batch)
    assert given.shape == (rows, 3, 8, 8) and given.data_ptr() == batch.views["global"].data_ptr()
    assert torch.equal(given[-4:], batch.views["global"][-1]) and target.tolist() == batch.label.tolist() * (rows // 4)


def test_scripts_of_crops_get_the_list_with_targets_or_alone() -> None:
    with local(12, 4) as loader:
        images, target = next(iter(vm.adapt(loader, to="crops")))
        alone = next(iter(vm.adapt(loader, to="crops", targets=False)))
    assert [tuple(x.shape) for x in images] == [tuple(x.shape) for x in alone] == [(4, 3, 8, 8)] * 2 + [(4, 3, 6, 6)] * 3
    assert target.dtype == torch.int64 and isinstance(alone, list)
    small_first = vm.Recipe(SMALL.views[::-1], name="reversed")
    with pytest.raises(ValueError, match=r"large crops first, and recipe reversed has local, global"):
        crops.adapted(local(12, 4, recipe=small_first))


def test_transformers_gets_the_arguments_of_a_forward_without_a_copy() -> None:
    with local(12, 4, recipe=ONE) as loader:
        batch = next(iter(loader))
        given = transformers.adapted(loader).form(batch)
    assert set(given) == {"pixel_values", "labels"} and given["labels"] is batch.label
    assert given["pixel_values"].data_ptr() == batch.views["global"].data_ptr()  # type: ignore[union-attr]
    with local(12, 4) as several:
        batch = next(iter(several))
        assert is_all_of(transformers.adapted(several).form(batch)["pixel_values"], batch)  # type: ignore[arg-type]


def test_transformers_gets_masks_where_the_recipe_draws_them_and_no_labels_where_there_are_none() -> None:
    mask = RandomExact(grid=(4, 4), visible=4)
    masked = vm.Recipe((vm.View(group="global", size_px=8, ops=(Crop(size_px=8), Normalize(kind="none"), mask)),), name="masked")
    with vm.Loader(data(12)[0], masked, 4, sidecar=False) as loader:
        batch = next(iter(loader))
        given = transformers.adapted(loader).form(batch)
    assert set(given) == {"pixel_values", "bool_masked_pos"}
    assert given["bool_masked_pos"].shape == (4, 16) and given["bool_masked_pos"].sum(1).tolist() == [12] * 4  # type: ignore[union-attr]
    assert torch.equal(given["bool_masked_pos"], batch.masks("global")[0].flatten(1))  # type: ignore[arg-type]


def test_what_trainers_look_for_on_a_loader_is_there() -> None:
    batches = vm.adapt(local(14, 4), to="torch")
    assert len(batches) == 3 and len(batches.dataset) == 14 and batches.batch_size == 4 and batches.drop_last
    assert not isinstance(batches, torch.utils.data.DataLoader) and batches.num_workers == 0 and batches.batch_sampler is None
    with batches:
        assert len(list(batches)) == 3


def positions(batches: Any, most: int | None = None) -> list[int]:
    """Index of each sample that a solo-learn loop sees, in order; the loop is left after `most` batches."""
    found = []
    for number, (index, _, _) in enumerate(batches):
        found += index.tolist()
        if number + 1 == most:
            break
    return found


def test_an_epoch_that_a_trainer_names_begins_there_and_a_restored_position_stays() -> None:
    with vm.adapt(local(12, 4), to="solo-learn") as whole:
        epochs = [positions(whole) for _ in range(3)]
    with vm.adapt(local(12, 4), to="solo-learn") as batches:
        batches.sampler.set_epoch(0)
        assert positions(batches, 1) == epochs[0][:4]
        state = batches.state_dict()
        batches.sampler.set_epoch(2)  # the first was left half-way
        assert positions(batches) == epochs[2]
        batches.sampler.set_epoch(1)
        assert positions(batches) == epochs[1]
    with vm.adapt(local(12, 4), to="solo-learn") as later:
        later.load_state_dict(state)
        later.sampler.set_epoch(0)
        assert positions(later) == epochs[0][4:]
        later.sampler.set_epoch(1)
        assert positions(later) == epochs[1]


def test_an_epoch_of_a_trainer_is_a_pass_of_the_loader() -> None:
    with vm.adapt(local(8, 4), to="solo-learn") as whole:
        epochs = [positions(whole) for _ in range(4)]
    with vm.adapt(local(8, 4, epochs=2), to="solo-learn") as batches:
        assert len(batches) == 4
        batches.set_epoch(1)
        assert positions(batches) == epochs[2] + epochs[3]


def test_seek_goes_to_a_batch_by_arithmetic_and_refuses_one_that_is_not_there() -> None:
    with local(12, 4) as whole:
        wanted = [batch.index.tolist() for _ in range(3) for batch in whole]
    with local(12, 4) as loader:
        loader.seek(2, 1)
        assert loader.epoch == 2 and [batch.index.tolist() for batch in loader] == wanted[7:]
        with pytest.raises(ValueError, match="within its 12 samples, got epoch 0, step 4 of 4 x 1"):
            loader.seek(0, 4)
        with pytest.raises(ValueError, match="got epoch -1"):
            loader.seek(-1)


@pytest.mark.parametrize(("options", "to", "said"), [
    ({}, "lihgtly", "there is no receiver 'lihgtly'; .*lightly"),
    ({"epochs": None}, "torch", "give epochs=1"),
    ({"epochs": 2}, "transformers", "the loader needs epochs=1, got 2"),
    ({}, "timm", "recipe small has groups global, local"),
])
def test_what_cannot_work_is_refused_in_one_line(options: dict[str, Any], to: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        vm.adapt(local(12, 4, **options), to=to)
    assert "\n" not in str(caught.value)


def test_options_loaders_and_data_that_a_receiver_cannot_take_are_refused() -> None:
    with pytest.raises(ValueError, match=r"adapt\(to='crops'\) has no option 'target'; .*targets"):
        vm.adapt(local(12, 4), to="crops", target=False)
    with pytest.raises(ValueError, match=r"adapt\(to='torch'\) has no option 'targets'; it has none"):
        vm.adapt(local(12, 4), to="torch", targets=False)
    with pytest.raises(ValueError, match=r"needs a viewmill.Loader, got list"):
        vm.adapt([1], to="torch")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="these data have none"):
        vm.adapt(vm.Loader(data(8)[0], ONE, 4, sidecar=False), to="timm")
    left = vm.Recipe((vm.View(group="global", size_px=16, ops=(Crop(size_px=16), INPAINT, Normalize(kind="none"))),))
    with pytest.raises(ValueError, match="leaves inpaint to the method"):
        vm.adapt(local(12, 4, recipe=left, left=("inpaint",)), to="torch")


def test_lightning_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightning, "LIBRARIES", ("no_such_lightning.pytorch",))
    with pytest.raises(ValueError, match=r"neither lightning nor pytorch_lightning is installed: pip install"):
        vm.adapt(local(12, 4), to="lightning")


def test_every_receiver_is_told_of_in_the_documentation() -> None:
    assert set(RECEIVERS) == {"torch", "crops", "lightly", "solo-learn", "timm", "lightning", "transformers"}
    assert all(name in str(vm.adapt.__doc__) for name in RECEIVERS)
