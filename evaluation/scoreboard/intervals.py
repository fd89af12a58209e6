"""How sure a difference between two accuracies is: a bootstrap over seeds and test pictures, paired in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
PIECE = 4_000_000
"""Resamples times kinds of pictures that are drawn at once."""


@dataclass(frozen=True)
class Interval:
    """In the unit of what was given, so in [-1, 1] for a difference of accuracies; low to high holds `level` of the resamples."""

    mean: float
    low: float
    high: float
    level: float = 0.95

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def paired(correct: np.ndarray, baseline: np.ndarray, *, resamples: int = RESAMPLES, level: float = 0.95,
           seed: int = 0) -> Interval:
    """The mean over seeds and pictures of correct - baseline, with its percentile interval.

    correct, baseline (S, N): whether each of S seeds answers each of N test pictures rightly, in one order of seeds and of
    pictures, so that a seed's two arms begin with the same weights and are asked the same. A resample draws S seeds and N
    pictures with replacement, the same pictures for all its seeds. Several baselines for one method: `better_of` them first.
    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13; crossed factors as in Owen 2007,
    The pigeonhole bootstrap, which is never too narrow in expectation.

    Raises ValueError on shapes that differ, or without a seed or a picture.
    """
    if correct.shape != baseline.shape or correct.ndim != 2 or correct.size == 0:
        raise ValueError(f"an interval needs two tables (seeds, pictures) of one shape, got {correct.shape} and {baseline.shape}")
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"an interval needs a level in (0, 1) and at least one resample, got {level} and {resamples}")
    difference = correct.astype(np.float64) - baseline.astype(np.float64)
    return _interval(difference, resamples, level, seed)


def alone(correct: np.ndarray, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0) -> Interval:
    """The accuracy itself with its interval, in the same way. correct (S, N)."""
    return paired(correct, np.zeros_like(correct), resamples=resamples, level=level, seed=seed)


def better_of(*tables: np.ndarray) -> int:
    """Which of several tables (S, N) has the highest mean: the first of equals."""
    return int(np.argmax([table.mean() for table in tables]))


def _interval(difference: np.ndarray, resamples: int, level: float, seed: int) -> Interval:
    seeds, pictures = difference.shape
    # Pictures that all seeds answer alike are alike to a resample: it is enough to draw how many come of each kind.
    kinds, counts = np.unique(difference, axis=1, return_counts=True)
    rng = np.random.default_rng(seed)
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    # Means over arms have nearly as many kinds as pictures: piece by piece, which draws the same numbers.
    step, found = max(PIECE // len(counts), 1), []
    for first in range(0, resamples, step):
        own = of_seeds[first:first + step]
        of_pictures = rng.multinomial(pictures, counts / pictures, size=len(own))
        found.append(np.einsum("rs,rs->r", own, of_pictures @ kinds.T))
    means = np.concatenate(found) / (seeds * pictures)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(difference.mean()), float(low), float(high), level)
