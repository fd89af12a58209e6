"""EsViT: DINO's loss on views, the loss of regions beside it, two centers, and what it shares with DINO."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from timm.layers import DropPath
from torch import nn
from viewmill.models import METHODS
from viewmill.models.dino import DINO, DINOConfig
from viewmill.models.esvit import EsViT, EsViTConfig
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.overrides import resolve
from viewmill.models.training.schedule import peak_rate
from viewmill.models.training.step import learn

from ..world import World
from .batches import batch_of, random_views
from .collapsing import watched_teacher
from .ranks import Told, assert_alike, steps_of

TINY = {"backbone": "convnet4", "prototypes": 12, "head_hidden": 16, "head_bottleneck": 8, "teacher_temperature": 0.05,
        "teacher_temperature_epochs": 0}
VIT = {**TINY, "backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 12, "depth": 2, "heads": 3, "drop_path": 0.0}
SWIN = {**TINY, "backbone": "swin_tiny_patch4_window7_224", "patch_px": 2, "embed_dim": 24, "window": 4, "drop_path": 0.0}


def small(**fields: object) -> EsViT:
    torch.manual_seed(0)
    return EsViT(EsViTConfig(**{**TINY, **fields}), image_px=32)  # type: ignore[arg-type]


def crops(images: int = 5, local: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    views = {"global": random_views(2, images, 32, seed), "local": random_views(local, images, 24, seed + 100)}
    return views if local else {"global": views["global"]}


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


Seen = list[tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Of each view: logits (B, K), logits of regions (B, T, K), features of regions (B, T, D)."""


def seen(backbone: nn.Module, head: nn.Module, region_head: nn.Module, views: dict[str, torch.Tensor]) -> Seen:
    """convnet4's, one view at a time, by its layers alone."""
    told = []
    with torch.no_grad():
        for view in [view for group in views.values() for view in group]:
            maps = backbone.layers(view)
            regions = maps.flatten(2).transpose(1, 2)
            told.append(tuple(x.double().numpy() for x in (head(maps.mean((2, 3))), region_head(regions), regions)))
    return told


def by_hand(student: Seen, teacher: Seen, centers: list[np.ndarray]) -> dict[str, float]:
    views, regions, q, q_regions = [], [], [], []
    for logits, region_logits, _ in teacher:
        q.append(softmax((logits - centers[0]) / 0.05))
        q_regions.append(softmax((region_logits - centers[1]) / 0.05))
    for i, (_, _, its) in enumerate(teacher):
        for j, (logits, region_logits, mine) in enumerate(student):
            if i == j:
                continue
            views.append(-(q[i] * np.log(softmax(logits / 0.1))).sum(-1).mean())
            of_image = []
            for b in range(len(mine)):
                cosine = (mine[b] @ its[b].T) / np.outer(np.linalg.norm(mine[b], axis=1), np.linalg.norm(its[b], axis=1))
                targets = q_regions[i][b][cosine.argmax(1)]
                of_image.append(-(targets * np.log(softmax(region_logits[b] / 0.1))).sum(-1).mean())
            regions.append(np.mean(of_image))
    most, entropy = math.log(12), lambda x: -(x * np.log(x)).sum(-1)
    found = {"loss": float(0.5 * np.mean(views) + 0.5 * np.mean(regions)), "view_loss": float(np.mean(views)),
             "region_loss": float(np.mean(regions))}
    for prefix, answers in (("", q), ("region_", q_regions)):
        of = float(entropy(np.array(answers)).mean())
        found |= {f"{prefix}teacher_entropy": of / most,
                  f"{prefix}teacher_marginal_entropy": float(entropy(np.array(answers).reshape(-1, 12).mean(0)) / most),
                  f"{prefix}kl": found[f"{prefix or 'view_'}loss"] - of}
    return found


