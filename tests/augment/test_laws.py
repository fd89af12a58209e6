"""exp and log against the standard library's, and laws by hand."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from viewmill.augment import laws


@given(st.floats(-600, 600))
def test_exp_agrees_with_the_standard_library(x: float) -> None:
    assert math.isclose(float(laws.exp(x)), math.exp(x), rel_tol=1e-15)


@given(st.floats(1e-300, 1e300))
def test_log_agrees_with_the_standard_library(x: float) -> None:
    assert math.isclose(float(laws.log(x)), math.log(x), rel_tol=1e-15, abs_tol=1e-16)


def test_log_uniform_has_its_ends_and_its_median() -> None:
    low, middle, high = laws.log_uniform(np.array([0.0, 0.5, 1 - 2.0**-32]), 3 / 4, 4 / 3)
    assert math.isclose(low, 0.75, rel_tol=1e-15) and math.isclose(middle, 1.0, rel_tol=1e-15)
    assert math.isclose(high, 4 / 3, rel_tol=1e-8) and high < 4 / 3


def test_the_24_orders_are_all_there_and_equally_likely() -> None:
    u = (np.arange(2400) + 0.5) / 2400
    orders, counts = np.unique(laws.permutation_of_four(u), axis=0, return_counts=True)
    assert len(orders) == 24 and set(counts) == {100}
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders.tolist())


def test_ranks_count_smaller_keys_and_break_ties_to_the_left() -> None:
    assert laws.ranks(np.array([[0.3, 0.1, 0.3, 0.2]])).tolist() == [[2, 0, 3, 1]]


def test_integer_reaches_both_ends() -> None:
    assert laws.integer(np.array([0.0, 0.999999]), -2, 5).tolist() == [-2, 2]


def test_bits_are_those_of_plain_double_arithmetic() -> None:
    """Every processor that keeps IEEE 754 must give these bits: the same steps in Python's own floats."""

    def exp_by_steps(x: float) -> float:
        k = round(x * 1.44269504088896338700)
        r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10
        total = 1.0
        for n in range(14, 0, -1):
            total = 1.0 + total * r / n
        return math.ldexp(total, k)

    x = np.linspace(-3, 3, 1001)
    assert laws.exp(x).tolist() == [exp_by_steps(v) for v in x.tolist()]
    assert laws.exp(x).tolist() == [float(laws.exp(v)) for v in x]
    assert laws.log(x + 4).tolist() == [float(laws.log(v)) for v in x + 4]
