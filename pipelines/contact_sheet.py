"""How a contact sheet looks: views as pictures whatever their channels mean, where each came from, cells and their captions."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..augment.fields import pair_of
from ..augment.masks import Mask
from ..augment.op import Op
from ..augment.ops import CenterCrop, Crop, Flip, RandomCrop, Resize, Tiles
from ..augment.pixels import as_levels_of_rgb

CELL_PX = 192
GAP_PX = 12
LINE_PX = 13
MOST_LINES = 9
MOST_COLUMNS = 14
FRAMES = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000", "#000075", "#f032e6")

Drawn = Mapping[str, Mapping[str, np.ndarray]]
"""One view's parameters, by op name."""


def picture(view: np.ndarray, ops: Sequence[Op], drawn: Drawn, row: int) -> np.ndarray:
    """(H, W, 3) uint8 of one view (C, H, W): as it was before normalization, and with what its masks hide grayed out.

    Lightness is gray, colours have a lightness of 50; gradients, and tiles that were normalized by themselves, lie around
    mid gray, as far as their own range goes.
    """
    pixels = np.clip(np.rint(np.moveaxis(as_levels_of_rgb(torch.as_tensor(view), ops).numpy(), 0, -1)), 0, 255).astype(np.uint8)
    for op in ops:
        if isinstance(op, Mask):
            _show_mask(pixels, {k: v[row] for k, v in drawn[op.name].items()}, filled=op.fills)
    return pixels


def _show_mask(pixels: np.ndarray, drawn: Mapping[str, np.ndarray], filled: bool) -> None:
    """mask: of patches, or of pixels; targets: more of them, which are outlined. Filled masks show by themselves."""
    if "mask" in drawn:
        hidden = _enlarged(drawn["mask"], pixels.shape[:2])
        if filled:
            pixels[_edge(hidden)] = 255
        else:
            pixels[hidden] = pixels[hidden] // 5 + 100
    for number, target in enumerate(drawn.get("targets", ())):
        pixels[_edge(_enlarged(target, pixels.shape[:2]))] = _rgb(FRAMES[number % len(FRAMES)])


