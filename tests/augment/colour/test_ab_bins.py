"""Colour classes: the published bins, soft targets against all distances, weights and decoding by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from viewmill.augment.colour.ab_bins import AbBins, bin_centres, class_weights, is_coloured, lightness_bin

PUBLISHED = {  # a: first and last b of its row, read off the list that the authors released
    -90: (50, 90), -80: (20, 90), -70: (0, 90), -60: (-20, 90), -50: (-30, 100), -40: (-40, 100), -30: (-50, 100),
    -20: (-50, 100), -10: (-60, 100), 0: (-70, 100), 10: (-80, 90), 20: (-80, 90), 30: (-90, 90), 40: (-100, 90),
    50: (-100, 80), 60: (-110, 80), 70: (-110, 80), 80: (-110, 70), 90: (-110, 70), 100: (-90, 0),
}


@pytest.fixture(scope="module")
def bins() -> AbBins:
    return AbBins()


@pytest.fixture(scope="module")
def colours() -> torch.Tensor:
    """(2, 2, 17, 256): a and b of 8-bit colours, a third of them gray or nearly, and some beyond any colour."""
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 256, (2, 17, 256, 3))
    rgb[:, :6] = rgb[:, :6, :, :1] + rng.integers(0, 3, (2, 6, 256, 3)) * (rgb[:, :6, :, :1] < 250)
    ab = rgb2lab(rgb / 255.0)[..., 1:]
    ab[:, 6] = rng.uniform(-129, 129, (2, 256, 2))
    return torch.from_numpy(np.moveaxis(ab, -1, 1)).float()


def test_the_313_bins_are_the_published_ones_in_their_order() -> None:
    expected = [(a, b) for a, (low, high) in PUBLISHED.items() for b in range(low, high + 1, 10)]
    assert len(expected) == 313
    assert bin_centres().tolist() == [list(map(float, e)) for e in expected]


@pytest.mark.parametrize("neighbours", [1, 5, 10, 40])
def test_the_nearest_bins_are_those_of_all_distances(colours: torch.Tensor, neighbours: int) -> None:
    index, weight = AbBins(neighbours).encode(colours)
    assert index.shape == weight.shape == (2, neighbours, 17, 256) and index.dtype == torch.int64
    squared = ((colours.double()[:, None] - bin_centres().double()[:, :, None, None]) ** 2).sum(2)  # (2, 313, 17, 256)
    expected = squared.sort(dim=1).values[:, :neighbours]
    assert torch.allclose(squared.gather(1, index), expected, rtol=1e-5, atol=1e-3)  # bins as near as any others
    assert (index.sort(1).values.diff(dim=1) > 0).all()  # and none twice
    gaussian = (-expected / 50).exp()
    assert torch.allclose(weight.double(), gaussian / gaussian.sum(1, keepdim=True), atol=1e-5)


def test_weights_by_hand(bins: AbBins) -> None:
    """(3, 0): the bins at (0, 0), (10, 0), (0, +-10), (10, +-10), (-10, 0) ... have d^2 = 9, 49, 109, 149, 169 ..."""
    squared = [9, 49, 109, 109, 149, 149, 169, 269, 269, 289]
    weights = [math.exp(-d / 50) for d in squared]
    index, weight = bins.encode(torch.tensor([3.0, 0.0]).reshape(1, 2, 1, 1))
    assert np.allclose(weight.flatten(), np.array(weights) / sum(weights), atol=1e-6)
    nearest = bins.centres[index.flatten()]
    assert nearest[:2].tolist() == [[0, 0], [10, 0]] and {tuple(x) for x in nearest[2:4].tolist()} == {(0, -10), (0, 10)}


def test_bins_equally_near_come_in_the_order_of_the_list(bins: AbBins) -> None:
    index, _ = bins.encode(torch.tensor([5.0, 5.0]).reshape(1, 2, 1, 1))
    assert bins.centres[index[0, :4, 0, 0]].tolist() == [[0, 0], [0, 10], [10, 0], [10, 10]]


def test_the_dense_target_holds_the_sparse_one(bins: AbBins, colours: torch.Tensor) -> None:
    index, weight = bins.encode(colours)
    dense = bins.dense(index, weight)
    assert dense.shape == (2, 313, 17, 256) and torch.equal(dense.gather(1, index), weight)
    assert torch.allclose(dense.sum(1), torch.ones(2, 17, 256)) and int((dense > 0).sum(1).max()) <= 10
    assert torch.equal(dense.argmax(1), bins.nearest(colours))


def test_counts_make_a_prior(bins: AbBins) -> None:
    ab = torch.tensor([[[[0.0, 1.0, -2.0]], [[1.0, 0.0, 49.0]]]])
    counts = bins.count(ab)
    assert counts.shape == (313,) and counts.sum() == 3
    assert {tuple(bins.centres[q].tolist()): int(counts[q]) for q in counts.nonzero().flatten()} == {(0, 0): 2, (0, 50): 1}


def test_class_weights_by_hand() -> None:
    """p = 0.9, 0.1, mix 0.5 over the two that occur: 1 / 0.7 and 1 / 0.3, scaled so that their mean under p is 1."""
    got = class_weights(torch.tensor([9.0, 0.0, 1.0]))
    mean = 0.9 / 0.7 + 0.1 / 0.3
    assert np.allclose(got, [1 / 0.7 / mean, 0, 1 / 0.3 / mean])
    assert torch.equal(class_weights(torch.tensor([4.0, 2.0]), mix=1.0), torch.ones(2))
    assert np.allclose(class_weights(torch.tensor([0.75, 0.25]), mix=0.0), [2 / 3, 2])


def test_images_without_colour_are_told_apart() -> None:
    ab = torch.zeros(4, 2, 2, 3)
    ab[1, 0, 1, 2], ab[2, 1, 0, 0], ab[3, 1, 0, 0] = 5.0, -5.1, 5.1
    assert is_coloured(ab).tolist() == [False, False, True, True]


def test_annealed_mean_by_hand(bins: AbBins) -> None:
    """Two bins with odds e : 1 have odds e^(1 / T) : 1 at temperature T."""
    centres = bins.centres.tolist()
    p, q = centres.index([0.0, 0.0]), centres.index([20.0, -40.0])
    logits = torch.full((1, 313, 1, 2), -1e4)
    logits[:, p], logits[:, q] = 1.0, 0.0
    share = 1 / (1 + math.exp(1 / 0.38))
    assert torch.allclose(bins.annealed_mean(logits)[0, :, 0, 1], torch.tensor([20 * share, -40 * share]), atol=1e-4)
    assert torch.allclose(bins.annealed_mean(logits, 0.01)[0, :, 0, 0], torch.zeros(2), atol=1e-4)


def test_lightness_in_a_hundred_steps() -> None:
    lightness = torch.tensor([[-0.001, 0.0, 0.999, 1.0], [57.3, 99.0, 100.0, 100.001]])
    assert lightness_bin(lightness).tolist() == [[0, 0, 0, 1], [57, 99, 99, 99]]


def test_encoding_and_decoding_trace_whole(bins: AbBins, colours: torch.Tensor) -> None:
    traced = torch.compile(lambda ab: bins.dense(*bins.encode(ab)), fullgraph=True, backend="eager")
    assert torch.equal(traced(colours), bins.dense(*bins.encode(colours)))
    logits = torch.randn(1, 313, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.compile(bins.annealed_mean, fullgraph=True, backend="eager")(logits), bins.annealed_mean(logits))


def test_a_model_saves_no_bins(bins: AbBins) -> None:
    assert bins.state_dict() == {} and len(bins) == 313


@pytest.mark.parametrize(("neighbours", "sigma"), [(0, 5.0), (314, 5.0), (10, 0.0)])
def test_what_makes_no_target_is_refused(neighbours: int, sigma: float) -> None:
    with pytest.raises(ValueError, match="1 <= neighbours <= 313 and sigma > 0"):
        AbBins(neighbours, sigma)


def test_they_can_be_made_where_networks_have_shapes_alone() -> None:
    with torch.device("meta"):
        found = AbBins()
    assert torch.equal(found.centres, bin_centres()) and found.candidates.device.type == "cpu"
