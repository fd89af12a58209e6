"""DINO: who sees what, its temperature, momentum and center, its frozen layer, and what keeps it from collapse."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from timm.layers import DropPath
from torch import nn
from viewmill.models.dino import DINO, DINOConfig
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn

from ..world import World
from .batches import batch_of, random_views
from .collapsing import watched_teacher

TINY = {"backbone": "convnet4", "prototypes": 12, "head_hidden": 16, "head_bottleneck": 8}
TINY_VIT = {**TINY, "backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 12, "depth": 2, "heads": 3, "drop_path": 0.0}


def small(**fields: object) -> DINO:
    torch.manual_seed(0)
    return DINO(DINOConfig(**{**TINY, **fields}), image_px=16)  # type: ignore[arg-type]


def crops(images: int = 5, local: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    views = {"global": random_views(2, images, 16, seed), "local": random_views(local, images, 8, seed + 100)}
    return views if local else {"global": views["global"]}


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def logits_of(method: DINO, views: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Student's (V, B, K) and teacher's (2, B, K) logits in float64, of copies, so that nothing in the method changes."""
    method = copy.deepcopy(method)
    with torch.no_grad():
        student = method.head(torch.cat([method.backbone(v.flatten(0, 1)) for v in views.values()]))
        teacher = method.teacher_head(method.teacher_backbone(views["global"].flatten(0, 1)))
    images = views["global"].shape[1]
    return (student.unflatten(0, (-1, images)).double().numpy(), teacher.unflatten(0, (2, images)).double().numpy())


def by_hand(student: np.ndarray, teacher: np.ndarray, center: np.ndarray, teacher_t: float) -> dict[str, float]:
    q, p = softmax((teacher - center) / teacher_t), softmax(student / 0.1)
    pairs = [(i, j) for i in range(2) for j in range(len(p)) if i != j]
    entropy = lambda x: -(x * np.log(x)).sum(-1)  # noqa: E731
    most = math.log(q.shape[-1])
    return {"loss": float(np.mean([-(q[i] * np.log(p[j])).sum(-1) for i, j in pairs])),
            "kl": float(np.mean([(q[i] * np.log(q[i] / p[j])).sum(-1) for i, j in pairs])),
            "teacher_entropy": float(entropy(q).mean() / most),
            "teacher_marginal_entropy": float(entropy(q.mean((0, 1))) / most)}


def test_published_defaults() -> None:
    c = DINOConfig()
    assert (c.backbone, c.prototypes, c.head_hidden, c.head_bottleneck) == ("vit_small_patch16_224", 65536, 2048, 256)
    assert (c.student_temperature, c.first_teacher_temperature, c.teacher_temperature, c.teacher_temperature_epochs) == (
        0.1, 0.04, 0.04, 0)
    assert (c.center_momentum, c.teacher_momentum, c.frozen_epochs) == (0.9, 0.996, 1)
    assert c.centering and not c.trainable_gain and not c.head_norm


@pytest.mark.parametrize("local", [0, 3])
def test_what_it_returns_and_the_center_that_the_next_step_uses(local: int) -> None:
    method, center = small(teacher_temperature=0.05), np.zeros(12)
    for step in range(3):
        views = crops(local=local, seed=step)
        student, teacher = logits_of(method, views)
        values = {name: float(value.detach()) for name, value in method(batch_of(**views)).items()}
        assert values == pytest.approx(by_hand(student, teacher, center, 0.05), abs=1e-4)
        center = 0.9 * center + 0.1 * teacher.mean((0, 1))
        np.testing.assert_allclose(method.center.numpy(), center, atol=1e-6)


