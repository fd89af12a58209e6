"""Rates by depth: each layer's, by the names that an optimizer's groups go by."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from viewmill.models.backbone import vision_transformer
from viewmill.models.layer_rates import rates_by_depth
from viewmill.models.method import Method, Rate
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer, set_rate


class Deep(Method):
    def __init__(self, depth: int, decay: float, patch_embed: float) -> None:
        super().__init__()
        self.vit = vision_transformer("vit_tiny_patch16_224", 16, patch_px=8, embed_dim=6, depth=depth, heads=2)
        self.head = nn.Linear(6, 2)
        self.of = decay, patch_embed

    def rates(self) -> dict[str, Rate]:
        return rates_by_depth(self.vit, "vit", *self.of)


def rates_of(method: Method, rate: float) -> dict[str, float]:
    optimizer = build_optimizer(method, OptimizerConfig(name="adamw", lr=1.0, scaling="none", weight_decay=0.1))
    set_rate(optimizer, rate)
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    return {names[id(parameter)]: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}


def test_every_weight_by_hand() -> None:
    rates = rates_of(Deep(2, 0.5, 0.2), 8.0)
    assert len(rates) == len(list(Deep(2, 0.5, 0.2).named_parameters()))
    for name, rate in rates.items():
        if name.startswith("vit.patch_embed"):
            expected = 0.2
        elif name in ("vit.cls_token", "vit.pos_embed"):
            expected = 1.0  # 8 / 2 ** 3
        else:
            expected = {"vit.blocks.0": 2.0, "vit.blocks.1": 4.0}.get(name[:12], 8.0)
        assert rate == pytest.approx(expected), name


def test_blocks_are_told_apart_by_their_whole_number() -> None:
    with torch.device("meta"):
        rates = rates_of(Deep(12, 0.9, 1.0), 1.0)
    assert rates["vit.blocks.1.norm1.weight"] == pytest.approx(0.9**11)
    assert rates["vit.blocks.11.norm1.weight"] == pytest.approx(0.9) and rates["vit.norm.weight"] == 1.0
    assert rates["vit.patch_embed.proj.bias"] == rates["vit.pos_embed"] == pytest.approx(0.9**13)


def test_a_decay_of_1_leaves_one_rate() -> None:
    assert set(rates_of(Deep(2, 1.0, 1.0), 3.0).values()) == {3.0}
