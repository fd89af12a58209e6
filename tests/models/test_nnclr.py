"""NNCLR: its heads, which neighbours it looks for, what its queue takes in, and that ranks are one batch."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from viewmill.augment.presets import recipe
from viewmill.models import build, method_info
from viewmill.models.nnclr import NNCLR, NNCLRConfig, nearest
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.overrides import resolve
from viewmill.models.training.schedule import peak_rate
from viewmill.models.training.step import learn

from ..world import World
from .batches import batch_of, random_views
from .ranks import SGD, Told, assert_alike, steps_of


def small(**fields: object) -> NNCLR:
    torch.manual_seed(0)
    return NNCLR(NNCLRConfig(**{"backbone": "convnet4", "projector_hidden": 16, "projector_dim": 8,  # type: ignore[arg-type]
                                "predictor_hidden": 16, "queue": 24, **fields}), image_px=16)


def trained(method: NNCLR, steps: range, images: int = 6) -> list[float]:
    optimizer, losses = build_optimizer(method, SGD), []
    for step in steps:
        values = method(batch_of(random_views(2, images, 16, step)))
        learn(method, optimizer, values["loss"], 0.1, None, 0.5)
        losses.append(float(values["loss"].detach()))
    return losses


def test_the_heads_as_the_paper_is_quoted() -> None:
    method = build("nnclr", method_info("nnclr").config(backbone="resnet18", queue=8), image_px=32)
    assert isinstance(method, NNCLR)
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert [type(m) for m in method.projector] == [*hidden, *hidden, nn.Linear, nn.BatchNorm1d]
    assert [type(m) for m in method.predictor] == [*hidden, nn.Linear]
    widths = [[tuple(m.weight.shape) for m in head if isinstance(m, nn.Linear)] for head in (method.projector, method.predictor)]
    assert widths == [[(2048, 512), (2048, 2048), (256, 2048)], [(4096, 256), (256, 4096)]]
    assert all(m.bias.requires_grad for m in method.projector if isinstance(m, nn.BatchNorm1d))


def test_published_numbers() -> None:
    info = method_info("nnclr")
    run, views = resolve("nnclr", ["data=train.tar"], info.published, info.config())
    assert (run.model.temperature, run.model.queue, run.model.projector_dim) == (0.1, 98304, 256)
    assert (run.epochs, run.batch_size, peak_rate(run.optimizer, run.batch_size)) == (1000, 4096, pytest.approx(4.8))
    assert run.model.queue % run.batch_size == 0
    published, little = ([op.type for op in each.instances[1].ops] for each in (views, recipe("nnclr_cifar")))
    assert little == [name for name in published if name != "blur"]


def test_the_nearest_by_hand() -> None:
    def at(*degrees: float) -> Tensor:
        angle = torch.tensor(degrees).deg2rad()
        return torch.stack([angle.cos(), angle.sin()], 1)

    keys = at(0, 90, 180)
    assert nearest(at(40, 50, 200, -60) * torch.tensor([[5.0], [0.1], [1.0], [3.0]]), keys).equal(keys[[0, 1, 2, 0]])
    with torch.autocast("cpu", torch.bfloat16):
        assert nearest(at(44.9).bfloat16().float(), keys).dtype == torch.float32


def by_hand(z: np.ndarray, p: np.ndarray, queue: np.ndarray, temperature: float) -> dict[str, float]:
    """The paper's algorithm, an image at a time: z, p (2, B, D); queue (K, D) of unit rows."""
    z, p = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (z, p))
    images, losses, hits, near = z.shape[1], [], [], []
    for this, other in ((0, 1), (1, 0)):
        for i in range(images):
            cosines = [float(z[this, i] @ row) for row in queue]
            neighbour = queue[int(np.argmax(cosines))]
            logits = [float(neighbour @ p[other, k]) / temperature for k in range(images)]
            losses.append(-math.log(math.exp(logits[i]) / sum(map(math.exp, logits))))
            hits.append(int(np.argmax(logits)) == i)
            near.append(max(cosines))
    # Half of each direction's mean is the mean over both.
    return {"loss": float(np.mean(losses)), "accuracy": float(np.mean(hits)), "nearness": float(np.mean(near))}


