"""BYOL: its heads as published, both directions of its loss, its target, what keeps it from collapse, and that ranks are one
batch."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from viewmill.models import build, method_info
from viewmill.models.byol import BYOL, BYOLConfig
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.schedule import peak_rate
from viewmill.models.training.step import learn
from viewmill.train import read

from ..world import World
from .batches import batch_of, random_views
from .collapsing import watched
from .ranks import SGD, Told, assert_alike, steps_of

TINY = {"backbone": "convnet4", "projector_hidden": 16, "projector_dim": 8}


def small(**fields: object) -> BYOL:
    torch.manual_seed(0)
    return BYOL(BYOLConfig(**{**TINY, **fields}), image_px=16)  # type: ignore[arg-type]


def trained(method: BYOL, steps: range) -> list[float]:
    optimizer, losses = build_optimizer(method, SGD), []
    for step in steps:
        values = method(batch_of(random_views(2, 6, 16, step)))
        learn(method, optimizer, values["loss"], 0.1, None, (step + 1) / 10)
        losses.append(float(values["loss"].detach()))
    return losses


def test_the_published_heads() -> None:
    # deepmind-research, byol/utils/networks.py: projector and predictor alike, a bias before the norm and none at the end.
    method = build("byol", method_info("byol").config(backbone="resnet18"), image_px=32)
    assert isinstance(method, BYOL)
    heads = (method.projector, method.predictor, method.target[1])
    for head, width in zip(heads, (512, 256, 512), strict=True):
        assert isinstance(head, nn.Sequential)
        assert [type(m) for m in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
        assert head[0].weight.shape == (4096, width) and head[3].weight.shape == (256, 4096)
        assert head[0].bias is not None and head[3].bias is None
        assert (head[1].eps, head[1].momentum) == (1e-5, 0.1)


@pytest.mark.parametrize(("variant", "epochs", "rate", "decay", "momentum"), [
    (None, 1000, 3.2, 1.5e-6, 0.996), ("300ep", 300, 4.8, 1e-6, 0.99), ("100ep", 100, 7.2, 1e-6, 0.99),
    ("40ep", 40, 7.2, 1e-6, 0.97)])
def test_published_numbers(variant: str | None, epochs: int, rate: float, decay: float, momentum: float) -> None:
    # byol/configs/byol.py: base rates 0.2, 0.3, 0.45, 0.45, times 4096 / 256.
    run, recipe = read(["byol", "data=train.tar", *([f"variant={variant}"] if variant else [])])
    assert (run.epochs, run.batch_size, run.schedule.warmup_epochs) == (epochs, 4096, 10)
    assert (run.optimizer.weight_decay, run.model.teacher_momentum) == (decay, momentum)
    assert peak_rate(run.optimizer, run.batch_size) == pytest.approx(rate) and recipe.name == "byol"


def test_views_for_32_px_are_the_published_ones_without_blur() -> None:
    published, little = (read(["byol", "data=train.tar", f"recipe={name}"])[1] for name in ("byol", "byol_cifar"))
    for large, small_one in zip(published.views, little.views, strict=True):
        ops = [op for op in large.ops if op.type != "blur" and getattr(op, "p", 1) > 0]
        assert [op.type for op in small_one.ops] == [op.type for op in ops] and small_one.ops[1:] == tuple(ops[1:])
        assert small_one.ops[0].size_px == 32 and small_one.ops[0].scale == ops[0].scale


def test_last_gains_begin_at_zero_as_in_the_code_or_at_one_as_in_the_paper() -> None:
    for field, gain in ((None, 0), (True, 0), (False, 1)):
        method = small(backbone="resnet18", zero_init_last=field)
        for network in (method.backbone, method.target[0]):
            assert all((block.bn2.weight == gain).all() for block in network.layer1)
    with pytest.raises(ValueError, match="backbone 'convnet4' takes no zero_init_last; it is for ResNets"):
        small(zero_init_last=False)


def test_the_target_begins_with_weights_of_its_own_or_with_the_online_networks() -> None:
    own, shared = small(), small(target_start="online")
    assert all(torch.equal(a, b) for a, b in zip(own.backbone.parameters(), shared.backbone.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(own.predictor.parameters(), shared.predictor.parameters(), strict=True))
    for begun, alike in ((own, False), (shared, True)):
        online = nn.Sequential(begun.backbone, begun.projector).state_dict()
        drawn = [name for name in online if name.endswith("weight") and online[name].ndim > 1]
        assert len(drawn) == 6
        assert [torch.equal(begun.target.state_dict()[name], online[name]) for name in drawn] == [alike] * 6


def regression_loss(p: np.ndarray, z: np.ndarray) -> float:
    """Of equation 2 of arXiv:2006.07733: the squared distance of what has length 1, a mean over images."""
    p, z = (x / np.sqrt(np.sum(x**2, -1, keepdims=True)) for x in (p, z))
    return float(np.mean(np.sum((p - z) ** 2, -1)))


@pytest.mark.parametrize("fields", [{}, {"predictor": False}, {"target_start": "online"}])
def test_the_loss_is_both_directions_added(fields: dict[str, object]) -> None:
    method, views = small(**fields), random_views(2, 5, 16)
    copied = copy.deepcopy(method)
    p = [copied.predictor(copied.projector(copied.backbone(view))).detach().double().numpy() for view in views]  # each by itself
    z = [copied.target(view).double().numpy() for view in views]
    values = {name: float(value.detach()) for name, value in method(batch_of(views)).items()}
    loss = regression_loss(p[0], z[1]) + regression_loss(p[1], z[0])
    deviations = [(each / np.linalg.norm(each, axis=1, keepdims=True)).std(0) for each in z]
    spread = np.mean([np.sqrt(8 * np.mean(each**2)) for each in deviations])
    # Of both directions, 4 - 2 (cos + cos).
    assert values == pytest.approx({"loss": loss, "cosine": 1 - loss / 4, "spread": spread}, abs=1e-5)


def test_views_in_the_other_order_have_the_same_loss() -> None:
    views = random_views(2, 5, 16)
    turned, loss = (small()(batch_of(of))["loss"].detach() for of in (views.flip(0), views))
    assert float(turned) == pytest.approx(float(loss), abs=1e-5)


@pytest.mark.parametrize("fields", [{}, {"predictor": False}])
def test_the_gradient_is_the_online_sides_alone_and_that_of_finite_differences(fields: dict[str, object]) -> None:
    method, views = small(**fields).double(), random_views(2, 5, 16).double()
    values = method(batch_of(views))
    assert values["loss"].shape == () and not any(v.requires_grad for k, v in values.items() if k != "loss")
    values["loss"].backward()
    held = {name for name, p in method.named_parameters() if not p.requires_grad}
    assert held == {name for name, _ in method.named_parameters() if name.startswith("target.")} != set()
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []
    for weight, place in ((method.projector[0].weight, (3, 5)), (method.backbone.layers[0].weight, (3, 1, 2, 0))):
        losses, stood = [], float(weight.detach()[place])
        for sign in (1, -1):
            weight.detach()[place] = stood + sign * 1e-5
            losses.append(float(method(batch_of(views))["loss"].detach()))
            weight.detach()[place] = stood
        assert float(weight.grad[place]) == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-4, abs=1e-7)


def test_batch_norm_of_the_target_uses_its_own_batch() -> None:
    method = small()
    method(batch_of(random_views(2, 5, 16)))
    norms = [m for m in method.target.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(norms) == 5 and all(int(m.num_batches_tracked) == 2 for m in norms)  # a view at a time


@pytest.mark.parametrize(("progress", "momentum"), [(1e-9, 0.9), (1 / 3, 0.925), (0.5, 0.95), (2 / 3, 0.975), (1.0, 1.0)])
def test_the_target_follows_after_the_step_with_a_momentum_that_rises_to_one(progress: float, momentum: float) -> None:
    # 1 - 0.1 * (1 + cos(pi * progress)) / 2
    method = small(teacher_momentum=0.9)
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    statistics = {name: b.clone() for name, b in method.named_buffers()}
    method.after_step(progress)
    for name, p in method.named_parameters():
        if name.startswith("target."):
            place, _, rest = name.removeprefix("target.").partition(".")
            online = before[f"{'backbone' if place == '0' else 'projector'}.{rest}"]
            torch.testing.assert_close(p, momentum * before[name] + (1 - momentum) * online)
        else:
            assert torch.equal(p, before[name])
    assert all(torch.equal(b, statistics[name]) for name, b in method.named_buffers())


def test_the_target_is_an_average_of_the_weights_after_each_step() -> None:
    method = small(teacher_momentum=0.5)
    average = {name: p.detach().double().clone() for name, p in method.target.named_parameters()}
    online = nn.Sequential(method.backbone, method.projector)
    for step in range(4):
        trained(method, range(step, step + 1))
        momentum = 1 - 0.5 * (1 + math.cos(math.pi * (step + 1) / 10)) / 2
        for name, p in online.named_parameters():
            average[name] = momentum * average[name] + (1 - momentum) * p.detach().double()
        for name, p in method.target.named_parameters():
            torch.testing.assert_close(p.double(), average[name], rtol=1e-5, atol=1e-6)


def two_steps(fields: dict[str, object], images: int) -> Told:
    return steps_of(small(**fields), lambda step, own: batch_of(random_views(2, images, 16, step)[:, own]), images)


@pytest.mark.parametrize(("ranks", "fields"), [(2, {"teacher_momentum": 0.9}), (3, {"predictor": False})])
def test_ranks_are_the_parts_of_one_process(world: World, ranks: int, fields: dict[str, object]) -> None:
    assert_alike(two_steps(fields, 11), world(ranks, two_steps, fields, 11))


def test_it_goes_on_to_the_bit_from_its_state() -> None:
    method = small()
    trained(method, range(2))
    state = copy.deepcopy(method.state_dict())
    went_on = trained(method, range(2, 4))
    torch.manual_seed(9)
    again = BYOL(method.config, image_px=16)
    again.load_state_dict(state)
    assert trained(again, range(2, 4)) == went_on


def test_it_learns_to_make_views_agree_and_images_differ() -> None:
    method, base = small(teacher_momentum=0.9), random_views(1, 16, 16)
    optimizer = build_optimizer(method, OptimizerConfig(name="adamw", lr=3e-3, scaling="none", weight_decay=0.0))
    for step in range(60):
        values = method(batch_of(base + 0.5 * random_views(2, 16, 16, seed=step + 1)))
        learn(method, optimizer, values["loss"], 3e-3, None, 1e-6)
    assert float(values["loss"].detach()) < 0.3 * 4 and float(values["spread"]) > 0.5  # chance: cosines of 0


@pytest.mark.parametrize("predictor", [True, False])
def test_health_tells_of_the_collapse_that_the_predictor_prevents(predictor: bool) -> None:
    said, row = watched(small(projector_hidden=64, projector_dim=32, teacher_momentum=0.9, predictor=predictor), 120)
    if predictor:
        assert said is None and row["embed_rankme"] > 6 and row["embed_std"] > 0.5 and row["spread"] > 0.6
    else:
        assert said is not None and "embeddings of all images are alike" in said
        assert row["embed_rankme"] < 3 and row["embed_std"] < 0.05 and row["spread"] < 0.05 and row["cosine"] > 0.99


def test_features_are_the_online_backbones_and_embeddings_its_projectors() -> None:
    method, images = small().eval(), random_views(1, 3, 16)[0]
    assert method.features(images).shape == (3, method.feature_dim) == (3, 256)
    assert torch.equal(method.features(images), method.backbone(images)) and method.encoder is method.backbone
    assert torch.equal(method.embed(images), F.normalize(method.projector(method.backbone(images)), dim=1))
    assert method.projection_head is method.projector


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="byol compares two views, the recipe's group 'global' has 1; use recipe=byol"):
        small()(batch_of(random_views(1, 2, 16)))
    for field, value, words in (("projector_hidden", 0, "at least 1, got 0"), ("projector_dim", 0, "at least 1, got 0"),
                                ("teacher_momentum", 1.1, r"in \[0, 1\], got 1\.1")):
        with pytest.raises(ValueError, match=rf"model\.{field} needs a .*number.* {words}"):
            BYOLConfig(**{field: value})  # type: ignore[arg-type]
