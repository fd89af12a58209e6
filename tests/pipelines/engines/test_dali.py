"""The dali engine on the CPU: its pixels beside the specification's, what it refuses, and that a GPU knows all its ops."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import viewmill as vm
from PIL import Image
from viewmill.augment import Recipe, UnsupportedRecipe, View
from viewmill.augment.ops import (
    Blur,
    CenterCrop,
    Crop,
    Flip,
    Grayscale,
    Jitter,
    Normalize,
    Op,
    RandomCrop,
    Resize,
    Solarize,
    Tiles,
)
from viewmill.augment.presets import names
from viewmill.augment.render import apply_ops
from viewmill.pipelines.engines import dali

nvidia = pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")

SIZES = [(61, 83), (98, 97), (131, 297), (333, 250), (64, 64)]


@pytest.fixture(scope="module")
def pictures(photograph: np.ndarray) -> list[np.ndarray]:
    """Sharp and noisy: nothing is smoothed over."""
    rng = np.random.default_rng(5)
    found = []
    for height, width in SIZES:
        picture = np.asarray(Image.fromarray(photograph).resize((width, height), Image.Resampling.NEAREST)).astype(np.int64)
        found.append((picture + rng.integers(-30, 31, picture.shape)).clip(0, 255).astype(np.uint8))
    return found


def one(*ops: Op, size_px: int | tuple[int, int] = 24) -> Recipe:
    return Recipe((View("a", size_px, ops),))


def apart(recipe: Recipe, images: list[np.ndarray], against: str = "torch", **options: Any) -> tuple[float, float]:
    """Largest and mean difference in levels of 255, of a recipe whose values stay on the unit scale."""
    n = len(images)
    params = vm.draw(recipe, 3, 0, np.arange(n), np.array([x.shape[:2] for x in images]), position=np.arange(n), length=n)
    made = dali.render(images, recipe, params, device="cpu", options=dali.DaliOptions(**options))
    reference = vm.render(images, recipe, params, engine=against)
    found = torch.cat([(made[group] - reference[group]).abs().flatten() for group in reference]) * 255
    return float(found.max()), float(found.mean())


@pytest.mark.parametrize("filter", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size_px", [24, 96, (97, 131), (200, 9)])
def test_antialiased_crops_are_the_contracts_up_to_its_borders(filter: str, size_px: Any, pictures: list[np.ndarray]) -> None:
    """Pillow leaves out what lies beyond the box, DALI repeats its border: that is taken off again. What remains is the order
    of the two passes, and sums in float instead of fixed point."""
    largest, mean = apart(one(Crop(size_px=size_px, filter=filter), Flip(p=0.5), size_px=size_px), pictures)
    assert largest <= 3 and mean < 0.05


@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
def test_crops_without_antialias_are_the_contracts(filter: str, pictures: list[np.ndarray]) -> None:
    crop = Crop(size_px=(50, 71), filter=filter, antialias=False, cubic_a=-0.5)
    largest, mean = apart(one(crop, Flip(p=0.5), size_px=(50, 71)), pictures)
    assert largest <= 1.01 and mean < 0.01


@pytest.mark.parametrize("recipe", [
    one(Resize(side_px=80), CenterCrop(size_px=64), size_px=64),
    one(Resize(side_px=40, filter="bicubic"), RandomCrop(size_px=36), Flip(p=1.0), size_px=36),
    one(Resize(mode="exact", side_px=29, filter="lanczos"), Flip(p=1.0), size_px=29),
    one(CenterCrop(size_px=90), size_px=90),
    one(Flip(p=0.5), Crop(size_px=33), size_px=33),
    one(RandomCrop(size_px=60, pad_px=7), Flip(p=0.5), size_px=60),
    one(Resize(side_px=75), Tiles(layout="cells", tile_px=20, grid=(3, 3), cell_px=25, offset_px=(0, 5)), size_px=20),
], ids=lambda recipe: "-".join(op.type for op in recipe.views[0].ops or ()))
def test_chains_of_geometry_are_the_contracts(recipe: Recipe, pictures: list[np.ndarray]) -> None:
    largest, mean = apart(recipe, pictures)
    assert largest <= 3 and mean < 0.05


def test_windows_are_exact(pictures: list[np.ndarray]) -> None:
    assert apart(one(RandomCrop(size_px=60, pad_px=7), size_px=60), pictures)[0] < 1e-4


def test_the_fused_way_is_near(pictures: list[np.ndarray]) -> None:
    """DALI's own filter sees beyond the box, so only the mean is held."""
    assert apart(one(Crop(size_px=96), Flip(p=0.5), size_px=96), pictures, resample="fused")[1] < 2


