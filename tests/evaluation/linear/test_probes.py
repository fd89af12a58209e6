"""Published probes: their numbers, and what becomes of them when a user changes some."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from viewmill.augment.presets import recipe
from viewmill.evaluation.linear import PROBES, LinearConfig
from viewmill.evaluation.linear.config import rates

PUBLISHED = {
    # optimizer, peak rate at the published batch, batch, epochs, law, rate per, weight decay
    "moco": ("sgd", 30.0, 256, 100, "steps", "epoch", 0.0),
    "simsiam": ("lars", 1.6, 4096, 90, "cosine", "epoch", 0.0),
    "swav": ("sgd", 0.3, 256, 100, "cosine", "epoch", 1e-6),
    "deepcluster_v2": ("sgd", 0.3, 256, 100, "cosine", "epoch", 1e-6),
    "barlow": ("sgd", 0.3, 256, 100, "cosine", "epoch", 1e-6),
    "vicreg": ("sgd", 0.02, 256, 100, "cosine", "epoch", 1e-6),
    "simclr": ("nesterov", 1.6, 4096, 90, "cosine", "step", 1e-6),
    "byol": ("nesterov", 3.2, 4096, 80, "cosine", "step", 0.0),
    "moco_v3": ("sgd", 12.0, 1024, 90, "cosine", "epoch", 0.0),
    "moco_v3_resnet": ("sgd", 0.4, 1024, 90, "cosine", "epoch", 0.0),
    "dino": ("sgd", 0.004, 1024, 100, "cosine", "epoch", 0.0),
    "dino_base": ("sgd", 0.004, 1024, 100, "cosine", "epoch", 0.0),
    "rotnet": ("nesterov", 0.01, 192, 35, "steps", "epoch", 5e-4),
    "decoupling": ("nesterov", 0.01, 192, 65, "steps", "epoch", 5e-4),
    "vissl": ("nesterov", 0.01, 256, 28, "steps", "epoch", 5e-4),
    "mae": ("lars", 6.4, 16384, 90, "cosine", "step", 0.0),
    "milan": ("lars", 3.2, 16384, 100, "cosine", "step", 0.0),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_probe_has_its_numbers(name: str) -> None:
    of = PROBES[name]
    (peak,) = rates(of)
    assert (of.optimizer, round(peak, 9), of.batch_size, of.epochs, of.law, of.per, of.weight_decay) == PUBLISHED[name]
    assert of.momentum == 0.9 and of.source


def test_what_sets_some_probes_apart() -> None:
    assert PROBES["moco"].steps_at == (60, 80) and PROBES["vissl"].steps_at == (8, 16, 24)
    assert {name for name, of in PROBES.items() if of.norm} == {"sweep", "vissl", "mae", "milan", "rotnet", "decoupling"}
    assert PROBES["mae"].norm_eps == 1e-6 and PROBES["mae"].warmup_epochs == 10 and PROBES["mae"].exclude == "norm-and-bias"
    assert PROBES["simsiam"].exclude == "none"  # LARC adapts the bias as well
    assert {name for name, of in PROBES.items() if of.init_std != 0.01} == {"simclr"} and PROBES["simclr"].init_std == 0
    assert PROBES["dino"].kinds == ("cls4",) and PROBES["dino_base"].kinds == ("cls1+mean",)
    assert {name: of.recipe for name, of in PROBES.items() if of.recipe != "probe"} == {
        "swav": "probe_swav", "deepcluster_v2": "probe_swav", "dinov2": "probe_dinov2", "mae": "probe_mae", "milan": "probe_mae",
        "rotnet": "probe_rotnet", "decoupling": "probe_rotnet"}
    assert all(len(recipe(of.recipe).instances) == 1 for of in PROBES.values())
    assert [name for name, of in PROBES.items() if of.cached] == ["sweep"]


def test_the_grid_of_dinov2_is_fifty_two_heads() -> None:
    of = PROBES["dinov2"]
    assert of.lr == (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)
    assert of.kinds == ("cls1", "cls1+mean", "cls4", "cls4+mean") and len(of.lr) * len(of.kinds) == 52
    assert (of.steps, of.epochs, of.per, rates(of)[-1]) == (12_500, None, "step", 0.4)


def test_the_grid_of_ibot_is_forty_five_rates() -> None:
    assert len(PROBES["ibot"].lr) == 45 and PROBES["ibot"].lr[0] == 1e-4 and PROBES["ibot"].lr[-1] == 9.0


def test_a_users_numbers_stand_in_the_place_of_the_published() -> None:
    config = LinearConfig(protocol="simsiam", lr=(0.2, 0.4), batch_size=128, norm=True)
    assert config.probe() == replace(PROBES["simsiam"], lr=(0.2, 0.4), batch_size=128, norm=True)
    assert rates(config.probe()) == (0.1, 0.2)
    assert LinearConfig(protocol="dinov2", epochs=3).probe().steps is None
    assert LinearConfig(protocol="moco", steps=7).probe().epochs is None


def test_published_drops_and_warm_ups_keep_their_place_in_a_shorter_run() -> None:
    course = LinearConfig(protocol="moco", epochs=10, batch_size=10).course(45)
    assert (course.steps_per_epoch, course.total, course.steps_at) == (4, 40, (6.0, 8.0))
    assert LinearConfig(protocol="moco", epochs=10, batch_size=10, steps_at=(3,)).course(45).steps_at == (3,)
    assert LinearConfig(protocol="moco", steps=20, batch_size=10).course(45).steps_at == (3.0, 4.0)
    assert LinearConfig(protocol="mae", epochs=9, batch_size=10).course(100).warmup_epochs == pytest.approx(1)
    assert LinearConfig(protocol="dinov2", batch_size=10).course(100).total == 12_500


@pytest.mark.parametrize(("fields", "message"), [
    ({"protocol": "moko"}, "unknown protocol 'moko'; did you mean 'moco'?"),
    ({"epochs": 3, "steps": 4}, "epochs=3 and steps=4: give one of both"),
    ({"batch_size": 0}, "batch_size needs a whole number of at least 1, got 0"),
    ({"lr": ()}, r"lr needs rates above 0, got \[\]"),
    ({"lr": (0.1, -1.0)}, r"lr needs rates above 0, got \[0.1, -1.0\]"),
    ({"momentum": 1.0}, r"momentum needs a number in \[0, 1\)"),
    ({"split": 1.0}, "split needs a share of the training images"),
    ({"save_minutes": 0.0}, "save_minutes needs a number above 0"),
    ({"law": "steps"}, "law=steps needs steps_at"),
])
def test_numbers_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearConfig(**fields)


def test_a_course_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size=256 needs at least as many training images, there are 200; use .*=128"):
        LinearConfig().course(200)
    with pytest.raises(ValueError, match=r"warmup_epochs=10 needs to be shorter than the whole, 5 epochs"):
        LinearConfig(epochs=5, warmup_epochs=10, batch_size=10).course(100)
