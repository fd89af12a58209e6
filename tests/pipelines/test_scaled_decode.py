"""Streams of a recipe with decode="scaled": each image at its own fraction, the same bits for any way of making them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import viewmill as vm
from PIL import Image
from viewmill import Loader
from viewmill.augment import UnsupportedRecipe
from viewmill.augment.ops import Crop, Flip
from viewmill.augment.scaled_decode import reduced
from viewmill.pipelines.decode import decode
from viewmill.pipelines.engines.cpu import CpuEngine
from viewmill.pipelines.preview import preview, remake
from viewmill.pipelines.source import open_source

from .shards import encoded
from .streams import SMALL, flat, pictures, run, shown

SCALED = replace(SMALL, decode="scaled")
ENGINES = ("cpu", "torch")


def large(root: Path, broken: tuple[int, ...] = (), kind: str = "JPEG") -> Path:
    """24 images of 40 to 400 px; of the broken ones only the first half of the file is there."""
    target = root / "large"
    target.mkdir()
    for number, picture in enumerate(pictures(24)):
        side = picture.shape[1] * (4, 8, 13, 20)[number % 4] + number, picture.shape[0] * (4, 8, 13, 20)[number % 4] + 1
        data = encoded(Image.fromarray(picture).resize(side, Image.Resampling.BICUBIC), kind, quality=90)
        data = data[: len(data) // 2] if number in broken else data
        (target / f"{number:02}.{'jpg' if kind == 'JPEG' else 'png'}").write_bytes(data)
    return target


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return large(tmp_path_factory.mktemp("scaled"))


def open_loader(folder: Path, batch_size: int = 6, **options: Any) -> Loader:
    recipe = options.pop("recipe", SCALED)
    return Loader(folder, recipe, batch_size, **{"seed": 5, "sidecar": False, "threads": 2, "engine": "cpu", **options})


@pytest.mark.parametrize("engine", ENGINES)
def test_each_image_is_decoded_as_its_parameters_say(folder: Path, engine: str) -> None:
    source, seen = open_source(folder), set[int]()
    with open_loader(folder, engine=engine) as loader:
        for batch in loader:
            by = batch.params[""]["decode"]["denominator"]
            seen |= set(by.tolist())
            images = [decode(source.read(int(i)), int(d)) for i, d in zip(batch.index, by, strict=True)]
            expected = vm.render(images, SCALED, batch.params, engine=engine, scaled=True)
            for group, views in batch.views.items():
                assert torch.equal(views, expected[group])
    assert seen >= {1, 2, 4}


@pytest.mark.parametrize("options", [
    {"threads": 1}, {"threads": 3}, {"sidecar": True}, {"prefetch": 5}, {"batch_size": 4},
])
def test_the_bits_do_not_depend_on_who_makes_them(folder: Path, options: dict[str, Any]) -> None:
    expected = sorted(flat(run(open_loader(folder))))
    assert sorted(flat(run(open_loader(folder, **options)))) == expected


def test_ranks_and_a_restored_state_show_the_same(folder: Path) -> None:
    expected = sorted(flat(run(open_loader(folder))))
    ranks = [flat(run(open_loader(folder, 3, rank=rank, world_size=2))) for rank in range(2)]
    assert sorted(flat(ranks)) == expected
    with open_loader(folder) as loader:
        first = shown(next(iter(loader)))
        state = loader.state_dict()
    restored = open_loader(folder, threads=1)
    restored.load_state_dict(state)
    assert sorted(first + flat(run(restored))) == expected
    with pytest.raises(ValueError, match="recipe"):
        open_loader(folder, recipe=SMALL).load_state_dict(state)


def test_a_stand_in_is_decoded_by_its_own_boxes(tmp_path: Path) -> None:
    folder = large(tmp_path, broken=(3, 7, 11, 15))
    source = open_source(folder)
    with open_loader(folder, max_bad=1.0) as loader:
        batches = list(loader)
    replaced = 0
    for batch in batches:
        expected = vm.render([decode(source.read(int(i)), int(d)) for i, d in
                              zip(batch.index, batch.params[""]["decode"]["denominator"], strict=True)],
                             SCALED, batch.params, scaled=True)
        for group, views in batch.views.items():
            assert torch.equal(views, expected[group])
        replaced += int(batch.substitute.sum())
    assert replaced == 4
    for threads in (1, 3):
        assert run(open_loader(folder, max_bad=1.0, threads=threads)) == [shown(batch) for batch in batches]


def test_an_image_of_another_size_than_its_index_says_is_bad(folder: Path) -> None:
    class Wrong(type(open_source(folder))):  # type: ignore[misc]
        def size_hw(self, index: np.ndarray) -> np.ndarray:
            return np.asarray(super().size_hw(index)) + 40 * (np.asarray(index) == 7)[:, None]

    with open_loader(Wrong(folder), max_bad=1.0) as loader:  # type: ignore[arg-type]
        list(loader)
        assert loader.stats()["substituted"] == {"size differs from index": 1}


def test_small_images_get_the_bits_of_full_decode() -> None:
    data = pictures(24)
    with open_loader(data) as ours, open_loader(data, recipe=SMALL) as full:  # type: ignore[arg-type]
        for a, b in zip(ours, full, strict=True):
            assert (a.params[""]["decode"]["denominator"] == 1).all()
            for group in a.views:
                assert torch.equal(a.views[group], b.views[group])


@pytest.mark.parametrize("engine", ENGINES)
def test_views_of_a_past_run_are_remade_from_the_same_scale(folder: Path, engine: str, tmp_path: Path) -> None:
    source = open_source(folder)
    with open_loader(folder, engine=engine, epochs=2) as loader:
        batch = list(loader)[5]
    made = remake(source, SCALED, index=batch.index.tolist(), epoch=1, seed=5, engine=engine)
    for group, views in batch.views.items():
        assert torch.equal(views, made.views[group])
    by = made.params[""]["decode"]["denominator"]
    assert any(d > 1 for d in by) and [i.shape for i in made.images] != [i.shape for i in made.decoded]
    assert preview(source, SCALED, tmp_path / "views.png", samples=2, engine=engine) == 10


@pytest.mark.parametrize("engine", ENGINES)
def test_render_reduces_whole_images(folder: Path, engine: str) -> None:
    source = open_source(folder)
    images = [decode(source.read(i)) for i in range(8)]
    params = vm.draw(SCALED, 0, 0, np.arange(8), np.array([i.shape[:2] for i in images]))
    by = params[""]["decode"]["denominator"].tolist()
    assert max(by) > 1
    whole = vm.render(images, SCALED, params, engine=engine)
    small = vm.render([reduced(i, d) for i, d in zip(images, by, strict=True)], SCALED, params, engine=engine, scaled=True)
    for group in whole:
        assert torch.equal(whole[group], small[group])


def test_other_formats_are_reduced_as_render_does(tmp_path: Path) -> None:
    folder = large(tmp_path, kind="PNG")
    source = open_source(folder)
    with open_loader(folder) as loader:
        batch = next(iter(loader))
    assert max(batch.params[""]["decode"]["denominator"]) > 1
    expected = vm.render([decode(source.read(int(i))) for i in batch.index], SCALED, batch.params)
    for group in expected:
        assert torch.equal(batch.views[group], expected[group])


@pytest.mark.parametrize("engine", ["auto", "cpu", "torch"])
def test_what_cannot_be_scaled_is_refused_at_construction(engine: str) -> None:
    for recipe in (vm.recipe("beit"), vm.recipe("simclr"), vm.recipe("jigsaw++")):
        with pytest.raises(UnsupportedRecipe, match="use decode='full'") as refused:
            open_loader(pictures(8), recipe=replace(recipe, decode="scaled"), engine=engine)  # type: ignore[arg-type]
        assert "\n" not in str(refused.value)
    with pytest.raises(UnsupportedRecipe, match="finds crop without antialias"):
        CpuEngine(replace(vm.recipe("simclr"), decode="scaled"))


def test_a_flip_before_the_crop_mirrors_the_scaled_image(folder: Path) -> None:
    """Then both engines cut the same box of the same pixels."""
    view = replace(SMALL.views[0], ops=(Flip(p=0.5), Crop(size_px=8, scale=(0.3, 1.0))))
    recipe = replace(SCALED, views=(view,))
    source = open_source(folder)
    images = [decode(source.read(i)) for i in range(24)]
    params = vm.draw(recipe, 0, 0, np.arange(24), np.array([i.shape[:2] for i in images]))
    fast, reference = (vm.render(images, recipe, params, engine=engine)["global"] for engine in ENGINES)
    assert (fast - reference).abs().max() * 255 < 1.01 and (fast - reference).abs().mean() * 255 < 0.01
