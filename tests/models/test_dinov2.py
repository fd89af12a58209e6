"""DINOv2: its three terms by loops in float64, centered or shared out, one head or two, its rates, clipping and held prototypes,
on ranks, and what tells of a collapse."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from timm.layers import DropPath
from torch import nn
from viewmill.augment import presets
from viewmill.models import method_info
from viewmill.models.dinov2 import DINOv2, DINOv2Config
from viewmill.models.ibot import IBOT, IBOTConfig
from viewmill.models.pictured import Pictured, Shown
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer, clip, set_rate
from viewmill.models.training.step import learn
from viewmill.models.vit import positions
from viewmill.pipelines.batch import Batch

from ..world import World
from .batches import batch_of, random_views
from .collapsing import watched_teacher
from .ranks import Told, assert_alike, steps_of

TINY = {"backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 12, "depth": 2, "heads": 3, "drop_path": 0.0,
        "prototypes": 10, "head_hidden": 16, "head_bottleneck": 8, "teacher_temperature": 0.05, "teacher_temperature_epochs": 0,
        "patch_prototypes": 7, "patch_bottleneck": 6, "frozen_epochs": 0}
ADAMW = OptimizerConfig(name="adamw", lr=0.1, scaling="none", weight_decay=0.4)


def small(image_px: int = 16, **fields: object) -> DINOv2:
    torch.manual_seed(0)
    return DINOv2(DINOv2Config(**{**TINY, **fields}), image_px=image_px)  # type: ignore[arg-type]


def stirred(**fields: object) -> DINOv2:
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


def halves(images: int, seed: int = 0) -> np.ndarray:
    """(2, images, 4, 4) bool: half of all views have a mask, each of another number of patches."""
    rng = np.random.default_rng(seed)
    rank = rng.random((2, images, 16)).argsort(-1).argsort(-1)
    return (rank < rng.permutation(np.arange(2 * images) % 2 * (np.arange(2 * images) + 1)).reshape(2, images, 1)).reshape(
        2, images, 4, 4)


def batch(images: int = 5, local: int = 3, seed: int = 0, which: slice = slice(None)) -> Batch:
    return batch_of(masks=halves(images, seed)[:, which], **{name: v[:, which] for name, v in crops(images, local, seed).items()})


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def shared_out(logits: np.ndarray, temperature: float) -> np.ndarray:
    """The authors' alternation on Q (K, B): of sum 1; rows to 1 / K, columns to 1 / B, three times; then times B."""
    q = np.exp(logits / temperature).T
    q /= q.sum()
    for _ in range(3):
        q /= q.sum(1, keepdims=True) * q.shape[0]
        q /= q.sum(0, keepdims=True) * q.shape[1]
    return (q * q.shape[1]).T


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


def of(method: DINOv2, views: dict[str, torch.Tensor], masks: np.ndarray) -> dict[str, np.ndarray]:
    """Logits of views, "student" (V, B, K) and "teacher" (2, B, K), of patches, "student_patches" and "teacher_patches"
    (2, B, L, K'), and the student's class tokens of global views, "first" (2, B, D); of a copy."""
    method = copy.deepcopy(method)
    mine, its = (method.patch_head, method.teacher_patch_head) if method.config.separate_heads else (
        method.head, method.teacher_head)
    found: dict[str, list[torch.Tensor]] = {name: [] for name in ("student", "teacher", "student_patches", "teacher_patches",
                                                                  "first")}
    with torch.no_grad():
        for view, mask in zip(views["global"], masks, strict=True):
            x, other = tokens(method.backbone, view, method.mask_token[0, 0], mask), tokens(method.teacher_backbone, view)
            for name, value in (("student", method.head(x[:, 0])), ("student_patches", mine(x[:, 1:])), ("first", x[:, 0]),
                                ("teacher", method.teacher_head(other[:, 0])), ("teacher_patches", its(other[:, 1:]))):
                found[name].append(value)
        found["student"] += [method.head(tokens(method.backbone, view)[:, 0]) for view in views.get("local", ())]
    return {name: torch.stack(each).double().numpy() for name, each in found.items()}


