"""Heads: where their biases and norms are, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from viewmill.models.heads import DinoHead, Prototypes, first_layers, mlp, simclr_projector


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


def test_the_first_layers_of_a_head_are_its_own_up_to_the_activation() -> None:
    head = mlp([6, 8, 8, 4], norm="gain")
    hidden = ["Linear", "BN", "ReLU"]
    assert [kinds(first_layers(head, n)) for n in (1, 2, 3)] == [hidden, hidden * 2, kinds(head)]
    assert all(a is b for a, b in zip(first_layers(head, 2), head, strict=False))
    assert kinds(first_layers(mlp([6, 6, 4], hidden_norm=False), 1)) == ["Linear", "ReLU"]
    for count in (0, 4):
        with pytest.raises(ValueError, match=f"a head of 3 layers has no first {count}; 1 to 3 can be had"):
            first_layers(head, count)


def test_simclrs_projector_of_no_layer_is_nothing() -> None:
    assert len(simclr_projector(6, 6, 4, 0)) == 0
    with pytest.raises(ValueError, match="SimCLR's projector needs at least 0 layers, got -1"):
        simclr_projector(6, 6, 4, -1)


def test_dinos_head() -> None:
    torch.manual_seed(0)
    head = DinoHead(64, 512, hidden_dim=2048, bottleneck_dim=256)
    assert [type(layer) for layer in head.mlp] == [nn.Linear, nn.GELU, nn.Linear, nn.GELU, nn.Linear]
    assert [tuple(head.mlp[i].weight.shape) for i in (0, 2, 4)] == [(2048, 64), (2048, 2048), (256, 2048)]
    for i in (0, 2, 4):
        assert float(head.mlp[i].weight.detach().std()) == pytest.approx(0.02, rel=0.02)
        assert float(head.mlp[i].bias.detach().abs().sum()) == 0 and head.mlp[i].bias.requires_grad
    assert sum(p.numel() for p in head.parameters()) == 64 * 2048 + 2048 + 2048**2 + 2048 + 2048 * 256 + 256 + 256 * 512 + 512
    x = torch.randn(5, 64)
    cosine = nn.functional.cosine_similarity(head.mlp(x)[:, None], head.prototypes.direction[None], dim=-1)
    torch.testing.assert_close(head(x), cosine)  # gains are 1
    torch.testing.assert_close(head.bottleneck(x).norm(dim=1), torch.ones(5))
    with_norms = DinoHead(8, 6, hidden_dim=8, bottleneck_dim=4, norm=True).mlp
    assert kinds(with_norms) == ["Linear", "BN", "GELU", "Linear", "BN", "GELU", "Linear"]


def test_prototypes_are_weight_normed() -> None:
    # The same function, gradients included, as torch's weight_norm of a linear layer whose g is set to the gains.
    torch.manual_seed(0)
    own = Prototypes(6, 4, trainable_gain=True)
    theirs = nn.utils.parametrizations.weight_norm(nn.Linear(6, 4, bias=False))
    with torch.no_grad():
        own.gain.copy_(torch.rand(4, 1) + 0.5)
        theirs.parametrizations.weight.original0.copy_(own.gain)
        theirs.parametrizations.weight.original1.copy_(own.direction)
    x = torch.randn(5, 6)
    torch.testing.assert_close(own(x), theirs(x))
    for layer in (own, theirs):
        layer(x).square().sum().backward()
    torch.testing.assert_close(own.gain.grad, theirs.parametrizations.weight.original0.grad)
    torch.testing.assert_close(own.direction.grad, theirs.parametrizations.weight.original1.grad)
    assert not Prototypes(6, 4, trainable_gain=False).gain.requires_grad


def test_a_head_of_no_width_is_refused() -> None:
    with pytest.raises(ValueError, match="DINO's head needs widths of at least 1, got 6, 0, 0, 4, 8"):
        DinoHead(6, 8, hidden_dim=0, bottleneck_dim=4)
