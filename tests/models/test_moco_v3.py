"""MoCo v3: its vision transformer's first weights, both directions of its loss, its average, and that ranks are one batch."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from viewmill.models.moco_v3 import MoCoV3, MoCoV3Config
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer, parameter_groups
from viewmill.models.training.schedule import peak_rate
from viewmill.models.training.step import learn
from viewmill.train import read

from ..world import World
from .batches import batch_of, random_views
from .ranks import Told, assert_alike, steps_of

TINY = {"projector_hidden": 16, "projector_dim": 8}
TINY_VIT = {**TINY, "backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 12, "depth": 2, "heads": 3}
CONVNET = {"backbone": "convnet4", "patch_px": None, "embed_dim": None, "depth": None, "heads": None}


def small(**fields: object) -> MoCoV3:
    torch.manual_seed(0)
    return MoCoV3(MoCoV3Config(**{**TINY_VIT, **fields}), image_px=16)  # type: ignore[arg-type]


def trained(method: MoCoV3, steps: range, images: int = 6) -> list[float]:
    # Everything decays, as published, and the rate is high, so that whatever can move does.
    optimizer = build_optimizer(method, OptimizerConfig(name="adamw", lr=0.01, scaling="none", weight_decay=0.5, exclude="none"))
    losses = []
    for step in steps:
        values = method(batch_of(random_views(2, images, 16, step)))
        learn(method, optimizer, values["loss"], 0.01, None, (step + 1) / 10)
        losses.append(float(values["loss"].detach()))
    return losses


def shapes(head: nn.Sequential) -> list[tuple[int, ...]]:
    return [tuple(layer.weight.shape) for layer in head if isinstance(layer, nn.Linear)]


def test_published_defaults_of_the_vision_transformer() -> None:
    method = MoCoV3(MoCoV3Config(depth=1), image_px=224)
    assert (method.feature_dim, method.backbone.blocks[0].attn.num_heads, method.temperature) == (384, 12, 0.2)
    assert method.config.momentum == 0.99
    assert shapes(method.projector) == [(4096, 384), (4096, 4096), (256, 4096)]
    assert shapes(method.predictor) == [(4096, 256), (256, 4096)]
    for head in (method.projector, method.predictor):
        assert all(m.bias is None for m in head if isinstance(m, nn.Linear))
        norms = [m for m in head if isinstance(m, nn.BatchNorm1d)]
        assert isinstance(head[-1], nn.BatchNorm1d) and [m.affine for m in norms] == [True] * (len(norms) - 1) + [False]


def test_published_defaults_of_the_residual_network() -> None:
    method = MoCoV3(MoCoV3Config(backbone="resnet18"), image_px=32)
    assert method.temperature == 1.0 and all((block.bn2.weight == 0).all() for block in method.backbone.layer1)
    assert shapes(method.projector) == [(4096, 512), (256, 4096)]
    assert isinstance(method.projector[-1], nn.BatchNorm1d) and not method.projector[-1].affine
    assert isinstance(method.predictor[-1], nn.Linear) and method.predictor[-1].bias is None
    assert small(backbone="vit_tiny_patch16_224", heads=None).backbone.blocks[0].attn.num_heads == 3  # a ViT-S alone has 12


def test_a_variant_is_the_published_run_of_the_residual_network() -> None:
    run, recipe = read(["moco_v3", "data=train.tar", "variant=r50_100ep"])
    assert recipe.name == "moco_v3_r50" and peak_rate(run.optimizer, run.batch_size) == pytest.approx(9.6)
    assert (run.epochs, run.schedule.warmup_epochs, run.optimizer.name, run.optimizer.weight_decay) == (100, 10, "lars", 1e-6)
    method = MoCoV3(run.model, image_px=32)
    assert method.temperature == 1.0 and shapes(method.projector) == [(4096, 2048), (256, 4096)]
    run, _ = read(["moco_v3", "data=train.tar"])
    assert peak_rate(run.optimizer, run.batch_size) == pytest.approx(2.4e-3)
    everything = parameter_groups(small(), run.optimizer)
    assert len(everything) == 1 and everything[0]["weight_decay"] == 0.1  # norms and biases decay too


def test_first_weights_of_the_vision_transformer() -> None:
    vit = small(embed_dim=192).backbone
    for layer, bound in ((vit.blocks[1].attn.qkv, math.sqrt(6 / (192 + 192))),  # not 192 + 3 * 192
                         (vit.blocks[0].attn.proj, math.sqrt(6 / (192 + 192))),
                         (vit.blocks[0].mlp.fc1, math.sqrt(6 / (192 + 768))),
                         (vit.patch_embed.proj, math.sqrt(6 / (192 + 48)))):
        top = float(layer.weight.detach().abs().max())
        assert 0.99 * bound < top <= bound
        assert float(layer.weight.detach().var()) == pytest.approx(bound**2 / 3, rel=0.05)  # uniform
        assert float(layer.bias.detach().abs().max()) == 0
    assert float(vit.cls_token.detach().std()) == pytest.approx(1e-6, rel=0.3)


def test_positions_are_fixed_sines_and_cosines_of_the_row_and_then_of_the_column() -> None:
    # vits.py of the authors, width 12: three rates 10000 ** (-k / 3); patch at row 2, column 1 of 4 x 4; the class token has 0.
    table = small().backbone.pos_embed
    rates = [1, 10000 ** (-1 / 3), 10000 ** (-2 / 3)]
    expected = [f(place * rate) for place in (2, 1) for f in (math.sin, math.cos) for rate in rates]
    np.testing.assert_allclose(table[0, 1 + 2 * 4 + 1].numpy(), expected, atol=1e-6)
    assert not table.requires_grad and table.shape == (1, 17, 12) and float(table[0, 0].abs().max()) == 0


def test_the_patches_projection_and_the_positions_never_move() -> None:
    method = small()
    held = {name: value.clone() for name, value in method.state_dict().items() if "patch_embed" in name or "pos_embed" in name}
    other = method.backbone.blocks[0].attn.qkv.weight.detach().clone()
    trained(method, range(3))
    assert len(held) == 6 and all(torch.equal(value, held[name]) for name, value in method.state_dict().items() if name in held)
    assert not torch.equal(other, method.backbone.blocks[0].attn.qkv.weight)
    free = small(frozen_patches=False)
    trained(free, range(3))
    assert not torch.equal(free.backbone.patch_embed.proj.weight, held["backbone.patch_embed.proj.weight"])


def ctr(q: Tensor, k: Tensor, temperature: float) -> float:
    """Algorithm 1 of arXiv:2104.02057: 2 t times the cross entropy of each query's own row."""
    q, k = (x.detach().double().numpy() for x in (q, k))
    logits = (q / np.linalg.norm(q, axis=1, keepdims=True)) @ (k / np.linalg.norm(k, axis=1, keepdims=True)).T / temperature
    return float(2 * temperature * np.mean(np.log(np.exp(logits).sum(1)) - np.diag(logits)))


