"""A sample's views made again: exactly those of the past run; and a sheet that a person can read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import viewmill as vm
from PIL import Image
from viewmill.augment.presets import names
from viewmill.pipelines.order import Order
from viewmill.pipelines.preview import positions, preview, remake, saved_recipe
from viewmill.pipelines.source import open_source


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40 + i, 70 - i, 3), dtype=np.uint8) for i in range(24)]


@pytest.mark.parametrize(("recipe", "shuffle"), [("simclr_cifar", "auto"), ("simclr_cifar", "lanes"), ("rotnet_cifar", "auto")])
def test_views_of_a_past_run_are_remade_to_the_bit(pictures: list[np.ndarray], recipe: str, shuffle: str) -> None:
    loader = vm.Loader(pictures, recipe, 8, seed=11, epochs=3, shuffle=shuffle, sidecar=False, threads=1)
    batch = [b for b in loader if b.epoch == 2][1]
    made = remake(open_source(pictures), vm.recipe(recipe), index=batch.index.tolist(), epoch=2, seed=11, shuffle=shuffle)
    for group, views in batch.views.items():
        assert views.numpy().tobytes() == made.views[group].numpy().tobytes()


def test_draws_shared_by_blocks_of_positions_are_remade_too(pictures: list[np.ndarray]) -> None:
    """SimCLR's sigma belongs to a block of positions, so where a sample stood in the epoch matters."""
    recipe = vm.recipe("simclr").with_op("global", "crop", size_px=24)
    recipe = type(recipe)(tuple(type(v)(**{**v.__dict__, "size_px": 24}) for v in recipe.views), block=4)
    loader = vm.Loader(pictures, recipe, 8, seed=1, epochs=1, sidecar=False, threads=1)
    batch = list(loader)[2]
    made = remake(open_source(pictures), recipe, index=batch.index.tolist(), seed=1)
    assert batch.views["global"].numpy().tobytes() == made.views["global"].numpy().tobytes()
    assert len(set(batch.params["global/0"]["blur"]["sigma_px"].tolist())) == 2  # eight samples, two blocks


def test_positions_are_found_in_any_chunk() -> None:
    order = Order(np.array([50, 60]), 3)
    index = order.index(4, np.array([0, 77, 109]))
    assert positions(order, 4, index, chunk=16).tolist() == [0, 77, 109]


@pytest.mark.parametrize("name", names())
def test_every_preset_has_a_sheet(name: str, pictures: list[np.ndarray], tmp_path: Path) -> None:
    recipe = vm.recipe(name)
    large = [np.asarray(Image.fromarray(p).resize((80, 60))) for p in pictures[:2]]
    count = preview(open_source(large), recipe, tmp_path / "deep" / "views.png", samples=2)
    sheet = np.asarray(Image.open(tmp_path / "deep" / "views.png"))
    assert count == 2 * len(recipe.instances)
    assert sheet.shape[1] > 200 * (1 + len(recipe.instances)) and (sheet < 128).mean() > 0.01


def test_masked_patches_are_grayed_out(pictures: list[np.ndarray], tmp_path: Path) -> None:
    from viewmill.pipelines.preview import _displayed

    recipe = vm.recipe("mae_cifar")
    made = remake(open_source(pictures), recipe, samples=1)
    instance, mask = recipe.instances[0], made.params["global/0"]["masks"]["mask"][0]
    shown = _displayed(made.views["global"][0, 0].numpy(), instance, made.params, 0)
    hidden = np.kron(mask, np.ones((4, 4), bool))
    assert (shown[hidden] >= 100).all() and (shown[hidden] <= 151).all() and (shown[~hidden] < 100).any()


def test_a_recipe_is_found_by_name_or_in_a_runs_folder(tmp_path: Path) -> None:
    weaker = vm.recipe("dino").with_op("local", "blur", p=0.0)
    (tmp_path / "config.json").write_text(json.dumps({"config": {}, "recipe": weaker.to_dict()}))
    assert saved_recipe("dino") == vm.recipe("dino") and saved_recipe(str(tmp_path)) == weaker
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="no recipe can be read from it"):
        saved_recipe(str(tmp_path))


def test_a_sample_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    from viewmill.pipelines.shard_writer import write_shard

    write_shard(tmp_path / "a.tar", [("bad", {"jpg": b"\xff\xd8 not a picture"})])
    with pytest.raises(ValueError, match=r"a\.tar: bad\.jpg"):
        remake(open_source(tmp_path / "a.tar"), vm.recipe("mae"), index=[0])
