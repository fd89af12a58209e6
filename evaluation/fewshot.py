"""Few-shot classification of frozen features: episodes of some classes with a few pictures each to learn from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import t
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from ..models.training.config import key
from .features import Features
from .task import Task

LEVEL = 0.95


@dataclass(frozen=True)
class FewshotConfig:
    ways: int | None = key("classes of an episode; null: all", 5)
    shots: tuple[int, ...] = key("training pictures of each class to learn from; the first counts, the others are reported "
                                 "beside it, on the same episodes", (5, 1))
    queries: int = key("pictures of each class to be tested on, of the test pictures", 15)
    episodes: int = key("how many", 600)
    classifier: Literal["centroid", "logistic"] = key("centroid: the nearest mean of a class; logistic: regression by L-BFGS",
                                                      "centroid")
    transform: Literal["none", "l2", "cl2n"] = key("of features: none; l2: to length 1; cl2n: less the mean of all training "
                                                   "pictures, whose labels are not looked at, then to length 1", "cl2n")
    c: float = key("logistic: C of scikit-learn", 1.0)

    def __post_init__(self) -> None:
        if self.ways is not None and self.ways < 2:
            raise ValueError(f"ways needs a whole number of at least 2, got {self.ways}")
        if not self.shots or min(self.shots) < 1:
            raise ValueError(f"shots needs whole numbers of at least 1, got {list(self.shots)}")
        if self.queries < 1 or self.episodes < 2:
            raise ValueError("queries needs a whole number of at least 1, episodes of at least 2, got "
                             f"{self.queries}, {self.episodes}")
        if not self.c > 0:
            raise ValueError(f"c needs a number above 0, got {self.c}")


@dataclass(frozen=True)
class Episode:
    """Rows of the training features (ways, most shots) and of the test features (ways, queries), class after class."""

    support: np.ndarray
    query: np.ndarray


def run(task: Task, config: FewshotConfig) -> dict[str, Any]:
    """{"top1": the mean over episodes with the first number of shots, "interval": [low, high], of 95 %, for the mean over all
    episodes that could be drawn, "by_shots": {shots: mean}, "half_width": {shots: of the interval}, "ways",
    "arrays": {"accuracy": (shots, episodes)}}.

    An episode depends on seed and its number alone; with fewer shots it has the first of those that it has with more. Where data
    and test_data are the same pictures, no query is among its episode's shots. Source: episodes and interval, Prototypical
    Networks, arXiv:1703.05175; cl2n, SimpleShot, arXiv:1911.04623; logistic regression, arXiv:2003.11539.
    Raises ValueError, one line, where there are too few pictures.
    """
    task.classes()
    train, test = task.features("train"), task.features("test")
    x, asked = transformed(train.x.numpy(), test.x.numpy(), config.transform)
    same = task.train.source.fingerprint == task.test.source.fingerprint
    accuracy = np.empty((len(config.shots), config.episodes))
    answer = by_centroid if config.classifier == "centroid" else by_regression
    with threadpool_limits(1, "blas"):  # products of a few rows: more threads would wait for each other
        for number, episode in enumerate(episodes(train, test, config, task.seed, same, task.train.name, task.test.name)):
            truth = np.repeat(np.arange(len(episode.query)), config.queries)
            for place, shots in enumerate(config.shots):
                support = x[episode.support[:, :shots]]
                accuracy[place, number] = (answer(support, asked[episode.query.reshape(-1)], config) == truth).mean()
    means, halves = accuracy.mean(1), [half_width(row) for row in accuracy]
    first = float(means[0])
    return {"top1": first, "interval": [first - halves[0], first + halves[0]],
            "by_shots": {str(shots): float(mean) for shots, mean in zip(config.shots, means, strict=True)},
            "half_width": {str(shots): half for shots, half in zip(config.shots, halves, strict=True)},
            "ways": config.ways or len(np.unique(train.label)), "train_images": len(train), "test_images": len(test),
            "arrays": {"accuracy": accuracy}}


def episodes(train: Features, test: Features, config: FewshotConfig, seed: int, same: bool, name: str,
             test_name: str) -> Iterator[Episode]:
    """config.episodes of them. same: both are features of the same pictures. Raises ValueError where some class has too few."""
    label, test_label = train.label.numpy(), test.label.numpy()
    classes = np.unique(label)
    of = {int(each): (np.flatnonzero(label == each), np.flatnonzero(test_label == each)) for each in classes}
    ways, most = config.ways or len(classes), max(config.shots)
    if ways > len(classes):
        raise ValueError(f"ways={ways}: {name} has {len(classes)} classes; use ways={len(classes)} or fewer, or ways=null")
    for each, (rows, queries) in of.items():
        for what, there, needed in ((f"{name} has {len(rows)}", len(rows), most),
                                    (f"{test_name} has {len(queries)}", len(queries), config.queries + (most if same else 0))):
            if there < needed:
                raise ValueError(f"{what} pictures of class {each} that can be read, an episode needs {needed}; use fewer shots "
                                 "or queries")
    index, test_index = train.index.numpy(), test.index.numpy()
    for number in range(config.episodes):
        rng = np.random.default_rng([seed, number])
        support, query = [], []
        for chosen in rng.permutation(classes)[:ways].tolist():
            rows, queries = of[chosen]
            support.append(rng.permutation(rows)[:most])
            left = queries[~np.isin(test_index[queries], index[support[-1]])] if same else queries
            query.append(rng.permutation(left)[: config.queries])
        yield Episode(np.stack(support), np.stack(query))


def transformed(train: np.ndarray, test: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Training features (N, D) and test features (M, D), as float64."""
    x, asked = train.astype(np.float64), test.astype(np.float64)
    if kind == "cl2n":
        middle = x.mean(0)
        x, asked = x - middle, asked - middle
    if kind != "none":
        x, asked = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (x, asked))
    return x, asked


def by_centroid(support: np.ndarray, asked: np.ndarray, config: FewshotConfig) -> np.ndarray:
    """(Q,) the class, from 0, whose mean of shots is nearest. support (ways, shots, D), asked (Q, D)."""
    centroids = support.mean(1)
    nearest: np.ndarray = (asked @ centroids.T - (centroids**2).sum(1) / 2).argmax(1)
    return nearest


def by_regression(support: np.ndarray, asked: np.ndarray, config: FewshotConfig) -> np.ndarray:
    """The same by logistic regression."""
    ways, shots, dim = support.shape
    model = LogisticRegression(C=config.c, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(support.reshape(-1, dim), np.repeat(np.arange(ways), shots))
    answers: np.ndarray = model.predict(asked)
    return answers


def half_width(values: np.ndarray) -> float:
    """Half of the interval that covers the mean with 95 %, by Student's t: for (E,) values, E >= 2."""
    return float(t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
