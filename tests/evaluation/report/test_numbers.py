"""Numbers as they are shown, and where ticks lie."""

from __future__ import annotations

import pytest
from viewmill.evaluation.report.numbers import duration, percent, round_percent, short, size, smoothed, ticks, wilson


@pytest.mark.parametrize(("value", "said"), [
    (4.43882, "4.439"), (1338.2, "1,338"), (0.00198, "0.00198"), (-0.5, "−0.5"), (0, "0"), (1.5e-05, "1.5×10⁻⁵"),
    (2.5e12, "2.5×10¹²"), (float("inf"), "inf")])
def test_four_digits_that_count(value: float, said: str) -> None:
    assert short(value) == said


def test_shares_times_and_bytes() -> None:
    assert [percent(0.4431, 2), percent(0.5), round_percent(0.5), round_percent(0.425)] == ["44.31 %", "50.0 %", "50 %", "42.5 %"]
    assert [duration(s) for s in (75, 720, 12_000, 187_200)] == ["75 s", "12 min", "3 h 20 min", "2 d 4 h"]
    assert [size(n) for n in (940, 91_935_157, 1.3e9)] == ["940 B", "91.9 MB", "1.3 GB"]


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0, 1, [0, 0.25, 0.5, 0.75, 1]), (3.02, 6.69, [3, 4, 5, 6, 7]), (-1.7, -0.05, [-2, -1.5, -1, -0.5, 0]),
    (0.0002, 0.0019, [0, 0.0005, 0.001, 0.0015, 0.002]), (2, 2, [1, 1.5, 2, 2.5, 3]), (0, 0, [-1, -0.5, 0, 0.5, 1])])
def test_ticks_are_round_and_hold_the_range(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


def test_intervals_are_wilsons() -> None:
    # By hand, z = 1.96, 50 of 100: the middle stays, half = sqrt(0.25 / 100 + 1.96^2 / 40000) / (1 + 1.96^2 / 100) = 0.0962.
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    # 0 of 10: from 0 to z^2 / (10 + z^2).
    assert wilson(0.0, 10) == pytest.approx((0.0, 3.8415 / 13.8415), abs=1e-4)


def test_smoothing_is_a_mean_around_each_value_and_shifts_nothing() -> None:
    assert smoothed([0, 0, 3, 0, 0]) == pytest.approx([0, 1, 1, 1, 0])
    assert smoothed([float(x) for x in range(100)]) == pytest.approx(range(100))
