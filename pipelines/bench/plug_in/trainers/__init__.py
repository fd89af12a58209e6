"""Other people's trainers: how each loads data by itself, and with our loader.

A file is imported by the process that measures it, and there only; each has `before(trainer, place, batch_size, workers)` and
`after(trainer, files, batch_size, threads)`, which give a Stream of the trainer's batches, and `views(batch)`, all views in one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...files import Files
from ...peers import Peer, Stream

if TYPE_CHECKING:
    from .....augment.recipe import Recipe
    from ...messages import Spec

SIDES = ("before", "after")
LINKS = 20_000
"""Files in a trainer's folder, at least, so that no epoch ends while it is measured: the same pictures under many names."""


@dataclass(frozen=True)
class Trainer:
    """file: here; title: what it is; the rest as a peer's."""

    file: str
    title: str
    needs: tuple[str, ...]
    install: str
    versions: tuple[str, ...]

    def missing(self) -> str:
        return Peer(self.file, self.title, self.needs, self.install, self.versions).missing()


BY_HAND = "pip install --no-deps lightly lightning-utilities"
TRAINERS = {
    "lightly-dino": Trainer("lightly", "lightly's DINO example: LightlyDataset, DINOTransform, MultiViewCollate",
                            ("lightly", "lightning_utilities"), BY_HAND, ("lightly", "torchvision", "pillow")),
    "lightly-simclr": Trainer("lightly", "lightly's SimCLR example, at 224 px", ("lightly", "lightning_utilities"), BY_HAND,
                              ("lightly", "torchvision", "pillow")),
    "dino-script": Trainer("crops", "a script like DINO's: ImageFolder, its augmentation on Pillow, a DataLoader",
                           ("torchvision",), "pip install torchvision", ("torchvision", "pillow")),
    "timm": Trainer("timm", "timm's create_dataset and create_loader, as train.py calls them", ("timm",), "pip install timm",
                    ("timm", "torchvision", "pillow")),
    "transformers": Trainer("transformers", "Hugging Face's Trainer on a table with a transform",
                            ("transformers", "datasets", "accelerate"), "pip install 'viewmill[peers]'",
                            ("transformers", "datasets", "torchvision", "pillow")),
}


def place_of(files: Files) -> Path:
    return files.shards[0].parent / "pictures"


def write_pictures(files: Files) -> Path:
    """The files as a folder of one class, each under many names."""
    inside = place_of(files) / "class"
    inside.mkdir(parents=True)
    encoded = files.encoded()
    for number, data in enumerate(encoded):
        (inside / f"{number:05d}-00000.jpg").write_bytes(data)
        for copy in range(1, -(-LINKS // len(encoded))):
            os.link(inside / f"{number:05d}-00000.jpg", inside / f"{number:05d}-{copy:05d}.jpg")
    return inside.parent


def opened(spec: Spec) -> tuple[Stream, list[str]]:
    """One side of a trainer, spec.name being "TRAINER SIDE"; and what its batches are, in words."""
    name, _, side = spec.name.partition(" ")
    module = import_module(f"{__name__}.{TRAINERS[name].file}")
    where = place_of(spec.files) if side == "before" else spec.files
    stream = getattr(module, side)(name, where, spec.batch_size, spec.threads)
    views = module.views(next(stream.batches))
    return stream, [", ".join(f"{'x'.join(map(str, view.shape))} {str(view.dtype).removeprefix('torch.')}" for view in views)]


def adapted(files: Files, recipe: Recipe, batch_size: int, threads: int, to: str, labelled: bool = False) -> Stream:
    """Our batches for a receiver, epoch after epoch. labelled: from the folder, which has a class; else from the shards, which
    have none."""
    from ....adapters import adapt
    from ....loader import Loader
    from ....source import open_source

    source = open_source(place_of(files)) if labelled else files.source()
    batches = adapt(Loader(source, recipe, batch_size, threads=threads), to)
    return endless(batches, batches.loader.prefetch)


def endless(batches: Any, prefetch: int) -> Stream:
    def epochs() -> Iterator[Any]:
        while True:
            yield from batches

    return Stream(epochs(), 2 * prefetch + 2, batches.close)
