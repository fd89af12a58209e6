"""The dVAE as a method: what its loss adds up, how it anneals, what is watched, ranks, and that it learns to paint."""

from __future__ import annotations

import math
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from viewmill.augment import presets
from viewmill.models import discrete_vae, method_info
from viewmill.models.dvae import DVAE, DVAEConfig
from viewmill.models.pictured import Shown
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn
from viewmill.pipelines.batch import Batch

from ..world import World
from .batches import batch_of
from .ranks import SGD, Told, assert_alike, steps_of

TINY = {"vocabulary": 8, "code_dim": 6, "width": 8, "halvings": 2}


def small(image_px: int = 8, **fields: object) -> DVAE:
    torch.manual_seed(0)
    return DVAE(DVAEConfig(**{**TINY, **fields}), image_px=image_px)  # type: ignore[arg-type]


def views(images: int, side: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, images, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 0.8 + 0.1


def test_the_loss_is_the_pixels_cost_and_beta_times_the_kl_over_the_values_of_a_code() -> None:
    method = small()
    method.after_step(0.5)
    values = {name: float(value.detach()) for name, value in method(batch_of(views(4))).items()}
    # 6.6 beside a sum over 4 x 4 x 3 values, over their number.
    assert values["loss"] == pytest.approx(values["cost"] + 6.6 / 48 * values["kl"], rel=1e-5)
    assert values["kl"] >= 0 and values["temperature"] == pytest.approx(1 / 16)
    with torch.device("meta"):
        published = DVAE(DVAEConfig(), image_px=256)
    assert published.vae.stride**2 * 3 == 192  # so that the published weight beside a mean over values is 6.6 / 192


def test_temperature_and_kl_are_annealed_by_progress() -> None:
    method = small(temperature_share=0.5, kl_share=0.25)
    assert float(method.temperature) == 1.0
    batch, weights = batch_of(views(4)), []
    for progress in (0.0, 0.125, 0.25, 0.5):
        method.after_step(progress)
        values = method(batch)
        weights.append(float((values["loss"].detach() - values["cost"]) / values["kl"]) * 48)
    assert weights == pytest.approx([0.0, 3.3, 6.6, 6.6], abs=1e-3)
    assert float(method.temperature) == pytest.approx(1 / 16)
    method.after_step(0.25)
    assert float(method.temperature) == pytest.approx((1 + 1 / 16) / 2)
    again = small(temperature_share=0.5)
    again.load_state_dict(method.state_dict())
    assert float(again.temperature) == float(method.temperature)


def test_codes_that_are_used_are_watched() -> None:
    method = small()
    with torch.no_grad():
        method.vae.encoder[-1].weight.zero_()
        method.vae.encoder[-1].bias.zero_()
        method.vae.encoder[-1].bias[3] = 1.0
    values = method(batch_of(views(4)))
    assert float(values["perplexity"]) == pytest.approx(1.0) and float(values["used"]) == pytest.approx(1 / 8)
    p = np.exp([0] * 7 + [1.0])
    p /= p.sum()
    assert float(values["kl"]) == pytest.approx((p * np.log(p)).sum() + math.log(8), rel=1e-4)


def test_features_are_each_codes_share_of_the_picture() -> None:
    for fields in ({}, {"quantizer": "vq"}):
        method, images = small(**fields), views(3)[0]
        features = method.features(images)
        assert features.shape == (3, method.feature_dim) == (3, 8)
        torch.testing.assert_close(features.sum(1), torch.ones(3))
        expected = method.vae.logits(images).softmax(1).flatten(2).mean(2)
        torch.testing.assert_close(features, expected)
    assert method.encoder is method.vae.encoder


@pytest.mark.parametrize("fields", [{}, {"quantizer": "vq"}, {"law": "mse", "straight_through": True}])
def test_every_trainable_weight_gets_a_gradient(fields: dict[str, object]) -> None:
    method = small(**fields)
    method(batch_of(views(4)))["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_gradient_is_that_of_finite_differences() -> None:
    method, batch = small().double(), batch_of(views(2).double())
    method.after_step(0.01)
    weight = method.vae.encoder[-1].bias

    def cost() -> torch.Tensor:
        torch.manual_seed(5)
        loss: torch.Tensor = method(batch)["loss"]
        return loss

    cost().backward()
    gradient = weight.grad
    assert gradient is not None
    for place in (1, 6):
        found = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[place] += sign * 1e-5
                found.append(float(cost()))
                weight[place] -= sign * 1e-5
        assert float(gradient[place]) == pytest.approx((found[0] - found[1]) / 2e-5, rel=1e-3, abs=1e-9)


def step_batch(step: int, which: slice) -> Batch:
    return batch_of(views(12, seed=step)[:, which])


def two_steps(images: int, quantizer: str) -> Told:
    with patch.object(discrete_vae, "gumbel_noise", torch.zeros_like):  # each rank draws its own
        return steps_of(small(quantizer=quantizer), step_batch, images)


@pytest.mark.parametrize("quantizer", ["gumbel", "vq"])
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_are_the_parts_of_one_process(world: World, ranks: int, quantizer: str) -> None:
    assert_alike(two_steps(12, quantizer), world(ranks, two_steps, 12, quantizer))


@pytest.mark.parametrize("fields", [{"law": "mse", "kl_weight": 0.0}, {"law": "mse", "quantizer": "vq"}])
def test_it_learns_to_paint_squares_of_few_colours(fields: dict[str, object]) -> None:
    generator = torch.Generator().manual_seed(0)
    colours = torch.tensor([[0.1, 0.1, 0.9], [0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.9, 0.9, 0.9]])
    which = torch.randint(4, (32, 2, 2), generator=generator)
    images = colours[which].movedim(-1, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    method = small(temperature_share=1.0, width=16, code_dim=16, **fields)
    torch.nn.init.normal_(method.vae.encoder[-1].weight, std=2.0)  # with torch's, the noise is larger for hundreds of steps
    optimizer, steps = build_optimizer(method, replace(SGD, name="adamw", weight_decay=0.0)), 200
    for step in range(steps):
        values = method(batch_of(images[None]))
        learn(method, optimizer, values["loss"], 3e-3, None, (step + 1) / steps)
    painted = method.eval().vae.paint(method.vae.codes(images))
    assert float((painted - images).square().mean()) < 0.6 * float(images.var())
    assert float(values["perplexity"]) > 2


def test_pictures_show_what_was_there_its_codes_and_what_they_paint() -> None:
    recipe = presets.recipe("beit_tokenizer_cifar")
    method = small(32).eval()
    levels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32)).astype(np.float32))
    columns = method.pictures(Shown(batch_of((levels / 255 * 0.8 + 0.1)[None]), recipe))
    assert list(columns) == ["original", "codes", "reconstruction"]
    torch.testing.assert_close(columns["original"], levels / 255, atol=1e-5, rtol=0)
    assert columns["codes"].shape == (2, 3, 8, 8)
    painted = method.vae.paint(method.vae.codes(levels / 255 * 0.8 + 0.1))
    torch.testing.assert_close(columns["reconstruction"], ((painted - 0.1) / 0.8).clamp(0, 1), atol=1e-5, rtol=0)


def test_the_published_recipe_has_the_values_that_the_law_needs() -> None:
    info = method_info("dvae")
    for name in (info.recipe, info.recipe_32px, "beit"):
        views_of = presets.recipe(name).instances
        assert next(op for op in views_of[-1].ops if op.type == "normalize").gain == 0.8


@pytest.mark.parametrize(("fields", "message"), [
    ({"vocabulary": 1}, "model.vocabulary needs a whole number of at least 2, got 1"),
    ({"final_temperature": 0.0}, "model.final_temperature needs a number above 0, got 0.0"),
    ({"kl_weight": -1.0}, "model.kl_weight needs a number of at least 0, got -1.0"),
    ({"temperature_share": 2.0}, r"model.temperature_share needs a number in \[0, 1\], got 2.0"),
    ({"halvings": 4}, "views of 8 x 8 px and 3 channels are no whole number of codes"),
])
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**fields)


def test_pixels_that_the_law_does_not_take_are_refused() -> None:
    with pytest.raises(ValueError, match=r"law=laplace.* needs values in \[0.1, 0.9\], views of group 'global' lie in \[-1.00"):
        small()(batch_of(views(9) * 2.5 - 1.25))
    small(law="mse")(batch_of(views(9) * 2.5 - 1.25))
