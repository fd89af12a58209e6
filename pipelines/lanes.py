"""A sequence of samples cut into lanes, and lanes into windows: arithmetic, in memory of the number of lanes."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np


@dataclass(frozen=True)
class Windows:
    """Of N positions: at which sample of the sequence their windows begin, and how many samples those hold; the step of the
    lane with which the window begins, and how many steps later the position comes; all (N,) int64."""

    start: np.ndarray
    size: np.ndarray
    first: np.ndarray
    step: np.ndarray


class Lanes:
    """`samples` cut into `lanes` stretches of equal size (to one sample); position p is step p div lanes of lane p mod lanes.

    The windows of a lane hold about window_samples each, all of a lane as many (to one sample). Of two and more, only the part
    phase / lanes of one comes first, and the rest of it last, so that lanes come to new windows one after the other and what is
    fetched for them is fetched evenly. Every second stretch is walked from its end: the shard that the border of two
    stretches cuts is then needed by both at one time.

    phase: (lanes,) int64 in 0..lanes-1, default `phases`.
    """

    def __init__(self, samples: int, lanes: int, window_samples: int, phase: np.ndarray | None = None) -> None:
        stretch = side_by_side(lanes)
        in_sequence = np.argsort(stretch)
        self.lanes = lanes
        self.sizes = samples // lanes + (np.arange(lanes) < samples % lanes)
        self.starts = np.empty(lanes, np.int64)
        self.starts[in_sequence] = np.cumsum(self.sizes[in_sequence]) - self.sizes[in_sequence]
        self.backwards = stretch % 2 == 1
        self.windows = -(-self.sizes // window_samples)
        self.ahead = self.sizes // self.windows * (phases(lanes) if phase is None else phase) // lanes
        self.ahead[self.windows == 1] = 0

    def at(self, position: np.ndarray) -> Windows:
        """The windows of positions (N,) int64, which lie in the sequence."""
        step, lane = np.divmod(position, self.lanes)
        lane_size, windows, ahead = self.sizes[lane], self.windows[lane], self.ahead[lane]
        small, larger = np.divmod(lane_size, windows)  # the first `larger` whole windows of a lane hold one sample more
        whole = step - ahead
        edge = larger * (small + 1)
        number = np.where(whole < edge, whole // (small + 1), larger + (whole - edge) // small)
        first = ahead + number * small + np.minimum(number, larger)
        size = small + (number < larger) - np.where(number == windows - 1, ahead, 0)
        early = whole < 0
        first, size = np.where(early, 0, first), np.where(early, ahead, size)
        offset = np.where(self.backwards[lane], lane_size - first - size, first)
        return Windows(self.starts[lane] + offset, size, first, step - first)


def phases(lanes: int) -> np.ndarray:
    """(lanes,) int64, 0..lanes-1 in an order in which the lanes of any one of W ranks (those equal modulo W, which divides
    lanes) lie at equal distances, and those of neighbouring ranks, which share a host, almost.

    Multiples of the number nearest to the golden section of lanes that has no divisor in common with it.
    With lanes = 8: 0 5 2 7 4 1 6 3.
    """
    golden = round(lanes * 0.6180339887498949)
    factor = next(each for away in range(lanes) for each in (golden - away, golden + away) if gcd(each, lanes) == 1)
    return np.arange(lanes, dtype=np.int64) * factor % lanes


def side_by_side(lanes: int) -> np.ndarray:
    """(lanes,) int64: which stretch of the sequence each lane is; the digits of its number, reversed.

    So lanes that are equal modulo W, which one of W ranks serves, are neighbours: a shard that a stretch's end cuts is
    then fetched by one rank only. With lanes = 8: 0 4 2 6 1 5 3 7.
    """
    number, stretch, left = np.arange(lanes), np.zeros(lanes, np.int64), lanes
    factor = 2
    while left > 1:
        if left % factor:
            factor += 1
            continue
        number, digit = np.divmod(number, factor)
        stretch = stretch * factor + digit
        left //= factor
    return stretch
