"""Waiting for a coroutine that may no longer be wanted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from threading import Event

import pytest
from viewmill.pipelines.remote.http import _finished
from viewmill.pipelines.remote.loop import wait_for
from viewmill.pipelines.remote.trouble import Closed


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever, daemon=True)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join()
    made.close()


async def value(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return 7


async def trouble() -> int:
    raise KeyError("x")


def test_what_it_returns_or_raises(loop: asyncio.AbstractEventLoop) -> None:
    assert wait_for(loop, value(0.0), Event()) == 7
    with pytest.raises(KeyError):
        wait_for(loop, trouble(), Event())


def test_stopped_it_is_cancelled_at_once(loop: asyncio.AbstractEventLoop) -> None:
    stop, begun = Event(), time.monotonic()
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Closed):
        wait_for(loop, value(60.0), stop)
    assert time.monotonic() - begun < 10


def test_after_its_time_it_is_cancelled(loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(TimeoutError):
        wait_for(loop, value(60.0), Event(), timeout_s=0.1)


def test_what_is_being_written_is_written_before_the_wait_ends(loop: asyncio.AbstractEventLoop) -> None:
    """A slow disk: the file may be closed only when its writer has returned, although the wait is cancelled meanwhile."""
    stop, written = Event(), []

    def write() -> None:
        stop.set()
        time.sleep(0.4)  # several times the time between two cancellations
        written.append(True)

    async def transfer() -> None:
        await _finished(asyncio.get_running_loop().run_in_executor(None, write))
        await asyncio.sleep(60)

    with pytest.raises(Closed):
        wait_for(loop, transfer(), stop)
    assert written == [True]