def by_hand(seen: dict[str, np.ndarray], masks: np.ndarray, centers: list[np.ndarray], sinkhorn: bool) -> dict[str, float]:
    mask = masks.reshape(2, masks.shape[1], -1)
    student, rows = seen["student"], seen["teacher_patches"][mask]
    flat = seen["teacher"].reshape(-1, 10)
    q = (shared_out(flat, 0.05) if sinkhorn else softmax((flat - centers[0]) / 0.05)).reshape(seen["teacher"].shape)
    q_patch = shared_out(rows, 0.05) if sinkhorn else softmax((rows - centers[1]) / 0.05)
    p, p_patch = softmax(student / 0.1), softmax(seen["student_patches"][mask] / 0.1)
    # Two global views crosswise, and each local one with both, over 2 + 2 * local.
    local = len(student) - 2
    of_views = (sum(-(q[i] * np.log(p[1 - i])).sum(-1).mean() for i in range(2))
                + sum(-(q[i] * np.log(p[2 + j])).sum(-1).mean() for i in range(2) for j in range(local))) / (2 + 2 * local)
    costs = -(q_patch * np.log(p_patch)).sum(-1)
    images = np.nonzero(mask.reshape(-1, mask.shape[2]))[0]
    of_patches = sum(cost / (images == image).sum() for cost, image in zip(costs, images, strict=True)) / (2 * mask.shape[1])
    apart = []
    for view in seen["first"]:
        unit = [row / math.sqrt((row**2).sum()) for row in view]
        apart.append(np.mean([-math.log(min(math.dist(row, other) for other in unit if other is not row)) for row in unit]))
    found = {"loss": float(of_views + of_patches + 0.1 * sum(apart)), "view_loss": float(of_views),
             "patch_loss": float(of_patches), "koleo": float(np.mean(apart))}
    entropy = lambda x: -(x * np.log(x)).sum(-1)  # noqa: E731
    for prefix, answers, before, cost in (("", q.reshape(-1, 10), flat, of_views), ("patch_", q_patch, rows, costs.mean())):
        most = math.log(answers.shape[1])
        said = softmax(before / 0.05) if sinkhorn else answers
        found |= {f"{prefix}teacher_entropy": float(entropy(answers).mean() / most),
                  f"{prefix}teacher_marginal_entropy": float(entropy(said.mean(0)) / most),
                  f"{prefix}kl": float(cost - entropy(answers).mean())}
    return found


@pytest.mark.parametrize("separate_heads", [False, True])
@pytest.mark.parametrize(("sinkhorn", "local"), [(False, 3), (True, 3), (True, 0)])
def test_what_it_returns_and_the_two_centers_that_the_next_step_uses(sinkhorn: bool, local: int, separate_heads: bool) -> None:
    method = stirred(sinkhorn=sinkhorn, separate_heads=separate_heads)
    centers = [np.zeros(10), np.zeros(7 if separate_heads else 10)]
    for step in range(3):
        views, masks = crops(local=local, seed=step), halves(5, step)
        seen = of(method, views, masks)
        values = {name: float(value.detach()) for name, value in method(batch(local=local, seed=step)).items()}
        assert values == pytest.approx(by_hand(seen, masks, centers, sinkhorn), abs=2e-4)
        if not sinkhorn:
            # The patches' over the masked alone, each as much as any other.
            means = [seen["teacher"].mean((0, 1)), seen["teacher_patches"][masks.reshape(2, 5, -1)].mean(0)]
            centers = [0.9 * center + 0.1 * mean for center, mean in zip(centers, means, strict=True)]
        np.testing.assert_allclose(method.center.numpy(), centers[0], atol=1e-6)
        np.testing.assert_allclose(method.patch_center.numpy(), centers[1], atol=1e-6)


def test_with_one_head_centers_and_nothing_kept_apart_it_is_ibot() -> None:
    # But for the patches' center, which moves after the loss.
    method = small(koleo_weight=0.0)
    fields = {name: value for name, value in TINY.items() if name not in ("patch_prototypes", "patch_bottleneck")}
    ibot = IBOT(IBOTConfig(**fields), image_px=16)  # type: ignore[arg-type]
    ibot.load_state_dict(method.state_dict())
    expected, found = ibot(batch()), method(batch())
    assert {name: float(v.detach()) for name, v in found.items()} == pytest.approx(
        {name: float(v.detach()) for name, v in expected.items()}, rel=1e-5)
    expected["loss"].backward()
    found["loss"].backward()
    for mine, its in zip(method.parameters(), ibot.parameters(), strict=True):
        assert (mine.grad is None) == (its.grad is None)
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, its.grad, rtol=1e-4, atol=1e-6)


