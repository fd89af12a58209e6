"""Heads: where their biases and norms are, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from viewmill.models.heads import mlp


def kinds(head: nn.Sequential) -> list[str]:
    return [type(layer).__name__.replace("BatchNorm1d", "BN") for layer in head]


def test_three_layers_as_barlow_twins_has_them() -> None:
    head = mlp([6, 8, 8, 4], norm="plain")
    assert kinds(head) == ["Linear", "BN", "ReLU", "Linear", "BN", "ReLU", "Linear", "BN"]
    assert [head[i].bias for i in (0, 3, 6)] == [None] * 3 and head[7].weight is None and head[7].bias is None
    assert head(torch.randn(5, 6)).shape == (5, 4)


def test_without_norms_and_with_biases_as_moco_v2_has_it() -> None:
    head = mlp([6, 6, 4], hidden_bias=True, hidden_norm=False, bias=True)
    assert kinds(head) == ["Linear", "ReLU", "Linear"] and head[0].bias is not None and head[2].bias is not None


def test_one_linear_layer() -> None:
    assert kinds(mlp([6, 4])) == ["Linear"] and kinds(mlp([6, 4], norm="affine")) == ["Linear", "BN"]


def test_the_shift_is_held_at_zero_where_only_a_gain_is_wanted() -> None:
    head = mlp([6, 8, 4], norm="gain")
    before = head[-1].weight.detach().clone()
    optimizer = torch.optim.SGD([p for p in head.parameters() if p.requires_grad], 1.0)
    (head(torch.randn(5, 6)) * torch.tensor([1.0, 2.0, 3.0, 4.0])).square().sum().backward()
    optimizer.step()
    assert not torch.equal(head[-1].weight, before) and float(head[-1].bias.abs().sum()) == 0
    assert mlp([6, 8, 4], norm="affine")[-1].bias.requires_grad


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least two widths, each at least 1, got \[6\]"):
        mlp([6])
    with pytest.raises(ValueError, match=r"each at least 1, got \[6, 0, 4\]"):
        mlp([6, 0, 4])
    with pytest.raises(ValueError, match="norm needs 'affine', 'gain', 'plain' or 'none', got 'bn'"):
        mlp([6, 4], norm="bn")  # type: ignore[arg-type]