@pytest.mark.parametrize("local", [0, 3])
def test_what_it_returns_and_the_two_centers_that_the_next_step_uses(local: int) -> None:
    method, centers = small().eval(), [np.zeros(12), np.zeros(12)]  # batch norm in evaluation: a view is what it is alone
    for step in range(3):
        views = crops(local=local, seed=step)
        student = seen(method.backbone, method.head, method.region_head, views)
        teacher = seen(method.teacher_backbone, method.teacher_head, method.teacher_region_head, {"global": views["global"]})
        method.training = True  # the method's own mode alone: centers move
        values = {name: float(value.detach()) for name, value in method(batch_of(**views)).items()}
        method.training = False
        assert values == pytest.approx(by_hand(student, teacher, centers), abs=1e-4)
        means = [np.mean([view[kind] for view in teacher], axis=tuple(range(kind + 2))) for kind in (0, 1)]
        centers = [0.9 * center + 0.1 * mean for center, mean in zip(centers, means, strict=True)]
        np.testing.assert_allclose(method.center.numpy(), centers[0], atol=1e-6)
        np.testing.assert_allclose(method.region_center.numpy(), centers[1], atol=1e-6)


def test_published_defaults_are_dinos_but_for_those_of_its_long_runs() -> None:
    mine, dinos = EsViTConfig(), DINOConfig()
    changed = {name: getattr(mine, name) for name in vars(dinos) if getattr(mine, name) != getattr(dinos, name)}
    assert changed == {"backbone": "swin_tiny_patch4_window7_224", "trainable_gain": True, "teacher_temperature": 0.07,
                       "teacher_temperature_epochs": 30}
    assert mine.region_weight == 0.5 and mine.first_teacher_temperature == 0.04
    info = METHODS["esvit"]
    run, recipe = resolve("esvit", ["data=train.tar"], info.published, info.config())
    assert (run.epochs, run.batch_size, recipe.name) == (300, 512, "esvit")
    assert peak_rate(run.optimizer, run.batch_size) == pytest.approx(1e-3)


def test_without_the_regions_weight_it_is_dino() -> None:
    method = small(region_weight=0.0)
    torch.manual_seed(0)
    dino = DINO(DINOConfig(**TINY, trainable_gain=True), image_px=32)  # type: ignore[arg-type]
    for name, weights in dino.state_dict().items():
        assert torch.equal(method.state_dict()[name], weights)
    views = crops()
    expected, found = dino(batch_of(**views)), method(batch_of(**views))
    assert all(float(found[name].detach()) == pytest.approx(float(value.detach()), rel=1e-6) for name, value in expected.items())
    expected["loss"].backward()
    found["loss"].backward()
    for name, p in dino.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(dict(method.named_parameters())[name].grad, p.grad)


@pytest.mark.parametrize("fields", [{}, {"head_norm": True}, VIT, SWIN, {"backbone": "resnet18"}])
def test_gradients_reach_all_of_the_student_and_it_alone(fields: dict[str, object]) -> None:
    method = small(**fields)
    values = method(batch_of(**crops()))
    assert values["loss"].shape == () and not any(v.requires_grad for k, v in values.items() if k != "loss")
    values["loss"].backward()
    learning = {name for name, p in method.named_parameters() if p.grad is not None and bool(p.grad.isfinite().all())}
    assert learning == {name for name, _ in method.named_parameters() if not name.startswith("teacher")}


def test_what_is_published_takes_224_and_96_px() -> None:
    torch.manual_seed(0)
    method = EsViT(EsViTConfig(prototypes=16, head_hidden=16), image_px=224)
    rates = [m.drop_prob for m in method.backbone.modules() if isinstance(m, DropPath)]
    assert max(rates) == pytest.approx(0.1) and not any(isinstance(m, DropPath) for m in method.teacher_backbone.modules())
    views = {"global": random_views(2, 1, 224), "local": random_views(2, 1, 96)}
    with torch.no_grad():
        values = method(batch_of(**views))
    assert bool(torch.stack(list(values.values())).isfinite().all())


