"""timm's `train.py --no-prefetcher`: create_dataset and create_loader with its usual augmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from timm.data import create_dataset, create_loader
from torch import Tensor

from .....augment.ops import Crop, Flip, Jitter
from .....augment.presets.preset import IMAGENET
from .....augment.recipe import Recipe, View
from ...files import Files
from ...peers import Stream
from ...peers.loading import streamed
from . import adapted

SAME = Recipe(name="timm", views=(View(group="global", size_px=224, ops=(
    Crop(size_px=224, filter="bicubic", cubic_a=-0.5), Flip(p=0.5),
    Jitter(p=1.0, brightness=0.4, contrast=0.4, saturation=0.4, hue_turns=0.0), IMAGENET)),))
"""What create_loader makes by default, with one filter in place of a random one."""


def before(trainer: str, place: Path, batch_size: int, workers: int) -> Stream:
    loader = create_loader(create_dataset("", root=str(place)), input_size=(3, 224, 224), batch_size=batch_size, is_training=True,
                           interpolation="bicubic", num_workers=workers, use_prefetcher=False, device=torch.device("cpu"))
    return streamed(loader, workers, views_of=lambda batch: batch)


def after(trainer: str, files: Files, batch_size: int, threads: int) -> Stream:
    return adapted(files, SAME, batch_size, threads, "timm", labelled=True)


def views(batch: Any) -> list[Tensor]:
    return [batch[0]]
