"""data2vec: what the teacher sees and says, what it costs to tell it wrong, how the teacher follows, on ranks too, and that it
learns."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from viewmill.augment import presets
from viewmill.evaluation.features import evaluating
from viewmill.models import method_info
from viewmill.models.data2vec import Data2Vec, Data2VecConfig
from viewmill.models.pictured import Shown
from viewmill.models.token_pictures import in_colours
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn
from viewmill.pipelines.batch import Batch

from ..world import World
from .batches import batch_of, random_masks, random_views, uneven_masks
from .finite_differences import assert_mask_gradient
from .ranks import SGD, Told, assert_alike, steps_of

TINY = {"backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 32, "depth": 3, "heads": 2, "drop_path": 0.0,
        "attention_dropout": 0.0, "layer_scale": 0.5, "target_blocks": 2}
ABSOLUTE = {"positions": "absolute", "layer_scale": None}


def small(**fields: object) -> Data2Vec:
    torch.manual_seed(0)
    return Data2Vec(Data2VecConfig(**{**TINY, **fields}), image_px=16)  # type: ignore[arg-type]


def normed(x: np.ndarray) -> np.ndarray:
    """Each row to mean 0 and, but for a small number, variance 1."""
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def targets_by_hand(method: Data2Vec, images: torch.Tensor) -> np.ndarray:
    """By hooks on the teacher's last blocks, in NumPy's float64."""
    outputs: list[np.ndarray] = []
    hooks = [block.register_forward_hook(lambda module, given, made: outputs.append(made[:, 1:].detach().double().numpy()))
             for block in method.teacher.blocks[-method.config.target_blocks :]]
    with torch.no_grad():
        method.teacher.forward_features(images)
    for hook in hooks:
        hook.remove()
    return normed(sum(normed(output) for output in outputs) / len(outputs))


@pytest.mark.parametrize("fields", [{}, ABSOLUTE, {"target_blocks": 3}])
def test_targets_are_the_mean_of_the_last_blocks_each_normalized_and_again(fields: dict[str, object]) -> None:
    method, images = small(**fields), random_views(1, 3, 16)[0]
    targets = method.targets(images)
    np.testing.assert_allclose(targets.double().numpy(), targets_by_hand(method, images), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(targets.mean(-1), torch.zeros(3, 16), atol=1e-5, rtol=0)
    torch.testing.assert_close(targets.var(-1, unbiased=False), torch.ones(3, 16), atol=1e-3, rtol=0)
    assert not targets.requires_grad


@pytest.mark.parametrize("beta", [2.0, 0.1])
def test_the_loss_is_smooth_l1_over_all_masked_patches_and_values(beta: float) -> None:
    method, views, masks = small(beta=beta), random_views(1, 5, 16), uneven_masks(5)
    values = method(batch_of(views, masks))
    mask = torch.from_numpy(masks[0]).flatten(1)
    with torch.no_grad():
        told = method.head(method.tokens(views[0], mask)[:, 1:]).double().numpy()[mask.numpy()]
    target = targets_by_hand(method, views[0])[mask.numpy()]
    apart = np.abs(told - target)
    expected = np.where(apart < beta, apart**2 / (2 * beta), apart - beta / 2)
    assert expected.shape == (1 + 2 + 3 + 4 + 5, 32) and (apart < 0.1).any() and (apart > 2).any()
    assert float(values["loss"].detach()) == pytest.approx(expected.mean(), rel=1e-4)
    assert float(values["target_variance"]) == pytest.approx(target.var(0).mean(), rel=1e-4)


def test_the_published_networks() -> None:
    info = method_info("data2vec")
    with torch.device("meta"):
        base = Data2Vec(info.config(), image_px=224)
        large = Data2Vec(info.config(**info.variants["vit_l"].fields), image_px=224)
    # BEiT's form of ViT-B/16 (see test_masked_transformer); the head is one layer of 768 -> 768; the teacher is a second encoder.
    encoder = 85_798_656 - 197 * 768 + (27**2 + 3) * 12 + 12 * 2 * 768 - 12 * 768
    trained = sum(p.numel() for p in base.parameters() if p.requires_grad)
    assert trained == encoder + 768 + 768 * 768 + 768
    assert sum(p.numel() for p in base.parameters()) == trained + encoder
    assert [method.config.attention_dropout for method in (base, large)] == [0.05, 0.15]
    assert base.config.target_blocks == large.config.target_blocks == 6 and len(large.encoder.blocks) == 24


def test_the_teacher_sees_what_is_hidden_and_the_student_does_not() -> None:
    method, views, masks = small().eval(), random_views(1, 3, 16), random_masks(1, 3, 4, 4, 9)
    hidden = torch.from_numpy(masks[0].repeat(4, 1).repeat(4, 2))[:, None]
    other = torch.where(hidden, 7.0, views[0])
    mask = torch.from_numpy(masks[0]).flatten(1)
    assert torch.equal(method.tokens(other, mask), method.tokens(views[0], mask))
    assert not torch.allclose(method.targets(other), method.targets(views[0]))


def test_predictions_of_seen_patches_have_no_part_and_the_teacher_no_gradient() -> None:
    method, views, masks = small(), random_views(1, 3, 16), uneven_masks(3)
    taken: list[torch.Tensor] = []
    method.head.register_forward_hook(lambda module, given, made: taken.append(given[0]))
    method(batch_of(views, masks))["loss"].backward()
    assert [len(rows) for rows in taken] == [int(masks.sum())]
    assert all(p.grad is None for p in method.teacher.parameters())
    assert all(p.grad is not None for name, p in method.named_parameters() if not name.startswith("teacher."))


def test_the_teacher_never_drops_anything() -> None:
    method, images = small(drop_path=0.9, attention_dropout=0.9), random_views(1, 4, 16)[0]
    method.train()
    assert not method.teacher.training and not method.teacher.blocks[1].training and method.encoder.training
    assert torch.equal(method.targets(images), method.targets(images))
    assert not torch.allclose(method.tokens(images), method.tokens(images))
    with evaluating(method):
        assert torch.equal(method.tokens(images), method.tokens(images))
    assert method.encoder.training and not method.teacher.training


@pytest.mark.parametrize("fields", [{}, ABSOLUTE])
def test_attention_weights_are_left_out_of_the_loss_alone(fields: dict[str, object]) -> None:
    method, batch = small(attention_dropout=0.5, **fields), batch_of(random_views(1, 4, 16), uneven_masks(4))
    images = batch.views["global"][0]
    assert torch.equal(method.train().tokens(images), method.tokens(images))  # as fine-tuning finds it
    with torch.no_grad():
        assert float(method(batch)["loss"]) != float(method(batch)["loss"])
        assert float(method.eval()(batch)["loss"]) == float(method(batch)["loss"])


def test_the_teacher_follows_by_one_momentum_all_through() -> None:
    method = small(teacher_momentum=0.75)
    first = copy.deepcopy(method.teacher.state_dict())
    assert all(torch.equal(first[name], value) for name, value in method.encoder.state_dict().items())
    with torch.no_grad():
        for parameter in method.encoder.parameters():
            parameter += 1
    for progress, moved in ((0.1, 0.25), (1.0, 0.4375)):
        method.after_step(progress)
        for name, parameter in method.teacher.named_parameters():
            torch.testing.assert_close(parameter, first[name] + moved)


def test_an_error_of_1_is_what_knowing_the_mean_comes_to() -> None:
    method, views, masks = small(), random_views(1, 5, 16), uneven_masks(5)
    with torch.no_grad():
        method.head.weight.zero_()
        method.head.bias.copy_(method.targets(views[0])[torch.from_numpy(masks[0]).flatten(1)].mean(0))
    assert float(method(batch_of(views, masks))["error"]) == pytest.approx(1.0, abs=1e-5)


def test_a_teacher_that_says_the_same_of_all_patches_has_no_variance() -> None:
    method = small(**ABSOLUTE)
    with torch.no_grad():
        method.teacher.pos_embed.zero_()
        method.teacher.patch_embed.proj.weight.zero_()
        method.teacher.patch_embed.proj.bias.copy_(torch.randn(32))
    values = method(batch_of(random_views(1, 5, 16), uneven_masks(5)))
    assert float(values["target_variance"]) < 1e-6 and values["loss"].isfinite() and values["error"].isfinite()


def test_the_gradient_is_that_of_finite_differences() -> None:
    batch = batch_of(random_views(1, 3, 16).double(), uneven_masks(3))
    assert_mask_gradient(small().double(), batch)


def step_batch(step: int, which: slice) -> Batch:
    return batch_of(random_views(1, 11, 16, step)[:, which], uneven_masks(11, step)[:, which])


def two_steps(images: int) -> Told:
    return steps_of(small(teacher_momentum=0.5), step_batch, images)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_with_different_numbers_of_masked_patches_are_the_parts_of_one_process(world: World, ranks: int) -> None:
    assert_alike(two_steps(11), world(ranks, two_steps, 11), first=1)


def test_it_learns_what_the_teacher_says_from_what_is_around() -> None:
    # Stripes of one direction each: what lies at a place is known from its neighbours.
    method = small(teacher_momentum=0.99)
    along = torch.arange(16.0)
    views = torch.stack([torch.sin(along[:, None] * slope + along[None]).expand(3, -1, -1)
                         for slope in torch.linspace(-2, 2, 32)])
    optimizer = build_optimizer(method, replace(SGD, name="adamw", weight_decay=0.0))
    errors, variance = [], 0.0
    for step in range(100):
        values = method(batch_of(views[None], uneven_masks(32, step)))
        learn(method, optimizer, values["loss"], 3e-3, None, 0.5)
        errors.append(float(values["error"]))
        variance = float(values["target_variance"])
    assert errors[0] > 0.9 and np.mean(errors[-10:]) < 0.6 and variance > 0.05


@pytest.mark.parametrize(("fields", "message"), [
    ({"target_blocks": 4}, "model.target_blocks=4 needs to be at most the 3 blocks that there are"),
    ({"beta": 0.0}, "model.beta needs a number above 0, got 0.0"),
    ({"attention_dropout": 1.5}, r"model.attention_dropout needs a number in \[0, 1\], got 1.5"),
    ({"teacher_momentum": -0.1}, r"model.teacher_momentum needs a number in \[0, 1\], got -0.1"),
])
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**fields)


def test_pictures_show_what_is_seen_told_and_what_the_teacher_says() -> None:
    torch.manual_seed(0)
    method = Data2Vec(Data2VecConfig(**TINY), image_px=32).eval()  # type: ignore[arg-type]
    masks = random_masks(1, 3, 8, 8, 24)
    batch = batch_of(random_views(1, 3, 32), masks)
    shown = Shown(batch, presets.recipe("data2vec_cifar"))
    with torch.no_grad():
        columns = method.pictures(shown)
        target, mask = method.targets(batch.views["global"][0]), torch.from_numpy(masks[0]).flatten(1)
        told = method.head(method.tokens(batch.views["global"][0], mask)[:, 1:])
        colours, of_told = in_colours(target, told)
    assert list(columns) == ["masked", "told", "teacher", "original"]
    hidden = torch.from_numpy(masks[0].repeat(4, 1).repeat(4, 2))[:, None].expand(-1, 3, -1, -1)
    assert (columns["masked"][hidden] == 0.5).all() and torch.equal(columns["masked"][~hidden], columns["original"][~hidden])
    assert torch.equal(columns["told"][~hidden], columns["teacher"][~hidden])
    for n, row, column in ((0, 0, 0), (1, 3, 5), (2, 7, 2)):
        patch = (n, slice(None), 4 * row + 1, 4 * column + 2)
        torch.testing.assert_close(columns["teacher"][patch], colours[n, 8 * row + column])
        expected = of_told if masks[0, n, row, column] else colours
        torch.testing.assert_close(columns["told"][patch], expected[n, 8 * row + column])


def test_in_half_precision_the_loss_is_a_full_precision_number() -> None:
    method, batch = small(), batch_of(random_views(1, 3, 16), uneven_masks(3))
    with torch.autocast("cpu", torch.bfloat16):
        values = method(batch)
    values["loss"].backward()
    assert all(value.dtype == torch.float32 and value.isfinite() for value in values.values())
    assert float(values["loss"].detach()) == pytest.approx(float(method(batch)["loss"].detach()), rel=0.05)
