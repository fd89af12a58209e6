"""The random numbers of one op, in the scope that the op declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .philox import fractions, stream_word


class Seat(NamedTuple):
    """Which view draws. group, ordinal: its name, as in "global/1"; copy: which copy of its view it is; siblings: how many
    views its group has; world: "" or a name that sets all streams apart (the partner image, a repeat)."""

    group: str = ""
    ordinal: int = 0
    copy: int = 0
    siblings: int = 1
    world: str = ""

    def stream(self, name: str, share: str | None, scope: str, part: str) -> str:
        """The name of an op's stream. All names, no positions in the recipe: removing an op moves no other's."""
        suffix = f"{name}:{part}" if part else name
        if scope == "sample":
            return f"{self.world}{self.group}/{self.ordinal}/{suffix}"
        if scope == "image":
            return f"{self.world}share:{share}:{part}" if share else f"{self.world}{self.group}/{suffix}"
        view = f"{self.group}/{self.ordinal}/" if scope == "batch-view" else ""
        return f"{self.world}block:{view}{suffix}"


@dataclass(frozen=True)
class Chance:
    """Hands out uniform numbers for R rows: N samples of each of the views in `seats`, which draw together, view by view. A
    row's numbers do not depend on the other rows.

    index (N,) int64: the samples' numbers in the data set; position (N,) int64 or None: their global positions in the
    epoch, which the scopes "batch-view" and "batch" cut into aligned blocks of `block` positions.
    stream: the op's name; share: a name for its draws of scope "image", which ops of several groups then have in common.
    chosen: number of the view and of the sample, each (R,), of some rows in any order; None: all.
    """

    seed: int
    epoch: int
    index: np.ndarray
    position: np.ndarray | None = None
    block: int = 256
    seats: tuple[Seat, ...] = (Seat(),)
    stream: str = ""
    share: str | None = None
    chosen: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.index) * len(self.seats) if self.chosen is None else len(self.chosen[0])

    @property
    def group(self) -> str:
        """Of the views; of the first, where they are of several."""
        return self.seats[0].group

    @property
    def siblings(self) -> int:
        """How many views the group has."""
        return self.seats[0].siblings

    @property
    def ordinal(self) -> np.ndarray:
        """(R,) int64, of each row's view."""
        return self._of_views([seat.ordinal for seat in self.seats])

    @property
    def copy(self) -> np.ndarray:
        """(R,) int64, of each row's view."""
        return self._of_views([seat.copy for seat in self.seats])

    def of(self, stream: str, share: str | None = None) -> Chance:
        """The same samples and views, another op's stream."""
        return replace(self, stream=stream, share=share)

    def rows(self, rows: np.ndarray) -> Chance:
        """Some of the rows: an index or mask of (R,)."""
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        if self.chosen is None:
            return replace(self, chosen=np.divmod(rows, len(self.index)) if len(rows) else (rows, rows))
        return replace(self, chosen=(self.chosen[0][rows], self.chosen[1][rows]))

    def uniforms(self, count: int, *, scope: str = "sample", part: str = "", call: int | np.ndarray = 0) -> np.ndarray:
        """(R, count) float64 in [0, 1). part: a second stream of the same op, in which "{copy}" stands for that of the view;
        call: the retry slot, four numbers each, or (R,) of them, one a row."""
        first, calls = (0, int(call.max(initial=-1)) + 1) if isinstance(call, np.ndarray) else (call, -(-count // 4))
        words, which = _words(self.seats, self.stream, self.share, scope, part, first, calls)
        index, number = (self.index, None) if scope in ("sample", "image") else self._numbered_blocks(part)
        if self.chosen is None:
            numbers = fractions(self.seed, self.epoch, index, words[:, :, None], count)  # (count, streams, samples or blocks)
            numbers = numbers if which is None else numbers[:, which]
            numbers = numbers if number is None else numbers[:, :, number]
            return numbers.reshape(count, len(self)).T
        view, sample = self.chosen
        stream = view if which is None else which[view]
        of_row = words[call, stream][None] if isinstance(call, np.ndarray) else words[:, stream]
        return fractions(self.seed, self.epoch, index[sample if number is None else number[sample]], of_row, count).T

    def blocks(self, part: str = "") -> np.ndarray:
        """(R,) int64: the number of each row's aligned block of positions; part: what shares it, for the error."""
        return self._of_samples(self._blocks(part))

    def offsets(self) -> np.ndarray:
        """(R,) int64: each row's place within its block, from 0 on."""
        blocks = self._blocks("")
        assert self.position is not None
        return self._of_samples(self.position - blocks * self.block)

    def alike(self, scope: str) -> tuple[np.ndarray, np.ndarray]:
        """One row of each lot that draws the same numbers in a scope of blocks, and (R,) which lot each row is of; in the other
        scopes each row is its own."""
        if scope not in ("batch", "batch-view"):
            return np.arange(len(self)), np.arange(len(self))
        _, stream = _words(self.seats, self.stream, self.share, scope, "", 0, 1)
        blocks, number = self._numbered_blocks("")
        lot = self._of_views(range(len(self.seats)) if stream is None else stream) * len(blocks) + self._of_samples(number)
        _, first, which = np.unique(lot, return_index=True, return_inverse=True)
        return first, which

    def _numbered_blocks(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """The blocks that there are, and which of them each sample is in (N,)."""
        return np.unique(self._blocks(part), return_inverse=True)

    def _blocks(self, part: str) -> np.ndarray:
        if self.position is None:
            where = (f"{self.group}/" if self.group else "") + self.stream + (f":{part}" if part else "")
            raise ValueError(f"{where} is shared by blocks of {self.block} positions: "
                             "draw needs position (N,), each sample's place in the epoch")
        return self.position // self.block

    def _of_views(self, values: Sequence[int] | np.ndarray) -> np.ndarray:
        values = np.asarray(values, np.int64)
        return np.repeat(values, len(self.index)) if self.chosen is None else values[self.chosen[0]]

    def _of_samples(self, values: np.ndarray) -> np.ndarray:
        return np.tile(values, len(self.seats)) if self.chosen is None else values[self.chosen[1]]


@lru_cache(maxsize=8192)
def _words(seats: tuple[Seat, ...], name: str, share: str | None, scope: str, part: str, first: int, calls: int,
           ) -> tuple[np.ndarray, np.ndarray | None]:
    """(calls, streams) uint32: the counter words of the different streams of some views, from the first call on; and which
    stream each view draws from, None where each has its own."""
    streams = [seat.stream(name, share, scope, part.replace("{copy}", str(seat.copy))) for seat in seats]
    different = list(dict.fromkeys(streams))
    words = np.array([[stream_word(stream, call) for stream in different] for call in range(first, first + calls)], np.uint32)
    which = None if len(different) == len(streams) else np.array([different.index(stream) for stream in streams])
    return words.reshape(calls, len(different)), which
