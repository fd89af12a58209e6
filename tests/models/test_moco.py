"""MoCo: its queue and moving average, what batch norm may know, and that ranks are one batch."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from viewmill.models import method_info
from viewmill.models.moco import MoCo, MoCoConfig
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer, parameter_groups
from viewmill.models.training.schedule import peak_rate
from viewmill.models.training.step import learn
from viewmill.train import read

from ..world import World
from .batches import batch_of, random_views
from .ranks import SGD, Told, assert_alike, steps_of


def small(**fields: object) -> MoCo:
    """Shuffled where it is in parts; on one rank and in one part there is nobody to shuffle with."""
    torch.manual_seed(0)
    tiny = {"backbone": "convnet4", "projector_dim": 8, "queue": 24, "shuffle": "bn_splits" in fields}
    return MoCo(MoCoConfig(**{**tiny, **fields}), image_px=16)  # type: ignore[arg-type]


def trained(method: MoCo, steps: range, images: int = 6) -> list[float]:
    optimizer, losses = build_optimizer(method, SGD), []
    for step in steps:
        values = method(batch_of(random_views(2, images, 16, step)))
        learn(method, optimizer, values["loss"], 0.1, None, 0.5)
        losses.append(float(values["loss"].detach()))
    return losses


def unit(x: Tensor) -> np.ndarray:
    array = x.detach().double().numpy()
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_published_defaults() -> None:
    c = MoCoConfig()
    assert (c.backbone, c.projector_layers, c.projector_dim, c.temperature) == ("resnet50", 1, 128, 0.07)
    assert (c.queue, c.momentum, c.dictionary, c.shuffle, c.bn_splits) == (65536, 0.999, "queue", True, 1)
    v2 = method_info("moco_v2").config()
    assert (v2.projector_layers, v2.temperature, v2.queue, v2.momentum) == (2, 0.2, 65536, 0.999)


def test_published_runs() -> None:
    for name, law, recipe in (("moco", "steps", "moco"), ("moco_v2", "cosine", "moco_v2")):
        run, views = read([name, "data=train.tar"])
        assert (run.epochs, run.batch_size, run.optimizer.lr, run.optimizer.weight_decay) == (200, 256, 0.03, 1e-4)
        assert run.schedule.law == law and views.name == recipe and run.sync_bn is False
        assert len(parameter_groups(small(), run.optimizer)) == 1  # norms and biases decay too
    # The demo for CIFAR-10: rate 0.06 at 512 images a step.
    run, _ = read(["moco", "data=train.tar", "recipe=moco_cifar"])
    assert (run.epochs, run.batch_size, run.optimizer.weight_decay, run.schedule.law) == (200, 512, 5e-4, "cosine")
    assert peak_rate(run.optimizer, 512) == pytest.approx(0.06)
    assert (run.model.backbone, run.model.bn_splits, run.model.queue, run.model.momentum, run.model.temperature) == (
        "resnet18", 8, 4096, 0.99, 0.1)


def test_projectors_have_biases_and_no_norm_and_no_gain_begins_at_0() -> None:
    one, two = (small(backbone="resnet18", projector_dim=128, projector_layers=layers) for layers in (1, 2))
    assert [type(m) for m in one.projector] == [nn.Linear]
    assert [type(m) for m in two.projector] == [nn.Linear, nn.ReLU, nn.Linear]
    assert [tuple(m.weight.shape) for m in two.projector if isinstance(m, nn.Linear)] == [(512, 512), (128, 512)]
    assert all(m.bias is not None for m in two.projector if isinstance(m, nn.Linear))
    assert all((block.bn2.weight == 1).all() for block in one.backbone.layer1)


def by_hand(q: np.ndarray, k: np.ndarray, negatives: np.ndarray, temperature: float) -> dict[str, float]:
    logits = np.concatenate([(q * k).sum(1, keepdims=True), q @ negatives.T], 1) / temperature
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return {"loss": float(-np.log(shares[:, 0]).mean()), "accuracy": float((logits.argmax(1) == 0).mean()),
            "cosine": float((q * k).sum(1).mean())}


@pytest.mark.parametrize("layers", [1, 2])
def test_what_it_returns_over_three_steps_and_the_queue_that_each_leaves(layers: int) -> None:
    # The queue of 12 keys takes in 6 a step: the third step's replace the first's.
    method = small(temperature=0.3, queue=12, projector_layers=layers)
    queue = unit(method.queue.keys)
    for step in range(3):
        query, key = copy.deepcopy(method.query), copy.deepcopy(method.key)
        views = random_views(2, 6, 16, step)
        q, k = unit(query(views[0])), unit(key(views[1]))
        optimizer = build_optimizer(method, SGD)
        values = method(batch_of(views))
        assert {n: float(v.detach()) for n, v in values.items()} == pytest.approx(by_hand(q, k, queue, 0.3), abs=1e-4)
        learn(method, optimizer, values["loss"], 0.1, None, 0.5)
        queue[6 * (step % 2) : 6 * (step % 2) + 6] = k
        np.testing.assert_allclose(method.queue.keys.numpy(), queue, atol=1e-6)


def test_a_batch_as_dictionary_compares_with_the_other_keys_and_trains_both_encoders() -> None:
    method = small(dictionary="batch", temperature=0.5)
    views = random_views(2, 5, 16)
    q, k = (unit(copy.deepcopy(net)(view)) for net, view in zip((method.query, method.key), views, strict=True))
    shares = np.exp(q @ k.T / 0.5)
    expected = -np.log(np.diag(shares) / shares.sum(1)).mean()
    values = method(batch_of(views))
    assert float(values["loss"].detach()) == pytest.approx(expected, abs=1e-5)
    values["loss"].backward()
    assert method.queue is None and [name for name, p in method.named_parameters() if p.grad is None] == []
    before = copy.deepcopy(method.key.state_dict())
    method.after_step(0.5)  # it follows nobody
    assert all(torch.equal(value, before[name]) for name, value in method.key.state_dict().items())


def test_the_gradient_is_the_query_encoders_alone() -> None:
    method = small()
    values = method(batch_of(random_views(2, 6, 16)))
    assert values["loss"].shape == () and not any(v.requires_grad for k, v in values.items() if k != "loss")
    values["loss"].backward()
    assert {name.split(".")[0] for name, p in method.named_parameters() if p.requires_grad} == {"backbone", "projector"}
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.9999])
def test_each_steps_keys_come_from_the_average_of_all_queries_weights_before_it(momentum: float) -> None:
    # The authors' order, kept beside: average, then keys, then the step.
    method = small(momentum=momentum)
    average = {name: p.detach().double().clone() for name, p in method.query.named_parameters()}
    seen: list[dict[str, Tensor]] = []
    method.key.register_forward_pre_hook(
        lambda module, given: seen.append({name: p.detach().double().clone() for name, p in module.named_parameters()}))
    for step in range(4):
        for name, p in method.query.named_parameters():
            average[name] = momentum * average[name] + (1 - momentum) * p.detach().double()
        trained(method, range(step, step + 1))
        for name, value in average.items():
            torch.testing.assert_close(seen[-1][name], value, rtol=1e-5, atol=1e-7)
    assert not torch.equal(average["1.0.weight"], method.projector[0].weight.detach().double())
    statistics = dict(method.key.named_buffers())
    assert int(statistics["0.layers.1.num_batches_tracked"]) == 4  # of its own, in train mode
    assert not torch.equal(statistics["0.layers.1.running_mean"], method.backbone.layers[1].running_mean)


def shared_statistics(method: MoCo) -> tuple[set[int], set[int]]:
    """Whose queries, and whose keys, change when image 0 does, of eight."""
    outputs: list[tuple[Tensor, Tensor]] = []
    for shift in (0.0, 1.0):
        copied, views = copy.deepcopy(method), random_views(2, 8, 16)
        views[:, 0] += shift
        queries: list[Tensor] = []
        copied.projector.register_forward_hook(lambda module, given, output, to=queries: to.append(output))
        copied(batch_of(views))
        outputs.append((torch.cat(queries), copied.new))
    (q, k), (q_other, k_other) = outputs
    return ({i for i in range(8) if not torch.allclose(q[i], q_other[i], atol=1e-6)},
            {i for i in range(8) if not torch.allclose(k[i], k_other[i], atol=1e-6)})


def test_queries_and_keys_of_an_image_are_normalised_among_other_images() -> None:
    queries, keys = shared_statistics(small(bn_splits=4))
    assert queries == {0, 1} and len(keys) == 2 and 0 in keys and keys != queries
    assert shared_statistics(small(bn_splits=4, shuffle=False)) == ({0, 1}, {0, 1})
    assert shared_statistics(small()) == (set(range(8)), set(range(8)))


def test_each_step_is_shuffled_anew() -> None:
    method = small(bn_splits=4)
    seen = []
    for _ in range(8):
        seen.append(frozenset(shared_statistics(method)[1]))
        method.draws.count += 1
    assert len(set(seen)) > 2


def test_in_evaluation_mode_nothing_is_shuffled_or_split() -> None:
    method = small(bn_splits=4).eval()
    views = random_views(2, 3, 16)  # which 4 does not divide
    method(batch_of(views))
    torch.testing.assert_close(method.new, method.key(views[1]))
    assert method.draws.count == 0


FIELDS = [{}, {"projector_layers": 2}, {"dictionary": "batch"}, {"shuffle": False}]


def two_steps(fields: dict[str, object], images: int) -> Told:
    return steps_of(small(**fields), lambda step, own: batch_of(random_views(2, images, 16, step)[:, own]), images,
                    sync_bn=False)


@pytest.mark.parametrize("fields", FIELDS)
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_are_the_parts_of_one_process(world: World, ranks: int, fields: dict[str, object]) -> None:
    alone, told = two_steps({**fields, "bn_splits": ranks}, 12), world(ranks, two_steps, {**fields, "bn_splits": 1}, 12)
    assert_alike(alone, told)


def test_it_goes_on_to_the_bit_from_its_state() -> None:
    method = small(bn_splits=2, momentum=0.9)
    trained(method, range(3))
    state = copy.deepcopy(method.state_dict())
    went_on = trained(method, range(3, 6))
    torch.manual_seed(9)
    again = MoCo(method.config, image_px=16)
    again.load_state_dict(state)
    optimizer_state_free = trained(again, range(3, 6))
    assert optimizer_state_free == went_on
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in method.state_dict().items())
    assert int(method.queue.pointer) == 6 * 6 % 24


def test_it_learns_to_tell_images_apart() -> None:
    method, base = small(temperature=0.2, momentum=0.9, queue=64, bn_splits=2), random_views(1, 16, 16)
    optimizer = build_optimizer(method, OptimizerConfig(name="adamw", lr=3e-3, scaling="none", weight_decay=0.0))
    values = []
    for step in range(40):
        values.append(method(batch_of(base + 0.5 * random_views(2, 16, 16, seed=step + 1))))
        learn(method, optimizer, values[-1]["loss"], 3e-3, None, 0.5)
    # The queue holds each image four times, so that of 64 negatives 4 are the image's own: by chance ln 65.
    assert float(values[-1]["loss"].detach()) < 0.7 * math.log(65)


@pytest.mark.parametrize("fields", [{"bn_splits": 2}, {"bn_splits": 2, "dictionary": "batch"}])
def test_in_half_precision_the_loss_and_the_queue_are_in_single_precision(fields: dict[str, object]) -> None:
    whole, half = small(**fields), small(**fields)
    views = batch_of(random_views(2, 6, 16))
    expected = float(whole(views)["loss"].detach())
    with torch.autocast("cpu", torch.bfloat16):
        loss = half(views)["loss"]
    assert half.new.dtype == torch.bfloat16 and loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(expected, rel=0.05)
    loss.backward()
    half.after_step(0.5)
    assert half.queue is None or half.queue.keys.dtype == torch.float32


def test_features_are_the_query_backbones_and_the_embedding_is_the_query() -> None:
    method, images = small().eval(), random_views(1, 3, 16)[0]
    assert method.features(images).shape == (3, method.feature_dim) == (3, 256)
    assert method.encoder is method.backbone and torch.equal(method.features(images), method.backbone(images))
    query = torch.nn.functional.normalize(method.query(images), dim=1)
    assert torch.equal(method.embed(images), query) and query.shape == (3, 8)
    assert method.projection_head is method.projector


def test_what_does_not_fit_is_refused_at_the_first_forward_pass() -> None:
    for fields, images, words in (
            ({}, 5, r"model\.queue=24 needs to be a multiple of batch_size=5, .* use model\.queue=20"),
            ({"bn_splits": 4}, 6, r"model\.bn_splits=4 needs to divide"),
            ({"bn_splits": 4}, 4, r"leaves 1 a part; use batch_size=8"),
            ({"bn_splits": 1}, 6, r"model\.shuffle=true has nobody to shuffle with"),
            ({}, 1, r"batch norm of a single image")):
        with pytest.raises(ValueError, match=words):
            small(**fields)(batch_of(random_views(2, images, 16)))
    with pytest.raises(ValueError, match="moco compares two views, the recipe's group 'global' has 3; use recipe=moco"):
        small()(batch_of(random_views(3, 6, 16)))
    for field, value, words in (("temperature", 0.0, "above 0, got 0"), ("momentum", 1.5, r"in \[0, 1\], got 1\.5"),
                                ("queue", 0, "at least 1, got 0"), ("bn_splits", 0, "at least 1, got 0")):
        with pytest.raises(ValueError, match=rf"model\.{field} needs a .*number.* {words}"):
            MoCoConfig(**{field: value})  # type: ignore[arg-type]