def test_the_head_of_regions_is_held_and_followed_like_the_other() -> None:
    method = small(frozen_epochs=1)
    optimizer = build_optimizer(method, OptimizerConfig(name="adamw", lr=0.1, scaling="none", weight_decay=0.4))
    first = copy.deepcopy(method.state_dict())
    for epoch, held in ((0.5, True), (1, False)):
        method.before_step(epoch)
        learn(method, optimizer, method(batch_of(**crops()))["loss"], 0.1, 3.0, 0.5, clip_mode="per-tensor")
        for head in ("head", "region_head"):
            assert torch.equal(method.state_dict()[f"{head}.prototypes.direction"], first[f"{head}.prototypes.direction"]) == held
    before = copy.deepcopy(method.state_dict())
    method.after_step(0.5)  # 1 - 0.004 * (1 + cos(pi / 2)) / 2
    for name, value in method.named_parameters():
        if name.startswith("teacher_"):
            student = before[name.removeprefix("teacher_")]
            torch.testing.assert_close(value, 0.998 * before[name] + 0.002 * student, rtol=1e-5, atol=1e-7)


def images_of(views: dict[str, torch.Tensor], which: slice) -> dict[str, torch.Tensor]:
    return {name: view[:, which] for name, view in views.items()}


def steps(fields: dict[str, object], images: int) -> Told:
    method = small(**fields)
    return steps_of(method, lambda step, which: batch_of(**images_of(crops(images, 2, step), which)), images)


@pytest.mark.parametrize(("ranks", "images"), [(2, 5), (3, 7)])
@pytest.mark.parametrize("fields", [VIT, SWIN], ids=["vit", "swin"])
def test_ranks_together_learn_as_one_process(world: World, ranks: int, images: int, fields: dict[str, object]) -> None:
    fields = {**fields, "frozen_epochs": 0}
    assert_alike(steps(fields, images), world(ranks, steps, fields, images))


def test_features_embeddings_and_encoder_are_the_teachers() -> None:
    method = small().eval()
    method.backbone.apply(lambda m: nn.init.zeros_(m.weight) if isinstance(m, nn.Conv2d) else None)
    images = random_views(1, 3, 32)[0]
    features = method.features(images)
    assert method.encoder is method.teacher_backbone and torch.equal(features, method.teacher_backbone(images))
    torch.testing.assert_close(method.embed(images), nn.functional.normalize(method.teacher_head.mlp(features), dim=1))


def test_in_evaluation_mode_both_centers_stay() -> None:
    method = small().eval()
    method(batch_of(**crops()))
    assert float(method.center.abs().sum()) == 0 == float(method.region_center.abs().sum())


def test_built_it_is_in_train_mode_as_dino_is() -> None:
    method = small(backbone="resnet18")
    assert all(part.training for part in method.modules())
    assert all(int(m.num_batches_tracked) == 0 for m in method.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize("centering", [True, False])
def test_health_tells_of_the_collapse_that_centering_prevents(centering: bool) -> None:
    torch.manual_seed(0)
    fields = {**TINY, "prototypes": 64, "head_hidden": 64, "head_bottleneck": 32, "teacher_temperature": 0.04, "frozen_epochs": 0,
              "teacher_momentum": 0.9, "trainable_gain": False}
    method = EsViT(EsViTConfig(**fields, centering=centering), image_px=16)  # type: ignore[arg-type]
    said, row = watched_teacher(method, noise=0.8)
    if centering:
        assert said is None and min(row["teacher_marginal_entropy"], row["region_teacher_marginal_entropy"]) > 0.2
    else:
        assert said is not None and "to one prototype" in said
        assert max(row["teacher_marginal_entropy"], row["region_teacher_marginal_entropy"]) < 0.1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="esvit compares views of an image, the recipe has 1; use recipe=esvit"):
        small()(batch_of(random_views(1, 2, 32)))
    with pytest.raises(ValueError, match="backbone MobileNetV3 has no regions with features as wide as an image's"):
        small(backbone="mobilenetv3_small_050")
    for field, value, words in (("region_weight", 1.5, r"number in \[0, 1\], got 1\.5"), ("window", 0, "at least 1, got 0"),
                                ("prototypes", 1, "at least 2, got 1")):
        with pytest.raises(ValueError, match=rf"model\.{field} needs a .*{words}"):
            EsViTConfig(**{field: value})  # type: ignore[arg-type]