def test_each_size_is_one_pass_the_head_sees_all_views_and_the_teacher_the_global_ones() -> None:
    method = small(head_norm=True)
    seen: dict[str, list[tuple[int, ...]]] = {}
    for name in ("backbone", "head", "teacher_backbone", "teacher_head"):
        getattr(method, name).register_forward_pre_hook(
            lambda module, given, name=name: seen.setdefault(name, []).append((len(given[0]), *given[0].shape[3:])))
    method(batch_of(**crops(images=5, local=4)))
    assert seen == {"backbone": [(10, 16), (20, 8)], "head": [(30,)], "teacher_backbone": [(10, 16)], "teacher_head": [(10,)]}
    statistics = [m for m in method.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert all(int(m.num_batches_tracked) > 0 for m in statistics)  # the teacher's too: it stays in train mode


def test_teacher_and_student_begin_alike_and_gradients_reach_the_student_alone() -> None:
    method = small()
    for teacher, student in ((method.teacher_backbone, method.backbone), (method.teacher_head, method.head)):
        assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), student.parameters(), strict=True))
    values = method(batch_of(**crops()))
    assert values["loss"].shape == () and not any(v.requires_grad for k, v in values.items() if k != "loss")
    values["loss"].backward()
    held = {name for name, p in method.named_parameters() if not p.requires_grad}
    assert held == {name for name, _ in method.named_parameters() if name.startswith("teacher")} | {"head.prototypes.gain"}
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []
    assert small(trainable_gain=True).head.prototypes.gain.requires_grad


def test_the_teachers_temperature_rises_epoch_by_epoch() -> None:
    method = small(first_teacher_temperature=0.04, teacher_temperature=0.07, teacher_temperature_epochs=4)
    for epoch, temperature in ((0, 0.04), (0.99, 0.04), (1, 0.05), (2.5, 0.06), (3, 0.07), (4, 0.07), (50, 0.07)):
        method.before_step(epoch)
        assert method.teacher_temperature == pytest.approx(temperature)
    method.before_step(2)
    views = crops()
    expected = by_hand(*logits_of(method, views), np.zeros(12), 0.06)
    assert float(method(batch_of(**views))["loss"].detach()) == pytest.approx(expected["loss"], abs=1e-4)
    at_once = small(first_teacher_temperature=0.04, teacher_temperature=0.07, teacher_temperature_epochs=1)
    assert at_once.teacher_temperature == 0.04  # of one epoch of warm-up, the first value is all
    at_once.before_step(1)
    assert at_once.teacher_temperature == 0.07
    assert small().teacher_temperature == 0.04


@pytest.mark.parametrize(("progress", "momentum"), [(1e-9, 0.9), (1 / 3, 0.925), (0.5, 0.95), (2 / 3, 0.975), (1.0, 1.0)])
def test_the_teacher_follows_with_a_momentum_that_rises_to_one(progress: float, momentum: float) -> None:
    # 1 - 0.1 * (1 + cos(pi * progress)) / 2
    method = small(teacher_momentum=0.9)
    before = copy.deepcopy(method.state_dict())
    with torch.no_grad():
        for name, p in method.named_parameters():
            if not name.startswith("teacher"):
                p.add_(1)
    method.after_step(progress)
    for name, p in method.named_parameters():
        if name.startswith("teacher"):
            torch.testing.assert_close(p, before[name] + 1 - momentum)
    assert all(torch.equal(b, before[name]) for name, b in method.named_buffers())


def trained(method: DINO, epoch: float) -> dict[str, torch.Tensor]:
    """The weights after one step of a run in that epoch, at a high rate and decay."""
    of = OptimizerConfig(name="adamw", lr=0.1, scaling="none", weight_decay=0.4)
    method.before_step(epoch)
    learn(method, build_optimizer(method, of), method(batch_of(**crops()))["loss"], 0.1, 3.0, 0.5, clip_mode="per-tensor")
    return copy.deepcopy(method.state_dict())


def test_the_prototypes_are_held_in_their_first_epochs_under_decay_too() -> None:
    method = small(frozen_epochs=2, trainable_gain=True)
    first = copy.deepcopy(method.state_dict())
    for epoch in (0, 0.5, 1.99):
        now = trained(method, epoch)
        assert torch.equal(now["head.prototypes.direction"], first["head.prototypes.direction"])
        assert torch.equal(now["head.prototypes.gain"], first["head.prototypes.gain"])
        assert not torch.equal(now["head.mlp.0.weight"], first["head.mlp.0.weight"])
    now = trained(method, 2)
    assert not torch.equal(now["head.prototypes.direction"], first["head.prototypes.direction"])
    assert not torch.equal(now["head.prototypes.gain"], first["head.prototypes.gain"])
    free = small(frozen_epochs=0)
    assert not torch.equal(trained(free, 0)["head.prototypes.direction"], first["head.prototypes.direction"])


