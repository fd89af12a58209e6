"""Reading over HTTP, as bytes arrive, with every answer checked: its status, range, length and version."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

import aiohttp

from .patience import Patience
from .trouble import Changed, Passing, of_status

if TYPE_CHECKING:
    from .store import Object, Opened, Sink

CHUNK_BYTES = 1 << 20
"""Handed over at a time, in a thread of the loop's: a disk that waits must not stop the other transfers."""

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_EMPTY = re.compile(r"bytes \*/0")


async def about(system: Any, url: str, patience: Patience) -> Object:
    """By asking for the first byte: signed addresses often allow no other method."""
    async with await _get(system, url, 0, 1, patience) as response:
        if response.status == 416 and _EMPTY.match(response.headers.get("Content-Range", "")):
            return _object(0, response)
        _refuse(response)
        return _object(_span(response)[2], response)


async def stream(system: Any, url: str, begin: int, end: int | None, sink: Sink, opened: Opened | None,
                 patience: Patience) -> bool:
    """As Store.stream. False where the server sent the whole object, though a part was asked for."""
    async with await _get(system, url, begin, end, patience) as response:
        _refuse(response)
        first, last, size = _span(response)
        if first not in (0, begin) or (first != begin and response.status == 206):
            raise Passing(f"sends bytes from {first} on where those from {begin} on were asked for")
        if opened is not None:
            opened(_object(size, response))
        if end is None:
            end = size if size >= 0 else None
        await _receive(response, begin - first, None if end is None else end - begin, sink, patience,
                       exactly=(last >= 0 and response.status == 206) or end == size)
        return response.status == 206 or (begin == 0 and (end is None or end == size))


async def _receive(response: Any, skip: int, count: int | None, sink: Sink, patience: Patience, exactly: bool) -> None:
    """`count` bytes after the first `skip`, or all there are. exactly: more of them would be wrong."""
    loop, held, received = asyncio.get_running_loop(), bytearray(), 0

    async def hand_over() -> None:
        nonlocal held
        if held:
            data, held = bytes(held), bytearray()
            await _finished(loop.run_in_executor(None, sink, data))

    mark, since = 0, time.monotonic()
    try:
        while count is None or received - skip < count:
            data = await response.content.readany()
            if not data:
                break
            held += data[max(0, skip - received):]
            received += len(data)
            if count is not None and received - skip > count:
                del held[len(held) - (received - skip - count):]
            if len(held) >= CHUNK_BYTES:
                await hand_over()
            now = time.monotonic()
            if now - since > patience.timeout_s:
                if received - mark < patience.slowest_bytes_per_s * (now - since):
                    raise Passing(f"only {received - mark} bytes came in {now - since:.0f} s")
                mark, since = received, now
        over = received - skip - count if count is not None else 0
        if exactly and count is not None and over == 0:
            over = len(await response.content.readany())
    finally:
        await hand_over()
    if exactly and over > 0:
        raise Changed(f"sends more than the {count} bytes that were asked for")
    if count is not None and over < 0:
        raise Passing(f"the connection ended {-over} bytes early")


async def _finished(writing: asyncio.Future[None]) -> None:
    """Waits to the end also when cancelled, however often: what is written to is closed afterwards."""
    stopped = False
    while not writing.done():
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            stopped = True
        except Exception:
            break
    if stopped and writing.exception() is None:
        raise asyncio.CancelledError
    writing.result()


async def _get(system: Any, url: str, begin: int, end: int | None, patience: Patience) -> Any:
    session = await system.set_session()
    options = dict(system.kwargs)
    headers = {**options.pop("headers", {}), "Accept-Encoding": "identity"}
    if begin or end is not None:
        headers["Range"] = f"bytes={begin}-{'' if end is None else end - 1}"
    timeout = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=patience.connect_s, sock_read=patience.timeout_s)
    return await session.get(system.encode_url(url), headers=headers, **{"timeout": timeout, **options})


def _refuse(response: Any) -> None:
    if response.status >= 400:
        raise of_status(response.status, response.headers)
    if response.status not in (200, 206):
        raise Passing(f"the server answers with status {response.status}")
    if response.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise Changed(f"is sent compressed ({response.headers['Content-Encoding']}), so that its bytes cannot be counted")


def _span(response: Any) -> tuple[int, int, int]:
    """First byte of an answer, the one behind its last, and the object's size; -1 for what is not said."""
    if response.status == 200:
        length = response.headers.get("Content-Length", "")
        size = int(length) if length.isdigit() else -1
        return 0, size, size
    match = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is None:
        raise Passing(f"does not say which bytes it sends ({response.headers.get('Content-Range')!r})")
    return int(match[1]), int(match[2]) + 1, -1 if match[3] == "*" else int(match[3])


def _object(size: int, response: Any) -> Object:
    from .store import Object

    return Object(size, response.headers.get("ETag") or response.headers.get("Last-Modified") or "")