def test_colour_after_the_crop_is_the_specifications(pictures: list[np.ndarray]) -> None:
    """One level of the crop grows to a few by jitter's factors, and to a whole turn of a hue where a pixel is gray."""
    ops = (Crop(size_px=48), Flip(p=0.5), Jitter(p=1.0), Grayscale(p=0.3), Blur(p=0.5), Solarize(p=0.3))
    _, mean = apart(one(*ops, size_px=48), pictures)
    assert mean < 0.2


@pytest.fixture(scope="module")
def accepted() -> list[dali.DaliEngine]:
    """Of all presets, those that the engine takes."""
    found = []
    for name in names():
        with contextlib.suppress(ValueError):
            found.append(dali.DaliEngine(vm.recipe(name)))
    return found


def cut_only(engines: list[dali.DaliEngine]) -> list[tuple[str, Recipe]]:
    """The ways that the presets cut, each once, with the first preset that has it."""
    found: dict[Any, tuple[str, Recipe]] = {}
    for engine in engines:
        for instance in engine.recipe.instances:
            geometry, rest = engine._split(instance)
            ops = (*geometry, *(op for op in rest[:1] if isinstance(op, Flip)))
            size, _ = geometry[-1].output(None, 3)
            if not any(isinstance(op, Tiles) and op.layout == "lattice" for op in ops):
                found.setdefault(ops, (str(engine.recipe), Recipe((View("a", size, ops, count=instance.copy + 1),))))
    return list(found.values())


def test_every_accepted_preset_cuts_as_the_cpu_engine_does(accepted: list[dali.DaliEngine]) -> None:
    rng = np.random.default_rng(1)
    large = [np.kron(rng.integers(0, 256, (48, 40, 3), np.uint8), np.ones((8, 10, 1), np.uint8)) for _ in range(2)]
    checked = cut_only(accepted)
    assert len(accepted) > 75 and len(checked) > 15
    for name, recipe in checked:
        largest, mean = apart(recipe, large, against="cpu")
        assert largest <= 3 and mean < 0.4, f"{name}: {largest} {mean}"


@pytest.mark.parametrize("name", ["dino", "simclr", "moco_v2", "mae_cifar", "rotnet"])
def test_whole_presets_are_near_the_cpu_engine(name: str, pictures: list[np.ndarray]) -> None:
    n, recipe = len(pictures), vm.recipe(name)
    params = vm.draw(recipe, 1, 0, np.arange(n), np.array(SIZES), position=np.arange(n), length=n)
    made, reference = dali.render(pictures, recipe, params, device="cpu"), vm.render(pictures, recipe, params, engine="cpu")
    for group, views in reference.items():
        assert made[group].shape == views.shape and made[group].dtype == views.dtype
        assert float((made[group] - views).abs().mean()) * 255 * 0.23 < 0.2  # in levels; normalization divides by 0.23 or less


def test_copies_with_one_draw_are_cut_once_and_tiles_each() -> None:
    crop = Crop(size_px=75, scope="image")
    tiles = Tiles(layout="cells", tile_px=25, grid=(3, 3), cell_px=25, offset_px=(0, 0), scope="image")
    shared = dali.DaliEngine(Recipe((View("a", 75, (crop, Flip(p=0.5, scope="image")), count=4),)))
    assert len(shared.nodes) == 2 and shared.works[0].crops == (0, 0, 0, 0)
    jigsaw = dali.DaliEngine(Recipe((View("a", 25, (Resize(side_px=75), tiles), count=9),)))
    assert len(jigsaw.nodes) == 1 + 9 and jigsaw.works[0].crops == tuple(range(9))
    alone = dali.DaliEngine(Recipe((View("a", 75, (Crop(size_px=75),), count=4),)))
    assert len(alone.nodes) == 8


def test_half_types(pictures: list[np.ndarray]) -> None:
    recipe = one(Crop(size_px=24), Normalize(kind="range", range=(-1, 1)))
    params = vm.draw(recipe, 0, 0, np.arange(5), np.array(SIZES))
    exact = dali.render(pictures, recipe, params, device="cpu")["a"]
    half = dali.render(pictures, recipe, params, "bfloat16", device="cpu")["a"]
    assert half.dtype == torch.bfloat16 and torch.equal(half, exact.to(torch.bfloat16))


