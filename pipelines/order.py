"""Which sample comes when: a pure function of (seed, epoch, position), in memory of the number of shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..augment.philox import words
from .lanes import Lanes, Windows
from .permutation import permute, round_keys

SHUFFLES = ("full", "lanes", "none")
_FIRST = np.zeros(1, np.int64)


class Order:
    """The order of all epochs of a data set; each epoch gives every sample exactly once.

    shard_sizes (S,): samples in each shard, empty ones allowed. shuffle:

    - "full": one permutation of the whole epoch; where any read costs the same.
    - "lanes": shards are permuted, and their sequence is cut into `lanes` stretches of equal size (to one sample), from a
      sample on that is drawn each epoch, so that no sample is always first of its shard to be cut off.
      Position p is the next sample of lane p mod lanes, so a rank that serves every W-th position (W dividing lanes)
      reads the shards of its own lanes only, and those of one rank lie side by side where W is a product of the first
      prime factors of lanes, as any power of two for 256. Inside a lane samples are permuted within windows of about
      `window` mean shard sizes, all of a lane's windows of equal size (to one sample), which no two of a rank's lanes begin
      at one time: see `lanes`.
    - "none": as the data lie.

    Raises ValueError for no samples, an unknown shuffle, or a lane, window or seed out of range.
    """

    def __init__(self, shard_sizes: np.ndarray | Sequence[int], seed: int, *, lanes: int = 256, window: int = 16,
                 shuffle: str = "full") -> None:
        sizes = np.array(shard_sizes, np.int64).reshape(-1)
        if (sizes < 0).any() or sizes.sum() < 1:
            raise ValueError(f"an order needs shards of 0 or more samples and one sample at least, got {len(sizes)} shards "
                             f"with {sizes.sum()} samples")
        if shuffle not in SHUFFLES:
            raise ValueError(f"shuffle needs one of {', '.join(SHUFFLES)}, got {shuffle!r}")
        for name, value in (("lanes", lanes), ("window", window)):
            if value < 1:
                raise ValueError(f"{name} needs a whole number >= 1, got {value}")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed needs 0 <= seed < 2**64, got {seed}")
        self.seed, self.shuffle, self.window = seed, shuffle, window
        self.shard_sizes = sizes
        self._count = int(sizes.sum())
        self.lanes = min(lanes, self._count)
        self._shard_starts = np.cumsum(sizes) - sizes
        self.window_samples = max(1, round(window * self._count / np.count_nonzero(sizes)))
        self.cut = Lanes(self._count, self.lanes, self.window_samples)
        self._kept: tuple[tuple[int, np.ndarray, np.ndarray, int], ...] = ()

    def __len__(self) -> int:
        return self._count

    def index(self, epoch: int, position: np.ndarray) -> np.ndarray:
        """Sample numbers (N,) int64 at positions (N,) of an epoch. Raises ValueError for a position outside it."""
        position = np.asarray(position, np.int64).reshape(-1)
        if len(position) and not 0 <= position.min() <= position.max() < self._count:
            raise ValueError(f"position needs 0 <= position < {self._count}, the samples of an epoch, got "
                             f"{position.min()}..{position.max()}")
        if self.shuffle == "none":
            return position.copy()
        if self.shuffle == "full":
            return permute(position, self._count, round_keys(self.seed, epoch, _FIRST, "full")[0])
        window = self.cut.at(position)
        return self._sample(epoch, window.start + self._slot(epoch, window))

    def stand_ins(self, epoch: int, position: int, count: int) -> np.ndarray:
        """Up to count sample numbers (int64) to try in place of the one at a position: always the same, all different,
        never that one itself. First those of its window, in an order of their own; then, if they are too few, others
        of the data set. Fewer than count only where the data set has no more.
        """
        own = int(self.index(epoch, np.array([position]))[0])
        found = np.zeros(0, np.int64)
        if self.shuffle == "lanes":
            window = self.cut.at(np.array([position]))
            size = int(window.size[0])
            slot = int(self._slot(epoch, window)[0])
            others = self._others(epoch, position, slot, size, min(count, size - 1), "stand-in")
            found = self._sample(epoch, window.start[0] + others)
        if len(found) < count:
            spare = self._others(epoch, position, own, self._count, min(count, self._count - 1), "far stand-in")
            found = np.concatenate([found, spare[~np.isin(spare, found)]])
        return found[:count]

    def _others(self, epoch: int, position: int, own: int, size: int, count: int, name: str) -> np.ndarray:
        """count different numbers of 0..size-1 without `own`."""
        keys = round_keys(self.seed, epoch, np.array([position]), name)[0]
        chosen = permute(np.arange(count, dtype=np.int64), size - 1, keys) if count > 0 else np.zeros(0, np.int64)
        return chosen + (chosen >= own)

    def _slot(self, epoch: int, window: Windows) -> np.ndarray:
        """Which sample of its window each position takes, counted from the window's start. A window is named by its start."""
        starts, which = np.unique(window.start, return_inverse=True)
        return permute(window.step, window.size, round_keys(self.seed, epoch, starts, "window")[which])

    def _sample(self, epoch: int, place: np.ndarray) -> np.ndarray:
        """Sample numbers at places (N,) of the epoch's sequence of permuted shards, which is a ring."""
        shards, ends, first = self._sequence(epoch)
        place = (place + first) % self._count
        at = np.searchsorted(ends, place, side="right")
        shard = shards[at]
        return self._shard_starts[shard] + place - (ends[at] - self.shard_sizes[shard])

    def shards_between(self, epoch: int, start: int, size: int) -> np.ndarray:
        """The shards (n,) int64 that have any of `size` samples from `start` on in the epoch's sequence, each once."""
        shards, ends, first = self._sequence(epoch)
        begin = (start + first) % self._count
        parts = [(begin, min(begin + size, self._count)), (0, begin + size - self._count)]
        found = [shards[np.searchsorted(ends, low, side="right"):np.searchsorted(ends, high, side="left") + 1]
                 for low, high in parts if low < high]
        within = np.concatenate(found) if found else shards[:0]
        within = within[self.shard_sizes[within] > 0]
        return within[:-1] if len(within) > 1 and within[0] == within[-1] else within

    def _sequence(self, epoch: int) -> tuple[np.ndarray, np.ndarray, int]:
        """The epoch's shards in order (S,), where in the sequence each ends (S,), and at which of its samples the first lane
        begins. The latest two epochs' are kept: what is fetched ahead may be the next epoch's."""
        for kept in self._kept:
            if kept[0] == epoch:
                return kept[1:]
        count = len(self.shard_sizes)
        shards = permute(np.arange(count), count, round_keys(self.seed, epoch, _FIRST, "shards")[0])
        low, high = words(self.seed, epoch, _FIRST, "order/start", 2)[0].tolist()
        made = (epoch, shards, np.cumsum(self.shard_sizes[shards]), (high << 32 | low) % self._count)
        self._kept = (made, *self._kept[:1])
        return made[1:]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": ()}  # sixteen bytes a shard, made again in milliseconds
