"""Lanes and their windows: stretches that ranks share little of, windows that begin one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from viewmill.pipelines.lanes import Lanes, phases, side_by_side


def walk(lanes: Lanes, number: int, samples: int) -> list[tuple[int, int, int, int]]:
    """(start, size, first step, steps) of each window of a lane, in the order of its steps."""
    at = lanes.at(np.arange(number, samples, lanes.lanes))
    assert np.array_equal(at.first + at.step, np.arange(len(at.step)))
    rows, steps = np.unique(np.stack([at.start, at.size, at.first], 1), axis=0, return_counts=True)
    return sorted((*row, count) for row, count in zip(rows.tolist(), steps.tolist(), strict=True))


class TestByHand:
    """400 samples, 8 lanes of 50: of windows of at most 20 a lane takes 3, of 17, 17 and 16. Lanes 0 to 7 are the stretches
    0 4 2 6 1 5 3 7, and an eighth of a window of 16 is 2 samples."""

    lanes = Lanes(400, 8, 20)

    def test_the_first_lane_begins_with_a_whole_window(self) -> None:
        assert walk(self.lanes, 0, 400) == [(0, 17, 0, 17), (17, 17, 17, 17), (34, 16, 34, 16)]

    def test_another_begins_with_a_part_of_one_and_ends_with_the_rest_of_it(self) -> None:
        """Lane 1 is stretch 4, samples 200 to 249; its phase is 5 eighths, 10 samples."""
        assert walk(self.lanes, 1, 400) == [(200, 10, 0, 10), (210, 17, 10, 17), (227, 17, 27, 17), (244, 6, 44, 6)]

    def test_every_second_stretch_is_walked_from_its_end(self) -> None:
        """Lane 7 is stretch 7, samples 350 to 399; its phase is 3 eighths, 6 samples."""
        assert sorted(walk(self.lanes, 7, 400), key=lambda window: window[2]) == [
            (394, 6, 0, 6), (377, 17, 6, 17), (360, 17, 23, 17), (350, 10, 40, 10)]

    def test_a_lane_of_one_window_is_left_whole(self) -> None:
        lanes = Lanes(400, 8, 50)
        assert [walk(lanes, number, 400)[0][1:] for number in range(8)] == [(50, 0, 50)] * 8

    def test_phases_can_be_given(self) -> None:
        lanes = Lanes(400, 8, 20, np.zeros(8, np.int64))
        assert all([size for _, size, _, _ in sorted(walk(lanes, number, 400), key=lambda window: window[2])] == [17, 17, 16]
                   for number in range(8))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 500), st.integers(1, 300), st.integers(1, 80))
def test_windows_of_all_lanes_cover_the_sequence_once(samples: int, lanes: int, window: int) -> None:
    lanes = min(lanes, samples)
    cut, covered = Lanes(samples, lanes, window), []
    for number in range(lanes):
        found = walk(cut, number, samples)
        assert all(size == steps and 1 <= size <= window for _, size, _, steps in found)
        whole = sorted(found, key=lambda each: each[2])[1:-1]
        assert len({size for _, size, _, _ in whole}) <= 2
        covered += [place for start, size, _, _ in found for place in range(start, start + size)]
    assert sorted(covered) == list(range(samples))


@pytest.mark.parametrize("world", [1, 2, 4, 8, 16, 32, 64, 128])
def test_lanes_of_a_rank_come_to_new_windows_at_equal_distances(world: int) -> None:
    """256 lanes of 10,000 samples in ten windows of 1,000: those of each rank begin 1,000 * world / 256 steps apart."""
    lanes = Lanes(256 * 10_000, 256, 1000)
    for rank in range(world):
        positions = rank + world * np.arange(256 // world)  # the first step of each of its lanes
        ahead = np.sort(lanes.at(positions).size % 1000)
        assert np.abs(np.diff(ahead) - 1000 * world / 256).max(initial=0) <= 1


@pytest.mark.parametrize("world", [16, 64, 256])
def test_lanes_of_a_host_are_never_many_at_a_new_window(world: int) -> None:
    """Eight neighbouring ranks with n lanes in all: no n-th part of a window sees more than three new windows."""
    for first in range(0, world, 8):
        lanes = (first + np.arange(8)[:, None] + world * np.arange(256 // world)).reshape(-1)
        begins = np.sort(phases(256)[lanes]) / 256
        ring = np.concatenate([begins, begins + 1])
        assert max(np.searchsorted(ring, begins + 1 / len(lanes) - 1e-9) - np.arange(len(lanes))) <= 3


def test_phases_are_all_numbers_once() -> None:
    assert phases(8).tolist() == [0, 5, 2, 7, 4, 1, 6, 3]
    for lanes in range(1, 200):
        assert sorted(phases(lanes)) == list(range(lanes))


def test_what_two_neighbours_share_is_met_by_both_at_one_time() -> None:
    """Stretch after stretch, the borders between them lie at the first steps of both, or at the last of both."""
    lanes = Lanes(1000, 10, 25)
    first, last = (lanes.at(step * 10 + np.argsort(side_by_side(10))).start for step in (0, 99))
    at_first = [bool(begin > end) for begin, end in zip(first, last, strict=True)]
    assert at_first == [False, True] * 5


def test_lanes_equal_modulo_the_ranks_lie_side_by_side() -> None:
    assert side_by_side(8).tolist() == [0, 4, 2, 6, 1, 5, 3, 7]
    assert side_by_side(6).tolist() == [0, 3, 1, 4, 2, 5]  # even lanes first
    assert side_by_side(7).tolist() == list(range(7))
    for lanes in range(1, 100):
        assert sorted(side_by_side(lanes)) == list(range(lanes))
