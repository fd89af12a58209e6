"""DeepCluster-v2: what the banks hold, when images are grouped, what each crop is asked, and what a checkpoint carries."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from viewmill.models.deepcluster_v2 import DeepClusterV2, DeepClusterV2Config
from viewmill.models.distributed import leave_alone
from viewmill.models.rank_norm import over_ranks
from viewmill.models.rows import take_rows, whole_rows
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.schedule import plan
from viewmill.models.training.step import learn
from viewmill.pipelines.batch import Batch
from viewmill.train import read

from ..world import World
from .batches import batch_of, random_views

TINY = {"backbone": "convnet4", "projector_hidden": 12, "projector_dim": 6, "prototypes": 4, "clusterings": 3}
IMAGES = 20


def small(images: int | None = IMAGES, **fields: object) -> DeepClusterV2:
    torch.manual_seed(0)
    return DeepClusterV2(DeepClusterV2Config(**{**TINY, **fields}), image_px=16, images=images)  # type: ignore[arg-type]


def batch(*index: int, local: int = 0, seed: int = 0) -> Batch:
    """Views of the images of that index, which look a little like each other; other views for another seed."""
    base, local_base = random_views(1, IMAGES, 16, 1000), random_views(1, IMAGES, 8, 1001)
    views = {"global": base + 0.5 * random_views(2, IMAGES, 16, seed), "local": local_base + random_views(3, IMAGES, 8, seed)}
    views = {name: of[:, list(index)] for name, of in views.items() if name == "global" or local}
    made = batch_of(**views)
    made.index = torch.tensor(index)
    return made


def embeddings(method: DeepClusterV2, made: Batch) -> Tensor:
    """(V, B, D), of a copy, all crops in the projector together."""
    method = copy.deepcopy(method)
    with torch.no_grad():
        z = method.projector(torch.cat([method.backbone(views.flatten(0, 1)) for views in made.views.values()]))
    return nn.functional.normalize(z, dim=1).unflatten(0, (-1, len(made.index)))


def filled(method: DeepClusterV2, per_batch: int = 5, images: int = IMAGES) -> DeepClusterV2:
    for begin in range(0, images, per_batch):
        method.observe(batch(*range(begin, begin + per_batch)))
    return method


def groups(method: DeepClusterV2) -> np.ndarray:
    return method.groups.local.numpy() - 1


def k_means(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    for _ in range(10):
        group = (rows @ centroids.T).argmax(1)
        for k in set(group):
            centroids[k] = rows[group == k].sum(0)
        centroids = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
    return centroids


def test_published_numbers() -> None:
    c = DeepClusterV2Config()
    assert (c.backbone, c.projector_hidden, c.projector_dim, c.prototypes, c.clusterings, c.iterations, c.temperature) == (
        "resnet50", 2048, 128, 3000, 3, 10, 0.1)
    run, recipe = read(["deepcluster_v2", "data=train.tar"])
    p = plan(run, 1_281_167)
    assert (run.epochs, run.precision, recipe.groups["local"].count) == (800, "fp32", 6)
    assert [p.rate(step) for step in (0, 3120, p.total)] == pytest.approx([0.3, 4.8, 0.0048])


def test_the_first_pass_keeps_each_views_embeddings_of_passes_of_their_own_and_moves_batch_norm() -> None:
    method, made = small(), batch(3, 7, 11, 19, local=3)
    expected = []
    fresh = copy.deepcopy(method)
    for view in made.views["global"]:
        expected.append(nn.functional.normalize(fresh.projector(fresh.backbone(view)), dim=1).detach())
    method.observe(made)
    for bank, rows in zip(method.banks, expected, strict=True):
        torch.testing.assert_close(bank.local[[3, 7, 11, 19]], rows)
        assert float(bank.local.abs().sum(1).count_nonzero()) == 4
    assert [int(m.num_batches_tracked) for m in method.modules() if isinstance(m, nn.BatchNorm1d)] == [2]
    assert method.per_image and [epoch for epoch in (0, 0.5, 1, 2) if method.wants_pass(epoch)] == [0]


def test_an_epoch_begins_with_a_clustering_of_each_bank_in_turn_and_empties_them() -> None:
    method = filled(small())
    rows = [bank.local.double().numpy().copy() for bank in method.banks]
    method.before_step(0)
    assert all(float(bank.local.abs().sum()) == 0 for bank in method.banks)
    for number, bank in enumerate((0, 1, 0)):
        found = method.prototypes[number].double().numpy()
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
        assert groups(method)[:, number].tolist() == (rows[bank] @ found.T).argmax(1).tolist()
        # Ten iterations of so few rows have settled: each centroid is the direction of its rows.
        np.testing.assert_allclose(k_means(rows[bank], found.copy()), found, atol=1e-5)
    assert not torch.equal(method.prototypes[0], method.prototypes[2])  # of other first centroids


def test_only_the_beginning_of_an_epoch_groups_and_once() -> None:
    method, calls = filled(small()), []
    method.cluster = lambda: calls.append(1)  # type: ignore[method-assign]
    for epoch in (0.0, 0.0, 0.25, 0.75, 1.0, 1.5, 2.0):
        method.before_step(epoch)
    assert len(calls) == 3


def by_hand(method: DeepClusterV2, made: Batch) -> dict[str, float]:
    z = embeddings(method, made).double().numpy()
    losses, right = [], []
    for number, prototypes in enumerate(method.prototypes.double().numpy()):
        for view in z:
            for image, embedding in zip(made.index.tolist(), view, strict=True):
                group = int(groups(method)[image, number])
                if group >= 0:
                    scores = embedding @ prototypes.T / 0.1
                    losses.append(np.log(np.exp(scores).sum()) - scores[group])
                    right += [scores.argmax() == group] if number == 0 else []
    scores = z @ method.prototypes[0].double().numpy().T / 0.1
    mean = (np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)).mean((0, 1))
    return {"loss": float(np.mean(losses)), "accuracy": float(np.mean(right)),
            "marginal_entropy": float(-(mean * np.log(mean)).sum() / math.log(4))}


@pytest.mark.parametrize("local", [0, 3])
def test_every_crop_is_asked_for_its_images_group(local: int) -> None:
    method = filled(small())
    method.before_step(0)
    made = batch(2, 5, 17, 8, 11, local=local, seed=5)
    expected, z = by_hand(method, made), embeddings(method, made)
    values = method(made)
    assert {name: float(value.detach()) for name, value in values.items()} == pytest.approx(expected, abs=1e-4)
    for bank, rows in zip(method.banks, z, strict=False):  # for the next epoch, as they came in this pass
        torch.testing.assert_close(bank.local[made.index], rows)
    values["loss"].backward()
    assert method.prototypes.grad is None and not method.prototypes.requires_grad
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []


def test_an_image_that_the_epoch_before_left_out_counts_for_nothing() -> None:
    method = filled(small(), images=15)
    method.before_step(0)
    assert (groups(method)[15:] == -1).all() and (groups(method)[:15] >= 0).all()
    made = batch(1, 16, 2, 3, 18, seed=5)
    expected = by_hand(method, made)
    assert {name: float(value.detach()) for name, value in method(made).items()} == pytest.approx(expected, abs=1e-4)
    alone = method(batch(16, 18))["loss"]
    alone.backward()
    assert float(alone.detach()) == 0
    assert float(method.banks[0].local[16].norm()) == pytest.approx(1, abs=1e-5)  # but it is there for the next


def test_in_evaluation_mode_nothing_is_kept() -> None:
    method = filled(small())
    method.before_step(0)
    method.eval()(batch(1, 2, 3))
    assert all(float(bank.local.abs().sum()) == 0 for bank in method.banks)


def test_a_checkpoint_within_an_epoch_and_at_its_end_goes_on_alike() -> None:
    def steps(method: DeepClusterV2, first: int, last: int) -> list[float]:
        told = []
        for step in range(first, last):  # four steps an epoch
            method.before_step(step / 4)
            values = method(batch(*range(step % 4 * 5, step % 4 * 5 + 5), seed=step))
            learn(method, optimizers[id(method)], values["loss"], 0.05, None, 0.5)
            told.append(float(values["loss"].detach()))
        return told

    optimizers = {}
    made = []
    for _ in range(3):
        made.append(filled(small()))
        optimizers[id(made[-1])] = build_optimizer(made[-1], OptimizerConfig("sgd", 1.0, "none", 0.0, momentum=0.0))
    whole = steps(made[0], 0, 12)
    for stop, again in ((6, made[1]), (8, made[2])):
        parts = filled(small())
        optimizers[id(parts)] = build_optimizer(parts, OptimizerConfig("sgd", 1.0, "none", 0.0, momentum=0.0))
        assert steps(parts, 0, stop) == whole[:stop]
        again.load_state_dict(parts.state_dict())
        take_rows(again, whole_rows(parts))
        assert steps(again, stop, 12) == whole[stop:]
    assert whole[4] != whole[0] and not torch.equal(made[0].prototypes[0], made[0].prototypes[1])


def test_first_weights_do_not_depend_on_the_memory_and_a_judge_needs_none() -> None:
    with_memory, judged = small(), small(images=None)
    assert with_memory.state_dict().keys() == judged.state_dict().keys()
    for name, p in judged.named_parameters():
        assert torch.equal(p, with_memory.get_parameter(name)), name
    images = random_views(1, 3, 16)[0]
    judged.eval()
    assert judged.encoder is judged.backbone and judged.projection_head is judged.projector
    assert torch.equal(judged.features(images), judged.backbone(images))
    torch.testing.assert_close(judged.embed(images), nn.functional.normalize(judged.projector(judged.backbone(images)), dim=1))


def steps_of_ranks(parts: tuple[int, ...]) -> tuple[list[list[float]], list[Tensor], dict[str, Tensor], Tensor]:
    """A first pass and two epochs of two steps: values, the last gradients as DDP leaves them, all rows, all centroids."""
    method, alone = small(), not dist.is_initialized()
    if not alone:
        over_ranks(method, torch.device("cpu"))
    leave_alone(method)
    model = method if alone else nn.parallel.DistributedDataParallel(method)
    rank, told = 0 if alone else dist.get_rank(), []
    start, stop = (0, sum(parts)) if alone else (sum(parts[:rank]), sum(parts[: rank + 1]))
    for half in range(2):
        method.observe(batch(*range(10 * half + start, 10 * half + stop)))
    for step in range(4):
        method.before_step(step / 2)
        model.zero_grad()
        values = model(batch(*range(step % 2 * 10 + start, step % 2 * 10 + stop), local=3, seed=step))
        values["loss"].backward()
        told.append([float(value.detach()) for value in values.values()])
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    return told, gradients, whole_rows(method), method.prototypes.detach()


@pytest.mark.parametrize("parts", [(4, 6), (2, 5, 3)])
def test_ranks_together_have_the_values_gradient_groups_and_banks_of_one(world: World, parts: tuple[int, ...]) -> None:
    expected, gradients, rows, centroids = steps_of_ranks(parts)
    told = world(len(parts), steps_of_ranks, parts)
    means = torch.tensor([values for values, *_ in told]).mean(0)
    torch.testing.assert_close(means, torch.tensor(expected), rtol=1e-4, atol=1e-5)
    assert float(gradients[0].abs().sum()) > 0
    for _, of_rank, _, prototypes in told:
        torch.testing.assert_close(prototypes, centroids, rtol=1e-4, atol=1e-5)
        for mine, gradient in zip(gradients, of_rank, strict=True):
            torch.testing.assert_close(gradient, mine, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(told[0][2]["groups"], rows["groups"])
    torch.testing.assert_close(told[0][2]["banks.0"], rows["banks.0"], rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.prototypes=4 needs at least as many images, the data has 3; use fewer"):
        small(images=3)
    with pytest.raises(ValueError, match=r"model\.prototypes=4 needs as many images in an epoch, the last one had 3; use fewer"):
        method = small()
        method.observe(batch(1, 2, 3))
        method.before_step(0)
    with pytest.raises(ValueError, match="needs the number of images, build"):
        small(images=None)(batch(1, 2))
    with pytest.raises(ValueError, match="keeps two views in group 'global', the recipe has 3; use recipe=deepcluster_v2"):
        small()(batch_of(random_views(3, 2, 16)))
    with pytest.raises(ValueError, match="deepcluster_v2's batch norm needs at least 2 images on each rank"):
        small().observe(batch(1))
    for field, value, words in (
            ("prototypes", 1, "whole number of at least 2"), ("clusterings", 0, "whole number of at least 1"),
            ("iterations", 0, "whole number of at least 1"), ("temperature", 0.0, "number above 0")):
        with pytest.raises(ValueError, match=rf"model\.{field} needs a {words}, got {value}"):
            DeepClusterV2Config(**{field: value})  # type: ignore[arg-type]
