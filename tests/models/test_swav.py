"""SwAV: who is assigned and who foretells, the queue, the prototypes' lengths and frozen steps, and what it reports."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from viewmill.models import method_info
from viewmill.models.swav import SwAV, SwAVConfig
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.schedule import plan
from viewmill.models.training.step import learn
from viewmill.train import read

from ..world import World
from .batches import batch_of, random_views
from .ranks import Told, assert_alike, steps_of

TINY = {"backbone": "convnet4", "projector_hidden": 12, "projector_dim": 6, "prototypes": 7}


def small(**fields: object) -> SwAV:
    torch.manual_seed(0)
    return SwAV(SwAVConfig(**{**TINY, **fields}), image_px=16)  # type: ignore[arg-type]


def crops(images: int = 6, local: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    views = {"global": random_views(2, images, 16, seed), "local": random_views(local, images, 8, seed + 100)}
    return views if local else {"global": views["global"]}


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def assigned(scores: np.ndarray, epsilon: float) -> np.ndarray:
    """The authors' alternation on Q (K, B): rows to 1 / K, columns to 1 / B, three times, then times B."""
    q = np.exp(scores / epsilon).T
    q /= q.sum()
    for _ in range(3):
        q /= q.sum(1, keepdims=True) * q.shape[0]
        q /= q.sum(0, keepdims=True) * q.shape[1]
    return (q * q.shape[1]).T


def embeddings(method: SwAV, views: dict[str, torch.Tensor]) -> np.ndarray:
    """(V, B, D) in float64, of a copy, so that nothing in the method changes."""
    method = copy.deepcopy(method)
    with torch.no_grad():
        z = method.projector(torch.cat([method.backbone(v.flatten(0, 1)) for v in views.values()])).double()
    return nn.functional.normalize(z, dim=1).unflatten(0, (-1, views["global"].shape[1])).numpy()


def by_hand(z: np.ndarray, prototypes: np.ndarray, queue: np.ndarray | None = None, temperature: float = 0.1,
            epsilon: float = 0.05) -> dict[str, float]:
    """Loops over assigned views s and other views v. queue (2, N, D): assigned before the batch, and left out of the loss."""
    scores, images, entropy = z @ prototypes.T, z.shape[1], lambda p: -(p * np.log(p)).sum(-1)
    loss, kl, q = 0.0, 0.0, []
    for s in range(2):
        rows = scores[s] if queue is None else np.concatenate([queue[s] @ prototypes.T, scores[s]])
        q.append(assigned(rows, epsilon)[-images:])
        others = [v for v in range(len(z)) if v != s]
        loss += sum(-(q[s] * np.log(softmax(scores[v] / temperature))).sum(1).mean() for v in others) / len(others) / 2
        kl += sum((q[s] * np.log(q[s] / softmax(scores[v] / temperature))).sum(1).mean() for v in others) / len(others) / 2
    most = math.log(len(prototypes))
    return {"loss": loss, "assignment_entropy": float(entropy(np.stack(q)).mean() / most),
            "marginal_entropy": float(entropy(softmax(scores[:2] / temperature).mean((0, 1))) / most), "kl": kl}


def values_of(method: SwAV, views: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in method(batch_of(**views)).items()}


def weights(method: SwAV) -> np.ndarray:
    return method.prototypes.weight.detach().double().numpy()


def test_published_numbers() -> None:
    c = SwAVConfig()
    assert (c.backbone, c.projector_hidden, c.projector_dim, c.prototypes) == ("resnet50", 2048, 128, 3000)
    assert (c.temperature, c.epsilon, c.iterations, c.frozen_epochs, c.queue_epoch) == (0.1, 0.05, 3, 1.0, 15)
    run, recipe = read(["swav", "data=train.tar"])
    p = plan(run, 1_281_167)
    assert (recipe.groups["global"].count, recipe.groups["local"].count, p.steps_per_epoch) == (2, 6, 312)
    assert [p.rate(step) for step in (0, 3120, p.total)] == pytest.approx([0.3, 4.8, 0.0048])
    assert (run.optimizer.name, run.optimizer.exclude, run.optimizer.weight_decay) == ("larc", "none", 1e-6)
    small_batch = ["batch_size=256", "optimizer.lr=0.6", "optimizer.scaling=none", "schedule.warmup_epochs=0",
                   "schedule.final_lr=6e-4", "model.queue=3840"]
    p = plan(read(["swav", "data=train.tar", *small_batch])[0], 1_281_167)
    assert p.rate(0) == 0.6 and p.rate(p.total) == pytest.approx(6e-4)
    assert method_info("swav").config() == c


