"""COCO's JSON of instances: images, annotations, categories."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .masks import Mask, Polygons, Runs
from .scenes import Scene, Scenes


def read(path: Path, images: str | None = None, *, masks: bool = False) -> Scenes:
    """The pictures of a file such as instances_train2017.json, each with its annotations. Labels 1, 2, ... are the categories in
    order of their ids. images: the folder of the pictures; None: where COCO's own layout has them. masks: read them too.

    Raises ValueError, one line, where the file, an annotation or the folder is not as it has to be.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {' '.join(str(error).split())[:120]}") from error
    lists: dict[str, Any] = {name: content.get(name) if isinstance(content, dict) else None
                             for name in ("images", "annotations", "categories")}
    for name, found in lists.items():
        if not isinstance(found, list):
            raise ValueError(f"{path} has no list {name!r}; give COCO's JSON of instances: images, annotations, categories")
    if not lists["images"] or not lists["categories"]:
        raise ValueError(f"{path} has {len(lists['images'])} images and {len(lists['categories'])} categories")
    try:
        categories = sorted(lists["categories"], key=lambda each: each["id"])
        label = {each["id"]: number for number, each in enumerate(categories, 1)}
        files = {each["id"]: (str(each["file_name"]), (int(each["height"]), int(each["width"]))) for each in lists["images"]}
        names = tuple(str(each["name"]) for each in categories)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: an image needs id, file_name, height and width, a category id and name "
                         f"({type(error).__name__}: {error})") from error
    of_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for each in lists["annotations"]:
        _check(each, label, files, path)
        of_image[each["image_id"]].append(each)
    folder = _folder(path, images, next(iter(files.values()))[0])
    scenes = [_scene(folder / name, size_hw, of_image[number], label, masks) for number, (name, size_hw) in files.items()]
    return Scenes(scenes, names, str(path))


def _scene(path: Path, size_hw: tuple[int, int], annotations: list[Mapping[str, Any]], label: Mapping[Any, int],
           masks: bool) -> Scene:
    corner = np.array([each["bbox"] for each in annotations], np.float64).reshape(-1, 4)
    boxes = np.concatenate([corner[:, :2], corner[:, :2] + corner[:, 2:]], 1)
    crowd = np.array([bool(each.get("iscrowd", 0)) for each in annotations], bool)
    whole = (corner[:, 2] > 0) & (corner[:, 3] > 0)  # COCO has a few boxes without width
    area = [each.get("area", each["bbox"][2] * each["bbox"][3]) for each in annotations]
    shapes: tuple[Mask, ...] = ()
    if masks:
        shapes = tuple(_mask(each, path) for each, keep in zip(annotations, whole, strict=True) if keep)
    return Scene(path, size_hw, boxes[whole], np.array([label[each["category_id"]] for each in annotations], np.int64)[whole],
                 crowd[whole], np.zeros(int(whole.sum()), bool), np.array(area, np.float64)[whole], shapes)


def _mask(annotation: Mapping[str, Any], path: Path) -> Mask:
    shape = annotation.get("segmentation")
    if isinstance(shape, dict):
        return Runs(shape["counts"])
    parts = [np.asarray(part, np.float64) for part in shape or []]
    if not parts or any(part.ndim != 1 or len(part) < 6 or len(part) % 2 for part in parts):
        raise ValueError(f"annotation {annotation.get('id')}, of {path}, has no mask (segmentation: polygons of three corners at "
                         "least, or runs); use masks=false for boxes alone")
    return Polygons(tuple(parts))


def _check(annotation: Any, label: Mapping[Any, int], files: Mapping[Any, Any], path: Path) -> None:
    if not isinstance(annotation, dict):
        raise ValueError(f"{path}: an annotation needs to be an object, got {annotation!r:.60}")
    where = f"{path}: annotation {annotation.get('id')}"
    if annotation.get("image_id") not in files:
        raise ValueError(f"{where} belongs to image {annotation.get('image_id')}, which is not among the images")
    if annotation.get("category_id") not in label:
        raise ValueError(f"{where} has the category {annotation.get('category_id')}, which is not among the categories")
    box = annotation.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) and np.isfinite(v) for v in box)):
        raise ValueError(f"{where} needs bbox: [x, y, width, height] in pixels, got {box!r:.60}")


def _folder(path: Path, images: str | None, first: str) -> Path:
    """coco/annotations/instances_train2017.json has its pictures in coco/train2017."""
    above = path.parent.parent
    candidates = [Path(images)] if images is not None else [above / path.stem.rpartition("_")[2], path.parent, above / "images",
                                                            path.parent / "images", above]
    for folder in candidates:
        if (folder / first).is_file():
            return folder
    looked = ", ".join(dict.fromkeys(map(str, candidates)))
    raise ValueError(f"{path} names {first}, which is not in {looked}; say where the pictures are: images=FOLDER, and "
                     "test_images=FOLDER for test_data")
