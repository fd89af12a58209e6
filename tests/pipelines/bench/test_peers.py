"""Each peer, where it is installed, makes the recipe's views: right shapes, right levels, one decode for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from viewmill import Recipe, View, recipe
from viewmill.augment.ops import Crop, Flip, Normalize, Rotate
from viewmill.augment.recipe import UnsupportedRecipe
from viewmill.pipelines.bench.files import Files
from viewmill.pipelines.bench.peers import PEERS, Stream

MEAN, STD = (0.25, 0.5, 0.75), (0.5, 0.25, 0.125)
FLAT = Recipe(name="flat", views=(View(group="global", count=2, size_px=16, ops=(
    Crop(size_px=16, scale=(0.3, 1.0), filter="bicubic"), Flip(p=0.5), Normalize(mean=MEAN, std=STD))),))
"""Crops and flips leave an image of one colour as it is, so that only its normalization shows."""
TURNED = Recipe(name="turned", views=(View(group="global", size_px=16, ops=(
    Crop(size_px=16), Rotate(angles_deg=(0, 90), pick="random", direction="counter-clockwise"))),))


def small_dino() -> Recipe:
    """Each op that the peers know, in three views: two of 32 px, one of 24."""
    sizes = {"global": 32, "local": 24}
    return Recipe(name="dino", views=tuple(
        View(v.group, sizes[v.group], tuple(op.with_fields(size_px=sizes[v.group]) if isinstance(op, Crop) else op
                                            for op in v.ops or ())) for v in recipe("dino").views))


@pytest.fixture(params=list(PEERS))
def peer(request: pytest.FixtureRequest) -> Any:
    found = PEERS[request.param]
    if missing := found.missing():
        pytest.skip(missing)
    return found.module()


@pytest.fixture
def opened(peer: Any) -> Iterator[Any]:
    streams: list[Stream] = []

    def open(*given: Any) -> Stream:
        streams.append(peer.stream(*given))
        return streams[-1]

    yield open
    for stream in streams:
        stream.close()


def test_levels_and_shapes_are_the_recipes(opened: Any, grays: Files) -> None:
    views = next(opened(grays, FLAT, 4, 1).batches)
    assert [tuple(view.shape) for view in views] == [(4, 3, 16, 16)] * 2
    assert all(view.dtype == torch.float32 for view in views)
    expected = torch.tensor([[(level / 255 - m) / s for m, s in zip(MEAN, STD, strict=True)] for level in (64, 128)])
    for view in views:
        for image in view:
            distance = (image[None] - expected[:, :, None, None]).abs().amax((1, 2, 3))
            assert distance.min() < 0.02, distance  # of one of the two levels, in each channel, everywhere
    assert torch.equal(views[0][:, :, 0, 0], views[1][:, :, 0, 0])  # both views of the same files


def test_a_published_recipe_comes_with_all_its_views(opened: Any, noise: Files) -> None:
    small = small_dino()
    batches = opened(noise, small, 2, 1).batches
    for _ in range(2):
        views = next(batches)
        assert [tuple(view.shape) for view in views] == [(2, 3, *each.size_hw) for each in small.instances]
        assert all(bool(torch.isfinite(view).all()) for view in views)
        assert all(not torch.equal(views[0][i], views[1][i]) for i in range(2))  # draws of their own


def test_what_it_has_no_equal_of_is_refused_by_name(peer: Any, grays: Files) -> None:
    with pytest.raises(UnsupportedRecipe, match=r"no equal of rotate|not crop, rotate"):
        peer.stream(grays, TURNED, 4, 1)


def test_it_says_where_its_ops_are_not_the_recipes(peer: Any) -> None:
    notes = peer.notes(recipe("simclr_pil"))
    assert notes and all(isinstance(note, str) and "\n" not in note for note in notes)


def test_one_decode_serves_all_views(noise: Files) -> None:
    from viewmill.pipelines.bench.peers.loading import Views, pillow_image
    from viewmill.pipelines.bench.peers.torchvision import transforms

    decoded = []
    views = Views(noise.source(), lambda data: decoded.append(1) or pillow_image(data), transforms(small_dino()))
    assert len(views[3]) == 3 and len(decoded) == 1
