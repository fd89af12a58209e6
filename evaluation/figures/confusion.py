"""Which classes are taken for which: the confusion matrix of kNN or of logistic regression on frozen features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...models.training.config import key
from ..accuracy import best_classes
from ..features import Features
from ..knn import knn_predictions
from ..linear.config import LinearConfig
from ..logistic import Logistic, short_grid
from ..split import hold_out
from .chart import literal, pixels_of
from .colours import INK, MUTED
from .scene import Drawn, Scene, at_least, numbers

MOST_NUMBERS, MOST_NAMES = 20, 60
"""Classes up to which shares are written into the cells, and up to which classes are named."""

WORST = 3


@dataclass(frozen=True)
class ConfusionConfig:
    by: Literal["knn", "logistic"] = key("what answers: weighted nearest neighbours, or logistic regression by L-BFGS", "knn")
    k: int = key("knn: neighbours that vote", 20)
    tau: float = key("knn: temperature of the votes", 0.07)
    c: float | None = key("logistic: inverse strength of the penalty; null: chosen on a tenth of the training pictures", None)
    order: Literal["given", "alike"] = key("of the classes: by number, or those taken for each other side by side", "given")

    def __post_init__(self) -> None:
        at_least(self, 1, "k")
        for name in ("tau", "c"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} needs a number above 0, got {value}")


def draw(scene: Scene, config: ConfusionConfig) -> Drawn:
    """Raises ValueError, one line, as the protocols do."""
    task = scene.task()
    count = task.classes()
    bank, test = task.features("train"), task.features("test")
    if config.by == "knn":
        if config.k > len(bank):
            raise ValueError(f"k={config.k} needs as many training pictures, {task.train.name} has {len(bank)}; use for example "
                             f"k={min(20, len(bank))}")
        answer = knn_predictions(bank.x, bank.label, test.x, ks=(config.k,), temperature=config.tau)[config.k]
        how = f"{config.k} nearest neighbours"
    else:
        answer, c = logistic_answers(bank, test, config.c)
        how = f"logistic regression, c {c:g}"
    found = counts(test.label, answer, count)
    asked = np.flatnonzero(found.sum(1) + found.sum(0))
    found = found[np.ix_(asked, asked)]
    every = scene.names(task.train, count)
    names = [every[number] for number in asked]
    if config.order == "alike":
        order = alike(found)
        found, names = found[np.ix_(order, order)], [names[number] for number in order]
    worst = "; ".join(f"{true} as {taken} {100 * share:.0f} %" for true, taken, share in most_confused(found, names))
    top1 = np.trace(found) / max(found.sum(), 1)
    return Drawn(matrix(found, names), f"Confusion of {numbers(len(names), 'class', 'classes')}, by {how}",
                 f"{scene.encoder.name}: top-1 {top1:.4f} of {numbers(len(test), 'picture')} of {task.test.name}, by {how} among "
                 f"{numbers(len(bank), 'picture')} of {task.train.name}. Rows are true classes, columns predicted ones, in % of "
                 f"the row." + (f" Most often: {worst}." if worst else ""))


def logistic_answers(train: Features, test: Features, c: float | None) -> tuple[Tensor, float]:
    """(answers to the test features (N,), c): as `viewmill eval linear solver=lbfgs` fits and chooses."""
    config = LinearConfig(solver="lbfgs")
    if c is None:
        fit, choose = (torch.from_numpy(rows) for rows in hold_out(train.label.numpy(), config.split))
        right = {}
        for each in sorted(short_grid(len(train))):
            scores = Logistic(each, config).fit(train.x[fit], train.label[fit]).scores(train.x[choose])
            right[each] = float((best_classes(scores)[:, 0] == train.label[choose]).double().mean())
        c = max(right, key=lambda each: (right[each], -each))
    return best_classes(Logistic(c, config).fit(train.x, train.label).scores(test.x))[:, 0], c


def counts(label: Tensor, answer: Tensor, classes: int) -> np.ndarray:
    """(classes, classes) int64: pictures of class i that are taken for class j. label, answer (N,)."""
    found: np.ndarray = torch.bincount(label * classes + answer, minlength=classes**2).view(classes, classes).numpy()
    return found


def shares(found: np.ndarray) -> np.ndarray:
    """Counts (C, C) over their rows' sums; 0 in a row without pictures."""
    share: np.ndarray = found / np.maximum(found.sum(1, keepdims=True), 1)
    return share


def alike(found: np.ndarray) -> np.ndarray:
    """The order (C,) in which classes that are often taken for each other stand side by side: the leaves of average linkage, in
    their best order. found (C, C) counts."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(found) < 3:
        return np.arange(len(found))
    share = shares(found)
    distance = 1 - (share + share.T) / 2
    np.fill_diagonal(distance, 0)
    order: np.ndarray = leaves_list(linkage(squareform(distance, checks=False), "average", optimal_ordering=True))
    return order


def most_confused(found: np.ndarray, names: list[str], most: int = WORST) -> list[tuple[str, str, float]]:
    """(shown, taken for, share of the shown), the most frequent confusions first."""
    share = shares(found)
    np.fill_diagonal(share, 0)
    places = np.argsort(-share, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(found)) for place in places]
    return [(names[i], names[j], float(share[i, j])) for i, j in pairs if share[i, j] > 0]


def matrix(found: np.ndarray, names: list[str]) -> Image.Image:
    from matplotlib.figure import Figure

    share, count = shares(found), len(found)
    side = float(np.clip(0.62 * count, 4.5, 9.5))
    figure = Figure(figsize=(side, side))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    size = float(np.clip(11.5 - 0.12 * count, 5, 11))
    if count <= MOST_NUMBERS:
        for i, j in np.ndindex(count, count):
            percent = round(100 * float(share[i, j]))
            if percent:
                axes.text(j, i, f"{percent}", ha="center", va="center", fontsize=size, fontweight="bold" if i == j else "normal",
                          color="white" if share[i, j] > 0.55 else INK if i == j else MUTED)
    ticks = range(count) if count <= MOST_NAMES else []
    texts = [literal(names[tick]) for tick in ticks]
    axes.set_xticks(ticks, texts, rotation=45, ha="right", rotation_mode="anchor", fontsize=size, color=INK)
    axes.set_yticks(ticks, texts, fontsize=size, color=INK)
    axes.set_xlabel("predicted class", color=MUTED, fontsize=11)
    axes.set_ylabel("true class", color=MUTED, fontsize=11)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if count <= MOST_NAMES:
        axes.set_xticks(np.arange(1, count) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, count) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="minor", length=0)
    return pixels_of(figure)
