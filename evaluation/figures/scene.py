"""What a kind of figure is given to draw from: the encoder, the pictures, their features; and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from ...models.training.step import autocast_for
from ...pipelines.remote.options import Remote
from ...pipelines.source import open_source
from ..encoder import Encoder
from ..features import Features, extract
from ..opening import open_encoder
from ..pictures import Pictures, evaluation_recipe
from ..task import Task
from .class_names import class_names
from .sheet import levels

if TYPE_CHECKING:
    from ...models.training.process import World
    from .command import FigureConfig


@dataclass(frozen=True)
class Drawn:
    """title: a few words. caption: what is seen, in sentences."""

    image: Image.Image
    title: str
    caption: str


@dataclass
class Scene:
    """what: the encoder as the user named it. kept: the folder in which evaluations keep features. threads: that render.
    any_size: the user's image_px is that of the pictures, and the network stays as it was trained."""

    what: str
    config: FigureConfig
    world: World
    kept: Path
    threads: int = 1
    any_size: bool = False

    @cached_property
    def encoder(self) -> Encoder:
        """In evaluation mode, on the device. Raises ValueError as `open_encoder` does."""
        of = self.config
        return open_encoder(self.what, backbone=of.backbone, image_px=None if self.any_size else of.image_px,
                            pretrained=of.pretrained, weights_key=of.weights_key, view=of.view,
                            head_layers=of.head_layers).to(self.world.device)

    @property
    def side_px(self) -> int:
        return self.config.image_px or self.encoder.image_px

    @property
    def remote(self) -> Remote:
        of = self.config.remote
        return Remote(**{**asdict(of), "storage_options": of.storage_options or {}})

    @property
    def autocast(self) -> Callable[[], AbstractContextManager[Any]]:
        return autocast_for(self.config.precision, self.world.device)

    @property
    def folder(self) -> Path:
        """Where evaluations keep features of this precision."""
        return self.kept if self.autocast is nullcontext else self.kept / "bf16"

    def pictures(self, part: str = "data", limit: int | None = None, *, unlabelled: bool = True) -> Pictures:
        """Of data or test_data, a fixed random part of at most `limit`, and of the user's own limit. Raises ValueError where
        labels are needed and there are none."""
        of = self.config
        data, most = {"data": (of.data, of.max_images), "test_data": (of.test_data, of.max_test_images)}[part]
        limits = [each for each in (limit, most) if each is not None]
        return Pictures(open_source(data, remote=self.remote), min(limits, default=None), f"{part}={data}", self.threads,
                        unlabelled=unlabelled)

    def features(self, pictures: Pictures) -> Features:
        """Found again where an evaluation of the same pictures kept them. Raises ValueError where some are no numbers."""
        found = extract(self.encoder, pictures, self.world.device, autocast=self.autocast,
                        folder=self.folder / "features" if self.config.cache else None)
        return replace(found, x=finite(found.x, f"features of {self.encoder.name}"))

    def task(self) -> Task:
        """Labelled pictures of data to learn from, and of test_data to be asked of, as a protocol has them."""
        train, test = (self.pictures(part, unlabelled=False) for part in ("data", "test_data"))
        return Task(self.encoder, train, test, self.folder, self.world, self.threads, self.config.seed, self.config.cache,
                    self.autocast, lambda line: None)

    def shown(self, pictures: Pictures, index: Sequence[int]) -> dict[int, np.ndarray]:
        """By number, some of these pictures, (side, side, 3) uint8, as the encoder sees them before normalisation; one that
        cannot be read is missing."""
        rows = np.searchsorted(pictures.index, np.unique(np.asarray(index, np.int64)))
        part = pictures.part(rows)
        view = evaluation_recipe(self.encoder.view, self.side_px, raw=True)
        return {int(number): levels(image) for piece in part.pieces(view)
                for number, image in zip(piece.index, piece.images, strict=True)}

    def seen(self, pictures: Pictures) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
        """(images as the encoder takes them (N, C, side, side), as they look (N, 3, side, side) in [0, 1], their keys). Raises
        ValueError where none can be read."""
        views = [evaluation_recipe(self.encoder.view, self.side_px, raw=raw) for raw in (False, True)]
        taken, plain = (list(pictures.pieces(view)) for view in views)
        images = [torch.cat([piece.images for piece in pieces if len(piece.label)] or [torch.empty(0)])
                  for pieces in (taken, plain)]
        if not len(images[0]):
            raise ValueError(f"{pictures.name} has no picture that can be read")
        index = torch.cat([piece.index for piece in taken]).tolist()
        return images[0], images[1], [pictures.source.key(number) for number in index]

    def names(self, pictures: Pictures, count: int) -> list[str]:
        """Of the classes of some pictures. Raises ValueError as `class_names` does."""
        return class_names(pictures.source, count, self.config.classes)


def finite(values: torch.Tensor, what: str) -> torch.Tensor:
    """Themselves. Raises ValueError where some are no numbers."""
    if not bool(values.isfinite().all()):
        raise ValueError(f"{what} are not finite: the network diverged; give an earlier checkpoint")
    return values


def numbers(count: int, one: str, many: str | None = None) -> str:
    """"1 picture", "2,000 pictures"."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def at_least(config: Any, bound: int, *names: str) -> None:
    """Raises ValueError where a field that is not None is below a bound."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value < bound:
            raise ValueError(f"{name} needs a whole number of at least {bound}, got {value}")
