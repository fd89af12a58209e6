"""DeepCluster: what images are grouped by, how much each counts, which layer is new and moves by itself, and what a checkpoint
carries."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from viewmill.models import build, deepcluster, method_info
from viewmill.models.deepcluster import DeepCluster, DeepClusterConfig
from viewmill.models.distributed import leave_alone
from viewmill.models.lloyd import kmeans
from viewmill.models.rows import take_rows, whole_rows
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn
from viewmill.pipelines.batch import Batch
from viewmill.train import read

from ..world import World
from .batches import batch_of, random_views

TINY = {"backbone": "convnet4", "clusters": 4, "pca": 5, "iterations": 10}
IMAGES, SIDE = 20, 16
SGD = OptimizerConfig("sgd", 1.0, "none", 0.0, momentum=0.9)


def small(images: int | None = IMAGES, **fields: object) -> DeepCluster:
    torch.manual_seed(0)
    return DeepCluster(DeepClusterConfig(**{**TINY, **fields}), image_px=SIDE, images=images)  # type: ignore[arg-type]


def batch(*index: int, seed: int = 0, channels: int = 2) -> Batch:
    """A view to learn from and a plain one of the images of that index; the plain one is the same for every seed."""
    plain = random_views(1, IMAGES, SIDE, 1000)[:, :, :channels]
    views = plain + 0.5 * random_views(1, IMAGES, SIDE, seed)[:, :, :channels]
    made = batch_of(views[:, list(index)], cluster=plain[:, list(index)])
    made.index = torch.tensor(index)
    return made


def filled(method: DeepCluster, per_batch: int = 5, images: int = IMAGES) -> DeepCluster:
    for begin in range(0, images, per_batch):
        method.observe(batch(*range(begin, begin + per_batch)))
    return method


def clusters(method: DeepCluster) -> np.ndarray:
    return method.cluster_of.local[:, 0].long().numpy() - 1


def test_the_pass_sees_plain_views_in_evaluation_mode_and_moves_nothing() -> None:
    method, made = small(), batch(3, 7, 11)
    before = copy.deepcopy(method.state_dict())
    expected = copy.deepcopy(method).eval().encoder(made.views["cluster"][0])
    method.observe(made)
    (index, features), = method.seen
    assert index.tolist() == [3, 7, 11] and torch.equal(features, expected) and not features.requires_grad
    after = method.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(part.training for part in method.modules())
    assert [epoch for epoch in (0, 0.25, 1, 1.5, 2) if method.wants_pass(epoch)] == [0, 1, 2]


def test_images_are_grouped_by_whitened_features_of_length_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.decomposition import PCA

    method, given = filled(small()), []
    monkeypatch.setattr(deepcluster, "kmeans", lambda *rows, **more: given.append((rows, more)) or kmeans(*rows, **more))
    x = torch.cat([features for _, features in method.seen]).double().numpy()
    method.before_step(0)
    assert method.seen == [] and set(clusters(method)) == {0, 1, 2, 3}
    white = PCA(5, whiten=True).fit_transform(x)
    white /= np.linalg.norm(white, axis=1, keepdims=True)
    ((rows, first), more), = given
    np.testing.assert_allclose(rows.abs().numpy(), np.abs(white), atol=1e-3)  # but for the sign of a direction
    assert more["iterations"] == 10 and {tuple(row) for row in first.tolist()} < {tuple(row) for row in rows.tolist()}
    # Ten iterations of so few have settled: each image is nearest to the mean of its own cluster.
    means = np.stack([white[clusters(method) == k].mean(0) for k in range(4)])
    assert ((white[:, None] - means) ** 2).sum(2).argmin(1).tolist() == clusters(method).tolist()
    assert method.sizes.tolist() == np.bincount(clusters(method), minlength=4).tolist()


def test_each_clustering_begins_at_other_images() -> None:
    method, found = small(iterations=1), []
    for epoch in range(3):
        filled(method).before_step(epoch)
        found.append(clusters(method).tolist())
    assert len({str(each) for each in found}) > 1
    again = filled(small(iterations=1))
    again.before_step(0)
    assert clusters(again).tolist() == found[0]


def by_hand(method: DeepCluster, made: Batch) -> dict[str, float]:
    """Each image counts N / (non-empty clusters * n), n the images of its cluster."""
    of = copy.deepcopy(method)
    with torch.no_grad():
        logits = of.head(of.encoder(made.views["global"][0])).double().numpy()
    sizes = np.bincount(clusters(method)[clusters(method) >= 0], minlength=4)
    terms, right = [], []
    for image, scores in zip(made.index.tolist(), logits, strict=True):
        cluster = int(clusters(method)[image])
        if cluster >= 0:
            weight = sizes.sum() / ((sizes > 0).sum() * sizes[cluster]) if method.config.balanced else 1
            terms.append(weight * (np.log(np.exp(scores).sum()) - scores[cluster]))
            right.append(scores.argmax() == cluster)
    mean = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).mean(0)
    share = sizes[sizes > 0] / sizes.sum()
    return {"loss": float(np.mean(terms)), "accuracy": float(np.mean(right)),
            "marginal_entropy": float(-(mean * np.log(mean)).sum() / math.log(4)),
            "cluster_entropy": float(-(share * np.log(share)).sum() / math.log(4))}


@pytest.mark.parametrize("balanced", [True, False])
def test_each_cluster_counts_as_much(balanced: bool) -> None:
    method = filled(small(balanced=balanced), images=15)
    method.before_step(0)
    assert (clusters(method)[15:] == -1).all()  # which the pass left out
    made = batch(2, 5, 17, 8, 11, seed=5)
    nn.init.normal_(method.head.weight, std=0.3)
    expected = by_hand(method, made)
    values = method(made)
    assert {name: float(value.detach()) for name, value in values.items()} == pytest.approx(expected, abs=1e-5)
    if balanced:  # over all images, each cluster has the same share of all that counts
        of_image = method.weights()[clusters(method)[:15]]
        sums = [float(of_image[clusters(method)[:15] == k].sum()) for k in range(4)]
        assert sums == pytest.approx([15 / 4] * 4) and len(set(method.sizes.tolist())) > 1
    alone = method(batch(16, 18))["loss"]
    alone.backward()
    assert float(alone.detach()) == 0


def test_an_epoch_begins_with_a_new_layer_which_is_at_chance() -> None:
    method, weights = filled(small(clusters=16)), []
    for epoch in (0, 1):
        filled(method).before_step(epoch)
        weights.append(method.head.weight.detach().clone())
        assert float(weights[-1].std()) == pytest.approx(0.01, rel=0.1) and (method.head.bias == 0).all()
        nn.init.ones_(method.head.bias)
        method.before_step(epoch + 0.5)
        assert (method.head.bias == 1).all()  # not within an epoch
    assert not torch.equal(*weights)
    method.head.bias.data.zero_()
    values = method.eval()(batch(*range(20)))
    assert float(values["marginal_entropy"]) == pytest.approx(1, abs=1e-3)
    unweighted = small(clusters=16, balanced=False).eval()
    filled(unweighted).before_step(0)
    assert float(unweighted(batch(*range(20)))["loss"].detach()) == pytest.approx(math.log(16), abs=0.05)


def test_that_layer_moves_by_plain_descent_at_its_own_rate_and_the_optimizer_leaves_it_alone() -> None:
    method = filled(small(head_lr=0.3, head_decay=0.1))
    method.before_step(0)
    optimizer = build_optimizer(method, SGD)
    for step in range(2):
        made = batch(1, 2, 3, 4, 5, seed=step)
        before = method.head.weight.detach().double().numpy().copy()
        of = copy.deepcopy(method)
        of(made)["loss"].backward()
        gradient = of.head.weight.grad.double().numpy()  # type: ignore[union-attr]
        learn(method, optimizer, method(made)["loss"], 1e-3, None, 0.5)
        after = method.head.weight.detach().double().numpy()
        np.testing.assert_allclose(after, before - 0.3 * (gradient + 0.1 * before), atol=1e-7)
        assert np.abs(gradient).max() > 0.01
    assert all(p not in optimizer.state for p in method.head.parameters())
    assert all(p in optimizer.state for p in method.encoder.parameters())


def test_alexnet_is_grouped_by_fc7_before_its_relu_and_judged_by_what_comes_after() -> None:
    torch.manual_seed(0)
    method = DeepCluster(DeepClusterConfig(clusters=4), image_px=64, images=8).eval()
    images = torch.randn(3, 2, 64, 64)
    before = method.before_activation(images)
    assert before.shape == (3, 4096) and float(before.detach().min()) < 0
    torch.testing.assert_close(method.activated(before), method.features(images))
    assert torch.equal(method.features(images), method.encoder(images)) and method.embed(images) is None


@pytest.mark.parametrize(("backbone", "side"), [("resnet18", 32), ("test_vit", 32)])
def test_any_backbone_is_grouped_and_taught(backbone: str, side: int) -> None:
    torch.manual_seed(0)
    method = DeepCluster(DeepClusterConfig(backbone, clusters=3, pca=4), image_px=side, images=8)
    views = torch.randn(1, 8, 2, side, side)
    made = batch_of(views, cluster=views)
    method.observe(made)
    method.before_step(0)
    method(made)["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []


def test_it_learns_the_clusters_of_a_batch() -> None:
    method = filled(small(head_lr=0.5))
    method.before_step(0)
    optimizer = build_optimizer(method, OptimizerConfig("adamw", 1.0, "none", 0.0))
    made = batch(*range(20), seed=3)
    for _ in range(40):
        values = method(made)
        learn(method, optimizer, values["loss"], 2e-3, None, 0.5)
    assert float(values["accuracy"]) == 1


def test_a_checkpoint_within_an_epoch_and_at_its_end_goes_on_alike() -> None:
    def steps(method: DeepCluster, first: int, last: int) -> list[float]:
        told = []
        for step in range(first, last):  # four steps an epoch
            if method.wants_pass(step / 4):
                filled(method)
            method.before_step(step / 4)
            values = method(batch(*range(step % 4 * 5, step % 4 * 5 + 5), seed=step))
            learn(method, optimizers[id(method)], values["loss"], 0.05, None, 0.5)
            told.append(float(values["loss"].detach()))
        return told

    made = [small() for _ in range(5)]
    optimizers = {id(of): build_optimizer(of, SGD) for of in made}
    whole = steps(made[0], 0, 12)
    for stop, parts, again in ((6, made[1], made[2]), (8, made[3], made[4])):
        assert steps(parts, 0, stop) == whole[:stop]
        again.load_state_dict(parts.state_dict())
        optimizers[id(again)].load_state_dict(optimizers[id(parts)].state_dict())
        take_rows(again, whole_rows(parts))
        assert steps(again, stop, 12) == whole[stop:]


def test_first_weights_do_not_depend_on_the_memory_and_a_judge_needs_none() -> None:
    with_memory, judged = small(), small(images=None)
    assert with_memory.state_dict().keys() == judged.state_dict().keys()
    for name, p in judged.named_parameters():
        assert torch.equal(p, with_memory.get_parameter(name)), name
    assert judged.features(random_views(1, 3, SIDE)[0, :, :2]).shape == (3, 256)


def steps_of_ranks(parts: tuple[int, ...]) -> tuple[list[list[float]], dict[str, Tensor], Tensor, dict[str, Tensor]]:
    """A pass and an epoch of two steps, twice: values, weights, sizes, all rows."""
    method = small(head_lr=0.5)
    method.encoder.eval()  # batch norm ties the images of a rank together
    leave_alone(method)
    alone = not dist.is_initialized()
    model = method if alone else nn.parallel.DistributedDataParallel(method)
    method.encoder.eval()
    optimizer, told = build_optimizer(method, SGD), []
    rank = 0 if alone else dist.get_rank()
    start, stop = (0, sum(parts)) if alone else (sum(parts[:rank]), sum(parts[: rank + 1]))
    for step in range(4):
        if method.wants_pass(step / 2):
            for half in range(2):
                method.observe(batch(*range(10 * half + start, 10 * half + stop)))
        method.before_step(step / 2)
        values = model(batch(*range(step % 2 * 10 + start, step % 2 * 10 + stop), seed=step))
        learn(method, optimizer, values["loss"], 0.01, None, 0.5)
        told.append([float(value.detach()) for value in values.values()])
    weights = {name: p.detach().clone() for name, p in method.named_parameters()}
    return told, weights, method.sizes.clone(), whole_rows(method)


@pytest.mark.parametrize("parts", [(4, 6), (2, 5, 3)])
def test_ranks_together_have_the_values_weights_and_clusters_of_one(world: World, parts: tuple[int, ...]) -> None:
    expected, weights, sizes, rows = steps_of_ranks(parts)
    told = world(len(parts), steps_of_ranks, parts)
    means = torch.tensor([values for values, *_ in told]).mean(0)
    torch.testing.assert_close(means, torch.tensor(expected), rtol=1e-4, atol=1e-5)
    for _, of_rank, own_sizes, _ in told:
        assert torch.equal(own_sizes, sizes)
        for name, weight in weights.items():
            torch.testing.assert_close(of_rank[name], weight, rtol=1e-4, atol=1e-5)
    assert torch.equal(told[0][3]["cluster_of"], rows["cluster_of"])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.clusters=4 needs at least as many images, the data has 3; use fewer"):
        small(images=3)
    with pytest.raises(ValueError, match=r"model\.clusters=4 needs as many images in a pass, the last one had 3; use fewer"):
        method = small()
        method.observe(batch(1, 2, 3))
        method.before_step(0)
    with pytest.raises(ValueError, match="has seen none: let it `observe` them first"):
        small().before_step(0)
    with pytest.raises(ValueError, match="needs the number of images, build"):
        small(images=None)(batch(1, 2))
    with pytest.raises(ValueError, match=r"of 2 channels \(model\.edges=true\), the recipe has global of 3 channels, cluster"):
        small()(batch(1, 2, channels=3))
    with pytest.raises(ValueError, match=r"of 3 channels \(model\.edges=false\), the recipe has global of 3 channels; use"):
        small(edges=False).observe(batch_of(random_views(1, 2, SIDE)))
    for field, value, words in (("clusters", 1, "whole number of at least 2"), ("pca", 0, "whole number of at least 1"),
                                ("iterations", 0, "whole number of at least 1"), ("head_lr", 0.0, "number above 0"),
                                ("head_decay", -1.0, "number of at least 0")):
        with pytest.raises(ValueError, match=rf"model\.{field} needs a {words}, got {value}"):
            DeepClusterConfig(**{field: value})  # type: ignore[arg-type]


def test_the_published_run() -> None:
    run, recipe = read(["deepcluster", "data=train.tar"])
    c = run.model
    assert (c.backbone, c.edges, c.clusters, c.pca, c.iterations, c.balanced, c.head_lr, c.head_decay) == (
        "alexnet", True, 10000, 256, 20, True, 0.05, 1e-5)
    assert (run.epochs, run.batch_size, run.optimizer.name, run.optimizer.lr) == (200, 256, "sgd", 0.05)
    of = run.optimizer
    assert (of.momentum, of.weight_decay, of.exclude, recipe.groups["global"].channels) == (0.9, 1e-5, "none", 2)
    assert run.schedule.law == "steps" and run.schedule.steps_at == ()
    with torch.device("meta"):
        assert build("deepcluster", method_info("deepcluster").config(), image_px=224).feature_dim == 4096
