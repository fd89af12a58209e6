"""Multinomial logistic regression on frozen features by L-BFGS, as the transfer protocols have it: `linear solver=lbfgs`."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.training import process
from .accuracy import best_classes, right, shares
from .linear.config import LinearConfig
from .linear.kinds import Kinds
from .resumable import folder_of
from .split import hold_out
from .task import Task

PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
"""Of the short grid, on the mean loss: c = 1 / (penalty * images), so that one grid fits few images and many."""

PUBLISHED = tuple(float(c) for c in np.logspace(-6, 5, 45))
"""Of SimCLR and its successors on the transfer data sets, and of DINOv2."""

Known = tuple[Tensor, Tensor]
"""Features (N, D), and labels (N,) or targets (N, C)."""

LARGE = 10**9
"""Multiplications of one product from which more threads help. Below, where other programs want the cores as well, BLAS threads
that wait for each other cost far more: measured 0.3 s against 8.3 s for 4,500 x 256 features, on two busy cores."""


def run(task: Task, config: LinearConfig) -> dict[str, Any]:
    """{"top1", "top5" (with five classes at least), "correct", "chosen": {"c"}, "chosen_on": "split" | "nothing to choose",
    "fits": each c with its accuracy on the split, "converged", "edge": whether the best c is the grid's first or last, "classes",
    "train_images", "test_images"}: c chosen on a split of the training images, then fitted to all of them.

    Ranks share the fits. Fits of an interrupted evaluation are kept. Source: arXiv:2002.05709, appendix B.8; DINOv2,
    arXiv:2304.07193. Raises ValueError, one line, for what the user can mend.
    """
    if config.select == "test":
        raise ValueError("select=test is DINOv2's way with heads that are trained by steps; solver=lbfgs chooses on a split")
    task.classes()
    see = Kinds(task.encoder, ["features"])
    train, test = (task.features(part, see=see, kind=see.name) for part in ("train", "test"))
    grid = config.c or (PUBLISHED if config.c_grid == "published" else short_grid(len(train)))
    found = {grid[0]: float("nan")}
    if len(grid) > 1:
        fit, choose = ((train.x[rows], train.label[rows]) for rows in hold_out(train.label.numpy(), config.split))
        found = chosen(task, config, fit, choose, grid, lambda scores, label: shares(best_classes(scores), label)["top1"],
                       metric="top1", chosen_on=config.split, title="lbfgs")
    best, edge = best_of(task, found, "lbfgs")
    last = fitted(best, config, train.x, train.label) if task.world.rank == 0 else None
    last = process.gather(task.world, last)[0]
    best_of_test = best_classes(last.scores(test.x))
    return {
        **shares(best_of_test, test.label), "correct": task.correct(test.index, right(best_of_test, test.label)),
        "chosen": {"c": best}, "chosen_on": "split" if len(grid) > 1 else "nothing to choose",
        "fits": [{"c": c, "top1": accuracy} for c, accuracy in found.items()] if len(grid) > 1 else [],
        "converged": last.converged, "edge": edge, "classes": task.classes(),
        "train_images": len(train), "test_images": len(test)}


def short_grid(images: int) -> tuple[float, ...]:
    return tuple(float(f"{1 / (penalty * images):.3g}") for penalty in PENALTIES)


def chosen(task: Task, config: LinearConfig, fit: Known, choose: Known, grid: Sequence[float],
           judge: Callable[[Tensor, Tensor], float], *, metric: str, chosen_on: Any, title: str) -> dict[float, float]:
    """What `judge` says of each c: of the scores (N, C) of what was fitted to `fit`, and of the truth of `choose`. metric: its
    name; chosen_on: plain data that says which pictures `choose` has; title: of what is said, and the folder of what is kept."""
    of = Logistic(1.0, config)
    job = {"encoder": task.encoder.fingerprint, "images": task.train.subset().fingerprint, "chosen_on": chosen_on,
           "metric": metric, "standardize": of.standardizes, "dtype": of.dtype, "max_iter": config.max_iter}
    folder, own = folder_of(job, task.out, title), {}
    for c in sorted(grid)[task.world.rank :: task.world.size]:
        path = folder / f"{c:.9g}.json"
        if path.is_file():
            own[c] = float(json.loads(path.read_text())[metric])
            continue
        own[c] = judge(fitted(c, config, *fit).scores(choose[0]), choose[1])
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{path.name}.{os.getpid()}"
        temporary.write_text(json.dumps({"c": c, metric: own[c]}) + "\n")
        os.replace(temporary, path)
        task.say(f"{title}: c={c:g}: {metric} {own[c]:.4f} of the pictures that choose")
    return dict(sorted((c, value) for each in process.gather(task.world, own) for c, value in each.items()))


def best_of(task: Task, found: Mapping[float, float], title: str) -> tuple[float, bool]:
    """The c that was judged best, of equals the most regularised; and whether it is the first or the last of several."""
    best = max(found, key=lambda c: (found[c], -c))
    edge = len(found) > 1 and best in (min(found), max(found))
    if edge:
        task.say(f"{title}: the best c={best:g} is at the grid's end; c=[...] may go further")
    return best, edge


def fitted(c: float, config: LinearConfig, x: Tensor, truth: Tensor) -> Logistic | OneAgainstRest:
    """x (N, D); truth: labels (N,), or targets (N, C) of several classes a picture."""
    kind = Logistic if truth.ndim == 1 else OneAgainstRest
    return kind(c, config).fit(x, truth)


class Logistic:
    """scikit-learn's fit: minimises |W|^2 / 2 + c * (sum of the images' cross entropies), the bias without penalty."""

    def __init__(self, c: float, config: LinearConfig) -> None:
        self.c, self.config, self.converged = c, config, True
        self.standardizes = config.c_grid == "short" if config.standardize is None else config.standardize
        self.dtype = config.dtype or ("float32" if config.c_grid == "short" else "float64")

    def fit(self, x: Tensor, label: Tensor) -> Logistic:
        """x (N, D), label (N,)."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        rows = x.numpy().astype(self.dtype)
        self.mean, self.scale = np.zeros(rows.shape[1], rows.dtype), np.ones(rows.shape[1], rows.dtype)
        if self.standardizes:
            self.mean, self.scale = rows.mean(0), rows.std(0)
            self.scale[self.scale == 0] = 1
        self.model = LogisticRegression(C=self.c, solver="lbfgs", max_iter=self.config.max_iter)
        small = rows.size * len(label.unique()) < LARGE
        with warnings.catch_warnings(record=True) as caught, threadpool_limits(1 if small else None, "blas"):
            warnings.simplefilter("always")
            self.model.fit((rows - self.mean) / self.scale, label.numpy())
        self.converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
        return self

    def scores(self, x: Tensor) -> Tensor:
        """(N, C) float64: of a class without training images, below all others."""
        rows = (x.numpy().astype(self.dtype) - self.mean) / self.scale
        given = self.model.decision_function(rows).astype(np.float64)
        given = np.stack([-given, given], 1) if given.ndim == 1 else given
        scores = np.full((len(rows), int(self.model.classes_[-1]) + 1), given.min(initial=0) - 1)
        scores[:, self.model.classes_] = given
        return torch.from_numpy(scores)


class OneAgainstRest:
    """A logistic regression for each class, of targets (N, C): 1, 0, or -1, which has no part in that class's."""

    def __init__(self, c: float, config: LinearConfig) -> None:
        self.c, self.config, self.converged = c, config, True
        self.of_class: list[Logistic | None] = []

    def fit(self, x: Tensor, target: Tensor) -> OneAgainstRest:
        for column in target.T:
            known = column >= 0
            both = len(column[known].unique()) == 2
            self.of_class.append(Logistic(self.c, self.config).fit(x[known], column[known].long()) if both else None)
        self.converged = all(each is None or each.converged for each in self.of_class)
        return self

    def scores(self, x: Tensor) -> Tensor:
        """(N, C) float64; 0 of a class that all training pictures show, or none."""
        nothing = torch.zeros(len(x), dtype=torch.float64)
        return torch.stack([nothing if each is None else each.scores(x)[:, 1] for each in self.of_class], 1)
