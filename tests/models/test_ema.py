"""The moving average, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from viewmill.models.ema import follow, follower


def test_parameters_follow_and_statistics_do_not() -> None:
    student = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    teacher = follower(student)
    before = [p.clone() for p in teacher.parameters()]
    with torch.no_grad():
        for p in student.parameters():
            p.add_(1)
    student[1].running_mean.fill_(5)
    follow(teacher, student, 0.75)
    for old, new in zip(before, teacher.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.25)  # 0.75 * old + 0.25 * (old + 1)
    assert float(teacher[1].running_mean.abs().sum()) == 0
    assert not any(p.requires_grad for p in teacher.parameters()) and all(p.requires_grad for p in student.parameters())


def test_the_ends_of_the_range() -> None:
    student, teacher = nn.Linear(3, 3), nn.Linear(3, 3)
    kept = teacher.weight.clone()
    follow(teacher, student, 1.0)
    assert torch.equal(teacher.weight, kept)
    follow(teacher, student, 0.0)
    assert torch.equal(teacher.weight, student.weight)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs a number in \[0, 1\], got 1\.5"):
        follow(nn.Linear(2, 2), nn.Linear(2, 2), 1.5)
    with pytest.raises(ValueError, match="only one of them has 'bias'"):
        follow(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), 0.5)


def test_buffers_are_copied_where_asked_for() -> None:
    student, teacher = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    student.running_mean.fill_(5)
    student.num_batches_tracked.fill_(7)
    follow(teacher, student, 1.0, buffers="copy")
    assert teacher.running_mean.tolist() == [5, 5] and int(teacher.num_batches_tracked) == 7
    student.running_mean.fill_(6)
    assert teacher.running_mean.tolist() == [5, 5]  # a copy, not the same memory
    with pytest.raises(ValueError, match="buffers needs 'keep' or 'copy', got 'average'"):
        follow(teacher, student, 0.5, buffers="average")  # type: ignore[arg-type]
