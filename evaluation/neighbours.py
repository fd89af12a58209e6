"""kNN as a protocol: test pictures by their neighbours among the training pictures, for several k at once."""


from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..models.training.config import key
from .knn import knn_predictions
from .task import Task


@dataclass(frozen=True)
class KnnEvalConfig:
    """Of several k the first is the result, whatever the others say: a k chosen on the test pictures would flatter."""

    k: tuple[int, ...] = key("neighbours that vote; the first counts, the others are reported beside it", (20, 10, 100, 200))
    tau: float = key("temperature of the votes", 0.07)
    chunk: int = key("test features compared at a time; memory is chunk * training pictures * 4 bytes", 1024)

    def __post_init__(self) -> None:
        if not self.k or min(self.k) < 1 or self.chunk < 1:
            raise ValueError(f"k and chunk need whole numbers of at least 1, got k={list(self.k)}, chunk={self.chunk}")
        if not self.tau > 0:
            raise ValueError(f"tau needs a number above 0, got {self.tau}")


def run(task: Task, config: KnnEvalConfig) -> dict[str, Any]:
    """{"top1": of the first k, in [0, 1], "k", "by_k": {k: top1}, "correct": (test pictures,) bool}."""
    task.classes()
    bank, test = task.features("train"), task.features("test")
    if max(config.k) > len(bank):
        raise ValueError(f"k={max(config.k)} needs as many training pictures, {task.train.name} has {len(bank)}; use for example "
                         f"k=[{min(config.k[0], len(bank))}]")
    answers = knn_predictions(bank.x, bank.label, test.x, ks=config.k, temperature=config.tau, chunk=config.chunk,
                              ranks=task.world.size > 1)
    correct = {k: task.correct(test.index, answer == test.label) for k, answer in answers.items()}
    first = config.k[0]
    return {"top1": float(correct[first].mean()), "k": first, "by_k": {k: float(right.mean()) for k, right in correct.items()},
            "correct": correct[first]}
