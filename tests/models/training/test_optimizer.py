"""Which weights decay, which optimizer a name is, and one LARS step worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from viewmill.models.method import Method, Rate
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer, clip, parameter_groups, set_decay, set_rate

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


class Parts(Method):
    """Two layers, the second with rates of its own."""

    def __init__(self, **own: Rate) -> None:
        super().__init__()
        self.backbone, self.predictor, self.own = nn.Linear(3, 2), nn.Linear(2, 2), own

    def rates(self) -> dict[str, Rate]:
        return self.own


def test_a_part_may_have_a_multiple_of_the_rate_or_a_constant_one() -> None:
    for own, expected in (({}, 0.5), ({"predictor": 0.2}, 0.1), ({"predictor": "constant"}, 2.0)):
        model = Parts(**own)
        optimizer = build_optimizer(model, CONFIG)
        set_rate(optimizer, 0.5, peak=2.0)
        rates = {name: group["lr"] for group in optimizer.param_groups for name in names(model, group)}
        assert rates == {"backbone.weight": 0.5, "backbone.bias": 0.5, "predictor.weight": expected, "predictor.bias": expected}
        assert sorted((group["weight_decay"], len(group["params"])) for group in optimizer.param_groups) == (
            [(0.0, 1), (0.0, 1), (0.1, 1), (0.1, 1)] if own else [(0.0, 2), (0.1, 2)])


def test_of_two_rates_that_fit_the_later_counts() -> None:
    model = Parts(**{"predictor": 0.2, "predictor.bias": 3.0})
    optimizer = build_optimizer(model, CONFIG)
    set_rate(optimizer, 0.5)
    rates = {name: group["lr"] for group in optimizer.param_groups for name in names(model, group)}
    assert (rates["predictor.weight"], rates["predictor.bias"]) == (pytest.approx(0.1), 1.5)
    with pytest.raises(ValueError, match="Parts has a rate for 'predict', and no parameters of that name"):
        parameter_groups(Parts(predict=0.2), CONFIG)


def test_what_is_spared_the_decay_may_have_a_rate_of_its_own() -> None:
    # Barlow Twins: 0.2 for weights and 0.0048 for the rest, both on one schedule.
    net = Net()
    optimizer = build_optimizer(net, replace(CONFIG, name="lars", lr=0.2, spared_lr=0.0048))
    set_rate(optimizer, 1.6)
    assert [group["lr"] for group in optimizer.param_groups] == [1.6, pytest.approx(0.0384)]
    with pytest.raises(ValueError, match=r"spared_lr=0\.1 is for what exclude=norm-and-bias leaves out"):
        replace(CONFIG, exclude="none", spared_lr=0.1)
    with pytest.raises(ValueError, match=r"optimizer\.spared_lr needs a number of at least 0, got -1"):
        replace(CONFIG, spared_lr=-1.0)


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


def test_nesterov_looks_ahead() -> None:
    w = nn.Linear(1, 1, bias=False)
    nn.init.constant_(w.weight, 2.0)
    optimizer = build_optimizer(w, replace(CONFIG, name="nesterov"))
    set_rate(optimizer, 0.1)
    for gradient in (1.0, 3.0):
        w.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
    # g 1.2, buffer 1.2, w 2 - 0.1 (1.2 + 0.6) = 1.82; g 3.182, buffer 3.782, w 1.82 - 0.1 (3.182 + 1.891)
    assert w.weight.item() == pytest.approx(1.3127)
    with pytest.raises(ValueError, match=r"optimizer\.momentum of nesterov needs a number above 0, got 0"):
        replace(CONFIG, name="nesterov", momentum=0.0)


def test_a_new_decay_reaches_what_decays_and_nothing_else() -> None:
    net = Net()
    optimizer = build_optimizer(net, replace(CONFIG, weight_decay=0.0))
    set_decay(optimizer, 0.3)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    old = optimizer.state_dict()
    for group in old["param_groups"]:
        for name in ("decays", "scale", "constant"):
            del group[name]  # as checkpoints were, before decay could change and parts have rates of their own
    restored = build_optimizer(net, CONFIG)
    restored.load_state_dict(old)
    set_decay(restored, 0.4)
    set_rate(restored, 0.5, peak=2.0)
    assert [group["weight_decay"] for group in restored.param_groups] == [0.4, 0.0]
    assert [group["lr"] for group in restored.param_groups] == [0.5, 0.5]


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


@pytest.mark.parametrize(("name", "kind"), [("adamw", "AdamW"), ("adam", "Adam"), ("sgd", "SGD"), ("nesterov", "SGD"),
                                          ("lars", "Lars"), ("larc", "Larc"), ("lamb", "Lamb")])
def test_each_name_is_that_optimizer(name: str, kind: str) -> None:
    optimizer = build_optimizer(Net(), replace(CONFIG, name=name, betas=(0.8, 0.9)))  # type: ignore[arg-type]
    assert type(optimizer).__name__ == kind
    assert optimizer.param_groups[0].get("betas", (0.8, 0.9)) == (0.8, 0.9)
    assert optimizer.param_groups[0].get("momentum", 0.5) == 0.5
    assert bool(optimizer.param_groups[0].get("nesterov", False)) == (name == "nesterov")


def test_adam_decays_inside_the_gradient_and_so_by_a_step_of_the_rate_alone() -> None:
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(2.0)
    optimizer = build_optimizer(layer, replace(CONFIG, name="adam", weight_decay=0.5))
    set_rate(optimizer, 0.1)
    layer.weight.grad = torch.tensor([[0.0]])
    optimizer.step()
    # m / sqrt(v) of the first step is the sign of 0 + 0.5 * 2; adamw would take off 0.1 * 0.5 * 2.
    assert layer.weight.item() == pytest.approx(2.0 - 0.1)


def test_clip_scales_all_gradients_by_one_factor() -> None:
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    a.grad, b.grad = torch.tensor([3.0]), torch.tensor([4.0])
    norm = clip(nn.ParameterList([a, b]), 1.0)
    assert norm is not None and norm.item() == pytest.approx(5.0)
    assert (a.grad.item(), b.grad.item()) == (pytest.approx(0.6), pytest.approx(0.8))
    assert clip(nn.ParameterList([a, b]), None) is None


def test_clip_of_each_part_scales_a_childs_gradients_together_and_those_beside_the_children() -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1))
            self.backbone, self.head = nn.Linear(1, 1), nn.Linear(1, 1)
            self.teacher = nn.Linear(1, 1)

    parts = Parts()
    given = {"token": 10.0, "backbone.weight": 3.0, "backbone.bias": 4.0, "head.weight": 0.6, "head.bias": 0.8}
    for name, value in given.items():
        parameter = parts.get_parameter(name)
        parameter.grad = torch.full_like(parameter, value)
    norm = clip(parts, 2.0, "per-part")
    assert norm is not None and norm.item() == pytest.approx(126**0.5)  # of all, before: 100 + 25 + 1
    found = {name: float(parameter.grad) for name, parameter in parts.named_parameters() if parameter.grad is not None}
    expected = {"token": 2.0, "backbone.weight": 1.2, "backbone.bias": 1.6, "head.weight": 0.6, "head.bias": 0.8}
    assert found == pytest.approx(expected)
    nothing = clip(nn.Linear(1, 1), 2.0, "per-part")
    assert nothing is not None and nothing.item() == 0


def test_clip_of_each_tensor_leaves_the_small_ones_alone() -> None:
    a, b, without = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    a.grad, b.grad = torch.tensor([3.0, 4.0]), torch.tensor([0.6, 0.8])
    norm = clip(nn.ParameterList([a, b, without]), 2.0, "per-tensor")
    assert norm is not None and norm.item() == pytest.approx(26**0.5)  # of both, before
    assert a.grad.tolist() == pytest.approx([1.2, 1.6]) and b.grad.tolist() == pytest.approx([0.6, 0.8])
    assert without.grad is None
    nothing = clip(nn.ParameterList([without]), 2.0, "per-tensor")
    assert nothing is not None and nothing.item() == 0
