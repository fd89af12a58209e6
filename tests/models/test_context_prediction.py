"""Context Prediction: its pairs and labels, on patches as they are really made; its loss, that it learns, that ranks agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from viewmill.augment.draw import draw
from viewmill.augment.presets import recipe
from viewmill.models.context_prediction import ContextPrediction, ContextPredictionConfig, pairs_of
from viewmill.pipelines.batch import Batch
from viewmill.pipelines.engines import render
from viewmill.train import read

from ..world import World
from .batches import batch_of, random_views
from .ranks import Told, assert_alike, steps_of

OFFSETS = {0: (-1, -1), 1: (0, -1), 2: (1, -1), 3: (-1, 0), 4: (1, 0), 5: (-1, 1), 6: (0, 1), 7: (1, 1)}
"""(dx, dy) of the second patch from the first, by label, as the paper's code has it."""


def small(backbone: str = "convnet4", image_px: int = 16, **fields: Any) -> ContextPrediction:
    torch.manual_seed(0)
    return ContextPrediction(ContextPredictionConfig(backbone, **{"hidden_dim": 32, **fields}), image_px=image_px)


def paired(pairs: list[list[tuple[int, int, int]]], patches: int, side: int = 16, seed: int = 0) -> Batch:
    """pairs: of each image (first, second, label)."""
    most = max(map(len, pairs)) + 1
    table = np.array([each + [(-1, -1, -1)] * (most - len(each)) for each in pairs], np.int16)
    batch = batch_of(patch=random_views(patches, len(pairs), side, seed))
    batch.params = {f"patch/{view}": {"pair": {"pairs": table}} for view in range(patches)}
    return batch


def numpy(x: Tensor) -> np.ndarray:
    found: np.ndarray = x.detach().double().numpy()
    return found


PAIRS: list[list[tuple[int, int, int]]] = [[(0, 1, 4), (1, 0, 3)], [(2, 0, 1)], [(1, 2, 7), (2, 1, 0), (0, 2, 6)]]


def worked_out(method: ContextPrediction, batch: Batch) -> tuple[list[float], float]:
    """-log p of each pair's label in float64, and the share that is found."""
    first, second, last = (m for m in method.classifier if isinstance(m, nn.Linear))
    losses, right = [], []
    for image, pairs in enumerate(PAIRS):
        for one, other, label in pairs:
            z = [numpy(method.encoder(batch.views["patch"][view, image : image + 1]))[0] for view in (one, other)]
            x = np.concatenate(z) @ numpy(first.weight).T + numpy(first.bias)
            x = np.maximum(x / math.sqrt(1 + 1e-5), 0)  # batch norm as it begins: mean 0, variance 1
            x = np.maximum(x @ numpy(second.weight).T + numpy(second.bias), 0)
            logits = x @ numpy(last.weight).T + numpy(last.bias)
            losses.append(float(np.log(np.exp(logits).sum()) - logits[label]))
            right.append(int(logits.argmax()) == label)
    return losses, float(np.mean(right))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_loss_is_the_cross_entropy_of_every_pairs_label(reduction: str) -> None:
    method, batch = small(reduction=reduction).eval(), paired(PAIRS, 3)
    values = method(batch)
    losses, accuracy = worked_out(method, batch)
    expected = np.sum(losses) if reduction == "sum" else np.mean(losses)
    assert float(values["loss"].detach()) == pytest.approx(float(expected), rel=1e-5)
    assert float(values["pair_loss"]) == pytest.approx(float(np.mean(losses)), rel=1e-5)
    assert float(values["accuracy"]) == pytest.approx(accuracy)


def test_the_gradient_is_that_of_the_formula() -> None:
    method, batch = small().eval(), paired(PAIRS, 3)
    method(batch)["loss"].backward()
    weight = method.classifier[0].weight
    assert weight.grad is not None
    gradient = weight.grad.clone()
    for row, column in ((0, 5), (9, 300), (31, 511)):
        found = []
        for step in (1e-3, -1e-3):
            with torch.no_grad():
                weight[row, column] += step
            found.append(sum(worked_out(method, batch)[0]))
            with torch.no_grad():
                weight[row, column] -= step
        assert float(gradient[row, column]) == pytest.approx((found[0] - found[1]) / 2e-3, rel=1e-2, abs=1e-6)
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


