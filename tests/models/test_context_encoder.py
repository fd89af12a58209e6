"""Context Encoders: what is hidden, what counts, both sides of the game, any backbone, and that ranks do as one does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import viewmill as vm
from torch import nn
from viewmill.models.context_encoder import ContextEncoder, ContextEncoderConfig
from viewmill.models.pictured import Pictured, Shown
from viewmill.pipelines.batch import Batch
from viewmill.train import read

from ..world import World
from .batches import handed_batch
from .ranks import Told, assert_alike, steps_of

CENTER, RANDOM = vm.recipe("context_encoder_center_cifar"), vm.recipe("context_encoder_cifar")
TINY = {"backbone": "convnet4", "width": 4, "predict": "image", "overlap_px": 0}
AUTHORS = {"code_dim": 16, "width": 4, "overlap_px": 1}


def small(image_px: int = 32, **fields: object) -> ContextEncoder:
    torch.manual_seed(0)
    return ContextEncoder(ContextEncoderConfig(**{**TINY, **fields}), image_px=image_px)  # type: ignore[arg-type]


def authors(**fields: object) -> ContextEncoder:
    torch.manual_seed(0)
    return ContextEncoder(ContextEncoderConfig(**{**AUTHORS, **fields}), image_px=32)  # type: ignore[arg-type]


def pictures(count: int, side: int = 40) -> np.ndarray:
    """Smooth ones, of a colour and a slope each."""
    rng = np.random.default_rng(0)
    slope, colour = rng.uniform(-1, 1, (2, count, 1, 1, 3)), rng.uniform(60, 190, (count, 1, 1, 3))
    y, x = np.mgrid[-1:1:side * 1j, -1:1:side * 1j][..., None]
    return (colour + 60 * (slope[0] * y + slope[1] * x)).clip(0, 255).astype(np.uint8)


def batch_of(recipe: object, count: int = 4, rows: slice = slice(None)) -> Batch:
    return handed_batch(recipe, pictures(count), ("masks",), rows)  # type: ignore[arg-type]


def test_what_is_seen_is_the_image_with_the_published_fill_in_the_hole() -> None:
    holed, images, hole = authors().seen(batch_of(CENTER))
    middle, blank = (slice(None), slice(None), slice(8, 24), slice(8, 24)), slice(9, 23)
    expected = images.clone()
    expected[:, :, blank, blank] = (2 * torch.tensor([117.0, 104.0, 123.0]) / 255 - 1)[:, None, None]
    torch.testing.assert_close(holed, expected)
    assert hole.sum() == 4 * 16 * 16 and bool(hole[:, 8:24, 8:24].all())
    torch.testing.assert_close(authors().part(images), images[middle])
    assert float(images.min()) >= -1 and float(images.max()) <= 1


def test_the_loss_of_the_release_in_numpy() -> None:
    """.999 of the mean squared error in the middle, ten times in its ring, .001 of the cross-entropy of being taken for real, and
    the discriminator's own."""
    method, batch = authors(), batch_of(CENTER)
    values = method(batch)
    holed, images, _ = method.seen(batch)
    target = images[:, :, 8:24, 8:24]
    painted = method.paint(holed)
    assert method.adversary is not None
    real, made = (method.adversary.judge(x).detach().double().numpy() for x in (target, painted))
    weight = np.full((16, 16), 10.0)
    weight[1:15, 1:15] = 1
    squares = (painted - target).detach().double().numpy() ** 2
    fooling = np.log1p(np.exp(-made)).mean()
    judging = np.log1p(np.exp(-real)).mean() + np.log1p(np.exp(made)).mean()
    expected = 0.999 * (weight * squares).mean() + 0.001 * fooling + judging
    assert float(values["loss"].detach()) == pytest.approx(expected, rel=1e-5)
    assert float(values["squared_error"]) == pytest.approx(squares.mean(), rel=1e-5)
    assert float(values["judging"]) == pytest.approx(judging, rel=1e-5)
    assert float(values["fooling"]) == pytest.approx(fooling, rel=1e-5)


