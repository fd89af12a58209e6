"""When a stream is stopped for its bad samples: at an epoch's end by the fraction, before it by what chance cannot explain."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from viewmill.pipelines.judge import Judge, chance_of
from viewmill.pipelines.plan import Bad


def bad(count: int) -> list[Bad]:
    return [Bad(row=i, index=i, where=f"x.tar: {i}.jpg", reason="JPEG cut short", shard="x.tar", key=str(i), offset=0, size=1)
            for i in range(count)]


def counted(judge: Judge, batches: Iterable[tuple[int, int]], ends_epoch: bool = False) -> None:
    for count, of_them in batches:
        judge.add(bad(of_them), count, ends_epoch)


@pytest.mark.parametrize(("found", "seen", "rate", "chance"), [
    (3, 4, 0.5, 5 / 16),  # four of the sixteen outcomes have three, one has four
    (2, 3, 0.1, 0.028),  # 3 x 0.01 x 0.9 + 0.001
    (1, 2, 0.01, 0.0199),  # 1 - 0.99^2
    (5, 5, 0.1, 1e-5), (6, 5, 0.5, 0.0), (1, 5, 0.0, 0.0), (2, 1, 1.0, 0.0),
    (0, 5, 0.0, 1.0), (0, 5, 0.01, 1.0), (2, 4, 0.5, 1.0), (5, 5, 1.0, 1.0),  # not above the mean
])
def test_chances_by_hand(found: int, seen: int, rate: float, chance: float) -> None:
    assert chance_of(found, seen, rate) == pytest.approx(chance, rel=1e-12)


@pytest.mark.parametrize(("found", "seen", "rate"), [
    (9, 100, 0.01), (8, 100, 0.01), (15, 300, 0.01), (22, 300, 0.07), (150, 300, 0.01), (299, 300, 0.9)])
def test_chances_are_those_of_whole_fractions(found: int, seen: int, rate: float) -> None:
    p = Fraction(rate)
    exact = sum(comb(seen, k) * p**k * (1 - p)**(seen - k) for k in range(found, seen + 1))
    assert chance_of(found, seen, rate) == pytest.approx(float(exact), rel=1e-10)


def test_of_a_billion_samples_too() -> None:
    # 5.0 standard deviations above 1 %, of a normal distribution 2.9e-7
    assert chance_of(10_000_000 + round(5 * 9_900_000**0.5), 10**9, 0.01) == pytest.approx(2.87e-7, rel=0.02)


@pytest.mark.parametrize(("seen", "most"), [(100, 8), (1000, 28)])  # 8.2e-6 and 8.4e-7; 1.9e-6 and 6.4e-7
def test_within_an_epoch_the_first_count_beyond_chance_stops(seen: int, most: int) -> None:
    counted(Judge(0.01, joined=False), [(seen, most)])
    with pytest.raises(RuntimeError) as stopped:
        counted(Judge(0.01, joined=False), [(seen, most + 1)])
    assert str(stopped.value) == (f"{most + 1} of {seen} samples could not be used ({most + 1} x JPEG cut short), more than "
                                  f"max_bad=0.01; the last is x.tar: {most}.jpg: check the data, or raise max_bad")


def test_before_a_hundred_samples_nothing_is_judged() -> None:
    judge = Judge(0.01, joined=False)
    counted(judge, [(99, 99)])
    with pytest.raises(RuntimeError, match=r"^99 of 100 "):
        counted(judge, [(1, 0)])


def test_at_an_epochs_end_the_fraction_is_judged() -> None:
    counted(Judge(0.01, joined=False), [(200, 2)], ends_epoch=True)
    with pytest.raises(RuntimeError, match=r"^3 of 200 "):
        counted(Judge(0.01, joined=False), [(200, 3)], ends_epoch=True)


def test_the_rest_of_an_epoch_that_was_joined_is_judged_by_chance_and_forgotten() -> None:
    judge = Judge(0.01, joined=True)
    counted(judge, [(100, 8)], ends_epoch=True)
    counted(judge, [(200, 2)], ends_epoch=True)
    with pytest.raises(RuntimeError, match=r"^5 of 400 "):
        counted(judge, [(200, 3)], ends_epoch=True)
    with pytest.raises(RuntimeError, match=r"^9 of 100 "):
        counted(Judge(0.01, joined=True), [(100, 9)], ends_epoch=True)


def test_none_allowed_and_all_allowed() -> None:
    with pytest.raises(RuntimeError, match=r"^1 of 100 "):
        counted(Judge(0.0, joined=False), [(100, 1)])
    counted(Judge(1.0, joined=False), [(100, 100)], ends_epoch=True)


@pytest.mark.parametrize(("rate", "stopped"), [(0.005, 0), (0.01, 0), (0.02, 300), (0.05, 300)])
def test_good_streams_go_on_and_bad_ones_stop_early(rate: float, stopped: int) -> None:
    """300 streams of 20,000 samples in batches of 50, of which 1 % may be bad, and so many are by chance."""
    stops = 0
    for found in np.random.default_rng(0).binomial(50, rate, (300, 400)).tolist():
        try:
            counted(Judge(0.01, joined=False), [(50, of_them) for of_them in found])
        except RuntimeError:
            stops += 1
    assert stops == stopped
