"""Split-Brain Autoencoders: both losses against their formulas in float64, halves that never mix, one network to its judges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from torch import Tensor, nn
from viewmill.augment.colour.ab_bins import bin_centres
from viewmill.augment.presets import recipe
from viewmill.evaluation.finetune.pieces import layer_of
from viewmill.evaluation.layers import Maps
from viewmill.evaluation.untrained import initialized
from viewmill.models.backbone import set_drop_path
from viewmill.models.layers import maps
from viewmill.models.narrow_alexnet import NarrowAlexNet
from viewmill.models.pictured import Pictured, Shown
from viewmill.models.split_brain import SplitBrain, SplitBrainConfig
from viewmill.pipelines.batch import Batch
from viewmill.train import read

from ..world import World
from .batches import batch_of
from .ranks import Told, assert_alike, steps_of

CENTRES = bin_centres().double().numpy()


def small(**fields: Any) -> SplitBrain:
    torch.manual_seed(0)
    return SplitBrain(SplitBrainConfig(**{"backbone": "convnet4", "grid": 4, "doublings": 1, "decoder_dim": 16, **fields}),
                      image_px=32)


def some(count: int = 4, seed: int = 0) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    return batch_of(luma=(20 * torch.randn(1, count, 1, 32, 32, generator=draws)).clamp(-50, 50),
                    chroma=25 * torch.randn(1, count, 2, 32, 32, generator=draws))


def numpy(x: Tensor) -> np.ndarray:
    found: np.ndarray = x.detach().double().numpy()
    return found


def log_softmax(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = x - np.log(np.exp(x).sum(1, keepdims=True))
    return found


def picked(views: Tensor, stride: int = 8) -> np.ndarray:
    """The first of each run of 8 pixels: 4 x 4 of 32 x 32."""
    return numpy(views[0])[:, :, ::stride, ::stride]


def of_colours(logits: np.ndarray, ab: np.ndarray, k: int = 10) -> float:
    costs, log_p = [], log_softmax(logits)
    for n, h, w in np.ndindex(len(ab), *ab.shape[2:]):
        squared = ((CENTRES - ab[n, :, h, w]) ** 2).sum(1)
        near = np.argsort(squared, kind="stable")[:k]
        z = np.exp(-squared[near] / 50)
        costs.append(-(z / z.sum() * log_p[n, near, h, w]).sum())
    return float(np.mean(costs))


def of_lightness(logits: np.ndarray, luma: np.ndarray) -> float:
    step = np.minimum(np.floor(luma[:, 0] + 50).astype(int), 99)
    log_p = log_softmax(logits)
    return float(np.mean([-log_p[n, step[n, h, w], h, w] for n, h, w in np.ndindex(*step.shape)]))


def test_each_half_pays_for_what_the_other_saw() -> None:
    method, batch = small().eval(), some()
    batch.views["luma"][0, 0, 0, 0, 0], batch.views["luma"][0, 0, 0, 8, 0] = 50.0, -50.0  # white and black
    values = method(batch)
    colours, lightness = map(numpy, method.told(batch.views["luma"][0], batch.views["chroma"][0]))
    assert colours.shape == (4, 313, 4, 4) and lightness.shape == (4, 100, 4, 4)
    ab, luma = picked(batch.views["chroma"]), picked(batch.views["luma"])
    first, second = of_colours(colours, ab), of_lightness(lightness, luma)
    assert float(values["colour_loss"]) == pytest.approx(first, rel=1e-5)
    assert float(values["luma_loss"]) == pytest.approx(second, rel=1e-5)
    assert float(values["loss"].detach()) == pytest.approx(first + second, rel=1e-5)
    nearest = ((CENTRES[None, :, :, None, None] - ab[:, None]) ** 2).sum(2).argmin(1)
    step = np.minimum(np.floor(luma[:, 0] + 50), 99)
    assert float(values["accuracy"]) == pytest.approx(np.mean(colours.argmax(1) == nearest))
    assert float(values["luma_accuracy"]) == pytest.approx(np.mean(lightness.argmax(1) == step))


def test_numbers_in_the_place_of_classes_cost_half_their_squared_error() -> None:
    method, batch = small(form="regression").eval(), some()
    values = method(batch)
    colours, lightness = map(numpy, method.told(batch.views["luma"][0], batch.views["chroma"][0]))
    assert colours.shape == (4, 2, 4, 4) and lightness.shape == (4, 1, 4, 4)
    first = 0.5 * ((colours - picked(batch.views["chroma"]) / 50) ** 2).sum(1).mean()
    second = 0.5 * ((lightness - picked(batch.views["luma"]) / 50) ** 2).sum(1).mean()
    assert float(values["colour_loss"]) == pytest.approx(first, rel=1e-5)
    assert float(values["loss"].detach()) == pytest.approx(first + second, rel=1e-5)


@pytest.mark.parametrize("form", ["classes", "regression"])
def test_the_gradient_is_that_of_the_formula(form: str) -> None:
    method, batch = small(form=form).eval(), some()
    method(batch)["loss"].backward()
    last = method.chroma_painter[-1]
    below = numpy(method.chroma_painter[:-1](method.encoder.chroma.forward_features(batch.views["chroma"][0])))
    weight, bias, luma = numpy(last.weight)[:, :, 0, 0], numpy(last.bias), picked(batch.views["luma"])

    def loss(weight: np.ndarray) -> float:
        said = np.einsum("qd,ndhw->nqhw", weight, below) + bias[:, None, None]
        return of_lightness(said, luma) if form == "classes" else float(0.5 * ((said - luma / 50) ** 2).mean())

    for row, column in ((0, 3), (0, 15)) if form == "regression" else ((40, 3), (60, 0), (99, 15)):
        step = np.zeros_like(weight)
        step[row, column] = 1e-5
        slope = (loss(weight + step) - loss(weight - step)) / 2e-5
        assert float(last.weight.grad[row, column, 0, 0]) == pytest.approx(slope, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("form", ["classes", "regression"])
def test_nothing_of_one_half_reaches_the_other(form: str) -> None:
    """What a half says, and so its gradient's path, does not depend on what the other sees."""
    method, batch, other = small(form=form).eval(), some(), some(seed=1)
    luma, chroma = batch.views["luma"][0], batch.views["chroma"][0].clone().requires_grad_()
    colours, lightness = method.told(luma, chroma)
    assert torch.autograd.grad(colours.sum(), chroma, allow_unused=True)[0] is None
    assert torch.equal(lightness, method.told(other.views["luma"][0], chroma)[1])
    assert torch.equal(colours, method.told(luma, other.views["chroma"][0])[0])
    names = {id(p): name for name, p in method.named_parameters()}
    for said, own in ((colours, "luma"), (lightness, "chroma")):
        gradients = torch.autograd.grad(said.sum(), list(method.parameters()), retain_graph=True, allow_unused=True)
        moved = {names[id(p)] for p, g in zip(method.parameters(), gradients, strict=True) if g is not None}
        assert moved and all(name.startswith((f"encoder.{own}.", f"{own}_painter.")) for name in moved)


