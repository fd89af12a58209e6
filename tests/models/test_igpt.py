"""iGPT: what each pixel's colour costs, of which pixels, the palette and where it comes from, ranks, and that it learns."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from viewmill.augment import presets
from viewmill.augment.ops.palette import fit_palette
from viewmill.models import method_info
from viewmill.models.distributed import rank, world_size
from viewmill.models.igpt import IGPT, IGPTConfig
from viewmill.models.pictured import Shown
from viewmill.models.token_pictures import spread_colours
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn
from viewmill.pipelines.batch import Batch

from ..world import World
from .batches import batch_of
from .ranks import SGD, Told, assert_alike, steps_of

TINY = {"colours": 6, "embed_dim": 16, "depth": 2, "heads": 2}


def small(image_px: int = 4, **fields: object) -> IGPT:
    torch.manual_seed(0)
    method = IGPT(IGPTConfig(**{**TINY, **fields}), image_px=image_px)  # type: ignore[arg-type]
    torch.nn.init.normal_(method.head.weight, std=0.3)  # at first it is 0, and says nothing
    return method


def views(images: int, side: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, images, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def uneven(images: int, seed: int = 0) -> np.ndarray:
    """(1, images, 4, 4) bool: image i has i % 4 masked pixels, so that some have none."""
    order = np.random.default_rng(seed).random((images, 16)).argsort(-1).argsort(-1)
    return (order < (np.arange(images) % 4)[:, None]).reshape(1, images, 4, 4)


def costs_of(method: IGPT, images: torch.Tensor, mask: torch.Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """(N, L) cross-entropy and whether the likeliest colour is right."""
    codes = method.encoder.codes(images)
    with torch.no_grad():
        logits = method.head(method.encoder.tokens(codes, mask)).double().numpy()
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    own = np.take_along_axis(shares, codes.numpy()[..., None], -1)[..., 0]
    return -np.log(own), logits.argmax(-1) == codes.numpy()


def test_autoregressive_every_pixel_counts_alike() -> None:
    method, given = small(), views(3)
    values = method(batch_of(given))
    costs, right = costs_of(method, given[0], None)
    assert float(values["loss"].detach()) == pytest.approx(costs.mean(), rel=1e-5)
    assert float(values["accuracy"]) == pytest.approx(right.mean())


def test_bert_masked_pixels_count_within_their_image_and_images_alike() -> None:
    method, given, masks = small(objective="bert"), views(7), uneven(7)
    values = method(batch_of(given, masks))
    mask = torch.from_numpy(masks[0]).flatten(1)
    costs, right = costs_of(method, given[0], mask)
    of_images = [np.mean(each[m]) for each, m in zip(costs, mask.numpy(), strict=True) if m.any()]
    assert len(of_images) == 5  # the first and the fifth image have nothing masked
    assert float(values["loss"].detach()) == pytest.approx(np.mean(of_images), rel=1e-5)
    of_images = [np.mean(each[m]) for each, m in zip(right, mask.numpy(), strict=True) if m.any()]
    assert float(values["accuracy"]) == pytest.approx(np.mean(of_images))


@pytest.mark.parametrize("fields", [{}, {"objective": "bert"}])
def test_at_first_it_says_each_of_512_colours_is_as_likely(fields: dict[str, object]) -> None:
    torch.manual_seed(0)
    method = IGPT(IGPTConfig(**{**TINY, "colours": 512, **fields}), image_px=4)  # type: ignore[arg-type]
    masks = uneven(3)
    assert float(method(batch_of(views(3), masks))["loss"].detach()) == pytest.approx(math.log(512), rel=1e-6)  # 6.24


@pytest.mark.parametrize("fields", [{}, {"objective": "bert"}])
def test_every_weight_gets_a_gradient(fields: dict[str, object]) -> None:
    method = small(**fields)
    method(batch_of(views(4), uneven(4)))["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


def test_only_masked_pixels_predictions_have_a_gradient() -> None:
    method, masks = small(objective="bert"), uneven(4)
    kept: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, args: object, made: torch.Tensor) -> None:
        made.retain_grad()
        kept.append(made)

    method.head.register_forward_hook(keep)
    method(batch_of(views(4), masks))["loss"].backward()
    gradient = kept[0].grad
    assert gradient is not None and torch.equal(gradient.abs().sum(2) > 0, torch.from_numpy(masks[0]).flatten(1))


def test_the_gradient_is_that_of_finite_differences() -> None:
    method, given = small().double(), batch_of(views(2).double())
    method.encoder.palette = method.encoder.palette.float()
    method(given)["loss"].backward()
    weight = method.encoder.positions
    gradient = weight.grad
    assert gradient is not None
    for place in (0, 9):
        found = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[0, place, 3] += sign * 1e-5
                found.append(float(method(given)["loss"]))
                weight[0, place, 3] -= sign * 1e-5
        assert float(gradient[0, place, 3]) == pytest.approx((found[0] - found[1]) / 2e-5, rel=1e-4, abs=1e-10)


def test_features_are_the_middle_layers() -> None:
    method, images = small(depth=4), views(2)[0]
    assert method.encoder.feature_layer == 2 and small(depth=1).encoder.feature_layer == 1
    assert torch.equal(method.features(images), method.encoder(images)) and method.feature_dim == 16
    assert small(depth=4, feature_layer=3).encoder.feature_layer == 3


def test_the_palette_is_the_k_means_of_a_few_pixels_of_every_image() -> None:
    method, given = small(), views(9, seed=3)
    assert torch.equal(method.encoder.palette, 2 * spread_colours(6) - 1)  # until it is known, all over the cube
    assert method.wants_pass(0) and not method.wants_pass(0.2)
    method.observe(batch_of(given[:, :4]))
    method.before_step(0)
    pixels = []
    for index in range(4):
        places = [(index * 7919 + step * 104729) % 16 for step in range(8)]
        pixels += [given[0, index, :, place // 4, place % 4] for place in places]
    assert torch.equal(method.encoder.palette, fit_palette(torch.stack(pixels), 6, seed=0))
    before = method.encoder.palette.clone()
    method.before_step(1)
    assert torch.equal(method.encoder.palette, before)
    again = small()
    again.load_state_dict(method.state_dict())
    assert torch.equal(again.encoder.palette, before)


def test_pictures_of_as_many_colours_as_the_palette_has_are_kept_as_they_are() -> None:
    colours = spread_colours(6) * 2 - 1
    which = torch.randint(6, (40, 16, 16), generator=torch.Generator().manual_seed(0))
    images = colours[which].movedim(-1, 1)
    method = small(16)
    method.observe(batch_of(images[None]))
    method.before_step(0)
    torch.testing.assert_close(method.encoder.palette[method.encoder.codes(images)].mT.unflatten(2, (16, 16)), images)


def palette_of(images: int) -> torch.Tensor:
    method = small()
    own = slice(rank() * images // world_size(), (rank() + 1) * images // world_size())
    for step in range(2):
        whole = batch_of(views(images, seed=step))
        part = replace(whole, views={"global": whole.views["global"][:, own]}, index=(2 * whole.index + step)[own])
        method.observe(part)
    method.before_step(0)
    return method.encoder.palette


@pytest.mark.parametrize("ranks", [2, 3])
def test_all_ranks_have_the_palette_of_one_process(world: World, ranks: int) -> None:
    alone = palette_of(11)
    assert all(torch.equal(of, alone) for of in world(ranks, palette_of, 11))


def test_a_palette_from_a_file(tmp_path: Path) -> None:
    given = (np.random.default_rng(0).random((6, 3)) * 2 - 1).astype(np.float32)
    np.save(tmp_path / "centres.npy", given)
    method = small(palette=str(tmp_path / "centres.npy"))
    assert not method.wants_pass(0)
    method.before_step(0)
    np.testing.assert_array_equal(method.encoder.palette.numpy(), given)
    (tmp_path / "centres.npy").unlink()
    method.before_step(0.5)  # a resumed run has it in its checkpoint
    (tmp_path / "text.npy").write_text("no numbers")
    np.save(tmp_path / "levels.npy", np.full((6, 3), 255))
    np.save(tmp_path / "short.npy", np.zeros((5, 3)))
    numbers = r"needs \(6, 3\) numbers in \[-1, 1\], got"
    refusals = {"none.npy": "cannot be read", "text.npy": "cannot be read",
                "levels.npy": rf"{numbers} int64 of shape \(6",
                "short.npy": rf"{numbers} float64 of shape \(5, 3\)"}
    for name, message in refusals.items():
        with pytest.raises(ValueError, match=f"model.palette=.*{name} {message}"):
            small(palette=str(tmp_path / name)).before_step(0)


def step_batch(step: int, which: slice) -> Batch:
    return batch_of(views(12, seed=step)[:, which], uneven(12, step)[:, which])


def two_steps(images: int, objective: str) -> Told:
    method = small(objective=objective)
    return steps_of(method, step_batch, images)


@pytest.mark.parametrize("objective", ["autoregressive", "bert"])
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_are_the_parts_of_one_process(world: World, ranks: int, objective: str) -> None:
    assert_alike(two_steps(12, objective), world(ranks, two_steps, 12, objective))


def stripes(images: int) -> torch.Tensor:
    """(1, images, 3, 4, 4): each of two colours in turn, column by column."""
    colours = 2 * spread_colours(6) - 1
    first = torch.arange(images) % 6
    second = (first + 1 + torch.arange(images) // 6 % 5) % 6
    columns = torch.stack([first, second, first, second], 1)
    return colours[columns[:, None].expand(-1, 4, -1)].movedim(-1, 1)[None]


@pytest.mark.parametrize("fields", [{}, {"objective": "bert"}])
def test_it_learns_stripes_and_completes_them(fields: dict[str, object]) -> None:
    method, given = small(depth=2, embed_dim=32, **fields), stripes(30)
    optimizer = build_optimizer(method, replace(SGD, name="adam", weight_decay=0.0))
    for step in range(150):
        values = method(batch_of(given, uneven(30, step)))
        learn(method, optimizer, values["loss"], 5e-3, 1.0, 0.5)
    # The first two pixels cannot be known: two of 16 cost ln 6 and ln 5, 0.21 in the mean.
    assert float(values["loss"].detach()) < 0.5 and float(values["accuracy"]) > 0.8
    if not fields:
        codes = method.encoder.codes(given[0])
        torch.manual_seed(0)
        made = method.completed(torch.cat([codes[:, :8], torch.zeros_like(codes[:, 8:])], 1), 8)
        assert torch.equal(made[:, :8], codes[:, :8]) and float((made == codes).float().mean()) > 0.9


@pytest.mark.parametrize(("name", "columns"), [("igpt_ar_cifar", ["colours", "told", "completed", "original"]),
                                               ("igpt_bert_cifar", ["colours", "masked", "told", "original"])])
def test_pictures_show_colours_and_what_was_told_of_them(name: str, columns: list[str]) -> None:
    method = small(8, objective="bert" if "bert" in name else "autoregressive").eval()
    levels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8)).astype(np.float32))
    masks = np.random.default_rng(1).random((1, 3, 8, 8)) < 0.15
    shown = Shown(batch_of((levels / 127.5 - 1)[None], masks), presets.recipe(name))
    with torch.no_grad():
        made = method.pictures(shown)
    assert list(made) == columns
    torch.testing.assert_close(made["original"], levels / 255, atol=1e-5, rtol=0)
    # Back as the authors decode: round(127.5 (c + 1)), here as shares of 255.
    codes = method.encoder.codes(levels / 127.5 - 1)
    expected = ((method.encoder.palette[codes] + 1) / 2).mT.unflatten(2, (8, 8))
    torch.testing.assert_close(made["colours"], expected, atol=1e-5, rtol=0)
    if "completed" in made:
        assert torch.equal(made["completed"][:, :, :4], made["colours"][:, :, :4])
    else:
        hidden = torch.from_numpy(masks[0])[:, None].expand(-1, 3, -1, -1)
        assert (made["masked"][hidden] == 0.5).all() and torch.equal(made["told"][~hidden], made["colours"][~hidden])


def test_recipes_say_what_the_method_does() -> None:
    info = method_info("igpt")
    for recipe, colours, side in ((info.recipe, info.config().colours, 32), (info.recipe_32px, 64, 8)):
        found = presets.recipe(recipe).instances[0]
        assert next(op for op in found.ops if op.type == "palette").colours == colours and found.size_hw == (side, side)
    assert "model.colours=64" in info.small


@pytest.mark.parametrize(("fields", "message"), [
    ({"colours": 1}, "model.colours needs a whole number of at least 2, got 1"),
    ({"heads": 3}, "model.embed_dim=16 needs to be a multiple of model.heads=3"),
    ({"feature_layer": 3}, "model.feature_layer=3 needs at most model.depth=2"),
])
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**fields)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="igpt's palette is of 3 channels, got in_chans=1"):
        IGPT(IGPTConfig(**TINY), image_px=4, in_chans=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="masks of 2 x 2 places do not fit 4 x 4 pixels; set grid of the recipe's mask"):
        small(objective="bert")(batch_of(views(2), np.ones((1, 2, 2, 2), bool)))
    with pytest.raises(ValueError, match="no patch of this step is masked"):
        small(objective="bert")(batch_of(views(2), np.zeros((1, 2, 4, 4), bool)))
    method = small(colours=40)
    method.observe(batch_of(views(2)))
    with pytest.raises(ValueError, match=r"model.colours=40 are more than the images show .*; use fewer, or give model.palette"):
        method.before_step(0)
