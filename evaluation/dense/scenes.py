"""Pictures and the things in them, whichever format they come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np

from ...pipelines.decode import BadSample, decode
from .masks import Mask, numbers
from .placement import Placement

VOID = 255
"""In a map of classes: what counts neither for nor against."""


@dataclass(frozen=True, eq=False)
class Scene:
    """size_hw: of the picture, in pixels. boxes (n, 4) float64: x0, y0, x1, y1 in pixels, a pixel's left edge being a whole
    number. label (n,) int64 from 1; 0 is the background. crowd (n,) bool: many things in one box, never learnt. difficult (n,)
    bool: learnt, but like crowds neither asked for nor held against anyone. area (n,) float64 in pixels, which tells small from
    large. masks: of each thing, or none at all. class_map: a picture of each pixel's class, where there is one."""

    path: Path
    size_hw: tuple[int, int]
    boxes: np.ndarray
    label: np.ndarray
    crowd: np.ndarray
    difficult: np.ndarray
    area: np.ndarray
    masks: tuple[Mask, ...] = ()
    class_map: Path | None = None

    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8. Raises ValueError, one line, where they cannot be read or are not as many as said."""
        try:
            found = decode(self.path.read_bytes())
        except (BadSample, OSError) as error:
            raise ValueError(f"{self.path} cannot be read: {' '.join(str(error).split())[:120]}") from error
        if found.shape[:2] != self.size_hw:
            raise ValueError(f"{self.path} is {found.shape[1]} x {found.shape[0]} px, its annotation says {self.size_hw[1]} x "
                             f"{self.size_hw[0]}; are both of the same data set?")
        return found

    def classes(self, placement: Placement) -> np.ndarray:
        """(h, w) uint8: each pixel's class as the placement shows it, VOID where it has none. Of a picture that has masks of
        things alone: the smaller of two that lie over each other; a crowd is VOID."""
        if self.class_map is not None:
            return placement.classes(numbers(self.class_map, self.size_hw))
        found = np.zeros(placement.shown_hw, np.uint8)
        for number in np.lexsort((-self.area, ~self.crowd)):
            shape = self.masks[number].painted(self.size_hw, placement).astype(bool)
            found[shape] = VOID if self.crowd[number] else self.label[number]
        return found


@dataclass(frozen=True, eq=False)
class Scenes:
    """names: of the classes, that of label 1 first. name: what the user called it."""

    scenes: Sequence[Scene]
    names: tuple[str, ...]
    name: str

    def __len__(self) -> int:
        return len(self.scenes)

    @cached_property
    def fingerprint(self) -> str:
        """Of the files' names and all that is said of them, pixels and masks' shapes apart."""
        digest = blake2b(repr(self.names).encode(), digest_size=16)
        for scene in self.scenes:
            digest.update(f"{scene.path.name} {scene.size_hw} {scene.class_map and scene.class_map.name} ".encode())
            for values in (scene.boxes, scene.label, scene.crowd, scene.difficult, scene.area):
                digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    def learnt(self) -> Scenes:
        """Those that show something to learn, without crowds. Raises ValueError where none does."""
        kept = []
        for scene in self.scenes:
            of = ~scene.crowd
            if of.any():
                masks = tuple(mask for mask, keep in zip(scene.masks, of, strict=True) if keep) if scene.masks else ()
                kept.append(replace(scene, boxes=scene.boxes[of], label=scene.label[of], crowd=scene.crowd[of],
                                    difficult=scene.difficult[of], area=scene.area[of], masks=masks))
        if not kept:
            raise ValueError(f"{self.name} shows nothing to learn: {len(self)} pictures, no thing in a box")
        return replace(self, scenes=kept)

    def named(self, names: tuple[str, ...]) -> Scenes:
        """With the labels of other names. Raises ValueError where a class of these is not among them."""
        if names == self.names:
            return self
        missing = [name for name in self.names if name not in names]
        if missing:
            raise ValueError(f"{self.name} has the class {missing[0]!r}, which the training pictures have not "
                             f"({', '.join(names)}); give two parts of one data set")
        table = np.array([0, *(names.index(name) + 1 for name in self.names)], np.int64)
        return replace(self, names=names, scenes=[replace(scene, label=table[scene.label]) for scene in self.scenes])

    def part(self, limit: int | None) -> Scenes:
        """A fixed random part of so many, in their order; None: all."""
        if limit is None or limit >= len(self):
            return self
        rows = np.sort(np.random.default_rng(0).permutation(len(self))[:limit])
        return replace(self, scenes=[self.scenes[row] for row in rows])


def joined(several: Sequence[Scenes], name: str) -> Scenes:
    """All pictures of several, with the classes of all in the order of the alphabet where they differ."""
    names = several[0].names if len({each.names for each in several}) == 1 else tuple(
        sorted({name for each in several for name in each.names}))
    return Scenes([scene for each in several for scene in each.named(names).scenes], names, name)