def test_patches_without_a_pair_are_not_encoded_and_others_once() -> None:
    method, calls = small(), []
    method.encoder.register_forward_hook(lambda module, inputs, output: calls.append(inputs[0]))
    batch = paired(PAIRS, 4)
    method(batch)
    # Of the first image 0 and 1, of the second 2 and 0, of the third all but the fourth.
    assert len(calls) == 1 and len(calls[0]) == 7
    shown = {tuple(patch.flatten()[:3].tolist()) for patch in calls[0]}
    expected = {(view, image) for image, pairs in enumerate(PAIRS) for one, other, _ in pairs for view in (one, other)}
    assert shown == {tuple(batch.views["patch"][view, image].flatten()[:3].tolist()) for view, image in expected}


def test_labels_are_the_directions_of_patches_as_they_are_really_made() -> None:
    made = recipe("context_cifar")
    for op, changes in (("crop", {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}), ("grayscale", {"p": 0.0}),
                        ("normalize", {"kind": "none", "gain": None, "channels": None})):
        made = made.with_op("*", op, **changes)
    cells = np.add.outer(60 * np.arange(3), 20 * np.arange(3)) + 20  # 20 more to the right, 60 more below
    picture = np.repeat(np.repeat(cells, 22, 0), 22, 1).astype(np.uint8)[:, :, None].repeat(3, 2)
    params = draw(made, 0, 0, np.arange(2), np.full((2, 2), 66))
    batch = batch_of(patch=torch.as_tensor(render([picture] * 2, made, params)["patch"]))
    batch.params = params
    ends, label = pairs_of(batch, 2)
    level = 255 * batch.views["patch"].flatten(0, 1).mean((1, 2, 3))
    assert len(label) == 16 and sorted(label.tolist()) == sorted([*range(8)] * 2)
    for one, other, number in zip(*ends.tolist(), label.tolist(), strict=True):
        # As the ResNet recipes have it, the centre is the second, and label i the i-th neighbour, seen from there.
        dx, dy = OFFSETS[number]
        assert float(level[one] - level[other]) == pytest.approx(20 * dx + 60 * dy, abs=1)


def test_every_neighbour_in_both_orders_and_the_mirrored_label_for_the_other_order() -> None:
    made = recipe("context")
    params = draw(made, 0, 0, np.arange(3), np.array([[600, 800], [450, 450], [700, 500]]))
    batch = batch_of(patch=torch.zeros(len(params), 3, 1, 1, 1))
    batch.params = params
    cell = np.stack([params[f"patch/{view}"]["tiles"]["cell"] for view in range(len(params))]).reshape(-1, 3)
    ends, label = pairs_of(batch, 3)
    found = {(one, other): number for one, other, number in zip(*ends.tolist(), label.tolist(), strict=True)}
    assert len(found) == len(label) > 300
    for (one, other), number in found.items():
        dx, dy = OFFSETS[number]
        assert one % 3 == other % 3 and (cell[other] - cell[one]).tolist() == [0, dy, dx]
        assert found[other, one] == 7 - number
    present = {tuple(each) for each in cell.reshape(-1, 3, 3)[:, 0].tolist() if each[0] >= 0}
    expected = sum((lattice, row + dy, column + dx) in present for lattice, row, column in present for dx, dy in OFFSETS.values())
    assert expected == sum(one % 3 == 0 for one, _ in found)


def test_it_begins_at_chance_and_learns_a_batch_by_heart() -> None:
    pairs = [[(slot if slot < 4 else slot + 1, 4, slot) for slot in range(8)] for _ in range(4)]
    method, batch = small(reduction="mean"), paired(pairs, 9)
    optimizer = torch.optim.AdamW(method.parameters(), 3e-3)
    values = method(batch)
    assert float(values["loss"].detach()) == pytest.approx(math.log(8), abs=0.15)
    for _ in range(50):
        optimizer.zero_grad()
        values["loss"].backward()
        optimizer.step()
        values = method(batch)
    assert float(values["accuracy"]) == 1 and float(values["loss"].detach()) < 0.1


