"""A sample's views made again: exactly those of the past run; and a sheet that a person can read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import viewmill as vm
from PIL import Image
from viewmill.augment import Recipe, UnsupportedRecipe
from viewmill.augment.presets import names
from viewmill.pipelines.contact_sheet import MOST_COLUMNS
from viewmill.pipelines.order import Order
from viewmill.pipelines.preview import (
    _cell,
    _source_picture,
    _view,
    pictured_image,
    pictured_views,
    positions,
    preview,
    remake,
    saved_recipe,
)
from viewmill.pipelines.source import open_source


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40 + i, 70 - i, 3), dtype=np.uint8) for i in range(24)]


@pytest.mark.parametrize(("recipe", "shuffle"), [
    ("simclr_cifar", "auto"), ("simclr_cifar", "lanes"), ("rotnet_cifar", "auto"), ("counting", "auto"),
])
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


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """Four of scikit-image's, (96, 128, 3); no two alike."""
    data = pytest.importorskip("skimage.data")
    return [np.asarray(Image.fromarray(p).convert("RGB").resize((128, 96))) for p in (
        data.astronaut(), data.chelsea(), data.coffee(), data.rocket())]


def kinds() -> dict[str, str]:
    """One preset for each kind of chain: which groups there are, and which ops make their views."""
    def kind(name: str) -> str:
        return str([(i.group, [type(op).__name__ for op in i.ops]) for i in vm.recipe(name).instances[::2]])

    return {kind(name): name for name in names()}


@pytest.mark.parametrize("name", kinds().values())
def test_every_kind_of_preset_has_a_sheet(name: str, photographs: list[np.ndarray], tmp_path: Path) -> None:
    recipe = vm.recipe(name)
    count = preview(open_source(photographs), recipe, tmp_path / "deep" / "views.png", samples=1, engine="torch")
    sheet = np.asarray(Image.open(tmp_path / "deep" / "views.png"))
    assert count == len(recipe.instances)
    assert sheet.shape[1] > 200 * min(1 + len(recipe.instances), MOST_COLUMNS) and (sheet < 128).mean() > 0.01


def test_a_puzzle_has_a_cell_more_with_its_tiles_in_place(photographs: list[np.ndarray]) -> None:
    """PIRL's tiles by themselves, and once more where they lay: the mean colours of the nine agree with the source's."""
    recipe = vm.recipe("pirl_gblur")
    kept = ("crop", "tiles", "permute", "normalize")
    patch = replace(recipe.views[1], ops=tuple(op for op in recipe.views[1].ops or () if op.type in kept))
    recipe = Recipe((patch,), name="tiles")
    made = remake(open_source(photographs), recipe, samples=1, engine="torch")
    cells = [_cell(each) for each in pictured_views(made, recipe, 0)]
    assert len(cells) == 10
    whole = np.asarray(cells[-1])[:192].astype(float)
    top, left, height, width = made.params["patch/0"]["crop"]["box"][0].tolist()
    source = Image.fromarray(made.images[0][top:top + height, left:left + width]).resize((192, 192))
    for row in range(3):
        for column in range(3):
            here = whole[row * 64 + 12:row * 64 + 52, column * 64 + 12:column * 64 + 52].mean((0, 1))
            there = np.asarray(source)[row * 64 + 12:row * 64 + 52, column * 64 + 12:column * 64 + 52].mean((0, 1))
            assert np.abs(here - there).max() < 30


def test_views_that_are_not_there_share_one_crossed_out_cell(photographs: list[np.ndarray]) -> None:
    recipe = vm.recipe("context")
    made = remake(open_source(photographs), recipe, samples=1, engine="torch")
    present = sum(bool(made.params[i.name]["tiles"]["present"][0]) for i in recipe.instances)
    cells = [_cell(each) for each in pictured_views(made, recipe, 0)]
    assert 0 < present < 96 and len(cells) == present + 1
    assert (np.asarray(cells[-1])[20:60, 90:100] == 238).all()


