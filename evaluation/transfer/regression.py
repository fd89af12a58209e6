"""Logistic regression by L-BFGS as a protocol of its own: C chosen by the metric that the set is reported by, several classes a
picture allowed."""

# ruff: noqa: RUF009 (key() gives a dataclass field)
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ...models.training import process
from ...models.training.config import key
from ..accuracy import best_classes, right, shares
from ..average_precision import mean_average_precision
from ..features import Features, extract
from ..linear.config import LinearConfig
from ..logistic import PUBLISHED, Known, best_of, chosen, fitted, short_grid
from ..multilabel import MultiLabelSource, open_labelled, targets
from ..pictures import Pictures
from ..split import hold_out
from ..task import Task
from .sets import Metric, mean_per_class


@dataclass(frozen=True)
class LogisticConfig:
    metric: Metric | None = key("what C is chosen by: top1, mean_per_class, or map_11_point; null: top1, or map_11_point where a "
                                "picture may show several classes", None)
    c: tuple[float, ...] | None = key("C of scikit-learn, one over the weight of the l2 penalty; null: c_grid", None)
    c_grid: Literal["short", "published"] = key("short: 5 values, 1 to 10,000 over the number of images; published: 45, 1e-6 to "
                                                 "1e5", "short")
    split: float = key("share of the training images that chooses, where there is a choice", 0.1)
    val_data: Any = key("pictures that choose in place of a split, as some sets have them; the last fit is on both", None)
    standardize: bool | None = key("features with mean 0 and deviation 1 over the training images; null: yes, but for "
                                   "c_grid=published", None)
    dtype: Literal["float64", "float32"] | None = key("of the fit; null: float32, but float64 for c_grid=published", None)
    max_iter: int = key("iterations of a fit at most", 1000)

    def __post_init__(self) -> None:
        self.fit_config()

    def fit_config(self) -> LinearConfig:
        return LinearConfig(solver="lbfgs", c=self.c, c_grid=self.c_grid, split=self.split, standardize=self.standardize,
                            dtype=self.dtype, max_iter=self.max_iter)


def run(task: Task, config: LogisticConfig) -> dict[str, Any]:
    """{"metric", "top1", "top5" (with five classes at least), "correct"; by map_11_point, in their place, "map_11_point",
    "map_all_point", "map_summed", "arrays": {"score", "target"}; "chosen": {"c"}, "chosen_on", "fits": each c with its figure on
    the pictures that chose, "converged", "edge": whether the best c is the grid's first or last, "classes", "train_images",
    "test_images"}.

    One C for all classes. By map_11_point each class has a regression of its own, in which pictures where it is only difficult
    have no part. Ranks share the fits, and those of an interrupted evaluation are kept.

    Source: the transfer of arXiv:2002.05709, appendix B.8, as linusericsson/ssl-transfer has it. Raises ValueError, one line.
    """
    several = isinstance(task.train.source, MultiLabelSource)
    if several != isinstance(task.test.source, MultiLabelSource):
        raise ValueError(f"{task.train.name} and {task.test.name}: of one the pictures show several classes, of the other one "
                         "each; give two parts of one data set")
    metric = config.metric or ("map_11_point" if several else "top1")
    if several and metric != "map_11_point":
        raise ValueError(f"metric={metric} is for pictures of one class, those of {task.train.name} show several; use "
                         "metric=map_11_point")
    many = metric == "map_11_point"
    classes = 0 if several else task.classes()
    val = None if config.val_data is None else _val(task, config.val_data, several)
    parts = [task.train, task.test, *([] if val is None else [val])]
    width = max(targets(pictures).shape[1] for pictures in parts) if many else classes
    train, test = task.features("train"), task.features("test")
    taught = train.x, _truth(task.train, train, width, many)
    chooses = None if val is None else _seen(task, val, width, many)
    whole = taught if chooses is None else (torch.cat([taught[0], chooses[0]]), torch.cat([taught[1], chooses[1]]))
    grid = config.c or (PUBLISHED if config.c_grid == "published" else short_grid(len(whole[0])))
    found = {grid[0]: float("nan")}
    if len(grid) > 1:
        fit, choose = (taught, chooses) if chooses is not None else _split(taught, config.split)
        found = chosen(task, config.fit_config(), fit, choose, grid, lambda scores, truth: figure(scores, truth, metric),
                       metric=metric, chosen_on=config.split if val is None else val.subset().fingerprint, title="logistic")
    best, edge = best_of(task, found, "logistic")
    last = fitted(best, config.fit_config(), *whole) if task.world.rank == 0 else None
    last = process.gather(task.world, last)[0]
    result: dict[str, Any] = {
        "chosen": {"c": best}, "chosen_on": "nothing to choose" if len(grid) == 1 else "split" if val is None else "val_data",
        "fits": [{"c": c, metric: figure} for c, figure in found.items()] if len(grid) > 1 else [],
        "converged": last.converged, "edge": edge, "classes": width, "train_images": len(whole[0]),
        "test_images": len(test)}
    if many:
        wanted = targets(task.test, width)
        score = np.full((len(task.test), width), -np.inf)  # of a picture that cannot be read: behind all others
        score[np.searchsorted(task.test.index, test.index.numpy())] = last.scores(test.x).numpy()
        means, _ = mean_average_precision(score, wanted)
        return {"metric": metric, **means, **result, "arrays": {"score": score.astype(np.float32), "target": wanted}}
    answers = best_classes(last.scores(test.x))
    return {"metric": metric, **shares(answers, test.label), "correct": task.correct(test.index, right(answers, test.label)),
            **result}


def _split(whole: Known, share: float) -> tuple[Known, Known]:
    label = whole[1].numpy() if whole[1].ndim == 1 else np.zeros(len(whole[1]), np.int64)
    fit, choose = ((whole[0][rows], whole[1][rows]) for rows in hold_out(label, share))
    return fit, choose


def _seen(task: Task, val: Pictures, width: int, many: bool) -> Known:
    folder = task.out / "features" if task.cache else None
    features = extract(task.encoder, val, task.device, folder=folder, autocast=task.autocast)
    return features.x, _truth(val, features, width, many)


def _val(task: Task, data: Any, several: bool) -> Pictures:
    source = open_labelled(data)
    if several != isinstance(source, MultiLabelSource):
        raise ValueError(f"val_data={data} and {task.train.name}: of one the pictures show several classes, of the other one "
                         "each; give two parts of one data set")
    return Pictures(source, None, f"val_data={data}", task.train.threads, unlabelled=several)


def _truth(pictures: Pictures, features: Features, width: int, many: bool) -> Tensor:
    """(N,) int64 labels, or (N, width) targets, of the pictures that could be read."""
    if not many:
        return features.label
    return torch.from_numpy(targets(pictures, width)[np.searchsorted(pictures.index, features.index.numpy())])


def figure(scores: Tensor, truth: Tensor, metric: str) -> float:
    """scores (N, C); truth (N,), or (N, C) for map_11_point."""
    if metric == "map_11_point":
        return mean_average_precision(scores.numpy(), truth.numpy())[0][metric]
    correct = right(best_classes(scores), truth).numpy()
    return mean_per_class(correct, truth.numpy()) if metric == "mean_per_class" else float(correct.mean())
