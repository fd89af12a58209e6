"""A real HTTP server on loopback, made to fail by script."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One answer that is wrong. status: instead of the object, with headers. after: how many bytes of the body are sent before
    `then` happens: "reset" (the connection is torn down), "close" (it ends in order, short of its Content-Length), "stall"
    (nothing more, until the client goes). slow_s: seconds of sleep between chunks of `chunk` bytes. ranges: False: the whole
    object is sent, with status 200, whatever was asked. extra: bytes sent after the body, which Content-Length counts.
    shift: bytes by which a range begins too early. tags: False: no ETag. size: what Content-Range says the object's is."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    after: int = -1
    then: str = "reset"
    slow_s: float = 0.0
    chunk: int = 1 << 16
    ranges: bool = True
    extra: bytes = b""
    shift: int = 0
    tags: bool = True
    size: int = -1


@dataclass(frozen=True)
class Request:
    path: str
    begin: int
    end: int


class Server:
    """objects: path -> bytes; may be changed at any time. faults: path -> answers to give next, each once; always: to all
    further requests. requests: what was asked for; sent: bytes of bodies, by path."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.always: dict[str, Fault] = {}
        self.fault_of: Callable[[str], Fault | None] = lambda path: None
        self.requests: list[Request] = []
        self.sent: dict[str, int] = defaultdict(int)
        self.lock = threading.Lock()
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._http = _Http(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def fault(self, path: str) -> Fault:
        with self.lock:
            if self.faults[path]:
                return self.faults[path].pop(0)
        return self.fault_of(path) or self.always.get(path, Fault())

    def asked(self, path: str) -> list[tuple[int, int]]:
        return [(r.begin, r.end) for r in self.requests if r.path == path]

    def close(self) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: Server

    def do_GET(self) -> None:
        server, path = self.server_of, self.path.lstrip("/")
        fault = server.fault(path)
        body = server.objects.get(path)
        if fault.status or body is None:
            server.requests.append(Request(path, 0, 0))
            self.send_response(fault.status or 404)
            for name, value in {"Content-Length": "0", **fault.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            return
        begin, end, size = 0, len(body), len(body)
        asked = self.headers.get("Range")
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last) + 1 if last else size, size)
        server.requests.append(Request(path, begin, end))
        if asked and fault.ranges and begin >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if asked and fault.ranges:
            begin -= fault.shift
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size if fault.size < 0 else fault.size}")
        else:
            begin, end = 0, size
            self.send_response(200)
        data = body[begin:end] + fault.extra
        self.send_header("Content-Length", str(len(data)))
        if fault.tags:
            self.send_header("ETag", f'"{sha256(body).hexdigest()[:16]}"')
        self.end_headers()
        self._send(path, data, fault)

    def _send(self, path: str, data: bytes, fault: Fault) -> None:
        most = len(data) if fault.after < 0 else min(fault.after, len(data))
        for at in range(0, most, fault.chunk):
            part = data[at:min(at + fault.chunk, most)]
            self.wfile.write(part)
            with self.server_of.lock:
                self.server_of.sent[path] += len(part)
            time.sleep(fault.slow_s)
        if fault.after < 0:
            return
        self.close_connection = True
        if fault.then == "stall":
            self.server_of.closing.wait(20)
        elif fault.then == "reset":
            time.sleep(0.05)  # what was sent should arrive first: a reset throws away what waits
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.wfile.close()
            self.rfile.close()
            self.connection.close()

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (OSError, ValueError):  # the client, or we, closed it
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.close()