def test_it_begins_at_chance_and_learns_a_batch_by_heart() -> None:
    method, batch = small(decoder_dim=64), some(8)
    optimizer = torch.optim.AdamW(method.parameters(), 1e-2)
    first = values = method(batch)
    assert float(first["colour_loss"]) == pytest.approx(math.log(313), abs=0.2)
    assert float(first["luma_loss"]) == pytest.approx(math.log(100), abs=0.2)
    for _ in range(60):
        optimizer.zero_grad()
        values["loss"].backward()
        optimizer.step()
        values = method(batch)
    assert float(values["accuracy"]) > 0.95 and float(values["luma_accuracy"]) > 0.95


def test_features_and_maps_are_both_halves_side_by_side() -> None:
    method, lab = small().eval(), torch.randn(3, 3, 32, 32)
    found = method.features(lab)
    assert method.feature_dim == 256 and torch.equal(found, method.encoder(lab))  # 128 of each, half of 256
    assert torch.equal(found[:, :128], method.encoder.luma(lab[:, :1]))
    assert torch.equal(found[:, 128:], method.encoder.chroma(lab[:, 1:]))
    shown = maps(method.encoder, lab)
    assert [tuple(x.shape[1:]) for x in shown.values()] == [(32, 16, 16), (64, 8, 8), (128, 4, 4), (256, 2, 2)]
    assert torch.equal(shown["conv2"][:, 32:], method.encoder.chroma.maps(lab[:, 1:])["conv2"])


def test_whatever_judges_it_sees_one_lab_image() -> None:
    encoder = initialized("split_brain", SplitBrainConfig("convnet4"), recipe("splitbrain_cifar"), 0)
    assert encoder.view.instances[0].channels == 3 and encoder.image_px == 32
    assert encoder(torch.zeros(2, 3, 32, 32)).shape == (2, 256) == (2, encoder.dim)
    assert Maps(encoder, "max", 512, None, torch.device("cpu")).dims["conv3"] == 128 * 4
    batch = some()
    lab = small().shown(batch.views)
    assert torch.equal(lab[:, :, :1], batch.views["luma"]) and torch.equal(lab[:, :, 1:], batch.views["chroma"])


def test_fine_tuning_treats_both_halves_alike() -> None:
    encoder = SplitBrain(SplitBrainConfig("resnet18"), image_px=32).encoder
    set_drop_path(encoder, 0.3)
    rates = [[block.drop_path.drop_prob for block in half.layer4 if not isinstance(block.drop_path, nn.Identity)]
             for half in (encoder.luma, encoder.chroma)]
    assert rates[0] == rates[1] == pytest.approx([0.3 * 6 / 7, 0.3])
    layers = layer_of(encoder)
    assert layers["luma.conv1.weight"] == layers["chroma.conv1.weight"] == 0
    assert layers["luma.layer4.1.conv2.weight"] == layers["chroma.layer4.1.conv2.weight"] > 3


