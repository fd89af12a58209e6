"""Recipes from other libraries' transforms: equal to ours op by op, or refused by the name of what has no equal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import viewmill as vm
from torchvision import transforms as v1
from torchvision.transforms import InterpolationMode, v2
from viewmill.augment.ops import (
    Autocontrast,
    Blur,
    CenterCrop,
    Crop,
    Equalize,
    Erase,
    Flip,
    Grayscale,
    Jitter,
    Normalize,
    Posterize,
    RandomCrop,
    Resize,
    Sharpness,
    Solarize,
)
from viewmill.augment.recipe import UnsupportedRecipe

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PillowBlur:
    """As papers' scripts write it."""

    p = 0.5


def simclr(T: Any, blur: Any) -> Any:
    floats = [T.ToTensor()] if T is v1 else [T.ToImage(), T.ToDtype(torch.float32, scale=True)]
    jitter = T.RandomApply([T.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8)
    return T.Compose([T.RandomResizedCrop(224, interpolation=InterpolationMode.BICUBIC), T.RandomHorizontalFlip(), jitter,
                      T.RandomGrayscale(p=0.2), blur, *floats, T.Normalize(MEAN, STD)])


@pytest.mark.parametrize("T", [v1, v2])
def test_torchvision_s_simclr_is_our_recipe_op_by_op(T: Any) -> None:
    ours = vm.recipe("simclr_pil")
    equals = {PillowBlur: lambda blur: Blur(p=blur.p, kind="pillow", sigma_px=(0.1, 2.0))}
    found = vm.import_recipe(simclr(T, PillowBlur()), name="simclr_pil", count=2, equals=equals)
    assert ours.views[0].ops is not None and found.views[0].ops is not None
    assert [op.to_dict() for op in found.views[0].ops] == [op.to_dict() for op in ours.views[0].ops]
    assert found == ours and found.fingerprint == ours.fingerprint
    own = vm.import_recipe(simclr(T, T.RandomApply([T.GaussianBlur(23, (0.1, 2.0))], p=0.5)), name="simclr_pil", count=2)
    changed = ours.with_op("*", "blur", kind="gaussian", taps=23, border="reflect")
    assert own == changed


@pytest.mark.parametrize("T", [v1, v2])
@pytest.mark.parametrize(("step", "op"), [
    (lambda T: T.RandomResizedCrop((32, 48), (0.2, 0.9), (0.5, 2.0)),
     Crop(size_px=(32, 48), scale=(0.2, 0.9), ratio=(0.5, 2.0), filter="bilinear", antialias=True)),
    (lambda T: T.Resize(40, interpolation=InterpolationMode.BICUBIC),
     Resize(mode="short-side", side_px=40, filter="bicubic", cubic_a=-0.5)),
    (lambda T: T.Resize((40, 40)), Resize(mode="exact", side_px=40)),
    (lambda T: T.CenterCrop(24), CenterCrop(size_px=24)),
    (lambda T: T.RandomCrop(32, padding=4), RandomCrop(size_px=32, pad_px=4)),
    (lambda T: T.ColorJitter(1.5, 0.4, 0, 0.1), Jitter(p=1.0, brightness=1.5, contrast=0.4, saturation=0.0, hue_turns=0.1)),
    (lambda T: T.RandomApply([T.RandomHorizontalFlip(0.5)], p=0.5), Flip(p=0.25)),
    (lambda T: T.Grayscale(3), Grayscale(p=1.0)),
    (lambda T: T.GaussianBlur(9, (0.1, 1.0)), Blur(p=1.0, kind="gaussian", taps=9, sigma_px=(0.1, 1.0), border="reflect")),
    (lambda T: T.RandomSolarize(100, p=0.3), Solarize(p=0.3, threshold=100.0)),
    (lambda T: T.RandomEqualize(0.1), Equalize(p=0.1)),
    (lambda T: T.RandomAutocontrast(0.1), Autocontrast(p=0.1)),
    (lambda T: T.RandomPosterize(3, p=0.1), Posterize(p=0.1, bits=3)),
    (lambda T: T.RandomAdjustSharpness(2.0, p=0.1), Sharpness(p=0.1, factor=(2.0, 2.0))),
])
def test_each_step_of_torchvision_is_one_op(T: Any, step: Any, op: Any) -> None:
    recipe = vm.import_recipe(T.Compose([step(T), T.Resize((40, 40))]))
    first, second, normalize = recipe.views[0].ops or ()
    assert first == op and second.name == ("resize.2" if op.type == "resize" else "resize")
    assert normalize == Normalize(kind="none")


@pytest.mark.parametrize("T", [v1, v2])
def test_what_is_erased_after_a_normalization_has_that_level(T: Any) -> None:
    floats = T.ToTensor() if T is v1 else T.ToDtype(torch.float32, scale=True)
    recipe = vm.import_recipe(T.Compose([T.Resize((40, 40)), floats, T.Normalize(MEAN, STD), T.RandomErasing(p=0.25, value=1.0)]))
    _, erase, normalize = recipe.views[0].ops or ()
    assert isinstance(erase, Erase) and erase.p == 0.25 and erase.ratio == (0.3, 3.3) and isinstance(normalize, Normalize)
    assert erase.fill == pytest.approx((255 * 0.714, 255 * 0.680, 255 * 0.631))
    plain = vm.import_recipe(T.Compose([T.Resize((40, 40)), floats, T.RandomErasing()]))
    assert plain.views[0].ops[1].fill == (0.0, 0.0, 0.0)  # type: ignore[index,union-attr]


def test_views_of_several_sizes_are_groups_and_equal_neighbours_are_counted() -> None:
    large, small = (v2.Compose([v2.RandomResizedCrop(side), v2.RandomHorizontalFlip()]) for side in (64, 32))
    recipe = vm.import_recipe([large, large, small, small, small, v2.RandomResizedCrop(16)])
    assert [(v.group, v.count, v.size_px) for v in recipe.views] == [("global", 2, 64), ("local", 3, 32), ("view16", 1, 16)]
    assert recipe.groups["local"].count == 3


@pytest.mark.parametrize(("transform", "said"), [
    (v2.RandomPerspective(), "torchvision's RandomPerspective has no equal here: leave it out, or .*equals={RandomPerspective"),
    (v2.RandomVerticalFlip(), "torchvision's RandomVerticalFlip has no equal"),
    (v2.Lambda(lambda x: x), "torchvision's Lambda has no equal"),
    (v2.RandAugment(), "torchvision's RandAugment has no equal"),
    (PillowBlur(), "'s PillowBlur has no equal here"),
    (v2.RandomApply([v2.ColorJitter(0.4), v2.RandomGrayscale()], p=0.5), "RandomApply tosses one coin for jitter, grayscale"),
    (v2.ColorJitter(brightness=(0.9, 1.5)), "ColorJitter with brightness from 0.9 to 1.5 has no equal"),
    (v2.RandomResizedCrop(8, interpolation=InterpolationMode.NEAREST), "RandomResizedCrop with the filter nearest"),
    (v2.RandomResizedCrop(8, antialias=False), "RandomResizedCrop with antialias=False"),
    (v2.GaussianBlur((3, 5)), r"GaussianBlur with a kernel of \(3, 5\)"),
    (v2.RandomCrop(8, padding=2, padding_mode="reflect"), "RandomCrop with other padding than zeros"),
    (v2.RandomErasing(value="random"), "RandomErasing with random values"),
    (v2.Compose([v1.ToTensor(), v2.ColorJitter(0.4)]), "ColorJitter has no equal on floats: put it before"),
    (v2.ToDtype(torch.float32), "ToDtype with scale=False"),
    (v2.Compose([v2.Normalize(MEAN, STD), v2.Normalize(MEAN, STD)]), "Normalize is the second normalization"),
    (v2.CenterCrop(8), None),
    (v2.Resize(8), "leaves images of any size"),
])
def test_what_has_no_equal_is_named(transform: Any, said: str | None) -> None:
    if said is None:
        assert vm.import_recipe(transform).views[0].size_px == 8
        return
    with pytest.raises(UnsupportedRecipe, match=said) as caught:
        vm.import_recipe(transform)
    assert "\n" not in str(caught.value)


def test_what_is_no_transform_is_refused() -> None:
    for transform in ([], v2.Identity()):
        with pytest.raises(ValueError, match="import_recipe"):
            vm.import_recipe(transform)
    with pytest.raises(ValueError, match="count needs a whole number >= 1, got 0"):
        vm.import_recipe(v2.CenterCrop(8), count=0)


def test_steps_that_never_act_are_left_out() -> None:
    never = v2.RandomVerticalFlip(0.0), v2.RandomApply([v2.ColorJitter(1)], p=0.0)
    recipe = vm.import_recipe(v2.Compose([v2.CenterCrop(8), *never]))
    assert recipe.views[0].ops == (CenterCrop(size_px=8), Normalize(kind="none"))


@pytest.fixture
def lightly() -> Any:
    os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")
    return pytest.importorskip("lightly.transforms", reason="lightly is not installed: docs/plug-in.md says how to get it")


def test_lightly_s_dino_is_our_recipe(lightly: Any) -> None:
    found = vm.import_recipe(lightly.DINOTransform(n_local_views=8), name="dino")
    assert found == vm.recipe("dino")
    weak = vm.import_recipe(lightly.DINOTransform(n_local_views=8, cj_strength=1.0), name="dino")
    # It forgets the strength for the second view.
    strong = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.4, "hue_turns": 0.2}
    assert weak == vm.recipe("dino").with_op("global/0", "jitter", **strong).with_op("local", "jitter", **strong)


