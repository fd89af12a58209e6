"""Noise as a pure function of a seed and an element's number: `augment/pixel_noise.py`, number for number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32

from .cache import kernel
from .geometry import log

WORD = np.int64(0xFFFFFFFF)


@kernel
def word(seed: int, element: int) -> Any:
    """32 random bits of an element."""
    x = (seed + element * 0x9E3779B9) & WORD
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & WORD
    x = ((x ^ (x >> 15)) * 0x846CA68B) & WORD
    return x ^ (x >> 16)


@kernel
def uniform(seed: int, element: int) -> float:
    return float32((word(seed, element) >> 8) * 2.0**-24)


@kernel
def normal(seed: int, element: int) -> float:
    """The inverse of the normal distribution function, by Acklam's rational approximation."""
    p = (word(seed, element) + 0.5) * 2.0**-32
    if 0.02425 <= p <= 1.0 - 0.02425:
        q = p - 0.5
        r = q * q
        above = (((((-3.969683028665376e01 * r + 2.209460984245205e02) * r - 2.759285104469687e02) * r + 1.383577518672690e02) * r
                  - 3.066479806614716e01) * r + 2.506628277459239e00) * q
        below = (((((-5.447609879822406e01 * r + 1.615858368580409e02) * r - 1.556989798598866e02) * r + 6.680131188771972e01) * r
                  - 1.328068155288572e01) * r + 1.0)
        return float32(above / below)
    tail = p if p < 0.5 else 1.0 - p
    q = math.sqrt(-2.0 * log(tail))
    above = (((((-7.784894002430293e-03 * q - 3.223964580411365e-01) * q - 2.400758277161838e00) * q - 2.549732539343734e00) * q
              + 4.374664141464968e00) * q + 2.938163982698783e00)
    below = ((((7.784695709041462e-03 * q + 3.224671290700398e-01) * q + 2.445134137142996e00) * q + 3.754408661907416e00) * q
             + 1.0)
    value = above / below
    return float32(value if p < 0.5 else -value)


@kernel
def add_normal(planes: Any, std: float, seed: int) -> None:
    """std in levels; held within 0..255."""
    n = planes.shape[1]
    for c in range(3):
        line = planes[c]
        for i in range(n):
            line[i] = min(max(line[i] + std * normal(seed, c * n + i), float32(0)), float32(255))
