"""Which arms a design makes, counted and named by hand."""

from __future__ import annotations

from typing import Any

from viewmill.evaluation.ablate.designs import trials
from viewmill.evaluation.ablate.reading import parsed

SWITCHES = {"a": {"model.a": 0}, "b": {"model.b": 0}, "c": {"model.c": 0}}
LEVELS = {"a": {"key": "model.a", "levels": [1, 2]}, "b": {"key": "model.b", "levels": [5, 6, 7]}}
ASKED = {"question": "?", "method": "simclr"}


def names(design: str, factors: dict[str, Any]) -> list[str]:
    return [trial.name for trial in trials(parsed("s", ASKED | {"factors": factors, "design": design}))]


def test_one_at_a_time_is_the_base_and_each_level_alone() -> None:
    assert names("one-at-a-time", LEVELS) == ["base", "a-1", "a-2", "b-5", "b-6", "b-7"]


def test_pairwise_adds_each_pair_of_two_factors() -> None:
    assert names("pairwise", SWITCHES) == ["base", "a", "b", "c", "a_b", "a_c", "b_c"]
    assert names("pairwise", LEVELS)[6:] == ["a-1_b-5", "a-1_b-6", "a-1_b-7", "a-2_b-5", "a-2_b-6", "a-2_b-7"]


def test_leave_one_out_ends_with_all_left_out() -> None:
    study = parsed("s", {"question": "?", "method": "simclr", "factors": SWITCHES, "design": "leave-one-out"})
    *one, everything = trials(study)
    assert [trial.name for trial in one] == ["base", "a", "b", "c"] and everything.name == "without-all"
    assert everything.changes == (("model.a", 0), ("model.b", 0), ("model.c", 0))
    assert names("leave-one-out", {"a": {"model.a": 0}}) == ["base", "a"]  # all of them are one


def test_full_is_every_combination_beside_the_base() -> None:
    made = names("full", LEVELS)
    assert made[0] == "base" and made[1:] == ["a-1_b-5", "a-1_b-6", "a-1_b-7", "a-2_b-5", "a-2_b-6", "a-2_b-7"]


def test_an_arm_knows_its_levels_and_makes_their_changes_in_the_factors_order() -> None:
    study = parsed("s", {"question": "?", "method": "simclr", "factors": LEVELS, "design": "pairwise"})
    last = trials(study)[-1]
    assert dict(last.levels) == {"a": "2", "b": "7"} and last.changes == (("model.a", 2), ("model.b", 7))
