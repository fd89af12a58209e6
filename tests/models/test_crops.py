"""Views of several sizes: one pass a size, all in one projector, large ones first."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from viewmill.models.crops import crops_of, embed_crops

from .batches import batch_of, random_views


class Mean(nn.Module):
    """(N, 3, H, W) to (N, 3): each channel's mean; notes the sizes it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append((len(images), images.shape[2]))
        return images.mean((2, 3))


def test_each_size_is_one_pass_and_embeddings_have_length_one_in_the_views_order() -> None:
    large, small, network, projector = random_views(2, 4, 16), random_views(3, 4, 8, seed=1), Mean(), nn.Linear(3, 5)
    z = embed_crops(network, projector, crops_of(batch_of(large, local=small), "some"), "some")
    assert network.seen == [(8, 16), (12, 8)] and z.shape == (5, 4, 5)
    for view, images in zip(z, [*large, *small], strict=True):
        torch.testing.assert_close(view, nn.functional.normalize(projector(images.mean((2, 3))), dim=1))


def test_batch_norm_sees_all_crops_together() -> None:
    large, small, norm = random_views(2, 4, 16), 3 + random_views(3, 4, 8, seed=1), nn.BatchNorm1d(3, affine=False)
    z = embed_crops(Mean(), nn.Sequential(norm), [large, small], "some")
    means = torch.cat([large.mean((3, 4)), small.mean((3, 4))])
    expected = (means - means.mean((0, 1))) / (means.var((0, 1), unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(z, nn.functional.normalize(expected, dim=2))


def test_embeddings_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        z = embed_crops(Mean(), nn.Linear(3, 5), [random_views(2, 4, 16)], "some")
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.norm(dim=2), torch.ones(2, 4))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="some compares views of an image, the recipe has 1; use recipe=some"):
        crops_of(batch_of(random_views(1, 4, 16)), "some")
    assert len(crops_of(batch_of(random_views(1, 4, 16), local=random_views(1, 4, 8)), "some")) == 2
    norm = nn.Sequential(nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match="some's batch norm needs at least 2 images on each rank; raise batch_size"):
        embed_crops(Mean(), norm, [random_views(2, 1, 16)], "some")
    assert embed_crops(Mean(), norm.eval(), [random_views(2, 1, 16)], "some").shape == (2, 1, 3)
