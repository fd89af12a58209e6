"""Rows of several views draw together what each draws alone, and what the streams' names say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from viewmill.augment.attempts import first_fit
from viewmill.augment.chance import Chance, Seat
from viewmill.augment.philox import uniforms

SEATS = (Seat("a", 0, 0, 2), Seat("b", 0, 3, 1, "repeat/1:"), Seat("a", 1, 1, 2), Seat("b", 0, 0, 1))
SCOPES = ("sample", "image", "batch-view", "batch")


def chance(seats: tuple[Seat, ...], samples: int = 6, **more: object) -> Chance:
    position = np.arange(samples) * 3 + 5
    return Chance(7, 2, position * 11 + 2**40, position, 8, seats, "blur", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("scope", "share", "part", "name"), [
    ("sample", None, "", "repeat/1:b/0/blur"),
    ("sample", None, "sigma/{copy}", "repeat/1:b/0/blur:sigma/3"),
    ("image", None, "", "repeat/1:b/blur"),
    ("image", "box", "", "repeat/1:share:box:"),
    ("batch-view", None, "", "repeat/1:block:b/0/blur"),
    ("batch", None, "sigma", "repeat/1:block:blur:sigma"),
])
def test_streams_are_named_by_scope(scope: str, share: str | None, part: str, name: str) -> None:
    drawn = chance(SEATS[1:2], share=share)
    numbers = drawn.index if scope in ("sample", "image") else np.array([0, 1, 1, 1, 2, 2])  # positions 5, 8, ... 20 by eights
    assert np.array_equal(drawn.uniforms(3, scope=scope, part=part), uniforms(7, 2, numbers, name, 3))


@given(st.permutations(range(4)), st.integers(1, 4), st.sampled_from(SCOPES), st.sampled_from([None, "box"]),
       st.sampled_from(["", "part/{copy}"]), st.integers(1, 9), st.integers(0, 3))
def test_together_equals_each_alone(order: list[int], views: int, scope: str, share: str | None, part: str, count: int,
                                    call: int) -> None:
    seats = tuple(SEATS[n] for n in order[:views])
    together = chance(seats, share=share).uniforms(count, scope=scope, part=part, call=call)
    alone = [chance((seat,), share=share).uniforms(count, scope=scope, part=part, call=call) for seat in seats]
    assert np.array_equal(together, np.concatenate(alone))


@given(st.lists(st.tuples(st.integers(0, 23), st.integers(0, 5)), max_size=30), st.sampled_from(SCOPES), st.integers(1, 4))
def test_some_rows_in_any_order_draw_what_they_do_among_all(rows_and_calls: list[tuple[int, int]], scope: str, count: int,
                                                           ) -> None:
    rows, calls = (np.array([pair[n] for pair in rows_and_calls], np.int64) for n in (0, 1))
    all_rows = chance(SEATS)
    every = np.stack([all_rows.uniforms(count, scope=scope, call=call) for call in range(6)])
    some = all_rows.rows(rows)
    assert np.array_equal(some.uniforms(count, scope=scope, call=calls), every[calls, rows])
    assert np.array_equal(some.uniforms(count, scope=scope, call=2), every[2, rows])
    assert np.array_equal(some.rows(np.arange(len(rows))[::-2]).uniforms(count, scope=scope), every[0, rows[::-2]])
    assert some.ordinal.tolist() == [SEATS[row // 6].ordinal for row in rows]
    assert some.copy.tolist() == [SEATS[row // 6].copy for row in rows]
    assert some.offsets().tolist() == [(row % 6 * 3 + 5) % 8 for row in rows]


def test_rows_that_draw_alike_are_those_of_one_block_and_stream() -> None:
    """Six positions lie in three blocks. "batch" has one stream in each of two worlds, "batch-view" one for each view."""
    rows = chance(SEATS)
    for scope, lots in (("sample", 24), ("batch", 2 * 3), ("batch-view", 4 * 3)):
        first, which = rows.alike(scope)
        numbers = rows.uniforms(2, scope=scope)
        assert len(first) == lots == len(np.unique(numbers, axis=0)) and np.array_equal(numbers[first][which], numbers)


@pytest.mark.parametrize("attempts", [1, 2, 3, 10, 11])
def test_the_first_attempt_that_fits_is_taken(attempts: int) -> None:
    """Whatever is tried at once: attempt k has the numbers of retry slot k, and only one in five fits."""
    rows = chance(SEATS, 50)
    sizes = np.arange(400).reshape(200, 2)
    boxes, fits = first_fit(lambda u, size_hw: (np.concatenate([u[:, :2], size_hw], 1), u[:, 3] < 0.2), attempts, rows, sizes,
                            scope="sample")
    every = np.stack([rows.uniforms(4, call=k) for k in range(attempts)])
    for row in range(200):
        good = [k for k in range(attempts) if every[k, row, 3] < 0.2]
        assert fits[row] == bool(good)
        if good:
            assert boxes[row].tolist() == [*every[good[0], row, :2], *sizes[row]]
    assert fits.any() and not fits.all()


def test_only_scopes_of_blocks_need_positions() -> None:
    unplaced = replace(chance(SEATS), position=None)
    unplaced.uniforms(1)
    with pytest.raises(ValueError, match="a/blur:sigma is shared by blocks of 8 positions: draw needs position"):
        unplaced.uniforms(1, scope="batch", part="sigma")