def _enlarged(mask: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    rows = np.arange(size_hw[0]) * mask.shape[0] // size_hw[0]
    columns = np.arange(size_hw[1]) * mask.shape[1] // size_hw[1]
    enlarged: np.ndarray = mask[rows][:, columns]
    return enlarged


def _edge(inside: np.ndarray) -> np.ndarray:
    """The outermost pixels of what is inside, two wide."""
    padded = np.pad(inside, 2)
    height, width = inside.shape
    around = [padded[dy:dy + height, dx:dx + width] for dy in range(5) for dx in range(5)]
    edge: np.ndarray = inside & ~np.logical_and.reduce(around)
    return edge


def _rgb(colour: str) -> list[int]:
    return [int(colour[i:i + 2], 16) for i in (1, 3, 5)]


def source_box(ops: Sequence[Op], drawn: Drawn, row: int, size_hw: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """left, top, right, bottom: what a view shows of an image of size_hw, as far as its ops cut, resize and mirror; None:
    all of it, or a tile that is not there."""
    corner, step = np.zeros(2), np.ones(2)  # a point of the op's input lies at corner + step * point in the image
    size, window = np.array(size_hw, float), None
    for op in ops:
        params = {k: v[row] for k, v in drawn[op.name].items()}
        if isinstance(op, Crop | RandomCrop | CenterCrop | Tiles):
            if not params.get("present", True):
                return None
            top, left, height, width = params["box"].tolist()
            corner, window = corner + step * (top, left), np.array([height, width], float)
            size = np.array(pair_of(op.size_px), float) if isinstance(op, Crop) and op.size_px is not None else window
            step = step * window / size
        elif isinstance(op, Resize):
            step, size = step * size / params["size"], params["size"].astype(float)
        elif isinstance(op, Flip):
            if params["apply"]:
                corner, step = corner + step * (0, size[1]), step * (1, -1)
        elif op.type in ("rotate", "warp", "inpaint"):
            break
    if window is None:
        return None
    low, high = np.sort(np.stack([corner, corner + step * size]), 0)
    return float(low[1]), float(low[0]), float(high[1]), float(high[0])


def with_boxes(image: np.ndarray, boxes: Sequence[tuple[tuple[float, float, float, float] | None, str]]) -> np.ndarray:
    """The image with frames: (left, top, right, bottom) and a colour each."""
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    width_px = max(1, max(image.shape) // 96)
    for box, colour in boxes:
        if box is not None:
            left, top, right, bottom = (round(v) for v in box)
            pen.rectangle((left, top, max(right - 1, left), max(bottom - 1, top)), outline=colour, width=width_px)
    return np.asarray(picture)


def with_inset(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The image with another one, small, in its lower right corner."""
    picture = Image.fromarray(image)
    small = Image.fromarray(other)
    small.thumbnail((max(picture.width * 2 // 5, 1), max(picture.height * 2 // 5, 1)))
    edge = max(1, max(image.shape) // 100)
    framed = Image.new("RGB", (small.width + 2 * edge, small.height + 2 * edge), "white")
    framed.paste(small, (edge, edge))
    picture.paste(framed, (picture.width - framed.width, picture.height - framed.height))
    return np.asarray(picture)


def reassembled(tiles: Sequence[np.ndarray], order: Sequence[int], columns: int, gap_px: int = 4) -> np.ndarray:
    """Tiles of one size where they were before they changed places: slot s holds source tile order[s]."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    whole = np.full((rows * (height + gap_px) - gap_px, columns * (width + gap_px) - gap_px, 3), 255, np.uint8)
    for tile, source in zip(tiles, order, strict=True):
        top, left = source // columns * (height + gap_px), source % columns * (width + gap_px)
        whole[top:top + height, left:left + width] = tile
    return whole


def crossed_out(side_px: int = CELL_PX) -> np.ndarray:
    """Stands for a view that is not there."""
    empty = Image.new("RGB", (side_px, side_px), "#eeeeee")
    pen = ImageDraw.Draw(empty)
    pen.line((0, 0, side_px, side_px), fill="#bbbbbb", width=3)
    pen.line((0, side_px, side_px, 0), fill="#bbbbbb", width=3)
    return np.asarray(empty)


def cell(pixels: np.ndarray, captions: Sequence[str], frame: str = "#cccccc") -> Image.Image:
    """One picture over its caption; a small one is enlarged by a whole factor, so that its pixels can be counted."""
    lines = [line for text in captions for line in textwrap.wrap(text, 33)][:MOST_LINES]
    made = Image.new("RGB", (CELL_PX, CELL_PX + len(lines) * LINE_PX), "white")
    picture = Image.fromarray(pixels)
    room = CELL_PX - 4
    factor = room // max(picture.size)
    if factor >= 3:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    else:
        scale = room / max(picture.size)
        size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    left, top = (CELL_PX - picture.width) // 2, (CELL_PX - picture.height) // 2
    pen = ImageDraw.Draw(made)
    pen.rectangle((left - 2, top - 2, left + picture.width + 1, top + picture.height + 1), outline=frame, width=2)
    made.paste(picture, (left, top))
    font = ImageFont.load_default(11)
    for number, line in enumerate(lines):
        pen.text((2, CELL_PX + number * LINE_PX), line, fill="#111111" if number == 0 else "#444444", font=font)
    return made


def sheet(samples: Sequence[Sequence[Image.Image]], title: str) -> Image.Image:
    """The cells of each sample in a row, or in several of MOST_COLUMNS where there are more."""
    rows: list[Sequence[Any]] = [
        cells[start:start + MOST_COLUMNS] for cells in samples for start in range(0, len(cells), MOST_COLUMNS)]
    heights = [max(each.height for each in row) + GAP_PX for row in rows]
    width = max(len(row) for row in rows) * (CELL_PX + GAP_PX) + GAP_PX
    made = Image.new("RGB", (width, 30 + sum(heights)), "white")
    ImageDraw.Draw(made).text((GAP_PX, 6), title, fill="#111111", font=ImageFont.load_default(16))
    top = 30
    for row, height in zip(rows, heights, strict=True):
        for x, each in enumerate(row):
            made.paste(each, (GAP_PX + x * (CELL_PX + GAP_PX), top))
        top += height
    return made
