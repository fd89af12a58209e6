"""Rates by layer as timm's whole networks get them, and pictures mixed with their labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn
from viewmill.evaluation.finetune.pieces import Mixing, layer_of, parameter_groups
from viewmill.evaluation.finetune.tunings import TUNINGS, Tuning
from viewmill.models.backbone import backbone

OF = replace(TUNINGS["beit"], layer_decay=0.5, weight_decay=0.1)


def scales(module: nn.Module, head: nn.Module, of: Tuning = OF) -> dict[str, tuple[float, float]]:
    """By name: the rate's scale and the decay."""
    names = {id(p): name for name, p in [*module.named_parameters(), *((f"head.{n}", p) for n, p in head.named_parameters())]}
    return {names[id(p)]: (group["lr_scale"], group["weight_decay"])
            for group in parameter_groups(module, head, of) for p in group["params"]}


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18"])
def test_a_backbone_and_its_head_have_the_rates_of_timms_whole_network(name: str) -> None:
    whole = timm.create_model(name, num_classes=7)
    named = {id(p): n for n, p in whole.named_parameters()}
    spared = whole.no_weight_decay() if "vit" in name else ()
    expected = {named[id(p)].replace("fc.", "head."): (group["lr_scale"], group["weight_decay"])
                for group in param_groups_layer_decay(whole, 0.1, spared, layer_decay=0.5) for p in group["params"]}
    ours = scales(timm.create_model(name, num_classes=0), nn.Linear(whole.num_features, 7))
    assert ours == expected


def test_beits_layers_by_hand() -> None:
    """Embedding, twelve blocks, head: 0.65^13 to 1; positions and tokens, too, do not decay."""
    vit, _ = backbone("vit_tiny_patch16_224", 32)
    found = scales(vit, nn.Linear(192, 5), replace(OF, layer_decay=0.65))
    assert found["head.weight"] == (1.0, 0.1) and found["head.bias"] == (1.0, 0.0)
    assert found["blocks.11.attn.qkv.weight"] == (pytest.approx(0.65), 0.1)
    assert found["blocks.0.mlp.fc1.weight"] == (pytest.approx(0.65**12), 0.1)
    assert found["patch_embed.proj.weight"] == (pytest.approx(0.65**13), 0.1)
    assert found["pos_embed"] == found["cls_token"] == (pytest.approx(0.65**13), 0.0)


def test_our_own_networks_count_a_layer_for_each_weight() -> None:
    layers = layer_of(backbone("convnet4", 32)[0])
    assert [layers[f"layers.{n}.weight"] for n in (0, 1, 3, 4, 6, 9, 10)] == [0, 0, 1, 1, 2, 3, 3]
    assert max(layer_of(backbone("alexnet", 64)[0]).values()) == 6  # five convolutions, fc6, fc7
    assert scales(backbone("convnet4", 32)[0], nn.Linear(256, 3))["layers.0.weight"] == (0.5**4, 0.1)


def test_frozen_weights_are_in_no_group() -> None:
    net = backbone("convnet4", 32)[0]
    net.layers[0].weight.requires_grad_(False)
    assert "layers.0.weight" not in scales(net, nn.Linear(256, 3))


def test_labels_are_smoothed_without_mixing() -> None:
    images, label = torch.randn(3, 3, 4, 4), torch.tensor([0, 3, 1])
    same, targets = Mixing(replace(OF, mixup=0.0, cutmix=0.0, smoothing=0.2), 4)(images, label)
    assert same is images
    torch.testing.assert_close(targets, 0.8 * torch.eye(4)[label] + 0.05)


def test_mixup_blends_a_batch_with_its_reverse_and_the_labels_alike() -> None:
    np.random.seed(3)
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 6, 6).contiguous()
    before = images.clone()
    mixed, targets = Mixing(replace(OF, cutmix=0.0, smoothing=0.0), 4)(images, torch.arange(4))
    share = float(targets[0, 0])
    assert 0 < share < 1 and torch.equal(images, before)
    torch.testing.assert_close(mixed, share * before + (1 - share) * before.flip(0))
    torch.testing.assert_close(targets, share * torch.eye(4) + (1 - share) * torch.eye(4).flip(0))


def test_cutmix_pastes_a_box_and_the_labels_have_its_share() -> None:
    np.random.seed(1)
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 10, 10).contiguous()
    mixing, shares = Mixing(replace(OF, mixup=0.0, smoothing=0.0), 4), []
    for _ in range(10):
        mixed, targets = mixing(images, torch.arange(4))
        kept = float((mixed[0, 0] == 0).double().mean())
        assert float(targets[0, 0]) == pytest.approx(kept) and set(mixed[1].unique().tolist()) <= {1.0, 2.0}
        shares.append(kept)
    assert len({share for share in shares if 0 < share < 1}) > 5
