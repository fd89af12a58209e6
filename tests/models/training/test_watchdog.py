"""Ranks that hang or are gone: who is named, and when nobody is."""

from __future__ import annotations

import pytest
import torch
from viewmill.models.training.process import World
from viewmill.models.training.watchdog import Beat, Watchdog, aged, hung


def beats(**of: tuple[int, float, str]) -> dict[int, Beat]:
    return {int(name[1:]): Beat(9, step, still, busy) for name, (step, still, busy) in of.items()}


def test_the_ranks_that_the_others_wait_for_are_named_with_their_step() -> None:
    assert hung(beats(r0=(41, 31.0, ""), r1=(40, 33.0, ""), r2=(41, 31.0, "")), 30).startswith(
        "no step for 30 s: rank 1 did not get beyond step 40; the job ends")
    assert "ranks 1, 2 did not get beyond step 40" in hung(beats(r0=(41, 31.0, ""), r1=(40, 33.0, ""), r2=(40, 31.0, "")), 30)
    assert "all ranks did not get beyond step 41" in hung(beats(r0=(41, 31.0, ""), r1=(41, 31.0, "")), 30)


@pytest.mark.parametrize("found", [
    beats(r0=(41, 31.0, ""), r1=(40, 29.0, "")),  # one has just taken a step
    beats(r0=(41, 100.0, "kNN"), r1=(41, 100.0, "")),  # rank 0 alone measures; the other waits for it
    beats(r0=(0, 3.0, ""), r1=(0, 3.0, "")),
])
def test_nobody_is_where_a_step_was_taken_or_something_long_is_under_way(found: dict[int, Beat]) -> None:
    assert hung(found, 30) == ""


def test_what_is_busy_for_too_long_hangs_too() -> None:
    assert "all ranks" in hung(beats(r0=(41, 121.0, "a checkpoint"), r1=(41, 121.0, "")), 30)


def test_a_rank_that_is_frozen_ages_by_the_clock_of_the_others() -> None:
    heard: dict[int, tuple[int, float]] = {}
    first = {0: Beat(5, 41, 1.0, ""), 1: Beat(7, 40, 2.0, "")}
    assert aged(first, heard, 100.0) == first
    later = {0: Beat(30, 41, 126.0, ""), 1: first[1]}  # rank 1 has told nothing since
    found = aged(later, heard, 225.0)
    assert (found[0].still_s, found[1].still_s) == (126.0, 127.0)
    assert "rank 1 did not get beyond step 40" in hung(found, 120) and hung(later, 120) == ""


def test_one_process_alone_watches_nothing() -> None:
    watchdog = Watchdog(World(0, 1, 0, 1, torch.device("cpu")), 0.001)
    watchdog.step(3)
    with watchdog.busy("kNN"):
        assert watchdog.missing() == ""
    watchdog.close()
