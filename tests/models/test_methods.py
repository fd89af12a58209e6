"""The registry: published numbers that make a run, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from viewmill import models
from viewmill.augment import presets
from viewmill.models import METHODS, MethodInfo, build, method_info
from viewmill.models.info import Variant
from viewmill.models.method import Method
from viewmill.models.training.manual import train_manual
from viewmill.models.training.overrides import resolve
from viewmill.models.training.schedule import peak_rate
from viewmill.train import read


@pytest.mark.parametrize("name", METHODS)
def test_published_numbers_make_a_run(name: str) -> None:
    info = method_info(name)
    run, recipe = resolve(name, ["data=train.tar"], info.published, info.config())
    assert run.model == info.config() and recipe.name == info.recipe == run.recipe
    assert max(presets.recipe(info.recipe_32px).instances[0].size_hw) <= 32
    assert info.name == name and any(word in info.paper for word in ("arXiv:", "CVPR", "ICML"))


@pytest.mark.parametrize(("name", "rate"), [("simclr", 4.8), ("mae", 2.4e-3), ("dino", 1e-3)])
def test_the_published_peak_rates(name: str, rate: float) -> None:
    # 4.8 and 2.4e-3 at 4096 images a step, as both papers give them; 5e-4 at 256, so 1e-3 at DINO's 512.
    info = method_info(name)
    run, _ = resolve(name, ["data=train.tar"], info.published, info.config())
    assert run.batch_size == (512 if name == "dino" else 4096) and peak_rate(run.optimizer, run.batch_size) == pytest.approx(rate)


@pytest.mark.parametrize("name", METHODS)
def test_the_small_form_fits_32_px(name: str) -> None:
    info = method_info(name)
    method = build(name, info.config(**info.fields_32px), image_px=32)
    assert type(method) is info.load() and method.feature_dim > 0


@pytest.mark.parametrize("name", METHODS)
def test_the_small_run_of_each_method_is_one_for_32_px(name: str) -> None:
    info = method_info(name)
    assert info.metric in ("knn", "linear", "finetune", "layers")
    run, recipe = read([name, "data=train.tar", f"recipe={info.recipe_32px}", *info.small])
    assert recipe.name == info.recipe_32px and run.batch_size <= 512 and run.epochs <= 20
    assert build(name, run.model, image_px=32).feature_dim > 0


@pytest.mark.parametrize(("name", "variant"), [(name, variant) for name, info in METHODS.items() for variant in info.variants])
def test_each_variant_is_a_run(name: str, variant: str) -> None:
    info = method_info(name)
    run, recipe = read([name, "data=train.tar", f"variant={variant}"])
    of = info.variants[variant]
    assert recipe.name == of.numbers.get("recipe", info.recipe)
    assert {key: getattr(run.model, key) for key in of.fields} == of.fields
    assert of.about and (of.fields or of.numbers)


@pytest.mark.parametrize(("name", "variant"), [(name, variant) for name, info in METHODS.items()
                                               for variant, of in info.variants.items() if of.fields])
def test_each_variants_network_can_be_built(name: str, variant: str) -> None:
    info = method_info(name)
    with torch.device("meta"):  # shapes without numbers
        assert build(name, info.config(**info.variants[variant].fields), image_px=224).feature_dim > 0


def test_a_variant_changes_what_it_names_and_words_change_it_further(monkeypatch: pytest.MonkeyPatch) -> None:
    of = Variant("of 300 epochs", {"temperature": 0.3}, {"epochs": 300, "optimizer": {"lr": 0.05}})
    monkeypatch.setitem(METHODS, "simclr", replace(METHODS["simclr"], variants={"longer": of}))
    run, _ = read(["simclr", "data=train.tar", "variant=longer", "model.temperature=0.4"])
    assert (run.epochs, run.model.temperature, run.schedule.warmup_epochs) == (300, 0.4, 10)
    assert (run.optimizer.lr, run.optimizer.scaling) == (0.05, "sqrt")
    # Published numbers, not the user's: a short run shortens the warm-up, and 32 px images bring their network.
    run, _ = read(["simclr", "data=train.tar", "epochs=5", "variant=longer", "recipe=simclr_cifar"])
    assert (run.epochs, run.schedule.warmup_epochs, run.model.backbone, run.model.temperature) == (5, 0.5, "resnet18", 0.3)
    assert "With variant=longer, of 300 epochs: model.temperature=0.3 epochs=300 optimizer.lr=0.05" in train_manual("simclr")
    with pytest.raises(ValueError, match="simclr has no variant 'long'; use one of longer"):
        read(["simclr", "data=train.tar", "variant=long"])
    monkeypatch.setitem(METHODS, "mae", replace(METHODS["mae"], variants={}))
    with pytest.raises(ValueError, match="mae has no variant 'long'; it has none; leave variant out"):
        read(["mae", "data=train.tar", "variant=long"])
    with pytest.raises(ValueError, match="unknown key 'varaint'; did you mean 'variant'"):
        read(["simclr", "data=train.tar", "varaint=longer"])


def test_words_may_begin_with_two_dashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "simclr", replace(METHODS["simclr"], variants={"longer": Variant("", numbers={"epochs": 300})}))
    plain = read(["simclr", "data=train.tar", "recipe=simclr_cifar", "variant=longer", "epochs=7"])
    assert read(["simclr", "--data=train.tar", "--recipe=simclr_cifar", "--variant=longer", "--epochs=7"]) == plain
    assert plain[0].model.backbone == "resnet18"


def test_any_recipe_for_32_px_brings_the_network_for_it() -> None:
    for recipe, patch_px in (("dino_cifar", 4), ("dino_2x32", 4), ("dino", None)):
        assert read(["dino", "data=train.tar", f"recipe={recipe}"])[0].model.patch_px == patch_px
    assert read(["dino", "data=train.tar", "recipe=dino_cifar", "model.patch_px=8"])[0].model.patch_px == 8


def test_numbers_of_the_experiment_on_32_px_go_over_those_on_imagenet_part_by_part() -> None:
    info = MethodInfo(
        "some", "simclr", "SimCLR", "nobody 2000", "simclr", "simclr_cifar", metric="knn", small=(),
        published={"epochs": 100, "batch_size": 4096, "optimizer": {"name": "lars", "lr": 4.8},
                   "schedule": {"warmup_epochs": 10}},
        published_32px={"epochs": 500, "clip_grad": 1.0, "optimizer": {"lr": 1.5}})
    assert info.numbers(small=False) == info.published
    assert info.numbers(small=True) == {"epochs": 500, "batch_size": 4096, "clip_grad": 1.0,
                                        "optimizer": {"name": "lars", "lr": 1.5}, "schedule": {"warmup_epochs": 10}}


def test_what_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown method 'simcrl'; did you mean 'simclr'\\?"):
        build("simcrl", image_px=32)
    with pytest.raises(ValueError, match="unknown method 'zzz'; known: simclr, "):
        method_info("zzz")
    with pytest.raises(ValueError, match="simclr needs its own fields, SimCLRConfig, got MAEConfig"):
        build("simclr", method_info("mae").config(), image_px=32)


def test_the_list_of_methods_needs_no_torch() -> None:
    code = "import sys; from viewmill.models import METHODS; list(METHODS); sys.exit('torch' in sys.modules)"
    root = Path(models.__file__).resolve().parents[1] / ".dev"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(root)}).returncode == 0


class PerImage(Method):
    per_image = True
    given: ClassVar[list[int | None]] = []

    def __init__(self, config: Any, *, image_px: int, in_chans: int, images: int | None) -> None:
        super().__init__()
        self.given.append(images)


def test_only_what_keeps_something_for_each_image_is_told_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build("simclr", method_info("simclr").config(backbone="convnet4"), image_px=16, images=7).feature_dim == 256
    monkeypatch.setattr(MethodInfo, "load", lambda info: PerImage)
    build("simclr", image_px=16, images=7)
    build("simclr", image_px=16)
    assert PerImage.given == [7, None]


def test_two_methods_may_share_a_class_that_differ_in_their_fields() -> None:
    info = MethodInfo("some", "simclr", "SimCLR", "nobody 2000", "simclr", "simclr_cifar", metric="knn", small=(), published={},
                      fields={"temperature": 0.7, "projector_dim": 64})
    assert (info.config().temperature, info.config(temperature=0.2).temperature, info.config().projector_dim) == (0.7, 0.2, 64)
