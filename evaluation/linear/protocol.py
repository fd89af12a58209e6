"""The linear probe of an evaluation: heads on frozen features, the best of them chosen, its share of right answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...augment.draw import DRAW_VERSION
from ..accuracy import right, shares
from ..features import Features, extract
from ..pictures import Pictures
from ..resumable import work_through
from ..split import hold_out
from ..task import Task
from ..views import training_loader
from .config import HeadsConfig, LinearConfig, optimizer_of, rates
from .heads import Heads
from .kinds import Kinds, Seen
from .probes import Probe
from .streams import Cached, Rendered, Stream
from .training import Answers, Training, best_of


def run(task: Task, config: LinearConfig) -> dict[str, Any]:
    """{"top1", "top5" (with five classes at least), "correct", "chosen": {"kind", "lr"}, "chosen_on": "split" | "test" |
    "nothing to choose", "heads": each with the accuracy it was chosen by, "protocol", "probe": its numbers, "steps", "epochs",
    "classes", "train_images" (that heads were trained on), "test_images" (that could be read)}.

    Raises ValueError, one line, for what the user can mend; Stopped where a signal came, after saving.
    """
    if config.solver == "lbfgs":
        from ..logistic import run as logistic

        return logistic(task, config)
    return Probing(task, config, config.probe(), Kinds(task.encoder, config.probe().kinds), "linear").run().result()


@dataclass(frozen=True)
class Outcome:
    """settings: (kind, base rate) of each head. judge: their answers to the pictures that choose; test: to the test pictures."""

    probing: Probing
    settings: list[tuple[str, float]]
    chosen_on: str
    judge: Answers
    test: Answers
    train_images: int

    def result(self) -> dict[str, Any]:
        task, config, test = self.probing.task, self.probing.config, self.test
        number = self.judge.chosen()
        kind, lr = self.settings[number]
        course = config.course(self.train_images)
        heads = [{"kind": kind, "lr": lr, "top1": float(top1)} for (kind, lr), top1 in
                 zip(self.settings, self.judge.accuracy(), strict=True)]
        return {
            **shares(test.best[:, number], test.label), "chosen": {"kind": kind, "lr": lr}, "chosen_on": self.chosen_on,
            "correct": task.correct(test.index, right(test.best[:, number], test.label)), "heads": heads,
            "protocol": config.protocol, "probe": plain(self.probing.of), "steps": course.total,
            "epochs": course.epoch(course.total), "classes": self.probing.classes, "train_images": self.train_images,
            "test_images": len(test.label)}


class Probing:
    """A probe of a task, on whatever `see` gives of its pictures."""

    def __init__(self, task: Task, config: HeadsConfig, of: Probe, see: Seen, what: str) -> None:
        if of.batch_size % task.world.size:
            raise ValueError(f"batch_size={of.batch_size} is for all ranks together; {task.world.size} ranks do not divide it")
        self.task, self.config, self.of, self.see, self.what = task, config, of, see, what
        self.classes = task.classes()
        task.encoder.to(task.device)

    def run(self) -> Outcome:
        task, config = self.task, self.config
        settings = [(kind, lr) for kind in self.see.dims for lr in self.of.lr]
        chosen_on = config.select if len(settings) > 1 else "nothing to choose"
        rows = every = np.arange(len(task.train))
        if chosen_on == "split":
            rows, choose = hold_out(task.train.label, config.split)
        heads = self.trained(rows)
        if chosen_on != "split":
            test = self.answers(heads, None)
            return Outcome(self, settings, chosen_on, test, test, len(rows))
        judge = self.answers(heads, choose)
        if config.refit:
            rows, heads = every, self.trained(every)
        return Outcome(self, settings, chosen_on, judge, self.answers(heads, None), len(rows))

    def trained(self, rows: np.ndarray) -> Heads:
        """Heads after all steps on the training pictures at these rows."""
        task, config, of = self.task, self.config, self.of
        pictures = task.train.part(rows)
        stream: Stream
        if of.cached:
            features = self.plain(rows)
            stream = Cached(self.see.apart(features.x), features.label, of.batch_size, task.seed, task.world)
            course, shown = config.course(len(features)), "plain views"
        else:
            loader = training_loader(task, pictures, of.recipe, of.batch_size, config.sidecar)
            stream = Rendered(loader, task.encoder, self.see, task.device, task.autocast)
            course, shown = config.course(len(pictures)), f"views {loader.recipe.fingerprint}, draws {DRAW_VERSION}"
        heads = Heads(self.see.dims, rates(of), self.classes, optimizer_of(of), init_std=of.init_std, norm=of.norm,
                      eps=of.norm_eps, seed=task.seed, device=task.device)
        job = {"encoder": task.encoder.fingerprint, "images": pictures.subset().fingerprint, "views": shown, "seed": task.seed,
               **plain(of), "kinds": self.see.name, "course": repr(course), "classes": self.classes}
        task.say(f"{self.what}: {len(heads.names())} heads, {course.total} steps of {of.batch_size}, {len(pictures)} images")
        try:
            work_through(Training(heads, stream, course), course.total, task.out, job, task.world, what=self.what,
                         minutes=config.save_minutes, say=task.say)
        finally:
            if isinstance(stream, Rendered):
                stream.loader.close()
        return heads

    def plain(self, rows: np.ndarray) -> Features:
        """Features of the training pictures at these rows; all are made at once."""
        every = self.task.features("train", see=self.see, kind=self.see.name)
        own = torch.from_numpy(np.isin(every.index.numpy(), self.task.train.index[rows]))
        return Features(every.x[own], every.label[own], every.index[own])

    def answers(self, heads: Heads, rows: np.ndarray | None) -> Answers:
        """To the training pictures at these rows; None: to the test pictures. Where nothing is cached, features are not kept at
        all: those of many layers would fill the memory."""
        task = self.task
        if self.of.cached:
            seen = task.features("test", see=self.see, kind=self.see.name) if rows is None else self.plain(rows)
            return Answers(best_of(heads, self.see.apart(seen.x)), seen.label, seen.index)

        def best(images: Tensor) -> Tensor:
            return best_of(heads, self.see.apart(self.see(images).float())).flatten(1)

        pictures: Pictures = task.test if rows is None else task.train.part(rows)
        found = extract(task.encoder, pictures, task.device, see=best, kind="best", autocast=task.autocast)
        return Answers(found.x.long().unflatten(1, (len(heads.names()), -1)), found.label, found.index)


def plain(of: Probe) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(of).items()}
