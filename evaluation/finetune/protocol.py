"""End-to-end fine-tuning: the pretrained weights are where training begins, a new head is what it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...augment.draw import DRAW_VERSION
from ...models.rank_norm import over_ranks
from ...models.training import checkpoint, process
from ...models.training.errors import RunFailure
from ...models.training.optimizer import clip
from ...models.training.step import parallel
from ...pipelines.batch import Batch
from ...pipelines.loader import Loader
from ..accuracy import best_classes, right, shares
from ..features import extract
from ..labels import labelled
from ..linear.course import Course
from ..pictures import Pictures
from ..resumable import work_through
from ..task import Task
from ..views import training_loader
from .config import FinetuneConfig, peak
from .network import Classifier
from .pieces import Mixing, optimizer_of, parameter_groups
from .saved import save
from .tunings import Tuning

SHOWN_EVERY = 20  # steps: a look at the loss makes a GPU wait

Objective = Callable[[Tensor, Batch], tuple[Tensor, Callable[[Tensor], Tensor]]]
"""Of views (B, C, H, W) and their batch: what the classifier is shown, and the loss of its scores (B, classes), a scalar."""


def run(task: Task, config: FinetuneConfig) -> dict[str, Any]:
    """What `tuned` returns, "finetune": the numbers. task.encoder stays as it is."""
    of, classes = config.tuning(), task.classes()
    train = task.train.part(labelled(task.train, config.labels, config.labels_seed))
    return tuned(task, train, config, classes, to_labels(of, classes), "finetune", {})


def to_labels(of: Tuning, classes: int) -> Objective:
    """Cross entropy of the classes, mixed and smoothed as the numbers have it."""
    mixing = Mixing(of, classes)

    def objective(views: Tensor, batch: Batch) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        images, targets = mixing(views, batch.label)
        return images, lambda scores: F.cross_entropy(scores, targets)

    return objective


def tuned(task: Task, train: Pictures, config: FinetuneConfig, classes: int, objective: Objective, what: str,
          job: Mapping[str, Any]) -> dict[str, Any]:
    """{"top1", "top5" (with five classes at least), "correct", "protocol", WHAT: its numbers, "chosen_on": "nothing to choose",
    "steps", "epochs", "classes", "train_images", "test_images"}, by the last weights, which are kept in task.out/WHAT, see
    `saved`. job: plain data that says what the objective is.

    Raises ValueError, one line, for what the user can mend; RunFailure where the loss diverges; Stopped where a signal came,
    after saving.
    """
    before = checkpoint.random_state()
    try:
        return _tuned(task, train, config, classes, objective, what, job)
    finally:
        checkpoint.set_random_state(before)


def _tuned(task: Task, train: Pictures, config: FinetuneConfig, classes: int, objective: Objective, what: str,
           job: Mapping[str, Any]) -> dict[str, Any]:
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
    with training_loader(task, train, of.recipe, of.batch_size, config.sidecar) as loader:
        whole = {"encoder": task.encoder.fingerprint, "images": train.subset().fingerprint, "views": loader.recipe.fingerprint,
                 "draws": DRAW_VERSION, "seed": task.seed, **plain(of), "course": repr(course), "classes": classes, **job}
        task.say(f"{what}: {course.total} steps of {of.batch_size}, {len(train)} images")
        work_through(Tuned(task, classifier, loader, of, course, objective), course.total, task.out, whole, world, what=what,
                     minutes=config.save_minutes, say=task.say, random=True)
    classifier.same_on_all_ranks()
    if world.rank == 0:
        save(task.out / what, classifier)

    def best(images: Tensor) -> Tensor:
        return best_classes(classifier(images)).float()

    with torch.no_grad():
        classifier.head.eval()
        found = extract(classifier.encoder, task.test, world.device, see=best, kind="best", autocast=task.autocast)
    answers = found.x.long()
    return {
        **shares(answers, found.label), "correct": task.correct(found.index, right(answers, found.label)),
        "protocol": config.protocol, what: plain(of), "chosen_on": "nothing to choose", "steps": course.total,
        "epochs": course.epoch(course.total), "classes": classes, "train_images": len(train), "test_images": len(found)}


class Tuned:
    """The work of `work_through`: one step on the loader's next batch."""

    def __init__(self, task: Task, classifier: Classifier, loader: Loader, of: Tuning, course: Course,
                 objective: Objective) -> None:
        self.task, self.classifier, self.loader, self.of, self.course = task, classifier, loader, of, course
        self.objective = objective
        encoder = classifier.encoder
        self.optimizer = optimizer_of(parameter_groups(encoder.module, classifier.head, of, encoder.head), of)
        self._model = parallel(classifier, task.world)
        self._batches: Iterator[Batch] | None = None

    def step(self, number: int) -> dict[str, float] | None:
        if self._batches is None:
            self._batches = iter(self.loader)
        batch = next(self._batches).to(self.task.device)
        (views,) = batch.views.values()
        images, loss_of = self.objective(views[0], batch)
        with self.task.autocast():
            scores = self._model.train()(images)
        loss = loss_of(scores.float())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip(self.classifier, self.of.clip_grad)
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
