"""Average precision of boxes by VOC's rules: by hand, and as pycocotools has it where the two rules agree."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from viewmill.evaluation.dense.coco_ap import _truth, results
from viewmill.evaluation.dense.scenes import Scene, Scenes
from viewmill.evaluation.dense.voc_ap import Found, overlap, recall_precision, voc_figures


def scene(boxes: list[list[float]], label: list[int], difficult: list[bool] | None = None) -> Scene:
    array = np.array(boxes, np.float64).reshape(-1, 4)
    return Scene(Path("x.png"), (100, 100), array, np.array(label, np.int64), np.zeros(len(label), bool),
                 np.array(difficult or [False] * len(label), bool), (array[:, 2:] - array[:, :2]).prod(1))


def found(boxes: list[list[float]], label: list[int], score: list[float]) -> Found:
    return Found(np.array(boxes, np.float64).reshape(-1, 4), np.array(label, np.int64), np.array(score, np.float64))


def test_overlap_by_hand() -> None:
    # 10 x 10 and 10 x 10 shifted by 5: 50 of 150; apart: none.
    assert overlap(np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]]), np.array([5.0, 0, 15, 10])).tolist() == [50 / 150, 0]


def test_each_thing_is_found_once_and_a_difficult_one_does_not_count() -> None:
    scenes = Scenes([scene([[0, 0, 10, 10], [50, 50, 60, 60], [80, 80, 90, 90]], [1, 1, 1], [False, True, False])], ("a",), "")
    told = [found([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60], [30, 30, 40, 40], [80, 80, 90, 90]], [1] * 5,
                  [0.9, 0.8, 0.7, 0.6, 0.5])]
    ((recall, precision),) = recall_precision(scenes, told, 1, [0.5]) or []
    # Right; the same thing again: wrong; difficult: neither; nothing there: wrong; right. Two are asked for.
    assert recall.tolist() == [0.5, 0.5, 0.5, 0.5, 1.0]
    assert precision.tolist() == pytest.approx([1, 1 / 2, 1 / 2, 1 / 3, 2 / 4])
    figures = voc_figures(scenes, told)
    # Recalls 0 to 0.5: 1; 0.6 to 1: 1/2. All points: half at 1, half at 1/2.
    assert figures["AP50"] == pytest.approx((6 + 5 / 2) / 11) and figures["AP50_all"] == pytest.approx(0.75)


def test_a_box_is_right_above_the_overlap_and_wrong_at_it() -> None:
    scenes = Scenes([scene([[0, 0, 10, 10]], [1])], ("a",), "")
    assert voc_figures(scenes, [found([[0, 0, 10, 5]], [1], [1.0])])["AP50"] == 0
    figures = voc_figures(scenes, [found([[0, 0, 10, 7.6]], [1], [1.0])])  # an overlap of 0.76: above 0.5 ... 0.75, six of ten
    assert (figures["AP50"], figures["AP75"], figures["AP"]) == (1, 1, pytest.approx(0.6))


def test_classes_that_nothing_shows_have_no_part_in_the_mean() -> None:
    scenes = Scenes([scene([[0, 0, 10, 10], [20, 20, 30, 30]], [1, 2], [False, True])], ("a", "b", "c"), "")
    assert voc_figures(scenes, [found([[0, 0, 10, 10], [0, 0, 10, 10]], [1, 3], [0.9, 0.8])])["AP50"] == 1


def test_pycocotools_agrees_where_things_lie_apart() -> None:
    """Its eleven recalls, one overlap, no bound on detections; a detection then has one thing that it can be of."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(3)
    scenes, told = [], []
    for _ in range(12):
        cells = rng.permutation(9)[: rng.integers(1, 6)]
        corners = np.stack([cells % 3, cells // 3], 1) * 33.0
        boxes = np.concatenate([corners, corners + rng.uniform(15, 30, (len(cells), 2))], 1)
        scenes.append(scene(boxes.tolist(), rng.integers(1, 3, len(cells)).tolist()))
        shifted = np.repeat(boxes, 2, 0) + rng.normal(0, 2.5, (2 * len(cells), 4))
        told.append(found(shifted.tolist(), rng.integers(1, 3, len(shifted)).tolist(), rng.uniform(0, 1, len(shifted)).tolist()))
    both = Scenes(scenes, ("a", "b"), "")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = _truth(both, masks=False)
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results(told)), "bbox")
        judge.params.recThrs = np.round(np.linspace(0, 1, 11), 2)
        judge.evaluate()
        judge.accumulate()
    theirs = judge.eval["precision"][:, :, :, 0, -1].mean((1, 2))
    ours = voc_figures(both, told)
    assert 0.1 < ours["AP50"] < 0.9
    assert ours["AP50"] == pytest.approx(theirs[0], abs=1e-9) and ours["AP75"] == pytest.approx(theirs[5], abs=1e-9)
    assert ours["AP"] == pytest.approx(theirs.mean(), abs=1e-9)
