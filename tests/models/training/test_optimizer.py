"""Which weights decay, which optimizer a name is, and one LARS step worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer, clip, parameter_groups, set_rate

CONFIG = OptimizerConfig(name="sgd", lr=1.0, scaling="none", weight_decay=0.1, momentum=0.5)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.token = nn.Parameter(torch.zeros(1, 1, 2))
        self.frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)


def names(model: nn.Module, group: dict) -> set[str]:
    return {name for name, p in model.named_parameters() if any(p is q for q in group["params"])}


def test_norms_and_biases_do_not_decay_and_frozen_weights_are_left_out() -> None:
    net = Net()
    decays, spared = parameter_groups(net, CONFIG)
    assert names(net, decays) == {"linear.weight", "token"} and decays["weight_decay"] == 0.1
    assert names(net, spared) == {"linear.bias", "norm.weight", "norm.bias"} and spared["weight_decay"] == 0.0


def test_exclude_none_decays_everything() -> None:
    (group,) = parameter_groups(Net(), replace(CONFIG, exclude="none"))
    assert group["weight_decay"] == 0.1 and len(group["params"]) == 5


def test_sgd_is_plain_momentum_with_coupled_decay() -> None:
    w = nn.Linear(1, 1, bias=False)
    nn.init.constant_(w.weight, 2.0)
    optimizer = build_optimizer(w, CONFIG)
    set_rate(optimizer, 0.1)
    for gradient in (1.0, 3.0):
        w.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
    # buffer 1.2, w 1.88; buffer 0.5 * 1.2 + (3 + 0.188) = 3.788, w 1.88 - 0.3788
    assert w.weight.item() == pytest.approx(1.5012)


def test_lars_scales_the_update_to_a_thousandth_of_the_weights_and_leaves_biases_alone() -> None:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0]]))
        layer.bias.fill_(1.0)
    optimizer = build_optimizer(layer, replace(CONFIG, name="lars", weight_decay=0.5, momentum=0.9))
    set_rate(optimizer, 10.0)
    layer.weight.grad, layer.bias.grad = torch.tensor([[6.0, -2.0]]), torch.tensor([0.25])
    optimizer.step()
    ratio = 0.001 * 5 / (40**0.5 + 0.5 * 5)  # |w| = 5, |g| = sqrt(40); g + decay * w = (7.5, 0)
    assert torch.allclose(layer.weight, torch.tensor([[3.0 - 10 * ratio * 7.5, 4.0]]), atol=1e-5)
    assert layer.bias.item() == pytest.approx(1.0 - 10 * 0.25)


def test_lars_still_adapts_without_decay() -> None:
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0]]))
    optimizer = build_optimizer(layer, replace(CONFIG, name="lars", weight_decay=0.0))
    set_rate(optimizer, 1.0)
    layer.weight.grad = torch.tensor([[0.0, 2.0]])
    optimizer.step()
    assert layer.weight[0, 1].item() == pytest.approx(4 - 0.001 * 5 / 2 * 2)


@pytest.mark.parametrize(("name", "kind"), [("adamw", "AdamW"), ("sgd", "SGD"), ("lars", "Lars"), ("lamb", "Lamb")])
def test_each_name_is_that_optimizer(name: str, kind: str) -> None:
    optimizer = build_optimizer(Net(), replace(CONFIG, name=name, betas=(0.8, 0.9)))  # type: ignore[arg-type]
    assert type(optimizer).__name__ == kind
    assert optimizer.param_groups[0].get("betas", (0.8, 0.9)) == (0.8, 0.9)
    assert optimizer.param_groups[0].get("momentum", 0.5) == 0.5
    assert not optimizer.param_groups[0].get("nesterov", False)


def test_clip_scales_all_gradients_by_one_factor() -> None:
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    a.grad, b.grad = torch.tensor([3.0]), torch.tensor([4.0])
    norm = clip([a, b], 1.0)
    assert norm is not None and norm.item() == pytest.approx(5.0)
    assert (a.grad.item(), b.grad.item()) == (pytest.approx(0.6), pytest.approx(0.8))
    assert clip([a, b], None) is None
