"""A ring of batches in memory: filled by a producer, seen by the trainer as tensors without a copy.

A slot holds one batch. It goes back to the producer when the last tensor that looks into it dies, so nothing that the
trainer keeps is ever overwritten; where the trainer keeps everything, the ring grows.
"""

from __future__ import annotations

import itertools
import mmap
import os
import weakref
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..augment.recipe import GroupShape
from .memory import available_bytes, shared_memory

if TYPE_CHECKING:
    from torch import Tensor

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector register."""


@dataclass(frozen=True)
class Layout:
    """Where each group of a batch of `rows` samples lies in a slot. dtype: as the engines name them; channels_last: each pixel's
    channels lie side by side."""

    groups: tuple[tuple[str, GroupShape], ...]
    rows: int
    dtype: str = "float32"
    channels_last: bool = False

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Byte offset of each group, then the slot's size."""
        ends = [0]
        for _, shape in self.groups:
            size = shape.count * self.rows * shape.channels * shape.height * shape.width * self.numpy_dtype.itemsize
            ends.append(-(-(ends[-1] + size) // ALIGNMENT) * ALIGNMENT)
        return tuple(ends)

    @property
    def slot_bytes(self) -> int:
        return self.offsets[-1]

    @property
    def numpy_dtype(self) -> np.dtype:
        """Half types are uint16 bits here: NumPy has no bfloat16."""
        return np.dtype({"float32": np.float32, "uint8": np.uint8}.get(self.dtype, np.uint16))

    def arrays(self, memory: mmap.mmap, rows: int | None = None) -> dict[str, np.ndarray]:
        """{group: (V, rows, C, H, W)}, or (V, rows, H, W, C), over a slot's memory; fewer rows than the slot has for a short
        batch."""
        rows = self.rows if rows is None else rows
        found = {}
        for (name, shape), offset in zip(self.groups, self.offsets, strict=False):
            one = (shape.height, shape.width)
            full = (shape.count, rows, *((*one, shape.channels) if self.channels_last else (shape.channels, *one)))
            found[name] = np.frombuffer(memory, self.numpy_dtype, int(np.prod(full)), offset).reshape(full)
        return found


class Borrower(Protocol):
    """Who fills the slots: told of each new one, of each that is free again, and of each that is gone."""

    def add(self, number: int, memory: mmap.mmap, fd: int | None) -> None:
        """A new, free slot. fd: of its shared memory, only open during this call; None where memory is this process's."""

    def give(self, number: int) -> None:
        """The slot is free again. Called from any thread, also in the middle of garbage collection: must take no lock."""

    def drop(self, number: int) -> None:
        """The slot will not be given again. As `give`."""


class Ring:
    """The trainer's side: owns the slots, lends them as tensors, hands free ones to the borrower.

    prefetch: batches made ahead; one more is in the trainer's hands. shared: for another process.
    Raises ValueError where that does not fit into the memory that is left.
    """

    def __init__(self, layout: Layout, prefetch: int, borrower: Borrower, *, shared: bool) -> None:
        self.layout, self.prefetch, self.borrower, self.shared = layout, prefetch, borrower, shared
        self._memory: dict[int, mmap.mmap] = {}
        self._held: set[int] = set()
        self._numbers = itertools.count()
        self._pid = os.getpid()
        need, left = layout.slot_bytes * (prefetch + 1), available_bytes()
        if need > left:
            raise ValueError(f"{prefetch + 1} batches of {layout.rows} samples need {_size(need)} of memory, more than the "
                             f"{_size(left)} available: use a smaller batch_size, prefetch or view size")
        for _ in range(prefetch + 1):
            self._grow()

    def __len__(self) -> int:
        """Slots in all, held or not."""
        return len(self._memory)

    @property
    def held(self) -> int:
        """Slots that tensors of the trainer still look into."""
        return len(self._held)

    def make_room(self) -> None:
        """Before waiting for a batch: a slot more where the trainer keeps them all. Not when the last one is lent: a loop lets go
        of a batch only once it has the next, which must not cost a slot. Raises RuntimeError where memory is full."""
        if len(self._held) < len(self._memory):
            return
        try:
            if self.layout.slot_bytes > available_bytes():
                raise OSError("memory is full")
            self._grow()
        except OSError as error:  # or there are too many open files: each slot is one
            raise RuntimeError(
                f"the trainer holds {len(self._held)} batches of {_size(self.layout.slot_bytes)} and there is no room for "
                f"another ({error}): let go of tensors of earlier batches, or clone the part you keep") from None

    def lend(self, number: int, rows: int) -> dict[str, Tensor]:
        """The first rows samples of a filled slot as tensors (V, rows, C, H, W), whatever lies side by side in it, which own it
        from now on."""
        from .engines import as_tensor

        self._held.add(number)
        # Torch has no uint16 of NumPy's. The view must be made here: a tensor holds the very array that it is made of, and a
        # view made later would hold the memory but not this array, whose death is the sign that the slot is free.
        kind = self.layout.numpy_dtype
        kind = np.dtype(np.int16) if kind == np.uint16 else kind
        arrays = {name: array.view(kind) for name, array in self.layout.arrays(self._memory[number], rows).items()}
        died, count = itertools.count(1), len(arrays)
        for array in arrays.values():
            weakref.finalize(array, self._array_died, number, died, count).atexit = False
        return {group: as_tensor(array, self.layout.dtype, self.layout.channels_last) for group, array in arrays.items()}

    def memory(self, number: int) -> mmap.mmap:
        """Of a slot that is lent."""
        return self._memory[number]

    def close(self) -> None:
        """Forget the slots. Tensors already lent stay valid: they own their memory."""
        self._pid = -1
        self._memory.clear()

    def _grow(self) -> None:
        number = next(self._numbers)
        if self.shared:
            fd = shared_memory(self.layout.slot_bytes, "viewmill-batch")
            try:
                self._memory[number] = memory = mmap.mmap(fd, self.layout.slot_bytes)
                self.borrower.add(number, memory, fd)
            finally:
                os.close(fd)
        else:
            # Private, so that a fork of the trainer keeps the batches that it holds as they are.
            self._memory[number] = memory = mmap.mmap(-1, self.layout.slot_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self.borrower.add(number, memory, None)

    def _array_died(self, number: int, died: itertools.count[int], count: int) -> None:
        """Runs in whatever thread dropped the last reference; next() of a counter is atomic, so one call sees the last."""
        if next(died) < count or os.getpid() != self._pid:  # closed, or a fork's copy of tensors that are not its own
            return
        self._held.discard(number)
        if len(self._memory) - len(self._held) > self.prefetch + 1:
            del self._memory[number]
            self.borrower.drop(number)
        else:
            self.borrower.give(number)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**28 else f"{count / 2**20:.1f} MiB"
