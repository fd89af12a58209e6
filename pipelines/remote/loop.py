"""Waiting for a coroutine of another thread's loop, until it ends or nobody wants it any more."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Coroutine
from threading import Event
from typing import Any, TypeVar

from .trouble import Closed

T = TypeVar("T")
_POLL_S = 0.05


def wait_for(loop: asyncio.AbstractEventLoop, ask: Coroutine[Any, Any, T], stop: Event, timeout_s: float | None = None) -> T:
    """What the coroutine returns or raises. Stopped, or after timeout_s, it is cancelled, and has ended when this raises
    Closed or TimeoutError: nothing writes any more."""
    tasks: list[asyncio.Task[Any]] = []

    async def noted() -> T:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        return await ask

    ends = None if timeout_s is None else time.monotonic() + timeout_s
    future = asyncio.run_coroutine_threadsafe(noted(), loop)
    while True:
        concurrent.futures.wait([future], _POLL_S)
        late = ends is not None and time.monotonic() > ends
        if future.done():
            break
        if (stop.is_set() or late) and tasks:
            loop.call_soon_threadsafe(tasks[0].cancel)
    try:
        return future.result()
    except (concurrent.futures.CancelledError, asyncio.CancelledError):
        raise (Closed("stopped") if stop.is_set() else TimeoutError()) from None
