"""Our batches in the shape that other people's trainers unpack.

One file a receiver, each with `adapted(loader, **options)`. Most need no foreign package; those that do import it on use.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ...augment.op import nearest
from ..loader import Loader
from .stream import Batches

__all__ = ["RECEIVERS", "Batches", "Receiver", "adapt"]


@dataclass(frozen=True)
class Receiver:
    """file: the module here that serves it; gets: what its loop unpacks."""

    file: str
    gets: str


RECEIVERS = {
    "torch": Receiver("torch", "(list of views, target)"),
    "crops": Receiver("crops", "(list of crops, target), or with targets=False the list alone: DINO's, MoCo's, SwAV's scripts"),
    "lightly": Receiver("lightly", "(list of views, targets, names)"),
    "solo-learn": Receiver("solo_learn", "(index, list of views, targets)"),
    "timm": Receiver("timm", "(input, target)"),
    "lightning": Receiver("lightning", "a LightningDataModule; batch= names the form of its batches"),
    "transformers": Receiver("transformers", "{'pixel_values': ..., 'labels': ...}, by .into(trainer)"),
}
"""By what `adapt` calls them."""


def adapt(loader: Loader, to: str, **options: Any) -> Any:
    """The loader as another trainer wants it: `Batches` to loop over, or for "lightning" a DataModule around them.

    to: torch, crops, lightly, solo-learn, timm, lightning or transformers. Views are views of the loader's memory, in the
    recipe's order, groups in the order of their first mention: nothing is copied. What every receiver finds on the result:
    `len` (batches of a pass), `sampler.set_epoch`, `dataset` (its length), `state_dict` and `load_state_dict`. A loader made
    before its trainer starts torch.distributed takes its rank from there at the first batch, unless it was given one; no
    sampler and no sharding of the receiver's is needed on top.

    options: crops: targets=False; lightning: batch="torch" (a receiver's name), validation=another loader.
    Raises ValueError, in one line, for a receiver that is not there and for a loader that the receiver cannot take.
    """
    if to not in RECEIVERS:
        raise ValueError(f"adapt: there is no receiver {to!r}; {nearest(str(to), list(RECEIVERS))}")
    if not isinstance(loader, Loader):
        raise ValueError(f"adapt: needs a viewmill.Loader, got {type(loader).__name__}")
    if loader.epochs is None:
        raise ValueError("adapt: trainers ask for an epoch's length, which a loader with epochs=None has not: give epochs=1")
    if loader.handover.types:
        raise ValueError(f"adapt: this loader leaves {', '.join(loader.handover.types)} to the method, which another trainer "
                         "cannot finish: make it without left=")
    served = import_module(f".{RECEIVERS[to].file}", __name__).adapted
    known = [name for name in inspect.signature(served).parameters if name != "loader"]
    for name in options:
        if name not in known:
            has = nearest(name, known) if known else "it has none"
            raise ValueError(f"adapt(to={to!r}) has no option {name!r}; {has}")
    return served(loader, **options)
