"""BEiT: which codes are told of which patches, what telling them wrong costs, on ranks too, first weights, and that it learns."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from viewmill.augment import presets
from viewmill.models import method_info
from viewmill.models.beit import BEiT, BEiTConfig, begin_as_beit
from viewmill.models.pictured import Shown
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn
from viewmill.models.vit import is_plain_vit
from viewmill.pipelines.batch import Batch

from ..world import World
from .batches import batch_of, random_views, uneven_masks
from .flops import multiply_adds
from .ranks import SGD, Told, assert_alike, steps_of

TINY = {"backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 32, "depth": 2, "heads": 2, "drop_path": 0.0,
        "tokenizer": "dvae", "vocabulary": 11, "tokenizer_width": 4, "tokenizer_halvings": 2}
ABSOLUTE = {"positions": "absolute", "layer_scale": None}


def small(image_px: int = 16, **fields: object) -> BEiT:
    torch.manual_seed(0)
    method = BEiT(BEiTConfig(**{**TINY, **fields}), image_px=image_px)  # type: ignore[arg-type]
    own = method.targets.own
    if own is not None:  # as it begins, it has one code for everything; here vectors of some pictures
        with torch.no_grad():
            vectors = own.encoder(target(random_views(1, 8, 16, 9))[0]).movedim(1, -1).flatten(0, 2)
            own.codebook.weight.copy_(vectors[torch.arange(own.vocabulary) * len(vectors) // own.vocabulary])
    return method


def target(views: torch.Tensor) -> torch.Tensor:
    """What a tokenizer sees of the same pictures, in DALL-E's range."""
    return views.clamp(-2, 2) / 5 + 0.5


def batch(images: int, seed: int = 0, side: int = 16) -> Batch:
    views = random_views(1, images, side, seed)
    return batch_of(views, uneven_masks(images, seed), target=target(views))


def test_the_loss_is_the_cross_entropy_of_all_masked_patches_codes() -> None:
    method, given = small(), batch(5)
    values = method(given)
    mask = given.masks("global")[0].flatten(1)
    with torch.no_grad():
        logits = method.head(method.tokens(given.views["global"][0], mask)[:, 1:]).double().numpy()
    codes = method.targets.own.codes(given.views["target"][0]).flatten(1).numpy()
    costs, right, told = [], [], []
    for n, patch in zip(*np.nonzero(mask.numpy()), strict=True):
        e = np.exp(logits[n, patch])
        costs.append(-np.log(e[codes[n, patch]] / e.sum()))
        right.append(logits[n, patch].argmax() == codes[n, patch])
        told.append(codes[n, patch])
    assert len(costs) == 1 + 2 + 3 + 4 + 5
    assert float(values["loss"].detach()) == pytest.approx(np.mean(costs), rel=1e-5)
    assert float(values["accuracy"]) == pytest.approx(np.mean(right)) and len(set(told)) > 2
    p = np.bincount(told, minlength=11) / len(told)
    assert float(values["perplexity"]) == pytest.approx(np.exp(-sum(q * np.log(q) for q in p if q)), rel=1e-5)


def test_the_codes_grid_is_laid_over_the_patches_row_by_row() -> None:
    # Codes by hand, 0 to 15 row by row, and a head that says the same of every patch: the cost tells which code was asked for.
    method, views = small(vocabulary=16), random_views(1, 1, 16)
    method.targets.own.codes = lambda images: (images[:, 0, ::4, ::4] * 20).round().long()
    codes = (torch.arange(16.0).reshape(4, 4) / 20).repeat_interleave(4, 0).repeat_interleave(4, 1)
    with torch.no_grad():
        method.head.weight.zero_()
        method.head.bias.copy_(torch.arange(16.0))
    mask = np.zeros((1, 1, 4, 4), bool)
    mask[0, 0, 1, 3] = True  # the eighth
    loss = method(batch_of(views, mask, target=codes.expand(1, 1, 3, 16, 16)))["loss"]
    assert float(loss.detach()) == pytest.approx(float(torch.arange(16.0).logsumexp(0)) - 7, rel=1e-5)


@pytest.mark.parametrize("fields", [{}, ABSOLUTE])
def test_what_is_masked_changes_no_prediction_and_the_codes_alone(fields: dict[str, object]) -> None:
    method, given = small(**fields).eval(), batch(3)
    hidden = torch.from_numpy(given.masks("global")[0].numpy().repeat(4, 1).repeat(4, 2))[:, None]
    views = given.views["global"][0]
    mask = given.masks("global")[0].flatten(1)
    told = method.head(method.tokens(views, mask))
    assert torch.equal(method.head(method.tokens(torch.where(hidden, 3.0, views), mask)), told)
    assert not torch.allclose(method.head(method.tokens(torch.where(hidden, views, 3.0), mask)), told)