def test_the_painter_is_not_moved_by_the_judges_loss_nor_the_judge_by_the_painters() -> None:
    method, batch = authors(adversarial_weight=0.5), batch_of(CENTER)
    method(batch)["loss"].backward()
    mine = {name: parameter.grad for name, parameter in method.named_parameters()}
    again = authors(adversarial_weight=0.5)
    assert again.adversary is not None
    holed, images, _ = again.seen(batch)
    painted, target = again.paint(holed), again.part(images)
    for module, loss in (
        (again.decoder, 0.5 * F.softplus(-again.adversary.judge(painted)).mean() + 0.5 * weighted(painted, target)),
        (again.adversary, F.softplus(-again.adversary.judge(target)).mean()
         + F.softplus(again.adversary.judge(painted.detach())).mean()),
    ):
        prefix = "decoder." if module is again.decoder else "adversary."
        expected = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True)
        for (name, _), gradient in zip(module.named_parameters(), expected, strict=True):
            torch.testing.assert_close(mine[prefix + name], gradient, rtol=1e-3, atol=1e-5)


def weighted(painted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    weight = torch.full((16, 16), 10.0)
    weight[1:15, 1:15] = 1
    return (weight * (painted - target).square()).mean()


def test_in_half_precision_every_part_still_learns() -> None:
    method, batch = authors(), batch_of(CENTER)
    with torch.autocast("cpu", torch.bfloat16):
        values = method(batch)
    values["loss"].backward()
    assert values["loss"].dtype == values["judging"].dtype == torch.float32
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in method.parameters())


def test_features_are_learnt_by_squared_errors_in_the_holes_alone() -> None:
    method, batch = small().eval(), batch_of(RANDOM)
    assert method.adversary is None and method.rates() == {}
    values = method(batch)
    holed, images, hole = method.seen(batch)
    assert 0.15 < float(hole.float().mean()) < 0.35
    squares = (method.paint(holed) - images).detach().square().mean(1)
    expected = torch.stack([row[inside].mean() for row, inside in zip(squares, hole, strict=True)]).mean()
    assert float(values["loss"].detach()) == pytest.approx(float(expected), rel=1e-5)
    whole = small(context_weight=1.0).eval()(batch)["loss"]
    assert float(whole.detach()) == pytest.approx(float(squares.mean()), rel=1e-5)


@pytest.mark.parametrize(("backbone", "image_px", "dim"), [
    ("convnet4", 32, 256), ("resnet18", 32, 512), ("vit_tiny_patch16_224", 32, 192), ("alexnet", 96, 256 * 2 * 2)])
