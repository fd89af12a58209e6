"""A contact sheet: what a recipe makes of some images, with what was drawn for each view."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..augment import presets
from ..augment.draw import Params, draw
from ..augment.masks import Mask
from ..augment.ops import Crop, Normalize, RandomCrop
from ..augment.recipe import Instance, Recipe
from .decode import BadSample, decode
from .engines import render
from .order import Order
from .source import Source

if TYPE_CHECKING:
    from torch import Tensor

CELL_PX = 192
GAP_PX = 12
LINE_PX = 13
CAPTION_LINES = 7
FRAMES = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000", "#000075", "#f032e6")


@dataclass(frozen=True)
class Remade:
    """Samples with their views as a run made them: images (H, W, 3) uint8, views {group: (V, N, C, H, W)}."""

    index: np.ndarray
    images: list[np.ndarray]
    params: Params
    views: dict[str, Tensor]


def remake(source: Source, recipe: Recipe, *, index: Sequence[int] | None = None, samples: int = 4, epoch: int = 0, seed: int = 0,
           engine: str = "auto", shuffle: str = "auto", lanes: int = 256, window: int = 16) -> Remade:
    """The views that a run with this recipe, seed and order made of each sample in that epoch, to the bit.

    index: the samples' numbers in the data; None: the first `samples` of the epoch. Raises ValueError naming the sample
    where one cannot be decoded.
    """
    if shuffle == "auto":
        shuffle = "full" if source.local else "lanes"
    order = Order(source.shard_sizes, seed, lanes=lanes, window=window, shuffle=shuffle)
    numbers = order.index(epoch, np.arange(min(samples, len(source)))) if index is None else np.asarray(index, np.int64)
    images = [_decoded(source, i) for i in numbers]
    size_hw = np.array([image.shape[:2] for image in images])
    params = draw(recipe, seed, epoch, numbers, size_hw, position=positions(order, epoch, numbers), length=len(order))
    return Remade(numbers, images, params, render(images, recipe, params, engine=engine))


def preview(source: Source, recipe: Recipe, out: Path, *, epoch: int = 0, seed: int = 0, **which: Any) -> int:
    """Write a PNG: a row per sample, first the image with its boxes, then every view over what was drawn for it.

    which: as `remake` takes it. Returns the number of views.
    """
    made = remake(source, recipe, epoch=epoch, seed=seed, **which)
    rows = []
    for row, image in enumerate(made.images):
        about = [source.key(int(made.index[row])), f"{image.shape[1]}x{image.shape[0]} px", f"seed {seed}, epoch {epoch}"]
        cells = [_cell(_with_boxes(image, recipe, made.params, row), about)]
        for number, instance in enumerate(recipe.instances):
            pixels = _displayed(made.views[instance.group][instance.ordinal, row].float().numpy(), instance, made.params, row)
            cells.append(_cell(pixels, [instance.name, *_captions(instance, made.params, row)], FRAMES[number % len(FRAMES)]))
        rows.append(cells)
    out.parent.mkdir(parents=True, exist_ok=True)
    _sheet(rows, f"{recipe}").save(out, "PNG")
    return len(recipe.instances) * len(made.images)


def saved_recipe(name: str) -> Recipe:
    """A preset by name; or the recipe that a run saved, by its folder or its config.json."""
    path = Path(name)
    if path.is_dir():
        path = path / "config.json"
    if path.suffix != ".json":
        return presets.recipe(name)
    try:
        saved = json.loads(path.read_text())
        return Recipe.from_dict(saved.get("recipe", saved))
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: no recipe can be read from it ({error}); name a preset, or the folder of a run") from error


def positions(order: Order, epoch: int, index: np.ndarray, chunk: int = 1 << 18) -> np.ndarray:
    """Where in an epoch's order each sample stands, (N,) int64: the order run through until all are found."""
    found = np.full(len(index), -1, np.int64)
    for start in range(0, len(order), chunk):
        here = order.index(epoch, np.arange(start, min(start + chunk, len(order))))
        for row in np.flatnonzero(found < 0):
            at = np.flatnonzero(here == index[row])
            if len(at):
                found[row] = start + at[0]
        if (found >= 0).all():
            break
    return found


