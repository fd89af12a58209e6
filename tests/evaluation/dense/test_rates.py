"""Learning rates by step and by layer, and what decays."""

from __future__ import annotations

import pytest
from torch import nn
from viewmill.evaluation.dense.rates import optimizer_of, rate
from viewmill.evaluation.dense.schedules import Schedule
from viewmill.models.backbone import backbone


def test_steps_fall_to_a_tenth_after_a_warm_up_from_a_thousandth() -> None:
    of = Schedule("", lr=0.02, steps=100, drops_at=(60, 80), warmup_steps=10)
    assert rate(of, 0) == pytest.approx(2e-5)
    assert rate(of, 5) == pytest.approx(0.02 * (0.001 + 0.999 * 0.5))
    assert [rate(of, step) for step in (10, 59, 60, 79, 80, 99)] == pytest.approx([0.02, 0.02, 2e-3, 2e-3, 2e-4, 2e-4])


def test_poly_and_cosine_end_where_they_should() -> None:
    poly = Schedule("", lr=0.01, steps=100, law="poly", final_lr=1e-4, warmup_steps=0)
    assert rate(poly, 0) == pytest.approx(0.01) and rate(poly, 50) == pytest.approx(0.0099 * 0.5**0.9 + 1e-4)
    cosine = Schedule("", lr=0.01, steps=100, law="cosine", final_lr=0.002, warmup_steps=0)
    assert [rate(cosine, step) for step in (0, 50, 100)] == pytest.approx([0.01, 0.006, 0.002])


def test_a_layer_has_its_rate_and_norms_and_positions_do_not_decay() -> None:
    vit, _ = backbone("vit_tiny_patch16_224", 32, embed_dim=16, depth=2, heads=2)
    network = nn.ModuleList([vit, nn.Sequential(nn.Linear(16, 3), nn.BatchNorm1d(3))])
    of = Schedule("", lr=1.0, optimizer="adamw", layer_decay=0.5, weight_decay=0.1)
    optimizer = optimizer_of(network, vit, of)
    found = {id(p): (group["lr_scale"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert len(found) == len(list(network.parameters()))
    # The embedding is layer 0, the blocks 1 and 2, the head above them 3.
    assert found[id(vit.patch_embed.proj.weight)] == (0.125, 0.1) and found[id(vit.pos_embed)] == (0.125, 0)
    assert found[id(vit.blocks[0].mlp.fc1.weight)] == (0.25, 0.1) and found[id(vit.blocks[1].norm1.weight)] == (0.5, 0)
    assert found[id(network[1][0].weight)] == (1, 0.1) and found[id(network[1][1].weight)] == (1, 0)
    alike = optimizer_of(network, vit, Schedule("", lr=1.0, optimizer="sgd"))
    assert {group["lr_scale"] for group in alike.param_groups} == {1}
