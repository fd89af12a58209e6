"""Medians and their spread, and ratios of what was measured side by side."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The median over rounds, with the smallest and largest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"

    @property
    def width(self) -> float:
        """From the smallest to the largest, in medians."""
        return (self.high - self.low) / self.median if self.median else 0.0


def spread(values: Sequence[float]) -> Spread:
    if not values:
        raise ValueError("a median needs at least one value, got none")
    return Spread(statistics.median(values), min(values), max(values))


def paired(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Of the ratios round by round, not the ratio of medians: what slowed a whole round drops out.

    Raises ValueError for unequal numbers of rounds.
    """
    return spread([a / b for a, b in zip(above, below, strict=True)])
