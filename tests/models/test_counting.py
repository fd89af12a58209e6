"""Counting: what is compared with what, which views those really are, that it learns, and that ranks do what one does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import viewmill as vm
from PIL import Image
from torch import Tensor
from viewmill.models import build, method_info
from viewmill.models.counting import Counting, CountingConfig
from viewmill.pipelines.batch import Batch
from viewmill.train import read

from ..world import World
from .batches import batch_of, random_views
from .ranks import Told, assert_alike, steps_of


def small(backbone: str = "convnet4", image_px: int = 16, **fields: object) -> Counting:
    torch.manual_seed(0)
    config = CountingConfig(**{"backbone": backbone, "counts": 12, **fields})  # type: ignore[arg-type]
    return Counting(config, image_px=image_px)


def batch(images: int, seed: int = 0, side: int = 16) -> Batch:
    return batch_of(whole=random_views(2, images, side, seed), tile=random_views(4, images, side, seed + 50))


def test_the_sum_over_quarters_is_held_against_both_pictures() -> None:
    method, made = small(hidden=20).eval(), batch(5)
    whole, tile = made.views["whole"], made.views["tile"]
    with torch.no_grad():
        values = method(made)

        def counted(images: Tensor) -> np.ndarray:
            features = method.encoder(images).double()
            first, _, last = (part.double() for part in method.counter)
            return np.maximum(last(torch.relu(first(features))).numpy(), 0)

        own, other = counted(whole[0]), counted(whole[1])
        parts = sum(counted(tile[quarter]) for quarter in range(4))
    near, far = ((own - parts) ** 2).sum(1), ((other - parts) ** 2).sum(1)
    expected = {"same": near.mean(), "other": np.maximum(0, 10 - far).mean(), "accuracy": (near < far).mean(),
                "counted": np.linalg.norm(parts, axis=1).mean()}
    expected["loss"] = expected["same"] + expected["other"]
    assert {name: float(value) for name, value in values.items()} == pytest.approx(expected, rel=1e-4)


def test_all_six_go_through_the_network_in_one_pass() -> None:
    method, calls = small(), []
    method.encoder.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    values = method(batch(3))
    values["loss"].backward()
    assert calls == [18] and [name for name, p in method.named_parameters() if p.grad is None] == []
    assert not any(value.requires_grad for name, value in values.items() if name != "loss")


def test_the_recipes_tiles_are_the_quarters_of_what_is_made_small() -> None:
    rng = np.random.default_rng(0)
    images = [np.asarray(Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8)).resize((32, 32))) for _ in range(6)]
    recipe = vm.recipe("counting_cifar").with_op("*", "normalize", kind="none")  # not each view by itself
    made = next(iter(vm.Loader(images, recipe, 6, seed=1, threads=1, sidecar=False)))
    whole, tile = made.views["whole"], made.views["tile"]
    assert whole.shape == (2, 6, 3, 16, 16) and tile.shape == (4, 6, 3, 16, 16)
    large = torch.cat([torch.cat([tile[0], tile[1]], 3), torch.cat([tile[2], tile[3]], 3)], 2)
    halved = torch.nn.functional.avg_pool2d(large, 2)
    near = (halved - whole[0]).abs().mean((1, 2, 3))
    far = (halved[:, None] - whole[1]).abs().mean((2, 3, 4))
    assert float(near.max()) < 0.5 * float(far.min())  # the same window, by whichever filter; the other is another picture


def test_counts_are_not_negative_and_are_what_is_compared() -> None:
    method, images = small().eval(), random_views(1, 3, 16)[0]
    assert torch.equal(method.features(images), method.encoder(images)) and method.projection_head is method.counter
    counts = method.embed(images).detach()
    assert counts.shape == (3, 12) and float(counts.min()) == 0 and float(counts.max()) > 0
    assert torch.equal(method.shown(batch(3).views), batch(3).views["whole"][:1])


def test_it_learns_a_batch_by_heart() -> None:
    method, made = small(counts=64), batch(16)
    optimizer = torch.optim.AdamW(method.parameters(), 2e-3)
    losses = []
    for _ in range(40):
        values = method(made)
        optimizer.zero_grad()
        values["loss"].backward()
        optimizer.step()
        losses.append(float(values["loss"].detach()))
    assert losses[-1] < 1 < losses[0] and float(values["accuracy"]) == 1 and float(values["counted"]) > 1


@pytest.mark.parametrize(("backbone", "side"), [("resnet18", 32), ("test_vit", 32), ("alexnet", 114)])
def test_any_backbone_counts(backbone: str, side: int) -> None:
    method = small(backbone, side)
    assert float(method(batch(2, side=side))["loss"].detach()) > 0


def steps_of_ranks(images: int) -> Told:
    return steps_of(small(), lambda step, which: _part(batch(images, step), which), images)


def _part(made: Batch, which: slice) -> Batch:
    return batch_of(**{name: views[:, which] for name, views in made.views.items()})


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_together_have_the_values_and_the_weights_of_one(world: World, ranks: int) -> None:
    assert_alike(steps_of_ranks(6), world(ranks, steps_of_ranks, 6))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs two pictures in group 'whole' and 4 tiles of the same size in group 'tile', the "
                                         r"recipe has global \(2, 3, 3, 16, 16\); use recipe=counting"):
        small()(batch_of(random_views(2, 3, 16)))
    with pytest.raises(ValueError, match="tiles of the same size"):
        small()(batch_of(whole=random_views(2, 3, 16), tile=random_views(4, 3, 8)))
    for field, value, words in (("counts", 0, "whole number of at least 1"), ("margin", 0.0, "number above 0")):
        with pytest.raises(ValueError, match=rf"model\.{field} needs a {words}, got {value}"):
            CountingConfig(**{field: value})  # type: ignore[arg-type]


def test_the_published_run() -> None:
    run, recipe = read(["counting", "data=train.tar"])
    assert (run.model.backbone, run.model.counts, run.model.margin, run.model.hinge, recipe.name) == (
        "alexnet", 1000, 10.0, "vector", "counting")
    assert (run.epochs, run.batch_size, run.optimizer.name, run.optimizer.lr, run.optimizer.weight_decay) == (
        250, 256, "adam", 1e-4, 0.0)
    assert run.schedule.law == "steps" and run.schedule.steps_at == ()
    assert read(["counting", "data=train.tar", "variant=port"])[0].model.hinge == "element"
    assert build("counting", method_info("counting").config(), image_px=114).feature_dim == 4096
