"""RotNet: its loss and its labels, that it begins at chance and learns, and that ranks do together what one does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from viewmill.augment.draw import draw
from viewmill.augment.presets import recipe
from viewmill.models.rotnet import RotNet, RotNetConfig
from viewmill.pipelines.batch import Batch
from viewmill.pipelines.engines import render
from viewmill.train import read

from ..world import World
from .batches import batch_of, random_views


def small(backbone: str = "convnet4", image_px: int = 32) -> RotNet:
    torch.manual_seed(0)
    return RotNet(RotNetConfig(backbone), image_px=image_px)


def turned(images: torch.Tensor) -> Batch:
    """images (B, C, H, W), upright, as a batch of their four turns."""
    batch = batch_of(torch.stack([torch.rot90(images, turn, (2, 3)) for turn in range(4)]))
    batch.params = {f"global/{turn}": {"rotate": {"quarter_turns": np.full(len(images), turn, np.int8)}} for turn in range(4)}
    return batch


def test_the_loss_is_the_mean_cross_entropy_of_every_turn_of_every_image() -> None:
    method, images = small().eval(), random_views(1, 3, 32)[0]
    with torch.no_grad():
        values = method(turned(images))
        logits = [method.classifier(method.encoder(torch.rot90(images, turn, (2, 3)))).double().numpy() for turn in range(4)]
    probability = [np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in logits]
    expected = -sum(math.log(probability[turn][i, turn]) for turn in range(4) for i in range(3)) / 12
    assert float(values["loss"]) == pytest.approx(expected, rel=1e-6)
    found = sum(int(probability[turn][i].argmax() == turn) for turn in range(4) for i in range(3))
    assert float(values["accuracy"]) == pytest.approx(found / 12)


class Sides(nn.Module):
    """Knows the turn of a picture that is bright at its top: counter-clockwise, top, left, bottom, right are bright."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # Away from the edge, where the crop may have put black.
        top, left = images[:, 0, 8:14, 12:20].mean((1, 2)), images[:, 0, 12:20, 8:14].mean((1, 2))
        bottom, right = images[:, 0, 18:24, 12:20].mean((1, 2)), images[:, 0, 12:20, 18:24].mean((1, 2))
        return 20.0 * torch.stack([top, left, bottom, right], 1)


def test_the_labels_are_the_turns_of_views_as_they_are_really_rendered() -> None:
    rng = np.random.default_rng(0)
    picture = np.repeat(np.linspace(250, 5, 32)[:, None, None], 32, 1).repeat(3, 2)
    images = [np.clip(picture + rng.normal(0, 5, picture.shape), 0, 255).astype(np.uint8) for _ in range(6)]
    sides = Sides()
    for turn in range(4):  # by NumPy's definition of a quarter turn
        turns = torch.from_numpy(np.rot90(images[0], turn).copy()).permute(2, 0, 1)[None].float()
        assert int(sides(turns).argmax()) == turn
    cifar = recipe("rotnet_cifar")
    params = draw(cifar, 0, 0, np.arange(6), np.full((6, 2), 32))
    batch = batch_of(torch.as_tensor(render(images, cifar, params)["global"]))
    batch.params = params
    method = small()
    method.encoder, method.classifier = sides, nn.Identity()
    values = method(batch)
    assert float(values["accuracy"]) == 1 and float(values["loss"]) < 0.01
    assert batch.drawn("global", "quarter_turns").tolist() == [[turn] * 6 for turn in range(4)]


def test_it_begins_at_chance_and_learns_a_batch_by_heart() -> None:
    method, batch = small(), turned(random_views(1, 16, 32)[0])
    optimizer = torch.optim.AdamW(method.parameters(), 2e-3)
    values = method(batch)
    assert float(values["loss"].detach()) == pytest.approx(math.log(4), abs=0.15)
    for _ in range(20):
        optimizer.zero_grad()
        values["loss"].backward()
        optimizer.step()
        values = method(batch)
    assert float(values["accuracy"]) == 1 and float(values["loss"].detach()) < 0.1


def test_all_turns_go_through_the_network_in_one_pass() -> None:
    method, calls = small(), []
    method.encoder.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    values = method(turned(random_views(1, 4, 32)[0]))
    assert calls == [16] and not values["accuracy"].requires_grad


def test_features_are_the_backbones_and_nothing_is_compared() -> None:
    method, images = small().eval(), random_views(1, 3, 32)[0]
    assert torch.equal(method.features(images), method.encoder(images)) and method.feature_dim == 256
    assert method.embed(images) is None


def test_views_that_nothing_turns_are_refused() -> None:
    with pytest.raises(ValueError, match="the recipe draws no quarter_turns for group 'global'; groups with quarter_turns: none"):
        small()(batch_of(random_views(4, 2, 32)))


def test_the_published_runs() -> None:
    run, _ = read(["rotnet", "data=train.tar"])
    assert (run.model.backbone, run.epochs, run.batch_size, run.recipe) == ("alexnet", 50, 192, "rotnet")
    assert (run.optimizer.name, run.optimizer.lr, run.optimizer.momentum, run.optimizer.weight_decay) == (
        "nesterov", 0.01, 0.9, 5e-4)
    assert (run.schedule.law, run.schedule.steps_at, run.schedule.step_factor) == ("steps", (15, 30, 45), 0.1)
    run, _ = read(["rotnet", "data=train.tar", "recipe=rotnet_cifar"])
    assert (run.epochs, run.batch_size, run.optimizer.lr, run.optimizer.name) == (200, 128, 0.1, "nesterov")
    assert (run.schedule.law, run.schedule.steps_at, run.schedule.step_factor) == ("steps", (60, 120, 160), 0.2)


def part_of_a_step(images: torch.Tensor) -> tuple[float, list[torch.Tensor | None]]:
    """This rank's half of the images: its loss, and the gradients as DDP leaves them."""
    model = nn.parallel.DistributedDataParallel(small("test_vit"))
    loss = model(turned(images.chunk(2)[dist.get_rank()]))["loss"]
    loss.backward()
    return float(loss.detach()), [p.grad for p in model.parameters()]


def test_two_ranks_have_the_loss_and_the_gradient_of_one(world: World) -> None:
    # A network without batch norm, whose statistics each rank takes of its own images.
    method, images = small("test_vit"), random_views(1, 6, 32)[0]
    loss = method(turned(images))["loss"]
    loss.backward()
    losses, gradients = zip(*world(2, part_of_a_step, images), strict=True)
    assert sum(losses) / 2 == pytest.approx(float(loss.detach()), rel=1e-5)
    for of_rank in gradients:
        for parameter, gradient in zip(method.parameters(), of_rank, strict=True):
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-6)
