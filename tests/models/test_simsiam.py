"""SimSiam: its heads as published, its loss, where the gradient stops, what keeps it from collapse, and that ranks are one
batch."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from viewmill.augment.presets import recipe
from viewmill.models import build, method_info
from viewmill.models.simsiam import SimSiam, SimSiamConfig
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer, parameter_groups
from viewmill.models.training.schedule import peak_rate
from viewmill.models.training.step import learn
from viewmill.train import read

from ..world import World
from .batches import batch_of, random_views
from .collapsing import watched
from .ranks import SGD, Told, assert_alike, steps_of

TINY = {"backbone": "convnet4", "projector_hidden": 24, "projector_dim": 12, "predictor_hidden": 4}


def small(**fields: object) -> SimSiam:
    torch.manual_seed(0)
    return SimSiam(SimSiamConfig(**{**TINY, **fields}), image_px=16)  # type: ignore[arg-type]


def trained(method: SimSiam, steps: range) -> list[float]:
    optimizer, losses = build_optimizer(method, SGD), []
    for step in steps:
        values = method(batch_of(random_views(2, 6, 16, step)))
        learn(method, optimizer, values["loss"], 0.1, None, 0.5)
        losses.append(float(values["loss"].detach()))
    return losses


def test_the_published_heads() -> None:
    # facebookresearch/simsiam, builder.py: hidden layers as wide as the features, a last norm of no weights, a bottleneck.
    method = build("simsiam", method_info("simsiam").config(backbone="resnet18"), image_px=32)
    assert isinstance(method, SimSiam)
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert [type(m) for m in method.projector] == [*hidden, *hidden, nn.Linear, nn.BatchNorm1d]
    assert [type(m) for m in method.predictor] == [*hidden, nn.Linear]
    layers = [[m for m in head if isinstance(m, nn.Linear)] for head in (method.projector, method.predictor)]
    assert [[tuple(m.weight.shape) for m in of] for of in layers] == [[(512, 512), (512, 512), (2048, 512)],
                                                                      [(512, 2048), (2048, 512)]]
    assert [[m.bias is not None for m in of] for of in layers] == [[False, False, False], [False, True]]
    assert [m.affine for m in method.projector if isinstance(m, nn.BatchNorm1d)] == [True, True, False]
    assert all((block.bn2.weight == 0).all() for block in method.backbone.layer1)


def test_published_numbers() -> None:
    run, views = read(["simsiam", "data=train.tar"])
    assert (run.epochs, run.batch_size, peak_rate(run.optimizer, run.batch_size)) == (100, 512, pytest.approx(0.1))
    assert (run.optimizer.name, run.schedule.law, run.schedule.per, run.optimizer.momentum) == ("sgd", "cosine", "epoch", 0.9)
    groups = parameter_groups(small(), run.optimizer)
    assert {group["weight_decay"] for group in groups} == {1e-4}  # of all weights, biases and norms too
    run, _ = read(["simsiam", "data=train.tar", "variant=batch256"])
    assert (run.batch_size, peak_rate(run.optimizer, run.batch_size)) == (256, pytest.approx(0.05))
    assert read(["simsiam", "data=train.tar", "variant=800ep"])[0].epochs == 800
    run, little = read(["simsiam", "data=train.tar", "recipe=simsiam_cifar"])
    assert (run.model.backbone, run.model.projector_layers, run.epochs) == ("resnet18", 2, 800)
    assert (peak_rate(run.optimizer, run.batch_size), run.optimizer.weight_decay) == (pytest.approx(0.06), 5e-4)
    assert [op.type for op in little.views[0].ops] == [op.type for op in views.views[0].ops if op.type != "blur"]
    assert recipe("simsiam_cifar").views[0].ops[0].scale == (0.2, 1.0)


def test_the_predictors_rate_stays_while_the_others_falls() -> None:
    def rates(**fields: object) -> dict[str, float]:
        method = small(**fields)
        optimizer = build_optimizer(method, SGD)
        learn(method, optimizer, method(batch_of(random_views(2, 4, 16)))["loss"], 0.01, None, 0.9, peak=0.1)
        rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        return {name: rate[id(p)] for name, p in method.named_parameters()}

    found = rates()
    assert {name for name, rate in found.items() if rate == 0.1} == {name for name in found if name.startswith("predictor.")}
    assert set(found.values()) == {0.1, 0.01}
    assert set(rates(constant_predictor_rate=False).values()) == set(rates(predictor=False).values()) == {0.01}


def by_hand(p: list[Tensor], z: list[Tensor]) -> float:
    """Algorithm 1 of arXiv:2011.10566: D(p1, z2) / 2 + D(p2, z1) / 2, with D minus the cosine's mean, in float64."""
    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(-np.mean([x @ y / np.sqrt((x @ x) * (y @ y)) for x, y in zip(a, b, strict=True)]))

    (p_1, p_2), (z_1, z_2) = ([x.detach().double().numpy() for x in of] for of in (p, z))
    return distance(p_1, z_2) / 2 + distance(p_2, z_1) / 2


@pytest.mark.parametrize("fields", [{}, {"stop_gradient": False}, {"predictor": False}])
def test_what_it_returns(fields: dict[str, object]) -> None:
    method, views = small(**fields), random_views(2, 5, 16)
    copied = copy.deepcopy(method)
    z = [copied.projector(copied.backbone(view)) for view in views]  # each view by itself
    p = [copied.predictor(each) for each in z]
    values = {name: float(value.detach()) for name, value in method(batch_of(views)).items()}
    deviations = [F.normalize(each.detach().double(), dim=1).numpy().std(0) for each in z]
    spread = np.mean([np.sqrt(12 * np.mean(each**2)) for each in deviations])
    assert values == pytest.approx({"loss": by_hand(p, z), "cosine": -by_hand(p, z), "spread": spread}, abs=1e-5)