def _decoded(source: Source, index: int) -> np.ndarray:
    try:
        return decode(source.read(int(index)))
    except BadSample as error:
        raise ValueError(f"{source.where(int(index))}: {error}") from error


def _captions(instance: Instance, params: Params, row: int) -> list[str]:
    return [text for op in instance.ops if (text := op.caption(params[instance.name][op.name], row))]


def _displayed(view: np.ndarray, instance: Instance, params: Params, row: int) -> np.ndarray:
    """(H, W, 3) uint8: the view before normalization, masked patches grayed out."""
    last = next((op for op in instance.ops if isinstance(op, Normalize)), Normalize(kind="none"))
    gain, offset = last.affine(len(view))
    levels = (view - np.reshape(offset, (-1, 1, 1))) / np.reshape(gain, (-1, 1, 1))
    pixels = np.clip(np.rint(np.moveaxis(levels, 0, -1)), 0, 255).astype(np.uint8)
    for op in instance.ops:
        if isinstance(op, Mask) and "mask" in params[instance.name][op.name]:
            mask = params[instance.name][op.name]["mask"][row]
            rows = np.arange(pixels.shape[0]) * mask.shape[0] // pixels.shape[0]
            columns = np.arange(pixels.shape[1]) * mask.shape[1] // pixels.shape[1]
            hidden = mask[rows][:, columns]
            pixels[hidden] = pixels[hidden] // 5 + 100
    return pixels


def _with_boxes(image: np.ndarray, recipe: Recipe, params: Params, row: int) -> np.ndarray:
    """The image with the first crop of every view framed in the view's colour."""
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    width_px = max(1, max(image.shape) // 160)
    for number, instance in enumerate(recipe.instances):
        first = instance.ops[0] if instance.ops else None
        if isinstance(first, Crop | RandomCrop):
            top, left, height, width = params[instance.name][first.name]["box"][row].tolist()
            pen.rectangle((left, top, left + width - 1, top + height - 1), outline=FRAMES[number % len(FRAMES)], width=width_px)
    return np.asarray(picture)


def _cell(pixels: np.ndarray, captions: list[str], frame: str = "#cccccc") -> Image.Image:
    """One picture, enlarged by whole factors or shrunk to fit, over its caption."""
    cell = Image.new("RGB", (CELL_PX, CELL_PX + CAPTION_LINES * LINE_PX), "white")
    picture = Image.fromarray(pixels)
    room = CELL_PX - 4
    factor = room // max(picture.size)
    if factor >= 1:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    else:
        picture.thumbnail((room, room), Image.Resampling.LANCZOS)
    left, top = (CELL_PX - picture.width) // 2, (CELL_PX - picture.height) // 2
    pen = ImageDraw.Draw(cell)
    pen.rectangle((left - 2, top - 2, left + picture.width + 1, top + picture.height + 1), outline=frame, width=2)
    cell.paste(picture, (left, top))
    font = ImageFont.load_default(11)
    lines = [line for text in captions for line in textwrap.wrap(text, 33)][:CAPTION_LINES]
    for number, line in enumerate(lines):
        pen.text((2, CELL_PX + number * LINE_PX), line, fill="#111111" if number == 0 else "#444444", font=font)
    return cell


def _sheet(rows: list[list[Image.Image]], title: str) -> Image.Image:
    width = max(len(row) for row in rows) * (CELL_PX + GAP_PX) + GAP_PX
    height = len(rows) * (CELL_PX + CAPTION_LINES * LINE_PX + GAP_PX) + GAP_PX + 24
    sheet = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(sheet).text((GAP_PX, 6), title, fill="#111111", font=ImageFont.load_default(16))
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            sheet.paste(cell, (GAP_PX + x * (CELL_PX + GAP_PX), 30 + y * (cell.height + GAP_PX)))
    return sheet
