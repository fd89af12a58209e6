"""Hugging Face's Trainer: dictionaries of the arguments of a model's forward, and a position that its checkpoints go on from."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset

from .stream import Batches, views_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..batch import Batch
    from ..loader import Loader


class TrainerBatches(Batches):
    """Is no torch DataLoader, so that accelerate neither hands it out from rank 0 nor shards it a second time: each rank's
    loader serves that rank alone."""

    batch_size: int | None = None  # type: ignore[assignment]
    drop_last = False
    """Of what accelerate makes of it where training goes on: its items are whole batches."""

    def __init__(self, loader: Loader, form: Any) -> None:
        super().__init__(loader, form)
        self.dataset: Any = _Resumed(self)
        self.skipped = 0
        """Batches before the position that training goes on from, within its epoch."""

    def into(self, trainer: Any) -> Any:
        """Make this what a transformers.Trainer trains on; the trainer, again. A run that goes on from a checkpoint begins with
        the batch after the last one trained on, found by arithmetic, not by going through those before."""
        trainer.get_train_dataloader = lambda: self
        trainer.add_callback(_position(self))
        return trainer


class _Resumed(IterableDataset):
    """What the Trainer goes on with within an epoch: it makes a DataLoader of this, and throws the first batches away, in whose
    place it gets nothing that costs any time."""

    def __init__(self, batches: TrainerBatches) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches.loader.source)

    def __iter__(self) -> Iterator[Any]:
        return chain(repeat(0, self._batches.skipped), iter(self._batches))


def _position(batches: TrainerBatches) -> Any:
    from transformers import TrainerCallback

    class Position(TrainerCallback):
        """Goes to where a checkpoint was written, before the first batch."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            parts = args.gradient_accumulation_steps
            epoch, updates = divmod(state.global_step, -(-len(batches) // parts))
            batches.skipped = updates * parts
            batches.loader.seek(epoch, batches.skipped)

    return Position()


def adapted(loader: Loader) -> TrainerBatches:
    """Raises ValueError for a loader of several epochs a pass: the Trainer counts them itself."""
    if loader.epochs != 1:
        raise ValueError(f"adapt(to='transformers'): the Trainer counts epochs itself, so the loader needs epochs=1, got "
                         f"{loader.epochs}")
    masked = _masked_groups(loader)

    def form(batch: Batch) -> dict[str, Tensor | list[Tensor]]:
        """pixel_values: (B, C, H, W), or a list of them where the recipe has several views; labels (B,) where the data have
        some; bool_masked_pos (B, patches), a list of them with several views, where the recipe draws masks."""
        views = views_of(batch)
        found: dict[str, Tensor | list[Tensor]] = {"pixel_values": views[0] if len(views) == 1 else views}
        if masked:
            masks = [mask.flatten(1).to(views[0].device) for group in masked for mask in batch.masks(group)]
            found["bool_masked_pos"] = masks[0] if len(masks) == 1 else masks
        if loader.source.labelled:
            found["labels"] = batch.label
        return found

    return TrainerBatches(loader, form)


def _masked_groups(loader: Loader) -> list[str]:
    """Groups whose views have a mask. One drawn by a teacher's attention is no mask before a method has that."""
    from ...augment.masks import Attention

    kinds = {group: [op for each in loader.recipe.instances if each.group == group for op in each.ops if op.type == "masks"]
             for group in loader.recipe.groups}
    return [group for group, ops in kinds.items() if ops and not any(isinstance(op, Attention) for op in ops)]
