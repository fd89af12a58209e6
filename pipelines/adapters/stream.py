"""Batches in a receiver's form, with what trainers look for on a loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from ..batch import Batch
    from ..loader import Loader


def views_of(batch: Batch) -> list[Tensor]:
    """All views (B, C, H, W), group by group in the recipe's order; each looks into the batch's memory."""
    return [view for group in batch.views.values() for view in group.unbind(0)]


class Samples:
    """What trainers call a loader's data set: how many samples an epoch has."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader.source)


class EpochSampler:
    """What trainers call a loader's sampler: told of each epoch. The loader knows its epoch by itself; this matters where
    training goes on at a later one, or an epoch was left half-way."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def set_epoch(self, epoch: int) -> None:
        self._batches.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._batches.dataset) // self._batches.loader.world_size


class Batches:
    """One pass of the loader's epochs per loop, every batch in the receiver's form.

    form: a Batch -> what the receiver unpacks. No torch DataLoader, so that no trainer shards, wraps or copies it anew; its
    attributes are those of a DataLoader that trainers read.
    """

    num_workers, timeout, pin_memory, persistent_workers = 0, 0, False, False
    collate_fn = batch_sampler = worker_init_fn = generator = multiprocessing_context = prefetch_factor = None

    def __init__(self, loader: Loader, form: Callable[[Batch], Any]) -> None:
        self.loader, self.form = loader, form
        self.dataset, self.sampler = Samples(loader), EpochSampler(self)

    @property
    def batch_size(self) -> int:
        """Samples of this rank and step."""
        return self.loader.batch_size

    @property
    def drop_last(self) -> bool:
        return self.loader.last == "drop"

    def __len__(self) -> int:
        """Batches of a pass on this rank."""
        self.loader.join_group()
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """From where the stream stands to the end of the pass. An object, not a generator, which would hold on to a batch."""
        self.loader.join_group()
        return map(self.form, iter(self.loader))

    def set_epoch(self, epoch: int) -> None:
        """Begin this pass, counted from 0; within it already, the position stays, which may be one that was restored."""
        self.loader.join_group()
        passes = self.loader.epochs or 1
        if self.loader.epoch // passes != epoch:
            self.loader.seek(epoch * passes)

    def state_dict(self) -> dict[str, Any]:
        return self.loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loader.join_group()
        self.loader.load_state_dict(state)

    def close(self) -> None:
        """End the sidecar or the threads; see `Loader.close`."""
        self.loader.close()

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
