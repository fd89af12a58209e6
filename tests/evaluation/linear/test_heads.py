"""Heads of a grid: each trains as if alone, by the published update rules, on one process or on several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from viewmill.evaluation.linear.heads import Heads, Standardize
from viewmill.models.training.config import OptimizerConfig

DIMS = {"a": 5, "b": 3}
RATES = (0.5, 0.02)
CLASSES = 4


def optimizer(name: Any = "sgd", **fields: Any) -> OptimizerConfig:
    return OptimizerConfig(**{"name": name, "lr": 1.0, "scaling": "none", "weight_decay": 0.0, **fields})


def batches(count: int, rows: int = 6) -> list[tuple[dict[str, Tensor], Tensor]]:
    rng = torch.Generator().manual_seed(3)
    return [({kind: 1 + 2 * torch.randn(rows, dim, generator=rng) for kind, dim in DIMS.items()},
             torch.randint(CLASSES, (rows,), generator=rng)) for _ in range(count)]


def trained(heads: Heads, count: int = 5, first: int = 0) -> Heads:
    for number, (features, label) in list(enumerate(batches(count)))[first:]:
        heads.step(features, label, share=1 - number / 10)
    return heads


def gradient(w: np.ndarray, b: np.ndarray, x: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the mean cross entropy of x (B, D) @ w.T + b."""
    z = x @ w.T + b
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(label)), label] -= 1
    return p.T @ x / len(label), p.mean(0)


def test_every_head_of_a_kind_begins_alike_and_as_it_would_alone() -> None:
    heads = Heads(DIMS, RATES, CLASSES, optimizer(), init_std=0.01, seed=3)
    assert torch.equal(heads.weight["a"][0], heads.weight["a"][1]) and heads.bias["a"].abs().max() == 0
    alone = Heads({"b": 3}, (0.1,), CLASSES, optimizer(), init_std=0.01, seed=3)
    assert torch.equal(alone.weight["b"][0], heads.weight["b"][0])
    same = Heads({"a": 3, "b": 3}, (0.1,), CLASSES, optimizer(), seed=3)
    assert not torch.equal(same.weight["a"], same.weight["b"])
    assert not torch.equal(same.weight["a"], Heads({"a": 3}, (0.1,), CLASSES, optimizer(), seed=4).weight["a"])
    wide = Heads({"a": 5000}, (0.1,), CLASSES, optimizer(), init_std=0.01).weight["a"]
    assert 0.0098 < wide.std() < 0.0102
    assert Heads(DIMS, RATES, CLASSES, optimizer(), init_std=0).weight["a"].abs().max() == 0
    assert heads.names() == [("a", 0.5), ("a", 0.02), ("b", 0.5), ("b", 0.02)]


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adamw"])
def test_a_head_of_the_grid_is_the_head_that_torch_trains_alone(name: str) -> None:
    heads = Heads(DIMS, RATES, CLASSES, optimizer(name, weight_decay=0.1, exclude="none"))
    for number, (kind, rate) in enumerate(heads.names()):
        alone = nn.Linear(DIMS[kind], CLASSES)
        alone.weight.data.copy_(heads.weight[kind][number % 2])
        alone.bias.data.zero_()
        update: torch.optim.Optimizer = (
            torch.optim.AdamW(alone.parameters(), weight_decay=0.1) if name == "adamw"
            else torch.optim.SGD(alone.parameters(), momentum=0.9, weight_decay=0.1, nesterov=name == "nesterov"))
        grid = Heads(DIMS, RATES, CLASSES, optimizer(name, weight_decay=0.1, exclude="none"))
        for step, (features, label) in enumerate(batches(5)):
            update.param_groups[0]["lr"] = rate * (1 - step / 10)
            update.zero_grad()
            loss = nn.functional.cross_entropy(alone(features[kind]), label)
            loss.backward()
            update.step()
            losses = grid.step(features, label, share=1 - step / 10)
            torch.testing.assert_close(losses[number], loss.detach())
        torch.testing.assert_close(grid.weight[kind][number % 2].detach(), alone.weight.detach())
        torch.testing.assert_close(grid.scores(features)[:, number], alone(features[kind]).detach())


