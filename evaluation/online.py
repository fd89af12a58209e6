"""kNN beside a training run: frozen features of labelled images, and the two levels that training must beat."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..augment.recipe import Recipe
from ..models.training.config import KnnConfig
from ..pipelines.remote.options import Remote
from ..pipelines.source import Source, open_source
from .features import evaluating
from .knn import knn_accuracy
from .pictures import Pictures, evaluation_recipe, judged_side

RAW_PX = 32  # raw pixels are compared at this side at most: kNN on more is slow and no better


class OnlineKnn:
    """Weighted kNN of test images among labelled images, on features of whatever the network is by now."""

    NAMES = ("knn_raw_pixels", "knn_untrained", "knn")

    def __init__(self, config: KnnConfig, bank: Source, test: Source, recipe: Recipe, threads: int = 1) -> None:
        self.config, self.recipe = config, recipe
        self.side_px = judged_side(recipe)
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
        bank, test = (_joined((piece.images.flatten(1), piece.label) for piece in part.pieces(recipe))
                      for part in (self.bank, self.test))
        mean = bank[0].mean(0)
        return {"knn_raw_pixels": self._accuracy((bank[0] - mean, bank[1]), (test[0] - mean, test[1]))}

    def _features(self, method: nn.Module, device: torch.device, autocast: Callable[[], AbstractContextManager[Any]],
                  pictures: Pictures) -> tuple[Tensor, Tensor]:
        recipe = evaluation_recipe(self.recipe, self.side_px)
        with evaluating(method), torch.no_grad(), autocast():
            return _joined((method.features(piece.images.to(device)).float().cpu(), piece.label)  # type: ignore[operator]
                           for piece in pictures.pieces(recipe))

    def _accuracy(self, bank: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
        return round(knn_accuracy(*bank, *test, k=self.config.k, temperature=self.config.tau), 6)


def _joined(pieces: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Features (N, D) and labels (N,) of all pieces."""
    features, label = zip(*pieces, strict=True)
    return torch.cat(features), torch.cat(label)
