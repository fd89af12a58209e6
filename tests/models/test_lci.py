"""LCI: what each class shows, every term of the game, that it begins at chance and learns, and that ranks do as one does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import viewmill as vm
from torch import nn
from viewmill.augment import Recipe, View
from viewmill.augment.ops import CenterCrop, Flip, Inpaint, RandomCrop
from viewmill.augment.pixel_noise import normal
from viewmill.models.lci import LCI, LCIConfig
from viewmill.models.pictured import Pictured, Shown
from viewmill.pipelines.batch import Batch
from viewmill.train import read

from ..world import World
from .batches import handed_batch
from .ranks import Told, assert_alike, steps_of

TINY = {"backbone": "convnet4", "inpainter_width": 4, "inpainter_layers": 3, "judge_width": 4}
CIFAR = vm.recipe("lci_cifar")
PATCHES = ("autoencode", "inpaint")


def small(backbone: str = "convnet4", image_px: int = 32, **fields: object) -> LCI:
    torch.manual_seed(0)
    return LCI(LCIConfig(**{**TINY, "backbone": backbone, **fields}), image_px=image_px)  # type: ignore[arg-type]


def pictures(count: int, side: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, side // 4, side // 4, 3))
    return coarse.repeat(4, 1).repeat(4, 2).astype(np.uint8)


def batch_of(count: int = 4, rows: slice = slice(None), block: int = 4, recipe: Recipe = CIFAR) -> Batch:
    """Of every `block` images half are autoencoded."""
    return handed_batch(Recipe(recipe.views, recipe.name, block), pictures(count), PATCHES, rows)


def levels(images: torch.Tensor) -> torch.Tensor:
    return (images + 1) * 127.5


def test_what_each_class_shows() -> None:
    """Classes 2 to 4 are class 0 before its crop, turned, in either half; class 1 has its patch anew, class 5 neither."""
    method, batch = small(), batch_of()
    patches = method.patches(batch)
    views = method.images(batch, patches)
    assert views.shape == (6, 4, 3, 32, 32) and batch.view_labels("class") == (0, 1, 2, 3, 4, 5)
    params = batch.params
    assert params["class/0"]["autoencode"]["apply"].tolist() == [False, False, True, True]
    given = batch.views["class"]
    for row in (2, 3):  # not tilted
        top, left, height, width = params["class/0"]["autoencode"]["box"][row].tolist()
        painted = given[0, row].clone()
        painted[:, top:top + height, left:left + width] = (patches.autoencoded[row] + 1) / 2
        for view in (0, 2, 3, 4):
            turned = torch.rot90(painted, max(view - 1, 0), (1, 2))
            y, x = params[f"class/{view}"]["random_crop.2"]["box"][row, :2].tolist()
            torch.testing.assert_close(views[view, row], 2 * turned[:, y:y + 32, x:x + 32] - 1, atol=1e-5, rtol=0)
        top, left, height, width = params["class/1"]["inpaint"]["box"][row].tolist()
        painted = given[1, row].clone()
        painted[:, top:top + height, left:left + width] = (patches.inpainted[row] + 1) / 2
        y, x = params["class/1"]["random_crop.2"]["box"][row, :2].tolist()
        torch.testing.assert_close(views[1, row], 2 * painted[:, y:y + 32, x:x + 32] - 1, atol=1e-5, rtol=0)
    torch.testing.assert_close(given[0], given[2])
    without = small(autoencode=False)
    shown = without.images(batch, without.patches(batch))
    y, x = params["class/0"]["random_crop.2"]["box"][2, :2].tolist()
    torch.testing.assert_close(shown[0, 2], 2 * given[0, 2, :, y:y + 32, x:x + 32] - 1, atol=1e-5, rtol=0)


def test_patches_are_erased_but_for_their_border() -> None:
    method, batch = small(), batch_of()
    patches = method.patches(batch)
    seed = torch.from_numpy(batch.params["class/1"]["inpaint"]["seed"])
    noise = 0.1 * normal(seed, 3 * 20 * 20).view(4, 3, 20, 20)
    torch.testing.assert_close(patches.erased[..., 2:22, 2:22], noise)
    border = torch.ones(24, 24, dtype=torch.bool)
    border[2:22, 2:22] = False
    assert torch.equal(patches.border, border) and torch.equal(patches.erased[..., border], patches.hurt[..., border])
    for row, (top, left, height, width) in enumerate(batch.params["class/1"]["inpaint"]["box"].tolist()):
        there = batch.views["class"][1, row, :, top:top + height, left:left + width]
        torch.testing.assert_close(patches.hurt[row], 2 * there - 1)


def test_every_term_and_whose_weights_it_moves() -> None:
    """The release's three losses, each with its own list of weights, against the gradients of the one loss here."""
    method, batch = small(), batch_of()
    values = method(batch)
    values["loss"].backward()
    mine = {name: parameter.grad for name, parameter in method.named_parameters()}
    again = small()
    patches = again.patches(batch)
    views = again.images(batch, patches)
    label = torch.arange(6).repeat_interleave(4)
    classifying = F.cross_entropy(again.classifier(again.encoder(views.flatten(0, 1))), label)
    judge = again.adversary.judge
    both = lambda x: torch.cat([x[0::2], x[1::2]], 1)  # noqa: E731
    real, made = judge(both(patches.hurt)), judge(both(patches.inpainted.detach()))
    judging = F.relu(1 - real).mean() + F.relu(1 + made).mean()
    squares = (patches.inpainted - patches.hurt).square()
    border = (squares.sum() - squares[..., 2:22, 2:22].sum()) / (4 * 3 * (24 * 24 - 20 * 20))
    autoencoding = (patches.autoencoded - patches.whole).square().mean()
    painting = -judge(both(patches.inpainted)).mean() + 50 * border + 50 * autoencoding - classifying
    for part, loss in (("encoder", classifying), ("classifier", classifying), ("inpainter", painting)):
        parameters = list(getattr(again, part).named_parameters(prefix=part))
        expected = torch.autograd.grad(loss, [value for _, value in parameters], retain_graph=True)
        most = max(float(gradient.abs().max()) for gradient in expected)
        for (name, _), gradient in zip(parameters, expected, strict=True):
            torch.testing.assert_close(mine[name], gradient, rtol=2e-2, atol=2e-3 * most)
    for name, parameter in judge.named_parameters(prefix="adversary.judge"):
        (gradient,) = torch.autograd.grad(judging, parameter, retain_graph=True)
        torch.testing.assert_close(mine[name], gradient, rtol=2e-2, atol=2e-3 * float(gradient.abs().max()))
    assert float(values["classifying"]) == pytest.approx(float(classifying.detach()), rel=1e-4)
    assert float(values["border"]) == pytest.approx(float(border.detach()), rel=1e-4)
    assert float(values["autoencoding"]) == pytest.approx(float(autoencoding.detach()), rel=1e-4)
    parts = sum(float(values[name]) for name in ("classifying", "judging", "fooling"))
    assert float(values["loss"].detach()) == pytest.approx(parts + 50 * float((border + autoencoding).detach()), rel=1e-4)


