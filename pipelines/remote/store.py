"""Objects of one store, by URL: their size and version, and their bytes from anywhere to anywhere.

Whatever fsspec opens is a store. Its asynchronous file systems work in one loop of their own, in a thread that belongs to
fsspec; any thread may wait for it, and a fork needs a file system of its own. HTTP is read here with that file
system's session, since fsspec's own read does not tell whether a server did what it was asked.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from threading import Event, Lock
from traceback import clear_frames
from typing import Any, TypeVar

from ..faults import DataError
from .loop import wait_for
from .patience import Patience
from .trouble import Changed, Final, Passing, Trouble, of_error

T = TypeVar("T")

PART_BYTES = 8 << 20
"""Of one request, to a store that is asked for parts; an HTTP server sends the rest of the object in one answer."""

_VERSIONS = ("ETag", "etag", "generation", "md5Hash", "checksum", "blob_id", "LastModified", "last_modified", "Last-Modified",
             "updated", "mtime", "created")
_EXTRAS = "pip install 'viewmill[remote]'"
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


@dataclass(frozen=True)
class Object:
    """size: bytes, -1 where the store does not say. version: changes with the content, "" where there is nothing that would."""

    size: int
    version: str


Opened = Callable[[Object], None]
Sink = Callable[[bytes], None]


class Store:
    """The store of some URLs of one scheme. Pickles as its options; used by many threads at once."""

    def __init__(self, scheme: str, options: Mapping[str, Any] | None = None, patience: Patience | None = None,
                 stop: Event | None = None) -> None:
        """stop: ends whatever is under way, with Closed."""
        self.scheme, self.options, self.patience = scheme, dict(options or {}), patience or Patience()
        self.whole_only = False
        """Set once an HTTP server has answered a request for a part with the whole."""
        self._stop = stop or Event()
        self._begin()

    def _begin(self) -> None:
        self._lock = Lock()
        self._made: tuple[int, Any] | None = None
        self._asking, self._closing = 0, False

    def about(self, url: str) -> Object:
        """Raises Trouble."""
        try:
            system = self.system
            if self.is_http:
                from . import http

                return self._wait_for(system, http.about(system, url, self.patience))
            path = system._strip_protocol(url)
            info = self._ask(system, "info", path, self.patience.timeout_s)
        except Exception as error:
            raise _told(error)  # noqa: B904 (which knows its cause)
        if info.get("type") == "directory":
            raise Final("there is a folder, not an object")
        size = info.get("size")
        return Object(-1 if size is None else int(size), next((str(info[v]) for v in _VERSIONS if info.get(v)), ""))

    def read(self, url: str, begin: int, end: int) -> bytes:
        """The bytes [begin, end) of an object, exactly. Raises Trouble."""
        found = bytearray()
        self.stream(url, begin, end, found.extend)
        return bytes(found)

    def stream(self, url: str, begin: int, end: int | None, sink: Sink, opened: Opened | None = None) -> None:
        """Hand the bytes [begin, end) of an object to sink, in order, as they come; end None: to the object's end.

        opened gets what the store says of the object before the first byte; what it raises ends the transfer. Raises Trouble
        where less than was asked for has come, or anything else than it; what sink got until then is good.
        """
        if end is not None and end <= begin:
            return
        try:
            if self.is_http:
                from . import http

                system = self.system
                answered = self._wait_for(system, http.stream(system, url, begin, end, sink, opened, self.patience))
                self.whole_only = self.whole_only or not answered
            else:
                self._stream(url, begin, end, sink, opened)
        except Exception as error:
            raise _told(error)  # noqa: B904 (which knows its cause)

    @property
    def is_http(self) -> bool:
        return self.scheme in ("http", "https")

    @property
    def system(self) -> Any:
        """fsspec's file system, of this process. Raises DataError where its package is missing."""
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                self._made = os.getpid(), self._make()
            return self._made[1]

    def _make(self) -> Any:
        import fsspec

        options = dict(self.options)
        if self.scheme in ("s3", "s3a"):  # its own tries would multiply ours, without our counting them
            said = {"connect_timeout": self.patience.connect_s, "read_timeout": self.patience.timeout_s,
                    "retries": {"max_attempts": 1}}
            options["config_kwargs"] = {**said, **options.get("config_kwargs", {})}
        try:
            made = fsspec.filesystem(self.scheme, skip_instance_cache=True, **options)
        except ImportError as error:
            raise DataError(f"{self.scheme}://: a package is missing ({str(error).splitlines()[0]}): {_EXTRAS}") from error
        except ValueError as error:
            if "Protocol not known" not in str(error):
                raise DataError(f"{self.scheme}://: {error}: check storage_options") from error
            raise DataError(f"{self.scheme}://: no kind of store that fsspec knows: check the address, or install the package "
                            f"that brings it ({_EXTRAS})") from error
        except (TypeError, LookupError) as error:
            raise DataError(f"{self.scheme}://: {error}: check storage_options") from error
        if self.scheme in ("s3", "s3a"):
            made.retries = 1
        return made

    def _ask(self, system: Any, name: str, path: str, timeout_s: float, **options: Any) -> Any:
        """Call a method of the file system, in its loop where it has one, so that the wait can be ended."""
        if not system.async_impl:
            return getattr(system, name)(path, **options)
        return self._wait_for(system, getattr(system, f"_{name}")(path, **options), timeout_s)

    def _wait_for(self, system: Any, ask: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        with self._lock:
            self._asking += 1
        try:
            return wait_for(system.loop, ask, self._stop, timeout_s)
        finally:
            with self._lock:
                self._asking -= 1
            self._end()

    def _stream(self, url: str, begin: int, end: int | None, sink: Sink, opened: Opened | None) -> None:
        system, patience = self.system, self.patience
        path = system._strip_protocol(url)
        if opened is not None or end is None:
            found = self.about(url)
            if opened is not None:
                opened(found)
            if end is None:
                if found.size < 0:
                    raise Final("the store does not say how long it is")
                end = found.size
        while begin < end:
            upto = min(begin + PART_BYTES, end)
            longest_s = patience.timeout_s + (upto - begin) / patience.slowest_bytes_per_s
            data = self._ask(system, "cat_file", path, longest_s, start=begin, end=upto)
            if len(data) > upto - begin:
                raise Changed(f"sends {len(data)} bytes where {upto - begin} were asked for")
            if not data:
                raise Passing(f"ends at byte {begin}, before byte {end}")
            sink(data)
            begin += len(data)

    def close(self) -> None:
        """End its connections, once nothing is under way; whoever asks again opens new ones. fsspec's file systems refer to
        themselves, and end theirs only when the garbage collector comes by."""
        with self._lock:
            self._closing = True
        self._end()

    def _end(self) -> None:
        with self._lock:
            made = self._made if self._closing and not self._asking else None
            if made is None:
                return
            self._made, self._closing = None, False
        session = getattr(made[1], "_session", None)
        if made[0] == os.getpid() and self.is_http and session is not None:
            asyncio.run_coroutine_threadsafe(session.close(), made[1].loop)  # soon: a busy loop is not waited for

    def __getstate__(self) -> dict[str, Any]:
        return {"scheme": self.scheme, "options": self.options, "patience": self.patience, "whole_only": self.whole_only,
                "_stop": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _stop=Event())
        self._begin()


def _told(error: Exception) -> Exception:
    """The trouble that it means. What fsspec waits in refers to the error that it raised, and so to our files and connections,
    until the garbage collector comes by: it lets go of them."""
    clear_frames(error.__traceback__)
    if isinstance(error, Trouble | DataError):
        return error
    trouble = of_error(error)
    trouble.__cause__ = error
    return trouble


def scheme_of(url: str) -> str:
    """"s3" of "s3://bucket/key"; "" of what is no URL. Raises DataError for `pipe:`, which would run a command."""
    if url.startswith("pipe:"):
        raise DataError(f"{url}: a command, which is not run for reading: viewmill pack --allow-pipe copies what it gives into "
                        "shards")
    match = _SCHEME.match(url)
    return match[1].lower() if match else ""


__all__ = ["Object", "Store", "Trouble", "scheme_of"]