@pytest.mark.parametrize(("fields", "temperature"), [({}, 0.2), (CONVNET, 1.0), ({"temperature": 0.5}, 0.5)])
def test_the_loss_is_both_directions_added(fields: dict[str, object], temperature: float) -> None:
    method = small(**fields)
    views, copied = random_views(2, 5, 16), copy.deepcopy(method)
    nn.init.normal_(method.key[1][0].weight)  # keys and queries of different networks
    copied.key.load_state_dict(method.key.state_dict())
    q = [copied.predictor(copied.projector(copied.backbone(view))) for view in views]
    k = [copied.key(view) for view in views]
    values = method(batch_of(views))
    assert float(values["loss"].detach()) == pytest.approx(ctr(q[0], k[1], temperature) + ctr(q[1], k[0], temperature), abs=1e-4)
    cosines = [nn.functional.cosine_similarity(q[i], k[1 - i]).mean() for i in range(2)]
    assert float(values["cosine"]) == pytest.approx(float(sum(cosines).detach()) / 2, abs=1e-5)


def test_the_gradient_is_the_query_sides_alone() -> None:
    method = small()
    values = method(batch_of(random_views(2, 5, 16)))
    assert values["loss"].shape == () and not any(v.requires_grad for k, v in values.items() if k != "loss")
    values["loss"].backward()
    held = {name for name, p in method.named_parameters() if not p.requires_grad}
    assert held == {name for name, _ in method.named_parameters() if name.startswith("key.")} | {
        "backbone.pos_embed", "backbone.patch_embed.proj.weight", "backbone.patch_embed.proj.bias"}
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []


