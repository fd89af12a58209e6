"""End-to-end fine-tuning: the pretrained weights are where training begins, a new head is what it is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...augment.draw import DRAW_VERSION
from ...models.training import checkpoint, process
from ...models.training.errors import RunFailure
from ...models.training.optimizer import clip
from ...models.training.step import parallel
from ...pipelines.batch import Batch
from ...pipelines.loader import Loader
from ..accuracy import best_classes, right, shares
from ..features import extract
from ..linear.course import Course
from ..resumable import work_through
from ..task import Task
from ..views import training_loader
from .config import FinetuneConfig, Tuning, peak
from .network import Classifier
from .pieces import Mixing, parameter_groups

SHOWN_EVERY = 20  # steps: a look at the loss makes a GPU wait


def run(task: Task, config: FinetuneConfig) -> dict[str, Any]:
    """{"top1", "top5" (with five classes at least), "correct", "protocol", "finetune": its numbers, "chosen_on": "nothing to
    choose", "steps", "epochs", "classes", "train_images", "test_images"}, by the last weights. task.encoder stays as it is.

    Raises ValueError, one line, for what the user can mend; RunFailure where the loss diverges; Stopped where a signal came,
    after saving.
    """
    before = checkpoint.random_state()
    try:
        return _run(task, config)
    finally:
        checkpoint.set_random_state(before)


def _run(task: Task, config: FinetuneConfig) -> dict[str, Any]:
    of, world, classes = config.tuning(), task.world, task.classes()
    if of.batch_size % world.size or ((of.mixup or of.cutmix) and of.batch_size // world.size % 2):
        raise ValueError(f"batch_size={of.batch_size} is for all ranks together; {world.size} ranks need a whole share each, an "
                         "even one where images are mixed")
    course = config.course(len(task.train))
    process.seed_all(task.seed)
    classifier: nn.Module = Classifier(task.encoder, classes, of)
    if world.device.type == "cuda" and world.size > 1 and config.sync_bn:
        classifier = nn.SyncBatchNorm.convert_sync_batchnorm(classifier)
    assert isinstance(classifier, Classifier)
    classifier.to(world.device)
    process.seed_all(task.seed, world.rank)
    with training_loader(task, task.train, of.recipe, of.batch_size, config.sidecar) as loader:
        job = {"encoder": task.encoder.fingerprint, "images": task.train.subset().fingerprint, "views": loader.recipe.fingerprint,
               "draws": DRAW_VERSION, "seed": task.seed, **plain(of), "course": repr(course), "classes": classes}
        task.say(f"finetune: {course.total} steps of {of.batch_size}, {len(task.train)} images")
        work_through(Tuned(task, classifier, loader, of, course), course.total, task.out, job, world, what="finetune",
                     minutes=config.save_minutes, say=task.say, random=True)
    classifier.same_on_all_ranks()

    def best(images: Tensor) -> Tensor:
        return best_classes(classifier(images)).float()

    with torch.no_grad():
        classifier.head.eval()
        found = extract(classifier.encoder, task.test, world.device, see=best, kind="best", autocast=task.autocast)
    answers = found.x.long()
    return {
        **shares(answers, found.label), "correct": task.correct(found.index, right(answers, found.label)),
        "protocol": config.protocol, "finetune": plain(of), "chosen_on": "nothing to choose", "steps": course.total,
        "epochs": course.epoch(course.total), "classes": classes, "train_images": len(task.train), "test_images": len(found)}


class Tuned:
    """The work of `work_through`: one step on the loader's next batch."""

    def __init__(self, task: Task, classifier: Classifier, loader: Loader, of: Tuning, course: Course) -> None:
        self.task, self.classifier, self.loader, self.of, self.course = task, classifier, loader, of, course
        self.mixing = Mixing(of, classifier.head[-1].out_features)  # type: ignore[arg-type]
        groups = parameter_groups(classifier.encoder.module, classifier.head, of)
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(groups, lr=0.0) if of.optimizer == "adamw"
            else torch.optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=of.optimizer == "nesterov"))
        self._model = parallel(classifier, task.world)
        self._batches: Iterator[Batch] | None = None

    def step(self, number: int) -> dict[str, float] | None:
        if self._batches is None:
            self._batches = iter(self.loader)
        batch = next(self._batches).to(self.task.device)
        (views,) = batch.views.values()
        images, targets = self.mixing(views[0], batch.label)
        with self.task.autocast():
            scores = self._model.train()(images)
        loss = F.cross_entropy(scores.float(), targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip(self.classifier.parameters(), self.of.clip_grad)
        rate = peak(self.of) * self.course.share(number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        self.optimizer.step()
        if (number + 1) % SHOWN_EVERY and number + 1 < self.course.total:
            return None
        shown = float(loss.detach())
        if shown != shown or shown in (float("inf"), float("-inf")):
            raise RunFailure(f"the loss is not finite at step {number + 1} of {self.course.total}; try a lower lr, a longer "
                             "warmup_epochs, or clip_grad=1")
        return {"loss": shown}

    def state_dict(self) -> dict[str, Any]:
        return {"classifier": self.classifier.state_dict(), "optimizer": self.optimizer.state_dict(),
                "loader": self.loader.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.classifier.load_state_dict(state["classifier"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.loader.load_state_dict(state["loader"])


def plain(of: Tuning) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(of).items()}
