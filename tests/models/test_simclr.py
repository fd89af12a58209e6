"""SimCLR: its head and loss as published, one joint pass, and that it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from timm.layers import SelectiveKernel
from torch import nn
from viewmill.models import build, method_info
from viewmill.models.backbone import backbone
from viewmill.models.simclr import SimCLR, SimCLRConfig
from viewmill.models.training.overrides import resolve
from viewmill.models.training.schedule import peak_rate
from viewmill.train import read

from ..world import World
from .batches import batch_of, random_views
from .ranks import Told, assert_alike, steps_of


def small(**fields: object) -> SimCLR:
    torch.manual_seed(0)
    return SimCLR(SimCLRConfig(**{"backbone": "convnet4", "projector_dim": 16, **fields}), image_px=16)  # type: ignore[arg-type]


def test_the_published_projector() -> None:
    torch.manual_seed(0)
    head = SimCLR(SimCLRConfig(backbone="resnet18"), image_px=32).projector
    first, norm, _, second, last = head
    assert [type(m) for m in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d]
    assert first.weight.shape == (512, 512) and second.weight.shape == (128, 512)
    assert first.bias is None and second.bias is None
    assert norm.bias.requires_grad and last.weight.requires_grad and not last.bias.requires_grad
    assert float(first.weight.detach().std()) == pytest.approx(0.01, rel=0.02)


def test_the_projector_of_version_2_layer_by_layer() -> None:
    # google-research/simclr, tf2/model.py: each hidden layer as wide as what it is given, BN and ReLU; the last BN has no shift.
    info = method_info("simclr_v2")
    torch.manual_seed(0)
    method = build("simclr_v2", info.config(backbone="resnet18"), image_px=32)
    assert isinstance(method, SimCLR)
    head = method.projector
    assert [tuple(m.weight.shape) for m in head if isinstance(m, nn.Linear)] == [(512, 512), (512, 512), (128, 512)]
    assert [type(m) for m in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear, nn.BatchNorm1d]
    assert [m.bias for m in head if isinstance(m, nn.Linear)] == [None] * 3
    assert [m.bias.requires_grad for m in head if isinstance(m, nn.BatchNorm1d)] == [True, True, False]
    with torch.no_grad():
        for norm in (head[1], head[4], head[7]):
            nn.init.uniform_(norm.weight, 0.5, 2.0)
        nn.init.normal_(head[1].bias)
        nn.init.normal_(head[4].bias)
        x = torch.randn(6, 512)
        weights = {name: value.double().numpy() for name, value in head.state_dict().items()}
        h = x.double().numpy()
        for linear, norm in ((0, 1), (3, 4), (6, 7)):
            h = h @ weights[f"{linear}.weight"].T
            h = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5) * weights[f"{norm}.weight"]
            if norm < 7:
                h = np.maximum(h + weights[f"{norm}.bias"], 0)
        np.testing.assert_allclose(head(x).numpy(), h, rtol=1e-3, atol=1e-4)


def test_version_1_is_what_it_was_and_version_2_one_layer_more() -> None:
    torch.manual_seed(0)
    method = SimCLR(SimCLRConfig(backbone="convnet4"), image_px=16)
    torch.manual_seed(0)
    _ = backbone("convnet4", 16), nn.Linear(256, 256, bias=False), nn.Linear(256, 128, bias=False)
    drawn = [torch.empty(width, 256).normal_(std=0.01) for width in (256, 128)]
    assert all(torch.equal(method.projector[place].weight, expected) for place, expected in zip((0, 3), drawn, strict=True))
    assert len(method.projector) == 5 and len(small(projector_layers=3).projector) == 8
    assert [type(m) for m in small(projector_layers=1).projector] == [nn.Linear, nn.BatchNorm1d]


def test_published_numbers_of_version_2() -> None:
    run, recipe = resolve("simclr_v2", ["data=train.tar"], (info := method_info("simclr_v2")).published, info.config())
    assert (run.model.projector_layers, run.model.projector_dim, run.model.temperature) == (3, 128, 0.1)
    assert (run.epochs, run.batch_size, peak_rate(run.optimizer, run.batch_size)) == (800, 4096, pytest.approx(6.4))
    assert {view.ops[2].brightness_law for view in recipe.views} == {"multiplicative"}
    run, recipe = read(["simclr_v2", "data=train.tar", "recipe=simclr_v2_cifar"])
    assert (run.model.backbone, run.model.projector_layers, run.model.temperature) == ("resnet18", 3, 0.5)
    assert (run.epochs, run.batch_size, peak_rate(run.optimizer, run.batch_size)) == (1000, 512, 2.0)
    assert {view.ops[2].brightness_law for view in recipe.views} == {"multiplicative"} and recipe.instances[0].size_hw == (32, 32)


def test_networks_with_selective_kernels_are_timms() -> None:
    method = small(backbone="skresnet18")
    assert method.feature_dim == 512 and isinstance(method.backbone.layer1[0].conv1, SelectiveKernel)
    assert method.features(random_views(1, 2, 16)[0]).shape == (2, 512)


def test_published_defaults() -> None:
    config = SimCLRConfig()
    assert (config.backbone, config.projector_dim, config.temperature, config.loss_scale) == ("resnet50", 128, 0.1, "official")


def test_the_loss_is_the_mean_over_images_of_both_views_cross_entropy() -> None:
    # From the embeddings on, written out with a dense matrix in float64.
    method, views = small(temperature=0.3), random_views(2, 5, 16)
    z = nn.functional.normalize(method.projector(method.backbone(views.flatten(0, 1))).double(), dim=1)
    shares = ((z @ z.T / 0.3).exp() * (1 - torch.eye(10, dtype=torch.float64)))
    shares = shares / shares.sum(1, keepdim=True)
    expected = -sum(math.log(float(shares[i, (i + 5) % 10].detach())) for i in range(10)) / 5
    values = method(batch_of(views))
    assert float(values["loss"].detach()) == pytest.approx(expected, rel=1e-5)
    assert float(values["cosine"]) == pytest.approx(float((z[:5] * z[5:]).sum(1).mean().detach()), abs=1e-5)
    halved = small(temperature=0.3, loss_scale="paper")(batch_of(views))["loss"]
    assert float(halved.detach()) == pytest.approx(expected / 2, rel=1e-5)


def test_batch_norm_sees_both_views_in_one_pass() -> None:
    method, views = small(), random_views(2, 4, 16)
    calls: list[int] = []
    method.backbone.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    method(batch_of(views))
    assert calls == [8]


def test_only_the_loss_carries_a_gradient_and_every_trainable_weight_gets_one() -> None:
    method = small()
    values = method(batch_of(random_views(2, 4, 16)))
    assert values["loss"].shape == () and not any(v.requires_grad for k, v in values.items() if k != "loss")
    values["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []


def test_spread_is_zero_where_all_embeddings_are_one() -> None:
    method = small().eval()
    views = random_views(1, 1, 16).expand(2, 6, -1, -1, -1)
    values = method(batch_of(views))
    assert float(values["spread"]) == pytest.approx(0, abs=1e-3) and float(values["cosine"]) == pytest.approx(1, abs=1e-4)


def test_it_learns_to_tell_images_apart() -> None:
    method = small(temperature=0.5)
    base = random_views(1, 16, 16)
    optimizer = torch.optim.SGD(method.parameters(), 0.2, momentum=0.9)
    losses = []
    for step in range(8):
        loss = method(batch_of(base + 0.5 * random_views(2, 16, 16, seed=step + 1)))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-2:]) < 0.8 * sum(losses[:2])


def test_each_rank_returns_its_share_times_the_world_size(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two ranks, one after the other in this process: in evaluation mode batch norm ties no images together.
    method, views = small().eval(), random_views(2, 5, 16)
    whole = float(method(batch_of(views))["loss"].detach())
    z = torch.stack(list(method.projector(method.backbone(views.flatten(0, 1))).chunk(2)), 1)
    losses = []
    monkeypatch.setattr("viewmill.models.simclr.world_size", lambda: 2)
    for start, stop in ((0, 2), (2, 5)):
        monkeypatch.setattr("viewmill.models.simclr.gather", lambda own, start=start: (z, start))
        losses.append(float(method(batch_of(views[:, start:stop]))["loss"].detach()))
    assert sum(losses) / 2 == pytest.approx(whole, rel=1e-5)


def two_steps(fields: dict[str, object], images: int) -> Told:
    return steps_of(small(**fields), lambda step, own: batch_of(random_views(2, images, 16, step)[:, own]), images)


@pytest.mark.parametrize("fields", [{}, {"projector_layers": 3, "loss_chunk": 3}])
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_are_the_parts_of_one_process(world: World, ranks: int, fields: dict[str, object]) -> None:
    assert_alike(two_steps(fields, 11), world(ranks, two_steps, fields, 11))


def test_features_are_the_backbones() -> None:
    method = small().eval()
    images = random_views(1, 3, 16)[0]
    assert method.features(images).shape == (3, method.feature_dim) == (3, 256)
    assert torch.equal(method.features(images), method.backbone(images))
    assert method.encoder is method.backbone and method.projection_head is method.projector


def test_the_embedding_is_the_projectors() -> None:
    method, views = small().eval(), random_views(2, 3, 16)
    z = nn.functional.normalize(method.embed(views.flatten(0, 1)), dim=1)
    assert z.shape == (6, 16)
    cosine = float(method(batch_of(views))["cosine"])
    assert float((z[:3] * z[3:]).sum(1).mean().detach()) == pytest.approx(cosine, abs=1e-6)


def test_without_a_projector_features_themselves_are_compared() -> None:
    method, views = small(projector_layers=0), random_views(2, 3, 16)
    assert len(method.projector) == 0
    h = nn.functional.normalize(method.backbone(views.flatten(0, 1)), dim=1).detach()
    cosines = (h @ h.T / method.config.temperature).fill_diagonal_(-math.inf)
    expected = 2 * nn.functional.cross_entropy(cosines, torch.tensor([3, 4, 5, 0, 1, 2]))
    loss = method(batch_of(views))["loss"]
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)
    loss.backward()
    assert all(p.grad is not None for p in method.parameters())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="simclr compares two views, the recipe's group 'global' has 3"):
        small()(batch_of(random_views(3, 2, 16)))
    with pytest.raises(ValueError, match=r"model\.temperature needs a number above 0, got 0"):
        SimCLRConfig(temperature=0)
    with pytest.raises(ValueError, match=r"model\.projector_layers needs a whole number of at least 0, got -1"):
        SimCLRConfig(projector_layers=-1)
    with pytest.raises(ValueError, match=r"model\.projector_dim needs a whole number of at least 1, got 0"):
        SimCLRConfig(projector_dim=0)


def test_accuracy_counts_the_views_that_find_their_partner() -> None:
    method = small()
    same = random_views(1, 6, 16).expand(2, -1, -1, -1, -1)
    assert float(method(batch_of(same))["accuracy"]) == 1
    z = nn.functional.normalize(method.projector(method.backbone((views := random_views(2, 6, 16)).flatten(0, 1))), dim=1)
    nearest = (z @ z.T - 9 * torch.eye(12)).argmax(1)
    expected = float((nearest == (torch.arange(12) + 6) % 12).float().mean())
    assert float(method(batch_of(views))["accuracy"]) == pytest.approx(expected)
