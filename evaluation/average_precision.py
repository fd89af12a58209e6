"""Average precision of a ranking: VOC's of eleven points, VOC's of all points, and the plain sum over ranks."""

from __future__ import annotations

import numpy as np


def precision_recall(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision (P,), each in [0, 1], after each of the P distinct scores, the highest first; things of one score
    come together, so that no order among them matters. score (N,), positive (N,) bool.

    Raises ValueError where shapes differ, a score is no number, or nothing is positive.
    """
    score, positive = np.asarray(score), np.asarray(positive).astype(bool)
    if score.shape != positive.shape or score.ndim != 1:
        raise ValueError(f"average precision needs a score and a truth each, got shapes {score.shape} and {positive.shape}")
    if np.isnan(score).any() or not positive.any():
        raise ValueError(f"average precision needs scores that are numbers and a positive at least, got {int(positive.sum())} "
                         f"positives of {len(positive)}, {int(np.isnan(score).sum())} scores that are none")
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(order) - 1)  # no difference: infinite ones have none
    hits = np.cumsum(positive[order])[ends]
    return hits / positive.sum(), hits / (ends + 1)


def eleven_point(recall: np.ndarray, precision: np.ndarray) -> float:
    """The mean, over the recalls 0, 0.1, ... 1, of the best precision at that recall or above; 0 where it is not reached.
    recall (P,), rising; precision (P,). Source: VOC2007 development kit, VOCevaluatecls.m."""
    # Of whole tenths: 3 / 10 >= 0.30000000000000004 is false, 10 * (3 / 10) >= 3 is true.
    tenths = np.round(10 * np.asarray(recall, np.float64), 9)
    return float(np.mean([np.max(precision, where=tenths >= point, initial=0.0) for point in range(11)]))


def all_point(recall: np.ndarray, precision: np.ndarray) -> float:
    """The area below the curve made falling: at each recall the best precision there or above. recall (P,), rising; precision
    (P,). Source: VOC2010 development kit, VOCap.m; the SVMs of arXiv:1905.01235."""
    best = np.maximum.accumulate(np.asarray(precision, np.float64)[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * best))


def summed(recall: np.ndarray, precision: np.ndarray) -> float:
    """The precision at each score, weighted with the recall that it adds; nothing is interpolated: what scikit-learn's
    average_precision_score computes. recall (P,), rising; precision (P,)."""
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


KINDS = {"map_11_point": eleven_point, "map_all_point": all_point, "map_summed": summed}


def mean_average_precision(score: np.ndarray, target: np.ndarray) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Means over classes by name of KINDS, and beside them each class's own.

    score (N, C); target (N, C): 1 shown, 0 not, -1 ignored, which for that class takes the picture out of the ranking. A class
    that nothing shows has no average precision, NaN, and no part in the mean. Raises ValueError where no class has one.
    """
    by_class: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for column, truth in zip(np.asarray(score).T, np.asarray(target).T, strict=True):
        counted = truth >= 0
        if not (truth == 1).any():
            for values in by_class.values():
                values.append(float("nan"))
            continue
        curve = precision_recall(column[counted], truth[counted] == 1)
        for kind, of in KINDS.items():
            by_class[kind].append(of(*curve))
    if not (np.asarray(target) == 1).any():
        raise ValueError("mean average precision needs a class that some picture shows")
    return {kind: float(np.nanmean(values)) for kind, values in by_class.items()}, by_class
