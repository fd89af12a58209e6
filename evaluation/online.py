"""kNN beside a training run: frozen features of labelled images, and the two levels that training must beat."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..augment.draw import draw
from ..augment.ops import CenterCrop, LabSplit, Normalize, Resize, Sobel
from ..augment.recipe import Recipe, View
from ..models.training.config import KnnConfig
from ..pipelines.decode import BadSample, decode
from ..pipelines.engines import render
from ..pipelines.order import Order
from ..pipelines.read_ahead import READERS
from ..pipelines.remote.options import Remote
from ..pipelines.source import Source, open_source
from .knn import knn_accuracy

SMALL_PX = 96  # up to here the whole image is shown; above, the field's central crop out of a short side 256 / 224 larger
RAW_PX = 32  # raw pixels are compared at this side at most: kNN on more is slow and no better
CHUNK = 128


def evaluation_recipe(recipe: Recipe, side_px: int, *, raw: bool = False) -> Recipe:
    """One plain view of side_px that ends as the first view of `recipe` ends: its colour space and gradients, its
    normalisation, its crop's filter.

    Up to SMALL_PX the whole image is resized to the square; above, its short side becomes side_px * 256 / 224 and the
    centre is cut out. raw: levels / 255 instead of the normalisation.
    """
    ops = recipe.instances[0].ops
    filters = [getattr(op, "filter", None) for op in ops]
    filter_ = "bicubic" if "bicubic" in filters else "bilinear"
    ending = [] if raw else [op for op in ops if isinstance(op, Normalize | LabSplit | Sobel)]
    if side_px <= SMALL_PX:
        cut: list[Any] = [Resize(mode="exact", side_px=side_px, filter=filter_)]
    else:
        cut = [Resize(mode="short-side", side_px=round(side_px * 256 / 224), filter=filter_), CenterCrop(size_px=side_px)]
    return Recipe(views=(View(group="plain", size_px=side_px, ops=(*cut, *ending)),), name=f"{recipe}: evaluation")


def sample(source: Source, limit: int) -> np.ndarray:
    """(min(images, limit),) int64 indices, ascending: a fixed random part, so that no order of the shards can bias it."""
    order = Order(source.shard_sizes, 0, shuffle="full")
    return np.sort(order.index(0, np.arange(min(len(source), limit), dtype=np.int64)))


class Pictures:
    """Labelled images of a source, shown plainly. Raises ValueError where a source has no labels."""

    def __init__(self, source: Source, limit: int, name: str, threads: int) -> None:
        index = sample(source, limit)
        source.size_hw(index)  # has the indexes of remote shards fetched together, not one after the other
        label = np.array([source.label(int(i)) for i in index], np.int64)
        if not (label >= 0).any():
            raise ValueError(f"{name} has no labels, which kNN needs: folders of classes, or .cls files in the shards")
        self.source, self.threads = source, threads if source.local else max(threads, READERS)  # which mostly wait
        self.index, self.label = index[label >= 0], label[label >= 0]

    def views(self, recipe: Recipe) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Pieces of (n, 3, side, side) float32 and their (n,) labels; images that cannot be read are left out."""
        pieces = [slice(start, start + CHUNK) for start in range(0, len(self.index), CHUNK)]
        with ThreadPoolExecutor(max(self.threads, 1)) as pool:
            ahead = [pool.submit(self._piece, recipe, piece) for piece in pieces[: 2 * self.threads]]
            for number in range(len(pieces)):
                done = ahead.pop(0)
                if number + 2 * self.threads < len(pieces):
                    ahead.append(pool.submit(self._piece, recipe, pieces[number + 2 * self.threads]))
                yield done.result()

    def _piece(self, recipe: Recipe, piece: slice) -> tuple[Tensor, np.ndarray]:
        images, index, label = [], [], []
        for i, y in zip(self.index[piece].tolist(), self.label[piece].tolist(), strict=True):
            try:
                images.append(decode(self.source.read(i)))
            except BadSample:
                continue
            index.append(i)
            label.append(y)
        if not images:
            side = recipe.instances[0].size_hw
            return torch.empty(0, 3, *side), np.empty(0, np.int64)
        size_hw = np.array([image.shape[:2] for image in images], np.int64)
        params = draw(recipe, 0, 0, np.array(index, np.int64), size_hw)
        return torch.as_tensor(render(images, recipe, params)["plain"][0]), np.array(label, np.int64)