def test_an_inpainter_that_is_not_against_the_classifier() -> None:
    """Then it has the gradient of its other losses alone."""
    for weight, sign in ((0.0, 0), (1.0, -1)):
        method, batch = small(against_weight=weight, reconstruction_weight=0.0), batch_of()
        method(batch)["loss"].backward()
        (mine,) = [method.inpainter.layers[0].weight.grad]
        again = small()
        patches = again.patches(batch)
        loss = -again.adversary.judge(torch.cat([patches.inpainted[0::2], patches.inpainted[1::2]], 1)).mean()
        logits = again.classifier(again.encoder(again.images(batch, patches).flatten(0, 1)))
        loss = loss + sign * F.cross_entropy(logits, torch.arange(6).repeat_interleave(4))
        (expected,) = torch.autograd.grad(loss, [again.inpainter.layers[0].weight])
        torch.testing.assert_close(mine, expected, rtol=2e-2, atol=2e-3 * float(expected.abs().max()))


def test_it_begins_at_chance_and_learns_a_batch_by_heart() -> None:
    method, batch = small(), batch_of(8, block=8)
    optimizer = torch.optim.AdamW([{"params": [*method.encoder.parameters(), *method.classifier.parameters()], "lr": 3e-3},
                                   {"params": [*method.inpainter.parameters(), *method.adversary.parameters()], "lr": 2e-4}])
    values = method(batch)
    assert float(values["classifying"]) == pytest.approx(math.log(6), abs=0.15)
    for _ in range(60):
        optimizer.zero_grad()
        values["loss"].backward()
        optimizer.step()
        values = method(batch)
    assert float(values["accuracy"]) == 1 and float(values["classifying"]) < 0.2
    assert all(float(values[f"accuracy_{kind}"]) == 1 for kind in ("plain", "autoencoded", "inpainted", "turned", "warped"))


