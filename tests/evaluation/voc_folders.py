"""Small folders as PASCAL VOC's: JPEGImages, Annotations and ImageSets/Main."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from viewmill.evaluation.voc import CLASSES


def annotation(key: str, size_hw: tuple[int, int], things: Sequence[tuple[str, tuple[int, int, int, int], bool]]) -> str:
    """things: (class, (xmin, ymin, xmax, ymax), difficult)."""
    inner = "".join(
        f"<object><name>{name}</name><difficult>{int(difficult)}</difficult><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>" for name, box, difficult in things)
    return (f"<annotation><filename>{key}.jpg</filename><size><width>{size_hw[1]}</width><height>{size_hw[0]}</height>"
            f"<depth>3</depth></size>{inner}</annotation>")


def write_voc(root: Path, parts: Mapping[str, Mapping[str, Sequence[tuple[str, bool]]]]) -> None:
    """parts: by list, by picture, its (class, difficult). A picture of 24 x 16 px is a mean of its classes' colours, difficult
    ones left out, under noise."""
    colours = np.random.default_rng(0).uniform(30, 225, (len(CLASSES), 3))
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for part, pictures in parts.items():
        (root / "ImageSets" / "Main" / f"{part}.txt").write_text("".join(f"{key}\n" for key in pictures))
        for number, (key, shown) in enumerate(pictures.items()):
            seen = [colours[CLASSES.index(name)] for name, difficult in shown if not difficult]
            flat = np.mean(seen, 0) if seen else np.full(3, 128.0)
            noise = np.random.default_rng(number).normal(0, 8, (16, 24, 3))
            Image.fromarray(np.clip(flat + noise, 0, 255).astype(np.uint8)).save(root / "JPEGImages" / f"{key}.jpg", quality=95)
            things = [(name, (1, 1, 24, 16), difficult) for name, difficult in shown]
            (root / "Annotations" / f"{key}.xml").write_text(annotation(key, (16, 24), things))