def test_any_backbone(backbone: str, image_px: int, dim: int) -> None:
    method = small(image_px, backbone=backbone)
    assert method.feature_dim == dim and method.features(torch.zeros(2, 3, image_px, image_px)).shape == (2, dim)
    assert method.paint(torch.zeros(2, 3, image_px, image_px)).shape == (2, 3, image_px, image_px)
    if image_px == 32:
        method(batch_of(RANDOM))["loss"].backward()
        assert [name for name, p in method.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("predict", ["image", "center"])
def test_a_decoder_of_features_sees_nothing_else(predict: str) -> None:
    method, images = small(decode="features", predict=predict).eval(), torch.randn(2, 3, 32, 32)
    painted = method.paint(images)
    assert painted.shape[-1] == (32 if predict == "image" else 16)
    torch.testing.assert_close(painted, method.decoder(method.features(images)[:, :, None, None]))
    method.train()(batch_of(RANDOM if predict == "image" else CENTER))["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


def test_alexnet_ends_at_pool5() -> None:
    method, images = small(96, backbone="alexnet").eval(), torch.randn(2, 3, 96, 96)
    expected = method.encoder.pool(method.encoder.maps(images)["conv5"]).flatten(1)
    torch.testing.assert_close(method.features(images), expected)
    assert not any(name.startswith("encoder.fc") for name, _ in method.named_parameters())


def test_it_learns_to_paint_what_it_does_not_see() -> None:
    method, batch = small(width=16), batch_of(RANDOM, 16)
    optimizer = torch.optim.AdamW(method.parameters(), 5e-3)
    errors = []
    for _ in range(40):
        values = method(batch)
        optimizer.zero_grad()
        values["loss"].backward()
        optimizer.step()
        errors.append(float(values["squared_error"]))
    assert errors[-1] < 0.1 * errors[0]


def test_pictures_show_the_hole_what_was_painted_and_what_was_there() -> None:
    method, batch = authors().eval(), batch_of(CENTER)
    with torch.no_grad():
        columns = method.pictures(Shown(batch, CENTER))
    assert isinstance(method, Pictured) and list(columns) == ["with a hole", "painted", "original"]
    holed, images, _ = method.seen(batch)
    painted = images.clone()
    painted[:, :, 8:24, 8:24] = method.paint(holed).detach()
    for column, expected in zip(columns.values(), (holed, painted, images), strict=True):
        torch.testing.assert_close(column, (expected + 1) / 2)
    torch.testing.assert_close(method.shown(batch.views)[0], images)


def test_pictures_of_scattered_holes_show_what_was_painted_in_them_alone() -> None:
    method, batch = small().eval(), batch_of(RANDOM)
    with torch.no_grad():
        painted = method.pictures(Shown(batch, RANDOM))["painted"]
        holed, images, hole = method.seen(batch)
        expected = torch.where(hole[:, None], method.paint(holed), images)
    torch.testing.assert_close(painted, (expected + 1) / 2)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.overlap_px=2, and the recipe hides some of the outermost 2 px"):
        authors(overlap_px=2)(batch_of(CENTER))
    with pytest.raises(ValueError, match=r"model\.predict=center paints the middle of a view alone"):
        authors(overlap_px=0)(batch_of(RANDOM))
    with pytest.raises(ValueError, match="masks of pixels, 32 x 32, got 8 x 8; use for example recipe=context_encoder_center"):
        small()(handed_batch(vm.recipe("mae_cifar"), pictures(4), ("masks",)))
    with pytest.raises(ValueError, match=r"masks hide nothing; they need a fill, and the Loader left=\('masks',\)"):
        small()(handed_batch(RANDOM, pictures(4), ()))
    with pytest.raises(ValueError, match=r"model\.adversarial_weight needs a number in \[0, 1\], got 2"):
        ContextEncoderConfig(adversarial_weight=2)
    with pytest.raises(ValueError, match="has no regions with features as wide as an image's"):
        small(backbone="mobilenetv3_small_050")


def unfilled(config: ContextEncoderConfig, image_px: int) -> ContextEncoder:
    with torch.device("meta"):  # shapes without numbers
        return ContextEncoder(config, image_px=image_px)


def test_the_published_runs() -> None:
    run, recipe = read(["context_encoder", "data=train.tar"])
    method = unfilled(run.model, 128)
    of = run.optimizer
    assert (of.name, of.lr, of.betas, of.weight_decay) == ("adam", 2e-3, (0.5, 0.999), 0)
    assert (run.epochs, run.batch_size, run.schedule.law, run.schedule.steps_at, recipe.name) == (
        500, 64, "steps", (), "context_encoder_center")
    # The discriminator's 2e-4 is a tenth of the painter's rate, and its share .001.
    assert method.rates() == {"adversary": 0.1} and method.share == 0.001 and method.out_px == 64
    assert (run.model.code_dim, run.model.overlap_px, run.model.overlap_weight) == (4000, 4, 10)
    run, recipe = read(["context_encoder", "data=train.tar", "variant=random"])
    assert (run.model.predict, run.model.context_weight, run.model.overlap_px) == ("image", 1, 0)
    assert unfilled(run.model, 128).out_px == 128 and recipe.name == "context_encoder_random"
    run, _ = read(["context_encoder", "data=train.tar", "variant=features"])
    assert run.model.backbone == "alexnet" and unfilled(run.model, 227).adversary is None


def steps(fields: dict[str, object], images: int) -> Told:
    method = ContextEncoder(ContextEncoderConfig(**fields), image_px=32)  # type: ignore[arg-type]
    recipe = CENTER if fields.get("predict", "center") == "center" else RANDOM
    torch.manual_seed(0)
    for parameter in method.parameters():
        nn.init.normal_(parameter, 0.5 if parameter.ndim == 1 else 0.0, 0.1)
    return steps_of(method, lambda step, which: batch_of(recipe, images, which), images)


@pytest.mark.parametrize(("ranks", "images"), [(2, 6), (3, 6)])
@pytest.mark.parametrize("fields", [AUTHORS, TINY], ids=["adversarial", "squared errors"])
def test_ranks_together_learn_as_one_process(world: World, ranks: int, images: int, fields: dict[str, object]) -> None:
    assert_alike(steps(fields, images), world(ranks, steps, fields, images))
