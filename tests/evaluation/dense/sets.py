"""Tiny sets in COCO's and VOC's formats: bright rectangles (class "block") and discs ("disc") on dark noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from viewmill.augment.presets import recipe
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.pictures import evaluation_recipe
from viewmill.models.backbone import backbone

from ..voc_folders import annotation

NAMES = ("block", "disc")
LEVEL = np.array([(230, 60, 60), (60, 90, 230)])

Thing = tuple[int, tuple[int, int, int, int], np.ndarray]
"""Label from 0, its box x0, y0, x1, y1, its mask (H, W) bool."""


def picture(number: int, height: int = 48, width: int = 64) -> tuple[np.ndarray, list[Thing]]:
    """(H, W, 3) uint8 with one or two things side by side, and what they are."""
    rng = np.random.default_rng(number)
    pixels = rng.normal(50, 12, (height, width, 3))
    things: list[Thing] = []
    rows, columns = np.mgrid[:height, :width] + 0.5
    for place in range(1 + number % 2):
        label, size = (number + place) % 2, int(rng.integers(16, 25))
        x, y = 32 * place + int(rng.integers(0, 32 - size + 1)), int(rng.integers(0, height - size + 1))
        inside = (columns > x) & (columns < x + size) & (rows > y) & (rows < y + size)
        if label == 1:
            inside &= (columns - x - size / 2) ** 2 + (rows - y - size / 2) ** 2 < (size / 2) ** 2
        pixels[inside] = LEVEL[label] + rng.normal(0, 12, (int(inside.sum()), 3))
        things.append((label, (x, y, x + size, y + size), inside))
    return np.clip(pixels, 0, 255).astype(np.uint8), things


def write_coco(root: Path, part: str, count: int, first: int = 0) -> Path:
    """root/PART/*.png and root/annotations/instances_PART.json, categories 3 ("block") and 7 ("disc"); a block's mask is a
    polygon, a disc's the lengths of runs. The last picture shows nothing."""
    (root / part).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []
    for number in range(first, first + count):
        pixels, things = picture(number)
        things = things if number + 1 < first + count else []
        Image.fromarray(pixels).save(root / part / f"{number:04d}.png")
        height, width = pixels.shape[:2]
        images.append({"id": 100 + number, "file_name": f"{number:04d}.png", "height": height, "width": width})
        for label, (x0, y0, x1, y1), inside in things:
            shape: Any = [[x0, y0, x1, y0, x1, y1, x0, y1]] if label == 0 else {"size": [height, width], "counts": runs(inside)}
            annotations.append({"id": 1000 + len(annotations), "image_id": 100 + number, "category_id": (3, 7)[label],
                                "bbox": [x0, y0, x1 - x0, y1 - y0], "area": int(inside.sum()), "iscrowd": 0,
                                "segmentation": shape})
    categories = [{"id": 7, "name": "disc"}, {"id": 3, "name": "block"}]
    path = root / "annotations" / f"instances_{part}.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def runs(inside: np.ndarray) -> list[int]:
    """Lengths of zeros and ones in turn, zeros first, column by column."""
    flat = inside.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *edges, len(flat)]).tolist()
    return [0, *lengths] if flat[0] else lengths


def write_voc(root: Path, part: str, count: int, first: int = 0, difficult: tuple[int, ...] = ()) -> Path:
    """root/ImageSets/Main/PART.txt and what it names, with masks, and maps whose upper two rows are void. difficult: numbers of
    pictures whose first thing is."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main", "SegmentationClass", "SegmentationObject"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        pixels, things = picture(number)
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{number:04d}.png")
        classes, objects = np.zeros((2, *pixels.shape[:2]), np.uint8)
        for place, (label, _, inside) in enumerate(things):
            classes[inside], objects[inside] = label + 1, place + 1
        classes[:2] = 255
        for folder, values in (("SegmentationClass", classes), ("SegmentationObject", objects)):
            map_ = Image.fromarray(values, "L")
            map_.putpalette(list(np.random.default_rng(0).permutation(768) % 256))  # a short one would cut the numbers
            map_.save(root / folder / f"{number:04d}.png")
        listed = [(NAMES[label], (x0 + 1, y0 + 1, x1, y1), number in difficult and place == 0)
                  for place, (label, (x0, y0, x1, y1), _) in enumerate(things)]
        (root / "Annotations" / f"{number:04d}.xml").write_text(annotation(f"{number:04d}", pixels.shape[:2], listed))
    path = root / "ImageSets" / "Main" / f"{part}.txt"
    path.write_text("".join(f"{number:04d}\n" for number in range(first, first + count)))
    return path


def encoder_of(module: nn.Module, image_px: int = 32) -> Encoder:
    """A backbone as `open_encoder` would give it."""
    return Encoder(module, 8, image_px, evaluation_recipe(recipe("probe"), image_px), "small").requires_grad_(False).eval()


def small(name: str = "resnet10t", image_px: int = 96, **options: Any) -> Encoder:
    torch.manual_seed(0)
    return encoder_of(backbone(name, image_px, **options)[0], image_px)