def test_what_follows_the_crop_is_compiled_where_that_works(pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch,
                                                            caplog: pytest.LogCaptureFixture) -> None:
    recipe = one(Crop(size_px=24), Grayscale(p=0.5), Solarize(p=0.5))
    params = vm.draw(recipe, 0, 0, np.arange(5), np.array(SIZES))
    eager = dali.render(pictures, recipe, params, device="cpu")["a"]
    called = []

    def fused(ops: tuple[Op, ...]) -> Any:
        called.append([op.type for op in ops])
        return lambda images, drawn: apply_ops(images, ops, drawn) + 1

    monkeypatch.setattr(dali, "compiled_ops", fused)
    compiled = dali.render(pictures, recipe, params, device="cpu", options=dali.DaliOptions(compile=True))["a"]
    assert called == [["grayscale", "solarize"]] and torch.allclose(compiled, eager + 1)
    assert torch.equal(dali.render(pictures, recipe, params, device="cpu")["a"], eager) and len(called) == 1

    monkeypatch.setattr(dali, "compiled_ops", lambda ops: lambda images, drawn: 1 / 0)
    engine = dali.DaliEngine(recipe, options=dali.DaliOptions(compile=True))
    crops = [torch.zeros((5, 24, 24, 3), dtype=torch.uint8)]
    with caplog.at_level("WARNING", "viewmill"):
        assert torch.equal(engine.finish(crops, params)["a"], engine.finish(crops, params)["a"])
    said = [record.message for record in caplog.records]
    assert said == ["torch cannot compile grayscale, solarize, which run one by one: division by zero"]


@pytest.mark.parametrize(("recipe", "said"), [
    (one(Jitter(), Crop(size_px=24)), "crops before anything else, and jitter comes first; try engine='cpu' or 'torch'"),
    (replace(one(Crop(size_px=24)), decode="scaled"), "the dali engine decodes images whole, .* try engine='cpu'"),
    (one(Crop(size_px=24, antialias=False, cubic_a=-0.75)), "cubic_a=-0.5, crop wants -0.75; try engine='cpu' or 'torch'"),
    (Recipe((View("a", 24, (Crop(size_px=24),)), View("b", 24, (Crop(size_px=24),), image="partner"))), "no second image"),
])
def test_what_it_cannot_do_is_refused_by_name(recipe: Recipe, said: str) -> None:
    with pytest.raises(UnsupportedRecipe, match=said) as refused:
        dali.DaliEngine(recipe)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("field", "value"), [("resample", "nearest"), ("hw_decoder_load", 1.5), ("prefetch_queue_depth", 0),
                                              ("width_hint_px", -1)])
def test_options_out_of_range_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"DaliOptions.{field} needs .*, got "):
        dali.DaliOptions(**{field: value})


def test_a_gpu_knows_every_op_and_takes_every_array(accepted: list[dali.DaliEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all accepted presets: the graph is laid out for a GPU, which needs none; each op must be registered for the place
    where it would run, and each array must be an argument that DALI takes as a tensor."""
    from nvidia.dali import backend, fn

    registered = {"cpu": backend.RegisteredCPUOps(), "gpu": backend.RegisteredGPUOps(), "mixed": backend.RegisteredMixedOps()}
    seen: set[tuple[str, str]] = set()

    def recorded(schema: str, call: Any) -> Any:
        def record(*inputs: Any, **arguments: Any) -> Any:
            place = arguments.get("device") or ("gpu" if any(getattr(x, "device", "") == "gpu" for x in inputs) else "cpu")
            assert schema in registered[place], (schema, place)
            for name, value in arguments.items():
                if type(value).__name__ == "DataNode":
                    assert backend.GetSchema(schema).IsTensorArgument(name), (schema, name)
                    assert value.device == "cpu", (schema, name)
            if schema == "decoders__Image":  # the contract's, where DALI's own habits differ
                assert arguments["jpeg_fancy_upsampling"] is True and arguments["adjust_orientation"] is False
            seen.add((schema, place))
            return call(*inputs, **arguments)
        return record

    for module, name, schema in ((fn, "slice", "Slice"), (fn, "resize", "Resize"), (fn, "cast", "Cast"), (fn, "flip", "Flip"),
                                 (fn.decoders, "image", "decoders__Image")):
        monkeypatch.setattr(module, name, recorded(schema, getattr(module, name)))
    fused = [dali.DaliEngine(vm.recipe(name), options=dali.DaliOptions(resample="fused")) for name in ("dino", "eval")]
    for engine in (*accepted, *fused):
        engine.define(lambda: (), 4, 2, torch.device("cuda", 0))
    assert seen == {("decoders__Image", "mixed"), *((schema, "gpu") for schema in ("Slice", "Resize", "Cast", "Flip"))}
    assert "_ArithmeticGenericOp" in registered["gpu"] and "Copy" in registered["gpu"]


def test_a_second_image_or_a_model_is_refused_by_render_and_not_done_by_another_engine() -> None:
    recipe, images, size_hw = vm.recipe("counting"), [np.zeros((300, 300, 3), np.uint8)], np.full((1, 2), 300)
    params = vm.draw(recipe, 0, 0, np.arange(1), size_hw, position=np.arange(1), length=1, partner_size_hw=size_hw)
    with pytest.raises(UnsupportedRecipe, match="the dali engine takes no second image; try engine='cpu' or 'torch'"):
        vm.render(images, recipe, params, engine="dali", partners=images)
    with pytest.raises(ValueError, match="engine 'dali' takes no models; try engine='torch'"):
        vm.render(images, recipe, params, engine="dali", models={})