def test_the_head_is_given_masked_patches_only_and_the_tokenizer_no_gradient() -> None:
    method, given = small(), batch(3)
    taken: list[torch.Tensor] = []
    method.head.register_forward_hook(lambda module, rows, made: taken.append(rows[0]))
    method(given)["loss"].backward()
    assert [len(rows) for rows in taken] == [int(given.masks("global").sum())]
    for name, p in method.named_parameters():
        assert (p.grad is None) == name.startswith("targets."), name


def test_an_untrained_head_knows_nothing() -> None:
    info = method_info("beit")
    method = small(vocabulary=8192)
    assert float(method(batch(5))["loss"].detach()) == pytest.approx(math.log(8192), abs=0.2)  # 9.01
    assert info.config().vocabulary == 8192


def test_the_published_network_has_the_weights_and_the_work_of_the_card() -> None:
    with torch.device("meta"):
        method = BEiT(method_info("beit").config(), image_px=224)
        images, mask = torch.empty(1, 3, 224, 224), torch.empty(1, 196, dtype=torch.bool)
    # 12 blocks of 12 D^2 and 9 D of biases and norms, less the key's bias, with two gains; patches, class token, last norm; a
    # table of (2 * 14 - 1)^2 + 3 biases for 12 heads.
    d = 768
    blocks = 12 * (12 * d * d + (4 + 9 - 1 + 2) * d)
    encoder = blocks + (3 * 256 + 1) * d + d + 2 * d + (27**2 + 3) * 12
    assert sum(p.numel() for p in method.encoder.parameters()) == encoder
    assert sum(p.numel() for p in method.parameters()) == encoder + d + (d + 1) * 8192
    assert not list(method.targets.parameters())
    # 12 N D^2 + 2 N^2 D a block, 17.6 billion with the patches' projection.
    n = 197
    expected = 12 * (12 * n * d * d + 2 * n * n * d) + 196 * d * d
    assert multiply_adds(method.eval().tokens, images, mask) == pytest.approx(expected, rel=0.01)
    assert expected == pytest.approx(17.6e9, rel=0.01)


@pytest.mark.parametrize("fields", [{}, ABSOLUTE])
def test_first_weights_are_gaussians_cut_at_one_deviation_and_smaller_block_by_block(fields: dict[str, object]) -> None:
    method = small(embed_dim=192, heads=3, depth=3, **fields)
    # Of a Gaussian cut at +-1 its standard deviation is 0.5396 of the whole one's.
    inner = 0.02 * 0.53956
    for weight in (method.head.weight, method.encoder.patch_embed.proj.weight, method.mask_token, method.encoder.cls_token,
                   method.encoder.blocks[1].attn.qkv.weight, method.encoder.blocks[1].mlp.fc1.weight):
        assert float(weight.detach().abs().max()) <= 0.02
        assert float(weight.detach().std()) == pytest.approx(inner, rel=0.15)
    for number, block in enumerate(method.encoder.blocks, 1):
        for weight in (block.attn.proj.weight, block.mlp.fc2.weight):
            assert float(weight.detach().std()) == pytest.approx(inner / math.sqrt(2 * number), rel=0.03)
            assert float(weight.detach().abs().max()) <= 0.02 / math.sqrt(2 * number) * 1.0001
    assert float(method.head.bias.detach().abs().max()) == 0 and float(method.encoder.norm.weight.detach().min()) == 1
    assert is_plain_vit(method.encoder) == bool(fields)


def test_a_network_without_blocks_begins_so_too() -> None:
    layer = torch.nn.Linear(50, 60)
    begin_as_beit(layer)
    assert float(layer.weight.detach().abs().max()) <= 0.02 and float(layer.bias.detach().abs().max()) == 0


def test_the_gradient_is_that_of_finite_differences() -> None:
    method, given = small().double(), batch(3)
    given.views["global"] = given.views["global"].double()
    method.targets.own.float()
    method(given)["loss"].backward()
    gradient, step = method.mask_token.grad, 1e-5
    assert gradient is not None
    for place in (0, 7):
        found = []
        for sign in (1, -1):
            moved = copy.deepcopy(method)
            with torch.no_grad():
                moved.mask_token[0, 0, place] += sign * step
                found.append(float(moved(given)["loss"]))
        assert float(gradient[0, 0, place]) == pytest.approx((found[0] - found[1]) / (2 * step), rel=1e-3, abs=1e-9)


def step_batch(step: int, which: slice) -> Batch:
    views = random_views(1, 11, 16, step)[:, which]
    return batch_of(views, uneven_masks(11, step)[:, which], target=target(views))