def test_what_it_returns_over_three_steps_and_the_queue_that_each_leaves() -> None:
    # The queue of 12 takes in 6 first views a step: the third step's replace the first's.
    method = small(queue=12, temperature=0.3)
    queue = method.queue.keys.double().numpy().copy()
    for step in range(3):
        copied, views = copy.deepcopy(method), random_views(2, 6, 16, step)
        z = copied.projector(copied.backbone(views.flatten(0, 1)))  # both views in one pass
        p = copied.predictor(z)
        z, p = (x.detach().double().numpy().reshape(2, 6, 8) for x in (z, p))
        optimizer = build_optimizer(method, SGD)
        values = method(batch_of(views))
        assert {n: float(v.detach()) for n, v in values.items()} == pytest.approx(by_hand(z, p, queue, 0.3), abs=1e-4)
        learn(method, optimizer, values["loss"], 0.1, None, 0.5)
        queue[6 * (step % 2) : 6 * (step % 2) + 6] = z[0] / np.linalg.norm(z[0], axis=1, keepdims=True)
        np.testing.assert_allclose(method.queue.keys.numpy(), queue, atol=1e-6)


def test_the_gradient_flows_through_predictions_alone_and_reaches_every_weight() -> None:
    method = small()
    values = method(batch_of(random_views(2, 6, 16)))
    assert values["loss"].shape == () and not any(v.requires_grad for k, v in values.items() if k != "loss")
    values["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []
    # Of the loss by a small step of one weight, neighbours held: they are the queue's, so a step that small changes none.
    weight = method.predictor[3].weight
    gradient, shift = float(weight.grad[0, 0]), 1e-2
    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[0, 0] += sign * shift
            losses.append(float(method(batch_of(random_views(2, 6, 16)))["loss"]))
            weight[0, 0] -= sign * shift
    assert (losses[0] - losses[1]) / (2 * shift) == pytest.approx(gradient, rel=0.02, abs=1e-4)


def two_steps(images: int) -> Told:
    return steps_of(small(queue=33), lambda step, own: batch_of(random_views(2, images, 16, step)[:, own]), images)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_are_the_parts_of_one_process(world: World, ranks: int) -> None:
    assert_alike(two_steps(11), world(ranks, two_steps, 11))


def test_it_goes_on_to_the_bit_from_its_state() -> None:
    method = small()
    trained(method, range(3))
    state = copy.deepcopy(method.state_dict())
    went_on = trained(method, range(3, 5))
    torch.manual_seed(9)
    again = NNCLR(method.config, image_px=16)
    again.load_state_dict(state)
    assert trained(again, range(3, 5)) == went_on
    assert torch.equal(again.queue.keys, method.queue.keys) and int(again.queue.pointer) == 5 * 6 % 24


def test_it_learns_to_find_images_among_neighbours() -> None:
    method, base = small(temperature=0.2, queue=64), random_views(1, 16, 16)
    optimizer = build_optimizer(method, OptimizerConfig(name="adamw", lr=3e-3, scaling="none", weight_decay=0.0))
    values = []
    for step in range(40):
        values.append(method(batch_of(base + 0.5 * random_views(2, 16, 16, seed=step + 1))))
        learn(method, optimizer, values[-1]["loss"], 3e-3, None, 0.5)
    assert float(values[-1]["loss"].detach()) < 0.7 * math.log(16)


def test_features_are_the_backbones_and_embeddings_the_projectors() -> None:
    method = small().eval()
    images = random_views(1, 3, 16)[0]
    assert torch.equal(method.features(images), method.backbone(images)) and method.encoder is method.backbone
    assert torch.equal(method.embed(images), F.normalize(method.projector(method.backbone(images)), dim=1))
    assert method.projection_head is method.projector


@pytest.mark.parametrize(("fields", "message"), [
    ({"temperature": 0.0}, r"model\.temperature needs a number above 0, got 0"),
    ({"queue": 0}, r"model\.queue needs a whole number of at least 1, got 0"),
    ({"predictor_hidden": 0}, r"model\.predictor_hidden needs a whole number of at least 1, got 0"),
])
def test_what_does_not_fit_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NNCLRConfig(**fields)


def test_a_batch_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="nnclr compares two views, the recipe's group 'global' has 3; use recipe=nnclr"):
        small()(batch_of(random_views(3, 2, 16)))
    with pytest.raises(ValueError, match=r"model\.queue=24 needs to be a multiple of batch_size=5, .* use model\.queue=20"):
        small()(batch_of(random_views(2, 5, 16)))
