"""Loader: source, order, recipe and engine as one stream of batches, with a position that can be saved and restored."""

from __future__ import annotations

import logging
import os
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..augment import presets
from ..augment.draw import DRAW_VERSION, draw
from ..augment.handover import Handover
from ..augment.op import nearest
from ..augment.recipe import Recipe
from . import placement
from .account import Account
from .batch import Batch
from .engines import check_names, engine
from .feed import Feed, NotPicklable, SidecarFeed, ThreadFeed, pickled
from .order import Order
from .plan import Job
from .ring import Layout
from .source import RemoteSource, Source, open_source
from .state import StreamState, ends_epoch

if TYPE_CHECKING:
    from .engines.dali import DaliOptions
    from .remote.options import Remote

LOG = logging.getLogger("viewmill")
LAST = ("drop", "short", "pad")
SHUFFLE = ("auto", "full", "lanes", "none")
LARGE_BATCH_BYTES = 1 << 28


class Loader:
    """Batches of views, endlessly reproducible.

    source: tar shards (a path, brace pattern, glob, or a list of them; or addresses of packed ones), a folder, (images, labels)
    arrays, or a Source.
    recipe: a preset's name or a Recipe. batch_size: samples per rank and step. seed: of order and draws. epochs: how many
    one pass of a `for` loop covers; None: it never ends. rank, world_size: default torch.distributed's.

    threads: that decode and render; default all cores this process may use, split among torchrun's local ranks. When the
    network trains on the same cores, give each its part: threads=k here, torch.set_num_threads(cores - k) there. One
    thread in a DataLoader worker. engine: "cpu", "torch", "dali", or "auto": dali where there is a GPU, DALI is installed and
    it can do the recipe, else cpu. device: where batches go; default: where the engine makes them, which is the CPU, or the
    current GPU for dali. dtype: of the views; "uint8": levels before the recipe's last normalization, which `normalize` does
    later, wherever they are: a quarter of the memory and of the traffic. channels_last: each `batch.views[group][v]` has torch's
    memory format of that name. dali: that engine's options.

    last: what becomes of the samples that do not fill a last batch of all ranks: "drop" leaves them out of the epoch,
    "short" makes the last batch smaller, "pad" fills it with the epoch's first samples, marked in batch.padding. A short
    step may leave a rank without a sample: it then yields one batch less, so distributed training wants "drop" or "pad".
    shuffle: "full", one permutation of the epoch; "lanes", for shards that are fetched whole (`lanes`, `window`: see
    `order`); "none"; "auto" takes "full" for local data. prefetch: batches made ahead; default 2, or 1 where
    a batch takes more than 256 MiB, since each is memory, and one more is in the trainer's hands. read_ahead_bytes: how many
    bytes of encoded samples are read before they are needed, 0 for none: of local files the system is told what to have ready,
    other sources are read by 16 threads, and their bytes kept.
    sidecar: render in a process of its own, which a busy trainer cannot slow down; otherwise in threads of this one.
    max_bad: the fraction of samples that stand-ins may replace before the run stops: at an epoch's end, or as soon as chance
    no longer explains that there are more, see `judge`. verify: images of packed shards are compared with their checksums,
    and those that differ replaced. quarantine: a file to which each sample that could not be
    used is appended, one JSON line, see `quarantine`; ranks may share it. remote: how shards behind addresses are had.
    left: types of ops that are left to the method, such as "inpaint", which needs its network, or "masks": views come as they are
    before the first of them, from 0 to 1, and `Batch.finished` makes the rest.

    One loader is one stream: a loop left by `break` goes on, in the next loop, with the batch after the last one handed
    out. Raises ValueError, in one line, for what cannot work.
    """

    def __init__(self, source: Any, recipe: str | Recipe, batch_size: int, *, seed: int = 0, epochs: int | None = 1,
                 rank: int | None = None, world_size: int | None = None, threads: int | None = None, engine: str = "auto",
                 device: torch.device | str | None = None, dtype: str | torch.dtype = "float32", last: str = "drop",
                 shuffle: str = "auto", lanes: int = 256, window: int = 16, prefetch: int | None = None, sidecar: bool = True,
                 max_bad: float = 0.01, read_ahead_bytes: int = 1 << 26, channels_last: bool = False,
                 dali: DaliOptions | None = None, verify: bool = True, quarantine: str | Path | None = None,
                 remote: Remote | None = None, left: Sequence[str] = ()) -> None:
        self._feed: Feed | None = None
        self._faults = 0
        self._closer: weakref.finalize | None = None
        self.recipe = presets.recipe(recipe) if isinstance(recipe, str) else recipe
        if not isinstance(self.recipe, Recipe):
            raise ValueError(f"recipe needs a preset's name or a Recipe, got {type(recipe).__name__}")
        self.handover = Handover(self.recipe, tuple(left))
        self._joins = rank is None and world_size is None
        if self._joins:
            rank, world_size = placement.rank_and_world_size()
        self.rank, self.world_size = 0 if rank is None else rank, 1 if world_size is None else world_size
        self.batch_size, self.seed, self.epochs = batch_size, seed, epochs
        self.threads, self.sidecar, self.max_bad, self.read_ahead_bytes = threads, sidecar, max_bad, read_ahead_bytes
        self.engine, self.dtype, self.last = engine, str(dtype).removeprefix("torch."), last
        self.device, self.dali = None if device is None else _device(device), dali
        self.channels_last = channels_last
        self._account = Account(quarantine)
        self._check(shuffle, prefetch)
        self.prefetch = self._batches_ahead() if prefetch is None else prefetch
        self.source: Source = open_source(source, verify, remote)
        if shuffle == "auto":
            shuffle = "full" if self.source.local else "lanes"
        self._order = Order(self.source.shard_sizes, seed, lanes=lanes, window=window, shuffle=shuffle)
        self._state = self._first_state(shuffle, lanes, window)
        self.cache_bytes = self._least_cache()
        """Bytes that the cache of remote shards needs for this order, of all ranks of this host; 0 for other data."""

    def __iter__(self) -> Iterator[Batch]:
        """From the state to the end of the current pass over `epochs` epochs."""
        return Pass(self, None if self.epochs is None else (self._state.epoch // self.epochs + 1) * self.epochs)

    def __len__(self) -> int:
        """Batches of one whole pass on this rank."""
        if self.epochs is None:
            raise TypeError("a loader with epochs=None has no length: it never ends")
        full, rest = divmod(self._state.length, self.batch_size * self.world_size)
        return self.epochs * (full + (rest > (self.rank if self.last == "short" else 0)))

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands after the last batch that was handed out: JSON, the same on every rank, under 1 KB."""
        return self._state.to_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the state was saved, also with other ranks, batch size, threads or engine.

        The state's epoch length stays: where it does not fit the new global batch, each epoch ends with a short step. Of
        last="drop", a rank that the short step has no sample for is given one of the epoch's first, marked in batch.padding:
        all ranks take as many steps. Raises ValueError for the state of another stream (data, seed, order, recipe, version of
        the draws).
        """
        restored = StreamState.from_dict(state)
        restored.check(self._state)
        if restored.length <= self.rank and self.last == "short":
            raise ValueError(f"an epoch of this state has {restored.length} samples, none for rank {self.rank}: use fewer ranks")
        self.close()
        self._state = restored

    @property
    def epoch(self) -> int:
        """Of the batch that comes next, or that has just ended."""
        return self._state.epoch

    def seek(self, epoch: int, step: int = 0) -> None:
        """Go to the batch `step` of an epoch, both counted from 0, by arithmetic. Raises ValueError for one that is not there."""
        delivered = step * self.batch_size * self.world_size
        if epoch < 0 or step < 0 or delivered > self._state.length:
            raise ValueError(f"seek needs an epoch >= 0 and a step within its {self._state.length} samples, got epoch {epoch}, "
                             f"step {step} of {self.batch_size} x {self.world_size} samples")
        there = replace(self._state, epoch=epoch, delivered=delivered)
        if there != self._state:
            self.close()
            self._state = there

    def join_group(self) -> None:
        """Take the rank and world size that torch.distributed has by now, unless they were given: for a loader that was made
        before its trainer started the group. Once the stream has begun, or was restored, its epochs keep their length."""
        place = placement.rank_and_world_size()
        if not self._joins or place == (self.rank, self.world_size):
            return
        order = self._state.shuffle, self._state.lanes, self._state.window
        fresh = self._state == self._first_state(*order)
        self.close()
        self.rank, self.world_size = place
        if fresh:
            self._state = self._first_state(*order)
        self.cache_bytes = self._least_cache()

    def next_batch(self, end_epoch: int | None = None) -> Batch | None:
        """The batch at the state, which moves on; None where epoch end_epoch begins."""
        state = self._state
        if ends_epoch(state.delivered, state.length, self.rank, self.last):  # a short step, for other ranks only
            self._state = state = replace(state, epoch=state.epoch + 1, delivered=0)
        if end_epoch is not None and state.epoch >= end_epoch:
            return None
        began = time.perf_counter()
        try:
            made, views = self._feeding().next()
        except BaseException:  # Ctrl-C, too: a batch may be lost half-way, and the next loop makes it again
            self.close()
            raise
        self._account.add(made, began)
        over = made.delivered >= state.length
        self._state = replace(state, epoch=made.epoch + over, delivered=0 if over else made.delivered)
        batch = Batch(views, made.params, torch.from_numpy(made.label), made.key, torch.from_numpy(made.index),
                      torch.from_numpy(made.position), torch.from_numpy(made.substitute), made.epoch,
                      torch.from_numpy(made.padding), self.handover)
        made_at = next(iter(views.values())).device if self.device is None else self.device
        return batch.to(made_at)

    def stats(self) -> dict[str, Any]:
        """Counters of this rank since construction: delivered (batches), samples, substituted (samples by reason), wait_seconds
        (spent waiting for batches), total_seconds (from the first request to the latest batch) and faults (batches that the
        dali engine left to the CPU); as of the latest batch, of its production, which is some batches ahead: read (images,
        stand-ins and second images included), read_bytes (encoded), decoded (images); and of sources that count them: retries,
        cache_hits and cache_misses (shards), fetched_bytes, ranged_bytes (of them those asked for by range),
        fetch_wait_seconds (spent waiting for shards, all threads together) and evicted (shards)."""
        return {**self._account.stats(), "faults": self.faults}

    @property
    def faults(self) -> int:
        """Batches that DALI could not decode, so that the CPU did; always 0 for the other engines."""
        return self._faults + getattr(self._feed, "faults", 0)

    def close(self) -> None:
        """End the sidecar or the threads. Batches stay valid, and a later loop goes on from the state."""
        if self._closer is not None:
            self._closer()
        self._faults, self._feed, self._closer = self.faults, None, None
        self._account.end_producer()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_feed": None, "_closer": None}

    def _feeding(self) -> Feed:
        if self._feed is not None and self._feed.pid != os.getpid():  # a fork: the sidecar and its batches are the parent's
            self.close()
        if self._feed is None:
            self._feed = self._start()
            self._closer = weakref.finalize(self, self._feed.close)
        return self._feed

    def _start(self) -> Feed:
        worker = placement.is_worker()
        threads = 1 if worker else placement.cores() if self.threads is None else self.threads
        state = self._state
        job = Job(self.source, self._order, self.recipe, self.engine, self.dtype, self.seed, self.batch_size, self.rank,
                  self.world_size, state.length, self.last, state.epoch, state.delivered, threads, self.max_bad,
                  self.read_ahead_bytes, self.channels_last, self.handover.types)
        if self.engine == "dali":
            from .dali_feed import DaliFeed
            from .engines.dali import DaliOptions, place

            return DaliFeed(job, self.prefetch, place(self.device), self.dali or DaliOptions())
        feed = self._made_on_the_cpu(job, worker)
        if self.device is None or self.device.type != "cuda":
            return feed
        from .upload import UploadFeed

        return UploadFeed(feed, self.device)

    def _batches_ahead(self) -> int:
        return 1 if self._layout().slot_bytes > LARGE_BATCH_BYTES else 2

    def _layout(self) -> Layout:
        return Layout(tuple(self.handover.rendered.groups.items()), self.batch_size, self.dtype, self.channels_last)

    def _made_on_the_cpu(self, job: Job, worker: bool) -> SidecarFeed | ThreadFeed:
        layout = self._layout()
        if self.engine == "cpu":
            from .engines.cpu import is_compiled

            if not is_compiled():
                LOG.warning("compiling the cpu engine's kernels for this processor: once, about 80 seconds")
        if self.sidecar and not worker and sys.executable:
            try:
                return SidecarFeed(pickled(job), layout, self.prefetch)
            except NotPicklable as reason:
                LOG.warning("rendering in threads of the trainer, not in a sidecar process: %s", reason)
                self.sidecar = False
        return ThreadFeed(job, layout, self.prefetch)

    def _least_cache(self) -> int:
        if not isinstance(self.source, RemoteSource):
            return 0
        if self._order.shuffle == "lanes" and self._order.lanes % self.world_size and self._order.lanes > self.world_size:
            better = -(-self._order.lanes // self.world_size) * self.world_size
            LOG.warning("%d ranks do not divide %d lanes, so each rank meets the lanes of others and fetches their shards too: "
                        "begin a new run with lanes=%d", self.world_size, self._order.lanes, better)
        return self.source.check_cache(self._order, placement.ranks_here(self.rank, self.world_size), self.world_size)

    def _check(self, shuffle: str, prefetch: int | None) -> None:
        whole = {"batch_size": self.batch_size, "world_size": self.world_size}
        optional = {"epochs": self.epochs, "threads": self.threads, "prefetch": prefetch}
        for name, value in {**whole, **{k: v for k, v in optional.items() if v is not None}}.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} needs a whole number >= 1, got {value!r}")
        if not isinstance(self.read_ahead_bytes, int) or self.read_ahead_bytes < 0:
            raise ValueError(f"read_ahead_bytes needs a whole number >= 0, got {self.read_ahead_bytes!r}")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank needs 0 <= rank < world_size={self.world_size}, got {self.rank}")
        for name, choice, known in (("last", self.last, LAST), ("shuffle", shuffle, SHUFFLE)):
            if choice not in known:
                raise ValueError(f"{name} needs one of {', '.join(known)}, got {choice!r}; {nearest(str(choice), list(known))}")
        if not 0 <= self.max_bad <= 1:
            raise ValueError(f"max_bad needs a fraction between 0 and 1, got {self.max_bad}")
        if not isinstance(self.channels_last, bool):
            raise ValueError(f"channels_last needs True or False, got {self.channels_last!r}")
        check_names(self.engine, self.dtype)
        # A recipe that cannot be drawn or rendered says so now, and not after a model has been built.
        one, size_hw = np.zeros(1, np.int64), np.full((1, 2), 4096)
        draw(self.recipe, self.seed, 0, one, size_hw, position=one, length=1, partner_size_hw=size_hw)
        if self.engine == "auto" and self.device is not None and self.device.type == "cpu":
            self.engine = "cpu"
        self.engine = engine(self.engine, self.handover.rendered, self.dtype, self.channels_last).name
        if self.dali is not None and self.engine != "dali":
            raise ValueError(f"dali=DaliOptions(...) is for engine='dali', got engine={self.engine!r}")

    def _first_state(self, shuffle: str, lanes: int, window: int) -> StreamState:
        count, step = len(self.source), self.batch_size * self.world_size
        if self.last == "drop" and count < step:
            each = f"{self.world_size} ranks x {self.batch_size}" if self.world_size > 1 else str(self.batch_size)
            raise ValueError(f"a batch of {each} samples is larger than the data, which have {count}: "
                             "use a smaller batch_size, or last='short'")
        if count < self.world_size:
            raise ValueError(f"{count} samples cannot be split among {self.world_size} ranks: use fewer ranks")
        length = count // step * step if self.last == "drop" else count
        return StreamState(epoch=0, delivered=0, length=length, seed=self.seed, shuffle=shuffle, lanes=lanes, window=window,
                           recipe=self.recipe.fingerprint, draw_version=DRAW_VERSION, fingerprint=self.source.fingerprint)


def _device(device: torch.device | str) -> torch.device:
    """Raises ValueError for a device that torch does not know or does not see."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(f"device needs 'cpu', 'cuda' or another of torch's, got {device!r} ({why})") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {str(device)!r} is asked for, but torch sees no GPU here: leave device out, or use 'cpu'")
    return torch.device("cuda", torch.cuda.current_device()) if found == torch.device("cuda") else found


class Pass:
    """One loop over a loader. An object, not a generator: a generator would hold on to the last batch, and its slot."""

    def __init__(self, loader: Loader, end_epoch: int | None) -> None:
        self._loader, self._end_epoch = loader, end_epoch

    def __iter__(self) -> Pass:
        return self

    def __next__(self) -> Batch:
        batch = self._loader.next_batch(self._end_epoch)
        if batch is None:
            raise StopIteration
        return batch