def test_published_defaults_are_the_shorter_runs() -> None:
    c = DINOv2Config()
    assert (c.prototypes, c.head_hidden, c.head_bottleneck) == (65536, 2048, 256)
    assert (c.patch_prototypes, c.patch_bottleneck, c.teacher_momentum) == (65536, 256, 0.992)
    assert (c.student_temperature, c.first_teacher_temperature, c.teacher_temperature) == (0.1, 0.04, 0.07)
    assert (c.patch_weight, c.koleo_weight, c.koleo_over, c.layer_decay, c.patch_embed_rate) == (1.0, 0.1, "rank", 0.9, 0.2)
    assert not c.sinkhorn and not c.separate_heads and c.trainable_gain and c.centering and c.iterations == 3
    # 30 and 1 of 1250 steps are of 625 of 2048 of ImageNet's images twice as many.
    assert (c.teacher_temperature_epochs, c.frozen_epochs, 1_281_167 // 2048) == (60, 2, 625)


def test_the_published_networks() -> None:
    count = lambda *parts: sum(p.numel() for part in parts for p in part.parameters())  # noqa: E731
    with torch.device("meta"):
        method = DINOv2(method_info("dinov2").config(), image_px=224)
        long = method_info("dinov2").variant("vitl14").fields
        longer = DINOv2(method_info("dinov2").config(**long), image_px=224)
    # ViT-L: a block of 12 D^2 weights, 13 D biases, gains and shifts, 2 D of layer scale; patches, positions, class token, norm.
    block, width = 12 * 1024**2 + 13 * 1024 + 2 * 1024, 1024
    assert count(method.backbone) == 24 * block + (768 + 1) * width + (196 + 1) * width + width + 2 * width
    assert count(longer.backbone) == 24 * block + (588 + 1) * width + (256 + 1) * width + width + 2 * width
    heads = [1024 * 2048 + 2048 + 2048**2 + 2048 + 2048 * dim + dim + 131072 * (dim + 1) for dim in (384, 256)]
    assert [count(longer.head), count(longer.patch_head)] == heads
    assert {path.drop_prob for path in method.backbone.modules() if isinstance(path, DropPath)} == {0.3}
    assert sum(isinstance(path, DropPath) for path in method.backbone.modules()) == 48
    assert not any(isinstance(path, DropPath) for path in method.teacher_backbone.modules())


def test_first_weights() -> None:
    method = small(backbone="vit_small_patch14_dinov2", embed_dim=192, depth=1)
    assert 0 < float(method.backbone.cls_token.detach().abs().max()) < 1e-5
    assert float(method.mask_token.detach().abs().sum()) == 0
    torch.testing.assert_close(method.backbone.blocks[0].ls1.gamma.detach(), torch.full((192,), 1e-5))
    for teacher, student in method.followers:
        assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), student.parameters(), strict=True))
    assert len(small(separate_heads=True).followers) == 3


@pytest.mark.parametrize("fields", [{}, {"separate_heads": True, "sinkhorn": True, "koleo_over": "all"}])
def test_gradients_reach_all_of_the_student_and_it_alone(fields: dict[str, object]) -> None:
    method = small(**fields)
    values = method(batch())
    assert values["loss"].shape == () and not any(v.requires_grad for k, v in values.items() if k != "loss")
    values["loss"].backward()
    learning = {name for name, p in method.named_parameters() if p.grad is not None and float(p.grad.abs().sum()) > 0}
    assert learning == {name for name, _ in method.named_parameters() if not name.startswith("teacher")}


def test_the_heads_are_asked_of_views_and_masked_patches_alone() -> None:
    method, rows = small(separate_heads=True), []
    for name in ("head", "patch_head", "teacher_head", "teacher_patch_head"):
        getattr(method, name).register_forward_pre_hook(lambda module, given, name=name: rows.append((name, len(given[0]))))
    method(batch())
    masked = int(halves(5).sum())
    assert sorted(rows) == [("head", 25), ("patch_head", masked), ("teacher_head", 10), ("teacher_patch_head", masked)]


def test_the_teachers_temperature_rises_step_by_step() -> None:
    method = small(first_teacher_temperature=0.04, teacher_temperature=0.07, teacher_temperature_epochs=4)
    for epoch, temperature in ((0, 0.04), (1, 0.0475), (2.5, 0.05875), (4, 0.07), (50, 0.07)):
        method.before_step(epoch)
        assert method.teacher_temperature == pytest.approx(temperature)
    assert small(teacher_temperature=0.06).teacher_temperature == 0.06


