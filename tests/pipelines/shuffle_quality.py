"""How well orders mix data that lie sorted by class, beside a full shuffle and webdataset's buffer. See `order_report`.

webdataset's own stages do its part: shards shuffled by `wds.shuffle`, dealt to workers as split_by_worker deals them, and a
`wds.shuffle` buffer in each worker, which makes batches of its own samples; workers take turns, as a DataLoader has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from viewmill.pipelines.order import Order

BATCH = 256


@dataclass(frozen=True)
class Sorted:
    """`classes` classes of `each` samples, one after the other, cut into shards of equal size."""

    classes: int
    each: int
    shards: int

    @property
    def samples(self) -> int:
        return self.classes * self.each

    @property
    def shard_samples(self) -> int:
        return self.samples // self.shards


@dataclass(frozen=True)
class Quality:
    """Of one epoch in batches of BATCH. classes: distinct ones in a batch, mean and lowest hundredth; shard_pairs, class_pairs:
    pairs in a batch of one shard, of one class, over what chance gives; chi_square: of a batch's counts in ten equal groups of
    classes, divided by its degrees of freedom (9), mean: 1 by chance; missing, twice: samples of the epoch."""

    classes: float
    classes_low: float
    shard_pairs: float
    class_pairs: float
    chi_square: float
    missing: int
    twice: int

    @classmethod
    def of(cls, data: Sorted, stream: np.ndarray) -> Quality:
        """stream (n,): the epoch's samples in order; a last part batch enters only missing and twice."""
        batches = stream[:len(stream) // BATCH * BATCH].reshape(-1, BATCH)
        label, shard = batches // data.each, batches // data.shard_samples
        distinct = 1 + (np.diff(np.sort(label, 1), axis=1) != 0).sum(1)
        group = np.stack([(label * 10 // data.classes == each).sum(1) for each in range(10)], 1)
        chi = ((group - BATCH / 10) ** 2 / (BATCH / 10)).sum(1) / 9
        seen = np.bincount(stream, minlength=data.samples)
        return cls(float(distinct.mean()), float(np.percentile(distinct, 1)), _pairs(shard, data.shard_samples, data.samples),
                   _pairs(label, data.each, data.samples), float(chi.mean()), int((seen == 0).sum()), int((seen > 1).sum()))


def expected_classes(data: Sorted) -> float:
    """Distinct classes of BATCH samples drawn without replacement."""
    absent = np.prod([(data.samples - data.each - i) / (data.samples - i) for i in range(BATCH)])
    return float(data.classes * (1 - absent))


def _pairs(kind: np.ndarray, each: int, samples: int) -> float:
    """kind (B, BATCH): how often two of a batch are of one kind, over the same for two samples drawn without replacement."""
    ordered = np.sort(kind, 1)
    same = 0
    for apart in range(1, BATCH):
        equal = int((ordered[:, apart:] == ordered[:, :-apart]).sum())
        same += equal
        if not equal:  # sorted: none further apart either
            break
    return same / (kind.shape[0] * BATCH * (BATCH - 1) / 2) / ((each - 1) / (samples - 1))


def between_epochs(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Of samples that both epochs (n,) have: the correlation of their positions, and how often two samples side by side in one
    lie less than BATCH positions apart in the other, over what chance gives."""
    count = int(max(one.max(), other.max())) + 1
    place = np.full(count, -1)
    place[other] = np.arange(len(other))
    there = place[one]
    here, there = np.flatnonzero(there >= 0), there[there >= 0]
    near = (np.abs(np.diff(there)) < BATCH).mean()
    return float(np.corrcoef(here, there)[0, 1]), float(near / (2 * (BATCH - 1) / len(other)))


def ours(data: Sorted, shuffle: str, seed: int, epoch: int) -> np.ndarray:
    order = Order(np.full(data.shards, data.shard_samples), seed, shuffle=shuffle)
    return order.index(epoch, np.arange(len(order)))


def webdataset(data: Sorted, buffer: int, workers: int, seed: int, epoch: int) -> np.ndarray:
    """One epoch of WebDataset(shards, shardshuffle=all of them).shuffle(buffer).batched(BATCH) in a DataLoader with workers. Its
    workersplitter comes before its shard shuffle."""
    import webdataset as wds

    def samples(shards: list[int], number: int) -> Iterator[int]:
        mixed = wds.shuffle(data.shards, seed=hash((seed, epoch, number, 0)))(iter(shards))
        one_by_one = (i for shard in mixed for i in range(shard * data.shard_samples, (shard + 1) * data.shard_samples))
        yield from wds.shuffle(buffer, seed=hash((seed, epoch, number, 1)))(one_by_one)

    streams = [samples(list(range(data.shards))[number::workers], number) for number in range(workers)]
    batches = []
    while streams:
        for stream in list(streams):
            batch = list(islice(stream, BATCH))
            batches += batch
            if len(batch) < BATCH:
                streams.remove(stream)
    return np.array(batches)
