"""A script like DINO's: torchvision's ImageFolder, a list of crops by its ops on Pillow images, a DataLoader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from .....augment.presets import recipe
from ...files import Files
from ...peers import Stream
from ...peers.loading import streamed
from ...peers.torchvision import transforms
from . import adapted


class Crops:
    """All crops of an image."""

    def __init__(self) -> None:
        self.transforms = transforms(recipe("dino"))

    def __call__(self, image: Any) -> list[Tensor]:
        return [transform(image) for transform in self.transforms]


def before(trainer: str, place: Path, batch_size: int, workers: int) -> Stream:
    loader: DataLoader[Any] = DataLoader(ImageFolder(str(place), transform=Crops()), batch_size=batch_size, shuffle=True,
                                         num_workers=workers, drop_last=True)
    return streamed(loader, workers, views_of=lambda batch: batch)


def after(trainer: str, files: Files, batch_size: int, threads: int) -> Stream:
    return adapted(files, recipe("dino"), batch_size, threads, "crops")


def views(batch: Any) -> list[Tensor]:
    return list(batch[0])
