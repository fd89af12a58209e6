"""PASCAL VOC's folders as scenes: boxes of Annotations, masks of SegmentationObject, maps of SegmentationClass."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from ...pipelines.image_header import size_by_parts
from ..voc import CLASSES, keys, objects, root
from .masks import Mask, Numbered, numbers
from .scenes import VOID, Scene, Scenes
from .voc_ap import overlap


def read(path: Path, *, masks: bool = False) -> Scenes:
    """The pictures that a list such as VOC2007/ImageSets/Main/trainval.txt names, with their boxes. A box of the pixels xmin to
    xmax, counted from 1, begins at xmin - 1 and ends at xmax. masks: of the things, from SegmentationObject, whose numbers are
    told by where they lie. Labels are those of VOC's own classes, or else of the names in order of the alphabet.

    Raises ValueError, one line, where the list, an annotation or a folder is not as it has to be.
    """
    folder, names = root(path), keys(path)
    found = [objects(folder / "Annotations" / f"{key}.xml") for key in names]
    used = sorted({thing.name for _, things in found for thing in things})
    classes = CLASSES if set(used) <= set(CLASSES) else tuple(used)
    scenes = []
    for key, (size_hw, things) in zip(names, found, strict=True):
        boxes = np.array([thing.box for thing in things], np.float64).reshape(-1, 4) - (1, 1, 0, 0)
        sides = boxes[:, 2:] - boxes[:, :2]
        if (sides <= 0).any():
            raise ValueError(f"{folder / 'Annotations' / key}.xml has a box that ends before it begins")
        shapes: tuple[Mask, ...] = ()
        if masks:
            map_ = folder / "SegmentationObject" / f"{key}.png"
            if not map_.is_file():
                raise ValueError(f"{path} names {key}, of which there is no map {map_}; masks=true goes with the lists of "
                                 "ImageSets/Segmentation")
            shapes = tuple(Numbered(map_, number) for number in _owners(map_, size_hw, boxes))
        scenes.append(Scene(_picture(folder, key), size_hw, boxes,
                            np.array([classes.index(thing.name) + 1 for thing in things], np.int64), np.zeros(len(things), bool),
                            np.array([thing.difficult for thing in things], bool), sides.prod(1), shapes))
    return Scenes(scenes, classes, str(path))


def read_maps(path: Path, folder: str) -> Scenes:
    """The pictures that a list such as VOC2012/ImageSets/Segmentation/train.txt names, with the maps of their pixels' classes in
    a folder beside JPEGImages: SegmentationClass, or SegmentationClassAug for the larger set. Raises ValueError, one line, where
    the list or a folder is not as it has to be."""
    above, none = root(path), np.zeros(0)
    scenes = []
    for key in keys(path):
        picture, map_ = _picture(above, key), above / folder / f"{key}.png"
        if not map_.is_file():
            raise ValueError(f"{path} names {key}, of which there is no map {map_}")
        size_hw = size_by_parts(partial(_first_bytes, picture), picture.stat().st_size)
        scenes.append(Scene(picture, size_hw, none.reshape(0, 4), none.astype(np.int64), none.astype(bool), none.astype(bool),
                            none, class_map=map_))
    return Scenes(scenes, CLASSES, str(path))


def _owners(map_: Path, size_hw: tuple[int, int], boxes: np.ndarray) -> list[int]:
    """For each of boxes (n, 4), the number in a map whose extent overlaps it most; each number once, the best pairs first. Raises
    ValueError where a box is left without one."""
    found = numbers(map_, size_hw)
    present = [int(number) for number in np.unique(found) if number not in (0, VOID)]
    extents = np.array([_extent(found == number) for number in present], np.float64).reshape(-1, 4)
    shares = np.array([overlap(extents, box) for box in boxes]).reshape(len(boxes), len(present))
    owner: dict[int, int] = {}
    for place in np.argsort(-shares, axis=None, kind="stable"):
        box, column = divmod(int(place), max(len(present), 1))
        if shares[box, column] > 0 and box not in owner and present[column] not in owner.values():
            owner[box] = present[column]
    missing = [box for box in range(len(boxes)) if box not in owner]
    if missing:
        raise ValueError(f"{map_} shows {len(present)} things, its annotation has {len(boxes)}; none is left for thing "
                         f"{missing[0] + 1}")
    return [owner[box] for box in range(len(boxes))]


def _extent(inside: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _first_bytes(path: Path, count: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(count)


def _picture(folder: Path, key: str) -> Path:
    for suffix in (".jpg", ".png", ".jpeg"):
        if (found := folder / "JPEGImages" / f"{key}{suffix}").is_file():
            return found
    raise ValueError(f"there is no picture {folder / 'JPEGImages' / key}.jpg, which the list names")
