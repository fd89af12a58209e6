"""Heads trained on a stream, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..accuracy import best_classes, right
from .course import Course
from .heads import Heads
from .streams import Stream

SHOWN_EVERY = 20  # steps: a look at the loss makes a GPU wait
SCORES = 1 << 24  # scored at a time: 64 MiB


class Training:
    """The work of `work_through`: one step of all heads on the stream's next batch."""

    def __init__(self, heads: Heads, stream: Stream, course: Course) -> None:
        self.heads, self.stream, self.course = heads, stream, course

    def step(self, number: int) -> dict[str, float] | None:
        features, label = self.stream.batch(number)
        losses = self.heads.step(features, label, self.course.share(number))
        return {"best loss": float(losses.nan_to_num(torch.inf).min())} if (number + 1) % SHOWN_EVERY == 0 else None

    def state_dict(self) -> dict[str, Any]:
        return {"heads": self.heads.state_dict(), "stream": self.stream.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.heads.load_state_dict(state["heads"])
        self.stream.load_state_dict(state["stream"])


@dataclass(frozen=True)
class Answers:
    """Of H heads to N pictures: best (N, H, min(5, C)) int64, see `best_classes`; label (N,), index (N,) in the source."""

    best: Tensor
    label: Tensor
    index: Tensor

    def accuracy(self) -> Tensor:
        """(H,) in [0, 1]: of the best class. A head that diverged has no right answer at all."""
        return right(self.best, self.label).double().mean(0) * self._sound()

    def chosen(self, heads: Sequence[int] | None = None) -> int:
        """The most accurate head, of all or of these; of equals the first. Raises ValueError where all diverged."""
        of = torch.arange(self.best.shape[1]) if heads is None else torch.tensor(heads)
        sound = self._sound()[of]
        if not bool(sound.any()):
            raise ValueError("every head diverged: their scores are not finite; use lower rates (lr=)")
        return int(of[(self.accuracy()[of] - (~sound).double()).argmax()])

    def _sound(self) -> Tensor:
        return (self.best >= 0).all(2).all(0)


def best_of(heads: Heads, features: Mapping[str, Tensor]) -> Tensor:
    """(N, H, min(5, C)): the best classes by every head, for features (N, D) by kind, as many rows at a time as fit."""
    count = len(next(iter(features.values())))
    rows = max(1, SCORES // (len(heads.names()) * heads.classes))
    return torch.cat([best_classes(heads.scores({kind: x[start : start + rows] for kind, x in features.items()})).cpu()
                      for start in range(0, count, rows)])
