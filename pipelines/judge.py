"""Whether more samples are bad than a user allows, or chance alone may have brought so many."""

from __future__ import annotations

from collections import Counter
from math import exp, inf, lgamma, log, log1p
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plan import Bad

JUDGED_FROM = 100
"""Samples after which the fraction of bad ones is first judged within an epoch."""

UNLIKELY = 1e-6
"""A count of bad samples that comes by chance at most so often, where just as many are bad as are allowed, is none of chance."""


def chance_of(bad: int, seen: int, rate: float) -> float:
    """The probability that of `seen` samples at least `bad` are bad, each of which is with probability rate, independently: the
    upper tail of the binomial distribution, for more than the mean, seen * rate; 1 for as many or fewer. rate in [0, 1]."""
    if bad <= seen * rate:
        return 1.0
    if bad > seen or rate <= 0:
        return 0.0
    first = exp(lgamma(seen + 1) - lgamma(bad + 1) - lgamma(seen - bad + 1) + bad * log(rate) + (seen - bad) * log1p(-rate))
    total, term, at = first, first, bad
    while at < seen and term > total * 1e-17:
        term *= (seen - at) / (at + 1) * rate / (1 - rate)
        total, at = total + term, at + 1
    return total


class Judge:
    """Counts samples, and stops a stream of which too many are bad.

    max_bad: the fraction allowed. While an epoch goes on, from JUDGED_FROM samples on, it stops where more are bad and chance
    would bring so many at most once in a million times: a good stream with a few bad ones early goes on. At an epoch's end the
    fraction itself counts, of all epochs so far. joined: the first epoch is not seen from its beginning, so it is judged by
    chance alone, and not counted later: one bad sample among the last ten of a million is no reason to stop, each time that a
    run is resumed.
    """

    def __init__(self, max_bad: float, joined: bool) -> None:
        self.max_bad = max_bad
        self._joined = joined
        self._seen, self._reasons = 0, Counter[str]()

    def add(self, bad: list[Bad], count: int, ends_epoch: bool) -> None:
        """`count` more samples, of which these are bad. Raises RuntimeError, in one line, where too many are."""
        self._seen += count
        self._reasons.update(each.reason for each in bad)
        total = self._reasons.total()
        if total > self.max_bad * self._seen and self._least_chance(ends_epoch) > chance_of(total, self._seen, self.max_bad):
            reasons = ", ".join(f"{n} x {reason}" for reason, n in self._reasons.most_common(3))
            example = f"; the last is {bad[-1].where}" if bad else ""
            raise RuntimeError(f"{total} of {self._seen} samples could not be used ({reasons}), more than "
                               f"max_bad={self.max_bad:g}{example}: check the data, or raise max_bad")
        if ends_epoch and self._joined:
            self._joined, self._seen = False, 0
            self._reasons.clear()

    def _least_chance(self, ends_epoch: bool) -> float:
        """What is as likely as this is put down to chance."""
        if ends_epoch and not self._joined:
            return inf
        return UNLIKELY if self._seen >= JUDGED_FROM else 0.0