def test_views_in_the_other_order_have_the_same_loss() -> None:
    views = random_views(2, 5, 16)
    turned, loss = (small()(batch_of(of))["loss"].detach() for of in (views.flip(0), views))
    assert float(turned) == pytest.approx(float(loss), abs=1e-6)


def gradient_beside_differences(still: bool, seed: int = 0) -> tuple[float, float]:
    """Of the loss by one weight of the projector: autograd's, and from float64 losses at two places; still: the embeddings that
    are gone to stay where the weight was."""
    method, views = small(stop_gradient=still).double(), random_views(2, 5, 16).double()
    method(batch_of(views))["loss"].backward()
    weight = method.projector[0].weight
    held = [method.projector(method.backbone(view)) for view in views]

    def loss() -> float:
        z = [method.projector(method.backbone(view)) for view in views]
        return by_hand([method.predictor(each) for each in z], held if still else z)

    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[1, 2] += sign * 1e-5
            losses.append(loss())
            weight[1, 2] -= sign * 1e-5
    return float(weight.grad[1, 2]), (losses[0] - losses[1]) / 2e-5


def test_embeddings_that_are_gone_to_stand_still_and_move_without_the_stopped_gradient() -> None:
    stopped, expected = gradient_beside_differences(still=True)
    assert stopped == pytest.approx(expected, rel=1e-4)
    moving, expected = gradient_beside_differences(still=False)
    assert moving == pytest.approx(expected, rel=1e-4) and abs(moving - stopped) > 0.01 * abs(stopped)


@pytest.mark.parametrize("fields", [{}, {"stop_gradient": False}, {"predictor": False}, {"projector_layers": 1}])
def test_only_the_loss_carries_a_gradient_and_every_weight_gets_one(fields: dict[str, object]) -> None:
    method = small(**fields)
    values = method(batch_of(random_views(2, 5, 16)))
    assert values["loss"].shape == () and not any(v.requires_grad for k, v in values.items() if k != "loss")
    values["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


def test_without_a_predictor_there_is_none() -> None:
    assert not any(name.startswith("predictor") for name, _ in small(predictor=False).named_parameters())


def two_steps(fields: dict[str, object], images: int) -> Told:
    return steps_of(small(**fields), lambda step, own: batch_of(random_views(2, images, 16, step)[:, own]), images)


@pytest.mark.parametrize(("ranks", "fields"), [(2, {}), (3, {"stop_gradient": False})])
def test_ranks_are_the_parts_of_one_process(world: World, ranks: int, fields: dict[str, object]) -> None:
    assert_alike(two_steps(fields, 11), world(ranks, two_steps, fields, 11))


def test_it_goes_on_to_the_bit_from_its_state() -> None:
    method = small()
    trained(method, range(2))
    state = copy.deepcopy(method.state_dict())
    went_on = trained(method, range(2, 4))
    torch.manual_seed(9)
    again = SimSiam(method.config, image_px=16)
    again.load_state_dict(state)
    assert trained(again, range(2, 4)) == went_on


def test_it_learns_to_make_views_agree_and_images_differ() -> None:
    method, base = small(), random_views(1, 16, 16)
    optimizer = build_optimizer(method, OptimizerConfig(name="adamw", lr=3e-3, scaling="none", weight_decay=0.0))
    for step in range(60):
        values = method(batch_of(base + 0.5 * random_views(2, 16, 16, seed=step + 1)))
        learn(method, optimizer, values["loss"], 3e-3, None, 0.5)
    assert float(values["loss"].detach()) < -0.5 and float(values["spread"]) > 0.9


@pytest.mark.parametrize("fields", [{}, {"stop_gradient": False}, {"predictor": False}])
def test_health_tells_of_the_collapse_that_stopped_gradient_and_predictor_prevent(fields: dict[str, object]) -> None:
    said, row = watched(small(**{"projector_hidden": 64, "projector_dim": 64, "predictor_hidden": 16, **fields}), 200)
    if fields:
        assert said is not None and "embeddings of all images lie in very few directions" in said  # a last norm keeps the std
        assert row["embed_rankme"] < 3
    else:
        assert said is None and row["embed_rankme"] > 8 and row["embed_std"] > 0.7 and row["spread"] > 0.9


def test_features_are_the_backbones_and_embeddings_the_projectors() -> None:
    method, images = small().eval(), random_views(1, 3, 16)[0]
    assert method.features(images).shape == (3, method.feature_dim) == (3, 256)
    assert torch.equal(method.features(images), method.backbone(images)) and method.encoder is method.backbone
    assert torch.equal(method.embed(images), F.normalize(method.projector(method.backbone(images)), dim=1))
    assert method.projection_head is method.projector


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="simsiam compares two views, the recipe's group 'global' has 3; use recipe=simsiam"):
        small()(batch_of(random_views(3, 2, 16)))
    for field in ("projector_layers", "projector_hidden", "projector_dim", "predictor_hidden"):
        with pytest.raises(ValueError, match=rf"model\.{field} needs a whole number of at least 1, got 0"):
            SimSiamConfig(**{field: 0})  # type: ignore[arg-type]