class Sides(nn.Module):
    """Tells turns of pictures that are bright at their top from each other, and nothing else: logits of classes 0, 2, 3, 4."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        top, left = images[:, 0, 2:6, 12:20].mean((1, 2)), images[:, 0, 12:20, 2:6].mean((1, 2))
        bottom, right = images[:, 0, 26:30, 12:20].mean((1, 2)), images[:, 0, 12:20, 26:30].mean((1, 2))
        never = torch.full_like(top, -10)
        return 20.0 * torch.stack([top, never, left, bottom, right, never], 1)


def test_labels_are_the_turns_of_views_as_they_are_really_rendered() -> None:
    picture = np.repeat(np.linspace(250, 5, 40)[:, None, None], 40, 1).repeat(3, 2).astype(np.uint8)
    batch = handed_batch(CIFAR, np.stack([picture] * 4), PATCHES)
    method = small(autoencode=False)
    method.encoder, method.classifier = Sides(), nn.Identity()  # type: ignore[assignment]
    values = method(batch)
    assert float(values["accuracy_turned"]) == 1 and float(values["accuracy_plain"]) == 1
    assert float(values["accuracy_warped"]) == 0 == float(values["accuracy_inpainted"])


@pytest.mark.parametrize(("backbone", "dim"), [("resnet18", 512), ("vit_tiny_patch16_224", 192)])
def test_any_backbone(backbone: str, dim: int) -> None:
    method, batch = small(backbone), batch_of()
    assert method.feature_dim == dim and method.embed(torch.zeros(1, 3, 32, 32)) is None
    method(batch)["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []
    shown = method.shown(batch.views)
    torch.testing.assert_close(shown, 2 * batch.views["class"][..., 2:34, 2:34] - 1)
    assert method.features(shown[0]).shape == (4, dim)


def test_in_half_precision_every_part_still_learns() -> None:
    method, batch = small(), batch_of()
    with torch.autocast("cpu", torch.bfloat16):
        values = method(batch)
    values["loss"].backward()
    assert values["loss"].dtype == torch.float32 and method.patches(batch).inpainted.dtype == torch.float32
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in method.parameters())


def test_pictures_show_patches() -> None:
    method, batch = small().eval(), batch_of()
    with torch.no_grad():
        columns = method.pictures(Shown(batch, CIFAR))
    assert isinstance(method, Pictured) and list(columns) == ["original", "erased", "inpainted", "another", "autoencoded"]
    for column in columns.values():
        assert column.shape == (4, 3, 24, 24) and 0 <= float(column.min()) <= float(column.max()) <= 1
    torch.testing.assert_close(columns["inpainted"], (method.patches(batch).inpainted.detach() + 1) / 2)


def test_what_does_not_fit_is_refused() -> None:
    crop: tuple[Any, ...] = (CenterCrop(size_px=36), Flip(p=0.5))
    hurt = Inpaint(crop_px=24, hole_px=20, border_px=2, noise_std=0.1)
    unlabelled = Recipe((View("class", 32, (*crop, hurt, RandomCrop(size_px=32))),))
    with pytest.raises(ValueError, match="states no labels for the views of group 'class'"):
        small()(handed_batch(unlabelled, pictures(4), PATCHES))
    lone = Recipe((View("class", 32, (*crop, hurt, RandomCrop(size_px=32)), labels=(1,)),))
    with pytest.raises(ValueError, match="lci needs views of class 0 that wait for autoencode, and of class 1"):
        small()(handed_batch(lone, pictures(4), PATCHES))
    unshared = CIFAR.with_op("class/2", "autoencode", share=None, scope="sample")
    with pytest.raises(ValueError, match="lci needs one autoencoded patch for all views of an image"):
        small()(batch_of(recipe=unshared))
    with pytest.raises(ValueError, match="lci's discriminator looks at pairs, got one image; use a larger batch_size"):
        small()(batch_of(4, slice(0, 1)))
    with pytest.raises(ValueError, match="inpainter halves its patches down to one in 16 px"):
        small(inpainter_layers=5)(batch_of())
    with pytest.raises(ValueError, match=r"model\.inpainter_layers needs a whole number of at least 3, got 2"):
        LCIConfig(inpainter_layers=2)


def test_the_published_run() -> None:
    run, recipe = read(["lci", "data=train.tar"])
    assert (run.epochs, run.batch_size, recipe.name, run.model.inpainter_layers) == (200, 64, "lci_stl10", 4)
    assert (run.optimizer.lr, run.optimizer.betas, run.schedule.final_lr) == (3e-4, (0.5, 0.99), pytest.approx(3e-7))
    # A decay of 1e-4 a step; the inpainter at 2e-4, its discriminator at four times that.
    assert run.optimizer.lr * run.optimizer.weight_decay == pytest.approx(1e-4)
    rates = LCI(run.model, image_px=64).rates()
    assert rates == {"inpainter": pytest.approx(2e-4 / 3e-4), "adversary": pytest.approx(8e-4 / 3e-4)}


def steps(images: int) -> Told:
    method = small()
    for name, parameter in method.named_parameters():
        if "inpainter" in name:
            nn.init.normal_(parameter, 0.5 if parameter.ndim == 1 else 0.0, 0.2)
    return steps_of(method, lambda step, which: batch_of(images, which), images, rate=1e-3)


@pytest.mark.parametrize(("ranks", "images"), [(2, 8), (3, 12)])
def test_ranks_together_learn_as_one_process(world: World, ranks: int, images: int) -> None:
    """Parts of equally many images, whose pairs stay together."""
    assert_alike(steps(images), world(ranks, steps, images), first=8)
