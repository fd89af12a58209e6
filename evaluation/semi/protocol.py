"""Fine-tuning on few labels, once for each share, each from the pretrained weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..finetune.protocol import to_labels, tuned
from ..labels import labelled
from ..pictures import Pictures
from ..task import Task
from .config import SemiConfig
from .splits import per_class, write_split

KEPT = ("top1", "top5", "correct", "protocol", "steps", "train_images")
"""Of what fine-tuning tells, what is kept of each share."""


def run(task: Task, config: SemiConfig) -> dict[str, Any]:
    """{"top1", "top5" (with five classes at least), "correct": of the first share, "by_labels": each share's top1, "shares": of
    each "top1", "train_images", "split": the list of its keys, in task.out/splits, null where keys name no picture alone,
    "numbers" and whose they are}. task.encoder stays as it is; classifiers are kept in task.out/semi/SHARE.

    Raises as finetune's `run` does.
    """
    classes, known = task.classes(), int((task.train.label >= 0).sum())
    found: dict[str, dict[str, Any]] = {}
    for title, rows in _parts(task.train, config):
        one = config.one(len(rows) / known)
        path = task.out / "splits" / f"{title}-seed{config.labels_seed}.txt"
        split: str | None = str(path)
        try:
            if task.world.rank == 0:
                write_split(path, task.train, rows)
        except ValueError as error:
            task.say(f"semi: no list is written: {error}")
            split = None
        task.say(f"semi: labels of {len(rows)} of {known} pictures ({title}), {one.protocol}")
        of = tuned(replace(task, out=task.out / "semi" / title), task.train.part(rows), one, classes,
                   to_labels(one.tuning(), classes), "finetune", {})
        found[title] = {name: of[name] for name in KEPT if name in of} | {"numbers": of["finetune"], "split": split}
    first = next(iter(found.values()))
    kept = {title: {name: value for name, value in of.items() if name != "correct"} for title, of in found.items()}
    return {**{name: first[name] for name in ("top1", "top5", "correct") if name in first},
            "by_labels": {title: of["top1"] for title, of in found.items()}, "shares": kept, "classes": classes}


def _parts(pictures: Pictures, config: SemiConfig) -> list[tuple[str, np.ndarray]]:
    if config.per_class:
        return [(f"{count}-per-class", per_class(pictures, count, config.labels_seed)) for count in config.per_class]
    return [(Path(labels).stem if isinstance(labels, str) else f"{labels:g}", labelled(pictures, labels, config.labels_seed))
            for labels in config.shares]
