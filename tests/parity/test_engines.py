"""The engines against each other: every preset, many odd sizes, the same parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import viewmill as vm
from PIL import Image
from viewmill.augment import Recipe, UnsupportedRecipe, View
from viewmill.augment.ops import (
    Blur,
    CenterCrop,
    Clip,
    ColourDrop,
    Crop,
    Erase,
    Flip,
    Grayscale,
    Jitter,
    LabSplit,
    Normalize,
    Photometric,
    RandomCrop,
    Resize,
    Rotate,
    Sobel,
    Solarize,
)
from viewmill.augment.presets import names
from viewmill.pipelines.engines.cpu import CpuEngine

SIZES = [(61, 83), (98, 97), (131, 97), (33, 400), (300, 41), (32, 32), (255, 255)]


@pytest.fixture(scope="module")
def pictures(photograph: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(Image.fromarray(photograph).resize((w, h), Image.Resampling.BICUBIC)) for h, w in SIZES]


def distances(recipe: Recipe, images: list[np.ndarray], seed: int = 1) -> dict[str, tuple[float, float]]:
    """Of each group, largest and mean difference of the engines: in levels of 255 where all pixels are normalized alike, else
    in hundredths of the views' own standard deviation."""
    n = len(images)
    size_hw = np.array([image.shape[:2] for image in images])
    second = {"partners": images[::-1]} if recipe.takes_partner else {}
    params = vm.draw(recipe, seed, 0, np.arange(n), size_hw, position=np.arange(n), length=n, partner_size_hw=size_hw[::-1])
    fast, reference = (vm.render(images, recipe, params, engine=engine, **second) for engine in ("cpu", "torch"))
    found = {}
    for group, views in reference.items():
        ops = [op for v in recipe.views if v.group == group for op in v.ops or ()]
        last = next((op for op in reversed(ops) if isinstance(op, Normalize)), Normalize(kind="none"))
        levels = last.pixelwise and not any(isinstance(op, LabSplit | Sobel) for op in ops)
        gain = torch.tensor(last.affine(views.shape[2])[0]).reshape(-1, 1, 1) if levels else views.std() / 100
        apart = ((fast[group] - views) / gain).abs()
        # A level next to a threshold that is no whole number may fall on either side of it: one value in 100,000 is let go.
        split = views.numel() // 100_000 if any(isinstance(op, Photometric) for op in ops) else 0
        assert fast[group].shape == views.shape and views.std() > 0
        found[group] = float(apart.flatten().topk(split + 1).values[-1]), float(apart.mean())
    return found


def distance(recipe: Recipe, images: list[np.ndarray]) -> tuple[float, float]:
    largest, means = zip(*distances(recipe, images).values(), strict=True)
    return max(largest), max(means)


@pytest.mark.parametrize("name", [name for name in names() if not name.startswith("lci")])
def test_presets_agree(name: str, pictures: list[np.ndarray]) -> None:
    """The same levels after the crop; then only the order of float32 operations differs. A tie of a resize without
    antialias, or of contrast's mean, may fall the other way: one level, which jitter and tones can double."""
    ops = [op for v in vm.recipe(name).views for op in v.ops or ()]
    ties = any(isinstance(op, Crop | Resize) and not op.antialias for op in ops)
    many = len(vm.recipe(name).instances) > 12
    largest, mean = distance(vm.recipe(name), pictures[::3] if many else pictures)
    assert largest <= (4.0 if ties else 2.1) and mean < 0.02


@pytest.mark.parametrize("name", ["lci", "lci_stl10"])
def test_what_needs_a_model_is_refused_by_the_engines(name: str) -> None:
    with pytest.raises(UnsupportedRecipe, match="autoencode needs the method's inpainter"):
        CpuEngine(vm.recipe(name))


def one(*ops: object, size_px: int | tuple[int, int] = 24) -> Recipe:
    return Recipe((View("a", size_px, (*ops,)),))  # type: ignore[arg-type]