def test_the_published_head() -> None:
    method = SwAV(SwAVConfig(backbone="resnet18"), image_px=32)
    first, norm, _, second = method.projector
    assert [type(m) for m in method.projector] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert first.weight.shape == (2048, 512) and second.weight.shape == (128, 2048)
    assert first.bias is not None and second.bias is not None and norm.affine
    assert method.prototypes.weight.shape == (3000, 128) and method.prototypes.bias is None
    assert all((block.bn2.weight == 1).all() for block in method.backbone.layer1)  # no zeros at first


@pytest.mark.parametrize("local", [0, 3])
def test_each_of_the_other_crops_foretells_what_a_global_one_is_assigned_to(local: int) -> None:
    method, views = small(), crops(local=local)
    method.before_step(0)
    expected = by_hand(embeddings(method, views), weights(method))
    assert values_of(method, views) == pytest.approx(expected, abs=1e-4)
    other = small(temperature=0.3, epsilon=0.2, loss_scale="paper")
    other.before_step(0)
    expected = by_hand(embeddings(other, views), weights(other), temperature=0.3, epsilon=0.2)
    expected["loss"] *= 2 * (local + 1)  # the sum over assigned views, and over the others
    assert values_of(other, views) == pytest.approx(expected, abs=1e-4)


def test_each_size_is_one_pass_and_the_projector_sees_all_crops_together() -> None:
    method = small()
    seen: dict[str, list[tuple[int, ...]]] = {}
    for name in ("backbone", "projector"):
        getattr(method, name).register_forward_pre_hook(
            lambda module, given, name=name: seen.setdefault(name, []).append((len(given[0]), *given[0].shape[3:])))
    method(batch_of(**crops(images=5, local=4)))
    assert seen == {"backbone": [(10, 16), (20, 8)], "projector": [(30,)]}


def test_no_gradient_goes_through_the_assignments() -> None:
    # Each view is foretold by the other: with q fixed, d loss / d score is (softmax - q) / (2 B t).
    method, views = small(), crops(images=4, local=0)
    method.before_step(0)
    method.projector.eval()
    values = method(batch_of(**views))
    values["loss"].backward()
    z, c = embeddings(method, views), weights(method)
    slope = np.zeros_like(c)
    for s in range(2):
        q, p = assigned(z[s] @ c.T, 0.05), softmax(z[1 - s] @ c.T / 0.1)
        slope += ((p - q) / (2 * 4 * 0.1)).T @ z[1 - s]
    assert method.prototypes.weight.grad is not None
    np.testing.assert_allclose(method.prototypes.weight.grad.numpy(), slope, atol=1e-5)
    assert not any(v.requires_grad for k, v in values.items() if k != "loss")
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


def test_prototypes_have_length_one_before_each_step_and_move_after_the_first_epoch() -> None:
    method = small(frozen_epochs=1.5)
    optimizer = build_optimizer(method, OptimizerConfig("larc", 0.1, "none", 0.1, exclude="none"))
    for epoch in (0, 0.5, 1.0, 1.5, 2.0):
        method.before_step(epoch)
        torch.testing.assert_close(method.prototypes.weight.detach().norm(dim=1), torch.ones(7))
        before = copy.deepcopy(method.state_dict())
        learn(method, optimizer, method(batch_of(**crops()))["loss"], 50.0, None, 0.5)
        held = torch.equal(before["prototypes.weight"], method.prototypes.weight)
        assert held == (epoch < 1.5) and not torch.equal(before["projector.0.weight"], method.projector[0].weight)
    assert float((method.prototypes.weight.detach().norm(dim=1) - 1).abs().max()) > 1e-3


def test_the_queue_counts_from_an_epoch_on_and_once_it_is_full() -> None:
    method, kept = small(queue=12, queue_epoch=2), []
    for step, epoch in enumerate((0, 1.5, 2, 2.2, 2.4, 2.6, 2.8)):  # 6 images each: full after two steps from epoch 2 on
        method.before_step(epoch)
        views = crops(seed=step)
        z = embeddings(method, views)
        queue = np.concatenate(kept[-2:], 1) if len(kept) >= 2 else None
        assert values_of(method, views) == pytest.approx(by_hand(z, weights(method), queue), abs=1e-4), epoch
        kept += [z[:2]] if epoch >= 2 else []
    assert len(kept) == 5


