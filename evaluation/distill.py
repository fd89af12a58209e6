"""Distillation of a fine-tuned classifier into another network, on pictures whose labels need not be known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..augment.ops import LabSplit, Normalize, Sobel
from ..losses.distillation import distillation, distillation_with_labels
from ..models.training.config import key
from ..pipelines.batch import Batch
from .encoder import Encoder, fingerprint_of
from .finetune.config import FinetuneConfig
from .finetune.protocol import tuned
from .finetune.saved import open_classifier
from .finetune.tunings import TUNINGS, Tuning
from .labels import labelled
from .task import Task

DISTILLATIONS: dict[str, Tuning] = {
    "small": replace(TUNINGS["small"], smoothing=0.0),
    # LARS, its decay, what is adapted: the authors' notebook, a demonstration of 10 steps at batch 16 and rate 2. Rate, batch,
    # epochs and warm-up, those of its pretraining but for the epochs: as the paper is reported, unverified.
    "simclr_v2": replace(TUNINGS["simclr_v2"], source="google-research/simclr, distillation_self_training.ipynb", lr=0.1,
                         batch_size=4096, epochs=400, warmup_epochs=20, weight_decay=1e-4, init_std=0.01, adapt_head=True),
}


@dataclass(frozen=True)
class DistillConfig(FinetuneConfig):
    published: ClassVar[dict[str, Tuning]] = DISTILLATIONS

    protocol: str = key(f"whose numbers stand where a key is null: {', '.join(DISTILLATIONS)}", "small")
    teacher: str | None = key("what eval finetune or eval distill left: its folder, or classifier.pt in it", None)
    temperature: float = key("of both distributions; as reported 1 from large to small, 0.1 where a network teaches itself", 1.0)
    alpha: float = key("share of the teacher's answers; the rest is the labels', of the pictures that labels= names", 1.0)
    loss_scale: Literal["official", "paper"] = key("official: the teacher's part times temperature squared; paper: as it is",
                                                   "official")

    def __post_init__(self) -> None:
        super().__post_init__()
        of = self.tuning()
        if not self.temperature > 0:
            raise ValueError(f"temperature needs a number above 0, got {self.temperature}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha needs a number in [0, 1], got {self.alpha}")
        if self.labels is not None and self.alpha == 1:
            raise ValueError(f"labels={self.labels} are not looked at with alpha=1; give alpha below 1, or leave labels out")
        if of.mixup or of.cutmix or of.smoothing:
            raise ValueError("mixup, cutmix and smoothing are for labels, distillation learns answers; leave them out")


def run(task: Task, config: DistillConfig) -> dict[str, Any]:
    """What `tuned` returns, and "teacher": its name, "labelled_images": whose labels were used. The student is task.encoder, a
    copy of it, with a new classifier. Raises as `tuned`, and where there is no teacher, or one that sees other pictures."""
    if config.teacher is None:
        raise ValueError("eval distill needs a teacher, teacher=FOLDER, what viewmill eval finetune left, for example "
                         "teacher=runs/simclr_v2/eval/finetune")
    teacher = open_classifier(config.teacher).to(task.device)
    fits = same_pictures(task.encoder, teacher.encoder, config.teacher)
    largest = int(max(task.train.label.max(), task.test.label.max()))
    if largest >= teacher.classes:
        raise ValueError(f"teacher={config.teacher} knows {teacher.classes} classes, the pictures have label {largest}; give the "
                         "pictures of its classes")
    label = np.full(len(task.train), -1, np.int64)
    if config.alpha < 1:
        rows = labelled(task.train, config.labels, config.labels_seed)
        if len(rows) == 0:
            raise ValueError(f"alpha={config.alpha} gives weight to labels, {task.train.name} has none; use alpha=1")
        label[rows] = task.train.label[rows]
    known = torch.from_numpy(label).to(task.device)

    def to_answers(views: Tensor, batch: Batch) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        with torch.no_grad(), task.autocast():
            answers = teacher(fits(views)).float()
        if config.alpha == 1:
            return views, lambda scores: distillation(scores, answers, config.temperature, scale=config.loss_scale)
        return views, lambda scores: distillation_with_labels(scores, answers, known[batch.index], config.temperature,
                                                              config.alpha, scale=config.loss_scale)

    job = {"teacher": [teacher.encoder.fingerprint, fingerprint_of(teacher.head)], "temperature": config.temperature,
           "alpha": config.alpha, "loss_scale": config.loss_scale, "labelled": blake2b(label.tobytes()).hexdigest()}
    found = tuned(task, task.train, config, teacher.classes, to_answers, "distill", job)
    return found | {"teacher": teacher.encoder.name, "labelled_images": int((label >= 0).sum())}


def same_pictures(student: Encoder, teacher: Encoder, name: str) -> Callable[[Tensor], Tensor]:
    """From the student's pictures to the teacher's, (B, C, H, W) each: of another mean and standard deviation at most. Raises
    ValueError where they are of another size, or end otherwise."""
    ends = [[op for op in of.view.instances[0].ops if isinstance(op, Normalize | LabSplit | Sobel)] for of in (student, teacher)]
    if student.image_px == teacher.image_px and ends[0] == ends[1]:
        return lambda images: images
    of, to = (_moments(end) for end in ends)
    if student.image_px != teacher.image_px or of is None or to is None:
        seen = [f"{encoder.image_px} px ({', '.join(op.type for op in end)})"
                for encoder, end in zip((student, teacher), ends, strict=True)]
        raise ValueError(f"the student sees pictures of {seen[0]}, teacher={name} of {seen[1]}; both need one size, and may "
                         "differ in mean and standard deviation alone")
    scale, shift = of[1] / to[1], (of[0] - to[0]) / to[1]
    return lambda images: images * scale.to(images.device) + shift.to(images.device)


def _moments(ends: Sequence[Any]) -> tuple[Tensor, Tensor] | None:
    """Mean and standard deviation (3, 1, 1) that take values in [0, 1] to what such a view ends in; None: it is not so simple."""
    if len(ends) != 1 or not isinstance(ends[0], Normalize) or ends[0].kind not in ("none", "mean-std"):
        return None
    mean, std = (ends[0].mean, ends[0].std) if ends[0].kind == "mean-std" else ((0.0,) * 3, (1.0,) * 3)
    return torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)