@pytest.mark.parametrize("recipe", [
    one(Crop(size_px=98, filter="lanczos"), size_px=98),
    one(Crop(size_px=(97, 131), filter="bilinear"), size_px=(97, 131)),
    one(Crop(size_px=1), size_px=1),
    one(Crop(size_px=(1, 50)), size_px=(1, 50)),
    one(RandomCrop(size_px=30, pad_px=7), Flip(p=1.0), size_px=30),
    one(Resize(side_px=40), CenterCrop(size_px=36), size_px=36),
    one(Resize(side_px=40, filter="bicubic"), Crop(size_px=31), Flip(p=1.0), size_px=31),
    one(Resize(mode="exact", side_px=29, filter="lanczos"), size_px=29),
    one(CenterCrop(size_px=50), size_px=50),
    one(Crop(size_px=24), Rotate(angles_deg=(90, 180, 270), pick="random", direction="clockwise"), Flip(p=1.0)),
    one(Crop(size_px=(20, 30)), Rotate(angles_deg=(90,), pick="enumerate", direction="counter-clockwise"), size_px=(30, 20)),
    one(Crop(size_px=24), Grayscale(p=1.0), Blur(p=1.0), Jitter(p=1.0)),
    one(Crop(size_px=24), Grayscale(p=1.0), Jitter(p=1.0), Blur(p=1.0, sigma_px=(3.0, 9.0))),
    one(Crop(size_px=7), Blur(p=1.0, kind="gaussian", taps=23, border="reflect"), size_px=7),
    one(Crop(size_px=24), Blur(p=1.0, kind="gaussian", taps=9, border="replicate"), Solarize(p=1.0, threshold=77)),
    one(Crop(size_px=24), Jitter(p=1.0, clamp="end", order="fixed")),
    one(Crop(size_px=24), Jitter(p=1.0, brightness=0.0, hue_turns=0.0, contrast=0.9), Clip(lo=0.2, hi=0.7)),
    one(Crop(size_px=24), Jitter(p=1.0, contrast=0.0, saturation_law="hsv-scale", saturation=2.0, brightness_law="additive")),
    one(Crop(size_px=24), Solarize(p=1.0), Flip(p=1.0), Normalize(kind="range", range=(-1, 1))),
    one(Crop(size_px=24), Sobel(gray_weights=(0.3, 0.3, 0.4), channels=2)),
    one(Crop(size_px=24), Sobel(gray_weights=(0.3, 0.3, 0.4), channels=2), Normalize(mean=(0.1, 0.2), std=(0.5, 0.6))),
    one(Crop(size_px=24), Normalize(kind="none"), Erase(p=1.0, fill=(0.1, 0.2, 0.9))),
    one(Crop(size_px=24), Normalize(mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.3)), Blur(p=1.0)),
    one(Crop(size_px=24), ColourDrop(p=0.7, keep=2, subtract_mean=True, fill="zero")),
])
def test_single_ops_agree(recipe: Recipe, pictures: list[np.ndarray]) -> None:
    largest, mean = distance(recipe, pictures)
    assert largest <= 1.01 and mean < 0.01


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 9), (9, 1), (2, 300), (5, 7)])
def test_tiny_pictures_agree(size_hw: tuple[int, int], photograph: np.ndarray) -> None:
    picture = np.ascontiguousarray(np.resize(photograph, (*size_hw, 3)))
    for filter in ("bilinear", "bicubic", "lanczos"):
        assert distance(one(Crop(size_px=24, filter=filter), Blur(p=1.0)), [picture])[0] <= 1.01


def test_a_12_megapixel_picture_agrees() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    large = np.asarray(Image.fromarray(small).resize((4000, 3000), Image.Resampling.BICUBIC))
    assert distance(one(Crop(size_px=96, scale=(0.5, 1.0)), size_px=96), [large])[0] <= 0.01


def test_half_types_round_to_nearest_even(pictures: list[np.ndarray]) -> None:
    recipe = one(Crop(size_px=24), Jitter(p=1.0), Normalize(kind="range", range=(-1e-4, 1e-4)))  # subnormal in float16
    params = vm.draw(recipe, 0, 0, np.arange(7), np.array([p.shape[:2] for p in pictures]))
    exact = vm.render(pictures, recipe, params, engine="cpu")["a"]
    for dtype in (torch.float16, torch.bfloat16):
        half = vm.render(pictures, recipe, params, engine="cpu", dtype=str(dtype).removeprefix("torch."))["a"]
        assert half.dtype == dtype and torch.equal(half.view(torch.int16), exact.to(dtype).view(torch.int16))
