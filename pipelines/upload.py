"""Batches that were made on the CPU, on their way to a GPU while the trainer is busy with the one before."""

from __future__ import annotations

import os
import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    import mmap

    from torch import Tensor

    from .feed import SidecarFeed, ThreadFeed
    from .producer import Made


def hand_over(views: dict[str, Tensor], event: Any, device: torch.device) -> None:
    """Views made on another stream of the device, there after the event, become the trainer's stream's own."""
    mine = torch.cuda.current_stream(device)
    mine.wait_event(event)
    for view in views.values():  # so that torch does not give its memory away while the trainer's stream reads it
        view.record_stream(mine)


class UploadFeed:
    """A feed whose views lie on a CUDA device: a thread copies one batch ahead, on a stream of its own, out of pinned memory.

    The trainer's stream waits for the copy, its thread does not; a slot goes back when its copy is done.
    """

    def __init__(self, feed: SidecarFeed | ThreadFeed, device: torch.device) -> None:
        self.pid, self.feed, self.device = feed.pid, feed, device
        self._stream = torch.cuda.Stream(device)
        self._ahead: SimpleQueue[tuple[Made, dict[str, Tensor], Any] | BaseException] = SimpleQueue()
        self._wanted = threading.Semaphore(1)
        self._pinned: dict[int, tuple[mmap.mmap, int]] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._copy, name="viewmill-upload", daemon=True)
        self._thread.start()

    def next(self) -> tuple[Made, dict[str, Tensor]]:
        got = self._ahead.get()
        if isinstance(got, BaseException):
            raise got
        self._wanted.release()
        made, views, event = got
        hand_over(views, event, self.device)
        return made, views

    def close(self) -> None:
        if self.pid != os.getpid():
            return
        self.pid, self._closed = -1, True
        self._wanted.release()
        self._thread.join()  # it may be in the feed, which cannot be closed under it
        self._stream.synchronize()
        for _, address in self._pinned.values():
            torch.cuda.cudart().cudaHostUnregister(address)
        self._pinned.clear()
        self.feed.close()

    def _copy(self) -> None:
        under_way: deque[tuple[Any, Any]] = deque()  # events, and the slots' tensors that their copies read
        try:
            while True:
                self._wanted.acquire()
                if self._closed:
                    break
                made, views = self.feed.next()
                self._pin(made.slot)
                with torch.cuda.stream(self._stream):
                    moved = {group: view.to(self.device, non_blocking=True) for group, view in views.items()}
                    event = torch.cuda.Event()
                    event.record(self._stream)
                under_way.append((event, views))
                while len(under_way) > 1:
                    under_way[0][0].synchronize()
                    under_way.popleft()
                self._ahead.put((made, moved, event))
        except BaseException as error:
            self._ahead.put(error)
        for event, _ in under_way:
            event.synchronize()

    def _pin(self, slot: int) -> None:
        """Page-lock a slot when it is first seen: only then is a copy out of it not done by way of another one. Its memory is
        kept mapped until it has been unlocked."""
        if slot in self._pinned:
            return
        memory = self.feed.ring.memory(slot)
        address = int(np.frombuffer(memory, np.uint8).ctypes.data)
        torch.cuda.check_error(torch.cuda.cudart().cudaHostRegister(address, len(memory), 0))
        self._pinned[slot] = memory, address
