"""Jigsaw: its loss and its labels, on views as they are really made; that it begins at chance, learns, and ranks agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from viewmill.augment.draw import draw
from viewmill.augment.presets import recipe
from viewmill.models.jigsaw import Jigsaw, JigsawConfig, reordered
from viewmill.models.pictured import Shown
from viewmill.pipelines.batch import Batch
from viewmill.pipelines.engines import render
from viewmill.train import read

from ..world import World
from .batches import batch_of, random_views
from .ranks import Told, assert_alike, steps_of

ORDERS = np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1, 0], [3, 1, 4, 0, 5, 8, 2, 6, 7],
                   [1, 2, 0, 4, 5, 3, 7, 8, 6], [2, 0, 1, 5, 3, 4, 8, 6, 7]], np.int8)


def small(backbone: str = "convnet4", image_px: int = 16, **fields: Any) -> Jigsaw:
    torch.manual_seed(0)
    return Jigsaw(JigsawConfig(backbone, **{"permutations": 5, "hidden_dim": 32, "dropout": 0.0, **fields}), image_px=image_px)


def puzzle(index: list[int], seed: int = 0, tiles: Tensor | None = None, side: int = 16) -> Batch:
    """A batch whose slots already show the tiles of ORDERS[index]."""
    batch = batch_of(patch=random_views(9, len(index), side, seed) if tiles is None else tiles)
    params = {"permute": {"index": np.array(index, np.int32), "order": ORDERS[index]}}
    batch.params = {f"patch/{slot}": params for slot in range(9)}
    return batch


def numpy(x: Tensor) -> np.ndarray:
    found: np.ndarray = x.detach().double().numpy()
    return found


def entropy_of(method: Jigsaw, rows: np.ndarray, target: list[int]) -> tuple[float, float]:
    """Mean cross-entropy and accuracy of features (n, 9 D) by the classifier, in float64."""
    first, last = method.classifier[0], method.classifier[-1]
    hidden = np.maximum(rows @ numpy(first.weight).T + numpy(first.bias), 0)
    logits = hidden @ numpy(last.weight).T + numpy(last.bias)
    logits -= logits.max(1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return float(-log_p[np.arange(len(target)), target].mean()), float((log_p.argmax(1) == target).mean())


def test_the_loss_is_the_cross_entropy_of_nine_tiles_side_by_side_each_encoded_by_itself() -> None:
    method, batch = small().eval(), puzzle([2, 0, 4])
    values = method(batch)
    rows = np.stack([np.concatenate([numpy(method.encoder(batch.views["patch"][slot, i : i + 1]))[0] for slot in range(9)])
                     for i in range(3)])
    loss, accuracy = entropy_of(method, rows, [2, 0, 4])
    assert [float(values[name].detach()) for name in ("loss", "accuracy")] == pytest.approx([loss, accuracy], rel=1e-5)


def test_the_gradient_is_that_of_the_formula() -> None:
    method, batch = small().eval(), puzzle([2, 0, 4])
    method(batch)["loss"].backward()
    rows = np.stack([np.concatenate([numpy(method.encoder(batch.views["patch"][slot, i : i + 1]))[0] for slot in range(9)])
                     for i in range(3)])
    weight = method.classifier[0].weight
    assert weight.grad is not None
    gradient = weight.grad.clone()
    for row, column in ((0, 5), (7, 600), (31, 2303)):
        found = []
        for step in (1e-3, -1e-3):
            with torch.no_grad():
                weight[row, column] += step
            found.append(entropy_of(method, rows, [2, 0, 4])[0])
            with torch.no_grad():
                weight[row, column] -= step
        assert float(gradient[row, column]) == pytest.approx((found[0] - found[1]) / 2e-3, rel=5e-3, abs=1e-7)
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


class Levels(nn.Module):
    """A tile's mean level of red, in 0 .. 8 for cells of levels 10, 35, 60, ..."""

    def forward(self, tiles: Tensor) -> Tensor:
        return (tiles[:, 0].mean((1, 2))[:, None] * 255 - 10) / 25