def two_steps(images: int) -> Told:
    return steps_of(small(), step_batch, images)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_with_different_numbers_of_masked_patches_are_the_parts_of_one_process(world: World, ranks: int) -> None:
    assert_alike(two_steps(11), world(ranks, two_steps, 11))


def test_it_learns_which_code_a_hidden_patch_has() -> None:
    # Pictures of one colour each, and a code for each colour: a hidden patch has its neighbours'.
    method = small(vocabulary=8)
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0]])
    views = colours[torch.arange(28) % 7][None, :, :, None, None].expand(-1, -1, -1, 16, 16) * 2 - 1
    bits = torch.tensor([4, 2, 1])[:, None, None]
    method.targets.own.codes = lambda images: ((images[:, :, ::4, ::4] > 0.5).long() * bits).sum(1)
    optimizer = build_optimizer(method, replace(SGD, name="adamw", weight_decay=0.0))
    losses = []
    for step in range(100):
        values = method(batch_of(views, uneven_masks(28, step), target=target(views)))
        learn(method, optimizer, values["loss"], 5e-3, None, 0.5)
        losses.append(float(values["loss"].detach()))
    assert losses[0] > 1.8 and np.mean(losses[-5:]) < 0.5 * math.log(float(values["perplexity"]))


def test_stage_one_is_its_own_pass_before_the_first_step() -> None:
    method, given = small(), batch(8)
    assert method.wants_pass(0) and not method.wants_pass(0.5)
    before = method.targets.own.codebook.weight.detach().clone()
    method.observe(given)
    method.before_step(0)
    assert not torch.equal(method.targets.own.codebook.weight, before)
    kept = {name: value.clone() for name, value in method.targets.state_dict().items()}
    optimizer = build_optimizer(method, replace(SGD, name="adamw", weight_decay=0.1))
    learn(method, optimizer, method(given)["loss"], 1e-2, None, 0.5)
    assert all(torch.equal(value, kept[name]) for name, value in method.targets.state_dict().items())


def test_pictures_show_codes_what_was_told_of_them_and_what_that_paints() -> None:
    recipe = presets.recipe("beit_cifar")
    method = small(32).eval()
    levels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 3, 32, 32)).astype(np.float32))
    rank = np.random.default_rng(0).random((1, 3, 64)).argsort(-1).argsort(-1)
    masks = (rank < 20).reshape(1, 3, 8, 8)
    given = batch_of(levels / 255 * 4 - 2, masks, target=levels / 255 * 0.8 + 0.1)
    with torch.no_grad():
        columns = method.pictures(Shown(given, recipe))
    assert list(columns) == ["masked", "codes", "told", "painted", "original"]
    hidden = torch.from_numpy(masks[0].repeat(4, 1).repeat(4, 2))[:, None].expand(-1, 3, -1, -1)
    assert (columns["masked"][hidden] == 0.5).all()
    torch.testing.assert_close(columns["masked"][~hidden], columns["original"][~hidden])
    seen = ~torch.from_numpy(masks[0])[:, None].expand(-1, 3, -1, -1)
    assert torch.equal(columns["codes"][seen], columns["told"][seen]) and columns["codes"].shape == (3, 3, 8, 8)
    assert columns["painted"].shape == (3, 3, 32, 32)


def test_views_of_the_recipes_fit_the_methods_own_numbers() -> None:
    info = method_info("beit")
    for name, fields, in_px in ((info.recipe, {}, 8), (info.recipe_32px, info.fields_32px, 4)):
        recipe, config = presets.recipe(name), info.config(**fields)
        shape = recipe.groups["global"].height, recipe.groups["target"].height
        assert shape[0] // (config.patch_px or 16) == shape[1] // in_px and in_px == 2**config.tokenizer_halvings


def test_what_cannot_be_is_refused() -> None:
    views = random_views(1, 2, 16)
    with pytest.raises(ValueError, match="beit needs views for its tokenizer in a group 'target', the recipe has global; use"):
        small()(batch_of(views, uneven_masks(2)))
    with pytest.raises(ValueError, match=r"model.tokenizer=dvae trains one of its own"):
        small(tokenizer=None).before_step(0)
    with pytest.raises(ValueError, match="no patch of this step is masked"):
        small()(batch_of(views, np.zeros((1, 2, 4, 4), bool), target=target(views)))
    with pytest.raises(ValueError, match=r"model.vocabulary needs a whole number of at least 2, got 1"):
        small(vocabulary=1)
    with pytest.raises(ValueError, match=r"model.layer_scale=0.1 goes with model.positions=relative"):
        small(positions="absolute")
