"""Boxes that are drawn again until they fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .chance import Chance

Propose = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(u (T, 4) in [0, 1), sizes (T, 2)) -> boxes (T, 4), and which of them fit (T,): one try of each of T rows."""


def first_fit(propose: Propose, attempts: int, chance: Chance, size_hw: np.ndarray, *, scope: str, part: str = "",
              ) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (R, 4), of each row the first of up to `attempts` tries that fits; and whether one does (R,). Attempt k draws four
    numbers in the retry slot k, so it does not matter that what failed is tried again 1, 2, 4, ... times at once."""
    boxes, fits = propose(chance.uniforms(4, scope=scope, part=part), size_hw)
    tried = 1
    left = np.flatnonzero(~fits)
    while len(left) and tried < attempts:
        more = min(tried, attempts - tried)
        rows, calls = np.repeat(left, more), np.tile(np.arange(tried, tried + more), len(left))
        tries, good = propose(chance.rows(rows).uniforms(4, scope=scope, part=part, call=calls), size_hw[rows])
        good = good.reshape(len(left), more)
        found, which = good.any(1), good.argmax(1)
        boxes[left[found]] = tries.reshape(len(left), more, 4)[found, which[found]]
        fits[left[found]] = True
        left, tried = left[~found], tried + more
    return boxes, fits