def test_a_queue_is_in_a_checkpoint_and_is_left_alone_in_evaluation() -> None:
    method = small(queue=12, queue_epoch=0)
    for step in range(3):
        method(batch_of(**crops(seed=step)))
    again = small(queue=12, queue_epoch=0)
    again.load_state_dict(method.state_dict())
    views = crops(seed=7)
    assert values_of(again, views) == values_of(method, views)
    for of in (method, again):
        of.eval()
        before = copy.deepcopy(of.state_dict())
        of(batch_of(**views))
        assert all(torch.equal(value, before[name]) for name, value in of.state_dict().items())
    assert torch.equal(small(queue=12).backbone.layers[0].weight, small().backbone.layers[0].weight)


def test_features_and_embeddings() -> None:
    method, images = small().eval(), random_views(1, 3, 16)[0]
    assert method.encoder is method.backbone and method.projection_head is method.projector
    assert torch.equal(method.features(images), method.backbone(images))
    embedded = method.embed(images)
    torch.testing.assert_close(embedded, nn.functional.normalize(method.projector(method.backbone(images)), dim=1))


@pytest.mark.parametrize("backbone", ["resnet18", "vit_tiny_patch16_224"])
def test_these_backbones_learn_from_all_sizes(backbone: str) -> None:
    torch.manual_seed(0)
    method = SwAV(SwAVConfig(**{**TINY, "backbone": backbone}), image_px=32)  # type: ignore[arg-type]
    method(batch_of(random_views(2, 2, 32), local=random_views(2, 2, 16)))["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


def four_steps(images: int) -> Told:
    """The queue is full after two."""
    method = small(queue=2 * images, queue_epoch=0, frozen_epochs=0)
    return steps_of(method, lambda step, own: batch_of(**{k: v[:, own] for k, v in crops(images, 2, step).items()}), images,
                    steps=4)


# Not 8 images, of which one lies so near a kink of the first layer that rounding decides its gradient on some processors.
@pytest.mark.parametrize(("ranks", "images"), [(2, 10), (3, 9), (3, 10)])
def test_ranks_are_the_parts_of_one_process(world: World, ranks: int, images: int) -> None:
    alone = four_steps(images)
    assert_alike(alone, world(ranks, four_steps, images))
    assert all(queue.any(1).all() for name, queue in alone.state.items() if name.endswith("keys"))


def test_it_learns_to_foretell() -> None:
    method, base = small(frozen_epochs=0, epsilon=0.03), random_views(1, 32, 16)
    optimizer = build_optimizer(method, OptimizerConfig(name="adamw", lr=3e-3, scaling="none", weight_decay=0.0))
    told = []
    for step in range(40):
        method.before_step(0)
        values = method(batch_of(base + 0.5 * random_views(2, 32, 16, seed=step + 1)))
        learn(method, optimizer, values["loss"], 3e-3, None, 0.5)
        told.append(float(values["loss"].detach()))
    assert sum(told[-5:]) < 0.7 * sum(told[:5]) and float(values["marginal_entropy"]) > 0.8


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="swav compares views of an image, the recipe has 1; use recipe=swav"):
        small()(batch_of(random_views(1, 2, 16)))
    with pytest.raises(ValueError, match="swav's batch norm needs at least 2 images on each rank; raise batch_size"):
        small()(batch_of(random_views(2, 1, 16)))
    with pytest.raises(ValueError, match=r"model\.queue=10 needs to be a multiple of batch_size=4, .*use model\.queue=8"):
        small(queue=10)(batch_of(random_views(2, 4, 16)))
    with pytest.raises(ValueError, match=r"model\.queue=8 is for two views in group 'global', the recipe has 3; use"):
        small(queue=8)(batch_of(random_views(3, 4, 16)))
    closed = SwAV(SwAVConfig(**{**TINY, "backbone": "swinv2_cr_tiny_224"}), image_px=32)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="SwinTransformerV2Cr takes no views of 16 x 16 px"), torch.no_grad():
        closed.eval()(batch_of(random_views(2, 1, 32), local=random_views(1, 1, 16)))
    for field, value, words in (
            ("prototypes", 1, "whole number of at least 2"), ("projector_hidden", 0, "whole number of at least 1"),
            ("iterations", 0, "whole number of at least 1"), ("temperature", 0.0, "number above 0"),
            ("epsilon", 0.01, r"number of at least 0\.025"), ("queue", -1, "number of at least 0"),
            ("frozen_epochs", -1.0, "number of at least 0")):
        with pytest.raises(ValueError, match=rf"model\.{field} needs a {words}, got {value}"):
            SwAVConfig(**{field: value})  # type: ignore[arg-type]
