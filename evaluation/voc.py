"""PASCAL VOC's folders: lists of pictures, what things they show, and which classes of twenty are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

CLASSES = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
           "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor")


@dataclass(frozen=True)
class Thing:
    """box: xmin, ymin, xmax, ymax in pixels as the file has them: VOC counts from 1, and both ends lie inside. difficult: a thing
    that hardly anybody could find: neither finding it nor missing it counts."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


def objects(path: Path | str) -> tuple[tuple[int, int], list[Thing]]:
    """((height, width), all things) of a picture, from its file in Annotations. Raises ValueError, one line, for a file that
    cannot be read, is no annotation, or defines entities, which none of VOC's does."""
    try:
        text = Path(path).read_bytes()
        if b"<!" in text:  # a few bytes of nested entities can stand for gigabytes
            raise ValueError(f"{path}: declares a document type, which no annotation of VOC's does")
        tree = ElementTree.fromstring(text)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); VOC's Annotations have a file for each picture") from error
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: is no XML ({error})") from error
    try:
        height, width = (int(_text(tree, f"size/{name}")) for name in ("height", "width"))
        things = [Thing(_text(each, "name"), _box(each), (each.findtext("difficult") or "0").strip() == "1")
                  for each in tree.iter("object")]
    except (LookupError, ValueError) as error:
        raise ValueError(f"{path}: is no annotation of VOC's: {error}") from error
    return (height, width), things


def _text(element: ElementTree.Element, name: str) -> str:
    found = element.findtext(name)
    if found is None or not found.strip():
        raise LookupError(f"<{element.tag}> has no <{name}>")
    return found.strip()


def _box(thing: ElementTree.Element) -> tuple[float, float, float, float]:
    xmin, ymin, xmax, ymax = (float(_text(thing, f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax"))
    return xmin, ymin, xmax, ymax


def keys(path: Path | str) -> list[str]:
    """The pictures of a list such as ImageSets/Main/trainval.txt, in its order: the first word of each line. Raises ValueError,
    one line, where it cannot be read, is empty, or names a picture twice."""
    try:
        found = [line.split()[0] for line in Path(path).read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no list of pictures that can be read ({type(error).__name__})") from error
    if not found:
        raise ValueError(f"{path} lists no picture")
    if len(set(found)) < len(found):
        twice = Counter(found).most_common(1)[0][0]
        raise ValueError(f"{path} lists {twice!r} twice")
    return found


def is_list(data: object) -> bool:
    """Whether data= names a list of VOC's: a text file below ImageSets."""
    return isinstance(data, str | Path) and Path(data).suffix == ".txt" and "ImageSets" in Path(data).parts


def root(path: Path | str) -> Path:
    """The folder, such as VOC2007, that a list lies in: the one that holds ImageSets. Raises ValueError where it has no
    JPEGImages or no Annotations."""
    path = Path(path).absolute()
    found = next((folder.parent for folder in path.parents if folder.name == "ImageSets"), None)
    for part in ("JPEGImages", "Annotations"):
        if found is None or not (found / part).is_dir():
            raise ValueError(f"{path} is in no folder of VOC's: beside ImageSets there is no {part}")
    assert found is not None
    return found


def present(things: Iterable[Thing], classes: Sequence[str] = CLASSES) -> np.ndarray:
    """(C,) int8: 1 where the picture shows the class, 0 where not, -1 where all that it shows of it is difficult, as VOC's own
    lists of each class have it with 1, -1 and 0. Raises ValueError for a class that is not among them."""
    row = np.zeros(len(classes), np.int8)
    for thing in things:
        if thing.name not in classes:
            raise ValueError(f"{thing.name!r} is none of the {len(classes)} classes {', '.join(classes[:3])}, ...")
        place = classes.index(thing.name)
        row[place] = 1 if not thing.difficult or row[place] == 1 else -1
    return row