def drop_rates(module: nn.Module) -> list[float]:
    return [m.drop_prob for m in module.modules() if isinstance(m, DropPath)]


def test_stochastic_depth_is_the_students_alone() -> None:
    method = small(**{**TINY_VIT, "drop_path": None})
    assert drop_rates(method.backbone) == [0.1, 0.1] and drop_rates(method.teacher_backbone) == []
    assert drop_rates(small(**{**TINY_VIT, "drop_path": 0.3}).backbone) == [0.3, 0.3]
    assert drop_rates(small(**TINY_VIT)) == []
    assert drop_rates(small(backbone="resnet18")) == [] and drop_rates(small(backbone="resnet18", drop_path=0.2)) != []
    # timm gives a Swin 0.1 unasked, its teacher would have it too.
    swin = DINO(DINOConfig(**{**TINY, "backbone": "swin_tiny_patch4_window7_224", "drop_path": 0.2}), image_px=224)
    assert max(drop_rates(swin.backbone)) == pytest.approx(0.2) and drop_rates(swin.teacher_backbone) == []
    with pytest.raises(ValueError, match="ConvNet4 has no residual branches that drop path could leave out"):
        small(drop_path=0.1)


def test_first_weights() -> None:
    vit = small(**{**TINY_VIT, "embed_dim": 192}).backbone
    for weights in (vit.cls_token, vit.pos_embed, vit.blocks[0].attn.qkv.weight):
        assert float(weights.detach().std()) == pytest.approx(0.02, rel=0.2)
    resnet = small(backbone="resnet18").backbone
    assert all((block.bn2.weight == 1).all() for block in resnet.layer1)