def test_each_steps_keys_come_from_an_average_whose_momentum_rises_to_one() -> None:
    # The authors' order and law, kept beside, in a run of ten steps: average, then keys, then the step.
    method = small(momentum=0.9)
    pairs = [(f"0.{name}", p) for name, p in method.backbone.named_parameters()]
    pairs += [(f"1.{name}", p) for name, p in method.projector.named_parameters()]
    average = {name: p.detach().double().clone() for name, p in pairs}
    seen: list[dict[str, Tensor]] = []
    method.key.register_forward_pre_hook(
        lambda module, given: seen.append({name: p.detach().double().clone() for name, p in module.named_parameters()}))
    for step in range(10):
        momentum = 1 - 0.1 * (1 + math.cos(math.pi * step / 10)) / 2
        for name, p in pairs:
            average[name] = momentum * average[name] + (1 - momentum) * p.detach().double()
        trained(method, range(step, step + 1))
        for name, value in average.items():
            torch.testing.assert_close(seen[-1][name], value, rtol=1e-5, atol=1e-6)
    assert not torch.equal(method.key[1][0].weight, method.projector[0].weight)


def two_steps(fields: dict[str, object], images: int) -> Told:
    return steps_of(small(**fields), lambda step, own: batch_of(random_views(2, images, 16, step)[:, own]), images)


@pytest.mark.parametrize(("ranks", "fields"), [(2, {}), (3, CONVNET)])
def test_ranks_are_the_parts_of_one_process(world: World, ranks: int, fields: dict[str, object]) -> None:
    assert_alike(two_steps(fields, 8), world(ranks, two_steps, fields, 8))


def test_it_goes_on_to_the_bit_from_its_state() -> None:
    method = small()
    trained(method, range(2))
    state = copy.deepcopy(method.state_dict())
    went_on = trained(method, range(2, 5))
    torch.manual_seed(9)
    again = MoCoV3(method.config, image_px=16)
    again.load_state_dict(state)
    assert trained(again, range(2, 5)) == went_on


@pytest.mark.parametrize(("fields", "share"), [({}, 0.9), (CONVNET, 0.5)])
def test_it_learns_to_tell_images_apart(fields: dict[str, object], share: float) -> None:
    method, base = small(temperature=0.2, **fields), random_views(1, 16, 16)
    optimizer = build_optimizer(method, OptimizerConfig(name="adamw", lr=3e-3, scaling="none", weight_decay=0.0))
    for step in range(40):
        values = method(batch_of(base + 0.5 * random_views(2, 16, 16, seed=step + 1)))
        learn(method, optimizer, values["loss"], 3e-3, None, 1e-6)
    assert float(values["loss"].detach()) < share * 4 * 0.2 * math.log(16)  # chance: 2 directions of 2 t ln 16


def test_features_are_the_trained_backbones_and_the_embedding_is_the_query() -> None:
    method, images = small().eval(), random_views(1, 3, 16)[0]
    assert method.features(images).shape == (3, method.feature_dim) == (3, 12)
    assert method.encoder is method.backbone and torch.equal(method.features(images), method.backbone(images))
    assert torch.equal(method.embed(images), method.predictor(method.projector(method.backbone(images))))
    assert method.projection_head is method.projector


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="moco_v3 compares two views, the recipe's group 'global' has 3; use recipe=moco_v3_vit"):
        small()(batch_of(random_views(3, 2, 16)))
    with pytest.raises(ValueError, match=r"model\.frozen_patches=true holds .* backbone 'resnet18' is none; leave it out"):
        MoCoV3(MoCoV3Config(backbone="resnet18", frozen_patches=True), image_px=32)
    with pytest.raises(ValueError, match="backbone 'resnet18' takes no patch_px, embed_dim, depth, heads or window; they"):
        MoCoV3(MoCoV3Config(backbone="resnet18", heads=12), image_px=32)
    for field, value, words in (("temperature", 0.0, "above 0, got 0"), ("momentum", -0.1, r"in \[0, 1\], got -0\.1"),
                                ("projector_layers", 0, "at least 1, got 0"), ("heads", 0, "at least 1, got 0")):
        with pytest.raises(ValueError, match=rf"model\.{field} needs a .*number.* {words}"):
            MoCoV3Config(**{field: value})  # type: ignore[arg-type]