def test_lightly_s_simclr_is_our_recipe_with_its_bilinear_crop(lightly: Any) -> None:
    found = vm.import_recipe(lightly.SimCLRTransform(), name="simclr_pil")
    assert found == vm.recipe("simclr_pil").with_op("*", "crop", filter="bilinear", cubic_a=None)
    with pytest.raises(UnsupportedRecipe, match="lightly's RandomRotate has no equal"):
        vm.import_recipe(lightly.SimCLRTransform(rr_prob=0.5))


ASYMMETRIC = """
- rrc: {enabled: True, crop_min_scale: 0.08, crop_max_scale: 1.0}
  color_jitter: {prob: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.2, hue: 0.1}
  grayscale: {prob: 0.2}
  gaussian_blur: {prob: 1.0}
  solarization: {prob: 0.0}
  equalization: {prob: 0.0}
  horizontal_flip: {prob: 0.5}
  crop_size: 224
  num_crops: 1
- rrc: {enabled: True, crop_min_scale: 0.08, crop_max_scale: 1.0}
  color_jitter: {prob: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.2, hue: 0.1}
  grayscale: {prob: 0.2}
  gaussian_blur: {prob: 0.1}
  solarization: {prob: 0.2}
  equalization: {prob: 0.0}
  horizontal_flip: {prob: 0.5}
  crop_size: 224
  num_crops: 1
"""


