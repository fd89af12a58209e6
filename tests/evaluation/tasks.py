"""Tasks of a few small pictures, on an encoder of a few weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from viewmill.augment.presets import recipe
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.pictures import Pictures, evaluation_recipe
from viewmill.evaluation.task import Task
from viewmill.models.training.process import World
from viewmill.pipelines.source import open_source

SIDE = 16


class Tiny(nn.Module):
    """(N, 3, 16, 16) to (N, 6): means of the four quarters' red, and of green and blue; with a dropout and a batch norm, which a
    frozen encoder must have in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.dropout = nn.Conv2d(3, 6, 8, 8), nn.BatchNorm2d(6), nn.Dropout(0.5)
        torch.manual_seed(1)
        nn.init.normal_(self.conv.weight, std=0.1)

    def forward(self, images: Tensor) -> Tensor:
        assert not self.norm.training and not self.dropout.training
        return self.dropout(self.norm(self.conv(images))).mean((2, 3))


def pictures(count: int, classes: int, seed: int, noise: float = 40.0, threads: int = 1, label: Any = None) -> Pictures:
    """Flat colours, one for each class, with noise: classes overlap somewhat."""
    rng = np.random.default_rng(seed)
    label = np.arange(count) % classes if label is None else np.asarray(label)
    colour = np.random.default_rng(0).uniform(70, 180, (int(label.max()) + 1, 3))
    flat = colour[label][:, None, None] + rng.normal(0, noise, (count, 1, 1, 3))
    images = np.clip(flat + rng.normal(0, 20, (count, SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    return Pictures(open_source((images, label)), None, f"data={seed}", threads)


def tiny_encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(Tiny(), 6, SIDE, evaluation_recipe(recipe("probe"), SIDE), "tiny").requires_grad_(False)


def task(out: Path, *, train: Pictures | None = None, test: Pictures | None = None, classes: int = 5, images: int = 200,
         encoder: Encoder | None = None, rank: int = 0, ranks: int = 1, **more: Any) -> Task:
    return Task(encoder or tiny_encoder(), train or pictures(images, classes, 1), test or pictures(60, classes, 2), out,
                World(rank, ranks, rank, ranks, torch.device("cpu")), say=more.pop("say", lambda text: None), **more)