class OnlineKnn:
    """Weighted kNN of test images among labelled images, on features of whatever the network is by now."""

    NAMES = ("knn_raw_pixels", "knn_untrained", "knn")

    def __init__(self, config: KnnConfig, bank: Source, test: Source, recipe: Recipe, threads: int = 1) -> None:
        self.config, self.recipe = config, recipe
        self.side_px = recipe.instances[0].size_hw[1]
        self.bank = Pictures(bank, config.max_images, "knn.data (by default the training data)", threads)
        self.test = Pictures(test, config.max_test_images, f"knn.test_data={config.test_data}", threads)
        if config.k > len(self.bank.index):
            raise ValueError(f"knn.k={config.k} needs as many labelled images, knn.data has {len(self.bank.index)}")

    @classmethod
    def open(cls, config: KnnConfig, data: Any, recipe: Recipe, threads: int = 1,
             remote: Remote | None = None) -> OnlineKnn | None:
        """None where config names no test data. data: the training data, which vote unless config.data is given. remote: how
        data behind addresses are had."""
        if config.test_data is None or config.every == 0:
            return None
        bank = open_source(data if config.data is None else config.data, remote=remote)
        return cls(config, bank, open_source(config.test_data, remote=remote), recipe, threads)

    def measure(self, method: nn.Module, device: torch.device, autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
                *, untrained: bool = False) -> dict[str, float]:
        """{"knn": accuracy in [0, 1], "knn_seconds"}; if untrained also the same as "knn_untrained", and "knn_raw_pixels"."""
        began = time.monotonic()
        values = self.raw_pixels() if untrained else {}
        bank, test = (self._features(method, device, autocast, part) for part in (self.bank, self.test))
        accuracy = self._accuracy(bank, test)
        values |= {"knn_untrained": accuracy} if untrained else {}
        return values | {"knn": accuracy, "knn_seconds": time.monotonic() - began}

    def raw_pixels(self) -> dict[str, float]:
        """{"knn_raw_pixels"}: the same vote on the pixels themselves, at a side of at most RAW_PX, minus the voters' mean
        image: all pixels are positive, so that without it every cosine is near 1 and the level comes out too easy to beat."""
        recipe = evaluation_recipe(self.recipe, min(self.side_px, RAW_PX), raw=True)
        bank, test = (_joined([(x.flatten(1), y) for x, y in part.views(recipe)]) for part in (self.bank, self.test))
        mean = bank[0].mean(0)
        return {"knn_raw_pixels": self._accuracy((bank[0] - mean, bank[1]), (test[0] - mean, test[1]))}

    def _features(self, method: nn.Module, device: torch.device, autocast: Callable[[], AbstractContextManager[Any]],
                  pictures: Pictures) -> tuple[Tensor, Tensor]:
        recipe = evaluation_recipe(self.recipe, self.side_px)
        modes = [(module, module.training) for module in method.modules()]
        method.eval()
        try:
            with torch.no_grad(), autocast():
                return _joined([(method.features(x.to(device)).float().cpu(), y) for x, y in pictures.views(recipe)])  # type: ignore[operator]
        finally:
            for module, mode in modes:  # each as it was: a part may be kept in evaluation mode throughout
                module.training = mode

    def _accuracy(self, bank: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
        return round(knn_accuracy(*bank, *test, k=self.config.k, temperature=self.config.tau), 6)


def _joined(pieces: list[tuple[Tensor, np.ndarray]]) -> tuple[Tensor, Tensor]:
    return torch.cat([x for x, _ in pieces]), torch.from_numpy(np.concatenate([y for _, y in pieces]))
