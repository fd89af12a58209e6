"""What masked methods compute: the published networks, counted, beside the formula to 1 %, and what skipping patches saves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from viewmill.models import build, method_info

from .batches import batch_of, random_masks
from .flops import counted, linear, transformer

WHOLE = linear(196, 768, 768) + transformer(197, 768, 12)
"""ViT-B/16 on 224 px: 16 * 16 * 3 values of each of 196 patches to 768; a class token; 12 blocks."""


def published(name: str, image_px: int = 224, variant: str | None = None, **fields: Any) -> tuple[Any, torch.Tensor]:
    """The method on the meta device, where nothing is computed, and one image for it."""
    info = method_info(name)
    with torch.device("meta"):
        method = build(name, info.config(**{**info.variant(variant).fields, **fields}), image_px=image_px).eval()
        return method, torch.empty(1, 3, image_px, image_px)


def test_vit_b16_is_17_6() -> None:
    method, images = published("mae")
    found = counted(method, lambda: method.encode(images))
    assert found == pytest.approx(WHOLE, rel=0.01) and round(found, 1) == 17.6


def test_mae_skips_three_quarters_of_the_encoder() -> None:
    method, images = published("mae")
    visible, restore = torch.arange(49)[None].to("meta"), torch.arange(196)[None].to("meta")
    encoder = counted(method, lambda: method.encode(images, visible))
    decoder = counted(method, lambda: method.decode(torch.empty(1, 50, 768, device="meta"), restore))
    assert encoder == pytest.approx(linear(196, 768, 768) + transformer(50, 768, 12), rel=0.01) and round(encoder, 1) == 4.4
    assert decoder == pytest.approx(linear(50, 768, 512) + transformer(197, 512, 8) + linear(197, 512, 768), rel=0.01)
    assert round(decoder, 1) == 5.4
    mask = torch.from_numpy(random_masks(1, 1, 14, 14, 49)[0])
    assert counted(method, lambda: method.paint(images, mask)) == pytest.approx(encoder + decoder, rel=0.001)
    assert 2.3 < (WHOLE + decoder) / (encoder + decoder) < 2.4 and WHOLE / encoder == pytest.approx(4.0, abs=0.05)


@pytest.mark.parametrize(("name", "head"), [("simmim", 768), ("maskfeat", 108)])
def test_methods_with_a_mask_vector_skip_nothing(name: str, head: int) -> None:
    method, images = published(name)
    mask = torch.from_numpy(random_masks(1, 1, 14, 14, 76)).flatten(2)[0].to("meta")
    tokens = counted(method, lambda: method.tokens(images, mask))
    assert tokens == pytest.approx(counted(method, lambda: method.tokens(images)))
    assert tokens == pytest.approx(WHOLE, rel=0.01)
    if name == "simmim":
        assert counted(method, lambda: method.paint(images, mask)) == pytest.approx(WHOLE + linear(196, 768, head), rel=0.01)


def test_simmim_on_a_swin_saves_by_smaller_images_alone() -> None:
    """Blocks of N tokens in windows of n: 12 N D^2 + 2 N n D; merging of four tokens to one: 8 N D^2 of the merged."""
    def swin(side: int, window: int) -> float:
        whole = linear((side // 4) ** 2, 48, 128)
        for stage, depth in enumerate((2, 2, 18, 2)):
            dim, tokens = 128 * 2**stage, (side // 4 // 2**stage) ** 2
            whole += depth * (12 * tokens * dim**2 + 2 * tokens * window**2 * dim) / 1e9
            whole += linear(tokens // 4, 4 * dim, 2 * dim) if stage < 3 else 0
        return whole

    for side, window in ((192, 6), (224, 7)):
        method, images = published("simmim", side, "swin_b", window=window)
        found = counted(method, lambda method=method, images=images: method.tokens(images))
        assert found == pytest.approx(swin(side, window), rel=0.01)
    assert swin(192, 6) / swin(224, 7) == pytest.approx((192 / 224) ** 2, rel=0.01)


def test_data2vec_is_two_whole_encoders() -> None:
    method, images = published("data2vec")
    mask = torch.from_numpy(random_masks(1, 1, 14, 14, 76)).flatten(2)[0].to("meta")
    student, teacher = counted(method, lambda: method.tokens(images, mask)), counted(method, lambda: method.targets(images))
    assert student == pytest.approx(WHOLE, rel=0.01) and teacher == pytest.approx(WHOLE, rel=0.01)


@pytest.mark.parametrize(("variant", "dim", "depth", "side", "patch"), [(None, 1280, 32, 16, 14), ("vit_b16", 768, 12, 14, 16)])
def test_ijepa_skips_what_is_outside_the_context(variant: str | None, dim: int, depth: int, side: int, patch: int) -> None:
    """70 patches of a context and 4 blocks of 42, as after the cut on 16 x 16."""
    method, images = published("ijepa", variant=variant)
    patches, context, block = side * side, 70, 42
    mask, blocks = np.ones((1, 1, patches), bool), np.zeros((1, 1, 4, patches), bool)
    mask[..., :context], blocks[..., -block:] = False, True
    batch = batch_of(images[None])
    drawn = {"mask": mask[0].reshape(1, side, side), "targets": blocks[0].reshape(1, 4, side, side)}
    batch.params = {"global/0": {"masks": drawn}}
    lists = method.lists(batch)
    embed = linear(patches, 3 * patch**2, dim)
    seen = counted(method, lambda: method.encode(images, lists[0]))
    whole = counted(method, lambda: method.targets(images))
    told = counted(method, lambda: method.predict(torch.empty(1, context, dim, device="meta"), *lists))
    assert seen == pytest.approx(embed + transformer(context, dim, depth), rel=0.01)
    assert whole == pytest.approx(embed + transformer(patches, dim, depth), rel=0.01)
    expected = linear(context, dim, 384) + 4 * transformer(context + block, 384, 12) + linear(4 * block, 384, dim)
    assert told == pytest.approx(expected, rel=0.01)
    assert counted(method, lambda: method(batch)) == pytest.approx(seen + whole + told, rel=0.001)
    if variant is None:
        assert round(seen) in (44, 45) and whole == pytest.approx(166, rel=0.01) and 10 < told < 14
        assert 220 < seen + whole + told < 250
