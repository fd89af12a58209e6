"""A contact sheet: what a recipe makes of some images, with what was drawn for each view."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..augment import presets
from ..augment.draw import Params, draw, partners_of, take
from ..augment.op import Op
from ..augment.ops import Permute, Tiles
from ..augment.recipe import Instance, Recipe, UnsupportedRecipe
from ..augment.render import render_view
from ..augment.scaled_decode import in_scaled_pixels
from . import contact_sheet
from .contact_sheet import FRAMES
from .decode import BadSample, decode
from .engines import check_names, render
from .order import Order
from .plan import denominator_of
from .source import Source

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pictured:
    """One picture of a sheet: pixels (H, W, 3) uint8, what stands below it, the colour of its frame, None for none of its own."""

    pixels: np.ndarray
    captions: list[str]
    frame: str | None = None


@dataclass(frozen=True)
class Remade:
    """Samples with their views as a run made them: images (H, W, 3) uint8, views {group: (V, N, C, H, W)}.

    decoded: what the views were made from, smaller where the recipe allows scaled decoding. partners, partner_index: the second
    images and their numbers in the data, where the recipe takes them. views is empty where an op needs a model that only the
    method has.
    """

    index: np.ndarray
    images: list[np.ndarray]
    params: Params
    views: dict[str, Tensor]
    decoded: list[np.ndarray]
    partners: list[np.ndarray] = field(default_factory=list)
    partner_index: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def remake(source: Source, recipe: Recipe, *, index: Sequence[int] | None = None, samples: int = 4, epoch: int = 0, seed: int = 0,
           engine: str = "auto", shuffle: str = "auto", lanes: int = 256, window: int = 16) -> Remade:
    """The views that a run with this recipe, seed and order made of each sample in that epoch, to the bit.

    index: the samples' numbers in the data; None: the first `samples` of the epoch. engine "auto": the fastest that renders
    this recipe. Raises ValueError naming the sample where one cannot be decoded.
    """
    check_names(engine, "float32")
    if shuffle == "auto":
        shuffle = "full" if source.local else "lanes"
    order = Order(source.shard_sizes, seed, lanes=lanes, window=window, shuffle=shuffle)
    numbers = order.index(epoch, np.arange(min(samples, len(source)))) if index is None else np.asarray(index, np.int64)
    images = [_decoded(source, int(i)) for i in numbers]
    where = positions(order, epoch, numbers)
    others = np.zeros(0, np.int64)
    if recipe.takes_partner:
        others = order.index(epoch, partners_of(recipe, seed, epoch, numbers, where, len(order)))
    partners = [_decoded(source, int(i)) for i in others]
    params = draw(recipe, seed, epoch, numbers, _sizes(images), position=where, length=len(order),
                  partner_size_hw=_sizes(partners) if partners else None)
    by = [denominator_of(params, row) for row in range(len(images))]
    decoded = [image if d == 1 else _decoded(source, int(i), d) for image, i, d in zip(images, numbers, by, strict=True)]
    views = {} if _needy(recipe) else _rendered(decoded, recipe, params, partners, engine)
    return Remade(numbers, images, params, views, decoded, partners, others)


def preview(source: Source, recipe: Recipe, out: Path, *, epoch: int = 0, seed: int = 0, **which: Any) -> int:
    """Write a PNG: for each sample first the image with frames where its views lie, then every view over what was drawn for
    it; of a puzzle also its tiles in their places. A view that needs a model is shown up to there.

    which: as `remake` takes it. Returns the number of views.
    """
    made = remake(source, recipe, epoch=epoch, seed=seed, **which)
    rows = []
    for row in range(len(made.images)):
        image = pictured_image(made, recipe, row, source)
        about = [*image.captions[:2], f"seed {seed}, epoch {epoch}", *image.captions[2:]]
        rows.append([contact_sheet.cell(image.pixels, about), *map(_cell, pictured_views(made, recipe, row))])
    out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet.sheet(rows, f"{recipe}").save(out, "PNG")
    return len(recipe.instances) * len(made.images)


def pictured_image(made: Remade, recipe: Recipe, row: int, source: Source, large_px: int = 0) -> Pictured:
    """The image that a sample's views were made of, with frames in their colours where they lie. large_px: a smaller image is
    first enlarged by a whole factor, to at most this side."""
    about = [source.key(int(made.index[row])), "{1}x{0} px".format(*made.images[row].shape)]
    if made.partners:
        about.append(f"with {source.key(int(made.partner_index[row]))}")
    return Pictured(_source_picture(made, recipe, row, large_px), about)


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


def saved_data(name: str) -> Any:
    """Where a run found its images, by its folder; None for any other name, or where nothing is said of it."""
    try:
        return json.loads(Path(name, "config.json").read_text())["config"]["data"]
    except (OSError, KeyError, TypeError, json.JSONDecodeError):
        return None


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


def _decoded(source: Source, index: int, denominator: int = 1) -> np.ndarray:
    try:
        return decode(source.read(int(index)), denominator)
    except BadSample as error:
        raise ValueError(f"{source.where(int(index))}: {error}") from error


def _sizes(images: list[np.ndarray]) -> np.ndarray:
    return np.array([image.shape[:2] for image in images])


def _needy(recipe: Recipe) -> bool:
    return any(op.needs for instance in recipe.instances for op in instance.ops)


def _rendered(images: list[np.ndarray], recipe: Recipe, params: Params, partners: list[np.ndarray],
              engine: str) -> dict[str, Tensor]:
    try:
        return render(images, recipe, params, engine=engine, partners=partners or None, scaled=True)
    except UnsupportedRecipe:
        if engine != "auto":
            raise
        return render(images, recipe, params, engine="torch", partners=partners or None, scaled=True)


def _source_picture(made: Remade, recipe: Recipe, row: int, large_px: int = 0) -> np.ndarray:
    image = made.images[row]
    times = max(large_px // max(image.shape[:2]), 1)
    boxes = []
    for number, instance in enumerate(recipe.instances):
        if not _of_partner(instance, made.params, row):
            box = contact_sheet.source_box(instance.ops, made.params[instance.name], row, image.shape[:2])
            boxes.append((box and tuple(times * side for side in box), _frame(number)))
    framed = contact_sheet.with_boxes(image.repeat(times, 0).repeat(times, 1), boxes)
    return contact_sheet.with_inset(framed, made.partners[row]) if made.partners else framed


def _of_partner(instance: Instance, params: Params, row: int) -> bool:
    occluded = [params[instance.name][op.name]["partner"][row] for op in instance.ops if op.takes_partner]
    return instance.view.image == "partner" or any(occluded)


def _frame(number: int) -> str:
    return FRAMES[number % len(FRAMES)]


def pictured_views(made: Remade, recipe: Recipe, row: int) -> list[Pictured]:
    """One for each view, one for each run of absent views, and one for the tiles of each puzzle in their places."""
    shown: dict[str, np.ndarray] = {}
    cells = []
    absent: list[str] = []
    for number, instance in enumerate(recipe.instances):
        drawn = made.params[instance.name]
        if not all(params["present"][row] for params in drawn.values() if "present" in params):
            absent.append(instance.name)
            continue
        cells += _absent(absent)
        absent = []
        view, ops, stop = _view(made, recipe, instance, row)
        pixels = shown[instance.name] = contact_sheet.picture(view, ops, drawn, row)
        captions = [_title(instance), *(text for op in ops if (text := op.caption(drawn[op.name], row)))]
        if stop is not None:
            captions.append(f"before {stop.caption(drawn[stop.name], row)}, which needs {stop.needs}")
            pixels = contact_sheet.with_boxes(pixels, [(_box(drawn[stop.name]["box"][row]), "#ffffff")])
        cells.append(Pictured(pixels, captions, _frame(number)))
    cells += _absent(absent)
    for group in recipe.siblings:
        permute = next((op for op in group[0].ops if isinstance(op, Permute)), None)
        if permute is not None:
            order = made.params[group[0].name][permute.name]["order"][row].tolist()
            tiles = [shown[instance.name] for instance in group]
            cells.append(Pictured(contact_sheet.reassembled(tiles, order, _columns(group[0])),
                                  [f"{group[0].group} in place", "order " + " ".join(map(str, order))]))
    return cells


def _cell(shown: Pictured) -> Image.Image:
    return contact_sheet.cell(shown.pixels, shown.captions, *([] if shown.frame is None else [shown.frame]))


def _absent(names: list[str]) -> list[Pictured]:
    if not names:
        return []
    what = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    return [Pictured(contact_sheet.crossed_out(), [what, "not there for this image"])]


def _title(instance: Instance) -> str:
    view, copy = instance.view, instance.copy - instance.view.first_copy
    role = f" {view.roles[copy]}" if view.roles else ""
    return f"{instance.name}{role}" + (f" class {view.labels[copy]}" if view.labels else "")


def _columns(instance: Instance) -> int:
    """Of the puzzle that the tiles come from."""
    grid = next((op.grid for op in instance.ops if isinstance(op, Tiles)), None)
    return grid[1] if grid else 3


def _box(box: np.ndarray) -> tuple[float, float, float, float]:
    top, left, height, width = box.tolist()
    return left, top, left + width, top + height


def _view(made: Remade, recipe: Recipe, instance: Instance, row: int) -> tuple[np.ndarray, tuple[Op, ...], Op | None]:
    """(C, H, W), the ops that made it, and the one where they had to stop because it needs a model."""
    if made.views:
        return made.views[instance.group][instance.ordinal, row].float().numpy(), instance.ops, None
    import torch

    drawn = in_scaled_pixels(recipe, made.params)[instance.name]
    acting = [op for op in instance.ops if not (op.needs and not drawn[op.name].get("apply", np.ones(row + 1))[row])]
    stop = next((i for i, op in enumerate(acting) if op.needs), len(acting))
    sources = made.partners if instance.view.image == "partner" else made.decoded
    levels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(sources[row], -1, 0))).float()
    alone = take({"": drawn}, np.array([row]))[""]
    part = replace(instance, ops=tuple(acting[:stop]))
    return render_view([levels], part, alone)[0].numpy(), part.ops, acting[stop] if stop < len(acting) else None
