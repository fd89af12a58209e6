"""The process that makes batches for one trainer: `python -m viewmill.pipelines.sidecar FD PARENT`, started by the loader.

A process of its own, since a trainer that runs Python would starve rendering threads beside it: each time they need the
interpreter's lock they wait a whole switch interval. It lives exactly as long as the other end of its socket.
"""

from __future__ import annotations

import contextlib
import faulthandler
import mmap
import os
import pickle
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from functools import partial
from queue import SimpleQueue

from .channel import FREE, NEW, Channel, Failure
from .producer import FreeSlot, Producer
from .ring import Layout

SWITCH_SECONDS = 0.0005
"""Threads here hold the interpreter's lock for microseconds between compiled calls; none should wait long for it."""


def main(fd: int, parent: int) -> None:
    faulthandler.enable()
    # Ctrl-C and a scheduler's SIGTERM go to whole process groups; whether to go on is the trainer's choice alone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.setswitchinterval(SWITCH_SECONDS)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):  # macOS names an unlimited number that it does not allow
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    channel = Channel(socket.socket(fileno=fd))
    free: SimpleQueue[FreeSlot | None] = SimpleQueue()
    try:
        layout, job = channel.receive()
        # The thread first: it must see the trainer's end also while a cold cache keeps this one compiling.
        threading.Thread(target=_listen, args=(channel, layout, free), daemon=True).start()
        producer = Producer(pickle.loads(job), free.get)
        if torch := sys.modules.get("torch"):  # only its own engine brings it: parallel over samples, not inside ops
            torch.set_num_threads(1)
        for made in producer:
            channel.send(made)
    except (BrokenPipeError, EOFError):
        pass
    except BaseException as error:
        channel.send(Failure.of(error))
    sys.stderr.flush()
    os._exit(0)


def _listen(channel: Channel, layout: Layout, free: SimpleQueue[FreeSlot | None]) -> None:
    slots: dict[int, FreeSlot] = {}
    try:
        while True:
            kind, number, fd = channel.receive_slot()
            if kind == NEW:
                if fd is None:
                    raise OSError("too many open files: no further batch can be shared")
                memory = mmap.mmap(fd, layout.slot_bytes)
                os.close(fd)
                slots[number] = FreeSlot(number, partial(layout.arrays, memory))
            if kind in (NEW, FREE):
                free.put(slots[number])
            else:
                del slots[number]
    except EOFError:
        os._exit(0)
    except BaseException:  # no batch could be made any more: the trainer reads this as our last words
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _watch(parent: int) -> None:
    """A fork of the trainer can hold the socket open after the trainer's death; then this is what notices."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
