"""How well maps of classes agree: intersection over union, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .scenes import VOID


def counted(truth: np.ndarray, told: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) int64: pixels of true class i that were told to be j; VOID ones are left out."""
    counts = truth != VOID
    both = truth[counts].astype(np.int64) * classes + told[counts].astype(np.int64)
    return np.bincount(both, minlength=classes * classes).reshape(classes, classes)


def figures(counts: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """counts (classes, classes) of all pictures together: "miou", the mean over classes that are there or were told, and "iou" of
    each of them; "pixel_accuracy"; "mean_accuracy", over classes that are there."""
    right, there, told = np.diag(counts), counts.sum(1), counts.sum(0)
    with np.errstate(invalid="ignore"):
        iou, accuracy = right / (there + told - right), right / there
    each = {name: float(share) for name, share in zip(names, iou, strict=True) if not np.isnan(share)}
    return {"miou": float(np.nanmean(iou)), "pixel_accuracy": float(right.sum() / counts.sum()),
            "mean_accuracy": float(np.nanmean(accuracy)), "iou": each}