@pytest.mark.parametrize("separate_heads", [False, True])
def test_prototypes_have_a_rate_of_zero_at_first_while_the_optimizer_learns_of_them(separate_heads: bool) -> None:
    method = small(frozen_epochs=2, separate_heads=separate_heads)
    optimizer = build_optimizer(method, ADAMW)
    first, heads = copy.deepcopy(method.state_dict()), ["head", *(["patch_head"] if separate_heads else [])]
    held = [f"{head}.prototypes.{part}" for head in heads for part in ("direction", "gain")]
    for epoch in (0, 0.5, 1.99, 2):
        method.before_step(epoch)
        learn(method, optimizer, method(batch())["loss"], 0.1, 3.0, 0.5, clip_mode="per-part")
        now = method.state_dict()
        assert all(torch.equal(now[name], first[name]) == (epoch < 2) for name in held), epoch
        assert not torch.equal(now["head.mlp.0.weight"], first["head.mlp.0.weight"])
        assert all(torch.equal(now[f"teacher_{name}"], first[f"teacher_{name}"]) == (epoch < 2) for name in held)
    for name in held:
        averages = optimizer.state[dict(method.named_parameters())[name]]
        assert int(averages["step"]) == 4 and float(averages["exp_avg"].abs().sum()) > 0


def test_rates_fall_from_the_last_block_to_the_patches() -> None:
    method = small(layer_decay=0.5, patch_embed_rate=0.2, separate_heads=True)
    optimizer = build_optimizer(method, ADAMW)
    set_rate(optimizer, 8.0)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            front = {"mask_token": 1.0, "backbone.cls_token": 1.0, "backbone.pos_embed": 1.0,
                     "backbone.patch_embed.proj.weight": 0.2, "backbone.patch_embed.proj.bias": 0.2}
            blocks = {"backbone.blocks.0": 2.0, "backbone.blocks.1": 4.0}
            assert rates[id(parameter)] == pytest.approx(front.get(name, blocks.get(name[:17], 8.0))), name


def test_what_decays() -> None:
    method = small(backbone="vit_small_patch14_dinov2", depth=1)
    decaying = {id(p) for group in build_optimizer(method, ADAMW).param_groups if group["weight_decay"] for p in group["params"]}
    for name, parameter in method.named_parameters():
        spared = name.endswith(".bias") or "norm" in name or "gamma" in name
        assert (id(parameter) in decaying) == (parameter.requires_grad and not spared), name


def test_gradients_are_clipped_in_the_backbone_and_in_each_head_by_themselves() -> None:
    method = small(separate_heads=True)
    (1e3 * method(batch())["loss"]).backward()
    clip(method, 3.0, "per-part")
    norm = lambda part: float(torch.cat([p.grad.flatten() for p in part.parameters() if p.grad is not None]).norm())  # noqa: E731
    assert [norm(part) for part in (method.backbone, method.head, method.patch_head)] == pytest.approx([3.0] * 3, rel=1e-4)
    run = method_info("dinov2").published
    assert (run["clip_grad"], run["clip_mode"]) == (3.0, "per-part")


def test_images_keep_apart_from_those_of_their_view() -> None:
    method, views = small(patch_weight=0.0), crops(images=4, local=0)
    alike = views["global"].clone()
    alike[1] = alike[0]  # two views of each image, both the same: not kept apart
    value = float(method(batch_of(alike, np.zeros((2, 4, 4, 4), bool)))["koleo"])
    assert value < 12
    alike[0, 1] = alike[0, 0]  # two images of one view are: a distance of 0 costs 18
    assert float(method(batch_of(alike, np.zeros((2, 4, 4, 4), bool)))["koleo"]) > value + 1.5


def test_a_batch_without_a_mask_costs_patches_nothing_and_moves_no_center() -> None:
    for sinkhorn in (False, True):
        method = small(sinkhorn=sinkhorn, separate_heads=True)
        method.patch_center.fill_(0.5)
        values = method(batch_of(masks=np.zeros((2, 5, 4, 4), bool), **crops()))
        assert float(values["patch_loss"]) == 0 and bool(values["loss"].isfinite()) and math.isnan(float(values["patch_kl"]))
        values["loss"].backward()
        assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []
        assert bool((method.patch_center == 0.5).all())


def test_features_embeddings_and_encoder_are_the_teachers_of_all_patches() -> None:
    method, images = stirred().eval(), random_views(1, 3, 16)[0]
    features = method.features(images)
    assert method.encoder is method.teacher_backbone
    torch.testing.assert_close(features, tokens(method.teacher_backbone, images)[:, 0])
    torch.testing.assert_close(method.embed(images), nn.functional.normalize(method.teacher_head.mlp(features), dim=1))


@pytest.mark.parametrize("separate_heads", [False, True])
def test_pictures_show_what_teacher_and_student_name_patches(separate_heads: bool) -> None:
    method = small(image_px=32, separate_heads=separate_heads).eval()
    shown = Shown(batch_of(random_views(2, 3, 32), np.zeros((2, 3, 8, 8), bool)), presets.recipe("dinov2_2x32"))
    with torch.no_grad():
        columns = method.pictures(shown)
    assert isinstance(method, Pictured) and list(columns) == ["original", "teacher's tokens", "masked", "student's tokens"]
    assert torch.equal(columns["teacher's tokens"], columns["student's tokens"])  # alike at first, and nothing is hidden