def rendered(name: str, pictures: int, side: int) -> tuple[Shown, np.ndarray]:
    """A batch of pictures whose nine cells have the levels 10, 35, ... 210 in raster order, and the orders drawn."""
    cell = np.repeat(np.repeat(25 * np.arange(9).reshape(3, 3) + 10, side // 3, 0), side // 3, 1).astype(np.uint8)
    images = [np.repeat(cell[:, :, None], 3, 2)] * pictures
    made = recipe(name)
    for op, changes in (("crop", {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}), ("flip", {"p": 0.0}),
                        ("normalize", {"kind": "none", "gain": None, "channels": None})):
        made = made.with_op("*", op, **changes)
    params = draw(made, 0, 0, np.arange(pictures), np.full((pictures, 2), side))
    batch = batch_of(**{group: torch.as_tensor(views) for group, views in render(images, made, params).items()})
    batch.params = params
    return Shown(batch, made), params["patch/0"]["permute"]["order"]


def test_slot_s_shows_the_cell_order_s_as_views_are_really_made() -> None:
    batch, order = rendered("jigsaw_cifar", 6, 66)
    levels = torch.stack([Levels()(tiles)[:, 0] for tiles in batch.views["patch"]], 1)
    assert len({tuple(row) for row in order.tolist()}) > 1
    np.testing.assert_allclose(levels.numpy(), order, atol=0.2)


def test_a_puzzle_in_another_order() -> None:
    tiles = torch.arange(9.0).expand(2, 9)[:, :, None]  # cell c has value c
    first, second = torch.as_tensor(ORDERS[[2, 3]]).long(), torch.as_tensor(ORDERS[[4, 1]]).long()
    shown = torch.stack([tile[order] for tile, order in zip(tiles, first, strict=True)])
    again = reordered(shown, first, second)
    assert again[:, :, 0].tolist() == second.tolist()
    assert torch.equal(reordered(again, second, first), shown)


def test_each_image_can_be_put_in_the_orders_of_the_next_ones_too() -> None:
    index = [2, 0, 4, 1]
    method, batch = small(puzzles=3).eval(), puzzle(index)
    values = method(batch)
    cells = np.zeros((4, 9, 256))
    for i in range(4):
        for slot in range(9):
            cells[i, ORDERS[index[i], slot]] = numpy(method.encoder(batch.views["patch"][slot, i : i + 1]))[0]
    # Image i in the orders of images i, i + 1 and i + 2.
    asked = [(i, index[(i + further) % 4]) for further in range(3) for i in range(4)]
    rows = np.stack([cells[i][ORDERS[k]].reshape(-1) for i, k in asked])
    loss, accuracy = entropy_of(method, rows, [k for _, k in asked])
    assert [float(values[name].detach()) for name in ("loss", "accuracy")] == pytest.approx([loss, accuracy], rel=1e-5)


@pytest.mark.parametrize("tile_dim", [None, 8])
def test_it_begins_at_chance_and_learns_a_batch_by_heart(tile_dim: int | None) -> None:
    method, batch = small(tile_dim=tile_dim), puzzle([k % 5 for k in range(16)])
    optimizer = torch.optim.AdamW(method.parameters(), 3e-3)
    values = method(batch)
    assert float(values["loss"].detach()) == pytest.approx(math.log(5), abs=0.25)
    for _ in range(30):
        optimizer.zero_grad()
        values["loss"].backward()
        optimizer.step()
        values = method(batch)
    assert float(values["accuracy"]) == 1 and float(values["loss"].detach()) < 0.1


def test_under_autocast_losses_are_added_up_in_full_precision() -> None:
    method, batch = small().eval(), puzzle([k % 5 for k in range(40)])
    with torch.no_grad():
        exact = method(batch)
        with torch.autocast("cpu", torch.bfloat16):
            values = method(batch)
    assert values["loss"].dtype == torch.float32
    assert float(values["loss"]) == pytest.approx(float(exact["loss"]), rel=2e-2)


def test_all_tiles_go_through_the_network_in_one_pass_and_it_is_the_one_that_is_judged() -> None:
    method, calls = small(), []
    handle = method.encoder.register_forward_hook(lambda module, inputs, output: calls.append(tuple(inputs[0].shape)))
    values = method(puzzle([0, 1, 2, 3]))
    assert calls == [(36, 3, 16, 16)] and not values["accuracy"].requires_grad
    handle.remove()
    pictures = random_views(1, 2, 48)[0]
    method.eval()
    assert torch.equal(method.features(pictures), method.encoder(pictures)) and method.feature_dim == 256
    assert method.embed(pictures) is None


@pytest.mark.parametrize(("backbone", "side", "picture"), [
    ("resnet18", 16, 48), ("vit_tiny_patch16_224", 32, 100), ("alexnet", 64, 192)])
def test_any_backbone_solves_puzzles_and_is_judged_by_whole_pictures(backbone: str, side: int, picture: int) -> None:
    method = small(backbone, side)
    method(puzzle([0, 1], side=side))["loss"].backward()
    assert all(p.grad is not None for p in method.encoder.parameters() if p.requires_grad)
    assert method.eval().features(random_views(1, 2, picture)[0]).shape == (2, method.feature_dim)


def test_pictures_show_the_puzzle_as_it_is_solved_and_as_it_should_be() -> None:
    batch, order = rendered("jigsaw_cifar", 2, 66)
    method = small(permutations=100, hidden_dim=None)
    method.encoder = Levels()
    method.classifier = nn.Linear(9, 100)
    every = recipe("jigsaw_cifar").views[0].ops[-1].permutations().astype(np.float32)
    with torch.no_grad():  # nearest order: the largest of o . x - o . o / 2
        method.classifier.weight.copy_(torch.from_numpy(every))
        method.classifier.bias.copy_(-torch.from_numpy(every).square().sum(1) / 2)
        method.train()
        method(batch)
        shown = method.eval().pictures(batch)
        solved = shown["solved"]
        assert list(shown) == ["puzzle", "as the network solves it", "solved"]
        # Each cell of the solved picture is brighter than the one before; the puzzle's are in their order.
        for title, expected in (("solved", [list(range(9))] * 2), ("puzzle", order.tolist())):
            cells = shown[title].unflatten(3, (3, 16)).unflatten(2, (3, 16)).mean((1, 3, 5)).flatten(1)  # (B, 9)
            np.testing.assert_allclose((255 * cells.numpy() - 10) / 25, expected, atol=0.3)
        assert torch.equal(shown["as the network solves it"], solved)  # of the two orders met, the right one each
        method.classifier.weight.neg_()
        method.classifier.bias.neg_()
        assert not torch.equal(method.pictures(batch)["as the network solves it"], solved)
        assert 0 <= float(solved.min()) <= float(solved.max()) <= 1


def test_orders_that_were_met_are_kept_with_the_weights_and_others_are_no_answer() -> None:
    method = small()
    method(puzzle([3, 1]))
    kept = method.state_dict()["orders"]
    assert kept[[1, 3]].tolist() == ORDERS[[1, 3]].tolist() and (kept[[0, 2, 4]] == -1).all()
    other = small()
    other.load_state_dict(method.state_dict())
    other.eval()(puzzle([0]))  # judging teaches nothing
    assert torch.equal(other.orders, kept)
    with torch.no_grad():
        other.classifier[-1].bias[4] += 100.0  # sure of an order that it has never seen
    asked = Shown(puzzle([1]), recipe("jigsaw_cifar"))
    shown = other.pictures(asked)["as the network solves it"]
    choices = [small(), small()]
    for choice, number in zip(choices, (1, 3), strict=True):
        choice.load_state_dict(other.state_dict())
        with torch.no_grad():
            choice.classifier[-1].bias[number] += 1000.0
    solved = [choice.eval().pictures(asked)["as the network solves it"] for choice in choices]
    assert any(torch.equal(shown, each) for each in solved)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="jigsaw needs 9 tiles in the group 'patch', the recipe has 4; use recipe=jigsaw"):
        small()(batch_of(patch=random_views(4, 2, 16)))
    with pytest.raises(ValueError, match="the recipe draws no index for group 'patch'"):
        small()(batch_of(patch=random_views(9, 2, 16)))
    with pytest.raises(ValueError, match=r"model\.permutations=4 are fewer than the recipe draws from, order 4 among them"):
        small(permutations=4)(puzzle([4]))
    free = puzzle([0, 1])
    for params in free.params.values():
        params["permute"] = {**params["permute"], "index": np.full(2, -1, np.int32)}
    with pytest.raises(ValueError, match=r"jigsaw tells orders of a set apart, and the recipe draws any \(permute\.free=true\)"):
        small()(free)
    for fields, says in (({"permutations": 1}, r"model\.permutations needs a whole number of at least 2, got 1"),
                         ({"dropout": 1.5}, r"model\.dropout needs a number in \[0, 1\], got 1\.5"),
                         ({"puzzles": 0}, r"model\.puzzles needs a whole number of at least 1, got 0")):
        with pytest.raises(ValueError, match=says):
            JigsawConfig(**fields)


def test_the_published_runs() -> None:
    run, views = read(["jigsaw", "data=train.tar"])
    assert (run.model.backbone, run.model.permutations, run.model.hidden_dim, run.model.dropout) == ("alexnet", 100, 4096, 0.5)
    # 350,000 steps of 256 images of 1.28 million; a tenth of the rate every 100,000.
    assert (run.epochs, run.batch_size, run.schedule.steps_at, run.schedule.step_factor) == (70, 256, (20, 40, 60), 0.1)
    assert (run.optimizer.name, run.optimizer.lr, run.optimizer.momentum, run.optimizer.weight_decay) == ("sgd", 0.01, 0.9, 5e-4)
    assert views.views[0].ops[-1].set_size == run.model.permutations
    run, views = read(["jigsaw", "data=train.tar", "variant=vissl"])
    assert (run.epochs, run.optimizer.lr, run.optimizer.scaling, run.schedule.warmup_epochs, run.schedule.steps_at) == (
        105, 0.1, "linear", 5, (30, 60, 90, 100))
    with torch.device("meta"):
        method = Jigsaw(run.model, image_px=64)
    assert [tuple(p.shape) for p in method.classifier.parameters()] == [(2000, 9000), (2000,)]
    for variant in (None, "paper", "pytorch", "vissl"):
        run, views = read(["jigsaw", "data=train.tar", *([f"variant={variant}"] if variant else [])])
        assert views.views[0].ops[-1].set_size == run.model.permutations
    run, views = read(["jigsaw", "data=train.tar", "recipe=jigsaw_cifar"])
    assert views.views[0].ops[-1].set_size == run.model.permutations and run.model.backbone == "resnet18"


def two_steps(name: str, puzzles: int) -> Told:
    index = [2, 0, 4, 1, 3, 2, 0]

    def part(step: int, own: slice) -> Batch:
        return puzzle(index[own], tiles=random_views(9, 7, 32, seed=step)[:, own])

    return steps_of(small(name, 32, puzzles=puzzles, tile_dim=6), part, 7)


@pytest.mark.parametrize("puzzles", [1, 3])
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_of_unequally_many_images_do_what_one_does(world: World, ranks: int, puzzles: int) -> None:
    assert_alike(two_steps("test_vit", puzzles), world(ranks, two_steps, "test_vit", puzzles))
