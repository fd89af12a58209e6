"""The random numbers of one op, in the scope that the op declares."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .philox import uniforms


@dataclass(frozen=True)
class Chance:
    """Hands out uniform numbers for N samples. All names, no positions in the recipe: removing an op moves no other's.

    index (N,) int64: the samples' numbers in the data set; position (N,) int64 or None: their global positions in the
    epoch, which the scopes "batch-view" and "batch" cut into aligned blocks of `block` positions.
    group, ordinal: the view, as in "global/1"; copy: which copy of its view it is; siblings: how many views its group has;
    stream: the op's name. world: "" or a name that sets all streams apart (the partner image, a repeat).
    """

    seed: int
    epoch: int
    index: np.ndarray
    position: np.ndarray | None = None
    block: int = 256
    group: str = ""
    ordinal: int = 0
    copy: int = 0
    siblings: int = 1
    world: str = ""
    stream: str = ""
    share: str | None = field(default=None)

    def __len__(self) -> int:
        return len(self.index)

    def of(self, stream: str, share: str | None = None) -> Chance:
        """The same samples and view, another op's stream."""
        return replace(self, stream=stream, share=share)

    def rows(self, rows: np.ndarray) -> Chance:
        """Some of the samples: rows is an index or mask of (N,)."""
        position = None if self.position is None else self.position[rows]
        return replace(self, index=self.index[rows], position=position)

    def uniforms(self, count: int, *, scope: str = "sample", part: str = "", call: int = 0) -> np.ndarray:
        """(N, count) float64 in [0, 1). part: a second stream of the same op; call: the retry slot, four numbers each."""
        suffix = f"{self.stream}:{part}" if part else self.stream
        if scope == "sample":
            stream = f"{self.world}{self.group}/{self.ordinal}/{suffix}"
            return uniforms(self.seed, self.epoch, self.index, stream, count, call)
        if scope == "image":
            shared = f"share:{self.share}:{part}" if self.share else f"{self.group}/{suffix}"
            return uniforms(self.seed, self.epoch, self.index, f"{self.world}{shared}", count, call)
        view = f"{self.group}/{self.ordinal}/" if scope == "batch-view" else ""
        blocks, which = np.unique(self.blocks(suffix), return_inverse=True)
        return uniforms(self.seed, self.epoch, blocks, f"{self.world}block:{view}{suffix}", count, call)[which]

    def blocks(self, what: str) -> np.ndarray:
        """(N,) int64: the number of each sample's aligned block of positions."""
        if self.position is None:
            where = f"{self.group}/{what}" if self.group else what
            raise ValueError(f"{where} is shared by blocks of {self.block} positions: "
                             "draw needs position (N,), each sample's place in the epoch")
        return self.position // self.block
