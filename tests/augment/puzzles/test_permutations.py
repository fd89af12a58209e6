"""Permutation sets: what their papers state of them, and that they are the same everywhere."""

from __future__ import annotations

from hashlib import blake2s
from itertools import permutations

import numpy as np
import pytest
from viewmill.augment.puzzles import hamming, permutation_set


def distances(found: np.ndarray) -> np.ndarray:
    """All pairwise distances, by comparing everything with everything."""
    differ = (found[:, None] != found[None]).sum(2)
    return differ[np.triu_indices(len(found), 1)]


def test_distances_of_three_permutations_by_hand() -> None:
    """0123 and 0132 differ in 2 slots, 0123 and 1032 in 4, 0132 and 1032 in 2."""
    assert hamming(np.array([[0, 1, 2, 3], [0, 1, 3, 2], [1, 0, 3, 2]])) == (2, 8 / 3)


def test_the_jigsaw_set_of_100_has_the_released_distances() -> None:
    """Mean 8.08, the least agreement that 100 rows of 9 can have: each tile 11 or 12 times in each slot."""
    found = permutation_set(9, 100)
    assert (np.sort(found, 1) == np.arange(9)).all() and len(np.unique(found, axis=0)) == 100
    assert distances(found).mean() == pytest.approx(8.08, abs=1e-9) and distances(found).min() >= 2
    assert abs(distances(found).mean() - 8 * 100 / 99) < 0.001
    counts = (found[:, :, None] == np.arange(9)).sum(0)
    assert set(counts.ravel().tolist()) == {11, 12}


@pytest.mark.parametrize(("size", "within"), [(1000, 8 * 1000 / 999), (10, 8 * 10 / 9)])
def test_the_mean_reaches_its_bound(size: int, within: float) -> None:
    least, mean = hamming(permutation_set(9, size))
    assert least >= 2 and within - 0.1 < mean <= within and (size < 1000 or mean > 8.007)


def test_the_jigsaw_plus_plus_set_stays_three_apart() -> None:
    """701 with least distance 3 and mean 7.999 as released: about that of random permutations, which agree in one slot."""
    found = permutation_set(9, 701, "first", 3)
    assert distances(found).min() == 3 and abs(distances(found).mean() - 7.999) < 0.03


def test_greatest_least_distance() -> None:
    """Of 9 tiles at most 9 permutations differ everywhere, so ten cannot; 71 reach 5 in the paper."""
    assert hamming(permutation_set(9, 10, "max_min"))[0] == 8
    assert hamming(permutation_set(9, 71, "max_min"))[0] >= 5


def test_each_step_takes_the_farthest_candidate() -> None:
    """Against the plain rule on four slots: the sum of distances to all chosen, over all 24 candidates."""
    for seed in range(3):
        found = permutation_set(4, 20, seed=seed).tolist()
        for step in range(1, 20):
            rest = [p for p in permutations(range(4)) if list(p) not in found[:step]]
            totals = [sum(a != b for q in found[:step] for a, b in zip(p, q, strict=True)) for p in rest]
            assert totals[rest.index(tuple(found[step]))] == max(totals)


def test_max_min_takes_the_candidate_whose_nearest_is_farthest() -> None:
    found = permutation_set(4, 16, "max_min").tolist()
    for step in range(1, 16):
        rest = [p for p in permutations(range(4)) if list(p) not in found[:step]]
        nearest = [min(sum(a != b for a, b in zip(p, q, strict=True)) for q in found[:step]) for p in rest]
        assert nearest[rest.index(tuple(found[step]))] == max(nearest)


def test_all_permutations_are_a_set_too_and_none_beyond() -> None:
    assert sorted(map(tuple, permutation_set(4, 24).tolist())) == list(permutations(range(4)))
    with pytest.raises(ValueError, match="no 25 permutations of 4 slots at least 1 apart by rule 'mean': 24 were found"):
        permutation_set(4, 25)
    with pytest.raises(ValueError, match="at least 4 apart by rule 'first'"):
        permutation_set(4, 13, "first", 4)


def test_many_slots_choose_from_a_pool() -> None:
    found = permutation_set(16, 40)
    assert (np.sort(found, 1) == np.arange(16)).all() and distances(found).mean() > 15.1


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="rule is one of mean, max_min, first, got 'far'"):
        permutation_set(4, 3, "far")
    with pytest.raises(ValueError, match="slots and a size >= 1, got 4 and 0"):
        permutation_set(4, 0)


def test_the_set_is_the_same_on_every_machine() -> None:
    """A saved head means these permutations: another set under the same name would make its classes nonsense."""
    assert permutation_set(9, 100)[:2].tolist() == FIRST
    assert blake2s(permutation_set(9, 100).tobytes(), digest_size=8).hexdigest() == DIGEST
    assert blake2s(permutation_set(9, 701, "first", 3).tobytes(), digest_size=8).hexdigest() == DIGEST_APART
    assert permutation_set(9, 100, seed=1)[:2].tolist() != FIRST


def test_nobody_can_change_the_kept_set() -> None:
    with pytest.raises(ValueError, match="read-only"):
        permutation_set(4, 3)[0, 0] = 2


FIRST = [[4, 1, 5, 8, 2, 3, 0, 7, 6], [3, 6, 4, 2, 0, 5, 7, 8, 1]]
DIGEST = "439322e179965915"
DIGEST_APART = "10a64ca7b5cc3737"
