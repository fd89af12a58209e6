"""MaskFeat: what is told and of which patches, what it costs to tell it wrong, on ranks too, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from viewmill.models import method_info
from viewmill.models.maskfeat import MaskFeat, MaskFeatConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn
from viewmill.pipelines.batch import Batch

from ..losses.test_hog import by_loops
from ..world import World
from .batches import batch_of, random_views, uneven_masks
from .finite_differences import assert_mask_gradient
from .ranks import SGD, Told, assert_alike, steps_of

TINY = {"backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 32, "depth": 2, "heads": 2, "positions": "absolute",
        "layer_scale": None, "drop_path": 0.0}


def small(image_px: int = 16, **fields: object) -> MaskFeat:
    torch.manual_seed(0)
    return MaskFeat(MaskFeatConfig(**{**TINY, **fields}), image_px=image_px)  # type: ignore[arg-type]


def test_the_loss_is_the_mean_over_all_masked_patches_and_values() -> None:
    method, views, masks = small(), random_views(1, 5, 16), uneven_masks(5)
    values = method(batch_of(views, masks))
    with torch.no_grad():
        told = method.head(method.tokens(views[0], torch.from_numpy(masks[0]).flatten(1))[:, 1:]).double().numpy()
    cells = by_loops(views[0].double().numpy(), 9, 2)  # half a patch
    rows = [(told[n, 4 * y + x] - cells[n, :, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel()) ** 2
            for n, y, x in zip(*np.nonzero(masks[0]), strict=True)]
    assert len(rows) == 1 + 2 + 3 + 4 + 5 and rows[0].shape == (108,)
    assert float(values["loss"].detach()) == pytest.approx(np.mean(rows), rel=1e-5)


def test_the_published_head_tells_108_values_of_a_patch() -> None:
    info = method_info("maskfeat")
    with torch.device("meta"):
        method = MaskFeat(info.config(), image_px=224)
    assert method.head.out_features == 108 and method.cell_px == 8 and method.encoder.pos_embed is not None
    assert sum(p.numel() for p in method.encoder.parameters()) == 85_798_656


def test_predictions_of_seen_patches_have_no_gradient() -> None:
    method, views, masks = small(), random_views(1, 3, 16), uneven_masks(3)
    taken: list[torch.Tensor] = []
    method.head.register_forward_hook(lambda module, given, made: taken.append(given[0]))
    method(batch_of(views, masks))
    assert [len(rows) for rows in taken] == [int(masks.sum())]


def test_an_error_of_1_is_what_knowing_the_mean_comes_to() -> None:
    method, views, masks = small(), random_views(1, 5, 16), uneven_masks(5)
    with torch.no_grad():
        from viewmill.losses.hog import hog_of_patches

        method.head.weight.zero_()
        method.head.bias.copy_(hog_of_patches(views[0], 4, cell_px=2)[torch.from_numpy(masks[0]).flatten(1)].mean(0))
    assert float(method(batch_of(views, masks))["error"]) == pytest.approx(1.0, abs=1e-5)


def test_the_gradient_is_that_of_finite_differences() -> None:
    batch = batch_of(random_views(1, 3, 16).double(), uneven_masks(3))
    assert_mask_gradient(small().double(), batch)


def step_batch(step: int, which: slice) -> Batch:
    return batch_of(random_views(1, 11, 16, step)[:, which], uneven_masks(11, step)[:, which])


def two_steps(images: int) -> Told:
    return steps_of(small(), step_batch, images)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_with_different_numbers_of_masked_patches_are_the_parts_of_one_process(world: World, ranks: int) -> None:
    assert_alike(two_steps(11), world(ranks, two_steps, 11), first=1)


def test_it_learns_to_tell_edges_from_what_is_around_them() -> None:
    # Stripes of one direction each: a hidden patch is known from its neighbours.
    method = small(depth=3)
    along, images = torch.arange(16.0), []
    for slope in torch.linspace(-2, 2, 32):
        images.append(torch.sin(along[:, None] * slope + along[None]).expand(3, -1, -1))
    views = torch.stack(images)[None]
    optimizer = build_optimizer(method, replace(SGD, name="adamw", weight_decay=0.0))
    errors = []
    for step in range(100):
        values = method(batch_of(views, uneven_masks(32, step)))
        learn(method, optimizer, values["loss"], 5e-3, None, 0.5)
        errors.append(float(values["error"]))
    assert errors[0] > 0.9 and np.mean(errors[-10:]) < 0.6


@pytest.mark.parametrize(("fields", "message"), [
    ({"cell_px": 3}, "model.cell_px=3 needs to divide the patches' side, 4 px"),
    ({"bins": 1}, "model.bins needs a whole number of at least 2, got 1"),
])
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**fields)