def test_lars_adapts_to_each_head_by_itself() -> None:
    """trust = 0.001 |w| / (|g| + decay |w|) for weights; biases neither decay nor are adapted (arXiv:1708.03888)."""
    config = optimizer("lars", weight_decay=0.01)
    heads = trained(Heads(DIMS, (50.0, 5.0), CLASSES, config, init_std=0.1))
    for kind, number, rate in (("a", 0, 50.0), ("a", 1, 5.0), ("b", 0, 50.0)):
        w = Heads(DIMS, (1.0,), CLASSES, config, init_std=0.1).weight[kind][0].detach().double().numpy()
        b = np.zeros(CLASSES)
        v, u = np.zeros_like(w), np.zeros_like(b)
        for step, (features, label) in enumerate(batches(5)):
            g_w, g_b = gradient(w, b, features[kind].double().numpy(), label.numpy())
            trust = 0.001 * np.linalg.norm(w) / (np.linalg.norm(g_w) + 0.01 * np.linalg.norm(w))
            v, u = 0.9 * v + trust * (g_w + 0.01 * w), 0.9 * u + g_b
            w, b = w - rate * (1 - step / 10) * v, b - rate * (1 - step / 10) * u
        np.testing.assert_allclose(heads.weight[kind][number].detach().numpy(), w, rtol=2e-4, atol=1e-5)
        np.testing.assert_allclose(heads.bias[kind][number].detach().numpy(), b, rtol=2e-4, atol=1e-4)


def test_features_are_standardised_as_batch_norm_without_affine_does() -> None:
    ours, theirs = Standardize(5, eps=1e-6), nn.BatchNorm1d(5, eps=1e-6, affine=False)
    for features, _ in batches(4):
        torch.testing.assert_close(ours(features["a"]), theirs(features["a"]))
    ours.eval()
    theirs.eval()
    torch.testing.assert_close(ours(features["a"]), theirs(features["a"]))


def test_norm_is_in_front_of_training_and_of_scores() -> None:
    heads = trained(Heads(DIMS, RATES, CLASSES, optimizer(), norm=True))
    features = batches(1)[0][0]
    expected = (features["a"] - heads.norms["a"].mean) / (heads.norms["a"].var + 1e-5).sqrt() @ heads.weight["a"][0].T
    torch.testing.assert_close(heads.scores(features)[:, 0], (expected + heads.bias["a"][0]).detach())
    assert heads.norms["a"].mean.abs().min() > 0.1


def test_heads_keep_full_precision_inside_a_backbones_autocast() -> None:
    features = batches(1)[0][0]
    heads = trained(Heads(DIMS, RATES, CLASSES, optimizer(), norm=True))
    with torch.autocast("cpu", torch.bfloat16):
        scores = heads.scores(features)
    assert scores.dtype == torch.float32 and torch.equal(scores, heads.scores(features))


@pytest.mark.parametrize("name", ["sgd", "lars", "adamw"])
def test_heads_go_on_to_the_bit(name: str) -> None:
    def new() -> Heads:
        return Heads(DIMS, RATES, CLASSES, optimizer(name), norm=True)

    whole, half = trained(new(), 6), trained(new(), 3)
    rest = new()
    rest.load_state_dict(half.state_dict())
    trained(rest, 6, first=3)
    for kind in DIMS:
        assert torch.equal(whole.weight[kind], rest.weight[kind]) and torch.equal(whole.bias[kind], rest.bias[kind])
        assert torch.equal(whole.norms[kind].var, rest.norms[kind].var)


def test_a_saved_state_does_not_move_with_the_heads() -> None:
    heads = trained(Heads(DIMS, RATES, CLASSES, optimizer()), 2)
    state = heads.state_dict()
    before = state["weight"]["a"].clone()
    trained(heads, 2)
    assert torch.equal(state["weight"]["a"], before) and not torch.equal(heads.weight["a"], before)


def share_of_rank(rank: int, ranks: int) -> list[np.ndarray]:
    heads = Heads(DIMS, RATES, CLASSES, optimizer("lars"), norm=True)
    for features, label in batches(4):
        part = slice(rank * 6 // ranks, (rank + 1) * 6 // ranks)
        heads.step({kind: x[part] for kind, x in features.items()}, label[part], 1.0)
    return [heads.weight["a"].detach().numpy(), heads.bias["b"].detach().numpy(), heads.norms["b"].var.numpy()]


def on_a_rank() -> list[np.ndarray]:
    return share_of_rank(torch.distributed.get_rank(), torch.distributed.get_world_size())


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_together_train_as_one_process_on_the_whole_batch(world: Callable[..., list[Any]], ranks: int) -> None:
    alone = share_of_rank(0, 1)
    for of_rank in world(ranks, on_a_rank):
        for ours, expected in zip(of_rank, alone, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_heads_without_kinds_or_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="heads need kinds of features and rates"):
        Heads({}, RATES, CLASSES, optimizer())
