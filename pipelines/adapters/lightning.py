"""Lightning: a DataModule of our batches. Its checkpoints hold the loader's state: `ckpt_path=` goes on within an epoch."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ..loader import Loader
from . import RECEIVERS, adapt

LIBRARIES = ("lightning.pytorch", "pytorch_lightning")
"""Two packages of the same classes, which are not each other's."""


def library() -> Any:
    """The one in use; of those installed, where none is in use yet. Raises ValueError."""
    for name in LIBRARIES:
        if name in sys.modules:
            return sys.modules[name]
    for name in LIBRARIES:
        if find_spec(name.partition(".")[0]) is not None:
            return import_module(name)
    raise ValueError("adapt(to='lightning'): neither lightning nor pytorch_lightning is installed: pip install 'viewmill[peers]'")


def adapted(loader: Loader, batch: str = "torch", validation: Loader | None = None) -> Any:
    """A LightningDataModule. batch: the receiver whose form its batches have. validation: a loader for `val_dataloader`.
    Raises ValueError for a form that is none."""
    forms = [name for name in RECEIVERS if name != "lightning"]
    if batch not in forms:
        raise ValueError(f"adapt(to='lightning'): batch needs one of {', '.join(forms)}, got {batch!r}")
    batches = adapt(loader, batch)
    beside = None if validation is None else adapt(validation, batch)
    base = library().LightningDataModule
    own: dict[str, Any] = {
        "__doc__": "Views of viewmill; `batches`: those of training.", "batches": batches,
        "train_dataloader": lambda self: batches,
        "teardown": lambda self, stage=None: [each.close() for each in (batches, beside) if each is not None],
    }
    if beside is not None:
        own["val_dataloader"] = lambda self: beside
    return type("ViewmillDataModule", (base,), own)()
