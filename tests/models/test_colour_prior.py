"""Frequencies of the colours: counted, over ranks too, read from a file, and what they make a pixel weigh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from viewmill.augment.colour.ab_bins import AbBins
from viewmill.models.colour_prior import ColourPrior
from viewmill.models.distributed import rank

from ..world import World


def prior(uniform: float = 0.5, sigma: float = 0.0) -> ColourPrior:
    return ColourPrior(AbBins(), uniform, sigma)


def pictures(seed: int = 0) -> torch.Tensor:
    """Some colours that occur often and some that hardly do."""
    return torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(seed)) * 20


def frequencies(*pictures: torch.Tensor) -> np.ndarray:
    centres = AbBins().centres.double().numpy()
    counts = np.zeros(len(centres))
    for ab in pictures:
        for pixel in ab.permute(0, 2, 3, 1).reshape(-1, 2).double().numpy():
            counts[((centres - pixel) ** 2).sum(1).argmin()] += 1
    return counts


def test_batches_add_up_and_a_checkpoint_has_them() -> None:
    counted = prior()
    counted.count(pictures(0))
    counted.count(pictures(1))
    np.testing.assert_array_equal(counted.counts.numpy(), frequencies(pictures(0), pictures(1)))
    again = prior()
    again.load_state_dict(counted.state_dict())
    assert torch.equal(again.counts, counted.counts) and list(counted.state_dict()) == ["counts"]


def test_the_weight_of_a_colour_is_the_published_formula_of_mean_1() -> None:
    counted = prior(0.5)
    counted.count(pictures())
    p = frequencies(pictures()) / 60
    w = np.where(p > 0, 1 / (0.5 * p + 0.5 / (p > 0).sum()), 0)
    w /= (p * w).sum()
    found = counted.weights().double().numpy()
    np.testing.assert_allclose(found, w, rtol=1e-5)
    assert (p * found).sum() == pytest.approx(1, abs=1e-6) and found.max() > 1.2 * found[p > 0].min()


def test_a_smoothed_prior_reaches_colours_that_never_occur() -> None:
    counted = prior(0.5, sigma=5.0)
    counted.count(pictures())
    assert int((counted.weights() > 0).sum()) > int((frequencies(pictures()) > 0).sum())


def test_with_nothing_counted_and_with_the_uniform_law_alone_all_weigh_the_same() -> None:
    assert torch.equal(prior().weights(), torch.ones(313))
    even = prior(1.0)
    even.count(pictures())
    seen = frequencies(pictures()) > 0
    torch.testing.assert_close(even.weights()[torch.from_numpy(seen)], torch.ones(int(seen.sum())))


def test_a_file_gives_counts_or_shares(tmp_path: Path) -> None:
    shares = np.random.default_rng(0).random(313).astype(np.float32)
    np.save(tmp_path / "prior.npy", shares)
    given = prior()
    given.count(pictures())
    given.read(str(tmp_path / "prior.npy"))
    np.testing.assert_array_equal(given.counts.numpy(), shares.astype(np.float64))


@pytest.mark.parametrize(("values", "message"), [
    (np.ones(300), "needs 313 numbers of at least 0.* got float64 of shape"), (-np.ones(313), "of at least 0"),
    (np.zeros(313), "not all 0"), (np.full(313, np.nan), "needs 313 numbers"), (np.array(["a"] * 313), "needs 313 numbers"),
    (np.array([{}] * 313, dtype=object), "cannot be read")])
def test_what_is_no_prior_is_refused_in_one_line(values: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "prior.npy", values, allow_pickle=True)
    with pytest.raises(ValueError, match=message) as told:
        prior().read(str(tmp_path / "prior.npy"))
    assert "\n" not in str(told.value) and str(told.value).startswith("model.prior=")
    with pytest.raises(ValueError, match="cannot be read"):
        prior().read(str(tmp_path / "none.npy"))


def counted_by_rank() -> torch.Tensor:
    mine = prior()
    for step in range(2):
        mine.count(pictures(2 * step + rank()))
    return mine.counts


def test_ranks_count_all_pictures_together(world: World) -> None:
    expected = frequencies(*(pictures(seed) for seed in range(4)))
    for counts in world(2, counted_by_rank):
        np.testing.assert_array_equal(counts.numpy(), expected)
