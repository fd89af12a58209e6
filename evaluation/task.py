"""What a protocol is given: an encoder, labelled pictures to learn from and to be tested on, and where it runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.training.process import World
from .encoder import Encoder
from .features import Features, extract
from .pictures import Pictures

ALONE = World(0, 1, 0, 1, torch.device("cpu"))


@dataclass
class Task:
    """out: the folder of this evaluation. threads: that render pictures. cache: whether features are kept in out."""

    encoder: Encoder
    train: Pictures
    test: Pictures
    out: Path
    world: World = ALONE
    threads: int = 1
    seed: int = 0
    cache: bool = False
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    say: Callable[[str], None] = print
    _known: dict[tuple[str, str], Features] = field(default_factory=dict, repr=False)

    @property
    def device(self) -> torch.device:
        return self.world.device

    def features(self, part: str, *, see: Callable[[Tensor], Tensor] | None = None, kind: str = "features") -> Features:
        """Of "train" or "test" pictures, made once. see, kind: another function of a batch of images, and its name."""
        if (part, kind) not in self._known:
            pictures = {"train": self.train, "test": self.test}[part]
            self.encoder.to(self.device)
            self._known[part, kind] = extract(self.encoder, pictures, self.device, see=see, kind=kind, autocast=self.autocast,
                                              folder=self.out / "features" if self.cache else None)
        return self._known[part, kind]

    def classes(self) -> int:
        """How many classes the training pictures have, counted to the largest label.

        Raises ValueError where there is one class only, or where test pictures show one that training pictures do not.
        """
        known, asked = np.unique(self.train.label), np.unique(self.test.label)
        if len(known) < 2:
            raise ValueError(f"{self.train.name} shows one class only, label {known[0]}; an evaluation needs at least two")
        strange = np.setdiff1d(asked, known)
        if len(strange):
            raise ValueError(f"{self.test.name} has label {strange[0]}, which {self.train.name} has not: {len(asked)} classes "
                             f"there, {len(known)} here; give two parts of one data set")
        return int(known[-1]) + 1

    def correct(self, index: Tensor, right: Tensor) -> np.ndarray:
        """(test pictures,) bool, in the order of test.index: those answered rightly. index, right (N,): of those that could be
        read; one that could not counts as wrong."""
        there = np.zeros(len(self.test), bool)
        there[np.searchsorted(self.test.index, index.cpu().numpy())] = right.cpu().numpy().astype(bool)
        return there
