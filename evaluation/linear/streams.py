"""What heads train on, batch after batch: features that were made once, or of views that are new each time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ...models.training.process import World
from ...pipelines.batch import Batch
from ...pipelines.loader import Loader
from ...pipelines.order import Order
from ..encoder import Encoder
from ..features import evaluating
from .kinds import Seen


class Stream(Protocol):
    """Batches of this rank, (features by kind (B, D), label (B,)) on the device, one a step, without end."""

    def batch(self, step: int) -> tuple[Mapping[str, Tensor], Tensor]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Cached:
    """Features that were made once: features (N, D) by kind and label (N,). batch_size: over all ranks, which divide it.

    Every epoch has an order of its own, a function of (seed, epoch); what does not fill its last batch is left out.
    """

    def __init__(self, features: Mapping[str, Tensor], label: Tensor, batch_size: int, seed: int, world: World) -> None:
        self.features = {kind: x.to(world.device) for kind, x in features.items()}
        self.label, self.world = label.to(world.device), world
        self.batch_size, self.steps_per_epoch = batch_size, len(label) // batch_size
        self._order = Order([len(label)], seed, shuffle="full")

    def batch(self, step: int) -> tuple[Mapping[str, Tensor], Tensor]:
        epoch, number = divmod(step, self.steps_per_epoch)
        own = self.batch_size // self.world.size
        start = number * self.batch_size + self.world.rank * own
        row = torch.from_numpy(self._order.index(epoch, np.arange(start, start + own))).to(self.label.device)
        return {kind: x[row] for kind, x in self.features.items()}, self.label[row]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing moves: a batch is a function of its step."""


class Rendered:
    """Features of views that a loader makes, new each time; its own part of each batch on every rank. The encoder is in
    evaluation mode and learns nothing."""

    def __init__(self, loader: Loader, encoder: Encoder, see: Seen, device: torch.device,
                 autocast: Any) -> None:
        self.loader, self.encoder, self.see, self.device, self.autocast = loader, encoder, see, device, autocast
        self._batches: Iterator[Batch] | None = None

    def batch(self, step: int) -> tuple[Mapping[str, Tensor], Tensor]:
        if self._batches is None:
            self._batches = iter(self.loader)
        batch = next(self._batches).to(self.device, non_blocking=True)
        (views,) = batch.views.values()
        with evaluating(self.encoder), torch.no_grad(), self.autocast():
            seen = self.see(views[0]).float()
        return self.see.apart(seen), batch.label

    def state_dict(self) -> dict[str, Any]:
        return {"loader": self.loader.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.loader.load_state_dict(state["loader"])
