"""Scalar laws that turn uniform numbers into parameters, equal to the last bit on every machine.

NumPy's exp and log differ by processor; these use only + - * / and exact operations (rint, ldexp, frexp), which IEEE 754 fixes.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations

import numpy as np

_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_SQRT_HALF = 0.70710678118654752440

FOUR = np.array(list(permutations(range(4))), np.int8)
"""(24, 4): the orders of four things, in lexicographic order."""


def exp(x: np.ndarray | float) -> np.ndarray:
    """e**x for |x| < 700, within 2 units in the last place."""
    x = np.asarray(x, np.float64)
    k = np.rint(x * 1.44269504088896338700)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    total = np.array(1.0 + r / 14)
    for n in range(13, 0, -1):  # |r| <= ln(2) / 2: the 15th term is below 2**-53
        total *= r
        total /= n
        total += 1.0
    return np.ldexp(total, k.astype(np.int32))


def log(x: np.ndarray | float) -> np.ndarray:
    """Natural logarithm of x > 0, within 2 units in the last place (absolute near 1)."""
    mantissa, exponent = np.frexp(np.asarray(x, np.float64))
    small = mantissa < _SQRT_HALF
    mantissa = np.where(small, mantissa * 2, mantissa)
    exponent = exponent - small
    s = (mantissa - 1) / (mantissa + 1)  # log m = 2 atanh(s), |s| < 0.172
    square = s * s
    series = np.zeros_like(s)
    for n in range(23, 0, -2):
        series *= square
        series += 1.0 / n
    return exponent * _LN2_HIGH + (exponent * _LN2_LOW + 2 * s * series)


_log_of = lru_cache(maxsize=1024)(log)
"""Of a field's number, asked for again with each batch."""


def uniform(u: np.ndarray, low: float, high: float) -> np.ndarray:
    """u in [0, 1) -> [low, high)."""
    return low + u * (high - low)


def log_uniform(u: np.ndarray, low: float, high: float) -> np.ndarray:
    """u in [0, 1) -> [low, high), uniform in the logarithm."""
    a, b = _log_of(low), _log_of(high)
    return exp(a + u * (b - a))


def integer(u: np.ndarray, low: np.ndarray | int, count: np.ndarray | int) -> np.ndarray:
    """u in [0, 1) -> low, ..., low + count - 1, as int64. count up to 2**32 (the numbers have 32 bits)."""
    return (low + np.floor(u * count)).astype(np.int64)


def seed(u: np.ndarray) -> np.ndarray:
    """u in [0, 1) -> all its 32 bits, as int64: what `pixel_noise` starts from."""
    return integer(u, 0, 2**32)


def permutation_of_four(u: np.ndarray) -> np.ndarray:
    """u (N,) in [0, 1) -> (N, 4) int8, each of the 24 orders with the same chance."""
    return FOUR[integer(u, 0, 24)]


def ranks(u: np.ndarray) -> np.ndarray:
    """u (N, K) -> (N, K) int64: the place of each key in ascending order; ties go to the lower column."""
    order = np.argsort(u, axis=1, kind="stable")
    found = np.empty_like(order)
    np.put_along_axis(found, order, np.arange(u.shape[1])[None], 1)
    return found


def lowest(u: np.ndarray, count: int) -> np.ndarray:
    """u (N, K) in [0, 1) -> (N, K) bool: whether a key is among the `count` lowest of its row; ties go to the lower column."""
    columns = u.shape[1]
    if not 0 < count < columns:
        return np.full(u.shape, count > 0)
    # Whole numbers below 2**53, no two of them equal; rows are sorted faster where they lie in memory as rows.
    keys = np.multiply(u, 2.0**(32 + columns.bit_length()), order="C") + np.arange(columns)
    return keys <= np.partition(keys, count - 1, axis=1)[:, count - 1:count]
