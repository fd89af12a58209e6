"""Rates over a training of heads, by hand."""

from __future__ import annotations

import math

import pytest
from viewmill.evaluation.linear.course import Course


def test_a_cosine_by_the_epoch_stands_still_within_it_and_ends_above_zero() -> None:
    course = Course(steps_per_epoch=5, total=20, law="cosine", per="epoch")
    expected = [0.5 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(4)]
    assert [course.share(step) for step in range(20)] == pytest.approx([share for share in expected for _ in range(5)])
    assert course.share(19) == pytest.approx(0.146447, abs=1e-6)


def test_a_cosine_by_the_step_falls_with_each() -> None:
    course = Course(steps_per_epoch=5, total=20, law="cosine", per="step")
    assert [course.share(step) for step in (0, 5, 10, 19)] == pytest.approx([1, 0.853553, 0.5, 0.006156], abs=1e-6)


def test_drops_come_after_their_epochs() -> None:
    """RotNet's table: .01 to epoch 5, .002 to 15, .0004 to 25, .00008 to 35."""
    course = Course(steps_per_epoch=3, total=105, law="steps", per="epoch", steps_at=(5, 15, 25), step_factor=0.2)
    rates = [0.01 * course.share(step) for step in (0, 14, 15, 44, 45, 74, 75, 104)]
    assert rates == pytest.approx([0.01, 0.01, 0.002, 0.002, 0.0004, 0.0004, 0.00008, 0.00008])


def test_a_warm_up_rises_by_the_step_and_the_cosine_begins_at_its_end() -> None:
    course = Course(steps_per_epoch=4, total=20, law="cosine", per="step", warmup_epochs=1)
    assert [course.share(step) for step in (0, 1, 3, 4, 12)] == pytest.approx([0, 0.25, 0.75, 1, 0.5])
    by_epoch = Course(steps_per_epoch=4, total=20, law="cosine", per="epoch", warmup_epochs=1)
    assert [by_epoch.share(step) for step in (3, 4, 7, 8, 12)] == pytest.approx([0.75, 1, 1, 0.853553, 0.5])
    part = Course(steps_per_epoch=4, total=20, law="cosine", per="epoch", warmup_epochs=0.5)
    assert [part.share(step) for step in (1, 2)] == pytest.approx([0.5, 1])


def test_epochs_of_a_step() -> None:
    assert Course(steps_per_epoch=4, total=20, law="cosine", per="step").epoch(6) == 1.5