def test_under_autocast_pairs_are_counted_and_added_up_in_full_precision() -> None:
    pairs = [[(slot if slot < 4 else slot + 1, 4, slot) for slot in range(8)]] * 40  # 320, which bfloat16 has not
    method, batch = small().eval(), paired(pairs, 9)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        values = method(batch)
    assert values["loss"].dtype == torch.float32
    assert float(values["loss"]) == pytest.approx(320 * float(values["pair_loss"]), rel=1e-5)
    assert 320 * float(values["accuracy"]) == pytest.approx(round(320 * float(values["accuracy"])), abs=1e-3)


@pytest.mark.parametrize(("backbone", "side", "picture"), [
    ("resnet18", 16, 48), ("vit_tiny_patch16_224", 32, 100), ("alexnet", 96, 240)])
def test_any_backbone_learns_from_patches_and_is_judged_by_whole_pictures(backbone: str, side: int, picture: int) -> None:
    method = small(backbone, side)
    method(paired(PAIRS, 3, side))["loss"].backward()
    assert all(p.grad is not None for p in method.encoder.parameters() if p.requires_grad)
    assert method.eval().features(random_views(1, 2, picture)[0]).shape == (2, method.feature_dim)
    assert method.embed(random_views(1, 2, picture)[0]) is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="the recipe draws no pairs for group 'patch'"):
        small()(batch_of(patch=random_views(9, 2, 16)))
    with pytest.raises(ValueError, match="no two patches of these images are neighbours: the images are smaller than two"):
        small()(paired([[], []], 2))
    with pytest.raises(ValueError, match="context tells 8 neighbours apart, and the recipe's pair op has class 8; use recipe"):
        small()(paired([[(0, 1, 8)]], 2))
    for fields, says in (({"hidden_layers": 0}, r"model\.hidden_layers needs a whole number of at least 1, got 0"),
                         ({"dropout": -0.1}, r"model\.dropout needs a number in \[0, 1\], got -0\.1")):
        with pytest.raises(ValueError, match=says):
            ContextPredictionConfig(**fields)


def test_the_published_runs() -> None:
    run, views = read(["context", "data=train.tar"])
    assert (run.model.backbone, run.model.reduction, run.model.hidden_dim, run.model.hidden_layers) == ("alexnet", "sum", 4096, 2)
    assert (run.optimizer.name, run.optimizer.lr, run.optimizer.momentum, run.optimizer.weight_decay) == ("sgd", 1e-5, 0, 0)
    assert (run.schedule.law, run.schedule.steps_at, run.schedule.warmup_epochs, views.name) == ("steps", (), 0, "context")
    # 1.7 million steps of the released recipe.
    assert run.epochs * 1_281_167 / run.batch_size == pytest.approx(1.7e6, rel=0.03)
    with torch.device("meta"):
        layers = list(ContextPrediction(run.model, image_px=96).classifier)
    assert [type(layer).__name__ for layer in layers] == ["Linear", "BatchNorm1d", "ReLU", "Linear", "ReLU", "Linear"]
    assert not layers[1].affine and [tuple(layer.weight.shape) for layer in layers if isinstance(layer, nn.Linear)] == [
        (4096, 8192), (4096, 4096), (8, 4096)]
    run, views = read(["context", "data=train.tar", "variant=resnet50"])
    assert (run.epochs, run.batch_size, run.optimizer.lr, run.optimizer.momentum) == (70, 512, 0.2, 0.9)
    assert (run.schedule.steps_at, run.schedule.step_factor) == ((30, 50), 0.1)
    assert (run.model.reduction, run.model.dropout, run.model.hidden_norm) == ("mean", 0.5, "affine")
    assert views.name == "context_resnet"


def two_steps(reduction: str) -> Told:
    pairs = [*PAIRS, PAIRS[1], PAIRS[0]]

    def part(step: int, own: slice) -> Batch:
        batch = paired(pairs, 3, 32, seed=step)
        batch.views["patch"] = batch.views["patch"][:, own]
        batch.params = {view: {"pair": {"pairs": ops["pair"]["pairs"][own]}} for view, ops in batch.params.items()}
        return batch

    return steps_of(small("test_vit", 32, reduction=reduction), part, 5, rate=0.01)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_of_different_numbers_of_pairs_do_what_one_does(world: World, ranks: int, reduction: str) -> None:
    assert_alike(two_steps(reduction), world(ranks, two_steps, reduction))
