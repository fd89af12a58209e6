"""Jigsaw++: the puzzle with tiles of another picture, what is measured without those, and sets that are too near."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from viewmill.augment.draw import draw
from viewmill.augment.presets import recipe
from viewmill.augment.puzzles import hamming
from viewmill.models.jigsaw_plus import JigsawPlus, JigsawPlusConfig
from viewmill.pipelines.batch import Batch
from viewmill.train import read

from ..world import World
from .batches import random_views
from .ranks import Told, assert_alike, steps_of
from .test_jigsaw import ORDERS, puzzle


def small(**fields: int) -> JigsawPlus:
    torch.manual_seed(0)
    return JigsawPlus(JigsawPlusConfig("test_vit", **{"permutations": 5, "hidden_dim": 16, "dropout": 0, **fields}), image_px=32)


def occluded(index: list[int], count: list[int], tiles: torch.Tensor | None = None) -> Batch:
    batch = puzzle(index, tiles=tiles, side=32)
    for params in batch.params.values():
        params["occlude"] = {"count": np.array(count, np.int8)}
    return batch


def test_beside_the_accuracy_stands_that_of_whole_puzzles() -> None:
    method, batch = small(), occluded([0, 1, 2, 3], [2, 0, 1, 0])
    with torch.no_grad():
        method.classifier[-1].bias[1] += 100.0  # it says 1 whatever it sees
        values = method(batch)
    assert float(values["accuracy"]) == 0.25 and float(values["whole_accuracy"]) == 0.5
    with torch.no_grad():
        assert float(method(occluded([1, 1], [1, 2]))["whole_accuracy"]) == 0  # there is none


def test_it_begins_at_chance() -> None:
    torch.manual_seed(0)
    method = JigsawPlus(JigsawPlusConfig("convnet4"), image_px=16)
    rng = np.random.default_rng(0)
    index = rng.integers(0, 701, 32)
    batch = puzzle([0] * 32)
    every = recipe("jigsaw++").views[0].ops[4].permutations()
    for params in batch.params.values():
        params["permute"] = {"index": index.astype(np.int32), "order": every[index]}
        params["occlude"] = {"count": np.zeros(32, np.int8)}
    assert float(method(batch)["loss"].detach()) == pytest.approx(math.log(701), abs=0.15)  # 6.55


def test_the_set_of_701_is_far_enough_apart_for_two_hidden_tiles() -> None:
    permute = next(op for op in recipe("jigsaw++").views[0].ops if op.type == "permute")
    every = permute.permutations()
    least, mean = hamming(every)
    assert every.shape == (701, 9) and (np.sort(every, 1) == np.arange(9)).all()
    assert least >= 3 and mean == pytest.approx(7.999, abs=0.05)
    assert mean <= 8 * 701 / 700  # a table in which every tile is in every slot equally often has no more
    # So that any seven slots still tell every order.
    for hidden in ((0, 1), (3, 8)):
        seen = np.delete(every, hidden, 1)
        assert len({tuple(row) for row in seen.tolist()}) == 701


def test_orders_that_hidden_tiles_could_make_alike_are_refused() -> None:
    near = ORDERS.copy()
    near[1] = near[0][[1, 0, *range(2, 9)]]  # two tiles change places
    batch = occluded([0, 1], [0, 0])
    for params in batch.params.values():
        params["permute"] = {**params["permute"], "order": near[[0, 1]]}
    with pytest.raises(ValueError, match=r"two orders of the recipe's set differ in 2 slots, and model\.occluders=2 tiles may be "
                                         r"hidden; use permute\.min_hamming=3 or more"):
        small()(batch)
    small(occluders=1)(batch)  # one hidden tile does not
    method = small()
    first, second = (occluded([k], [0]) for k in (0, 1))
    for params in second.params.values():
        params["permute"] = {**params["permute"], "order": near[[1]]}
    method(first)
    with pytest.raises(ValueError, match="differ in 2 slots"):  # of an earlier step
        method(second)


def test_as_drawn_up_to_two_slots_come_from_the_partner() -> None:
    made, many = recipe("jigsaw_plus_cifar"), 200
    size = np.full((many, 2), 32)
    params = draw(made, 0, 0, np.arange(many), size, position=np.arange(many), length=many, partner_size_hw=size)
    replaced = np.stack([params[f"patch/{slot}"]["occlude"]["partner"] for slot in range(9)]).sum(0)
    assert (replaced == params["patch/0"]["occlude"]["count"]).all()
    assert set(replaced) == {0, 1, 2} and np.bincount(replaced).min() > many / 5


def test_the_published_run() -> None:
    run, views = read(["jigsaw_plus", "data=train.tar"])
    assert (run.model.backbone, run.model.permutations, run.model.occluders, views.name) == ("alexnet", 701, 2, "jigsaw++")
    assert (run.epochs, run.batch_size, run.optimizer.lr) == (70, 256, 0.01)  # the puzzle's
    permute, occlude = views.views[0].ops[4:6]
    assert permute.set_size == run.model.permutations and occlude.count == (0, run.model.occluders)
    run, views = read(["jigsaw_plus", "data=train.tar", "recipe=jigsaw_plus_cifar"])
    permute = next(op for op in views.views[0].ops if op.type == "permute")
    assert permute.set_size == run.model.permutations == 100 and hamming(permute.permutations())[0] >= 3
    assert run.model.backbone == "resnet18"


def two_steps() -> Told:
    method = small(puzzles=2)
    with torch.no_grad():
        method.classifier[-1].bias[2] += 3.0  # so that some answers are right, on one rank more than on another
    index, count = [2, 0, 4, 1, 3, 2, 0], [0, 2, 1, 0, 1, 2, 0]
    return steps_of(method, lambda step, own: occluded(index[own], count[own], random_views(9, 7, 32, step)[:, own]), 7)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_do_what_one_does(world: World, ranks: int) -> None:
    assert_alike(two_steps(), world(ranks, two_steps))
