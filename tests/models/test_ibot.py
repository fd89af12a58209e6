"""iBOT: what is named of views and of hidden patches, by loops in float64, its two centers, its three kinds of head, what it
shares with DINO, on ranks, and what tells of a collapse."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from viewmill.augment import presets
from viewmill.models import method_info
from viewmill.models.dino import DINO, DINOConfig
from viewmill.models.ibot import IBOT, IBOTConfig
from viewmill.models.masked_crops import tokens_of
from viewmill.models.pictured import Pictured, Shown
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn
from viewmill.models.vit import positions
from viewmill.pipelines.batch import Batch

from ..world import World
from .batches import batch_of, random_views
from .collapsing import watched_teacher
from .multiplications import multiplications
from .ranks import Told, assert_alike, steps_of

TINY = {"backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 12, "depth": 2, "heads": 3, "drop_path": 0.0,
        "prototypes": 10, "head_hidden": 16, "head_bottleneck": 8, "teacher_temperature": 0.05, "teacher_temperature_epochs": 0}


def small(image_px: int = 16, **fields: object) -> IBOT:
    torch.manual_seed(0)
    return IBOT(IBOTConfig(**{**TINY, **fields}), image_px=image_px)  # type: ignore[arg-type]


def stirred(**fields: object) -> IBOT:
    """A student that is not its teacher any more, and a mask vector that is not zero."""
    method = small(**fields)
    with torch.no_grad():
        method.mask_token.normal_()
        for teacher, _ in method.followers:
            for parameter in teacher.parameters():
                parameter.add_(0.3 * parameter.std().nan_to_num() * torch.randn_like(parameter))
    return method


def crops(images: int = 5, local: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    views = {"global": random_views(2, images, 16, seed), "local": random_views(local, images, 8, seed + 100)}
    return views if local else {"global": views["global"]}


def uneven(images: int, seed: int = 0) -> np.ndarray:
    """(2, images, 4, 4) bool: of another number of patches each, at times of none."""
    rng = np.random.default_rng(seed)
    rank = rng.random((2, images, 16)).argsort(-1).argsort(-1)
    return (rank < rng.permutation(np.arange(2 * images) % 6).reshape(2, images, 1)).reshape(2, images, 4, 4)


def batch(images: int = 5, local: int = 3, seed: int = 0, which: slice = slice(None)) -> Batch:
    return batch_of(masks=uneven(images, seed)[:, which], **{name: v[:, which] for name, v in crops(images, local, seed).items()})


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def tokens(vit: Any, images: torch.Tensor, token: torch.Tensor | None = None, mask: np.ndarray | None = None) -> torch.Tensor:
    """By the network's parts, one patch after the other replaced."""
    x = vit.patch_embed(images).clone()
    for image, place in zip(*np.nonzero(mask.reshape(len(images), -1)), strict=True) if mask is not None else ():
        x[image, place] = token
    x = torch.cat([vit.cls_token.expand(len(x), -1, -1), x], 1) + positions(vit, images.shape[2] // 4, images.shape[3] // 4)
    for block in vit.blocks:
        x = block(x)
    out: torch.Tensor = vit.norm(x)
    return out


Seen = tuple[np.ndarray, np.ndarray]
"""Logits of views (V, B, K), and of patches of the global ones (2, B, L, K)."""


def logits_of(method: IBOT, views: dict[str, torch.Tensor], masks: np.ndarray) -> tuple[Seen, Seen]:
    """The student's and the teacher's, one view at a time, of a copy."""
    method = copy.deepcopy(method)
    own = {"shared": (method.head.prototypes, method.teacher_head.prototypes),
           "student": (method.patch_prototypes, method.teacher_head.prototypes),
           "own": (method.patch_prototypes, method.teacher_patch_prototypes)}[method.config.patch_head]
    first, patches, its_first, its_patches = [], [], [], []
    with torch.no_grad():
        for view, mask in zip(views["global"], masks, strict=True):
            x, its = tokens(method.backbone, view, method.mask_token[0, 0], mask), tokens(method.teacher_backbone, view)
            first.append(method.head(x[:, 0]))
            patches.append(own[0](method.head.bottleneck(x[:, 1:])))  # type: ignore[misc]
            its_first.append(method.teacher_head(its[:, 0]))
            its_patches.append(own[1](method.teacher_head.bottleneck(its[:, 1:])))  # type: ignore[misc]
        first += [method.head(tokens(method.backbone, view)[:, 0]) for view in views.get("local", ())]
    return tuple(tuple(torch.stack(each).double().numpy() for each in pair)  # type: ignore[return-value]
                 for pair in ((first, patches), (its_first, its_patches)))


def by_hand(student: Seen, teacher: Seen, masks: np.ndarray, centers: list[np.ndarray]) -> dict[str, float]:
    q, q_patch = softmax((teacher[0] - centers[0]) / 0.05), softmax((teacher[1] - centers[1]) / 0.05)
    p, p_patch, mask = softmax(student[0] / 0.1), softmax(student[1] / 0.1), masks.reshape(2, masks.shape[1], -1)
    of_views = np.mean([-(q[i] * np.log(p[j])).sum(-1) for i in range(2) for j in range(len(p)) if i != j])
    of_images, costs, said = [], [], []
    for view in range(2):
        for image in range(mask.shape[1]):
            places = np.flatnonzero(mask[view, image])
            cost = [-(q_patch[view, image, place] * np.log(p_patch[view, image, place])).sum() for place in places]
            of_images.append(sum(cost) / max(len(places), 1))
            costs += cost
            said += [q_patch[view, image, place] for place in places]
    found, most, entropy = {"loss": float(of_views + np.mean(of_images)), "view_loss": float(of_views),
                            "patch_loss": float(np.mean(of_images))}, math.log(10), lambda x: -(x * np.log(x)).sum(-1)
    for prefix, answers, cost in (("", q.reshape(-1, 10), of_views), ("patch_", np.array(said), np.mean(costs))):
        found |= {f"{prefix}teacher_entropy": float(entropy(answers).mean() / most),
                  f"{prefix}teacher_marginal_entropy": float(entropy(answers.mean(0)) / most),
                  f"{prefix}kl": float(cost - entropy(answers).mean())}
    return found


@pytest.mark.parametrize("patch_head", ["shared", "student", "own"])
@pytest.mark.parametrize("local", [0, 3])
def test_what_it_returns_and_the_two_centers_that_the_next_step_uses(local: int, patch_head: str) -> None:
    method, centers = stirred(patch_head=patch_head), [np.zeros(10), np.zeros(10)]
    for step in range(3):
        views, masks = crops(local=local, seed=step), uneven(5, step)
        student, teacher = logits_of(method, views, masks)
        values = {name: float(value.detach()) for name, value in method(batch(local=local, seed=step)).items()}
        assert values == pytest.approx(by_hand(student, teacher, masks, centers), abs=1e-4)
        # The patches' over all of them, masked or not.
        means = [teacher[0].mean((0, 1)), teacher[1].mean((0, 1, 2))]
        centers = [0.9 * center + 0.1 * mean for center, mean in zip(centers, means, strict=True)]
        np.testing.assert_allclose(method.center.numpy(), centers[0], atol=1e-6)
        np.testing.assert_allclose(method.patch_center.numpy(), centers[1], atol=1e-6)


def test_published_defaults() -> None:
    mine, dinos = IBOTConfig(), DINOConfig()
    changed = {name: getattr(mine, name) for name in vars(dinos) if getattr(mine, name) != getattr(dinos, name)}
    assert changed == {"prototypes": 8192, "trainable_gain": True, "teacher_temperature": 0.07, "teacher_temperature_epochs": 30}
    assert (mine.patch_head, mine.patch_weight) == ("shared", 1.0) and mine.backbone == "vit_small_patch16_224"


def test_the_published_networks_by_their_formulas() -> None:
    head = 768 * 2048 + 2048 + 2048**2 + 2048 + 2048 * 256 + 256 + 8192 * 256 + 8192
    with torch.device("meta"):
        method = IBOT(method_info("ibot").config(backbone="vit_base_patch16_224"), image_px=224)
        count = lambda *parts: sum(p.numel() for part in parts for p in part.parameters())  # noqa: E731
        assert count(method.backbone) == 85_798_656 and count(method.head) == head
        assert count(method) == 2 * (85_798_656 + head) + 768  # the mask vector is the student's alone
        own = IBOT(method_info("ibot").config(patch_head="own"), image_px=224)
        assert count(own.patch_prototypes) == 8192 * 257 == count(own.teacher_patch_prototypes)  # type: ignore[arg-type]


def test_the_published_cost() -> None:
    # GMAC of an image, 12 N D^2 + 2 N^2 D of each of 12 blocks: the student's 2 global and 10 local views, the teacher's 2.
    with torch.device("meta"):
        vit = IBOT(IBOTConfig(), image_px=224).backbone
        whole, part = (torch.zeros(count, 3, side, side) for count, side in ((2, 224), (10, 96)))
    token, mask = vit.cls_token, torch.zeros(2, 196, dtype=torch.bool, device="meta")

    def student() -> None:
        tokens_of(vit, whole, token, mask)  # type: ignore[arg-type]
        tokens_of(vit, part)

    assert multiplications(vit, student) / 1e9 == pytest.approx(17.1, rel=0.01)
    assert multiplications(vit, lambda: tokens_of(vit, whole)) / 1e9 == pytest.approx(9.1, rel=0.01)


def test_the_student_begins_as_the_teacher_with_a_mask_vector_of_zeros_that_is_its_own() -> None:
    method = small(patch_head="own")
    assert float(method.mask_token.detach().abs().sum()) == 0
    assert len(method.followers) == 3
    for teacher, student in method.followers:
        assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), student.parameters(), strict=True))
    method(batch())["loss"].backward()
    learning = {name for name, p in method.named_parameters() if p.grad is not None and float(p.grad.abs().sum()) > 0}
    assert learning == {name for name, _ in method.named_parameters() if not name.startswith("teacher")}


