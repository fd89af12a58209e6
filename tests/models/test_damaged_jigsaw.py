"""Completing damaged jigsaw puzzles: three losses against their formulas in float64, and what each slot shows in real views."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from torch import Tensor, nn
from viewmill.augment.colour.ab_bins import bin_centres
from viewmill.augment.draw import draw
from viewmill.augment.presets import recipe
from viewmill.evaluation.untrained import initialized
from viewmill.models.damaged_jigsaw import DamagedJigsaw, DamagedJigsawConfig, cut
from viewmill.models.distributed import rank, world_size
from viewmill.models.pictured import Pictured, Shown
from viewmill.pipelines.batch import Batch
from viewmill.pipelines.engines import render
from viewmill.train import read

from ..world import World
from .batches import batch_of
from .ranks import Told, assert_alike, steps_of

CENTRES = bin_centres().double().numpy()
ORDERS = 6


def small(**fields: Any) -> DamagedJigsaw:
    torch.manual_seed(0)
    given = {"backbone": "convnet4", "permutations": ORDERS, "hidden_dim": 32, "decoder_dim": 16, "dropout": 0.0,
             "adversarial_weight": 0.0, **fields}
    return DamagedJigsaw(DamagedJigsawConfig(**given), image_px=16)


def some(count: int = 4, own: slice = slice(None), gaps: int = 1) -> Batch:
    """Pictures of 54 px in nine cells of 18 px, tiles of 16 px in any order; what is shown of them is cut here, with NumPy."""
    rng = np.random.default_rng(0)
    whole = np.concatenate([50 + 15 * rng.normal(size=(count, 1, 54, 54)), 20 * rng.normal(size=(count, 2, 54, 54))], 1)
    cells = np.stack([rng.permutation(9) for _ in range(count)], 1)  # (9, B): what stands in each slot
    box = np.stack([18 * (cells // 3) + rng.integers(0, 3, cells.shape), 18 * (cells % 3) + rng.integers(0, 3, cells.shape),
                    np.full_like(cells, 16), np.full_like(cells, 16)], -1)
    missing = np.argsort(rng.random((9, count)), 0) < gaps
    tiles = np.zeros((9, count, 1, 16, 16))
    for slot, b in np.ndindex(9, count):
        top, left = box[slot, b, :2]
        tiles[slot, b] = 0 if missing[slot, b] else whole[b, :1, top : top + 16, left : left + 16] - 50
    index = rng.integers(0, ORDERS, count)
    batch = batch_of(patch=torch.from_numpy(tiles).float()[:, own], whole=torch.from_numpy(whole).float()[None, own])
    batch.params = {f"patch/{slot}": {"tiles": {"box": box[slot, own].astype(np.int32)},
                                      "permute": {"index": index[own].astype(np.int32), "order": cells.T[own].astype(np.int8)},
                                      "masks": {"missing": missing[slot, own]}} for slot in range(9)}
    return batch


def numpy(x: Tensor) -> np.ndarray:
    found: np.ndarray = x.detach().double().numpy()
    return found


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    found: np.ndarray = x - np.log(np.exp(x).sum(axis, keepdims=True))
    return found


def by_hand(batch: Batch, logits: np.ndarray, painted: np.ndarray, colours: np.ndarray, prior: np.ndarray | None,
            stride: int) -> tuple[float, float, float]:
    """Losses of order, gap and colours, image by image and slot by slot, from what is said of each."""
    whole, w = numpy(batch.views["whole"][0]), np.ones(313)
    if prior is not None:
        p = prior / prior.sum()
        w = np.where(p > 0, 1 / (0.5 * p + 0.5 / (p > 0).sum()), 0)
        w /= (p * w).sum()
    orders, gaps, pixels = [], [], []
    for b in range(len(whole)):
        gray = True
        of_image = []
        for slot in range(9):
            drawn = batch.params[f"patch/{slot}"]
            top, left = drawn["tiles"]["box"][b, :2]
            content = whole[b, :, top : top + 16, left : left + 16]
            ab = content[1:, ::stride, ::stride]
            gray = gray and bool(np.abs(ab).max() <= 5)
            if drawn["masks"]["missing"][b]:
                gaps.append(((painted[b, 0] - (content[0] - 50) / 25) ** 2).mean())
                continue
            for y, x in np.ndindex(*ab.shape[1:]):
                squared = ((CENTRES - ab[:, y, x]) ** 2).sum(1)
                near = np.argsort(squared, kind="stable")[:10]
                z = np.exp(-squared[near] / 50)
                of_image.append(-w[near[0]] * (z / z.sum() * log_softmax(colours[slot, b], 0)[near, y, x]).sum())
        pixels += [0.0 if gray else cost for cost in of_image]
        orders.append(-log_softmax(logits[b], 0)[batch.params["patch/0"]["permute"]["index"][b]])
    return float(np.mean(orders)), float(np.mean(gaps)), float(np.mean(pixels))


@pytest.mark.parametrize(("uniform", "doublings"), [(0.5, 0), (1.0, 1)])
def test_the_three_losses_are_those_of_their_formulas(uniform: float, doublings: int) -> None:
    method, batch = small(uniform=uniform, doublings=doublings, inpaint_weight=0.5, colour_weight=2.0).eval(), some()
    batch.views["whole"][0, 1, 1:] = 3.0  # a gray picture
    if uniform < 1:
        method.observe(batch)
        assert int(method.prior.counts.sum()) == 4 * 9 * 4
    values = method(batch)
    said = [numpy(x) for x in method.solve(batch.views["patch"])]
    order, gap, colour = by_hand(batch, *said, numpy(method.prior.counts) if uniform < 1 else None, 8)
    assert float(values["order_loss"]) == pytest.approx(order, rel=1e-5)
    assert float(values["gap_loss"]) == pytest.approx(gap, rel=1e-5)
    assert float(values["colour_loss"]) == pytest.approx(colour, rel=1e-5)
    total = order + 0.5 * math.log(ORDERS) * gap + 2.0 * math.log(ORDERS) / math.log(313) * colour
    assert float(values["loss"].detach()) == pytest.approx(total, rel=1e-5)
    index = batch.params["patch/0"]["permute"]["index"]
    assert float(values["accuracy"]) == pytest.approx(np.mean(said[0].argmax(1) == index))


def test_a_discriminator_has_its_share_in_the_gap() -> None:
    plain, method, batch = small(inpaint_weight=0.5).eval(), small(inpaint_weight=0.5, adversarial_weight=0.25).eval(), some()
    assert method.adversary is not None and plain.adversary is None
    plain.load_state_dict({name: value for name, value in method.state_dict().items() if not name.startswith("adversary.")})
    without, values = plain(batch), method(batch)
    gap = torch.tensor([next(s for s in range(9) if batch.params[f"patch/{s}"]["masks"]["missing"][b]) for b in range(4)])
    truth = method._content(batch)[gap, torch.arange(4), :1] / 25
    real = numpy(method.adversary.judge(truth))
    made = numpy(method.adversary.judge(method.solve(batch.views["patch"])[1]))
    fooling, judging = np.log1p(np.exp(-made)).mean(), np.log1p(np.exp(-real)).mean() + np.log1p(np.exp(made)).mean()
    assert float(values["fooling"]) == pytest.approx(fooling, rel=1e-5)
    scale = 0.5 * math.log(ORDERS)
    more = 0.25 * scale * (fooling - float(without["gap_loss"])) + float(values["judging"])
    assert float((values["loss"] - without["loss"]).detach()) == pytest.approx(more, rel=1e-4)
    assert float(values["judging"]) in (pytest.approx(judging, rel=1e-5), pytest.approx(judging / 2, rel=1e-5))
    values["loss"].backward()
    without["loss"].backward()
    moved = [not torch.equal(mine.grad, other.grad) for mine, other in
             zip(method.gap_painter.parameters(), plain.gap_painter.parameters(), strict=True)]
    assert any(moved) and all(p.grad is not None for p in method.adversary.parameters())


def test_in_half_the_precision_it_says_nearly_the_same() -> None:
    method, batch = small(adversarial_weight=0.25).eval(), some()
    exact = method(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = method(batch)
    assert values["loss"].dtype == torch.float32
    for name in ("loss", "order_loss", "gap_loss", "colour_loss"):
        assert float(values[name].detach()) == pytest.approx(float(exact[name].detach()), rel=0.02)


def test_the_gradient_is_that_of_the_formula() -> None:
    method, batch = small().eval(), some()
    method(batch)["loss"].backward()
    logits, painted, colours = (numpy(x) for x in method.solve(batch.views["patch"]))
    at_chance = math.log(ORDERS)
    for parameter, said, place, scale in (
            (method.classifier[-1].bias, logits, (slice(None), 2), 1.0),
            (method.gap_painter[-1][-1].bias, painted, (slice(None), 0), at_chance),
            (method.colour_painter[-1].bias, colours, (slice(None), slice(None), 156), at_chance / math.log(313))):
        found = []
        for sign in (1, -1):
            moved = said.copy()
            moved[place] += sign * 1e-5
            losses = by_hand(batch, *(moved if each is said else each for each in (logits, painted, colours)), None, 8)
            found.append(losses[0] + at_chance * losses[1] + at_chance / math.log(313) * losses[2])
        assert parameter.grad is not None and scale > 0
        assert float(parameter.grad[place[-1]]) == pytest.approx((found[0] - found[1]) / 2e-5, rel=1e-3, abs=1e-6)


def test_what_is_blank_has_no_part_in_the_colours_and_all_of_the_gap() -> None:
    method, batch = small().eval(), some()
    before = method(batch)
    for b in range(4):
        slot = next(s for s in range(9) if batch.params[f"patch/{s}"]["masks"]["missing"][b])
        top, left = batch.params[f"patch/{slot}"]["tiles"]["box"][b, :2]
        batch.views["whole"][0, b, 1:, top : top + 16, left : left + 16] += 60.0
    after = method(batch)
    assert float(after["colour_loss"]) == float(before["colour_loss"]) and float(after["gap_loss"]) == float(before["gap_loss"])
    for b in range(4):
        slot = next(s for s in range(9) if batch.params[f"patch/{s}"]["masks"]["missing"][b])
        top, left = batch.params[f"patch/{slot}"]["tiles"]["box"][b, :2]
        batch.views["whole"][0, b, 0, top : top + 16, left : left + 16] += 10.0
    assert float(method(batch)["gap_loss"]) != float(before["gap_loss"])


def test_real_views_show_what_is_cut_from_the_picture() -> None:
    """But for the gap, each tile is the lightness of what its box holds, and slot s shows cell order[s]."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (32, 32, 3)).astype(np.uint8) for _ in range(5)]
    views = recipe("damaged_jigsaw_cifar")
    params = draw(views, 0, 0, np.arange(5), np.full((5, 2), 32))
    groups = {name: torch.as_tensor(view) for name, view in render(pictures, views, params).items()}
    batch = batch_of(**groups)
    batch.params = params
    assert groups["patch"].shape == (9, 5, 1, 16, 16) and groups["whole"].shape == (1, 5, 3, 63, 63)
    content = small()._content(batch)
    missing, order, box = batch.drawn("patch", "missing"), batch.drawn("patch", "order")[0], batch.drawn("patch", "box")
    assert missing.sum(0).tolist() == [1] * 5
    for slot in range(9):
        for b in range(5):
            cell = (int(box[slot, b, 0]) // 21) * 3 + int(box[slot, b, 1]) // 21
            assert cell == int(order[b, slot])
            shown = torch.zeros(1, 16, 16) if missing[slot, b] else content[slot, b, :1]
            torch.testing.assert_close(groups["patch"][slot, b], shown, atol=1e-3, rtol=0)
    table = views.instances[0].ops[4].permutations()
    assert len(table) == 100 and np.array_equal(table[batch.drawn("patch", "index")[0].numpy()], order.numpy())
    values = small(permutations=100)(batch)
    assert all(torch.isfinite(value.detach()) for value in values.values())


def test_tiles_are_cut_by_their_boxes() -> None:
    pictures = torch.arange(2 * 3 * 5 * 6).reshape(2, 3, 5, 6).float()
    boxes = torch.tensor([[[0, 1, 2, 3], [3, 0, 2, 3]], [[2, 3, 2, 3], [1, 2, 2, 3]]], dtype=torch.int32)
    found = cut(pictures, boxes)
    assert found.shape == (2, 2, 3, 2, 3)
    for t, b in np.ndindex(2, 2):
        top, left, height, width = boxes[t, b].tolist()
        assert torch.equal(found[t, b], pictures[b, :, top : top + height, left : left + width])
    boxes[0, 0, 2] = 3
    with pytest.raises(ValueError, match="tiles need one size, got 2"):
        cut(pictures, boxes)


def test_it_begins_at_chance_and_learns_a_batch_by_heart() -> None:
    method, batch = small(hidden_dim=128, decoder_dim=32), some(6)
    optimizer = torch.optim.AdamW(method.parameters(), 3e-3)
    first = values = method(batch)
    assert float(first["order_loss"]) == pytest.approx(math.log(ORDERS), abs=0.3)
    assert float(first["colour_loss"]) == pytest.approx(math.log(313), abs=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        values["loss"].backward()
        optimizer.step()
        values = method(batch)
    assert float(values["accuracy"]) == 1
    assert float(values["gap_loss"]) < 0.7 * float(first["gap_loss"])
    assert float(values["colour_loss"]) < float(first["colour_loss"]) - 1


def test_whatever_judges_it_sees_lightness_at_the_scale_of_tiles() -> None:
    encoder = initialized("damaged_jigsaw", DamagedJigsawConfig("convnet4"), recipe("damaged_jigsaw_cifar"), 0)
    assert encoder.view.instances[0].channels == 1 and encoder.image_px == 63
    assert encoder(torch.zeros(2, 1, 63, 63)).shape == (2, 256)


def test_pictures_are_the_puzzle_what_is_made_of_it_and_the_original() -> None:
    rng = np.random.default_rng(0)
    levels = [np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8) for _ in range(2)]
    views = recipe("damaged_jigsaw_cifar")
    params = draw(views, 0, 0, np.arange(2), np.full((2, 2), 32))
    batch = batch_of(**{name: torch.as_tensor(view) for name, view in render(levels, views, params).items()})
    batch.params = params
    method = small(permutations=100).eval()
    assert isinstance(method, Pictured)
    with torch.no_grad():
        method.classifier[-1].weight.zero_()
        method.classifier[-1].bias.zero_()[int(params["patch/0"]["permute"]["index"][0])] = 9.0  # right for the first
        method.colour_painter[-1].weight.zero_()
        method.colour_painter[-1].bias.zero_()[int(method.bins.nearest(torch.tensor([40.0, 20.0]).reshape(1, 2, 1, 1)))] = 50.0
        method.gap_painter[-1][-1].weight.zero_()
        method.gap_painter[-1][-1].bias.fill_(0.4)
        shown = method.pictures(Shown(batch, views))
    assert list(shown) == ["puzzle", "completed", "original"] and all(x.shape == (2, 3, 48, 48) for x in shown.values())
    lab = {title: rgb2lab(np.moveaxis(numpy(x), 1, -1)) for title, x in shown.items()}
    order, box, missing = (batch.drawn("patch", name).numpy() for name in ("order", "box", "missing"))
    whole = numpy(batch.views["whole"][0])
    for b, slot in np.ndindex(2, 9):
        top, left = box[slot, b, :2]
        true = np.moveaxis(whole[b, :, top : top + 16, left : left + 16], 0, -1)
        at = {title: lab[title][b, 16 * (cell // 3) : 16 * (cell // 3) + 16, 16 * (cell % 3) : 16 * (cell % 3) + 16]
              for title, cell in (("puzzle", slot), ("completed", order[0, b, slot]), ("original", order[0, b, slot]))}
        seen = np.full((16, 16), 50.0) if missing[slot, b] else true[..., 0]
        assert np.allclose(at["puzzle"][..., 0], seen, atol=0.1) and np.allclose(at["puzzle"][..., 1:], 0, atol=0.1)
        assert np.allclose(at["original"], true, atol=0.1)
        if b == 0:
            assert np.allclose(at["completed"][..., 0], 60.0 if missing[slot, b] else seen, atol=6)  # of colours that are clamped
            middle = np.abs(seen - 55) < 10
            colour = (0, 0) if missing[slot, b] else (40, 20)
            assert np.allclose(at["completed"][middle][:, 1:], colour, atol=0.2)


@pytest.mark.parametrize(("name", "tile_px"), [("resnet18", 16), ("vit_tiny_patch16_224", 32), ("alexnet", 64)])
def test_any_backbone_learns_with_all_its_weights(name: str, tile_px: int) -> None:
    method = DamagedJigsaw(DamagedJigsawConfig(name, ORDERS, 16, decoder_dim=4), image_px=tile_px)
    batch = some(2)
    batch.views["patch"] = torch.randn(9, 2, 1, tile_px, tile_px)
    batch.views["whole"] = 20 * torch.randn(1, 2, 3, 104, 104)
    for slot in range(9):
        batch.params[f"patch/{slot}"]["tiles"]["box"][:, 2:] = tile_px
    method(batch)["loss"].backward()
    assert [parameter for parameter, value in method.named_parameters() if value.grad is None] == []
    assert next(m for m in method.encoder.modules() if isinstance(m, nn.Conv2d)).weight.shape[1] == 1
    assert method.eval().features(torch.randn(2, 1, 3 * tile_px, 3 * tile_px)).shape == (2, method.feature_dim)


@pytest.mark.parametrize(("fields", "wanted"), [({}, True), ({"uniform": 1.0}, False)])
def test_it_wants_to_see_all_images_once_before_the_first_step(fields: dict[str, Any], wanted: bool) -> None:
    assert small(**fields).wants_pass(0) is wanted and not small(**fields).wants_pass(0.01)


def test_the_published_run() -> None:
    run, views = read(["damaged_jigsaw", "data=train.tar"])
    assert (run.model.backbone, run.model.permutations, views.name) == ("alexnet", 1000, "damaged_jigsaw_lab")
    assert (run.optimizer.name, run.optimizer.lr, run.batch_size) == ("sgd", 0.01, 256)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="damaged_jigsaw needs 9 tiles in the group 'patch', the recipe has none"):
        small()(batch_of(torch.zeros(1, 2, 3, 16, 16)))
    batch = some()
    del batch.views["whole"]
    with pytest.raises(ValueError, match=r"needs the group 'whole'.* the recipe has patch; use recipe=damaged_jigsaw_lab"):
        small()(batch)
    with pytest.raises(ValueError, match=r"damaged_jigsaw paints one missing tile, the recipe has 2; use masks.missing=1"):
        small()(some(gaps=2))
    with pytest.raises(ValueError, match=r"model\.permutations=2 needs an order from a set no larger"):
        small(permutations=2)(some(20))
    for fields, message in (({"permutations": 1}, r"model\.permutations"), ({"inpaint_weight": -1.0}, r"model\.inpaint_weight"),
                            ({"adversarial_weight": 2.0}, r"model\.adversarial_weight"),
                            ({"dropout": 1.5}, r"model\.dropout"), ({"colour_stride": 0}, r"model\.colour_stride")):
        with pytest.raises(ValueError, match=message):
            DamagedJigsawConfig(**fields)
    with pytest.raises(ValueError, match=r"damaged_jigsaw needs pictures of 3 channels.* got in_chans=1"):
        DamagedJigsaw(DamagedJigsawConfig("convnet4"), image_px=16, in_chans=1)


def two_steps(adversarial: float) -> Told:
    method = small(adversarial_weight=adversarial)
    method.observe(some(6, slice(rank() * 6 // world_size(), (rank() + 1) * 6 // world_size())))
    return steps_of(method, lambda step, own: some(6, own), 6)


@pytest.mark.parametrize(("ranks", "adversarial"), [(2, 0.25), (3, 0.0)])
def test_ranks_do_together_what_one_does(world: World, ranks: int, adversarial: float) -> None:
    assert_alike(two_steps(adversarial), world(ranks, two_steps, adversarial))
