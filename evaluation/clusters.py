"""How well k-means on frozen features finds the classes, without being told of them: NMI, ARI, purity, accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import kmeans_plusplus
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from torch import Tensor

from ..models.kmeans import euclidean_kmeans
from ..models.training import process
from ..models.training.config import key
from .task import Task


@dataclass(frozen=True)
class ClustersConfig:
    clusters: int | None = key("how many, k; null: as many as there are classes", None)
    iterations: int = key("of k-means at each start", 50)
    starts: int = key("drawn by k-means++; the one whose clusters are tightest on training pictures counts", 10)
    normalize: bool = key("features of length 1, so that distances are those of angles", True)

    def __post_init__(self) -> None:
        for name, least in (("clusters", 2), ("iterations", 1), ("starts", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} needs a whole number of at least {least}, got {value}")


def run(task: Task, config: ClustersConfig) -> dict[str, Any]:
    """{"nmi", "ami", "ari", "purity", "accuracy" (with as many clusters as classes): of the test pictures, each put to the
    nearest centroid of the training pictures; "of_training": the same of those; "clusters", "sizes": smallest and largest on
    training pictures, "inertia": mean squared distance there, "arrays": {"cluster": of each test picture, -1 for one that cannot
    be read}}.
    Labels have no part but in the figures. Rank 0 clusters.

    Raises ValueError, one line, where there are fewer training pictures than clusters.
    """
    task.classes()
    train, test = task.features("train"), task.features("test")
    known = len(np.unique(task.train.label))
    k = config.clusters or known
    if k > len(train):
        raise ValueError(f"clusters={k} needs as many training pictures, {task.train.name} has {len(train)}; use fewer")
    found = _grouped(task, config, train.x, test.x, k) if task.world.rank == 0 else None
    group, asked, inertia = process.gather(task.world, found)[0]
    exact = k == known
    sizes = np.bincount(group, minlength=k)
    cluster = np.full(len(task.test), -1, np.int64)
    cluster[np.searchsorted(task.test.index, test.index.numpy())] = asked
    return {**agreement(test.label.numpy(), asked, exact), "of_training": agreement(train.label.numpy(), group, exact),
            "clusters": k, "sizes": [int(sizes.min()), int(sizes.max())], "inertia": inertia, "classes": known,
            "train_images": len(train), "test_images": len(test), "arrays": {"cluster": cluster}}


def agreement(label: np.ndarray, group: np.ndarray, exact: bool) -> dict[str, float]:
    """Of labels and groups (N,): "nmi", mutual information over the arithmetic mean of both entropies; "ami" and "ari", adjusted
    for what chance would give; "purity", the share whose label is the commonest of their group; exact: "accuracy", the share that
    the best one-to-one naming of groups by classes gets right. Source: scikit-learn's metrics; DeepCluster, arXiv:1807.05520
    (NMI)."""
    table = contingency_matrix(label, group)
    found = {"nmi": normalized_mutual_info_score(label, group), "ami": adjusted_mutual_info_score(label, group),
             "ari": adjusted_rand_score(label, group), "purity": table.max(0).sum() / len(label)}
    if exact:
        found["accuracy"] = table[linear_sum_assignment(-table)].sum() / len(label)
    return {name: float(value) for name, value in found.items()}


def _grouped(task: Task, config: ClustersConfig, train: Tensor, test: Tensor, k: int) -> tuple[np.ndarray, np.ndarray, float]:
    """(groups of training features, of test features, mean squared distance of the former to their centroids)."""
    rows, asked = (F.normalize(x, dim=1) if config.normalize else x for x in (train, test))
    on_device, best = rows.to(task.device), None
    for start in range(config.starts):
        first, _ = kmeans_plusplus(rows.numpy(), k, random_state=np.random.RandomState([task.seed, start]))
        centroids, group = euclidean_kmeans(on_device, torch.from_numpy(first).to(on_device), iterations=config.iterations)
        inertia = float((on_device - centroids[group]).double().square().sum(1).mean())
        if best is None or inertia < best[0]:
            best = inertia, centroids, group
    assert best is not None
    inertia, centroids, group = best
    near = torch.cat([torch.cdist(part, centroids).argmin(1) for part in asked.to(centroids).split(4096)])
    return group.cpu().numpy(), near.cpu().numpy(), inertia