@pytest.mark.parametrize("patch_head", ["shared", "student", "own"])
def test_the_head_is_asked_of_views_and_masked_patches_alone(patch_head: str) -> None:
    method, rows = small(patch_head=patch_head), []
    for prototypes in {method.head.prototypes, method.prototypes_of_patches}:
        prototypes.register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
    method(batch())
    assert sorted(rows) == sorted([2 * 5 + 3 * 5, int(uneven(5).sum())])


def test_the_student_does_not_see_what_is_hidden_and_the_teacher_does() -> None:
    views, masks = crops(), uneven(5)
    hidden = torch.from_numpy(masks.repeat(4, 2).repeat(4, 3))[:, :, None]
    told: list[list[torch.Tensor]] = []
    for whole in (views["global"], torch.where(hidden, 3.0, views["global"])):
        method, made = stirred(), []
        for head in (method.head.mlp, method.teacher_head.mlp):
            head.register_forward_hook(lambda module, given, out, made=made: made.append(out.detach()))
        method(batch_of(masks=masks, **{**views, "global": whole}))
        told.append(made)
    views_of, patches_of, its_views, its_patches = range(4)
    assert torch.equal(told[0][views_of], told[1][views_of]) and torch.equal(told[0][patches_of], told[1][patches_of])
    assert not torch.allclose(told[0][its_views], told[1][its_views])
    assert not torch.allclose(told[0][its_patches], told[1][its_patches])


