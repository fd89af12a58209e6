"""Published fine-tunings: their numbers, and what becomes of them when a user changes some."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from viewmill.augment.presets import recipe
from viewmill.evaluation.finetune import TUNINGS, FinetuneConfig
from viewmill.evaluation.finetune.config import peak

PUBLISHED = {
    # optimizer, peak rate, batch, epochs, warm-up, final rate, decay, layer decay, drop path, mixup, cutmix, smoothing
    "deit": ("adamw", 1e-3, 1024, 150, 5, 1e-5, 0.05, 1.0, 0.1, 0.8, 1.0, 0.1),
    "beit": ("adamw", 4e-3, 1024, 100, 20, 1e-6, 0.05, 0.65, 0.1, 0.8, 1.0, 0.1),
    "mae": ("adamw", 2e-3, 1024, 100, 5, 1e-6, 0.05, 0.65, 0.1, 0.8, 1.0, 0.1),
    "mae_l": ("adamw", 4e-3, 1024, 50, 5, 1e-6, 0.05, 0.75, 0.2, 0.8, 1.0, 0.1),
    "mae_h": ("adamw", 4e-3, 1024, 50, 5, 1e-6, 0.05, 0.75, 0.3, 0.8, 1.0, 0.1),
    "milan": ("adamw", 4e-4, 1024, 100, 5, 1e-6, 0.05, 0.65, 0.1, 0.8, 1.0, 0.1),
    "simmim": ("adamw", 5e-3, 2048, 100, 20, 1e-6, 0.05, 0.65, 0.1, 0.8, 1.0, 0.1),
    "maskfeat": ("adamw", 4e-3, 1024, 100, 20, 1e-6, 0.05, 0.65, 0.1, 0.8, 1.0, 0.1),
    "cae": ("adamw", 8e-3, 4096, 100, 5, 1e-6, 0.05, 0.65, 0.1, 0.8, 1.0, 0.1),
    "cae_l": ("adamw", 2e-3, 4096, 50, 5, 1e-6, 0.05, 0.75, 0.2, 0.8, 1.0, 0.1),
    "data2vec": ("adamw", 4e-3, 1024, 100, 10, 1e-6, 0.0, 0.65, 0.2, 0.8, 1.0, 0.1),
    # 0.005 * sqrt(1024).
    "simclr_v2": ("lars", 0.16, 1024, 60, 0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0),
    "resnet": ("nesterov", 0.1, 256, 105, 0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_tuning_has_its_numbers(name: str) -> None:
    of = TUNINGS[name]
    assert (of.optimizer, round(peak(of), 9), of.batch_size, of.epochs, of.warmup_epochs, of.final_lr, of.weight_decay,
            of.layer_decay, of.drop_path, of.mixup, of.cutmix, of.smoothing) == PUBLISHED[name]
    assert len(recipe(of.recipe).instances) == 1


def test_what_sets_some_tunings_apart() -> None:
    assert TUNINGS["mae"].pool == "mean" and TUNINGS["mae"].init_std == 2e-5 and TUNINGS["milan"].init_std == 0.02
    assert TUNINGS["data2vec"].pool == "mean" and TUNINGS["deit"].pool == "features"
    assert TUNINGS["simclr_v2"].init_std == 0 and not TUNINGS["simclr_v2"].adapt_head
    assert TUNINGS["resnet"].steps_at == (30, 60, 90, 100) and TUNINGS["resnet"].law == "steps"


def test_a_users_numbers_stand_in_the_place_of_the_published() -> None:
    assert FinetuneConfig(protocol="beit", lr=1e-3, mixup=0.0).tuning() == replace(TUNINGS["beit"], lr=1e-3, mixup=0.0)


def test_warm_up_and_drops_keep_their_place_in_a_shorter_run() -> None:
    course = FinetuneConfig(protocol="resnet", epochs=21, batch_size=10).course(40)
    assert (course.total, course.steps_at) == (84, (6, 12, 18, 20))
    course = FinetuneConfig(protocol="beit", epochs=10, batch_size=10).course(40)
    assert course.warmup_epochs == 2 and course.share(8) == 1
    assert FinetuneConfig(protocol="beit", epochs=10, warmup_epochs=1, batch_size=10).course(40).warmup_epochs == 1


def test_a_cosine_ends_at_the_final_rate() -> None:
    course = FinetuneConfig(protocol="deit", batch_size=100, epochs=150).course(100)
    assert course.share(course.total) * peak(FinetuneConfig(protocol="deit", batch_size=100).tuning()) == pytest.approx(1e-5)


@pytest.mark.parametrize(("fields", "message"), [
    ({"protocol": "biet"}, "unknown protocol 'biet'; did you mean 'beit'?"),
    ({"lr": 0.0}, "lr needs a number above 0"),
    ({"epochs": 0}, "epochs needs a whole number of at least 1"),
    ({"layer_decay": 1.5}, r"layer_decay needs a number in \(0, 1\]"),
    ({"smoothing": 1.0}, r"smoothing needs a number in \[0, 1\)"),
    ({"clip_grad": 0.0}, "clip_grad needs a number above 0"),
    ({"mixup": -1.0}, "mixup needs a number of at least 0"),
    ({"law": "steps"}, "law=steps needs steps_at"),
    ({"mixup": 0.8, "batch_size": 9}, "mixup and cutmix pair the images of a batch: batch_size=9 needs to be even"),
    ({"save_minutes": 0.0}, "save_minutes needs a number above 0"),
])
def test_numbers_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FinetuneConfig(**fields)


def test_a_course_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size=128 needs at least as many training images, there are 100; use .*=64"):
        FinetuneConfig().course(100)
    with pytest.raises(ValueError, match="warmup_epochs=5 needs to be below epochs=3"):
        FinetuneConfig(epochs=3, warmup_epochs=5, batch_size=10).course(100)
