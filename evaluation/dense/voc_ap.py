"""Average precision of boxes by the rules of PASCAL VOC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..average_precision import all_point, eleven_point
from .scenes import Scenes

OVERLAPS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True, eq=False)
class Found:
    """What a detector finds in one picture, in its pixels: boxes (n, 4) float64 as a scene's, label (n,) int64, score (n,); runs:
    masks as COCO's compressed runs, or none."""

    boxes: np.ndarray
    label: np.ndarray
    score: np.ndarray
    runs: tuple[Mapping[str, object], ...] = ()


def voc_figures(scenes: Scenes, found: Sequence[Found]) -> dict[str, float]:
    """"AP50", "AP75", "AP": the mean over classes at an overlap of 0.5, 0.75, and over 0.5, 0.55, ..., 0.95, each by the eleven
    points of VOC 2007, as MoCo reports them; "AP50_all": at 0.5 by the whole curve, as from VOC 2010 on. found: of each scene.
    Classes of which the scenes show none, but difficult ones, are left out; nan where all are."""
    eleven, whole = [], []
    for number in range(1, len(scenes.names) + 1):
        curves = recall_precision(scenes, found, number, OVERLAPS)
        if curves is not None:
            eleven.append([eleven_point(*curve) for curve in curves])
            whole.append(all_point(*curves[0]))
    means = np.array(eleven).mean(0) if eleven else np.full(len(OVERLAPS), np.nan)
    return {"AP": float(means.mean()), "AP50": float(means[0]), "AP75": float(means[OVERLAPS.index(0.75)]),
            "AP50_all": float(np.mean(whole)) if whole else float("nan")}


def recall_precision(scenes: Scenes, found: Sequence[Found], label: int,
                     overlaps: Sequence[float]) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """For each overlap (recall, precision), both (n,): after each detection of a class, the surest first. None where there is
    nothing to find.

    A detection is right where the thing that it overlaps most, by more than `overlap`, was not found before; of a difficult
    thing it is neither right nor wrong. Source: the devkit of VOC 2007, VOCevaldet.m.
    """
    rows = [(score, number, box) for number, each in enumerate(found)
            for score, box in zip(each.score[each.label == label], each.boxes[each.label == label], strict=True)]
    rows.sort(key=lambda row: -row[0])
    things = [(scene.boxes[scene.label == label], (scene.difficult | scene.crowd)[scene.label == label])
              for scene in scenes.scenes]
    asked = sum(int((~hard).sum()) for _, hard in things)
    if not asked:
        return None
    best, at = np.zeros(len(rows)), np.zeros(len(rows), np.int64)
    for row, (_, number, box) in enumerate(rows):
        if len(things[number][0]):
            shares = overlap(things[number][0], box)
            at[row] = shares.argmax()
            best[row] = shares[at[row]]
    curves = []
    for least in overlaps:
        right, wrong, known = np.zeros(len(rows)), np.zeros(len(rows)), set()
        for row, (_, number, _) in enumerate(rows):
            if best[row] <= least:
                wrong[row] = 1
            elif not things[number][1][at[row]]:
                thing = number, int(at[row])
                (wrong if thing in known else right)[row] = 1
                known.add(thing)
        hits, misses = right.cumsum(), wrong.cumsum()
        curves.append((hits / asked, hits / np.maximum(hits + misses, np.finfo(np.float64).eps)))
    return curves


def overlap(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(n,): intersection over union of boxes (n, 4) with one (4,)."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    common = np.clip(high - low, 0, None).prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod() - common
    shares: np.ndarray = common / union
    return shares

