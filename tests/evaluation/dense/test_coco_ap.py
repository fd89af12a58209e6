"""Our scenes and answers give pycocotools what COCO's own files would give it."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from viewmill.evaluation.dense import coco
from viewmill.evaluation.dense.coco_ap import coco_figures
from viewmill.evaluation.dense.masks import encoded
from viewmill.evaluation.dense.voc_ap import Found

from .sets import write_coco


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_the_figures_of_a_file_and_its_results(tmp_path: Path, kind: str) -> None:
    path = write_coco(tmp_path, "val2017", 7)
    content = json.loads(path.read_text())
    content["annotations"][2]["iscrowd"] = 1
    if isinstance(content["annotations"][2]["segmentation"], list):
        content["annotations"][2]["segmentation"] = {"size": [48, 64], "counts": [0, 48 * 20, 48 * 44]}
    path.write_text(json.dumps(content))
    scenes = coco.read(path, masks=True)
    rng, found, answers = np.random.default_rng(0), [], []
    for image, scene in zip(content["images"], scenes.scenes, strict=True):
        boxes = (np.repeat(scene.boxes, 2, 0) + rng.normal(0, 2, (2 * len(scene.boxes), 4))).clip(0, 47).round()
        label, score = np.repeat(scene.label, 2), rng.uniform(0, 1, len(boxes))
        shapes = []
        for x0, y0, x1, y1 in boxes.astype(int):
            mask = np.zeros((48, 64), np.uint8)
            mask[y0:y1, x0:x1] = 1
            shapes.append(encoded(mask))
        found.append(Found(boxes, label, score, tuple(shapes) if kind == "mask" else ()))
        for box, number, sure, shape in zip(boxes.tolist(), label, score, shapes, strict=True):
            answer = {"image_id": image["id"], "category_id": {1: 3, 2: 7}[int(number)], "score": float(sure),
                      "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]}
            answers.append(answer | ({"segmentation": {**shape, "counts": shape["counts"].decode()}} if kind == "mask" else {}))
    (tmp_path / "results.json").write_text(json.dumps(answers))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        judge = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), "bbox" if kind == "box" else "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    figures, by_class = coco_figures(scenes, found, kind)  # type: ignore[arg-type]
    assert list(figures.values()) == pytest.approx(judge.stats[:6].tolist(), abs=1e-12)
    assert 0 < figures["AP"] < 1 and figures["APm"] == -1 and by_class.keys() == {"block", "disc"}
    assert np.mean(list(by_class.values())) == pytest.approx(figures["AP"])


def test_nothing_found_is_an_average_precision_of_0(tmp_path: Path) -> None:
    scenes = coco.read(write_coco(tmp_path, "val2017", 3))
    nothing = Found(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
    assert coco_figures(scenes, [nothing] * 3, "box")[0]["AP"] == 0
