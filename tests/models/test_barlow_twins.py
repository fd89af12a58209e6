"""Barlow Twins: its projector, its loss on what the network makes of two views, what it reports, and what tells a collapse."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from viewmill.models import method_info
from viewmill.models.barlow_twins import BarlowTwins, BarlowTwinsConfig
from viewmill.models.training.optimizer import build_optimizer, set_rate
from viewmill.models.training.schedule import plan
from viewmill.train import read

from ..world import World
from . import noisy_copies
from .batches import batch_of, random_views
from .ranks import Told, assert_alike, steps_of

TINY = {"backbone": "convnet4", "projector_hidden": 12, "projector_dim": 6}


def small(**fields: object) -> BarlowTwins:
    torch.manual_seed(0)
    return BarlowTwins(BarlowTwinsConfig(**{**TINY, **fields}), image_px=16)  # type: ignore[arg-type]


def embeddings(method: BarlowTwins, views: torch.Tensor) -> np.ndarray:
    """(2, B, D) in float64, one view at a time, of a copy, so that nothing in the method changes."""
    method = copy.deepcopy(method)
    with torch.no_grad():
        return torch.stack([method.projector(method.backbone(view)) for view in views]).double().numpy()


def by_hand(z: np.ndarray, weight: float) -> dict[str, float]:
    """Through batch norm without gain and shift, as the authors have it."""
    u = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)
    c = u[0].T @ u[1] / z.shape[1]
    on, off = np.diag(c), c[~np.eye(len(c), dtype=bool)]
    unit = z / np.linalg.norm(z, axis=2, keepdims=True)
    return {"loss": float(((1 - on) ** 2).sum() + weight * (off**2).sum()), "diagonal": float(on.mean()),
            "off_diagonal": float(np.sqrt((off**2).mean())), "cosine": float((unit[0] * unit[1]).sum(1).mean())}


def test_published_numbers() -> None:
    c = BarlowTwinsConfig()
    assert (c.backbone, c.projector_hidden, c.projector_dim, c.off_diagonal) == ("resnet50", 8192, 8192, 0.0051)
    run, recipe = read(["barlow_twins", "data=train.tar"])
    p = plan(run, 1_281_167)
    assert (run.epochs, run.batch_size, recipe.name, p.steps_per_epoch) == (1000, 2048, "barlow", 625)
    assert [p.rate(step) for step in (0, 6250, p.total)] == pytest.approx([0, 1.6, 0.0016])
    assert (run.optimizer.name, run.optimizer.exclude, run.optimizer.weight_decay) == ("lars", "norm-and-bias", 1e-6)
    assert method_info("barlow_twins").config() == c


def test_the_rate_of_biases_and_norm_gains_is_their_own_on_the_same_schedule() -> None:
    run, _ = read(["barlow_twins", "data=train.tar"])
    method, p = small(), plan(run, 1_281_167)
    optimizer = build_optimizer(method, run.optimizer)
    for step, rates in ((6250, [1.6, 0.0384]), (3125, [0.8, 0.0192]), (p.total, [1.6e-3, 3.84e-5])):
        set_rate(optimizer, p.rate(step))
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(rates)
    spared = {id(parameter) for parameter in optimizer.param_groups[1]["params"]}
    assert spared == {id(parameter) for parameter in method.parameters() if parameter.ndim == 1}


def test_the_published_projector() -> None:
    method = BarlowTwins(BarlowTwinsConfig(backbone="resnet18", projector_hidden=24, projector_dim=20), image_px=32)
    head = method.projector
    assert [type(m) for m in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]
    assert [tuple(m.weight.shape) for m in head if isinstance(m, nn.Linear)] == [(24, 512), (24, 24), (20, 24)]
    assert [m.bias for m in head if isinstance(m, nn.Linear)] == [None] * 3
    assert all(m.affine for m in head if isinstance(m, nn.BatchNorm1d))
    assert all((block.bn2.weight == 0).all() for block in method.backbone.layer1)  # the residual branches begin at 0


@pytest.mark.parametrize("weight", [0.0051, 0.5])
def test_the_loss_is_the_authors_on_two_passes(weight: float) -> None:
    method, views = small(off_diagonal=weight), random_views(2, 7, 16)
    values = {name: float(value.detach()) for name, value in method(batch_of(views)).items()}
    expected = by_hand(embeddings(small(off_diagonal=weight), views), weight)
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-4)
    assert values.keys() - expected.keys() == {"spread"} and 0 < values["spread"] <= 1


def test_batch_norm_sees_one_view_at_a_time() -> None:
    method = small()
    calls: list[int] = []
    for part in (method.backbone, method.projector):
        part.register_forward_hook(lambda module, given, output: calls.append(len(given[0])))
    method(batch_of(random_views(2, 4, 16)))
    assert calls == [4, 4, 4, 4]


def test_only_the_loss_carries_a_gradient_and_every_weight_gets_one() -> None:
    method = small()
    values = method(batch_of(random_views(2, 4, 16)))
    assert values["loss"].shape == () and not any(v.requires_grad for k, v in values.items() if k != "loss")
    values["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


def test_features_and_embeddings() -> None:
    method, images = small().eval(), random_views(1, 3, 16)[0]
    assert method.encoder is method.backbone and method.projection_head is method.projector
    assert torch.equal(method.features(images), method.backbone(images))
    torch.testing.assert_close(method.embed(images), nn.functional.normalize(method.projector(method.backbone(images)), dim=1))


def two_steps(images: int) -> Told:
    """In float64: features that hardly differ are standardised too."""
    return steps_of(small(off_diagonal=0.3).double(),
                    lambda step, own: batch_of(random_views(2, images, 16, step)[:, own].double()), images, rate=0.01)


@pytest.mark.parametrize(("ranks", "images"), [(2, 8), (2, 9), (3, 11)])
def test_ranks_are_the_parts_of_one_process(world: World, ranks: int, images: int) -> None:
    assert_alike(two_steps(images), world(ranks, two_steps, images))


def trained(**fields: object) -> tuple[dict[str, list[float]], list[str]]:
    return noisy_copies.trained(small(projector_hidden=32, projector_dim=32, **fields), 160)


def test_it_learns_and_without_the_second_term_its_features_say_the_same_and_the_run_says_so() -> None:
    whole, said = trained()
    assert sum(whole["loss"][-5:]) < 0.1 * sum(whole["loss"][:5]) and said == []
    assert whole["diagonal"][-1] > 0.85 and whole["off_diagonal"][-1] < 0.4
    half, said = trained(off_diagonal=0.0)
    assert half["diagonal"][-1] > 0.9 and half["off_diagonal"][-1] > 0.55
    assert len(said) == 1 and said[0].startswith("collapse?  off_diagonal 0.")
    assert half["embed_rankme"][-1] < whole["embed_rankme"][-1]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="barlow_twins compares two views, the recipe's group 'global' has 3; use recipe=barlow"):
        small()(batch_of(random_views(3, 2, 16)))
    for field, value, words in (("projector_hidden", 0, "whole number of at least 1"),
                                ("projector_dim", 1, "whole number of at least 2"),
                                ("off_diagonal", -0.1, "number of at least 0")):
        with pytest.raises(ValueError, match=rf"model\.{field} needs a {words}, got {value}"):
            BarlowTwinsConfig(**{field: value})  # type: ignore[arg-type]