def test_second_images_are_those_of_the_run(photographs: list[np.ndarray], tmp_path: Path) -> None:
    """The order of the epoch says which they are; they are drawn for, shown in the corner, and named."""
    recipe = vm.recipe("counting")
    source = open_source(photographs)
    made = remake(source, recipe, samples=4, seed=3, epoch=1)
    order = Order(source.shard_sizes, 3, shuffle="full")
    own = order.index(1, np.arange(4))
    partner = order.index(1, made.params[""]["partner"]["position"])
    assert made.index.tolist() == own.tolist() and made.partner_index.tolist() == partner.tolist()
    assert all(a != b for a, b in zip(own, partner, strict=True))
    for row in range(4):
        assert np.array_equal(made.partners[row], photographs[partner[row]])
        box = made.params["whole/1"]["crop"]["box"][row]
        cut = made.partners[row][box[0]:box[0] + box[2], box[1]:box[1] + box[3]]
        assert abs(float(made.views["whole"][1, row].mean()) * 255 - cut.mean()) < 3
    corner = _source_picture(made, recipe, 0)[-30:-6, -40:-6]
    assert np.abs(corner.mean((0, 1)) - made.partners[0][20:-10, 16:-10].mean((0, 1))).max() < 40


def test_a_view_that_needs_a_model_is_shown_up_to_there(photographs: list[np.ndarray]) -> None:
    """LCI's class 1 stops before inpainting, at 80 px; class 0 does so in the half of a block that is autoencoded."""
    recipe = vm.recipe("lci_stl10")
    made = remake(open_source(photographs), recipe, samples=4)
    assert not made.views and len(pictured_views(made, recipe, 0)) == 6
    for row in range(4):
        view, ops, stop = _view(made, recipe, recipe.instances[1], row)
        assert view.shape == (3, 80, 80) and stop is not None and stop.type == "inpaint"
        assert [op.type for op in ops] == ["resize", "random_crop", "flip"]
        view, _, stop = _view(made, recipe, recipe.instances[0], row)
        half = bool(made.params["class/0"]["autoencode"]["apply"][row])
        assert (stop is not None) == half and view.shape[-1] == (80 if half else 64)
        assert _view(made, recipe, recipe.instances[5], row)[2] is None


def test_auto_takes_the_engine_that_can(photographs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    from viewmill.pipelines import preview as module

    render = module.render

    def refuses(*images: Any, engine: str, **given: Any) -> Any:
        if engine != "torch":
            raise UnsupportedRecipe("not this one")
        return render(*images, engine=engine, **given)

    source, recipe = open_source(photographs), vm.recipe("rotnet_cifar").with_op("global", "random_crop", pad_px=0)
    expected = remake(source, recipe, engine="torch").views["global"]
    monkeypatch.setattr(module, "render", refuses)
    assert np.array_equal(remake(source, recipe).views["global"].numpy(), expected.numpy())
    with pytest.raises(UnsupportedRecipe, match="not this one"):
        remake(source, recipe, engine="cpu")
    with pytest.raises(ValueError, match="there is no engine 'torhc'; did you mean 'torch'"):
        remake(source, recipe, engine="torhc")


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


def test_a_small_image_is_enlarged_before_frames_are_drawn(pictures: list[np.ndarray]) -> None:
    source, recipe = open_source(pictures), vm.recipe("simclr_cifar")
    made = remake(source, recipe, samples=1)
    height, width, _ = made.images[0].shape
    times = 300 // max(height, width)
    shown = pictured_image(made, recipe, 0, source, large_px=300)
    assert shown.pixels.shape == (times * height, times * width, 3) and times >= 4
    top, left = (times * side for side in made.params["global/1"]["crop"]["box"][0][:2].tolist())
    green = np.array([60, 180, 75])  # the second view's frame, drawn last, begins there
    assert (shown.pixels[top, left:left + 9] == green).all() and (shown.pixels[top:top + 9, left] == green).all()
    assert [each.frame for each in pictured_views(made, recipe, 0)] == ["#e6194b", "#3cb44b"]
    assert shown.captions[1] == f"{width}x{height} px" and shown.frame is None
