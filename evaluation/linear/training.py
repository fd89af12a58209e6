"""Heads trained on a stream, and what each then answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..accuracy import among_best
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
    """Of H heads to N pictures: top1, top5 (N, H) bool, whether the label is among a head's 1, 5 best classes; finite (H,)
    bool: a head that diverged has no scores, and is wrong throughout. top5 is None with fewer than five classes."""

    top1: Tensor
    top5: Tensor | None
    finite: Tensor

    def accuracy(self) -> Tensor:
        """(H,) in [0, 1]: of the best class."""
        return self.top1.double().mean(0)

    def best(self) -> int:
        """The most accurate head; of equals the first. Raises ValueError where all diverged."""
        if not bool(self.finite.any()):
            raise ValueError("every head diverged: their scores are not finite; use lower rates (lr=)")
        return int((self.accuracy() - (~self.finite).double()).argmax())


def answers(heads: Heads, features: Mapping[str, Tensor], label: Tensor) -> Answers:
    """features (N, D) by kind, label (N,)."""
    rows = max(1, SCORES // (len(heads.names()) * heads.classes))
    top1, top5 = [], []
    finite = torch.ones(len(heads.names()), dtype=torch.bool)
    for start in range(0, len(label), rows):
        part = slice(start, start + rows)
        scores, own = heads.scores({kind: x[part] for kind, x in features.items()}).cpu(), label[part]
        good = scores.isfinite().all(2)
        finite &= good.all(0)
        scores = scores.nan_to_num(0.0, 0.0, 0.0)
        top1.append(among_best(scores, own, 1) & good)
        if heads.classes >= 5:
            top5.append(among_best(scores, own, 5) & good)
    return Answers(torch.cat(top1) & finite, torch.cat(top5) & finite if top5 else None, finite)