def test_solo_learn_s_asymmetric_views_are_barlow_s_with_the_flip_last(tmp_path: Path) -> None:
    file = tmp_path / "asymmetric.yaml"
    file.write_text(ASYMMETRIC)
    found, ours = vm.import_recipe(file), vm.recipe("barlow")
    assert len(found.views) == 2
    for mine, theirs in zip(ours.views, found.views, strict=True):
        assert mine.ops is not None and theirs.ops is not None
        crop, flip, *colours, normalize = mine.ops
        colours = [op for op in colours if getattr(op, "p", 1)]
        assert theirs.ops == (crop, *colours, flip, normalize)
    small = vm.import_recipe([{"crop_size": 32, "num_crops": 2, "horizontal_flip": {"prob": 0.5}}], dataset="cifar10")
    assert small.views[0].count == 2 and small.views[0].ops == (
        Crop(size_px=32, filter="bicubic", cubic_a=-0.5), Flip(p=0.5),
        Normalize(kind="mean-std", mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616), space="unit"))


@pytest.mark.parametrize(("view", "said"), [
    ({"crop_size": 32, "auto_augment": {"prob": 1}}, "view 0: auto_augment has no equal here"),
    ({"crop_size": 32, "gaussian_blur": {"prob": 1, "sigma": 3}}, "view 0: gaussian_blur.sigma has no equal here"),
    ({"num_crops": 2}, "view 0: crop_size is not stated"),
])
def test_sections_of_solo_learn_without_an_equal_are_named(view: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        vm.import_recipe([view])
    with pytest.raises(ValueError, match=r"dataset 'cifra10' has no mean.*cifar10"):
        vm.import_recipe([view], dataset="cifra10")
    with pytest.raises(ValueError, match=r"none.yaml: cannot be read"):
        vm.import_recipe("none.yaml")
