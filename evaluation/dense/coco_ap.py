"""Average precision of boxes and masks by COCO's rules, as pycocotools works it out."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, Literal

from .scenes import Scenes
from .voc_ap import Found

FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def coco_figures(scenes: Scenes, found: Sequence[Found], of: Literal["box", "mask"]) -> tuple[dict[str, float], dict[str, float]]:
    """"AP" over overlaps 0.5, ..., 0.95, "AP50", "AP75", and "APs", "APm", "APl" of things below 32^2, below 96^2 and above, in
    pixels; -1 where there are none. And the AP of each class that is asked for. found: of each scene; of a picture 100 count.
    Crowds, and difficult things, are neither asked for nor held against anyone. Raises ValueError without pycocotools."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ValueError("average precision by COCO's rules needs pycocotools: pip install 'viewmill[dense]'") from error
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of each of its steps
        truth = COCO()
        truth.dataset = _truth(scenes, masks=of == "mask")
        truth.createIndex()
        answers = results(found)
        told = truth.loadRes(answers) if answers else _nothing(COCO(), truth.dataset)
        judge = COCOeval(truth, told, "bbox" if of == "box" else "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    curves = judge.eval["precision"][:, :, :, 0, -1]  # overlaps, recalls, classes; of all areas, of 100 a picture
    each = {name: float(curves[:, :, number].mean()) for number, name in enumerate(scenes.names) if curves[0, 0, number] > -1}
    return {name: float(value) for name, value in zip(FIGURES, judge.stats, strict=False)}, each


def results(found: Sequence[Found]) -> list[dict[str, Any]]:
    """COCO's list of results; pictures are numbered from 1, categories are labels."""
    listed = []
    for number, each in enumerate(found, 1):
        for row, box in enumerate(each.boxes.tolist()):
            answer = {"image_id": number, "category_id": int(each.label[row]), "score": float(each.score[row]),
                      "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]}
            if each.runs:
                answer["segmentation"] = dict(each.runs[row])
            listed.append(answer)
    return listed


def _truth(scenes: Scenes, masks: bool) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes.scenes, 1):
        for row, box in enumerate(scene.boxes.tolist()):
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": int(scene.label[row]),
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]], "area": float(scene.area[row]),
                "iscrowd": int(scene.crowd[row] or scene.difficult[row])})
            if masks:
                annotations[-1]["segmentation"] = scene.masks[row].runs(scene.size_hw)
    return {"info": {}, "annotations": annotations,
            "images": [{"id": number, "height": scene.size_hw[0], "width": scene.size_hw[1]}
                       for number, scene in enumerate(scenes.scenes, 1)],
            "categories": [{"id": number, "name": name} for number, name in enumerate(scenes.names, 1)]}


def _nothing(told: Any, truth: dict[str, Any]) -> Any:
    told.dataset = {**truth, "annotations": []}
    told.createIndex()
    return told

