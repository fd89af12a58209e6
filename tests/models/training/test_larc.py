"""LARC: Apex's formula, written out in float64, over several steps; and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer, set_decay, set_rate

CONFIG = OptimizerConfig(name="larc", lr=1.0, scaling="none", weight_decay=0.3, momentum=0.9, exclude="none")


class Net(nn.Module):
    """Tensors of one, two and four axes, one of zeros, one that gets a gradient of zeros, one that gets none."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.matrix, self.filter, self.gain, self.still, self.alone = (
            nn.Parameter(torch.from_numpy(rng.normal(size=shape))) for shape in ((3, 4), (2, 3, 2, 2), (5,), (2, 2), (3,)))
        self.bias = nn.Parameter(torch.zeros(4, dtype=torch.float64))


def gradients(step: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(10 + step)
    drawn = {"matrix": rng.normal(size=(3, 4)), "filter": rng.normal(size=(2, 3, 2, 2)), "gain": rng.normal(size=5)}
    return {**drawn, "bias": rng.normal(size=4), "still": np.zeros((2, 2))}


def apex(weights: dict[str, np.ndarray], rates: list[float], decays: list[float]) -> dict[str, np.ndarray]:
    """0.001 |w| / (|g| + decay |w| + 1e-8) times g + decay w, or where a norm is 0, g; then SGD: b = 0.9 b + g, w -= rate * b."""
    weights, buffers = {k: v.copy() for k, v in weights.items()}, {}
    for step, (rate, decay) in enumerate(zip(rates, decays, strict=True)):
        for name, g in gradients(step).items():
            w = weights[name]
            w_norm, g_norm = np.sqrt((w * w).sum()), np.sqrt((g * g).sum())
            if w_norm != 0 and g_norm != 0:
                g = (g + decay * w) * 0.001 * w_norm / (g_norm + decay * w_norm + 1e-8)
            buffers[name] = 0.9 * buffers.get(name, 0.0) + g
            weights[name] = w - rate * buffers[name]
    return weights


def stepped(net: Net, config: OptimizerConfig, rates: list[float], decays: list[float]) -> Net:
    optimizer = build_optimizer(net, config)
    for step, (rate, decay) in enumerate(zip(rates, decays, strict=True)):
        for name, g in gradients(step).items():
            net.get_parameter(name).grad = torch.from_numpy(g.copy())
        set_rate(optimizer, rate)
        set_decay(optimizer, decay)
        optimizer.step()
        assert next(group["weight_decay"] for group in optimizer.param_groups) == decay
    return net


@pytest.mark.parametrize("decays", [[0.3, 0.3, 0.3], [0.0, 0.0, 0.0], [0.1, 0.2, 0.4]])
def test_steps_are_apexs(decays: list[float]) -> None:
    rates = [4.8, 2.0, 0.5]
    before = {name: p.detach().numpy().copy() for name, p in Net().named_parameters()}
    expected = apex(before, rates, decays)
    for name, p in stepped(Net(), CONFIG, rates, decays).named_parameters():
        np.testing.assert_allclose(p.detach().numpy(), expected[name], rtol=1e-12, atol=1e-15, err_msg=name)
        assert (name in ("still", "alone")) == np.array_equal(p.detach().numpy(), before[name])


def test_one_step_by_hand() -> None:
    w = nn.Linear(2, 1)
    with torch.no_grad():
        w.weight.copy_(torch.tensor([[3.0, 4.0]]))
        w.bias.fill_(0.0)
    optimizer = build_optimizer(w, replace(CONFIG, weight_decay=0.5))
    set_rate(optimizer, 10.0)
    w.weight.grad, w.bias.grad = torch.tensor([[6.0, -2.0]]), torch.tensor([0.25])
    optimizer.step()
    ratio = 0.001 * 5 / (40**0.5 + 0.5 * 5)  # |w| = 5, |g| = sqrt(40); g + decay * w = (7.5, 0)
    torch.testing.assert_close(w.weight.detach(), torch.tensor([[3.0 - 10 * ratio * 7.5, 4.0]]))
    assert w.bias.item() == -2.5  # from 0 by the plain gradient


def test_spared_tensors_are_plain_sgd() -> None:
    net, rates = Net(), [0.1, 0.2]
    gain = net.gain.detach().numpy().copy()
    stepped(net, replace(CONFIG, exclude="norm-and-bias"), rates, [0.3, 0.3])
    first, second = (gradients(step)["gain"] for step in range(2))
    np.testing.assert_allclose(net.gain.detach().numpy(), gain - 0.1 * first - 0.2 * (0.9 * first + second), rtol=1e-12)


def test_it_is_resumed_to_the_bit() -> None:
    whole, parts = stepped(Net(), CONFIG, [1.0, 2.0], [0.3, 0.3]), Net()
    optimizer = build_optimizer(parts, CONFIG)
    for step, rate in enumerate([1.0, 2.0]):
        for name, g in gradients(step).items():
            parts.get_parameter(name).grad = torch.from_numpy(g.copy())
        set_rate(optimizer, rate)
        optimizer.step()
        state, optimizer = optimizer.state_dict(), build_optimizer(parts, CONFIG)
        optimizer.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    with pytest.raises(ValueError, match="larc takes no closure"):
        optimizer.step(lambda: 0.0)
