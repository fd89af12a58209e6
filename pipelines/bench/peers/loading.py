"""What the peers that load with a torch DataLoader share: encoded files as a data set, an order without end, the loader."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ....augment.op import Op
from ....augment.recipe import Recipe, UnsupportedRecipe
from ...source import Source
from . import Stream


def refusal(library: str, op: Op) -> UnsupportedRecipe:
    return UnsupportedRecipe(f"{library} has no equal of {op.type} in this form")


def own_images_only(recipe: Recipe, library: str) -> None:
    """Raises UnsupportedRecipe for a recipe that takes a second image of each sample."""
    if recipe.takes_partner:
        raise UnsupportedRecipe(f"{library} gives a transform one image, and {recipe} takes a second one")


def pillow_image(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded)).convert("RGB")


class Views(Dataset[Any]):
    """One decode for all views of a file. decode(encoded) -> an image; transforms: one for each view."""

    def __init__(self, source: Source, decode: Callable[[bytes], Any], transforms: list[Callable[[Any], Any]]) -> None:
        self.source, self.decode, self.transforms = source, decode, transforms

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> list[Any]:
        encoded = self.source.read(index)
        assert isinstance(encoded, bytes)
        image = self.decode(encoded)
        return [transform(image) for transform in self.transforms]


class Endless(Sampler[int]):
    """One random order of all files after the other, so that no epoch's end interrupts the workers."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        chance = torch.Generator().manual_seed(0)
        while True:
            yield from torch.randperm(self.count, generator=chance).tolist()


def loaded(dataset: Dataset[Any], count: int, batch_size: int, workers: int, collate: Callable[[list[Any]], Any] | None = None,
           views_of: Callable[[Any], list[Tensor]] = list) -> Stream:
    """The usual training loader, its other settings left as they come. views_of: a loaded batch's views."""
    loader: DataLoader[Any] = DataLoader(dataset, batch_size, sampler=Endless(count), num_workers=workers, drop_last=True,
                                         collate_fn=collate)
    return streamed(loader, workers, views_of)


def streamed(loader: Any, workers: int, views_of: Callable[[Any], list[Tensor]] = list) -> Stream:
    """loader: torch's or one like it, without end."""
    iterator = iter(loader)

    def close() -> None:
        for name in ("_shutdown_workers", "close"):  # torch's iterator, or a generator around one
            if hasattr(iterator, name):
                getattr(iterator, name)()

    return Stream((views_of(batch) for batch in iterator), 2 * workers + 1, close)