@pytest.mark.parametrize("fields", [TINY_VIT, {"backbone": "resnet18"}, {"backbone": "convnet4", "head_norm": True}])
def test_any_of_these_backbones_learns_from_all_sizes(fields: dict[str, object]) -> None:
    method = small(**fields)
    method(batch_of(**crops()))["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []


def test_features_and_embeddings_are_the_teachers() -> None:
    method = small().eval()
    method.backbone.apply(lambda m: nn.init.zeros_(m.weight) if isinstance(m, nn.Conv2d) else None)
    images = random_views(1, 3, 16)[0]
    features = method.features(images)
    assert method.encoder is method.teacher_backbone
    assert features.shape == (3, method.feature_dim) and torch.equal(features, method.teacher_backbone(images))
    embedded = method.embed(images)
    assert embedded.shape == (3, 8)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(embedded, nn.functional.normalize(method.teacher_head.mlp(features), dim=1))


def test_in_evaluation_mode_the_center_stays() -> None:
    method = small().eval()
    method(batch_of(**crops()))
    assert float(method.center.abs().sum()) == 0


def steps_of_ranks(parts: tuple[int, ...]) -> tuple[list[float], list[torch.Tensor], torch.Tensor]:
    """Two forward passes, the second with the center of the first: its values, the gradients as DDP leaves them, the center."""
    method = small(**TINY_VIT)
    model = nn.parallel.DistributedDataParallel(method)
    start, stop = sum(parts[: dist.get_rank()]), sum(parts[: dist.get_rank() + 1])
    for seed in (0, 1):
        model.zero_grad()
        values = model(batch_of(**{k: v[:, start:stop] for k, v in crops(sum(parts), 2, seed).items()}))
        values["loss"].backward()
    return ([float(v.detach()) for v in values.values()], [p.grad for p in method.parameters() if p.grad is not None],
            method.center)


@pytest.mark.parametrize("parts", [(3, 5), (2, 4, 1)])
def test_ranks_together_have_the_values_gradient_and_center_of_the_whole_batch(world: World, parts: tuple[int, ...]) -> None:
    method = small(**TINY_VIT)
    for seed in (0, 1):
        method.zero_grad()
        values = method(batch_of(**crops(sum(parts), 2, seed)))
        values["loss"].backward()
    expected = torch.tensor([float(v.detach()) for v in values.values()])
    told = world(len(parts), steps_of_ranks, parts)
    torch.testing.assert_close(torch.tensor([of for of, _, _ in told]).mean(0), expected, rtol=1e-5, atol=1e-6)
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    assert float(method.center.abs().sum()) > 0 and float(gradients[0].abs().sum()) > 0
    for _, of_rank, center in told:
        torch.testing.assert_close(center, method.center, rtol=1e-5, atol=1e-7)
        for mine, gradient in zip(gradients, of_rank, strict=True):
            torch.testing.assert_close(gradient, mine, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("fields", "entropy", "marginal"), [
    ({}, (0.0, 0.1), (0.2, 0.9)),  # each image sure of one prototype, and not all of the same
    ({"centering": False}, (0.0, 0.01), (0.0, 0.01)),  # one prototype for all
    ({"teacher_temperature": 1.0}, (0.99, 1.0), (0.99, 1.0)),  # nothing sharpens: all prototypes alike for all
])
def test_centering_and_sharpening_each_prevent_the_collapse_that_the_other_brings(
        fields: dict[str, object], entropy: tuple[float, float], marginal: tuple[float, float]) -> None:
    method, base = small(frozen_epochs=0, teacher_momentum=0.9, **fields), random_views(1, 32, 16)
    optimizer = build_optimizer(method, OptimizerConfig(name="adamw", lr=3e-3, scaling="none", weight_decay=0.0))
    for step in range(60):
        values = method(batch_of(base + 0.5 * random_views(2, 32, 16, seed=step + 1)))
        learn(method, optimizer, values["loss"], 3e-3, 3.0, 1e-6, clip_mode="per-tensor")
    assert entropy[0] <= float(values["teacher_entropy"]) <= entropy[1] + 1e-6
    assert marginal[0] <= float(values["teacher_marginal_entropy"]) <= marginal[1] + 1e-6


@pytest.mark.parametrize("centering", [True, False])
def test_health_tells_of_the_collapse_that_centering_prevents(centering: bool) -> None:
    method = small(prototypes=64, head_hidden=64, head_bottleneck=32, frozen_epochs=0, teacher_momentum=0.9, centering=centering)
    said, row = watched_teacher(method, noise=0.9)
    if centering:
        assert said is None and row["teacher_marginal_entropy"] > 0.2 and row["embed_rankme"] > 5
    else:
        assert said is not None and "the teacher gives all images to one prototype" in said
        assert row["teacher_marginal_entropy"] < 0.1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="dino compares views of an image, the recipe has 1; use recipe=dino"):
        small()(batch_of(random_views(1, 2, 16)))
    closed = DINO(DINOConfig(**{**TINY, "backbone": "swinv2_cr_tiny_224"}), image_px=32)
    with pytest.raises(ValueError, match="SwinTransformerV2Cr takes no views of 16 x 16 px"), torch.no_grad():
        closed(batch_of(random_views(2, 1, 32), local=random_views(1, 1, 16)))
    for field, value, words in (
            ("prototypes", 1, "at least 2, got 1"), ("head_hidden", 0, "at least 1, got 0"), ("depth", 0, "at least 1, got 0"),
            ("student_temperature", 0.0, "above 0, got 0"), ("teacher_momentum", 1.5, r"in \[0, 1\], got 1\.5"),
            ("center_momentum", -0.1, r"in \[0, 1\], got -0\.1"), ("frozen_epochs", -1, "at least 0, got -1")):
        with pytest.raises(ValueError, match=rf"model\.{field} needs a .*number.* {words}"):
            DINOConfig(**{field: value})  # type: ignore[arg-type]
