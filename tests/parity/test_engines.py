"""The engines against each other: every preset, many odd sizes, the same parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import viewmill as vm
from PIL import Image
from viewmill.augment import Recipe, View
from viewmill.augment.ops import (
    Blur,
    CenterCrop,
    Clip,
    Crop,
    Flip,
    Grayscale,
    Jitter,
    Normalize,
    RandomCrop,
    Resize,
    Rotate,
    Solarize,
)

SIZES = [(61, 83), (98, 97), (131, 97), (33, 400), (300, 41), (32, 32), (255, 255)]


@pytest.fixture(scope="module")
def pictures(photograph: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(Image.fromarray(photograph).resize((w, h), Image.Resampling.BICUBIC)) for h, w in SIZES]


def distance(recipe: Recipe, images: list[np.ndarray], seed: int = 1) -> tuple[float, float]:
    """Largest and mean difference of the engines in levels of 255."""
    n = len(images)
    size_hw = np.array([image.shape[:2] for image in images])
    params = vm.draw(recipe, seed, 0, np.arange(n), size_hw, position=np.arange(n), length=n)
    fast, reference = (vm.render(images, recipe, params, engine=engine) for engine in ("cpu", "torch"))
    last = next((op for v in recipe.views for op in v.ops or () if isinstance(op, Normalize)), Normalize(kind="none"))
    gain = torch.tensor(last.affine()[0]).reshape(3, 1, 1)
    apart = torch.cat([((fast[g] - reference[g]) / gain).abs().flatten() for g in reference])
    return float(apart.max()), float(apart.mean())


@pytest.mark.parametrize("name", [
    "simclr", "simclr_cifar", "simclr_pil", "byol", "moco_v2", "barlow", "dino", "mae", "mae_cifar", "simmim_vit", "simmim_swin",
    "rotnet", "rotnet_cifar",
])
def test_presets_agree(name: str, pictures: list[np.ndarray]) -> None:
    """The same levels after the crop; then only the order of float32 operations differs. A tie of a resize without
    antialias, or of contrast's mean, may fall the other way: one level, which jitter can double."""
    largest, mean = distance(vm.recipe(name), pictures)
    assert largest <= (4.0 if name in ("simclr", "simclr_cifar", "byol") else 2.1) and mean < 0.02


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
