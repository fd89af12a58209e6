"""lightly's examples for Lightning: their data sets, transforms and collate, with their batch as it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from .....augment.imports import import_recipe
from ...files import Files
from ...peers import Stream
from ...peers.loading import streamed
from . import adapted

os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")  # or it asks a server

from lightly.data import LightlyDataset
from lightly.data.multi_view_collate import MultiViewCollate
from lightly.transforms.dino_transform import DINOTransform
from lightly.transforms.simclr_transform import SimCLRTransform


def transform(trainer: str) -> Any:
    return DINOTransform() if trainer == "lightly-dino" else SimCLRTransform()


def before(trainer: str, place: Path, batch_size: int, workers: int) -> Stream:
    dataset = LightlyDataset(str(place), transform=transform(trainer))
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=batch_size, collate_fn=MultiViewCollate(), shuffle=True,
                                         drop_last=True, num_workers=workers)
    return streamed(loader, workers, views_of=lambda batch: batch)


def after(trainer: str, files: Files, batch_size: int, threads: int) -> Stream:
    return adapted(files, import_recipe(transform(trainer)), batch_size, threads, "lightly")


def views(batch: Any) -> list[Tensor]:
    return list(batch[0])