@pytest.mark.parametrize("form", ["classes", "regression"])
def test_in_half_the_precision_it_says_nearly_the_same(form: str) -> None:
    method, batch = small(form=form).eval(), some()
    exact = method(batch)["loss"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = method(batch)["loss"]
    assert loss.dtype == torch.float32 and float(loss.detach()) == pytest.approx(float(exact.detach()), rel=0.02)


@pytest.mark.parametrize("form", ["classes", "regression"])
def test_pictures_show_what_each_half_makes_of_what_it_sees(form: str) -> None:
    method, batch = small(form=form).eval(), some(3)
    with torch.no_grad():
        for painter in (method.luma_painter, method.chroma_painter):
            painter[-1].weight.zero_()
            painter[-1].bias.zero_()
        if form == "classes":
            method.luma_painter[-1].bias[int(method.bins.nearest(torch.tensor([40.0, 20.0]).reshape(1, 2, 1, 1)))] = 50.0
            method.chroma_painter[-1].bias[60] = 50.0
        else:
            method.luma_painter[-1].bias.copy_(torch.tensor([0.8, 0.4]))
            method.chroma_painter[-1].bias.fill_(0.21)
        assert isinstance(method, Pictured)
        shown = method.pictures(Shown(batch, recipe("splitbrain_cifar")))
    assert list(shown) == ["lightness", "its colours", "colours", "their lightness", "original"]
    assert all(x.shape == (3, 3, 32, 32) for x in shown.values())
    lab = {title: rgb2lab(np.moveaxis(numpy(x), 1, -1)) for title, x in shown.items()}
    screen = {title: np.abs(numpy(x) - 0.5).max(1) < 0.49 for title, x in shown.items()}  # where nothing was clamped
    assert np.allclose(lab["its colours"][screen["its colours"]][:, 1:], (40, 20), atol=0.2)
    assert np.allclose(lab["their lightness"][screen["their lightness"]][:, 0], 60.5, atol=0.2)
    assert np.allclose(lab["lightness"][..., 1:], 0, atol=0.2)
    assert np.allclose(lab["colours"][screen["colours"]][:, 0], 50, atol=0.2)
    both = screen["original"]
    given = np.moveaxis(numpy(method.shown(batch.views)[0]), 1, -1) + np.array([50, 0, 0])
    assert np.allclose(lab["original"][both], given[both], atol=0.2)


@pytest.mark.parametrize(("name", "image_px", "width"), [("resnet18", 32, 0.5), ("vit_tiny_patch16_224", 64, 1.0),
                                                        ("alexnet", 64, 0.5)])
def test_any_backbone_learns_with_all_its_weights(name: str, image_px: int, width: float) -> None:
    method = SplitBrain(SplitBrainConfig(name, width), image_px=image_px)
    lab = 20 * torch.randn(1, 2, 3, image_px, image_px)
    method(batch_of(luma=lab[:, :, :1], chroma=lab[:, :, 1:]))["loss"].backward()
    assert [parameter for parameter, value in method.named_parameters() if value.grad is None] == []
    halves = method.encoder.luma, method.encoder.chroma
    firsts = [next(m for m in half.modules() if isinstance(m, nn.Conv2d)) for half in halves]
    assert [m.weight.shape[1] for m in firsts] == [1, 2]


def test_the_published_runs() -> None:
    run, views = read(["split_brain", "data=train.tar"])
    assert (run.model.backbone, run.model.width, run.model.form, run.model.grid) == ("alexnet", 0.5, "classes", 12)
    assert (run.batch_size, run.optimizer.lr, views.name) == (80, 3e-5, "splitbrain")
    with torch.device("meta"):
        method = SplitBrain(run.model, image_px=180)
    assert isinstance(method.encoder.luma, NarrowAlexNet) and method.feature_dim == 4096
    assert read(["split_brain", "data=train.tar", "variant=regression"])[0].model.form == "regression"


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="split_brain needs the groups 'luma' and 'chroma', the recipe has global; use "
                                         "recipe=splitbrain"):
        small()(batch_of(torch.zeros(1, 2, 3, 32, 32)))
    with pytest.raises(ValueError, match=r"model\.grid=33 needs at most the 32 places that views of 32 px have"):
        small(grid=33)
    with pytest.raises(ValueError, match="split_brain needs Lab images of 3 channels, got in_chans=1"):
        SplitBrain(SplitBrainConfig("convnet4"), image_px=32, in_chans=1)
    for fields, message in (({"width": 0.0}, r"model\.width needs a number above 0"), ({"grid": 0}, r"model\.grid needs a whole"),
                            ({"doublings": -1}, r"model\.doublings")):
        with pytest.raises(ValueError, match=message):
            SplitBrainConfig(**fields)
    with pytest.raises(ValueError, match="takes no width; it is for ResNets and convnet4"):
        SplitBrain(SplitBrainConfig("vit_tiny_patch16_224"), image_px=32)


def two_steps(form: str) -> Told:
    batch = some(6)
    return steps_of(small(form=form), lambda step, own: batch_of(**{g: views[:, own] for g, views in batch.views.items()}), 6)


@pytest.mark.parametrize("form", ["classes", "regression"])
def test_ranks_do_together_what_one_does(world: World, form: str) -> None:
    assert_alike(two_steps(form), world(2, two_steps, form))