def test_without_masks_and_the_patches_weight_it_is_dino() -> None:
    method = small(patch_weight=0.0)
    torch.manual_seed(0)
    dino = DINO(DINOConfig(**TINY, trainable_gain=True), image_px=16)  # type: ignore[arg-type]
    for name, weights in dino.state_dict().items():
        assert torch.equal(method.state_dict()[name], weights)
    views = crops()
    expected, found = dino(batch_of(**views)), method(batch_of(masks=np.zeros((2, 5, 4, 4), bool), **views))
    assert all(float(found[name].detach()) == pytest.approx(float(value.detach()), rel=1e-6) for name, value in expected.items())
    expected["loss"].backward()
    found["loss"].backward()
    for name, p in dino.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(dict(method.named_parameters())[name].grad, p.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("patch_head", ["shared", "own"])
def test_a_batch_without_a_mask_costs_patches_nothing_and_leaves_no_gradient_out(patch_head: str) -> None:
    method = small(patch_head=patch_head)
    values = method(batch_of(masks=np.zeros((2, 5, 4, 4), bool), **crops()))
    assert float(values["patch_loss"]) == 0 and math.isnan(float(values["patch_kl"]))
    values["loss"].backward()
    assert bool(values["loss"].isfinite()) and bool(method.patch_center.isfinite().all())
    # Ranks wait for each other's gradients: each has one, if of zeros.
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []
    assert float(method.mask_token.grad.abs().sum()) == 0


def test_prototypes_of_patches_are_held_and_followed_like_the_others() -> None:
    for patch_head in ("student", "own"):
        method = small(patch_head=patch_head, frozen_epochs=1)
        optimizer = build_optimizer(method, OptimizerConfig(name="adamw", lr=0.1, scaling="none", weight_decay=0.4))
        first = copy.deepcopy(method.state_dict())
        for epoch, held in ((0.5, True), (1, False)):
            method.before_step(epoch)
            learn(method, optimizer, method(batch())["loss"], 0.1, 3.0, 0.5, clip_mode="per-tensor")
            for name in ("head.prototypes.direction", "patch_prototypes.direction", "patch_prototypes.gain"):
                assert torch.equal(method.state_dict()[name], first[name]) == held
    before = copy.deepcopy(method.state_dict())
    method.after_step(0.5)  # 1 - 0.004 * (1 + cos(pi / 2)) / 2
    name = "patch_prototypes.direction"
    torch.testing.assert_close(method.state_dict()[f"teacher_{name}"], 0.998 * before[f"teacher_{name}"] + 0.002 * before[name])


def test_the_mask_vector_decays_like_any_weight() -> None:
    method = small()
    groups = build_optimizer(method, OptimizerConfig(name="adamw", lr=1.0, scaling="none", weight_decay=0.4)).param_groups
    decaying = {id(p) for group in groups if group["weight_decay"] == 0.4 for p in group["params"]}
    assert {id(method.mask_token), id(method.backbone.pos_embed), id(method.backbone.cls_token)} <= decaying


def test_features_embeddings_and_encoder_are_the_teachers_of_all_patches() -> None:
    method, images = stirred().eval(), random_views(1, 3, 16)[0]
    features = method.features(images)
    assert method.encoder is method.teacher_backbone
    torch.testing.assert_close(features, tokens(method.teacher_backbone, images)[:, 0])
    torch.testing.assert_close(method.embed(images), nn.functional.normalize(method.teacher_head.mlp(features), dim=1))


def test_in_evaluation_mode_both_centers_stay() -> None:
    method = small().eval()
    method(batch())
    assert float(method.center.abs().sum()) == 0 == float(method.patch_center.abs().sum())


def test_pictures_show_what_teacher_and_student_name_patches() -> None:
    recipe, method = presets.recipe("ibot_2x32"), small(image_px=32).eval()
    masks = np.random.default_rng(0).random((2, 3, 8, 8)) < 0.3
    shown = Shown(batch_of(random_views(2, 3, 32), masks), recipe)
    with torch.no_grad():
        columns = method.pictures(shown)
    assert isinstance(method, Pictured) and list(columns) == ["original", "teacher's tokens", "masked", "student's tokens"]
    assert columns["teacher's tokens"].shape == (3, 3, 8, 8)
    # Untrained, it names what it sees as its teacher does only where nothing is hidden of an image.
    clear = Shown(batch_of(random_views(2, 3, 32), np.zeros_like(masks)), recipe)
    with torch.no_grad():
        columns = method.pictures(clear)
    assert torch.equal(columns["teacher's tokens"], columns["student's tokens"])


def steps(fields: dict[str, object], images: int) -> Told:
    method = small(**fields)
    return steps_of(method, lambda step, which: batch(images, 2, step, which), images)


@pytest.mark.parametrize(("ranks", "images"), [(2, 5), (3, 7)])
@pytest.mark.parametrize("patch_head", ["shared", "own"])
def test_ranks_with_different_numbers_of_masked_patches_are_the_parts_of_one_process(
        world: World, ranks: int, images: int, patch_head: str) -> None:
    fields = {"patch_head": patch_head, "frozen_epochs": 0}
    assert_alike(steps(fields, images), world(ranks, steps, fields, images))


def blocks(step: int, images: int = 64) -> np.ndarray:
    """Of every other image of a view some patches."""
    masks = np.random.default_rng(step).random((2, images, 4, 4)) < 0.3
    masks[:, ::2] = False
    return masks


@pytest.mark.parametrize("centering", [True, False])
def test_health_tells_of_the_collapse_of_patches_that_centering_prevents(centering: bool) -> None:
    method = small(embed_dim=48, prototypes=64, head_hidden=64, head_bottleneck=32, teacher_temperature=0.04, frozen_epochs=0,
                   teacher_momentum=0.9, trainable_gain=False, centering=centering)
    # The class token of so small an untrained network hardly looks at images: its embeddings are alike either way.
    said, row = watched_teacher(method, noise=0.5, masks=blocks)
    if centering:
        assert row["patch_teacher_marginal_entropy"] > 0.2 and row["patch_kl"] > 0.1
    else:
        assert said is not None and max(row["teacher_marginal_entropy"], row["patch_teacher_marginal_entropy"]) < 0.1


def test_it_learns_to_name_what_is_hidden() -> None:
    # Stripes of one direction each: a hidden patch is known from its neighbours.
    method = small(embed_dim=24, depth=3, prototypes=32, frozen_epochs=0, teacher_momentum=0.98, patch_weight=2.0)
    along, images = torch.arange(16.0), []
    for slope in torch.linspace(-2, 2, 32):
        images.append(torch.sin(along[:, None] * slope + along[None]).expand(3, -1, -1))
    base = torch.stack(images)
    optimizer = build_optimizer(method, OptimizerConfig(name="adamw", lr=3e-3, scaling="none", weight_decay=0.0))
    told = []
    for step in range(80):
        values = method(batch_of(base + 0.1 * random_views(2, 32, 16, step), blocks(step, 32)))
        learn(method, optimizer, values["loss"], 3e-3, 3.0, 1e-6, clip_mode="per-tensor")
        told.append(float(values["patch_kl"]))
    assert np.mean(told[-10:]) < 0.5 * np.mean(told[:10]) and float(values["patch_teacher_marginal_entropy"]) > 0.3


@pytest.mark.parametrize(("fields", "message"), [
    ({"backbone": "convnet4", "patch_px": None, "embed_dim": None, "depth": None, "heads": None, "drop_path": None},
     "ibot hides patches, and backbone 'convnet4' is no plain vision transformer with a class token"),
    ({"head_norm": True}, "model.head_norm=true is for convolutional networks, of which no patches can be hidden; use model"),
    ({"patch_weight": -1.0}, "model.patch_weight needs a number of at least 0, got -1"),
    ({"prototypes": 1}, "model.prototypes needs a whole number of at least 2, got 1"),
])
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**fields)


def test_views_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="ibot compares views of an image, the recipe has 1; use recipe=ibot"):
        small()(batch_of(random_views(1, 2, 16), uneven(2)[:1]))
    with pytest.raises(ValueError, match="the recipe draws no masks for group 'global'"):
        small()(batch_of(random_views(2, 2, 16)))
