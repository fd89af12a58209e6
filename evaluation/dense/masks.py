"""Masks of things, as data sets keep them: polygons, runs, or a number in a picture of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from .placement import Placement


class Mask(Protocol):
    def painted(self, size_hw: tuple[int, int], placement: Placement) -> np.ndarray:
        """(h, w) uint8, 1 where the thing is, of a picture of size_hw as the placement shows it."""
        ...

    def runs(self, size_hw: tuple[int, int]) -> dict[str, Any]:
        """The same of the whole picture, as COCO's compressed runs: {"size", "counts"}."""
        ...


@dataclass(frozen=True)
class Polygons:
    """parts: each (2 k,) x, y, x, y, ... in pixels; together they are the thing."""

    parts: tuple[np.ndarray, ...]

    def painted(self, size_hw: tuple[int, int], placement: Placement) -> np.ndarray:
        return _decoded(_of_polygons([placement.polygon(part) for part in self.parts], placement.shown_hw))

    def runs(self, size_hw: tuple[int, int]) -> dict[str, Any]:
        return _of_polygons(list(self.parts), size_hw)


@dataclass(frozen=True)
class Runs:
    """COCO's runs: lengths of zeros and ones in turn, column by column, as they are or compressed into text."""

    counts: Any

    def painted(self, size_hw: tuple[int, int], placement: Placement) -> np.ndarray:
        return placement.classes(_decoded(self.runs(size_hw)))

    def runs(self, size_hw: tuple[int, int]) -> dict[str, Any]:
        runs = {"size": list(size_hw), "counts": self.counts}
        found: dict[str, Any] = _library().frPyObjects(runs, *size_hw) if isinstance(self.counts, list) else runs
        return found


@dataclass(frozen=True)
class Numbered:
    """The pixels of a number in a picture of numbers, as VOC's folder SegmentationObject has them."""

    path: Path
    number: int

    def painted(self, size_hw: tuple[int, int], placement: Placement) -> np.ndarray:
        return placement.classes(self._whole(size_hw))

    def runs(self, size_hw: tuple[int, int]) -> dict[str, Any]:
        return encoded(self._whole(size_hw))

    def _whole(self, size_hw: tuple[int, int]) -> np.ndarray:
        return (numbers(self.path, size_hw) == self.number).astype(np.uint8)


def encoded(mask: np.ndarray) -> dict[str, Any]:
    """(H, W) of zeros and ones as COCO's compressed runs."""
    found: dict[str, Any] = _library().encode(np.asfortranarray(mask, np.uint8))
    return found


def numbers(path: Path, size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8: what a picture of numbers says of each pixel, a palette's index or a gray level. Raises ValueError, one line,
    where it cannot be read, is none, or is not of that size."""
    try:
        with Image.open(path) as image:
            mode, values = image.mode, np.asarray(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as a picture of numbers ({' '.join(str(error).split())[:100]})") from error
    if mode not in ("P", "L"):
        raise ValueError(f"{path} needs a number for each pixel, a palette's index or a gray level of 8 bits, and is of mode "
                         f"{mode}; write it with a palette, or gray")
    if values.shape != size_hw:
        raise ValueError(f"{path} is {values.shape[1]} x {values.shape[0]} px, its picture {size_hw[1]} x {size_hw[0]}")
    return values


def _of_polygons(parts: list[np.ndarray], size_hw: tuple[int, int]) -> dict[str, Any]:
    library = _library()
    found: dict[str, Any] = library.merge(library.frPyObjects([part.tolist() for part in parts], *size_hw))
    return found


def _decoded(runs: dict[str, Any]) -> np.ndarray:
    return np.ascontiguousarray(_library().decode(runs))


def _library() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ValueError("masks in COCO's format need pycocotools: pip install 'viewmill[dense]'") from error
    return mask
