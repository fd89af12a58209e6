"""The linear probe of an evaluation: heads on frozen features, the best of them chosen, its share of right answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...augment.draw import DRAW_VERSION
from ...pipelines.loader import Loader
from ..features import Features, extract
from ..resumable import work_through
from ..split import hold_out
from ..task import Task
from ..views import training_recipe
from .config import LinearConfig, optimizer_of, rates
from .heads import Heads
from .kinds import Kinds, Seen
from .probes import Probe
from .streams import Cached, Rendered, Stream
from .training import Answers, Training, answers


def run(task: Task, config: LinearConfig) -> dict[str, Any]:
    """{"top1", "top5" (with five classes at least), "correct", "chosen": {"kind", "lr"}, "chosen_on": "split" | "test" |
    "nothing to choose", "heads": each with the accuracy it was chosen by, "protocol", "probe": its numbers, "steps", "epochs",
    "classes", "train_images" (that heads were trained on), "test_images" (that could be read)}.

    Raises ValueError, one line, for what the user can mend; Stopped where a signal came, after saving.
    """
    if config.solver == "lbfgs":
        from ..logistic import run as logistic

        return logistic(task, config)
    of = config.probe()
    return Probing(task, config, of, Kinds(task.encoder, of.kinds), "linear").run()


class Probing:
    """A probe of a task, on whatever `see` gives of its pictures."""

    def __init__(self, task: Task, config: LinearConfig, of: Probe, see: Seen, what: str) -> None:
        if of.batch_size % task.world.size:
            raise ValueError(f"batch_size={of.batch_size} is for all ranks together; {task.world.size} ranks do not divide it")
        self.task, self.config, self.of, self.see, self.what = task, config, of, see, what
        self.classes = task.classes()
        task.encoder.to(task.device)

    def run(self) -> dict[str, Any]:
        task, config, of = self.task, self.config, self.of
        settings = [(kind, lr) for kind in self.see.dims for lr in of.lr]
        chosen_on = config.select if len(settings) > 1 else "nothing to choose"
        rows = every = np.arange(len(task.train))
        if chosen_on == "split":
            rows, choose = hold_out(task.train.label, config.split)
        heads = self.trained(of, tuple(self.see.dims), rows)
        test = task.features("test", see=self.see, kind=self.see.name)
        given = self.answers(heads, test)
        judge = self.answers(heads, self.plain(choose)) if chosen_on == "split" else given
        best = judge.best()
        kind, lr = settings[best]
        accuracy = [{"kind": kind, "lr": lr, "top1": float(top1)} for (kind, lr), top1 in
                    zip(settings, judge.accuracy(), strict=True)]
        if chosen_on == "split" and config.refit:
            rows, best = every, 0
            given = self.answers(self.trained(replace(of, lr=(lr,)), (kind,), rows), test)
            given.best()  # which refuses one that diverged
        course = config.course(len(rows))
        values = {"top1": given.top1} if given.top5 is None else {"top1": given.top1, "top5": given.top5}
        return {name: float(right[:, best].double().mean()) for name, right in values.items()} | {
            "correct": task.correct(test.index, given.top1[:, best]), "chosen": {"kind": kind, "lr": lr}, "chosen_on": chosen_on,
            "heads": accuracy, "protocol": config.protocol, "probe": plain(of), "steps": course.total,
            "epochs": course.epoch(course.total), "classes": self.classes, "train_images": len(rows), "test_images": len(test)}

    def trained(self, of: Probe, kinds: tuple[str, ...], rows: np.ndarray) -> Heads:
        """Heads after all steps on the training pictures at these rows."""
        task, config = self.task, self.config
        pictures = task.train.part(rows)
        stream: Stream
        if of.cached:
            features = self.plain(rows)
            seen = self.see.apart(features.x)
            stream = Cached({kind: seen[kind] for kind in kinds}, features.label, of.batch_size, task.seed, task.world)
            course, shown = config.course(len(features)), "plain views"
        else:
            recipe = training_recipe(of.recipe, task.encoder)
            loader = Loader(pictures.subset(), recipe, of.batch_size // task.world.size, seed=task.seed, epochs=None,
                            rank=task.world.rank, world_size=task.world.size, threads=task.threads, device=task.device,
                            last="drop", sidecar=config.sidecar)
            stream = Rendered(loader, task.encoder, self.see, task.device, task.autocast)
            course, shown = config.course(len(pictures)), f"views of {recipe.name}, {recipe.fingerprint}, draws {DRAW_VERSION}"
        heads = Heads({kind: self.see.dims[kind] for kind in kinds}, rates(of), self.classes, optimizer_of(of),
                      init_std=of.init_std, norm=of.norm, eps=of.norm_eps, seed=task.seed, device=task.device)
        job = {"encoder": task.encoder.fingerprint, "images": pictures.subset().fingerprint, "views": shown,
               "seed": task.seed, **plain(of), "kinds": [self.see.name, *kinds], "course": repr(course), "classes": self.classes}
        if task.world.rank == 0:
            task.say(f"{self.what}: {len(heads.names())} heads, {course.total} steps of {of.batch_size}, {len(pictures)} images")
        try:
            work_through(Training(heads, stream, course), course.total, task.out, job, task.world, what=self.what,
                         minutes=config.save_minutes, say=task.say)
        finally:
            if isinstance(stream, Rendered):
                stream.loader.close()
        return heads

    def plain(self, rows: np.ndarray) -> Features:
        """Of the training pictures at these rows; where a probe trains on features, all are made at once."""
        task = self.task
        if not self.of.cached:
            return extract(task.encoder, task.train.part(rows), task.device, see=self.see, kind=self.see.name,
                           autocast=task.autocast, folder=task.out / "features" if task.cache else None)
        every = task.features("train", see=self.see, kind=self.see.name)
        own = torch.from_numpy(np.isin(every.index.numpy(), task.train.index[rows]))
        return Features(every.x[own], every.label[own], every.index[own])

    def answers(self, heads: Heads, features: Features) -> Answers:
        apart: dict[str, Tensor] = self.see.apart(features.x)
        return answers(heads, apart, features.label)


def plain(of: Probe) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(of).items()}
