"""Colorization: its loss against the paper's formula in float64, what weighs nothing, its first pass, its pictures, its runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from torch import Tensor, nn
from viewmill.augment.draw import draw
from viewmill.augment.presets import recipe
from viewmill.evaluation.untrained import initialized
from viewmill.models.colorization import Colorization, ColorizationConfig
from viewmill.models.distributed import rank, world_size
from viewmill.models.pictured import Pictured, Shown
from viewmill.pipelines.batch import Batch
from viewmill.pipelines.engines import render
from viewmill.train import read

from ..world import World
from .batches import batch_of
from .ranks import Told, assert_alike, steps_of

CENTRES = Colorization(ColorizationConfig("convnet4"), image_px=32).bins.centres.double().numpy()


def small(image_px: int = 32, **fields: Any) -> Colorization:
    torch.manual_seed(0)
    return Colorization(ColorizationConfig(**{"backbone": "convnet4", "decoder_dim": 16, **fields}), image_px=image_px)


def some(count: int = 4, side: int = 4, seed: int = 0) -> Batch:
    """Lightness of 32 px, and colours of side x side places, some near gray and some vivid."""
    draws = torch.Generator().manual_seed(seed)
    return batch_of(luma=25 * torch.randn(1, count, 1, 32, 32, generator=draws),
                    target=25 * torch.randn(1, count, 2, side, side, generator=draws))


def numpy(x: Tensor) -> np.ndarray:
    found: np.ndarray = x.detach().double().numpy()
    return found


def expected(logits: np.ndarray, ab: np.ndarray, prior: np.ndarray | None, lam: float = 0.5, k: int = 10) -> tuple[float, float]:
    """(the weighted loss, the plain cross-entropy), pixel by pixel: L = (1/n) sum_hw w_hw (-sum_q z_hwq log p_hwq)."""
    w = np.ones(313)
    if prior is not None:
        p = prior / prior.sum()
        w = np.where(p > 0, 1 / ((1 - lam) * np.where(p > 0, p, 1) + lam / (p > 0).sum()), 0)
        w /= (p * w).sum()
    weighted, plain = [], []
    for n, h, width in np.ndindex(len(ab), *ab.shape[2:]):
        squared = ((CENTRES - ab[n, :, h, width]) ** 2).sum(1)
        near = np.argsort(squared, kind="stable")[:k]
        z = np.exp(-squared[near] / (2 * 5.0**2))
        log_p = logits[n, :, h, width] - np.log(np.exp(logits[n, :, h, width]).sum())
        cost = -(z / z.sum() * log_p[near]).sum()
        gray = np.abs(ab[n]).max() <= 5
        weighted.append(0 if gray else w[near[0]] * cost)
        plain.append(cost)
    return float(np.mean(weighted)), float(np.mean(plain))


@pytest.mark.parametrize(("uniform", "neighbours"), [(0.5, 10), (0.5, 5), (1.0, 10)])
def test_the_loss_is_the_papers(uniform: float, neighbours: int) -> None:
    method, batch = small(doublings=1, uniform=uniform, neighbours=neighbours).eval(), some()
    batch.views["target"][0, 1] = 2.0  # a gray picture
    if uniform < 1:
        method.observe(batch)
        assert int(method.prior.counts.sum()) == 4 * 16
    values = method(batch)
    logits, ab = numpy(method.logits(batch.views["luma"][0], (4, 4))), numpy(batch.views["target"][0])
    loss, plain = expected(logits, ab, numpy(method.prior.counts) if uniform < 1 else None, uniform, neighbours)
    assert float(values["loss"].detach()) == pytest.approx(loss, rel=1e-5)
    assert float(values["cross_entropy"]) == pytest.approx(plain, rel=1e-5)
    nearest = ((CENTRES[None, :, :, None, None] - ab[:, None]) ** 2).sum(2).argmin(1)
    assert float(values["accuracy"]) == pytest.approx(np.mean(logits.argmax(1) == nearest))


def test_the_gradient_is_that_of_the_formula() -> None:
    method, batch = small(doublings=1).eval(), some()
    method.observe(batch)
    method(batch)["loss"].backward()
    ab, prior = numpy(batch.views["target"][0]), numpy(method.prior.counts)
    last = method.painter[-1]
    below = numpy(method.painter[:-1](method.encoder.forward_features(batch.views["luma"][0])))
    weight, bias = numpy(last.weight)[:, :, 0, 0], numpy(last.bias)
    for row, column in ((156, 3), (170, 0), (100, 15)):
        step = np.zeros_like(weight)
        step[row, column] = 1e-5
        more, less = (expected(np.einsum("qd,ndhw->nqhw", weight + sign * step, below) + bias[:, None, None], ab, prior)[0]
                      for sign in (1, -1))
        assert float(last.weight.grad[row, column, 0, 0]) == pytest.approx((more - less) / 2e-5, rel=1e-3, abs=1e-7)


def test_gray_pictures_teach_nothing() -> None:
    method, batch = small(), some()
    batch.views["target"].clamp_(-5, 5)
    values = method(batch)
    values["loss"].backward()
    assert float(values["loss"].detach()) == 0 and float(values["cross_entropy"]) > 1
    assert all(p.grad is not None and not bool(p.grad.any()) for p in method.parameters())


def test_in_half_the_precision_it_says_nearly_the_same() -> None:
    method, batch = small().eval(), some()
    method.observe(batch)
    exact = method(batch)["loss"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = method(batch)["loss"]
    assert loss.dtype == torch.float32 and float(loss.detach()) == pytest.approx(float(exact.detach()), rel=0.02)


def test_another_grid_than_the_networks_is_met_by_bilinear_resizing() -> None:
    method, batch = small().eval(), some(side=5)
    own = method.painter(method.encoder.forward_features(batch.views["luma"][0]))
    assert own.shape[2:] == (2, 2)
    found = method.logits(batch.views["luma"][0], (5, 5))
    # Places of five across two: 0.2 of a place further each, from -0.3 on; halfway between the two in the middle.
    torch.testing.assert_close(found[:, :, 2, 2], own.mean((2, 3)))
    torch.testing.assert_close(found[:, :, 0, 0], own[:, :, 0, 0])
    torch.testing.assert_close(found[:, :, 0, 1], 0.9 * own[:, :, 0, 0] + 0.1 * own[:, :, 0, 1])


def test_it_begins_at_chance_and_learns_a_batch_by_heart() -> None:
    method, batch = small(doublings=1, decoder_dim=64), some(8)
    method.observe(batch)
    optimizer = torch.optim.AdamW(method.parameters(), 1e-2)
    first = method(batch)
    assert float(first["cross_entropy"]) == pytest.approx(math.log(313), abs=0.2)
    values = first
    for _ in range(60):
        optimizer.zero_grad()
        values["loss"].backward()
        optimizer.step()
        values = method(batch)
    assert float(values["accuracy"]) > 0.95 and float(values["cross_entropy"]) < 0.5 * float(first["cross_entropy"])


@pytest.mark.parametrize(("fields", "wanted"), [({}, True), ({"uniform": 1.0}, False), ({"prior": "prior.npy"}, False)])
def test_it_wants_to_see_all_images_once_before_the_first_step(fields: dict[str, Any], wanted: bool) -> None:
    method = small(**fields)
    assert method.wants_pass(0) is wanted
    assert not any(method.wants_pass(epoch) for epoch in (0.01, 1, 1.5))


def test_a_file_of_frequencies_is_read_at_the_first_step_and_never_again(tmp_path: Path) -> None:
    path = tmp_path / "prior.npy"
    np.save(path, np.arange(313))
    method = small(prior=str(path))
    method.before_step(0)
    path.unlink()
    method.before_step(0.5)
    assert method.prior.counts.tolist() == list(range(313))
    with pytest.raises(ValueError, match=r"model\.prior=.* cannot be read"):
        method.before_step(0)


def test_real_views_have_lightness_and_the_colours_of_the_same_window() -> None:
    """Of a picture that is the same everywhere, and of one that is red and lighter on the left, blue on the right."""
    plain = np.full((32, 32, 3), (200, 60, 40), np.uint8)
    split = plain.copy()
    split[:, 16:] = (20, 20, 120)
    views = recipe("colorization_cifar").with_op("*", "crop", scale=(1.0, 1.0), ratio=(1.0, 1.0))
    params = draw(views, 0, 0, np.arange(9), np.full((9, 2), 32))
    groups = {name: torch.as_tensor(view) for name, view in render([plain, *[split] * 8], views, params).items()}
    assert groups["luma"].shape == (1, 9, 1, 32, 32) and groups["target"].shape == (1, 9, 2, 8, 8)
    light, a, b = rgb2lab(plain[:1, :1] / 255.0)[0, 0]
    assert torch.allclose(groups["luma"][0, 0], torch.tensor(light - 50).float(), atol=0.05)
    assert torch.allclose(groups["target"][0, 0].mean((1, 2)), torch.tensor([a, b]).float(), atol=0.05)
    flipped = params["luma/0"]["flip"]["apply"][1:].tolist()
    assert set(flipped) == {False, True}
    for seen in (groups["target"][0, 1:, 1].mean(1), groups["luma"][0, 1:, 0].mean(1)):  # along the picture, left to right
        # b falls from red to blue, L from the lighter to the darker: both are turned alike.
        assert (seen[:, 0] < seen[:, -1]).tolist() == flipped


def test_whatever_judges_it_sees_lightness_alone() -> None:
    encoder = initialized("colorization", ColorizationConfig("convnet4"), recipe("colorization_cifar"), 0)
    assert encoder.view.instances[0].channels == 1 and encoder.image_px == 32
    assert encoder(torch.zeros(2, 1, 32, 32)).shape == (2, 256)
    method, batch = small().eval(), some()
    assert torch.equal(method.shown(batch.views), batch.views["luma"]) and method.embed(batch.views["luma"][0]) is None
    assert torch.equal(method.features(batch.views["luma"][0]), method.encoder(batch.views["luma"][0]))


def test_pictures_are_what_was_seen_what_is_told_and_what_it_was() -> None:
    method, batch = small(doublings=1).eval(), some(3)
    assert isinstance(method, Pictured)
    index = method.bins.nearest(torch.tensor([40.0, 20.0]).reshape(1, 2, 1, 1))
    with torch.no_grad():
        method.painter[-1].weight.zero_()
        method.painter[-1].bias.zero_()[int(index)] = 50.0
    views = recipe("colorization_cifar")
    with torch.no_grad():
        shown = method.pictures(Shown(batch, views))
        batch.views["luma"] = batch.views["luma"] / 20
        method.encoder.layers[0].weight.mul_(20)  # sees what it saw
        again = method.pictures(Shown(batch, views.with_op("luma", "normalize", std=(20.0,))))
    for title in shown:
        torch.testing.assert_close(again[title], shown[title], atol=1e-4, rtol=0)
    batch.views["luma"] = 20 * batch.views["luma"]
    assert list(shown) == ["lightness", "colorized", "true colours"]
    luma = numpy(batch.views["luma"][0]).clip(-49, 49) + 50
    for title, (a, b) in (("lightness", (0, 0)), ("colorized", (40, 20))):
        lab = rgb2lab(np.moveaxis(numpy(shown[title]), 1, -1))
        inside = (np.abs(numpy(shown[title]) - 0.5).max(1) < 0.45) & (np.abs(luma[:, 0] - 50) < 20)
        assert inside.any() and np.allclose(lab[inside][:, 0], luma[:, 0][inside], atol=0.1)
        assert np.allclose(lab[inside][:, 1:], (a, b), atol=0.1)
    assert all(x.shape == (3, 3, 32, 32) and float(x.min()) >= 0 and float(x.max()) <= 1 for x in shown.values())
    assert not torch.allclose(shown["true colours"], shown["lightness"], atol=0.05)


@pytest.mark.parametrize(("name", "image_px", "side"), [("resnet18", 32, 4), ("vit_tiny_patch16_224", 64, 4), ("alexnet", 64, 3)])
def test_any_backbone_learns_with_all_its_weights(name: str, image_px: int, side: int) -> None:
    method = Colorization(ColorizationConfig(name), image_px=image_px)
    batch = batch_of(luma=torch.randn(1, 2, 1, image_px, image_px), target=20 * torch.randn(1, 2, 2, 8, 8))
    assert method.painter(torch.zeros(1, method.feature_dim, side, side)).shape == (1, 313, side, side)
    method(batch)["loss"].backward()
    assert [parameter for parameter, value in method.named_parameters() if value.grad is None] == []
    first = next(m for m in method.encoder.modules() if isinstance(m, nn.Conv2d))
    assert first.weight.shape[1] == 1


def test_the_published_runs() -> None:
    run, views = read(["colorization", "data=train.tar"])
    assert (run.model.backbone, run.model.neighbours, run.model.uniform, run.model.prior_sigma) == ("alexnet", 10, 0.5, 0)
    assert (run.batch_size, run.optimizer.lr, run.optimizer.weight_decay, views.name) == (80, 3e-5, 1e-3, "colorization")
    steps = [epoch * 1_281_167 / 80 for epoch in (*run.schedule.steps_at, run.epochs)]
    assert steps == pytest.approx([240_000, 300_000, 400_000, 450_000], rel=0.005)
    rates = 3e-5 * np.cumprod(run.schedule.step_factors)
    assert rates == pytest.approx([1e-5, 3e-6, 1e-6])
    run, views = read(["colorization", "data=train.tar", "variant=v2"])
    assert (run.batch_size, run.optimizer.betas, views.name, run.model.doublings) == (40, (0.9, 0.99), "colorization_v2", 1)
    assert [epoch * 1_281_167 / 40 for epoch in run.schedule.steps_at] == pytest.approx([225_000, 450_000], rel=0.005)
    run, _ = read(["colorization", "data=train.tar", "variant=paper"])
    assert (run.model.neighbours, run.model.prior_sigma) == (5, 5.0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="colorization needs the groups 'luma' and 'target', the recipe has global; use "
                                         "recipe=colorization"):
        small()(batch_of(torch.zeros(1, 2, 3, 32, 32)))
    for fields, message in (({"uniform": 1.5}, r"model\.uniform needs a number in \[0, 1\], got 1\.5"),
                            ({"doublings": -1}, r"model\.doublings needs a number of at least 0"),
                            ({"neighbours": 0}, r"model\.neighbours needs a whole number of at least 1"),
                            ({"temperature": 0.0}, r"model\.temperature needs a number above 0")):
        with pytest.raises(ValueError, match=message):
            ColorizationConfig(**fields)
    with pytest.raises(ValueError, match=r"colorization needs pictures of 3 channels.* got in_chans=1"):
        Colorization(ColorizationConfig("convnet4"), image_px=32, in_chans=1)
    with pytest.raises(ValueError, match="has no regions with features as wide"):
        Colorization(ColorizationConfig("mobilenetv3_small_100"), image_px=64)


def two_steps() -> Told:
    method = small(doublings=1)
    batch = some(6)

    def part(step: int, own: slice) -> Batch:
        return batch_of(**{group: views[:, own] for group, views in batch.views.items()})

    method.observe(part(0, slice(rank() * 6 // world_size(), (rank() + 1) * 6 // world_size())))
    return steps_of(method, part, 6)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_do_together_what_one_does(world: World, ranks: int) -> None:
    alone = two_steps()
    assert_alike(alone, world(ranks, two_steps))
    assert int(alone.state["prior.counts"].sum()) == 6 * 16  # among what is the same on all
