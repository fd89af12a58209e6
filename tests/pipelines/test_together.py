"""Several recipes, or several repeats, from one decode: each one's pixels, and what is not done twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import viewmill as vm
from viewmill.augment import Recipe, View
from viewmill.augment.ops import (
    Blur,
    Crop,
    Flip,
    Grayscale,
    Jitter,
    Normalize,
    Occlude,
    Permute,
    Resize,
    Solarize,
    Tiles,
)
from viewmill.pipelines import producer
from viewmill.pipelines.engines.cpu.codes import BASE, BEGIN, END, SHARED
from viewmill.pipelines.engines.cpu.program import compile_recipe
from viewmill.pipelines.engines.dali import DaliEngine
from viewmill.pipelines.engines.dali.library import missing
from viewmill.pipelines.preview import preview
from viewmill.pipelines.source import open_source
from viewmill.pipelines.state import StateError

from .streams import folder

COLOUR = Recipe(name="colour", views=(
    View("global", 16, (Crop(size_px=16), Flip(), Jitter(p=0.8), Grayscale(p=0.3), Blur(p=0.5, sigma_px=(0.1, 2.0)),
                        Solarize(p=0.4), Normalize(kind="none")), count=2),
    View("local", 9, (Crop(size_px=9, scope="image"), Flip(), Jitter(), Normalize(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))),
         count=2)))
TILES = (Resize(mode="exact", side_px=24), Tiles(layout="cells", grid=(3, 3), cell_px=8, tile_px=8, offset_px=(0, 0)))
PUZZLE = Recipe((View("tile", 8, (*TILES, Permute(slots=9, free=True, scope="image"), Flip()), count=9),), "puzzle")
OCCLUDED = Recipe((View("tile", 8, (*TILES, Occlude(count=(2, 2), scope="image"), Flip()), count=9),), "occluded")
ARMS = {
    "no blur": (COLOUR, COLOUR.with_op("*", "blur", p=0.0)),
    "another crop": (COLOUR, COLOUR.with_op("global/1", "crop", scale=(0.5, 1.0))),
    "the same": (COLOUR, COLOUR),
    "more crops": (COLOUR, replace(COLOUR, views=(COLOUR.views[0], replace(COLOUR.views[1], count=5)))),
    "puzzles": (PUZZLE, OCCLUDED),
    "repeats": (COLOUR, replace(COLOUR.with_op("*", "flip", p=0.0), repeats=2)),
}
ENGINES = ["cpu", "torch", pytest.param("dali", marks=pytest.mark.skipif(missing() != "", reason="DALI is not there"))]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (40 + i, 57 - i, 3), dtype=np.uint8) for i in range(6)]


def rendered(recipe: Recipe, pictures: list[np.ndarray], engine: str) -> dict[str, torch.Tensor]:
    sizes, index = np.array([each.shape[:2] for each in pictures]), np.arange(len(pictures))
    params = vm.draw(recipe, 1, 0, index, sizes, position=index, length=len(index), partner_size_hw=sizes[::-1])
    return vm.render(pictures, recipe, params, engine=engine, partners=pictures[::-1] if recipe.takes_partner else None)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("arms", list(ARMS))
def test_each_arm_has_the_pixels_of_its_recipe_by_itself(arms: str, engine: str, pictures: list[np.ndarray]) -> None:
    if engine == "dali" and arms == "puzzles":
        pytest.skip("the dali engine takes no second image")
    first, second = ARMS[arms]
    both = rendered(vm.together({"a": first, "b": second}), pictures, engine)
    for arm, recipe in (("a", first), ("b", second)):
        for group, views in rendered(recipe, pictures, engine).items():
            assert torch.equal(both[f"{arm}:{group}"], views), (arm, group)


def test_an_arm_without_blur_makes_no_second_crop_and_no_second_jitter() -> None:
    """Crop with its flip, jitter, grayscale, and then its own: blur, solarize, store. All of the local crops but the store."""
    program = compile_recipe(vm.together({"a": COLOUR, "b": COLOUR.with_op("global", "blur", p=0.0)}))
    base, shared = program.instances[:, BASE].tolist(), program.instances[:, SHARED].tolist()
    assert base == [1, 1, 2, 2, 3, 3, 4, 4] and shared == [3, 3, 3, 3, 2, 2, 2, 2]
    assert (program.instances[:, END] - program.instances[:, BEGIN]).tolist() == [6, 6, 6, 6, 3, 3, 3, 3]


@pytest.mark.skipif(missing() != "", reason="DALI is not there")
def test_dali_cuts_once_for_arms_with_the_same_crop() -> None:
    one, two = DaliEngine(COLOUR), DaliEngine(vm.together({"a": COLOUR, "b": COLOUR.with_op("global", "blur", p=0.0)}))
    assert len(two.outputs) == len(one.outputs) and len(two.nodes) == len(one.nodes)
    assert [(work.group, len(work.views)) for work in two.works] == [
        ("a:global", 2), ("b:global", 2), ("a:local", 2), ("b:local", 2)]


def test_one_decode_serves_all_arms_and_all_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    def counting(*args: object) -> np.ndarray:
        decoded.append(1)
        return decode(*args)  # type: ignore[arg-type]

    decode = producer.decode
    monkeypatch.setattr(producer, "decode", counting)
    source = folder(tmp_path, 12)
    both = vm.together({"a": COLOUR, "b": COLOUR.with_op("*", "flip", p=0.0), "c": PUZZLE})
    for recipe, views in ((both, 4 + 4 + 9), (replace(COLOUR, repeats=3), 12)):
        decoded.clear()
        with vm.Loader(source, recipe, 4, sidecar=False, threads=2, prefetch=1) as loader:
            made = [sum(len(views) for views in batch.views.values()) for batch in loader]
        # What is made ahead belongs to the next epoch: at most the batches in the ring.
        assert made == [views] * 3 and 12 <= len(decoded) <= 12 + 2 * 4, recipe


def test_a_loader_streams_arms_and_goes_on_with_them(pictures: list[np.ndarray]) -> None:
    both = vm.together({"a": COLOUR, "b": COLOUR.with_op("*", "blur", p=0.0)})
    options: dict[str, object] = {"batch_size": 2, "seed": 4, "sidecar": False, "threads": 1}
    alone, other = (list(vm.Loader(pictures, recipe, **options)) for recipe in ARMS["no blur"])  # type: ignore[arg-type]
    loader = vm.Loader(pictures, both, **options)  # type: ignore[arg-type]
    first = next(iter(loader))
    later = vm.Loader(pictures, both, **options)  # type: ignore[arg-type]
    later.load_state_dict(loader.state_dict())
    for batch, ours, theirs in zip([first, *later], alone, other, strict=True):
        for group in ("global", "local"):
            assert torch.equal(batch.views[f"a:{group}"], ours.views[group])
            assert torch.equal(batch.views[f"b:{group}"], theirs.views[group])
        assert (batch.params["a:global/1"]["crop"]["box"] == batch.params["b:global/1"]["crop"]["box"]).all()
        assert batch.params["b:global/0"]["jitter"]["order"].tobytes() == theirs.params["global/0"]["jitter"]["order"].tobytes()
    with pytest.raises(StateError, match="recipe"):
        vm.Loader(pictures, COLOUR, **options).load_state_dict(loader.state_dict())  # type: ignore[arg-type]


def test_masks_are_asked_for_by_arm(pictures: list[np.ndarray]) -> None:
    both = vm.together({"light": vm.recipe("mae").with_op("*", "masks", visible=98), "heavy": "mae"})
    batch = next(iter(vm.Loader(pictures, both, 2, sidecar=False, threads=1)))
    assert batch.masks("light:global").float().mean() == 0.5 and batch.masks("heavy:global").float().mean() == 0.75
    with pytest.raises(ValueError, match="groups with masks: heavy:global, light:global"):
        batch.masks("global")


def test_a_preview_shows_all_arms(pictures: list[np.ndarray], tmp_path: Path) -> None:
    both = vm.together({"a": COLOUR, "b": PUZZLE})
    assert preview(open_source(pictures), both, tmp_path / "views.png", samples=2) == 2 * (4 + 9)
    assert (tmp_path / "views.png").stat().st_size > 10_000
