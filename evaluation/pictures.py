"""Labelled images of a source, each shown plainly: what kNN, probes and health see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..augment.draw import draw
from ..augment.op import Op
from ..augment.ops import CenterCrop, LabSplit, Normalize, Resize, Sobel, Tiles
from ..augment.ops.lab_split import CHANNELS
from ..augment.recipe import Recipe, View
from ..pipelines.decode import BadSample, decode
from ..pipelines.engines import render
from ..pipelines.order import Order
from ..pipelines.read_ahead import READERS
from ..pipelines.source import Source
from ..pipelines.sources.subset import Subset

SMALL_PX = 96  # up to here the whole image is shown; above, the field's central crop out of a short side 256 / 224 larger
CHUNK = 128


def evaluation_recipe(recipe: Recipe, side_px: int, *, raw: bool = False) -> Recipe:
    """One plain view of side_px that ends as the first view of `recipe` ends: its colour space and gradients, its
    normalisation, its crop's filter. Where views of one size share the channels of Lab out among them, all three together.

    Up to SMALL_PX the whole image is resized to the square; above, its short side becomes side_px * 256 / 224 and the
    centre is cut out. raw: levels / 255 instead of the normalisation.
    """
    ops = recipe.instances[0].ops
    filters = [getattr(op, "filter", None) for op in ops]
    filter_ = "bicubic" if "bicubic" in filters else "bilinear"
    ending = [] if raw else _ending(recipe)
    if side_px <= SMALL_PX:
        cut: list[Any] = [Resize(mode="exact", side_px=side_px, filter=filter_)]
    else:
        cut = [Resize(mode="short-side", side_px=round(side_px * 256 / 224), filter=filter_), CenterCrop(size_px=side_px)]
    return Recipe(views=(View(group="plain", size_px=side_px, ops=(*cut, *ending)),), name=f"{recipe}: evaluation")


def judged_side(recipe: Recipe) -> int:
    """The side, in pixels, of the plain pictures that a network trained on a recipe's views is judged by: the first view's; where
    that is a tile, of what tiles are cut from, so that things are as large as in training. Of a lattice, which may cover any
    picture, what a tile and the next one span."""
    first = recipe.instances[0]
    tiles = next((op for op in first.ops if isinstance(op, Tiles)), None)
    if tiles is None:
        return first.size_hw[1]
    if tiles.layout == "cells":
        assert tiles.grid is not None and tiles.cell_px is not None
        return max(tiles.grid) * tiles.cell_px
    if tiles.layout == "quadrants":
        return 2 * tiles.side
    assert tiles.pitch_px is not None
    return tiles.pitch_px + tiles.side


def _ending(recipe: Recipe) -> list[Op]:
    first = recipe.instances[0]
    ending: list[Op] = [op for op in first.ops if isinstance(op, Normalize | LabSplit | Sobel)]
    of: dict[str, tuple[float, float]] = {}  # by channel of Lab, the first mean and standard deviation stated
    for instance in recipe.instances if any(isinstance(op, LabSplit) for op in ending) else ():
        kept = next((op.keep for op in instance.ops if isinstance(op, LabSplit)), None)
        norm = next((op for op in instance.ops if isinstance(op, Normalize) and op.kind == "mean-std"), None)
        if kept and norm and instance.size_hw == first.size_hw:
            of = dict(zip(kept, zip(norm.mean or (), norm.std or (), strict=True), strict=True)) | of
    if len(of) < len(CHANNELS):
        return ending
    mean, std = zip(*(of[channel] for channel in CHANNELS), strict=True)
    return [LabSplit(keep=CHANNELS), Normalize(kind="mean-std", mean=mean, std=std, space="lab")]


def sample(source: Source, limit: int | None) -> np.ndarray:
    """(min(images, limit),) int64 indices, ascending: a fixed random part, so that no order of the shards can bias it. limit
    None: all of them."""
    order = Order(source.shard_sizes, 0, shuffle="full")
    return np.sort(order.index(0, np.arange(min(len(source), limit or len(source)), dtype=np.int64)))


@dataclass(frozen=True)
class Piece:
    """Some pictures: images (n, C, side, side) float32, label (n,) int64, index (n,) int64 in their source. What could not
    be read is left out."""

    images: Tensor
    label: Tensor
    index: Tensor


class Pictures:
    """The labelled images of a source, or a fixed random part of `limit` of them. name: the key and the value that the user
    gave, for what is said of them. unlabelled: also those without a label, -1. Raises ValueError where a source has no labels
    and needs some."""

    def __init__(self, source: Source, limit: int | None, name: str, threads: int, *, unlabelled: bool = False) -> None:
        index = sample(source, limit)
        source.size_hw(index)  # has the indexes of remote shards fetched together, not one after the other
        label = np.array([source.label(int(i)) for i in index], np.int64)
        used = label >= 0 if not unlabelled else np.ones(len(label), bool)
        if not used.any():
            raise ValueError(f"{name} has no labels, which an evaluation needs: folders of classes, or .cls files in the shards")
        self.source, self.name = source, name
        self.threads = threads if source.local else max(threads, READERS)  # which mostly wait
        self.index, self.label = index[used], label[used]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def piece_count(self) -> int:
        return -(-len(self.index) // CHUNK)

    def pieces(self, view: Recipe, numbers: Sequence[int] | None = None) -> Iterator[Piece]:
        """Pieces of CHUNK pictures by number, all of them by default, in order. view: a recipe of one view."""
        todo = list(range(self.piece_count) if numbers is None else numbers)
        ahead = 2 * max(self.threads, 1)
        with ThreadPoolExecutor(max(self.threads, 1)) as pool:
            waiting = [pool.submit(self._piece, view, number) for number in todo[:ahead]]
            for following in range(ahead, ahead + len(todo)):
                done = waiting.pop(0)
                if following < len(todo):
                    waiting.append(pool.submit(self._piece, view, todo[following]))
                yield done.result()

    def _piece(self, view: Recipe, number: int) -> Piece:
        part = slice(number * CHUNK, (number + 1) * CHUNK)
        images, index, label = [], [], []
        for i, y in zip(self.index[part].tolist(), self.label[part].tolist(), strict=True):
            try:
                images.append(decode(self.source.read(i)))
            except BadSample:
                continue
            index.append(i)
            label.append(y)
        kept, shape = np.array(index, np.int64), next(iter(view.groups.values()))
        if not images:
            shown = torch.empty(0, shape.channels, shape.height, shape.width)
        else:
            size_hw = np.array([image.shape[:2] for image in images], np.int64)
            params = draw(view, 0, 0, kept, size_hw)
            shown = torch.as_tensor(render(images, view, params)[view.instances[0].group][0])
        return Piece(shown, torch.tensor(label, dtype=torch.int64), torch.from_numpy(kept))

    def part(self, rows: np.ndarray) -> Pictures:
        """The pictures at some of these rows alone, in that order."""
        part = copy(self)
        part.index, part.label = self.index[rows], self.label[rows]
        return part

    def subset(self) -> Source:
        """These pictures alone, in this order, as a source for a Loader."""
        return Subset(self.source, self.index)
