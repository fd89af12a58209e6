"""Fine-tuning on few labels, once for each share, each from the pretrained weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...augment.draw import DRAW_VERSION
from ...models.rank_norm import over_ranks
from ...models.training import checkpoint, process
from ...pipelines.batch import Batch
from ..accuracy import best_classes, right, shares
from ..features import extract
from ..finetune.config import Tuning
from ..finetune.network import Classifier
from ..finetune.pieces import Mixing
from ..finetune.protocol import Tuned, plain
from ..finetune.saved import save
from ..labels import labelled
from ..pictures import Pictures
from ..resumable import work_through
from ..task import Task
from ..views import training_loader
from .config import FewLabelsConfig, SemiConfig, SemiTuning
from .splits import per_class, write_split


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
        before = checkpoint.random_state()
        try:
            of = tuned(replace(task, out=task.out / "semi" / title), task.train.part(rows), one, classes)
        finally:
            checkpoint.set_random_state(before)
        found[title] = {**of, "split": split}
    first = next(iter(found.values()))
    kept = {title: {name: value for name, value in of.items() if name != "correct"} for title, of in found.items()}
    return {**{name: first[name] for name in ("top1", "top5", "correct") if name in first},
            "by_labels": {title: of["top1"] for title, of in found.items()}, "shares": kept, "classes": classes}


def _parts(pictures: Pictures, config: SemiConfig) -> list[tuple[str, np.ndarray]]:
    if config.per_class:
        return [(f"{count}-per-class", per_class(pictures, count, config.labels_seed)) for count in config.per_class]
    return [(Path(labels).stem if isinstance(labels, str) else f"{labels:g}", labelled(pictures, labels, config.labels_seed))
            for labels in config.shares]


def tuned(task: Task, train: Pictures, config: FewLabelsConfig, classes: int) -> dict[str, Any]:
    """As finetune's `tuned`, of the plain objective, with a rate of the head's own."""
    of, world = config.tuning(), task.world
    if of.batch_size % world.size or ((of.mixup or of.cutmix) and of.batch_size // world.size % 2):
        raise ValueError(f"batch_size={of.batch_size} is for all ranks together; {world.size} ranks need a whole share each, an "
                         "even one where images are mixed")
    course = config.course(len(train))
    process.seed_all(task.seed)
    classifier = Classifier(task.encoder, classes, of)
    if world.size > 1 and config.sync_bn:
        over_ranks(classifier, world.device)
    classifier.to(world.device)
    process.seed_all(task.seed, world.rank)
    mixing = Mixing(of, classes)

    def objective(views: Tensor, batch: Batch) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        images, targets = mixing(views, batch.label)
        return images, lambda scores: F.cross_entropy(scores, targets)

    with training_loader(task, train, of.recipe, of.batch_size, config.sidecar) as loader:
        job = {"encoder": task.encoder.fingerprint, "images": train.subset().fingerprint, "views": loader.recipe.fingerprint,
               "draws": DRAW_VERSION, "seed": task.seed, **plain(of), "course": repr(course), "classes": classes}
        work = Tuned(task, classifier, loader, of, course, objective)
        own_rate(work.optimizer, classifier, of)
        work_through(work, course.total, task.out, job, world, what="finetune", minutes=config.save_minutes, say=task.say,
                     random=True)
    classifier.same_on_all_ranks()
    if world.rank == 0:
        save(task.out / "finetune", classifier)
    with torch.no_grad():
        classifier.head.eval()
        found = extract(classifier.encoder, task.test, world.device, see=lambda images: best_classes(classifier(images)).float(),
                        kind="best", autocast=task.autocast)
    answers = found.x.long()
    return {**shares(answers, found.label), "correct": task.correct(found.index, right(answers, found.label)),
            "protocol": config.protocol, "numbers": plain(of), "steps": course.total, "train_images": len(train)}


def own_rate(optimizer: torch.optim.Optimizer, classifier: Classifier, of: Tuning) -> None:
    """Has the groups of the new head go at head_lr, where that is given."""
    if not isinstance(of, SemiTuning) or of.head_lr is None:
        return
    head = {id(parameter) for parameter in classifier.head.parameters()}
    for group in optimizer.param_groups:
        if all(id(parameter) in head for parameter in group["params"]):
            group["lr_scale"] *= of.head_lr / of.lr