def awake(method: DINOv2, times: float = 5.0) -> DINOv2:
    """With larger weights: with first ones the class token hardly looks at an image, and of distances between images next to
    alike float32 keeps few digits."""
    with torch.no_grad():
        for vit in (method.backbone, method.teacher_backbone):
            for parameter in vit.blocks.parameters():
                parameter.mul_(times)
    return method


def steps(fields: dict[str, object], images: int) -> Told:
    method = awake(small(**fields))
    return steps_of(method, lambda step, which: batch(images, 2, step, which), images)


@pytest.mark.parametrize(("ranks", "images"), [(2, 5), (3, 7)])
@pytest.mark.parametrize("fields", [{}, {"sinkhorn": True, "separate_heads": True}], ids=["centered", "sinkhorn"])
def test_ranks_with_different_numbers_of_masked_patches_are_the_parts_of_one_process(
        world: World, ranks: int, images: int, fields: dict[str, object]) -> None:
    fields = {**fields, "koleo_over": "all"}
    assert_alike(steps(fields, images), world(ranks, steps, fields, images))


def koleo_of(parts: list[slice]) -> float:
    part = parts[dist.get_rank()]
    views = {name: view[:, part] for name, view in crops(7, 0).items()}
    return float(small()(batch_of(masks=halves(7)[:, part], **views))["koleo"])


def test_unless_told_an_image_keeps_apart_from_those_of_its_rank_alone(world: World) -> None:
    # The mean over all images of what each rank finds for its own.
    parts = [slice(0, 3), slice(3, 7)]
    seen = of(small(), crops(7, 0), halves(7))
    expected = sum(by_hand({name: value[:, part] for name, value in seen.items()}, halves(7)[:, part],
                           [np.zeros(10), np.zeros(10)], False)["koleo"] * (part.stop - part.start) for part in parts) / 7
    assert np.mean(world(2, koleo_of, parts)) == pytest.approx(expected, rel=1e-4)
    assert expected < by_hand(seen, halves(7), [np.zeros(10), np.zeros(10)], False)["koleo"] - 1e-3


def blocks(step: int, images: int = 64) -> np.ndarray:
    """Of every other image of a view some patches."""
    masks = np.random.default_rng(step).random((2, images, 4, 4)) < 0.3
    masks[:, ::2] = False
    return masks


@pytest.mark.parametrize("fields", [{}, {"sinkhorn": True}, {"centering": False, "koleo_weight": 0.0}],
                         ids=["centered", "sinkhorn", "neither"])
def test_health_tells_of_the_collapse_that_both_prevent(fields: dict[str, object]) -> None:
    method = small(embed_dim=48, prototypes=64, head_hidden=64, head_bottleneck=32, teacher_temperature=0.04,
                   teacher_momentum=0.9, trainable_gain=False, layer_decay=1.0, patch_embed_rate=1.0, **fields)
    said, row = watched_teacher(method, noise=0.5, masks=blocks)
    if "centering" in fields:
        assert said is not None
        assert max(row["teacher_marginal_entropy"], row["patch_teacher_marginal_entropy"]) < 0.1
    else:
        assert said is None and min(row["teacher_marginal_entropy"], row["patch_teacher_marginal_entropy"]) > 0.2


@pytest.mark.parametrize(("fields", "message"), [
    ({"head_norm": True}, "model.head_norm=true is for convolutional networks, of which no patches can be hidden; use model"),
    ({"koleo_weight": -1.0}, "model.koleo_weight needs a number of at least 0, got -1"),
    ({"layer_decay": 1.5}, r"model.layer_decay needs a number in \[0, 1\], got 1.5"),
    ({"layer_decay": 0.0}, "model.layer_decay needs a number above 0, got 0.0"),
    ({"iterations": 0}, "model.iterations needs a whole number of at least 1, got 0"),
    ({"patch_prototypes": 1}, "model.patch_prototypes needs a whole number of at least 2, got 1"),
])
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**fields)


def test_views_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="dinov2 compares views of an image, the recipe has 1; use recipe=dinov2"):
        small()(batch_of(random_views(1, 2, 16), halves(2)[:1]))
    with pytest.raises(ValueError, match="dinov2 keeps an image apart from others of its rank, which has 1; use a larger"):
        small()(batch_of(random_views(2, 1, 16), halves(1)))
